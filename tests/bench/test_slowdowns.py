"""Guards against slowdowns: each cost beside another of the same process, never a time.

A bound is about half of what was measured on a shared machine with two cores (in the comment), by
the best turn of each. A neighbour need not weigh on both alike, and some turns are over before it
moves on: turns are taken for a second, and for half a minute while the bound is not met. What has
become twice as dear seldom meets it by waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from broker.grids import GRIDS
from workers.bench import curves, decode, dmdt, labels
from workers.bench.figures import in_turns
from workers.bench.night import Survey, simulated


def assert_cost(most: float, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
    """Ours costs at most so many times what theirs costs."""
    mine, other = in_turns(3, ours, theirs)
    began = time.monotonic()
    while (spent := time.monotonic() - began) < 1 or min(mine) > most * min(other):
        assert spent < 30, f"1/{min(other) / min(mine):.1f} of the other, 1/{1 / most:.3g} allowed"
        mine.append(ours())
        other.append(theirs())


@pytest.mark.parametrize(
    ("survey", "least"),
    [("ztf", 24), ("lsst", 65), ("elasticc", 14)],  # 40, 115, 24
)
def test_decode_beside_fastavro(survey: Survey, least: float) -> None:
    night = simulated(survey, 1, 300 if survey != "lsst" else 60)
    assert_cost(1 / least, *decode.turns(night))


def test_labels_beside_fastavro() -> None:
    assert_cost(1 / 8, *labels.turns(labels.named(256, 7, 1)))  # 14


def test_an_image_from_scratch_beside_numpy() -> None:
    columns = dmdt.curve(dmdt.POINTS, 1)
    for grid in ("fiducial", "fine"):
        assert_cost(1 / 10, *dmdt.scratch(*columns, GRIDS[grid]))  # 18


def test_a_new_point_beside_all_pairs_anew() -> None:
    grid, columns = GRIDS["fiducial"], dmdt.curve(dmdt.POINTS, 1)
    pairs = dmdt.POINTS * (dmdt.POINTS - 1) / 2
    anew = dmdt.scratch(*columns, grid)[0]
    assert_cost(1 / 70, dmdt.update(*columns, grid), lambda: anew() * pairs / 1000)  # 130


def test_an_alert_costs_no_more_than_its_light_curve_is_long() -> None:
    """Four times the points: four times the cost, not sixteen."""
    assert_cost(6, dmdt.lengthened(4000, 1), dmdt.lengthened(1000, 1))  # 3


def test_light_curves_of_235_points_beside_those_of_30() -> None:
    assert_cost(5, curves.turn(235, 1), curves.turn(30, 1))  # 2.3

"""Guards against slowdowns: each cost beside another of the same process, never a time.

A bound is about half of what was measured on a shared machine with two cores (in the comment), on
the best of several turns: a busy neighbour makes both slower, a doubled cost fails.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.grids import GRIDS
from workers.bench import curves, decode, dmdt, labels
from workers.bench.figures import in_turns
from workers.bench.night import Survey, simulated


def ratio(ours: Callable[[], float], theirs: Callable[[], float], turns: int = 7) -> float:
    """How many times less ours costs, by the best turn of each."""
    mine, other = in_turns(turns, ours, theirs)
    return min(other) / min(mine)


@pytest.mark.parametrize(
    ("survey", "least"),
    [("ztf", 24), ("lsst", 65), ("elasticc", 14)],  # 40, 115, 24
)
def test_decode_beside_fastavro(survey: Survey, least: float) -> None:
    night = simulated(survey, 1, 300 if survey != "lsst" else 60)
    assert ratio(*decode.turns(night)) >= least


def test_labels_beside_fastavro() -> None:
    assert ratio(*labels.turns(labels.named(256, 7, 1))) >= 8  # 14


def test_an_image_from_scratch_beside_numpy() -> None:
    columns = dmdt.curve(dmdt.POINTS, 1)
    for grid in ("fiducial", "fine"):
        assert ratio(*dmdt.scratch(*columns, GRIDS[grid])) >= 10  # 18


def test_a_new_point_beside_all_pairs_anew() -> None:
    grid, columns = GRIDS["fiducial"], dmdt.curve(dmdt.POINTS, 1)
    pairs = dmdt.POINTS * (dmdt.POINTS - 1) / 2
    anew = dmdt.scratch(*columns, grid)[0]
    assert ratio(dmdt.update(*columns, grid), lambda: anew() * pairs / 1000) >= 70  # 130


def test_an_alert_costs_no_more_than_its_light_curve_is_long() -> None:
    """Four times the points: four times the cost, not sixteen."""
    assert ratio(dmdt.lengthened(1000, 1), dmdt.lengthened(4000, 1), 3) <= 6  # 3


def test_light_curves_of_235_points_beside_those_of_30() -> None:
    assert ratio(curves.turn(30, 1), curves.turn(235, 1), 3) <= 5  # 2.3

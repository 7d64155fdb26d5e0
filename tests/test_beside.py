from __future__ import annotations

import numpy as np
import pytest
from test_periodogram import ROOM, nights

from broker import beside
from broker.folds import LEVELS, PHASES, fold
from broker.inputs import Channel
from broker.periodogram import FEATURES, rung, search
from broker.scalars import SCALARS, measure_many

CHANNEL = Channel("fine", "total", ("detection",), scalars=("log_n", "skewness"))
FULL = Channel("fine", "total", ("detection",), scalars=("skewness",), periodogram=True, folds=2)


def curves() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = [40, 0, 8, 60]
    time = np.concatenate([nights(n, n) for n in lengths if n])
    magnitude = (150_000 + 3000 * np.sin(time / 2e5)).astype(np.int32)
    return time, magnitude, rng.uniform(0.01, 0.1, 108), np.cumsum([0, *lengths])


def test_scalars_alone() -> None:
    time, magnitude, error, first = curves()
    made = beside.many(time, magnitude, error, first, np.zeros(4, np.int64), CHANNEL)
    expected = measure_many(time, magnitude, error, first)
    columns = [SCALARS.index("log_n"), SCALARS.index("skewness")]
    np.testing.assert_array_equal(made.numbers, expected[:, columns].astype(np.float32))
    assert made.folds.shape == (4, 0, PHASES, LEVELS)


def test_each_curve_has_the_periodogram_of_its_own_first_points() -> None:
    time, magnitude, error, first = curves()
    points = np.array([rung(n) for n in np.diff(first)])
    assert points.tolist() == [40, 0, 0, 57]
    made = beside.many(time, magnitude, error, first, points, FULL)
    assert made.numbers.shape == (4, FULL.numbers) == (4, 2 + len(FEATURES))
    for i in (0, 3):
        part = slice(first[i], first[i] + points[i])
        found = search(time[part], magnitude[part], error[part], ROOM)
        assert made.numbers[i, 1] == np.float32(np.log(points[i]))
        np.testing.assert_array_equal(made.numbers[i, 2:], found.features.astype(np.float32))
        image = np.zeros((PHASES, LEVELS), np.uint8)
        for p in range(2):
            fold(time[part], magnitude[part], found.per_day[p], image)
            np.testing.assert_array_equal(made.folds[i, p], image)
    assert not made.numbers[1:3, 1:].any()
    assert not made.folds[1:3].any()


def test_later_points_change_the_scalars_only() -> None:
    time, magnitude, error, _ = curves()
    some = np.array([0, 36]), np.array([36])
    one = beside.many(time[:36], magnitude[:36], error[:36], *some, FULL)
    two = beside.many(time[:40], magnitude[:40], error[:40], np.array([0, 40]), some[1], FULL)
    np.testing.assert_array_equal(one.numbers[0, 1:], two.numbers[0, 1:])
    np.testing.assert_array_equal(one.folds, two.folds)
    assert one.numbers[0, 0] != two.numbers[0, 0]


def test_a_channel_declares_what_there_is() -> None:
    with pytest.raises(ValueError, match="4 folds: expected at most 3"):
        Channel("fine", "total", ("detection",), periodogram=True, folds=4)
    with pytest.raises(ValueError, match="none without a periodogram"):
        Channel("fine", "total", ("detection",), folds=1)
    assert FULL.hash != Channel("fine", "total", ("detection",), scalars=("skewness",)).hash

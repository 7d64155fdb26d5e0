"""The object's own periodogram finds what is there, in a survey's gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from light_curve import Periodogram

from broker.periodogram import FEATURES, FEWEST, Found, room, rung, rungs, search

ROOM = room()


def nights(n: int, seed: int, days: float = 2800.0) -> np.ndarray:
    """Microdays of n points as Catalina takes them: four in half an hour, gaps of a season."""
    rng = np.random.default_rng(seed)
    seen = np.arange(days)[np.arange(days) % 365 < 240]
    night = np.sort(rng.choice(seen, -(-n // 4), replace=False))
    start = night + 0.2 + rng.uniform(-0.1, 0.1, len(night))
    time = (start[:, None] + np.arange(4) * 0.0075).ravel()[:n]
    return np.rint(time * 1e6).astype(np.int64)


def found(time: np.ndarray, magnitude: np.ndarray, error: float = 0.02) -> Found:
    return search(time, np.rint(magnitude * 1e4).astype(np.int32), np.full(len(time), error), ROOM)


def close(found: float, true: float, days: float = 2800.0) -> bool:
    return abs(found - true) < 0.3 / days


@pytest.mark.parametrize("per_day", [0.004, 0.31, 1.9, 3.47, 7.9])
def test_a_sinusoid_is_the_first_peak(per_day: float) -> None:
    time = nights(200, 1)
    rng = np.random.default_rng(2)
    magnitude = 15 + 0.2 * np.sin(2 * np.pi * per_day * time / 1e6) + rng.normal(0, 0.02, 200)
    answer = found(time, magnitude)
    assert close(answer.per_day[0], per_day)
    named = dict(zip(FEATURES, answer.features, strict=True))
    assert named["log_frequency_1"] == pytest.approx(np.log(per_day), abs=1e-3)
    assert named["gain_1_1"] > 0.97
    assert named["ratio_2_1"] < 0.1
    assert named["coherence_1"] > 0.95
    assert named["roughness_1"] < 0.15
    assert named["rest_gain_1"] < 0.02


def test_harmonics_are_told_by_ratio_and_phase() -> None:
    time, f = nights(220, 3), 1.83
    angle = 2 * np.pi * f * time / 1e6
    magnitude = 15 + 0.3 * np.cos(angle - 1) + 0.15 * np.cos(2 * (angle - 1) + 0.7)
    answer = found(time, magnitude)
    assert close(answer.per_day[0], f)
    named = dict(zip(FEATURES, answer.features, strict=True))
    assert named["ratio_2_1"] == pytest.approx(0.5, abs=0.02)
    assert np.arctan2(named["sin_2_1"], named["cos_2_1"]) == pytest.approx(-0.7, abs=0.05)
    assert named["gain_2_1"] > named["gain_1_1"] + 0.1


def test_unequal_minima_show_at_half_the_frequency() -> None:
    time, f = nights(230, 4), 5.2
    turn = 2 * np.pi * f / 2 * time / 1e6
    answer = found(time, 15 + 0.2 * np.cos(2 * turn) + 0.05 * np.cos(turn))
    assert any(close(p, f) or close(p, f / 2) for p in answer.per_day[:1])
    named = dict(zip(FEATURES, answer.features, strict=True))
    if close(answer.per_day[0], f):
        assert named["half_share_1_1"] == pytest.approx(0.243, abs=0.02)
        assert named["minimum_1"] > named["second_minimum_1"] + 0.3


def test_spots_that_drift_are_less_coherent_than_a_binary() -> None:
    time, f = nights(240, 5), 2.13
    days = time / 1e6
    steady = found(time, 15 + 0.1 * np.cos(2 * np.pi * f * days))
    phase = 2 * np.pi * f * days + 2.5 * (days > 1300)
    drifting = found(time, 15 + 0.1 * np.cos(phase))
    at = FEATURES.index("coherence_1")
    assert steady.features[at] > 0.98 > drifting.features[at] + 0.1


def test_two_modes() -> None:
    time, f = nights(280, 6), 2.1
    days = time / 1e6
    wave = 0.2 * np.cos(2 * np.pi * f / 0.745 * days) + 0.1 * np.cos(2 * np.pi * f * days)
    named = dict(zip(FEATURES, found(time, 15 + wave).features, strict=True))
    assert named["rest_ratio"] == pytest.approx(0.745, abs=0.003)
    assert named["rest_double_gain"] > 0.5
    alone = dict(zip(FEATURES, found(time, 15 + wave[::-1]).features, strict=True))
    assert alone["rest_double_mode"] < named["rest_double_mode"]


def test_the_peak_is_that_of_the_light_curve_package() -> None:
    """By sums over all frequencies; Lomb and Scargle's normalisation, without a constant."""
    rng = np.random.default_rng(8)
    grid = np.arange(6, 60_000) / 6000
    maker = Periodogram(freqs=2 * np.pi * grid, fast=False)
    for seed in range(3):
        time = nights(150, seed)
        f = rng.uniform(0.2, 6)
        magnitude = 15 + 0.1 * np.cos(2 * np.pi * f * time / 1e6) + rng.normal(0, 0.08, 150)
        power = maker.power(time / 1e6, magnitude)
        answer = found(time, magnitude)
        assert min(abs(answer.per_day - grid[power.argmax()])) < 0.5 / 2800


def test_the_same_bits_whatever_was_before() -> None:
    time = nights(150, 9)
    magnitude = 15 + np.random.default_rng(9).normal(0, 0.1, 150)
    first = found(time, magnitude)
    found(nights(80, 10), 12 + np.random.default_rng(10).normal(0, 2, 80))
    again = found(time, magnitude)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_or_equal_points_give_zeros() -> None:
    time = nights(FEWEST, 11)
    for answer in (
        found(time[:-1], 15 + np.arange(FEWEST - 1) / 10),
        found(time, np.full(FEWEST, 15.0)),
        found(np.full(FEWEST, 7), 15 + np.arange(FEWEST) / 10),
    ):
        assert not any(part.any() for part in answer)
    some = found(time, 15 + np.sin(time / 3e5))
    assert np.isfinite(some.features).all()
    assert some.features.any()


def test_any_curve_gives_finite_numbers() -> None:
    rng = np.random.default_rng(12)
    for _ in range(60):
        n = int(rng.integers(FEWEST, 60))
        time = np.sort(rng.integers(0, 10 ** int(rng.integers(1, 11)), n))
        magnitude = (150_000 + rng.choice([0, 1, 50_000], n)).astype(np.int32)
        error = rng.choice([0.0, np.nan, 0.01, 1e-9, 5.0], n)
        answer = search(time, magnitude, error, ROOM)
        assert np.isfinite(answer.features).all()
        assert np.isfinite(answer.per_day).all()


def test_the_ladder() -> None:
    assert [n for n in range(2000) if rung(n) != rung(n - 1)] == [
        *(16, 24, 32, 40, 48, 57, 68, 81, 97, 116, 139, 166, 199, 238, 285, 342, 410, 492, 590),
        *(708, 849, 1018, 1221, 1465, 1758),
    ]
    assert rung(15) == 0
    assert rungs(np.array([7, 235, 16])).tolist() == [0, 199, 16]
    assert len(FEATURES) == len(set(FEATURES))


def test_most_periods_of_the_catalogue_are_among_the_three(shared_data: Path) -> None:
    with np.load(shared_data / "lightcurves" / "crts_south.npz") as data:
        off, lab, period = data["off"], data["lab"], data["period"]
        t, m, e = data["t"], data["m"], data["e"]
    draw = np.random.default_rng(0)
    for number, least in {5: 0.93, 6: 0.93, 1: 0.93, 2: 0.93, 7: 0.9}.items():
        right = []
        for i in draw.choice(np.flatnonzero(lab == number), 60, replace=False):
            rows = np.arange(off[i], off[i + 1])
            rows = rows[np.abs(t[rows] - np.median(t[rows])) < 4000]  # corrupt dates
            rows = rows[np.argsort(t[rows], kind="stable")]
            time = np.rint(t[rows] * 1e6).astype(np.int64)
            magnitude = np.rint(m[rows] * 1e4).astype(np.int32)
            per_day = search(time, magnitude, e[rows].astype(float), ROOM).per_day
            true = np.array([1, 2, 0.5]) / period[i]
            right.append(np.abs(np.subtract.outer(per_day, true)).min() < 1 / 2800)
        assert np.mean(right) >= least, (number, np.mean(right))

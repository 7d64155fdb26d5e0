"""Fits of harmonics, against NumPy's least squares."""

from __future__ import annotations

import numpy as np
import pytest

from broker.harmonics import LANES, MOST_HARMONICS, fit, sums, weighted


@pytest.mark.parametrize("harmonics", [1, 2, 3, 6])
def test_gain_and_solution_are_those_of_least_squares(harmonics: int) -> None:
    rng = np.random.default_rng(harmonics)
    n = 150
    days, weight = np.sort(rng.uniform(0, 2900, n)), rng.uniform(0.5, 2, n)
    value = rng.normal(size=n)
    per_day = rng.uniform(0.01, 10, LANES)
    table = np.zeros(6 * MOST_HARMONICS * LANES, np.float32)
    curve = weighted(days, weight, value)
    assert (weight * value).sum() == pytest.approx(0, abs=1e-9)
    assert curve.square == pytest.approx((weight * value**2).sum())
    sums(curve, per_day, harmonics, table)
    solution = np.zeros(2 * MOST_HARMONICS + 1)
    for lane in range(LANES):
        gain = fit(table, lane, harmonics, curve.total, solution)
        angle = 2 * np.pi * np.outer(days * per_day[lane], np.arange(1, harmonics + 1))
        waves = np.stack([np.cos(angle), np.sin(angle)], 2).reshape(n, -1)
        design = np.column_stack([np.ones(n), waves])
        root = np.sqrt(weight)
        # The ridge as rows of its own: a thousandth of the weight on each wave.
        ridge = np.sqrt(1e-3 * weight.sum()) * np.eye(2 * harmonics + 1)[1:]
        lhs = np.concatenate([design * root[:, None], ridge])
        rhs = np.concatenate([value * root, np.zeros(2 * harmonics)])
        expected, *_ = np.linalg.lstsq(lhs, rhs, rcond=None)
        np.testing.assert_allclose(solution[: 2 * harmonics + 1], expected, atol=2e-5)
        assert gain == pytest.approx(expected @ lhs.T @ rhs, rel=2e-5)


def test_as_many_unknowns_as_points_stay_finite() -> None:
    days = np.arange(13.0)
    value = np.where(np.arange(13) % 2, 1.0, -1.0)
    table = np.zeros(6 * MOST_HARMONICS * LANES, np.float32)
    sums(weighted(days, np.ones(13), value), np.full(LANES, 0.5), MOST_HARMONICS, table)
    solution = np.zeros(2 * MOST_HARMONICS + 1)
    gain = fit(table, 0, MOST_HARMONICS, 13.0, solution)
    assert np.isfinite(solution).all()
    assert 0.9 * (value**2).sum() < gain < 1.001 * (value**2).sum()

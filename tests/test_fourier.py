"""The power spectrum, against the sum that defines it."""

from __future__ import annotations

import numpy as np
import pytest

from broker import fourier

TABLES, DESK = fourier.tables(), fourier.desk()


def power(days: np.ndarray, signal: np.ndarray) -> np.ndarray:
    return fourier.spectrum(days, signal, TABLES, DESK)[0].copy()


@pytest.mark.parametrize(
    ("points", "span", "period"),
    [(1, 0.0, 375), (16, 110.0, 375), (70, 480.0, 1500), (235, 2900.0, 6000), (50, 20_000.0, 6000)],
)
def test_it_is_the_sum_over_the_points(points: int, span: float, period: int) -> None:
    rng = np.random.default_rng(points)
    days, signal = np.sort(rng.uniform(-3, span, points)), rng.normal(size=points)
    most = 10 * period
    k = np.concatenate([[0, 1, 2, most - 2, most - 1], rng.integers(0, most, 1500)])
    expected = np.abs(np.exp(2j * np.pi * np.outer(k / period, days)) @ signal) ** 2
    found, by = fourier.spectrum(days, signal, TABLES, DESK)
    assert (len(found), by) == (most, period)
    error = np.abs(found[k] - expected)
    assert error.max() < 2e-2 * expected.max()
    low = k < 0.75 * most
    assert error[low].max() < 1e-3 * expected.max()


def test_it_does_not_depend_on_what_was_before() -> None:
    rng = np.random.default_rng(1)
    days, signal = np.sort(rng.uniform(0, 3000, 90)), rng.normal(size=90)
    first = power(days, signal)
    power(rng.uniform(0, 100, 200), 1e6 * rng.normal(size=200))
    np.testing.assert_array_equal(power(days, signal), first)

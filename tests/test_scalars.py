"""The scalars, from their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from broker.scalars import SCALARS, measure_many


def defined(t: np.ndarray, m: np.ndarray, e: np.ndarray) -> dict[str, float]:
    """By NumPy, in days and magnitudes."""
    sd = m.std()
    z = (m - m.mean()) / sd
    w = e**-2.0
    chi2 = (w * (m - np.average(m, weights=w)) ** 2).sum() / (len(m) - 1)
    p5, median, p95 = np.percentile(m, [5, 50, 95])
    return {
        "mean_magnitude": m.mean(),
        "log_mean_error": np.log(e.mean()),
        "log_sd": np.log(sd),
        "log_n": np.log(len(m)),
        "skewness": (z**3).mean(),
        "log_reduced_chi2": np.log(chi2),
        "log_range": np.log(np.ptp(m)),
        "kurtosis": (z**4).mean() - 3,
        "von_neumann": (np.diff(m) ** 2).mean() / sd**2,
        "log_span": np.log(np.ptp(t)),
        "faint_tail": (p95 - median) / sd,
        "bright_tail": (median - p5) / sd,
        "log_signal": np.log(sd / e.mean()),
    }


@pytest.mark.parametrize("n", [2, 3, 10, 235])
def test_they_are_what_their_names_say(n: int) -> None:
    rng = np.random.default_rng(n)
    time = np.sort(rng.integers(0, 10**9, n))
    magnitude = rng.normal(180_000, 4_000, n).astype(np.int32)
    error = rng.uniform(0.01, 0.2, n)
    expected = defined(time / 1e6, magnitude / 1e4, error)
    assert tuple(expected) == SCALARS
    (scalars,) = measure_many(time, magnitude, error, np.array([0, n]))
    np.testing.assert_allclose(scalars, list(expected.values()), rtol=1e-9, atol=1e-9)


def test_few_or_equal_points_give_finite_numbers() -> None:
    time = np.array([5, 7, 7, 9])
    magnitude = np.array([180_000, 170_000, 170_000, 170_000], np.int32)
    error = np.array([np.nan, 0.0, np.inf, 0.1])
    scalars = measure_many(time, magnitude, error[[3, 0, 1, 3]], np.array([0, 1, 1, 4]))
    assert np.isfinite(scalars).all()
    named = dict(zip(SCALARS, scalars[0], strict=True))
    assert named["mean_magnitude"] == 18
    assert named["skewness"] == named["von_neumann"] == named["faint_tail"] == 0
    assert (scalars[1] == 0).all()


def test_points_without_an_error_do_not_enter_the_errors() -> None:
    time, magnitude = np.array([0, 1, 2]), np.array([180_000, 181_000, 150_000], np.int32)
    first = np.array([0, 3])
    (scalars,) = measure_many(time, magnitude, np.array([0.1, 0.1, np.nan]), first)
    named = dict(zip(SCALARS, scalars, strict=True))
    assert named["log_mean_error"] == pytest.approx(np.log(0.1))
    assert named["log_reduced_chi2"] == pytest.approx(np.log(0.5))

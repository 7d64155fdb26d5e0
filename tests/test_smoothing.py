from __future__ import annotations

import numpy as np
import pytest

from broker.smoothing import smooth


def by_matrices(
    t: np.ndarray, f: np.ndarray, e: np.ndarray, at: np.ndarray, scale: float, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The textbook's Gaussian process: one matrix of all points."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r = np.sqrt(3) * np.abs(np.subtract.outer(a, b)) / scale
        return size**2 * (1 + r) * np.exp(-r)

    gain = kernel(at, t) @ np.linalg.inv(kernel(t, t) + np.diag(e**2))
    variance = np.diag(kernel(at, at) - gain @ kernel(t, at))
    return gain @ f, np.sqrt(variance)


@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_it_is_the_gaussian_process_of_all_points(n: int) -> None:
    rng = np.random.default_rng(n)
    t = np.sort(rng.uniform(0, 100, n))
    t[n // 2] = t[(n - 1) // 2]  # two points of one time
    f, e = rng.normal(0, 3, n), rng.uniform(0.1, 1, n)
    at = np.sort(np.concatenate([[t[0]], rng.uniform(-40, 160, 20)]))  # one node upon a point
    mean, deviation = np.empty(21), np.empty(21)
    smooth(t, f, e, at, 15.0, 4.0, mean, deviation)
    expected = by_matrices(t, f, e, at, 15.0, 4.0)
    np.testing.assert_allclose(mean, expected[0], atol=1e-9)
    np.testing.assert_allclose(deviation, expected[1], atol=1e-9)


def test_without_points_nothing_is_known() -> None:
    none, mean, deviation = np.empty(0), np.ones(3), np.ones(3)
    surprise = smooth(none, none, none, np.arange(3.0), 15.0, 4.0, mean, deviation)
    assert (surprise, mean.tolist(), deviation.tolist()) == (0.0, [0, 0, 0], [4, 4, 4])


def test_noise_surprises_once_a_point_a_smooth_course_no_more_a_rough_one_often() -> None:
    rng, out = np.random.default_rng(0), np.empty(1)
    t, e, at = np.arange(0.0, 200), np.full(200, 0.1), np.array([100.0])
    noise = rng.normal(0, 0.1, 200)

    def surprise(flux: np.ndarray, size: float) -> float:
        return smooth(t, flux, e, at, 20.0, size, out, out) / 200

    assert surprise(noise, 1e-6) == pytest.approx((noise**2).mean() / 0.01)
    assert surprise(noise + 3 * np.sin(t / 25), 3.0) < 1
    assert surprise(noise + 3 * np.sin(t * 2.4), 3.0) > 10

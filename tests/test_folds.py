from __future__ import annotations

import numpy as np

from broker.folds import LEVELS, PHASES, fold


def folded(time: np.ndarray, magnitude: np.ndarray, per_day: float) -> np.ndarray:
    image = np.full((PHASES, LEVELS), 9, np.uint8)
    fold(time.astype(np.int64), magnitude.astype(np.int32), per_day, image)
    return image


def shares(image: np.ndarray) -> np.ndarray:
    return (image / 255.0) ** 2


def binary(n: int, second: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two minima a turn of two days, one of them `second` times as deep."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, 900_000_000, n))
    turn = time / 2e6 % 1
    dips = np.exp(-(((turn - 0.3) / 0.05) ** 2)) + second * np.exp(-(((turn - 0.8) / 0.05) ** 2))
    return time, 150_000 + 8000 * dips


def test_phase_zero_is_the_deeper_minimum_and_half_a_turn_on_the_other() -> None:
    image = folded(*binary(2000, 0.5), per_day=1.0)
    np.testing.assert_allclose(shares(image).sum(1), 1, rtol=0.03)
    level = shares(image) @ np.arange(LEVELS)  # mean level of each phase
    assert level.argmax() in (0, 1, PHASES - 1)
    assert level[0] > level[PHASES // 2] + 3
    assert level[PHASES // 2] > level[PHASES // 4] + 3


def test_the_origin_of_time_and_magnitude_and_the_order_do_not_matter() -> None:
    time, magnitude = binary(300, 0.4)
    image = folded(time, magnitude, 1.0)
    later = folded(time + 730_123_456, magnitude - 30_000, 1.0)
    np.testing.assert_allclose(later.astype(int), image, atol=1)


def test_no_frequency_or_no_change_gives_an_empty_image() -> None:
    time, magnitude = binary(300, 0.4)
    assert not folded(time, magnitude, 0.0).any()
    assert not folded(time, np.full(300, 5), 1.0).any()
    assert not folded(time[:1], magnitude[:1], 1.0).any()


def test_outliers_stay_in_the_image() -> None:
    time, magnitude = binary(300, 0.4)
    magnitude[5], magnitude[9] = 400_000, -100_000
    np.testing.assert_allclose(shares(folded(time, magnitude, 1.0)).sum(1), 1, rtol=0.03)

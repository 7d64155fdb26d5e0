"""The soak's judgement: what rises is told from what only moves."""

from __future__ import annotations

import numpy as np
import pytest
from soak import judged, look

HOURS = np.arange(180) / 360


def noise(seed: int, follows: float) -> np.ndarray:
    """MB around none; each sample follows its neighbour."""
    random, values = np.random.default_rng(seed), np.zeros(180)
    for i in range(1, 180):
        values[i] = follows * values[i - 1] + random.normal(0, 3)
    return values


@pytest.mark.parametrize("follows", [0.0, 0.8])
def test_noise_does_not_grow_and_a_leak_does(follows: float) -> None:
    for seed in range(20):
        moves = 400 + noise(seed, follows)
        assert not judged("curves", "MB", HOURS, moves).grows
        leak = judged("curves", "MB", HOURS, moves + 150 * HOURS)
        assert leak.grows
        assert abs(leak.per_hour - 150) < 4 * leak.error


def test_a_descriptor_an_hour_is_noise_and_one_a_minute_is_not() -> None:
    assert not judged("decode", "descriptors", HOURS, 40 + np.floor(HOURS)).grows
    assert judged("decode", "descriptors", HOURS, 40 + np.floor(60 * HOURS)).grows


def test_this_process_is_looked_at() -> None:
    import os

    with open(os.devnull), open(os.devnull):
        more = look(os.getpid())
    less = look(os.getpid())
    assert more[1] == less[1] + 2
    assert more[0] > 10
    assert more[2] >= 1

"""What stands beside an image: scalars, the periodogram of the ladder's points, its folds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from broker.folds import LEVELS, PHASES, fold
from broker.inputs import Channel
from broker.periodogram import FEWEST, PEAKS, Found, Room, room, search
from broker.scalars import SCALARS, measure_many


class Kept(NamedTuple):
    """A periodogram and its folds: what is kept of an object from rung to rung."""

    points: int  #: how many it was made of, the first in order of time
    found: Found
    folds: NDArray[np.uint8]  # (PEAKS, PHASES, LEVELS)


class Beside(NamedTuple):
    """``numbers`` (curve, Channel.numbers) f4: scalars, log of how many points the periodogram has,
    its features; ``folds`` (curve, Channel.folds, PHASES, LEVELS) u1.
    """

    numbers: NDArray[np.float32]
    folds: NDArray[np.uint8]


def keep(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    error: NDArray[np.float64],
    points: int,
    room: Room,
) -> Kept:
    """The periodogram of the first `points` of a curve in order of time, and its folds.

    For a stream, `points` is `broker.periodogram.rung` of how many there are: while that stays the
    same, so does the answer. Fewer than FEWEST count as none.
    """
    # No kernel: each that calls `search` would take a minute to compile, and have bits of its own.
    if points < FEWEST:
        points = 0
    t, m = time[:points], magnitude[:points]
    found = search(t, m, error[:points], room)
    folds = np.zeros((PEAKS, PHASES, LEVELS), np.uint8)
    for per_day, image in zip(found.per_day, folds, strict=True):
        fold(t, m, per_day, image)
    return Kept(points, found, folds)


def many(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    error: NDArray[np.float64],
    first: NDArray[np.int64],
    points: NDArray[np.int64],
    channel: Channel,
) -> Beside:
    """What a channel has beside the images of many curves, as the stream has it of one.

    Parameters
    ----------
    time : (point,) i8
        Microdays, in order within each curve.
    magnitude : (point,) i4
        0.1 mmag.
    error : (point,) f8
        Magnitudes.
    first : (curve + 1,) i8
        Curve i is points first[i]:first[i + 1].
    points : (curve,) i8
        Of how many points each periodogram is made; the first ones.
    channel : Channel
        Its scalars, periodogram and folds.
    """
    curves = len(first) - 1
    numbers = np.zeros((curves, channel.numbers), np.float32)
    folds = np.zeros((curves, channel.folds, PHASES, LEVELS), np.uint8)
    scalars = [SCALARS.index(name) for name in channel.scalars]
    behind = len(scalars)
    numbers[:, :behind] = measure_many(time, magnitude, error, first)[:, scalars]
    if channel.periodogram:
        one = room()
        for i in range(curves):
            part = slice(first[i], first[i + 1])
            kept = keep(time[part], magnitude[part], error[part], int(points[i]), one)
            numbers[i, behind] = np.log(max(kept.points, 1))
            numbers[i, behind + 1 :] = kept.found.features
            folds[i] = kept.folds[: channel.folds]
    return Beside(numbers, folds)

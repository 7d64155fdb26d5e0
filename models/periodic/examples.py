"""What networks of periodic variables are trained on: curves whole, thinned and cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from broker import beside, dmdt
from broker.grids import GRIDS, TENTH_MMAG
from broker.inputs import Channel
from broker.periodogram import FEWEST, rungs
from models import intensity
from models.catalogue import Catalogue
from models.periodic.network import Eaten

#: A thinned copy keeps from this share of its points to all, with noise of so many errors.
LEAST_KEPT, NOISE = 0.5, 0.3
#: Curves whose inputs are computed at a time.
_PIECE = 500

#: Curves, and of how many points each one's periodogram is made (object,).
Drawn = tuple[Catalogue, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs of many curves, small enough to keep a quarter of a million: 5.7 kB each.

    ``counts`` (curve, cell) i2 are unsigned: of 65,536 pairs in a cell (360 points of one night)
    the last would be lost. ``n`` (curve,) i4 points, ``numbers`` and ``folds`` as
    `broker.beside.Beside` has them.
    """

    counts: torch.Tensor
    n: torch.Tensor
    numbers: torch.Tensor
    folds: torch.Tensor
    grid: tuple[int, int]

    def __len__(self) -> int:
        return len(self.n)

    def take(self, which: torch.Tensor | slice) -> Examples:
        """Some of them."""
        counts, n = self.counts[which], self.n[which]
        return Examples(counts, n, self.numbers[which], self.folds[which], self.grid)

    def eaten(self, device: str = "cpu") -> Eaten:
        """What a network on `device` eats of them."""
        counts = self.counts.to(torch.int32).bitwise_and_(0xFFFF).to(device)
        levels = intensity.root_rows(counts, self.n.to(device), self.grid)
        return levels, self.numbers.to(device), self.folds.to(device)


def join(parts: Sequence[Examples]) -> Examples:
    """All of these, one set behind the other."""
    return Examples(
        torch.cat([part.counts for part in parts]),
        torch.cat([part.n for part in parts]),
        torch.cat([part.numbers for part in parts]),
        torch.cat([part.folds for part in parts]),
        parts[0].grid,
    )


def make(
    drawn: Drawn, channel: Channel, progress: Callable[[int], None] = lambda _: None
) -> Examples:
    """Inputs of curves, on all cores; `progress` is told now and then of how many they are done."""
    curves, points = drawn
    grid = GRIDS[channel.grid]

    def piece(begin: int) -> Examples:
        some = np.arange(begin, min(begin + _PIECE, len(curves)))
        part = curves.cut(some, curves.n[some])
        made = beside.many(part.time, part.magnitude, part.error, part.first, points[some], channel)
        pairs = dmdt.count(part.time, part.magnitude, part.first, grid).reshape(len(some), -1)
        counts = torch.from_numpy(pairs.astype(np.uint16).view(np.int16))
        n = torch.from_numpy(part.n.astype(np.int32))
        numbers, folds = torch.from_numpy(made.numbers), torch.from_numpy(made.folds)
        return Examples(counts, n, numbers, folds, grid.shape)

    parts, done = [], 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the kernels let other threads run
        for part in pool.map(piece, range(0, len(curves), _PIECE)):
            parts.append(part)
            done += len(part)
            progress(done)
    return join(parts)


def thinned(curves: Catalogue, draw: np.random.Generator) -> Drawn:
    """Each curve with a random part of its points, a little noisier.

    Periodograms of three in five are of all points, of the others of any number from the last rung
    on: an image grows while its periodogram stays.
    """
    of = np.repeat(np.arange(len(curves)), curves.n)
    keep = draw.random(len(of)) < draw.uniform(LEAST_KEPT, 1, len(curves))[of]
    noise = NOISE * draw.normal(size=len(of)) * curves.error * TENTH_MMAG
    few = np.bincount(of[keep], minlength=len(curves)) < FEWEST
    noisy = replace(curves, magnitude=curves.magnitude + np.rint(noise).astype(np.int32))
    made = noisy.kept(keep | few[of])
    whole = draw.random(len(curves)) < 0.6
    return made, np.where(whole, made.n, draw.integers(rungs(made.n), made.n + 1))


def cut(curves: Catalogue, draw: np.random.Generator) -> Drawn:
    """Each curve with some successive points, as many as a periodogram needs and more (where it has
    them; else from two on), each octave of lengths as often.

    Three in five begin with the first point. Periodograms are those of the ladder, of three in ten
    those of all points.
    """
    made = _stretches(curves, np.where(curves.n < FEWEST, 2, FEWEST), curves.n, draw)
    whole = (draw.random(len(made)) < 0.3) & (made.n >= FEWEST)
    return made, np.where(whole, made.n, rungs(made.n))


def few(curves: Catalogue, draw: np.random.Generator) -> Drawn:
    """As `cut`, of fewer points than a periodogram needs."""
    most = np.minimum(curves.n, FEWEST - 1)
    return _stretches(curves, np.full(len(curves), 2), most, draw), np.zeros(len(curves), np.int64)


def _stretches(
    curves: Catalogue, least: NDArray[np.int64], most: NDArray[np.int64], draw: np.random.Generator
) -> Catalogue:
    """So many successive points of each curve: at least and at most (curve,)."""
    n = curves.n
    length = np.exp(draw.uniform(np.log(least), np.log(most + 1))).astype(np.int64)
    length = length.clip(least, most)
    skip = np.where(draw.random(len(n)) < 0.6, 0, draw.integers(0, n - length + 1))
    return curves.cut(np.arange(len(n)), length, skip)

"""The exercise's two kinds of toy stars, as light curves and as DMDT images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker import dmdt
from broker.grids import MICRODAYS, TENTH_MMAG, Grid

CLASSES = ("RR Lyrae-like", "eclipsing-like")
POINTS = 60
DAYS = 30.0
NOISE = 0.25


@dataclass(frozen=True, slots=True)
class Toys:
    """Light curves (object, point) in days and magnitudes, and how they were made.

    ``period`` (object,) days, ``amplitude`` (object,) magnitudes: half the swing of a sine, the
    depth of the deeper eclipse.
    """

    time: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    label: NDArray[np.int64]
    period: NDArray[np.float64]
    amplitude: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, which: NDArray) -> Toys:
        return Toys(
            self.time[which],
            self.magnitude[which],
            self.label[which],
            self.period[which],
            self.amplitude[which],
        )

    def images(self, grid: Grid) -> NDArray[np.float32]:
        """Counts of pairs (object, n_dm, n_dt) over the fullest cell of each image."""
        n, points = self.time.shape
        counts = dmdt.count(
            np.rint(self.time * MICRODAYS).astype(np.int64).ravel(),
            np.rint(self.magnitude * TENTH_MMAG).astype(np.int32).ravel(),
            np.arange(0, n * points + 1, points),
            grid,
        )
        fullest = np.maximum(counts.max(axis=(1, 2), keepdims=True), 1)
        images: NDArray[np.float32] = (counts / fullest).astype(np.float32)
        return images


def draw(each: int, random: np.random.Generator, noise: float = NOISE) -> Toys:
    """So many stars of each kind, seen at 60 random times of 30 days.

    The exercise's own numbers: a sine of 0.2 to 1 days and 0.3 to 0.6 mag; or two Gaussian dips, at
    phase 0 (from its middle on) and at 0.5, of width 0.07, a period of 0.4 to 1.5 days, 0.7 to
    1 mag deep and 0.3 to 0.7 of that. As there, a dip is towards smaller values.
    """
    n = 2 * each
    label = np.repeat([0, 1], each)
    sine = label == 0
    time = np.sort(random.uniform(0, DAYS, (n, POINTS)), axis=1)
    period = np.where(sine, random.uniform(0.2, 1.0, n), random.uniform(0.4, 1.5, n))
    amplitude = np.where(sine, random.uniform(0.3, 0.6, n), random.uniform(0.7, 1.0, n))
    second = amplitude * random.uniform(0.3, 0.7, n)
    begin = random.uniform(0, 1, n)
    phase = time / period[:, None]
    wave = amplitude[:, None] * np.sin(2 * np.pi * (phase + begin[:, None]))
    dips = amplitude[:, None] * _dip(phase % 1) + second[:, None] * _dip(phase % 1 - 0.5)
    magnitude = np.where(sine[:, None], wave, -dips) + random.normal(0, noise, (n, POINTS))
    return Toys(time, magnitude, label, period, amplitude)


def _dip(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-((phase / 0.07) ** 2))

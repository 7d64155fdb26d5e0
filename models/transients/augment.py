"""Other curves that the same objects might have had: fainter, slower, with fewer points, cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import MICRODAYS
from models.transients.curves import DETECTION_SIGMA, Curves


@dataclass(frozen=True, slots=True)
class Fates:
    """What becomes of each curve of an epoch; columns (object,) f8.

    ``dim`` multiplies the flux, and noise is added so that the error stays that of the sky, as for
    the same object further away; ``noise`` adds so many more errors; ``lost`` is the share of
    points left out; ``stretch`` multiplies days since the first detection, as redshift does;
    ``days`` are seen after the first detection.
    """

    dim: NDArray[np.float64]
    noise: NDArray[np.float64]
    lost: NDArray[np.float64]
    stretch: NDArray[np.float64]
    days: NDArray[np.float64]


#: Share of an epoch's curves that are seen whole; of the others the days seen are drawn with equal
#: chance in each octave between these.
WHOLE, SHORTEST, LONGEST = 0.4, 1.5, 120.0


def draw_fates(count: int, draw: np.random.Generator, whole: float = WHOLE) -> Fates:
    """Half of all are dimmed, half lose points, half get noise, most are stretched by some 7 %."""

    def sometimes(share: float, changed: NDArray[np.float64], unchanged: float) -> NDArray:
        return np.where(draw.random(count) < share, changed, unchanged)

    octave = np.exp(draw.uniform(np.log(SHORTEST), np.log(LONGEST), count))
    return Fates(
        dim=sometimes(0.5, draw.uniform(0.4, 1, count), 1.0),
        noise=sometimes(0.5, draw.uniform(0, 0.6, count), 0.0),
        lost=sometimes(0.5, draw.uniform(0, 0.4, count), 0.0),
        stretch=sometimes(0.7, np.exp(draw.normal(0, 0.07, count)), 1.0),
        days=sometimes(whole, np.full(count, np.inf), 0.0) + octave,
    )


def augment(curves: Curves, draw: np.random.Generator, fates: Fates | None = None) -> Curves:
    """Each object once, changed by its fate; drawn ones if None.

    An object that was never detected keeps all its points.
    """
    fates = fates or draw_fates(len(curves), draw)
    owner = np.repeat(np.arange(len(curves)), curves.n)
    start = _starts(curves.time, curves.flux, curves.error, curves.first)[owner]
    dim, noise = fates.dim[owner], fates.noise[owner]
    extra = np.sqrt(1 - dim**2 + noise**2) * curves.error
    flux = dim * curves.flux + extra * draw.normal(size=len(owner))
    error = np.sqrt(1 + noise**2) * curves.error
    time = start + np.rint((curves.time - start) * fates.stretch[owner]).astype(np.int64)
    changed = Curves(
        time, curves.band, curves.kind, flux.astype(np.float32), error.astype(np.float32),
        curves.first, curves.label, curves.split,
    )  # fmt: skip
    thinned = changed.rows(draw.random(len(owner)) >= fates.lost[owner])
    begin = _starts(thinned.time, thinned.flux, thinned.error, thinned.first)
    owner = np.repeat(np.arange(len(curves)), thinned.n)
    return thinned.rows((thinned.time - begin[owner]) / MICRODAYS <= fates.days[owner])


@njit(cache=True, nogil=True)
def _starts(
    time: NDArray[np.int64],
    flux: NDArray[np.float32],
    error: NDArray[np.float32],
    first: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Time (object,) of the first detection, or of the last point of one never detected."""
    starts = np.zeros(len(first) - 1, np.int64)
    for i in range(len(starts)):
        for k in range(first[i], first[i + 1]):
            starts[i] = time[k]
            if abs(flux[k]) >= DETECTION_SIGMA * error[k]:
                break
    return starts

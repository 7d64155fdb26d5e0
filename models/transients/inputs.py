"""What the networks of transients eat: an image per band, the course of the flux, some numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from broker import course, dmdt
from broker.asinh import softening, tenth_mmag
from broker.grids import GRIDS
from broker.records import BANDS
from models.transients.curves import Curves

GRID = GRIDS["transient"]


@dataclass(frozen=True, slots=True)
class Eye:
    """Whose points a network sees: the survey, which sets the softening fluxes, and its bands."""

    survey: str
    bands: str

    @property
    def slot(self) -> NDArray[np.int64]:
        """(8,) i8 which of the network's bands each of BANDS is, -1 for none."""
        return np.array([self.bands.find(band) if len(band) == 1 else -1 for band in BANDS])

    @property
    def soft(self) -> NDArray[np.float64]:
        """(band,) f8 softening fluxes, nJy."""
        return softening(self.survey)[[BANDS.index(band) for band in self.bands]]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one object's images, course and numbers."""
        n_dm, n_dt = GRID.shape
        bands = len(self.bands)
        numbers = len(course.names(self.bands))
        return (bands, n_dm, n_dt), (bands, len(course.NODES), 2), (numbers,)


@dataclass(frozen=True, slots=True)
class Inputs:
    """One row an object: ``images`` (object, band, dm, dt) i4 counts of pairs, ``course`` (object,
    band, node, 2) f4, ``numbers`` (object, number) f4 (see `broker.course`).
    """

    images: torch.Tensor
    course: torch.Tensor
    numbers: torch.Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, which: torch.Tensor | slice) -> Inputs:
        return Inputs(self.images[which], self.course[which], self.numbers[which])

    def to(self, device: str | torch.device) -> Inputs:
        """The same on a device."""
        return Inputs(self.images.to(device), self.course.to(device), self.numbers.to(device))


def make(curves: Curves, eye: Eye) -> Inputs:
    """Inputs of each object from all its points, by the kernels of the stream."""
    images, flux, numbers = (np.zeros((len(curves), *s), np.float32) for s in eye.shapes)
    images = images.astype(np.int32)
    slot, soft = eye.slot, eye.soft
    points = (curves.time, curves.band, curves.flux)
    table = dmdt.table([GRID])
    count_many(*points, curves.first, slot, soft, table, images.reshape(*images.shape[:2], -1))
    course.describe_many(*points, curves.error, curves.first, slot, soft, flux, numbers)
    return Inputs(torch.from_numpy(images), torch.from_numpy(flux), torch.from_numpy(numbers))


@njit(cache=True, nogil=True)
def count_many(
    time: NDArray[np.int64],
    band: NDArray[np.uint8],
    flux: NDArray[np.float32],
    first: NDArray[np.int64],
    slot: NDArray[np.int64],
    soft: NDArray[np.float64],
    table: dmdt.Table,
    counts: NDArray[np.int32],
) -> None:
    """Add to counts (object, slot, cell) i4 each pair of asinh magnitudes of one band."""
    most = 0
    for i in range(len(first) - 1):
        most = max(most, first[i + 1] - first[i])
    curve = np.empty(most, dmdt.MEASUREMENT)
    for i in range(len(first) - 1):
        for b in range(len(soft)):
            n = 0
            for k in range(first[i], first[i + 1]):
                if slot[band[k]] == b:
                    curve[n].time = time[k]
                    curve[n].magnitude = tenth_mmag(flux[k], soft[b])
                    n += 1
            dmdt.count_all(curve, n, table, 0, counts[i, b])

"""Light curves of stars with known classes (Catalina, CRTS), in the units of the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import dmdt, runs
from broker.grids import MICRODAYS, TENTH_MMAG, Grid
from models import curve_files, splits
from models.curve_files import LABELS, WIDER, CurveFile

#: Class number in the catalogue of Drake et al. (2017) -> our name; the seven of Mahabal et al.
#: 2017, in the order of the network's output.
CLASSES = {5: "EW", 6: "EA", 1: "RRab", 2: "RRc", 3: "RRd", 7: "rotating", 8: "LPV"}
SEVEN = tuple(CLASSES.values())
#: A gap of half a day begins a new night.
NIGHT = MICRODAYS // 2


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Light curves with known classes; points of object i are rows first[i]:first[i + 1], in
    order of time.

    ``time`` (point,) i8 microdays, ``magnitude`` (point,) i4 0.1 mmag, ``error`` (point,) f8
    magnitudes (0: not known), ``first`` (object + 1,) i8, ``label`` (object,) i8 index of the
    class, ``split`` (object,) i8 a hash of the object's name, ``fingerprint`` (object,) u4 a hash
    of its light curve as the source gives it, whole, ``sky`` (object, 2) f8 right ascension and
    declination in degrees (NaN: not known).
    """

    time: NDArray[np.int64]
    magnitude: NDArray[np.int32]
    error: NDArray[np.float64]
    first: NDArray[np.int64]
    label: NDArray[np.int64]
    split: NDArray[np.int64]
    fingerprint: NDArray[np.uint32]
    sky: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def n(self) -> NDArray[np.int64]:
        """Points of each object."""
        return np.diff(self.first)

    @property
    def test(self) -> NDArray[np.int64]:
        """Objects that no training sees: crc32(id) % 5 == 1."""
        return np.flatnonzero(splits.test(self.split))

    @property
    def validation(self) -> NDArray[np.int64]:
        """A tenth of the others, which chooses the epoch."""
        return np.flatnonzero(splits.validation(self.split))

    @property
    def training(self) -> NDArray[np.int64]:
        return np.flatnonzero(splits.training(self.split))

    def cut(
        self, objects: NDArray[np.int64], n: NDArray[np.int64], skip: NDArray[np.int64] | int = 0
    ) -> Catalogue:
        """Some objects (object,), each with n (object,) points only: the first but for `skip`."""
        row, first = runs.picked(self.first[objects] + skip, np.arange(len(objects)), n)
        return self._rows(row, first, objects)

    def kept(self, keep: NDArray[np.bool_]) -> Catalogue:
        """The same objects with some of their points (point,)."""
        return self._rows(np.flatnonzero(keep), runs.kept(self.first, keep), slice(None))

    def counts(self, grid: Grid) -> NDArray[np.int32]:
        """DMDT counts (object, cell) of all points, by the kernels of the stream."""
        return dmdt.count(self.time, self.magnitude, self.first, grid).reshape(-1, grid.cells)

    def nightly(self) -> Catalogue:
        """The same objects with the first point of each night only.

        Catalina takes four in half an hour; most surveys come once a night or less.
        """
        return self.kept(_first_of_night(self.time, self.first))

    def _rows(
        self, row: NDArray[np.int64], first: NDArray[np.int64], objects: NDArray[np.int64] | slice
    ) -> Catalogue:
        return Catalogue(
            self.time[row],
            self.magnitude[row],
            self.error[row],
            first,
            self.label[objects],
            self.split[objects],
            self.fingerprint[objects],
            self.sky[objects],
        )


def read(folder: Path, labels: str = "crts-south") -> Catalogue:
    """The seven classes of a Catalina survey.

    Parameters
    ----------
    folder : Path
        With its file, crts_south.npz or crts_north.npz.
    labels : str
        "crts-south" or "crts-north".

    Raises
    ------
    FileNotFoundError
        The folder does not hold it.
    ValueError
        It is not that file.
    """
    file = curve_files.read(folder / f"{labels.replace('-', '_')}.npz")
    return of(file, known(file, labels, SEVEN))


def together(several: Sequence[Catalogue]) -> Catalogue:
    """All objects of these, one catalogue behind the other."""
    points = np.concatenate([curves.n for curves in several])
    return Catalogue(
        time=np.concatenate([curves.time for curves in several]),
        magnitude=np.concatenate([curves.magnitude for curves in several]),
        error=np.concatenate([curves.error for curves in several]),
        first=np.concatenate([[0], np.cumsum(points)]),
        label=np.concatenate([curves.label for curves in several]),
        split=np.concatenate([curves.split for curves in several]),
        fingerprint=np.concatenate([curves.fingerprint for curves in several]),
        sky=np.concatenate([curves.sky for curves in several]),
    )


def known(file: CurveFile, labels: str, classes: Sequence[str]) -> NDArray[np.int64]:
    """Index into `classes` of each object (object,) i8; -1 for one of another class.

    Parameters
    ----------
    labels : str
        Whose class numbers the file holds, a key of LABELS.
    """
    place = {c: i for i, c in enumerate(classes)}
    numbers = {
        number: place.get(name, place.get(WIDER.get(name, ""), -1))
        for number, name in LABELS[labels].items()
    }
    return np.array([numbers.get(number, -1) for number in file.lab.tolist()], np.int64)


def of(file: CurveFile, label: NDArray[np.int64]) -> Catalogue:
    """The objects of a file whose label (object,) is not -1.

    Raises
    ------
    ValueError
        The file holds fluxes.
    """
    if file.flux:
        msg = f"{file.path}: it holds fluxes f; expected magnitudes m"
        raise ValueError(msg)
    objects = np.flatnonzero(label >= 0)
    file = file.take(objects)
    return Catalogue(
        time=np.rint(file.t * MICRODAYS).astype(np.int64),
        magnitude=np.rint(file.value.astype(np.float64) * TENTH_MMAG).astype(np.int32),
        error=file.e.astype(np.float64),
        first=file.off,
        label=label[objects],
        split=file.split,
        fingerprint=file.fingerprints,
        sky=file.sky,
    )


@njit(cache=True, nogil=True)
def _first_of_night(time: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.bool_]:
    keep = np.zeros(len(time), np.bool_)
    for i in range(len(first) - 1):
        for j in range(first[i], first[i + 1]):
            keep[j] = j == first[i] or time[j] - time[j - 1] > NIGHT
    return keep

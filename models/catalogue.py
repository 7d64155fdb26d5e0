"""Labelled light curves of the Catalina southern survey (CRTS-S), in the units of the stream."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import dmdt
from broker.grids import MICRODAYS, TENTH_MMAG, Grid

FILE = "crts_south.npz"
#: Class number in the catalogue of Drake et al. (2017) -> our name; the seven of Mahabal et al.
#: 2017, in the order of the network's output.
CLASSES = {5: "EW", 6: "EA", 1: "RRab", 2: "RRc", 3: "RRd", 7: "rotating", 8: "LPV"}
#: A few dates are corrupt: points further from the median time than this are left out.
MOST_DAYS = 4000
#: A gap of half a day begins a new night.
NIGHT = MICRODAYS // 2


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Light curves with known classes; points of object i are rows first[i]:first[i + 1], in
    order of time.

    ``time`` (point,) i8 microdays, ``magnitude`` (point,) i4 0.1 mmag, ``first`` (object + 1,) i8,
    ``label`` (object,) i8 index into CLASSES, ``split`` (object,) i8 a hash of the object's name.
    """

    time: NDArray[np.int64]
    magnitude: NDArray[np.int32]
    first: NDArray[np.int64]
    label: NDArray[np.int64]
    split: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def n(self) -> NDArray[np.int64]:
        """Points of each object."""
        return np.diff(self.first)

    @property
    def test(self) -> NDArray[np.int64]:
        """Objects that no training sees: crc32(id) % 5 == 1."""
        return np.flatnonzero(self.split % 5 == 1)

    @property
    def validation(self) -> NDArray[np.int64]:
        """A tenth of the others, which chooses the epoch."""
        return np.flatnonzero((self.split % 5 != 1) & (self.split // 5 % 10 == 0))

    @property
    def training(self) -> NDArray[np.int64]:
        return np.flatnonzero((self.split % 5 != 1) & (self.split // 5 % 10 != 0))

    def cut(self, objects: NDArray[np.int64], n: NDArray[np.int64]) -> Catalogue:
        """Some objects (object,), each with its first n (object,) points only."""
        first = np.concatenate([[0], np.cumsum(n)])
        row = np.repeat(self.first[objects] - first[:-1], n) + np.arange(first[-1])
        return Catalogue(
            self.time[row], self.magnitude[row], first, self.label[objects], self.split[objects]
        )

    def counts(self, grid: Grid) -> NDArray[np.int32]:
        """DMDT counts (object, cell) of all points, by the kernels of the stream."""
        return dmdt.count(self.time, self.magnitude, self.first, grid).reshape(-1, grid.cells)

    def nightly(self) -> Catalogue:
        """The same objects with the first point of each night only.

        Catalina takes four in half an hour; most surveys come once a night or less.
        """
        keep = _first_of_night(self.time, self.first)
        kept = np.concatenate([[0], np.cumsum(keep)])
        return Catalogue(
            self.time[keep], self.magnitude[keep], kept[self.first], self.label, self.split
        )


def read(folder: Path) -> Catalogue:
    """Read ``crts_south.npz`` (arrays t, m, off, ids, lab) from a folder.

    Raises
    ------
    FileNotFoundError
        The folder does not hold it.
    ValueError
        It is not that file.
    """
    path = folder / FILE
    if not path.is_file():
        msg = f"{path}: no such file; training and evaluation need the CRTS-S light curves"
        raise FileNotFoundError(msg)
    try:
        with np.load(path) as file:
            t, m, off, ids, lab = (file[name] for name in ("t", "m", "off", "ids", "lab"))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        msg = f"{path}: expected arrays t, m, off, ids and lab: {error}"
        raise ValueError(msg) from error
    return from_arrays(t, m, off, ids, lab)


def from_arrays(t: NDArray, m: NDArray, off: NDArray, ids: NDArray, lab: NDArray) -> Catalogue:
    """Clean, sort and round; objects of other classes are left out.

    Parameters
    ----------
    t, m : (point,)
        MJD in days, magnitudes.
    off : (object + 1,)
    ids, lab : (object,)
        Names, and class numbers of the catalogue (keys of CLASSES).
    """
    order = {number: i for i, number in enumerate(CLASSES)}
    objects = [i for i in range(len(lab)) if int(lab[i]) in order]
    rows, lengths = [], []
    for i in objects:
        here = np.arange(off[i], off[i + 1])
        here = here[np.abs(t[here] - np.median(t[here])) <= MOST_DAYS]
        rows.append(here[np.argsort(t[here], kind="stable")])
        lengths.append(len(here))
    row = np.concatenate(rows)
    return Catalogue(
        time=np.rint(t[row].astype(np.float64) * MICRODAYS).astype(np.int64),
        magnitude=np.rint(m[row].astype(np.float64) * TENTH_MMAG).astype(np.int32),
        first=np.concatenate([[0], np.cumsum(lengths)]),
        label=np.array([order[int(lab[i])] for i in objects]),
        split=np.array([zlib.crc32(str(ids[i]).encode()) for i in objects]),
    )


@njit(cache=True, nogil=True)
def _first_of_night(time: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.bool_]:
    keep = np.zeros(len(time), np.bool_)
    for i in range(len(first) - 1):
        for j in range(first[i], first[i + 1]):
            keep[j] = j == first[i] or time[j] - time[j - 1] > NIGHT
    return keep

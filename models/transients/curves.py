"""Labelled light curves of transients in the stream's units: one column per field of a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker import runs
from broker.grids import MICRODAYS
from broker.inputs import Channel
from broker.records import BANDS, DETECTION, FORCED, KINDS

#: A flux this many errors above 0 would have made an alert.
DETECTION_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class Curves:
    """Points of object i are rows first[i]:first[i + 1], in order of time.

    ``time`` (point,) i8 microdays, ``band`` (point,) u1 index into `broker.records.BANDS`,
    ``kind`` (point,) u1 index into `broker.records.KINDS`, ``flux`` and ``error`` (point,) f4
    difference flux in nJy (of a limit: 0, and a fifth of it), ``first`` (object + 1,) i8, ``label``
    (object,) i8 class number of the data sets (`models.transients.sets.CLASSES`), ``split``
    (object,) i8 crc32 of the object's name.
    """

    time: NDArray[np.int64]
    band: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    flux: NDArray[np.float32]
    error: NDArray[np.float32]
    first: NDArray[np.int64]
    label: NDArray[np.int64]
    split: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def n(self) -> NDArray[np.int64]:
        """Points of each object."""
        return np.diff(self.first)

    def rows(self, keep: NDArray[np.bool_]) -> Curves:
        """The same objects with some of their points (point,)."""
        return self._points(keep, runs.kept(self.first, keep), slice(None))

    def take(self, objects: NDArray[np.int64]) -> Curves:
        """Some objects (object,), in that order; an object may come more than once."""
        return self._points(*runs.picked(self.first, objects), objects)

    @property
    def detected(self) -> NDArray[np.bool_]:
        """Which objects (object,) have a detection: only of these an alert tells."""
        before = np.concatenate([[0], np.cumsum(self.kind == DETECTION)])
        result: NDArray[np.bool_] = np.diff(before[self.first]) > 0
        return result

    def first_points(self, n: NDArray[np.int64] | int) -> Curves:
        """The first n, or n (object,), points of each object."""
        place = np.arange(len(self.time)) - np.repeat(self.first[:-1], self.n)
        return self.rows(place < np.repeat(np.broadcast_to(n, len(self)), self.n))

    def until(self, days: float) -> Curves:
        """What is known so many days after the first detection; of objects without one, all.

        Points at exactly that time stay in.
        """
        end = first_detection(self) + round(days * MICRODAYS)
        return self.rows(self.time <= np.repeat(end, self.n))

    def entering(self, channel: Channel) -> Curves:
        """The same objects with the points that a network of this channel takes."""
        bands = [BANDS.index(band) for band in channel.bands]
        kinds = [KINDS.index(kind) for kind in channel.kinds]
        return self.rows(np.isin(self.band, bands) & np.isin(self.kind, kinds))

    def _points(
        self, row: NDArray, first: NDArray[np.int64], objects: NDArray[np.int64] | slice
    ) -> Curves:
        return Curves(
            self.time[row],
            self.band[row],
            self.kind[row],
            self.flux[row],
            self.error[row],
            first,
            self.label[objects],
            self.split[objects],
        )


def first_detection(curves: Curves) -> NDArray[np.int64]:
    """Time (object,) i8 of the first point 5 sigma above 0; far in the future if there is none."""
    never = np.iinfo(np.int64).max // 2
    found = np.where(curves.flux >= DETECTION_SIGMA * curves.error, curves.time, never)
    result = np.full(len(curves), never)
    some = curves.n > 0
    if some.any():
        result[some] = np.minimum.reduceat(found, curves.first[:-1][some])
    return result


def join(several: Sequence[Curves]) -> Curves:
    """All objects of several sets, one set behind the other."""
    return Curves(
        np.concatenate([c.time for c in several]),
        np.concatenate([c.band for c in several]),
        np.concatenate([c.kind for c in several]),
        np.concatenate([c.flux for c in several]),
        np.concatenate([c.error for c in several]),
        np.concatenate([[0], np.cumsum(np.concatenate([c.n for c in several]))]),
        np.concatenate([c.label for c in several]),
        np.concatenate([c.split for c in several]),
    )


#: MJD, band, flux and error (nJy) of one object's points, each (point,).
Points = tuple[NDArray, NDArray, NDArray, NDArray]


def from_objects(
    objects: Sequence[Points], split: NDArray[np.int64], label: NDArray[np.int64]
) -> Curves:
    """`from_points` of the points of each object by themselves."""
    mjd, band, flux, error = (
        np.concatenate([np.empty(0), *(points[k] for points in objects)]) for k in range(4)
    )
    off = np.concatenate([[0], np.cumsum([len(points[0]) for points in objects], dtype=np.int64)])
    return from_points(mjd, band, flux, error, off, split, label)


def from_points(
    mjd: NDArray[np.float64],
    band: NDArray[np.uint8],
    flux_njy: NDArray[np.float64],
    error_njy: NDArray[np.float64],
    off: NDArray[np.int64],
    split: NDArray[np.int64],
    label: NDArray[np.int64],
) -> Curves:
    """Sort by time and round as the stream does; what is below 5 sigma counts as forced.

    Parameters
    ----------
    mjd : (point,) f8
        Days.
    band : (point,) u1
        Index into `broker.records.BANDS`.
    flux_njy, error_njy : (point,) f8
    off : (object + 1,) i8
    split, label : (object,) i8
        As in Curves.
    """
    time = np.rint(mjd * MICRODAYS).astype(np.int64)
    owner = np.repeat(np.arange(len(off) - 1), np.diff(off))
    order = np.lexsort((band, time, owner))
    flux, error = flux_njy[order], error_njy[order]
    found = np.abs(flux) >= DETECTION_SIGMA * error
    return Curves(
        time=time[order],
        band=band[order].astype(np.uint8),
        kind=np.where(found, DETECTION, FORCED).astype(np.uint8),
        flux=flux.astype(np.float32),
        error=error.astype(np.float32),
        first=np.asarray(off, np.int64),
        label=np.asarray(label, np.int64),
        split=np.asarray(split, np.int64),
    )

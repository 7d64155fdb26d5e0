"""One light curve in hand: its points, how to find them, its measurements and counts.

A slot is one channel and band: slot = channel * len(BANDS) + band. The arrays of a Curve are reused
for one object after another; the tables that find a point by its name or exposure are rebuilt for
each, in O(n).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import dmdt
from broker.measurements import (
    ROW,
    exposure_hash,
    identity_hash,
    same_point,
)
from broker.records import BANDS, SOLAR_SYSTEM, WITHDRAWN

N_BANDS = len(BANDS)
PAGE = 32  #: points in a page of the changelog


class Channels(NamedTuple):
    """Channels as the kernels read them; channel c has grid c of the table."""

    rows: NDArray[np.void]  # (channel,) measurements.CHANNEL
    table: dmdt.Table


#: How many measurements a slot has, and the sum of their keys.
SLOT = np.dtype([("n", "i8"), ("keys", "u8")])
#: The point behind this one in its bucket, by name and by exposure, or -1; or a bucket's first.
LINKS = np.dtype([("name", "i4"), ("exposure", "i4")])


class Curve(NamedTuple):
    """The arrays of a light curve in hand; few, since each costs at every call in a kernel."""

    points: NDArray[np.void]  # (point,) ROW, in order of arrival
    after: NDArray[np.void]  # (point,) LINKS
    buckets: NDArray[np.void]  # (bucket,) LINKS
    dirty: NDArray[np.uint8]  # (page,) pages that changed
    slots: NDArray[np.void]  # (slot,) SLOT
    measurements: NDArray[np.void]  # (slot, measurement) MEASUREMENT, in order of (time, key)
    counts: NDArray[np.int32]  # (slot, cell)


@njit(cache=True, nogil=True)
def n_buckets(n_points: int) -> int:
    """A power of two, at least twice the points."""
    n = 16
    while n < 2 * n_points:
        n *= 2
    return int(n)


@njit(cache=True, nogil=True)
def allocate(most_points: int, n_slots: int, most_cells: int) -> Curve:
    """Room for the largest light curve of a batch."""
    return Curve(
        np.empty(most_points, ROW),
        np.empty(most_points, LINKS),
        np.empty(n_buckets(most_points), LINKS),
        np.empty(most_points // PAGE + 1, np.uint8),
        np.zeros(n_slots, SLOT),
        np.empty((n_slots, most_points), dmdt.MEASUREMENT),
        np.zeros((n_slots, most_cells), np.int32),
    )


@njit(cache=True, nogil=True)
def clear(curve: Curve, n_points: int) -> int:
    """Make ready for an object that will have at most n_points; returns the number of buckets."""
    buckets = n_buckets(n_points)
    for i in range(buckets):
        curve.buckets[i].name = -1
        curve.buckets[i].exposure = -1
    curve.dirty[: n_points // PAGE + 1] = 0
    for slot in range(len(curve.slots)):
        if curve.slots[slot].n > 0:
            curve.slots[slot].n = 0
            curve.slots[slot].keys = 0
            curve.counts[slot] = 0
    return int(buckets)


@njit(cache=True, nogil=True)
def bucket(hash64: Any, buckets: int) -> int:
    """Where a hash stands in a table."""
    return int(hash64 & np.uint64(buckets - 1))


@njit(cache=True, nogil=True)
def link_exposure(curve: Curve, i: int, buckets: int) -> None:
    """Let point i be found by its exposure."""
    head = curve.buckets[bucket(exposure_hash(curve.points[i]), buckets)]
    curve.after[i].exposure = head.exposure
    head.exposure = i


@njit(cache=True, nogil=True)
def link_name(curve: Curve, i: int, buckets: int) -> None:
    """Let point i be found by its name."""
    head = curve.buckets[bucket(identity_hash(curve.points[i]), buckets)]
    curve.after[i].name = head.name
    head.name = i


@njit(cache=True, nogil=True)
def link_all(curve: Curve, n: int, buckets: int) -> None:
    """Let the first n points be found by name and exposure."""
    points, after, heads = curve.points, curve.after, curve.buckets
    for i in range(n):
        head = heads[bucket(identity_hash(points[i]), buckets)]
        after[i].name = head.name
        head.name = i
        head = heads[bucket(exposure_hash(points[i]), buckets)]
        after[i].exposure = head.exposure
        head.exposure = i


@njit(cache=True, nogil=True, inline="always")
def find(curve: Curve, row: Any, buckets: int) -> int:
    """The point that a row tells of, or -1."""
    points, after = curve.points, curve.after
    i = np.int64(curve.buckets[bucket(identity_hash(row), buckets)].name)
    while i >= 0 and not same_point(points[i], row):
        i = np.int64(after[i].name)
    return i  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def changes(known: Any, row: Any) -> bool:
    """Whether a row of a history says more of a point than what is known.

    It does with a greater processed time, or if it is the first to take the point back.
    """
    if row.processed_mjd_tai > known.processed_mjd_tai:  # never with NaN
        return True
    return bool((row.flags & ~known.flags & (WITHDRAWN | SOLAR_SYSTEM)) != 0)


@njit(cache=True, nogil=True)
def news(
    curve: Curve, rows: NDArray[np.void], begin: int, end: int, buckets: int
) -> tuple[int, int]:
    """The next of rows[begin:end] that is a new point or changes one.

    A packet repeats its history: nearly all rows end here, so the loop calls nothing with arrays.

    Returns
    -------
    r, i : int
        The row, or `end`; the point that it changes, or -1 if it is new.
    """
    for r in range(begin, end):
        i = find(curve, rows[r], buckets)
        if i < 0 or changes(curve.points[i], rows[r]):
            return r, i
    return end, -1

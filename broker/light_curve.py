"""One light curve in hand: points, and per channel and band its measurements and counts.

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
    flux,
    identity_hash,
    magnitude,
    measurement_hash,
    microdays,
    precedes,
    rivals,
    same_point,
    usable,
)
from broker.records import BANDS

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
def count(curve: Curve, slot: int, place: int, sign: int, channels: Channels, c: int) -> None:
    """Add `sign` for each pair of the measurement at `place` with the others of its slot."""
    all_of_slot, counts, table = curve.measurements[slot], curve.counts[slot], channels.table
    t, m = all_of_slot[place].time, np.int64(all_of_slot[place].magnitude)
    n = curve.slots[slot].n
    dmdt.count_earlier(all_of_slot, place, t, m, sign, table, c, counts)
    dmdt.count_later(all_of_slot, place + 1, n, t, m, sign, table, c, counts)


@njit(cache=True, nogil=True)
def insert(curve: Curve, i: int, channels: Channels, c: int) -> None:
    """Point i becomes a measurement of channel c."""
    point = curve.points[i]
    slot = c * N_BANDS + point.band
    t = microdays(point.mjd_tai)
    m = magnitude(flux(point, channels.rows[c]))
    key = measurement_hash(point, t, m)
    rows = curve.measurements[slot]
    place = curve.slots[slot].n
    # Most points are the latest.
    while place > 0 and (
        rows[place - 1].time > t or (rows[place - 1].time == t and rows[place - 1].key > key)
    ):
        rows[place] = rows[place - 1]
        place -= 1
    row = rows[place]
    row.time, row.key, row.magnitude, row.row = t, key, m, i
    curve.slots[slot].n += 1
    curve.slots[slot].keys += key
    count(curve, slot, place, 1, channels, c)


@njit(cache=True, nogil=True)
def take_out(curve: Curve, i: int, channels: Channels, c: int) -> None:
    """Point i, a measurement of channel c, is one no more."""
    slot = c * N_BANDS + curve.points[i].band
    rows = curve.measurements[slot]
    place = curve.slots[slot].n - 1
    while rows[place].row != i:
        place -= 1
    count(curve, slot, place, -1, channels, c)
    curve.slots[slot].n -= 1
    curve.slots[slot].keys -= rows[place].key
    for k in range(place, curve.slots[slot].n):
        rows[k] = rows[k + 1]


@njit(cache=True, nogil=True)
def best_rival(
    curve: Curve, i: int, buckets: int, kinds_apart: bool, channels: Channels, c: int
) -> int:
    """The point that is the measurement of i's exposure if i is not, or -1."""
    point = curve.points[i]
    best = -1
    j = curve.buckets[bucket(exposure_hash(point), buckets)].exposure
    while j >= 0:
        other = curve.points[j]
        if (
            j != i
            and rivals(point, other, kinds_apart)
            and usable(other, channels.rows[c])
            and (best < 0 or precedes(other, curve.points[best]))
        ):
            best = j
        j = curve.after[j].exposure
    return best


@njit(cache=True, nogil=True)
def enter(curve: Curve, i: int, buckets: int, kinds_apart: bool, channels: Channels) -> None:
    """Point i, as it stands now, takes its part in the measurements."""
    point = curve.points[i]
    for c in range(len(channels.rows)):
        if usable(point, channels.rows[c]):
            rival = best_rival(curve, i, buckets, kinds_apart, channels, c)
            if rival >= 0 and precedes(point, curve.points[rival]):
                take_out(curve, rival, channels, c)
                rival = -1
            if rival < 0:
                insert(curve, i, channels, c)
    link_exposure(curve, i, buckets)


@njit(cache=True, nogil=True)
def leave(curve: Curve, i: int, buckets: int, kinds_apart: bool, channels: Channels) -> None:
    """Undo `enter`: as if point i had never come."""
    point = curve.points[i]
    for c in range(len(channels.rows)):
        if usable(point, channels.rows[c]):
            rival = best_rival(curve, i, buckets, kinds_apart, channels, c)
            if rival < 0 or precedes(point, curve.points[rival]):
                take_out(curve, i, channels, c)
                if rival >= 0:
                    insert(curve, rival, channels, c)
    head = curve.buckets[bucket(exposure_hash(point), buckets)]
    if head.exposure == i:
        head.exposure = curve.after[i].exposure
    else:
        j = head.exposure
        while curve.after[j].exposure != i:
            j = curve.after[j].exposure
        curve.after[j].exposure = curve.after[i].exposure


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
def find(curve: Curve, point: Any, buckets: int) -> int:
    """The point that this row tells of, or -1."""
    points, after = curve.points, curve.after
    i = curve.buckets[bucket(identity_hash(point), buckets)].name
    while i >= 0 and not same_point(points[i], point):
        i = after[i].name
    return int(i)

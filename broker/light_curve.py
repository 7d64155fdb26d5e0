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
    """Channels as the kernels read them; edges of channel c are [first[c]:first[c + 1]]."""

    rows: NDArray[np.void]  # (channel,) measurements.CHANNEL
    dt_edges: NDArray[np.int64]
    first_dt: NDArray[np.int64]  # (channel + 1,)
    dm_edges: NDArray[np.int32]
    first_dm: NDArray[np.int64]
    bins: NDArray[np.uint8]
    first_bin: NDArray[np.int64]
    shift: NDArray[np.int64]  # (channel,)
    cells: NDArray[np.int64]  # (channel,)
    scalars: NDArray[np.int64]  # indexes of broker.scalars.SCALARS
    first_scalar: NDArray[np.int64]


class Curve(NamedTuple):
    """The arrays of a light curve in hand."""

    points: NDArray[np.void]  # (point,) ROW, in order of arrival
    dirty: NDArray[np.uint8]  # (page,) pages that changed
    by_name: NDArray[np.int32]  # (bucket,) point or -1
    next_by_name: NDArray[np.int32]  # (point,)
    by_exposure: NDArray[np.int32]
    next_by_exposure: NDArray[np.int32]
    # Measurements of each slot, in order of (time, key):
    n: NDArray[np.int64]  # (slot,)
    time: NDArray[np.int64]  # (slot, measurement) microdays
    key: NDArray[np.uint64]  # (slot, measurement) measurement_hash
    magnitude: NDArray[np.int32]  # (slot, measurement) 0.1 mmag
    row: NDArray[np.int32]  # (slot, measurement) which point
    keys: NDArray[np.uint64]  # (slot,) sum of the slot's keys
    counts: NDArray[np.int32]  # (slot, cell)


@njit(cache=True, nogil=True)
def allocate(most_points: int, n_slots: int, most_cells: int) -> Curve:
    """Room for the largest light curve of a batch."""
    buckets = 16
    while buckets < 2 * most_points:
        buckets *= 2
    return Curve(
        np.empty(most_points, ROW),
        np.empty(most_points // PAGE + 1, np.uint8),
        np.empty(buckets, np.int32),
        np.empty(most_points, np.int32),
        np.empty(buckets, np.int32),
        np.empty(most_points, np.int32),
        np.zeros(n_slots, np.int64),
        np.empty((n_slots, most_points), np.int64),
        np.empty((n_slots, most_points), np.uint64),
        np.empty((n_slots, most_points), np.int32),
        np.empty((n_slots, most_points), np.int32),
        np.zeros(n_slots, np.uint64),
        np.zeros((n_slots, most_cells), np.int32),
    )


@njit(cache=True, nogil=True)
def clear(curve: Curve, n_points: int) -> int:
    """Make ready for an object that will have at most n_points; returns the number of buckets."""
    buckets = 16
    while buckets < 2 * n_points:
        buckets *= 2
    curve.by_name[:buckets] = -1
    curve.by_exposure[:buckets] = -1
    curve.dirty[: n_points // PAGE + 1] = 0
    for slot in range(len(curve.n)):
        if curve.n[slot] > 0:
            curve.n[slot] = 0
            curve.keys[slot] = 0
            curve.counts[slot] = 0
    return buckets


@njit(cache=True, nogil=True)
def bucket(hash64: Any, buckets: int) -> int:
    """Where a hash stands in a table."""
    return int(hash64 & np.uint64(buckets - 1))


@njit(cache=True, nogil=True)
def grid_of(channels: Channels, c: int) -> dmdt.Table:
    """The grid of channel c."""
    return dmdt.Table(
        channels.dt_edges[channels.first_dt[c] : channels.first_dt[c + 1]],
        channels.dm_edges[channels.first_dm[c] : channels.first_dm[c + 1]],
        channels.bins[channels.first_bin[c] : channels.first_bin[c + 1]],
        channels.shift[c],
    )


@njit(cache=True, nogil=True)
def count(curve: Curve, slot: int, place: int, sign: int, channels: Channels, c: int) -> None:
    """Add `sign` for each pair of the measurement at `place` with the others of its slot."""
    time, mag = curve.time[slot], curve.magnitude[slot]
    t, m, grid = time[place], np.int64(mag[place]), grid_of(channels, c)
    counts = curve.counts[slot][: channels.cells[c]]
    dmdt.count_earlier(time, mag, place, t, m, sign, grid, counts)
    dmdt.count_later(time, mag, place + 1, curve.n[slot], t, m, sign, grid, counts)


@njit(cache=True, nogil=True)
def insert(curve: Curve, i: int, channels: Channels, c: int) -> None:
    """Point i becomes a measurement of channel c."""
    point = curve.points[i]
    slot = c * N_BANDS + point.band
    t = microdays(point.mjd_tai)
    m = magnitude(flux(point, channels.rows[c]))
    key = measurement_hash(point, t, m)
    time, keys = curve.time[slot], curve.key[slot]
    mag, row = curve.magnitude[slot], curve.row[slot]
    place = curve.n[slot]
    while place > 0 and (
        time[place - 1] > t or (time[place - 1] == t and keys[place - 1] > key)
    ):  # most points are the latest
        time[place], keys[place] = time[place - 1], keys[place - 1]
        mag[place], row[place] = mag[place - 1], row[place - 1]
        place -= 1
    time[place], keys[place], mag[place], row[place] = t, key, m, i
    curve.n[slot] += 1
    curve.keys[slot] += key
    count(curve, slot, place, 1, channels, c)


@njit(cache=True, nogil=True)
def take_out(curve: Curve, i: int, channels: Channels, c: int) -> None:
    """Point i, a measurement of channel c, is one no more."""
    slot = c * N_BANDS + curve.points[i].band
    row = curve.row[slot]
    place = curve.n[slot] - 1
    while row[place] != i:
        place -= 1
    count(curve, slot, place, -1, channels, c)
    curve.n[slot] -= 1
    curve.keys[slot] -= curve.key[slot, place]
    for k in range(place, curve.n[slot]):
        curve.time[slot, k], curve.key[slot, k] = curve.time[slot, k + 1], curve.key[slot, k + 1]
        curve.magnitude[slot, k], row[k] = curve.magnitude[slot, k + 1], row[k + 1]


@njit(cache=True, nogil=True)
def best_rival(
    curve: Curve, i: int, buckets: int, kinds_apart: bool, channels: Channels, c: int
) -> int:
    """The point that is the measurement of i's exposure if i is not, or -1."""
    point = curve.points[i]
    best = -1
    j = curve.by_exposure[bucket(exposure_hash(point), buckets)]
    while j >= 0:
        other = curve.points[j]
        if (
            j != i
            and rivals(point, other, kinds_apart)
            and usable(other, channels.rows[c])
            and (best < 0 or precedes(other, curve.points[best]))
        ):
            best = j
        j = curve.next_by_exposure[j]
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
    at = bucket(exposure_hash(point), buckets)
    j = curve.by_exposure[at]
    if j == i:
        curve.by_exposure[at] = curve.next_by_exposure[i]
    else:
        while curve.next_by_exposure[j] != i:
            j = curve.next_by_exposure[j]
        curve.next_by_exposure[j] = curve.next_by_exposure[i]


@njit(cache=True, nogil=True)
def link_exposure(curve: Curve, i: int, buckets: int) -> None:
    """Let point i be found by its exposure."""
    at = bucket(exposure_hash(curve.points[i]), buckets)
    curve.next_by_exposure[i] = curve.by_exposure[at]
    curve.by_exposure[at] = i


@njit(cache=True, nogil=True)
def link_name(curve: Curve, i: int, buckets: int) -> None:
    """Let point i be found by its name."""
    at = bucket(identity_hash(curve.points[i]), buckets)
    curve.next_by_name[i] = curve.by_name[at]
    curve.by_name[at] = i


@njit(cache=True, nogil=True)
def find(curve: Curve, point: Any, buckets: int) -> int:
    """The point that this row tells of, or -1."""
    i = curve.by_name[bucket(identity_hash(point), buckets)]
    while i >= 0 and not same_point(curve.points[i], point):
        i = curve.next_by_name[i]
    return int(i)

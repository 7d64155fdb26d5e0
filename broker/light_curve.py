"""One light curve in hand: its points, how to find them, its measurements and counts.

A slot is one channel and band: slot = channel * len(BANDS) + band. The arrays of a Curve are reused
for one object after another. An alert looks up few points that do not stand where the last one led
to expect, and changes few slots: tables and slots are made when the first asks for them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import dmdt, sparse
from broker.measurements import (
    ROW,
    channel_magnitude,
    exposure_hash,
    identity_hash,
    measurement_hash,
    microdays,
    same_point,
)
from broker.memory import load_u1, load_u2, load_u4
from broker.packing import PAGE
from broker.records import BANDS, SOLAR_SYSTEM, WITHDRAWN

N_BANDS = len(BANDS)


class Channels(NamedTuple):
    """Channels as the kernels read them; channel c has grid c of the table."""

    rows: NDArray[np.void]  # (channel,) measurements.CHANNEL
    table: dmdt.Table


#: A slot: how many measurements it has, the sum of their keys and the time of the last. It is open
#: if its measurements and counts are in hand; else they stand at the addresses `rows` (numbers of
#: points, `width` bytes each) and `counts`. The sparse counts are `length` bytes: in the stored
#: light curve at the address `counts` (0: they have changed), or in the heap of the images at
#: offset `heap` (-1: they are not).
SLOT = np.dtype(
    [
        ("n", "i8"),
        ("keys", "u8"),
        ("last", "i8"),
        ("open", "i8"),
        ("rows", "i8"),
        ("width", "i8"),
        ("counts", "i8"),
        ("heap", "i8"),
        ("length", "i8"),
    ]
)
#: The point behind this one in its bucket, by name and by exposure, or -1; or a bucket's first.
LINKS = np.dtype([("name", "i4"), ("exposure", "i4")])

#: What the tables stand at: how many buckets; whether names and exposures are in them; how many
#: look-ups may go through all points before a table is made.
BUCKETS, NAMED, EXPOSED, NAME_SCANS, EXPOSURE_SCANS = range(5)
_SCANS = 4  #: going through a point costs 1 ns, putting it into a table 5


class Curve(NamedTuple):
    """The arrays of a light curve in hand; few, since each costs at every call in a kernel."""

    points: NDArray[np.void]  # (point,) ROW, in order of arrival
    after: NDArray[np.void]  # (point,) LINKS
    buckets: NDArray[np.void]  # (bucket,) LINKS
    tables: NDArray[np.int64]  # (5,)
    dirty: NDArray[np.uint8]  # (page,) pages that changed
    pages: NDArray[np.int64]  # (page + 1,) addresses where the stored pages begin, and the end
    slots: NDArray[np.void]  # (slot,) SLOT
    measurements: NDArray[np.void]  # (slot, measurement) MEASUREMENT, in order of (time, key)
    counts: NDArray[np.int32]  # (slot, cell), zero unless the slot is open


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
    most_pages = most_points // PAGE + 1
    return Curve(
        np.zeros(most_pages * PAGE, ROW),
        np.empty(most_points, LINKS),
        np.empty(n_buckets(most_points), LINKS),
        np.empty(5, np.int64),
        np.empty(most_pages, np.uint8),
        np.zeros(most_pages + 1, np.int64),
        np.zeros(n_slots, SLOT),
        np.empty((n_slots, most_points), dmdt.MEASUREMENT),
        np.zeros((n_slots, most_cells), np.int32),
    )


@njit(cache=True, nogil=True)
def clear(curve: Curve, n_points: int) -> None:
    """Make ready for an object that will have at most n_points."""
    tables = curve.tables
    tables[BUCKETS] = n_buckets(n_points)
    tables[NAMED] = tables[EXPOSED] = 0
    tables[NAME_SCANS] = tables[EXPOSURE_SCANS] = _SCANS
    curve.dirty[: n_points // PAGE + 1] = 0
    for slot in range(len(curve.slots)):
        state = curve.slots[slot]
        if state.open != 0:
            curve.counts[slot] = 0
        state.n = state.keys = state.open = state.counts = 0
        state.last = np.iinfo(np.int64).min
        state.heap = -1


@njit(cache=True, nogil=True)
def key(curve: Curve, slot: int, place: int) -> Any:
    """The hash of a measurement."""
    row = curve.measurements[slot, place]
    return measurement_hash(curve.points[row.row], row.time, row.magnitude)


@njit(cache=True, nogil=True)
def point_of(curve: Curve, slot: int, place: int) -> int:
    """The point that a measurement is, also of a slot that is not open."""
    state = curve.slots[slot]
    if state.open != 0:
        return int(curve.measurements[slot, place].row)
    if state.width == 1:
        return int(load_u1(state.rows + place))
    if state.width == 2:
        return int(load_u2(state.rows + 2 * place))
    return int(load_u4(state.rows + 4 * place))


@njit(cache=True, nogil=True)
def open_slot(curve: Curve, slot: int, channels: Channels) -> None:
    """Take the measurements and counts of a slot in hand."""
    state, channel = curve.slots[slot], channels.rows[slot // N_BANDS]
    if state.open != 0:
        return
    measurements, points = curve.measurements[slot], curve.points
    for k in range(state.n):
        i = point_of(curve, slot, k)
        measurements[k].time = microdays(points[i].mjd_tai)
        measurements[k].magnitude = channel_magnitude(points[i], channel)
        measurements[k].row = i
    state.open = 1
    if state.n > 0:
        sparse.unpack(state.counts, state.counts + state.length, curve.counts[slot])


@njit(cache=True, nogil=True)
def bucket(hash64: Any, curve: Curve) -> Any:
    """The bucket of a hash."""
    return curve.buckets[np.int64(hash64 & np.uint64(curve.tables[BUCKETS] - 1))]


@njit(cache=True, nogil=True)
def link_exposure(curve: Curve, i: int) -> None:
    """Let point i be found by its exposure, if a table is there."""
    if curve.tables[EXPOSED] != 0:
        head = bucket(exposure_hash(curve.points[i]), curve)
        curve.after[i].exposure = head.exposure
        head.exposure = i


@njit(cache=True, nogil=True)
def link_name(curve: Curve, i: int) -> None:
    """Let point i be found by its name, if a table is there."""
    if curve.tables[NAMED] != 0:
        head = bucket(identity_hash(curve.points[i]), curve)
        curve.after[i].name = head.name
        head.name = i


@njit(cache=True, nogil=True)
def link_exposures(curve: Curve, n: int, but: int) -> None:
    """Make the table of the first n points by exposure, without point `but`."""
    if curve.tables[EXPOSED] != 0:
        return
    curve.tables[EXPOSED] = 1
    for i in range(curve.tables[BUCKETS]):
        curve.buckets[i].exposure = -1
    for i in range(n):
        if i != but:
            link_exposure(curve, i)


@njit(cache=True, nogil=True)
def find(curve: Curve, n: int, row: Any, near: int) -> int:
    """The point of the first n that a row tells of, or -1.

    It is looked for beside `near`, then among all, and from the fifth time on in a table.
    """
    points, tables = curve.points, curve.tables
    for i in range(max(near - 2, 0), min(near + 3, n)):
        if same_point(points[i], row):
            return int(i)
    if tables[NAMED] == 0:
        if tables[NAME_SCANS] > 0:
            tables[NAME_SCANS] -= 1
            for i in range(n):
                if same_point(points[i], row):
                    return int(i)
            return -1
        tables[NAMED] = 1
        for i in range(tables[BUCKETS]):
            curve.buckets[i].name = -1
        for i in range(n):
            link_name(curve, i)
    found: Any = np.int64(bucket(identity_hash(row), curve).name)
    while found >= 0 and not same_point(points[found], row):
        found = np.int64(curve.after[found].name)
    return int(found)


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
    curve: Curve, n: int, rows: NDArray[np.void], begin: int, end: int, near: int
) -> tuple[int, int, int]:
    """The next of rows[begin:end] that is a new point or changes one.

    A packet repeats its history: nearly all rows end here, and nearly all of them are the point
    behind that of the row before.

    Parameters
    ----------
    near : int
        Where the first row's point is looked for first.

    Returns
    -------
    r, i : int
        The row, or `end`; the point that it changes, or -1 if it is new.
    near : int
        Where the point of the row behind it is to be looked for.
    """
    points = curve.points
    for r in range(begin, end):
        i = near
        if i >= n or not same_point(points[i], rows[r]):
            i = find(curve, n, rows[r], near)
        near = i + 1 if i >= 0 else near
        if i < 0 or changes(points[i], rows[r]):
            return r, i, near
    return end, -1, near

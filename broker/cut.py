"""The image of one alert: the light curve in hand, cut at the alert's own time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import course, dmdt, sparse
from broker.light_curve import N_BANDS, Channels, Curve, key, open_slot, point_of
from broker.measurements import UNKNOWN_BAND, flux, flux_error, microdays
from broker.memory import copy
from broker.periodogram import rung
from broker.records import BLOCK, DETECTION, KINDS, PRESENCE, SOLAR_SYSTEM, WITHDRAWN
from broker.scalars import SCALARS, measure

N_KINDS = len(KINDS)
_GONE = WITHDRAWN | SOLAR_SYSTEM
_MAG_ERROR = 2.5 / np.log(10)

#: PRESENCE and BLOCK as Numba takes them: no padding, no nested spans.
PRESENCE_ROW = np.dtype(
    {"names": ["band", "kind", "n"], "formats": ["u1", "u1", "i4"], "offsets": [0, 1, 4]}
)
BLOCK_ROW = np.dtype(
    {
        "names": ["channel", "n", "band", "counts", "counts_length", "scalars", "scalars_length"],
        "formats": ["i8", "i4", "u1", "i8", "i8", "i8", "i8"],
        "offsets": [0, 8, 12, 16, 24, 32, 40],
    }
)
assert PRESENCE_ROW.itemsize == PRESENCE.itemsize
assert BLOCK_ROW.itemsize == BLOCK.itemsize


#: A periodogram that an image needs: of rows first to first + points of a batch's WANTED; what it
#: says goes to `at` in the heap of the images. `object` and `alert` are the caller's.
SEARCH = np.dtype(
    [
        *(("object", "i8"), ("alert", "i8"), ("slot", "i8")),
        *(("first", "i8"), ("points", "i8"), ("at", "i8")),
    ]
)
WANTED = np.dtype([("time", "i8"), ("error", "f8"), ("magnitude", "i4")])


class Desk(NamedTuple):
    """Room to work in."""

    counts: NDArray[np.int32]  # (cell,) of the largest grid
    present: NDArray[np.int64]  # (band, kind)
    time: NDArray[np.int64]  # (point,)
    magnitude: NDArray[np.int32]  # (point,)
    error: NDArray[np.float64]  # (point,)
    scalars: NDArray[np.float64]  # (scalar,)
    band: NDArray[np.uint8]  # (point,)
    flux: NDArray[np.float32]  # (point,)
    flux_error: NDArray[np.float32]  # (point,)
    course: NDArray[np.float32]  # (band, node, 2)
    numbers: NDArray[np.float32]  # (number,)


@njit(cache=True, nogil=True)
def desk(most_points: int, most_cells: int) -> Desk:
    """Room for the largest light curve and grid of a batch."""
    return Desk(
        np.zeros(most_cells, np.int32),
        np.zeros((N_BANDS, N_KINDS), np.int64),
        np.empty(most_points, np.int64),
        np.empty(most_points, np.int32),
        np.empty(most_points),
        np.empty(len(SCALARS)),
        np.empty(most_points, np.uint8),
        np.empty(most_points, np.float32),
        np.empty(most_points, np.float32),
        np.empty((N_BANDS, len(course.NODES), 2), np.float32),
        np.empty(course.how_many(N_BANDS), np.float32),
    )


@njit(cache=True, nogil=True)
def presences(
    curve: Curve, n: int, until: int, at: Desk, rows: NDArray[np.void], end: int
) -> tuple[int, float]:
    """Count the points up to a time by band and kind.

    Parameters
    ----------
    until : int
        Microdays; points of this very time are in.
    rows : (presence,) PRESENCE_ROW
        With room for all bands and kinds from `end`.

    Returns
    -------
    end : int
        The end of what was written.
    first_detection : float
        MJD (TAI) of the earliest detection, NaN if there is none.
    """
    at.present[:] = 0
    first = np.inf
    for i in range(n):
        point = curve.points[i]
        if microdays(point.mjd_tai) <= until and not point.flags & _GONE:
            at.present[point.band, point.kind] += 1
            if point.kind == DETECTION:
                first = min(first, point.mjd_tai)
    for band in range(N_BANDS):
        for kind in range(N_KINDS):
            if at.present[band, kind] > 0:
                row = rows[end]
                row.band, row.kind, row.n = band, kind, at.present[band, kind]
                end += 1
    return end, first if first < np.inf else np.nan


@njit(cache=True, nogil=True)
def most_bytes(curve: Curve, channels: Channels) -> int:
    """What the heap of one image may need at most."""
    size = 0
    for c in range(len(channels.rows)):
        size += 4 * channels.rows[c].together
    for slot in range(len(curve.slots)):
        if curve.slots[slot].n > 0:
            cells = channels.rows[slot // N_BANDS].cells
            size += sparse.MOST_BYTES_A_CELL * cells + channels.rows[slot // N_BANDS].beside
    return size


@njit(cache=True, nogil=True)
def most_wanted(curve: Curve, channels: Channels) -> int:
    """Points of which periodograms may be made for one image, at most."""
    size = 0
    for slot in range(len(curve.slots)):
        if channels.rows[slot // N_BANDS].periodogram != 0:
            size += curve.slots[slot].n
    return int(size)


@njit(cache=True, nogil=True)
def kept_until(curve: Curve, slot: int, until: int, channels: Channels) -> int:
    """How many measurements of a slot are not later than `until`."""
    kept = curve.slots[slot].n
    if curve.slots[slot].last <= until:
        return int(kept)
    open_slot(curve, slot, channels)
    while kept > 0 and curve.measurements[slot, kept - 1].time > until:
        kept -= 1
    return int(kept)


@njit(cache=True, nogil=True)
def put_counts(
    curve: Curve,
    slot: int,
    kept: int,
    at: Desk,
    channels: Channels,
    heap: NDArray[np.uint8],
    end: int,
) -> int:
    """Write the counts of a slot's first `kept` measurements; returns the end."""
    state, base = curve.slots[slot], np.int64(heap.ctypes.data)
    if kept < state.n:
        counts = counts_until(curve, slot, kept, at, channels)
        return int(sparse.pack(counts, base + end) - base)
    if state.counts != 0:
        copy(base + end, state.counts, state.length)
    elif state.heap >= 0:
        copy(base + end, base + state.heap, state.length)
    else:
        counts = curve.counts[slot][: channels.rows[slot // N_BANDS].cells]
        state.heap, state.length = end, sparse.pack(counts, base + end) - base - end
    return int(end + state.length)


@njit(cache=True, nogil=True)
def counts_until(curve: Curve, slot: int, kept: int, at: Desk, channels: Channels) -> Any:
    """The counts (cell,) i4 without those of the later measurements, by the shorter way."""
    c = slot // N_BANDS
    n, cells = curve.slots[slot].n, channels.rows[c].cells
    counts = at.counts[:cells]
    rows = curve.measurements[slot]
    if (n - kept) * (n + kept) > kept * kept:
        counts[:] = 0
        dmdt.count_all(rows, kept, channels.table, c, counts)
    else:
        counts[:] = curve.counts[slot][:cells]
        for j in range(n - 1, kept - 1, -1):
            t, m = rows[j].time, np.int64(rows[j].magnitude)
            dmdt.count_earlier(rows, j, t, m, -1, channels.table, c, counts)
    return counts


@njit(cache=True, nogil=True)
def put_beside(
    curve: Curve,
    slot: int,
    kept: int,
    at: Desk,
    channels: Channels,
    heap: NDArray[np.uint8],
    end: int,
) -> int:
    """Write the channel's scalars of a slot's first `kept` measurements; returns the end."""
    c = slot // N_BANDS
    channel, rows = channels.rows[c], curve.measurements[slot]
    open_slot(curve, slot, channels)
    for k in range(kept):
        point = curve.points[rows[k].row]
        at.time[k], at.magnitude[k] = rows[k].time, rows[k].magnitude
        at.error[k] = _MAG_ERROR * flux_error(point, channel) / flux(point, channel)
    measure(at.time[:kept], at.magnitude[:kept], at.error[:kept], at.scalars)
    values = heap[end : end + 4 * channel.n_scalars].view(np.float32)
    for k in range(channel.n_scalars):
        values[k] = at.scalars[channel.scalars[k]]
    return int(end + 4 * channel.n_scalars)


@njit(cache=True, nogil=True)
def gather(curve: Curve, c: int, until: int, at: Desk, channels: Channels) -> int:
    """Lay a channel's measurements up to a time on the desk, all bands in order of time, equal
    times in that of BANDS; returns how many.
    """
    place, kept = np.zeros(N_BANDS, np.int64), np.zeros(N_BANDS, np.int64)
    for band in range(N_BANDS):
        if curve.slots[c * N_BANDS + band].n > 0:
            kept[band] = kept_until(curve, c * N_BANDS + band, until, channels)
    for k in range(kept.sum()):
        best = -1
        for band in range(N_BANDS):
            if place[band] < kept[band]:
                i = point_of(curve, c * N_BANDS + band, place[band])
                time = microdays(curve.points[i].mjd_tai)
                if best < 0 or time < at.time[k]:
                    best, at.time[k], at.band[k] = band, time, band
                    at.flux[k] = curve.points[i].flux_njy
                    at.flux_error[k] = curve.points[i].flux_err_njy
        place[best] += 1
    return int(kept.sum())


@njit(cache=True, nogil=True)
def put_course(n: int, channel: Any, at: Desk, heap: NDArray[np.uint8], end: int) -> int:
    """Write course and numbers of the n points on the desk; returns the end."""
    bands = 0
    soft = np.zeros(N_BANDS)
    for band in range(N_BANDS):
        if channel.place[band] >= 0:
            soft[channel.place[band]] = channel.soft[band]
            bands += 1
    shares, numbers = at.course[:bands], at.numbers[: course.how_many(bands)]
    course.describe(
        at.time[:n],
        at.band[:n],
        at.flux[:n],
        at.flux_error[:n],
        channel.place,
        soft[:bands],
        shares,
        numbers,
    )
    values = heap[end : end + 4 * channel.together].view(np.float32)
    values[: shares.size] = shares.ravel()
    values[shares.size :] = numbers
    return int(end + 4 * channel.together)


@njit(cache=True, nogil=True)
def put_wanted(points: int, at: Desk, wanted: NDArray[np.void], end: int) -> int:
    """Write the first points that `put_beside` left on the desk; returns the end."""
    for k in range(points):
        row = wanted[end + k]
        row.time, row.error, row.magnitude = at.time[k], at.error[k], at.magnitude[k]
    return end + points


@njit(cache=True, nogil=True)
def blocks(
    curve: Curve,
    until: int,
    at: Desk,
    channels: Channels,
    rows: NDArray[np.void],
    n_rows: int,
    heap: NDArray[np.uint8],
    end: int,
    searches: NDArray[np.void],
    n_searches: int,
    wanted: NDArray[np.void],
    n_wanted: int,
) -> tuple[int, int, int, int, int]:
    """Write one block for each slot that has measurements up to a time; then one of no counts for
    all bands of each channel that looks at them together.

    Parameters
    ----------
    until : int
        Microdays; measurements of this very time are in.
    rows : (block,) BLOCK_ROW
        With room for all slots and channels from `n_rows`.
    heap : (byte,) u1
        With room for `most_bytes` from `end`.
    searches : (search,) SEARCH
        With room for all slots from `n_searches`.
    wanted : (point,) WANTED
        With room for `most_wanted` from `n_wanted`.

    Returns
    -------
    n_rows, end, n_searches, n_wanted : int
        Ends of what was written.
    points_hash : int
        Sum over the channels of the sum of the keys of their measurements, times 2 channel + 1.
    """
    points_hash = np.uint64(0)
    for slot in range(len(curve.slots)):
        n = curve.slots[slot].n
        if n == 0:  # a call with all these arrays costs more
            continue
        kept = kept_until(curve, slot, until, channels)
        if kept == 0:
            continue
        channel = channels.rows[slot // N_BANDS].hash
        keys = curve.slots[slot].keys
        for k in range(kept, n):
            keys -= key(curve, slot, k)
        points_hash += keys * (np.uint64(2) * np.uint64(channel) + np.uint64(1))
        counts_end = put_counts(curve, slot, kept, at, channels, heap, end)
        scalars_end = counts_end
        if channels.rows[slot // N_BANDS].beside > 0:
            scalars_end = put_beside(curve, slot, kept, at, channels, heap, counts_end)
        points = rung(kept) if channels.rows[slot // N_BANDS].periodogram != 0 else 0
        if points > 0:
            search = searches[n_searches]
            search.slot, search.first, search.points = slot, n_wanted, points
            search.at = scalars_end
            n_wanted = put_wanted(points, at, wanted, n_wanted)
            n_searches += 1
            scalars_end = counts_end + channels.rows[slot // N_BANDS].beside
        row = rows[n_rows]
        row.channel, row.n, row.band = channel, kept, slot % N_BANDS
        row.counts, row.counts_length = end, counts_end - end
        row.scalars, row.scalars_length = counts_end, scalars_end - counts_end
        n_rows += 1
        end = scalars_end
    for c in range(len(channels.rows)):
        if channels.rows[c].together > 0:
            n = gather(curve, c, until, at, channels)
            if n > 0:
                row = rows[n_rows]
                row.channel, row.n, row.band = channels.rows[c].hash, n, UNKNOWN_BAND
                row.counts, row.counts_length, row.scalars = end, 0, end
                end = put_course(n, channels.rows[c], at, heap, end)
                row.scalars_length = end - row.scalars
                n_rows += 1
    return n_rows, end, int(np.int64(points_hash)), n_searches, n_wanted

"""A light curve as the bytes that a store keeps: points as they came, measurements, counts.

    header | points, 64 bytes each | per slot in use: list, times, keys, magnitudes, rows, counts

What follows the points can be made again from them, and is if the inputs have changed since.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import sparse
from broker.light_curve import N_BANDS, Channels, Curve, clear, enter, link_exposure, link_name
from broker.measurements import ROW

HEADER = np.dtype(
    {
        "names": ["inputs_hash", "n_points", "n_lists"],
        "formats": ["i8", "i4", "i4"],
        "itemsize": 64,  # points stay aligned
    }
)
LIST = np.dtype([("keys", "u8"), ("slot", "i4"), ("n", "i4"), ("counts", "i4"), ("spare", "i4")])
HEADER_BYTES, LIST_BYTES, POINT_BYTES = HEADER.itemsize, LIST.itemsize, ROW.itemsize
MEASUREMENT_BYTES = 8 + 8 + 4 + 4

#: `inputs_hash` of a blob that holds points only.
POINTS_ONLY = 0
#: `kind` of a point that the changelog has not given back yet.
MISSING = 255


def points_only(points: NDArray[np.void]) -> bytes:
    """The blob of a light curve whose counts are to be made at the first touch."""
    header = np.zeros(1, HEADER)
    header["inputs_hash"], header["n_points"] = POINTS_ONLY, len(points)
    return header.tobytes() + points.tobytes()


def points(blob: bytes) -> NDArray[np.void]:
    """The points of a blob, read-only, as ROW."""
    n = int(np.frombuffer(blob, HEADER, 1)["n_points"][0])
    return np.frombuffer(blob, ROW, n, HEADER_BYTES)


@njit(cache=True, nogil=True)
def load(
    blob: NDArray[np.uint8],
    curve: Curve,
    n_new: int,
    kinds_apart: bool,
    inputs_hash: int,
    channels: Channels,
) -> tuple[int, int]:
    """Take a stored light curve in hand.

    Parameters
    ----------
    blob : (byte,) u1
        Empty for an object that is not known.
    n_new : int
        Points that may still come.

    Returns
    -------
    n, buckets : int
        Its points, or -1 if some are missing; the size of its tables.
    """
    n = n_lists = 0
    fresh = False
    if len(blob) > 0:
        header = blob[:HEADER_BYTES].view(HEADER)[0]
        n, n_lists = header.n_points, header.n_lists
        fresh = header.inputs_hash == inputs_hash
    buckets = clear(curve, n + n_new)
    at = HEADER_BYTES + n * POINT_BYTES
    rows = blob[HEADER_BYTES:at].view(ROW) if n > 0 else curve.points[:0]
    for i in range(n):
        curve.points[i] = rows[i]
        if curve.points[i].kind == MISSING:
            return -1, buckets
        link_name(curve, i, buckets)
        if fresh:
            link_exposure(curve, i, buckets)
        else:
            enter(curve, i, buckets, kinds_apart, channels)
    if fresh:
        for _ in range(n_lists):
            head = blob[at : at + LIST_BYTES].view(LIST)[0]
            slot, k, length = head.slot, head.n, head.counts
            at += LIST_BYTES
            curve.n[slot], curve.keys[slot] = k, head.keys
            curve.time[slot, :k] = blob[at : at + 8 * k].view(np.int64)
            curve.key[slot, :k] = blob[at + 8 * k : at + 16 * k].view(np.uint64)
            curve.magnitude[slot, :k] = blob[at + 16 * k : at + 20 * k].view(np.int32)
            curve.row[slot, :k] = blob[at + 20 * k : at + 24 * k].view(np.int32)
            at += MEASUREMENT_BYTES * k
            sparse.unpack(blob, at, at + length, curve.counts[slot])
            at += length + -length % 8
    return n, buckets


@njit(cache=True, nogil=True)
def most_bytes(curve: Curve, n: int, channels: Channels) -> int:
    """What `save` may need at most."""
    size = HEADER_BYTES + n * POINT_BYTES
    for slot in range(len(curve.n)):
        if curve.n[slot] > 0:
            cells = channels.cells[slot // N_BANDS]
            size += LIST_BYTES + MEASUREMENT_BYTES * curve.n[slot]
            size += sparse.MOST_BYTES_A_CELL * cells + 8
    return int(size)


@njit(cache=True, nogil=True)
def save(
    curve: Curve,
    n: int,
    inputs_hash: int,
    channels: Channels,
    heap: NDArray[np.uint8],
    start: int,
) -> int:
    """Write the light curve in hand to heap[start:]; returns the end."""
    at = start + HEADER_BYTES
    rows = heap[at : at + n * POINT_BYTES].view(ROW)
    for i in range(n):
        rows[i] = curve.points[i]
    at += n * POINT_BYTES
    n_lists = 0
    for slot in range(len(curve.n)):
        k = curve.n[slot]
        if k == 0:
            continue
        n_lists += 1
        head = heap[at : at + LIST_BYTES].view(LIST)
        at += LIST_BYTES
        heap[at : at + 8 * k].view(np.int64)[:] = curve.time[slot, :k]
        heap[at + 8 * k : at + 16 * k].view(np.uint64)[:] = curve.key[slot, :k]
        heap[at + 16 * k : at + 20 * k].view(np.int32)[:] = curve.magnitude[slot, :k]
        heap[at + 20 * k : at + 24 * k].view(np.int32)[:] = curve.row[slot, :k]
        at += MEASUREMENT_BYTES * k
        end = sparse.pack(curve.counts[slot][: channels.cells[slot // N_BANDS]], heap, at)
        head[0].keys, head[0].slot, head[0].n = curve.keys[slot], slot, k
        head[0].counts, head[0].spare = end - at, 0
        at = end
        while (at - start) % 8 != 0:
            heap[at] = 0
            at += 1
    header = heap[start : start + HEADER_BYTES].view(np.uint8)
    header[:] = 0
    first = header.view(HEADER)
    first[0].inputs_hash, first[0].n_points, first[0].n_lists = inputs_hash, n, n_lists
    return int(at)

"""A light curve as the bytes that a store keeps: points as they came, measurements, counts.

    header | points, 64 bytes each | per slot in use: list, measurements, sparse counts

What follows the points can be made again from them, and is if the inputs have changed since.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import dmdt, sparse
from broker.entering import enter
from broker.light_curve import N_BANDS, Channels, Curve, clear, link_all, link_name
from broker.measurements import ROW

HEADER = np.dtype(
    {
        "names": ["format", "n_points", "inputs_hash", "n_lists"],
        "formats": ["i4", "i4", "i8", "i4"],
        "itemsize": 64,  # points stay aligned
    }
)
LIST = np.dtype([("keys", "u8"), ("slot", "i4"), ("n", "i4"), ("counts", "i4"), ("spare", "i4")])
HEADER_BYTES, LIST_BYTES, POINT_BYTES = HEADER.itemsize, LIST.itemsize, ROW.itemsize
MEASUREMENT_BYTES = dmdt.MEASUREMENT.itemsize

#: First byte of a blob.
FORMAT = 1
#: `inputs_hash` of a blob that holds points only.
POINTS_ONLY = 0


def points_only(points: NDArray[np.void]) -> bytes:
    """The blob of a light curve whose counts are to be made at the first touch."""
    header = np.zeros(1, HEADER)
    header["format"], header["inputs_hash"], header["n_points"] = FORMAT, POINTS_ONLY, len(points)
    return header.tobytes() + points.tobytes()


def points(blob: bytes | memoryview) -> NDArray[np.void]:
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
        Its points; the size of its tables.
    """
    n = n_lists = 0
    fresh = False
    if len(blob) > 0:
        header = blob[:HEADER_BYTES].view(HEADER)[0]
        n, n_lists = header.n_points, header.n_lists
        fresh = header.inputs_hash == inputs_hash
    buckets = clear(curve, n + n_new)
    at = HEADER_BYTES + n * POINT_BYTES
    stored = blob[HEADER_BYTES:at].view(ROW) if n > 0 else curve.points[:0]
    points = curve.points
    for i in range(n):
        points[i] = stored[i]
    if fresh:
        link_all(curve, n, buckets)
        for _ in range(n_lists):
            head = blob[at : at + LIST_BYTES].view(LIST)[0]
            slot, k, length = head.slot, head.n, head.counts
            at += LIST_BYTES
            curve.slots[slot].n, curve.slots[slot].keys = k, head.keys
            rows = blob[at : at + MEASUREMENT_BYTES * k].view(dmdt.MEASUREMENT)
            for m in range(k):
                curve.measurements[slot, m] = rows[m]
            at += MEASUREMENT_BYTES * k
            sparse.unpack(blob, at, at + length, curve.counts[slot])
            at += length + -length % 8
    else:
        for i in range(n):
            link_name(curve, i, buckets)
            enter(curve, i, buckets, kinds_apart, channels)
    return n, buckets


@njit(cache=True, nogil=True)
def most_bytes(curve: Curve, n: int, channels: Channels) -> int:
    """What `save` may need at most."""
    size = HEADER_BYTES + n * POINT_BYTES
    for slot in range(len(curve.slots)):
        k = curve.slots[slot].n
        if k > 0:
            cells = channels.rows[slot // N_BANDS].cells
            size += LIST_BYTES + MEASUREMENT_BYTES * k + sparse.MOST_BYTES_A_CELL * cells + 8
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
    stored = heap[at : at + n * POINT_BYTES].view(ROW)
    for i in range(n):
        stored[i] = curve.points[i]
    at += n * POINT_BYTES
    n_lists = 0
    for slot in range(len(curve.slots)):
        k = curve.slots[slot].n
        if k == 0:
            continue
        n_lists += 1
        head = heap[at : at + LIST_BYTES].view(LIST)[0]
        at += LIST_BYTES
        rows = heap[at : at + MEASUREMENT_BYTES * k].view(dmdt.MEASUREMENT)
        for m in range(k):
            rows[m] = curve.measurements[slot, m]
        at += MEASUREMENT_BYTES * k
        end = sparse.pack(curve.counts[slot][: channels.rows[slot // N_BANDS].cells], heap, at)
        head.keys, head.slot, head.n = curve.slots[slot].keys, slot, k
        head.counts, head.spare = end - at, 0
        at = end
        while (at - start) % 8 != 0:
            heap[at] = 0
            at += 1
    heap[start : start + HEADER_BYTES] = 0
    first = heap[start : start + HEADER_BYTES].view(HEADER)[0]
    first.format, first.inputs_hash = FORMAT, inputs_hash
    first.n_points, first.n_lists = n, n_lists
    return int(at)

"""A light curve as the bytes that a store keeps: pages of points as they came, then its slots.

    FORMAT, u4 | points, u4 | inputs_hash, i8 | slots, u8 | pages | slots | checksum, u8

A slot in use is a LIST, the numbers of its measurements' points (`width` bytes each), and its
sparse counts. It can be made again from the points, and is if the inputs have changed since. What
an alert does not change is copied from the old blob into the new one as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import packing, sparse
from broker.entering import enter
from broker.light_curve import N_BANDS, Channels, Curve, clear
from broker.measurements import ROW, mix
from broker.memory import copy, load_i8, load_u1, load_u4, store_i4, store_i8, store_u1
from broker.packing import PAGE

#: First word, and so the first byte, of a blob: the second format.
FORMAT = 2
#: `inputs_hash` of a blob that holds points only.
POINTS_ONLY = 0
HEADER_BYTES, CHECKSUM_BYTES, POINT_BYTES = 24, 8, ROW.itemsize
LIST_BYTES = 32  #: keys u8, last i8, then slot, n, width, length of the counts: i4
assert CHECKSUM_BYTES >= packing.SLACK  # a page may be read up to there beyond its end

_U = np.uint64


def points_only(points: NDArray[np.void]) -> bytes:
    """The blob of a light curve (ROW) whose counts are to be made at the first touch."""
    blob: bytes = _points_only(np.require(points, requirements=["C", "W"])).tobytes()
    return blob


def points(blob: bytes | memoryview) -> NDArray[np.void]:
    """The points of a blob, as ROW.

    Raises
    ------
    ValueError
        It is no blob, or one of another format, or damaged.
    """
    data = np.frombuffer(blob, np.uint8).copy()  # one type of array, one compilation
    rows: NDArray[np.void] = _points(data)
    if not len(rows):
        raise ValueError(refused(blob))
    return rows


def refused(blob: bytes | memoryview) -> str:
    """Why a blob cannot be taken."""
    if len(blob) < HEADER_BYTES + CHECKSUM_BYTES or bytes(blob[:4]) != FORMAT.to_bytes(4, "little"):
        return f"it is not in format {FORMAT}: it starts with {bytes(blob[:4]).hex() or 'nothing'}"
    return "its checksum is wrong"


@njit(cache=True, nogil=True)
def checksum(at: int, end: int) -> Any:
    """64 bits of the bytes from address `at` to `end`: any change within one word changes them."""
    a, b, c, d = _U(end - at), _U(1), _U(2), _U(3)
    prime = _U(0x9E3779B97F4A7C15)
    while end - at >= 32:  # four lanes, as a multiplication takes four cycles
        a = (a ^ _U(load_i8(at))) * prime
        b = (b ^ _U(load_i8(at + 8))) * prime
        c = (c ^ _U(load_i8(at + 16))) * prime
        d = (d ^ _U(load_i8(at + 24))) * prime
        a ^= a >> _U(32)
        b ^= b >> _U(32)
        c ^= c >> _U(32)
        d ^= d >> _U(32)
        at += 32
    while at < end:
        a = (a ^ _U(load_u1(at))) * prime
        a ^= a >> _U(32)
        at += 1
    return mix(a) + mix(b + prime) + mix(c + _U(2) * prime) + mix(d + _U(3) * prime)


@njit(cache=True, nogil=True)
def sound(at: int, end: int) -> bool:
    """Whether a blob of today's format stands there, as `save` wrote it."""
    if end - at < HEADER_BYTES + CHECKSUM_BYTES or load_u4(at) != FORMAT:
        return False
    return bool(checksum(at, end - CHECKSUM_BYTES) == _U(load_i8(end - CHECKSUM_BYTES)))


@njit(cache=True, nogil=True)
def _write_head(at: int, n: int, inputs_hash: int, n_lists: int) -> None:
    store_i4(at, np.int32(FORMAT))
    store_i4(at + 4, np.int32(n))
    store_i8(at + 8, inputs_hash)
    store_i8(at + 16, n_lists)


@njit(cache=True, nogil=True)
def _seal(start: int, at: int) -> int:
    """Write the checksum; returns the end."""
    store_i8(at, np.int64(checksum(start, at)))
    return int(at + CHECKSUM_BYTES)


@njit(cache=True, nogil=True)
def _points_only(points: NDArray[np.void]) -> NDArray[np.uint8]:
    n = len(points)
    n_pages = (n + PAGE - 1) // PAGE
    out = np.empty(HEADER_BYTES + n_pages * packing.MOST_BYTES + 2 * CHECKSUM_BYTES, np.uint8)
    desk = np.empty(PAGE, np.int64)
    start = np.int64(out.ctypes.data)
    _write_head(start, n, POINTS_ONLY, 0)
    at = start + HEADER_BYTES
    first = np.int64(points.ctypes.data)
    for i in range(0, n, PAGE):
        at = packing.pack(first + i * POINT_BYTES, min(PAGE, n - i), at, desk)
    return out[: _seal(start, at) - start]


@njit(cache=True, nogil=True)
def _points(blob: NDArray[np.uint8]) -> NDArray[np.void]:
    """Its points; none if it is no sound blob."""
    start = int(np.int64(blob.ctypes.data))
    end = start + len(blob)
    if not sound(start, end):
        return np.zeros(0, ROW)
    n = load_u4(start + 4)
    rows = np.zeros((n + PAGE - 1) // PAGE * PAGE, ROW)
    at, first = start + HEADER_BYTES, int(np.int64(rows.ctypes.data))
    for i in range(0, n, PAGE):
        _, at = packing.unpack(at, end - CHECKSUM_BYTES, first + i * POINT_BYTES)
    return rows[:n]


@njit(cache=True, nogil=True)
def load(
    at: int,
    end: int,
    curve: Curve,
    n_new: int,
    kinds_apart: bool,
    inputs_hash: int,
    channels: Channels,
) -> int:
    """Take a stored light curve in hand.

    Parameters
    ----------
    at, end : int
        Addresses of where the blob begins and ends: the same for an object that is not known.
    n_new : int
        Points that may still come.

    Returns
    -------
    int
        How many points it has, or -1 if the blob is not sound.
    """
    curve.pages[0] = 0
    if at == end:
        clear(curve, n_new)
        return 0
    if not sound(at, end):
        return -1
    n, fresh, n_lists = load_u4(at + 4), load_i8(at + 8) == inputs_hash, load_i8(at + 16)
    clear(curve, n + n_new)
    at += HEADER_BYTES
    first = np.int64(curve.points.ctypes.data)
    curve.pages[0] = at
    for i in range(0, n, PAGE):
        _, at = packing.unpack(at, end - CHECKSUM_BYTES, first + i * POINT_BYTES)
        curve.pages[i // PAGE + 1] = at
    if not fresh:
        for i in range(n):
            enter(curve, i, i, kinds_apart, channels)
        return int(n)
    for _ in range(n_lists):
        state = curve.slots[load_u4(at + 16)]
        state.keys, state.last = _U(load_i8(at)), load_i8(at + 8)
        state.n, state.width, state.length = load_u4(at + 20), load_u4(at + 24), load_u4(at + 28)
        state.rows = at + LIST_BYTES
        state.counts = state.rows + state.n * state.width
        at = state.counts + state.length
    return int(n)


@njit(cache=True, nogil=True)
def most_bytes(curve: Curve, n: int, channels: Channels) -> int:
    """What `save` may need at most."""
    size = HEADER_BYTES + 2 * CHECKSUM_BYTES
    for page in range((n + PAGE - 1) // PAGE):
        kept = curve.dirty[page] == 0
        size += curve.pages[page + 1] - curve.pages[page] if kept else packing.MOST_BYTES
    for slot in range(len(curve.slots)):
        state = curve.slots[slot]
        if state.n > 0:
            cells = channels.rows[slot // N_BANDS].cells
            known = state.counts != 0 or state.heap >= 0
            size += LIST_BYTES + 4 * state.n
            size += state.length if known else sparse.MOST_BYTES_A_CELL * cells
    return int(size)


@njit(cache=True, nogil=True)
def save(
    curve: Curve,
    n: int,
    inputs_hash: int,
    channels: Channels,
    images: NDArray[np.uint8],
    out: NDArray[np.uint8],
    begin: int,
    desk: NDArray[np.int64],
) -> int:
    """Write the light curve in hand.

    Parameters
    ----------
    images : (byte,) u1
        The heap of the images: counts that are in it already are copied.
    out : (byte,) u1
        With room for `most_bytes` from `begin`.
    desk : (PAGE,) i8
        To work in.

    Returns
    -------
    int
        The end in `out`.
    """
    start = np.int64(out.ctypes.data) + begin
    at = start + HEADER_BYTES
    first = np.int64(curve.points.ctypes.data)
    n_pages = (n + PAGE - 1) // PAGE
    page = 0
    while page < n_pages:
        run = page
        while run < n_pages and curve.dirty[run] == 0:
            run += 1
        if run > page:
            length = curve.pages[run] - curve.pages[page]
            copy(at, curve.pages[page], length)
            at += length
        else:
            points = first + page * PAGE * POINT_BYTES
            at = packing.pack(points, min(PAGE, n - page * PAGE), at, desk)
            run += 1
        page = run
    n_lists = 0
    for slot in range(len(curve.slots)):
        if curve.slots[slot].n > 0:
            n_lists += 1
            at = _write_list(curve, slot, n, channels, images, at)
    _write_head(start, n, inputs_hash, n_lists)
    return int(_seal(start, at) - start + begin)


@njit(cache=True, nogil=True)
def _write_list(
    curve: Curve,
    slot: int,
    n_points: int,
    channels: Channels,
    images: NDArray[np.uint8],
    at: int,
) -> int:
    """Write a slot at an address; returns the end."""
    state = curve.slots[slot]
    head = at
    at += LIST_BYTES
    if state.open == 0:
        copy(at, state.rows, state.n * state.width)
    else:
        state.width = 1 if n_points <= 1 << 8 else 2 if n_points <= 1 << 16 else 4
        rows = curve.measurements[slot]
        for k in range(state.n):
            row = rows[k].row
            for byte in range(state.width):
                store_u1(at + k * state.width + byte, np.uint8(row >> 8 * byte))
    at += state.n * state.width
    if state.heap >= 0:
        copy(at, np.int64(images.ctypes.data) + state.heap, state.length)
    elif state.counts != 0:
        copy(at, state.counts, state.length)
    else:
        counts = curve.counts[slot][: channels.rows[slot // N_BANDS].cells]
        state.length = sparse.pack(counts, at) - at
    store_i8(head, np.int64(state.keys))
    store_i8(head + 8, state.last)
    store_i4(head + 16, np.int32(slot))
    store_i4(head + 20, np.int32(state.n))
    store_i4(head + 24, np.int32(state.width))
    store_i4(head + 28, np.int32(state.length))
    return int(at + state.length)

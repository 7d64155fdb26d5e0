"""From the blocks of images to the rows that a network is fed."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.measurements import UNKNOWN_BAND
from broker.records import REASONS

TOO_FEW_POINTS = REASONS.index("too_few_points")
OUT_OF_DOMAIN = REASONS.index("out_of_domain")
NO_PHOTOMETRY = REASONS.index("no_photometry")


@njit(cache=True, nogil=True)
def choose(
    reason: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    first_block: NDArray[np.int64],
    channels: NDArray[np.int64],
    bands: NDArray[np.uint8],
    n: NDArray[np.int32],
    channel: int,
    together: bool,
    min_points: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which blocks are fed; images that feed none get a reason.

    Parameters
    ----------
    reason : (image,) u1
        Index into REASONS; images with one already are left alone. Changed in place.
    inside : (image,) bool
        Whether the image lies in the network's domain.
    first_block : (image + 1,) i8
        Blocks of image i are first_block[i]:first_block[i + 1].
    channels, bands, n : (block,)
        Channel of each block, its band, and measurements in it.
    channel : int
        The channel that the network eats.
    together : bool
        Whether it eats all bands of an object at once: then the block of all bands is fed.
    min_points : int
        A block with fewer measurements is not fed.

    Returns
    -------
    block : (row,) i8
        Block of each row to feed.
    first_row : (image + 1,) i8
        Rows of image i are first_row[i]:first_row[i + 1].
    """
    block = np.empty(len(channels), np.int64)
    first_row = np.zeros(len(reason) + 1, np.int64)
    row = 0
    for i in range(len(reason)):
        if reason[i] == 0:
            begin = row
            seen = False
            for b in range(first_block[i], first_block[i + 1]):
                of_all = bands[b] == UNKNOWN_BAND
                if channels[b] == channel and of_all == together and n[b] > 0:
                    seen = True
                    if n[b] >= min_points:
                        block[row] = b
                        row += 1
            if not seen:
                reason[i] = NO_PHOTOMETRY
            elif not inside[i]:
                reason[i] = OUT_OF_DOMAIN
                row = begin
            elif row == begin:
                reason[i] = TOO_FEW_POINTS
        first_row[i + 1] = row
    return block[:row], first_row


@njit(cache=True, nogil=True)
def each_band(
    block: NDArray[np.int64],
    first_block: NDArray[np.int64],
    channels: NDArray[np.int64],
    bands: NDArray[np.uint8],
    place: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The blocks of single bands that belong to blocks of all bands.

    Parameters
    ----------
    block : (row,) i8
        Blocks of all bands, in rising order.
    first_block : (image + 1,) i8
    channels, bands : (block,)
    place : (8,) i8
        Where the network has each of `broker.records.BANDS`; -1: not at all.

    Returns
    -------
    (row, place) i8
        Numbers of blocks; -1 where an object has no point of the band.
    """
    found = np.full((len(block), place.max() + 1), -1, np.int64)
    image = 0
    for row in range(len(block)):
        while first_block[image + 1] <= block[row]:
            image += 1
        for b in range(first_block[image], first_block[image + 1]):
            at = place[bands[b]] if bands[b] < len(place) else -1
            if channels[b] == channels[block[row]] and at >= 0:
                found[row, at] = b
    return found


@njit(cache=True, nogil=True)
def scatter(
    block: NDArray[np.int64],
    start: NDArray[np.int64],
    length: NDArray[np.int64],
    heap: NDArray[np.uint8],
    counts: NDArray[np.int32],
) -> int:
    """Spread sparse counts (see records.BLOCK) over the cells of dense images.

    Parameters
    ----------
    block : (row,) i8
        Block of each row; -1: none, its row stays zero.
    start, length : (block,) i8
        Where each block's varints stand in `heap`.
    heap : (byte,) u1
    counts : (row or more, cell) i4
        Filled in place; rows beyond the last block's become zero.

    Returns
    -------
    int
        -1, or the first row whose counts do not fit the grid or end within a number.
    """
    counts[:] = 0
    cells = counts.shape[1]
    for row in range(len(block)):
        if block[row] < 0:
            continue
        at = start[block[row]]
        end = at + length[block[row]]
        if at < 0 or end > len(heap):
            return row
        cell = np.int64(0)
        while at < end:
            gap = count = np.int64(0)
            for half in range(2):
                value = np.int64(0)
                shift = 0
                while True:
                    if at == end or shift > 28:
                        return row
                    byte = np.int64(heap[at])
                    at += 1
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                if half == 0:
                    gap = value
                else:
                    count = value
            cell += gap
            if cell >= cells or count > 0x7FFFFFFF:
                return row
            counts[row, cell] = count
    return -1


@njit(cache=True, nogil=True)
def gather(
    block: NDArray[np.int64],
    start: NDArray[np.int64],
    length: NDArray[np.int64],
    heap: NDArray[np.uint8],
    least: int,
    rows: NDArray[np.uint8],
) -> int:
    """Copy what stands beside the counts (see records.BLOCK) into rows.

    Parameters
    ----------
    block : (row,) i8
        Block of each row.
    start, length : (block,) i8
        Where each block's bytes stand in `heap`.
    heap : (byte,) u1
    least : int
        Bytes of a block that has no periodogram yet.
    rows : (row or more, byte) u1
        Filled in place; what a block does not have, and rows beyond the last block's, become zero.

    Returns
    -------
    int
        -1, or the first row that has another number of bytes.
    """
    rows[:] = 0
    for row in range(len(block)):
        at, size = start[block[row]], length[block[row]]
        if (size != least and size != rows.shape[1]) or at < 0 or at + size > len(heap):
            return row
        rows[row, :size] = heap[at : at + size]
    return -1

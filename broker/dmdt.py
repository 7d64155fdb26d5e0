"""DMDT images: counts of pairs of measurements over time and magnitude difference, point by point.

For each pair with t_j > t_i, dt = t_j - t_i and dm = m_j - m_i add one to the grid's cell (Mahabal
et al. 2017, arXiv:1709.06257). Everything is an integer (microdays, 0.1 mmag), so ties are exact,
the order of arrival cannot matter, and a point can be taken out again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import Grid


class Table(NamedTuple):
    """A grid as the kernels read it."""

    dt_edges: NDArray[np.int64]  # (n_dt + 1,)
    dm_edges: NDArray[np.int32]  # (n_dm + 1,)
    bins: NDArray[np.uint8]  # (step,) dm bin of the lowest dm of each step of 2**shift
    shift: int


def table(grid: Grid) -> Table:
    """Steps no wider than the narrowest bin: then a step holds at most one edge, and one comparison
    after the look-up is exact.
    """
    edges = grid.dm_edges
    shift = int(np.diff(edges).min()).bit_length() - 1
    steps = np.arange(edges[0], edges[-1], 1 << shift)
    bins = (np.searchsorted(edges, steps, side="right") - 1).astype(np.uint8)
    return Table(grid.dt_edges.copy(), edges.copy(), bins, shift)


@njit(cache=True, nogil=True)
def count_earlier(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    n: int,
    t: int,
    m: int,
    sign: int,
    grid: Table,
    counts: NDArray[np.int32],
) -> None:
    """Add `sign` for each pair of the point (t, m) with one of the first n points of a curve.

    Parameters
    ----------
    time, magnitude : (n or more,) i8, i4
        The curve in order of time; none of the first n later than t.
    counts : (n_dm * n_dt,) i4
        Changed in place.
    """
    n_dt = len(grid.dt_edges) - 1
    low = grid.dm_edges[0]
    width = np.uint32(grid.dm_edges[-1] - low)
    shift = np.uint32(grid.shift)
    i = n - 1
    newest = t - max(grid.dt_edges[0], 1)  # points of the same time are no pair
    while i >= 0 and time[i] > newest:
        i -= 1
    # From the nearest point outwards; each dt bin is one stretch of the sorted times.
    for k in range(n_dt):
        oldest = t - grid.dt_edges[k + 1]
        while i >= 0 and time[i] > oldest:
            above = np.uint32(m - magnitude[i] - low)  # negative wraps to beyond the width
            if above < width:
                b = np.int64(grid.bins[above >> shift])
                b += np.int64(np.int64(above) + low >= grid.dm_edges[b + 1])
                counts[b * n_dt + k] += sign
            i -= 1
        if i < 0:
            return


@njit(cache=True, nogil=True)
def count_later(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    first: int,
    n: int,
    t: int,
    m: int,
    sign: int,
    grid: Table,
    counts: NDArray[np.int32],
) -> None:
    """As `count_earlier`, with the points first to n of a curve, none of them earlier than t."""
    n_dt = len(grid.dt_edges) - 1
    low = grid.dm_edges[0]
    width = np.uint32(grid.dm_edges[-1] - low)
    shift = np.uint32(grid.shift)
    i = first
    oldest = t + max(grid.dt_edges[0], 1)
    while i < n and time[i] < oldest:
        i += 1
    for k in range(n_dt):
        newest = t + grid.dt_edges[k + 1]
        while i < n and time[i] < newest:
            above = np.uint32(magnitude[i] - m - low)
            if above < width:
                b = np.int64(grid.bins[above >> shift])
                b += np.int64(np.int64(above) + low >= grid.dm_edges[b + 1])
                counts[b * n_dt + k] += sign
            i += 1
        if i == n:
            return


@njit(cache=True, nogil=True)
def count_all(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    n: int,
    grid: Table,
    counts: NDArray[np.int32],
) -> None:
    """Add every pair among the first n points of a curve in order of time."""
    for j in range(1, n):
        count_earlier(time, magnitude, j, time[j], magnitude[j], 1, grid, counts)


@njit(cache=True, nogil=True)
def _count_many(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    first: NDArray[np.int64],
    grid: Table,
    counts: NDArray[np.int32],
) -> None:
    for i in range(len(first) - 1):
        part = slice(first[i], first[i + 1])
        count_all(time[part], magnitude[part], first[i + 1] - first[i], grid, counts[i])


def count(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    first: NDArray[np.int64],
    grid: Grid,
) -> NDArray[np.int32]:
    """Images of many curves from scratch.

    Parameters
    ----------
    time : (point,) i8
        Microdays, in order within each curve.
    magnitude : (point,) i4
        0.1 mmag.
    first : (curve + 1,) i8
        Curve i is points first[i]:first[i + 1].

    Returns
    -------
    (curve, n_dm, n_dt) i4

    Examples
    --------
    >>> from broker.grids import GRIDS
    >>> time = np.array([0, 10_000, 2_000_000])  # 0, 0.01 and 2 days
    >>> magnitude = np.array([180_000, 180_500, 170_000], np.int32)  # 18, 18.05 and 17 mag
    >>> images = count(time, magnitude, np.array([0, 3]), GRIDS["fiducial"])
    >>> [tuple(map(int, cell)) for cell in np.argwhere(images[0])]
    [(5, 7), (6, 7), (11, 0)]
    """
    counts = np.zeros((len(first) - 1, grid.cells), np.int32)
    _count_many(
        np.ascontiguousarray(time, np.int64),
        np.ascontiguousarray(magnitude, np.int32),
        np.ascontiguousarray(first, np.int64),
        table(grid),
        counts,
    )
    return counts.reshape(-1, *grid.shape)

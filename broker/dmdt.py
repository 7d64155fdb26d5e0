"""DMDT images: counts of pairs of measurements over time and magnitude difference, point by point.

For each pair with t_j > t_i, dt = t_j - t_i and dm = m_j - m_i add one to the grid's cell (Mahabal
et al. 2017, arXiv:1709.06257). Everything is an integer (microdays, 0.1 mmag), so ties are exact,
the order of arrival cannot matter, and a point can be taken out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import Grid

_U = np.uint64
_ONE = np.uint64(1)

#: A measurement in a light curve: microdays, 0.1 mmag, and which point it is.
MEASUREMENT = np.dtype([("time", "i8"), ("magnitude", "i4"), ("row", "i4")])


class Table(NamedTuple):
    """Grids as the kernels read them: few arrays, since each costs at every call in a kernel."""

    grids: NDArray[np.void]  # (grid,) GRID_ROW
    edges: NDArray[np.int64]  # all edges, one grid behind the other
    bins: NDArray[np.uint8]  # (step,) dm bin of the lowest dm of each step of 2**shift


#: Where a grid's edges and steps begin in a Table.
GRID_ROW = np.dtype([(name, "i8") for name in ("n_dt", "dt", "n_dm", "dm", "bins", "shift")])


def table(grids: Sequence[Grid]) -> Table:
    """Look-up tables whose steps are no wider than the narrowest bin.

    A step then holds at most one edge, so one comparison after the look-up is exact.
    """
    rows = np.zeros(len(grids), GRID_ROW)
    edges: list[int] = []
    bins: list[int] = []
    for row, grid in zip(rows, grids, strict=True):
        dm = grid.dm_edges
        shift = int(np.diff(dm).min()).bit_length() - 1
        steps = np.arange(dm[0], dm[-1], 1 << shift)
        n_dm, n_dt = grid.shape
        at = len(edges)
        row["n_dt"], row["dt"], row["n_dm"], row["dm"] = n_dt, at, n_dm, at + n_dt + 1
        row["bins"], row["shift"] = len(bins), shift
        edges += [*grid.dt_edges.tolist(), *dm.tolist()]
        bins += (np.searchsorted(dm, steps, side="right") - 1).tolist()
    return Table(rows, np.array(edges, np.int64), np.array(bins, np.uint8))


@njit(cache=True, nogil=True)
def count_earlier(
    curve: NDArray[np.void],
    n: int,
    t: int,
    m: int,
    sign: int,
    table: Table,
    g: int,
    counts: NDArray[np.int32],
) -> None:
    """Add `sign` for each pair of the point (t, m) with one of the first n points of a curve.

    Parameters
    ----------
    curve : (n or more,) MEASUREMENT
        In order of time; none of the first n later than t.
    g : int
        Which grid of the table.
    counts : (n_dm * n_dt,) i4
        Changed in place.
    """
    grid, edges, bins = table.grids[g], table.edges, table.bins
    # Unsigned indexes: Numba leaves out the test for negative ones, a quarter of the time.
    n_dt, dt, dm, first_bin = _U(grid.n_dt), _U(grid.dt), _U(grid.dm), _U(grid.bins)
    low = edges[dm]
    width = np.uint32(edges[dm + _U(grid.n_dm)] - low)
    shift = np.uint32(grid.shift)
    i = n - 1
    newest = t - max(edges[dt], 1)  # points of the same time are no pair
    while i >= 0 and curve[i].time > newest:
        i -= 1
    # From the nearest point outwards; each dt bin is one stretch of the sorted times.
    for k in range(n_dt):
        oldest = t - edges[dt + k + _ONE]
        while i >= 0 and curve[i].time > oldest:
            above = np.uint32(m - curve[i].magnitude - low)  # negative wraps to beyond the width
            if above < width:
                b = _U(bins[first_bin + _U(above >> shift)])
                b += _U(np.int64(above) + low >= edges[dm + b + _ONE])
                counts[b * n_dt + k] += sign
            i -= 1
        if i < 0:
            return


@njit(cache=True, nogil=True)
def count_later(
    curve: NDArray[np.void],
    first: int,
    n: int,
    t: int,
    m: int,
    sign: int,
    table: Table,
    g: int,
    counts: NDArray[np.int32],
) -> None:
    """As `count_earlier`, with the points first to n of a curve, none of them earlier than t."""
    if first >= n:
        return
    grid, edges, bins = table.grids[g], table.edges, table.bins
    # Unsigned indexes: Numba leaves out the test for negative ones, a quarter of the time.
    n_dt, dt, dm, first_bin = _U(grid.n_dt), _U(grid.dt), _U(grid.dm), _U(grid.bins)
    low = edges[dm]
    width = np.uint32(edges[dm + _U(grid.n_dm)] - low)
    shift = np.uint32(grid.shift)
    i = first
    oldest = t + max(edges[dt], 1)
    while i < n and curve[i].time < oldest:
        i += 1
    for k in range(n_dt):
        newest = t + edges[dt + k + _ONE]
        while i < n and curve[i].time < newest:
            above = np.uint32(curve[i].magnitude - m - low)
            if above < width:
                b = _U(bins[first_bin + _U(above >> shift)])
                b += _U(np.int64(above) + low >= edges[dm + b + _ONE])
                counts[b * n_dt + k] += sign
            i += 1
        if i == n:
            return


@njit(cache=True, nogil=True)
def count_all(
    curve: NDArray[np.void], n: int, table: Table, g: int, counts: NDArray[np.int32]
) -> None:
    """Add every pair among the first n points of a curve in order of time."""
    for j in range(1, n):
        t, m = curve[j].time, np.int64(curve[j].magnitude)
        count_earlier(curve, j, t, m, 1, table, g, counts)


@njit(cache=True, nogil=True)
def _count_many(
    curves: NDArray[np.void],
    first: NDArray[np.int64],
    table: Table,
    counts: NDArray[np.int32],
) -> None:
    for i in range(len(first) - 1):
        part = curves[first[i] : first[i + 1]]
        count_all(part, len(part), table, 0, counts[i])


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
    curves = np.zeros(len(time), MEASUREMENT)
    curves["time"], curves["magnitude"] = time, magnitude
    _count_many(curves, np.require(first, np.int64, ["C", "W"]), table([grid]), counts)
    return counts.reshape(-1, *grid.shape)

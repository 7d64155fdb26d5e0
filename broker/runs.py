"""Runs of rows, one behind the other: run i is rows first[i]:first[i + 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def picked(
    first: NDArray[np.int64], runs: NDArray[np.int64], n: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Some runs, in that order; a run may come more than once.

    Parameters
    ----------
    first : (run + 1,) i8
    runs : (picked,) i8
        Which of them.
    n : (picked,) i8
        How many rows of each, its first ones; all if None.

    Returns
    -------
    row : (row,) i8
        Their rows, one run behind the other.
    first : (picked + 1,) i8
        Where each of them begins then.

    Examples
    --------
    >>> row, first = picked(np.array([0, 2, 5]), np.array([1, 0]))
    >>> row.tolist(), first.tolist()
    ([2, 3, 4, 0, 1], [0, 3, 5])
    """
    if n is None:
        n = np.diff(first)[runs]
    begin = np.concatenate([[0], np.cumsum(n)])
    row: NDArray[np.int64] = np.repeat(first[runs] - begin[:-1], n) + np.arange(begin[-1])
    return row, begin


def kept(first: NDArray[np.int64], keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where each run begins, (run + 1,), when only the rows `keep` (row,) stay.

    >>> kept(np.array([0, 2, 5]), np.array([True, False, True, False, True])).tolist()
    [0, 1, 3]
    """
    result: NDArray[np.int64] = np.concatenate([[0], np.cumsum(keep)])[first]
    return result

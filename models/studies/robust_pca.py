"""Robust PCA: a matrix as one of low rank plus a sparse one, by alternating projections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def split(matrix: Matrix, rank: int = 1, rounds: int = 20) -> tuple[Matrix, Matrix]:
    """The low-rank and the sparse part of a matrix (row, column), which add to it but for noise.

    AltProj of Netrapalli et al. 2014 (arXiv:1410.7660, algorithm 1), the method that Mahabal et
    al. 2017 cite: for each rank up to the wanted one, in turns the best matrix of that rank for
    what is not sparse, and the entries that it misses by more than a falling threshold.

    Parameters
    ----------
    matrix : (row, column) f8
    rank : int
    rounds : int
        Turns for each rank; the threshold halves in each.

    Returns
    -------
    low, sparse : (row, column) f8
    """
    if len(matrix) > matrix.shape[1]:
        low, sparse = split(matrix.T, rank, rounds)
        return low.T, sparse.T
    share = 1 / np.sqrt(matrix.shape[1])  # the authors' choice in their experiments
    sigma = np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T)[-1])
    sparse = _beyond(matrix, share * sigma)
    low = np.zeros_like(matrix)
    for k in range(1, rank + 1):
        for turn in range(rounds):
            rest = matrix - sparse
            # Few rows: eigenvectors of the small product are the left singular vectors.
            values, vectors = np.linalg.eigh(rest @ rest.T)
            sigmas = np.sqrt(np.maximum(values[::-1], 0))
            basis = vectors[:, -k:]
            low = basis @ (basis.T @ rest)
            after = sigmas[k] if k < len(sigmas) else 0.0
            sparse = _beyond(matrix - low, share * (after + 0.5**turn * sigmas[k - 1]))
    return low, sparse


def background(images: NDArray) -> NDArray[np.float64]:
    """What images (image, n_dm, n_dt) have in common: the greatest of each pixel's low-rank part.

    With rank 1 every image has the same background in another strength; the strongest is taken, as
    the paper shows it. (n_dm, n_dt) f8.
    """
    matrix = images.reshape(len(images), -1).T.astype(np.float64)  # (pixel, image)
    low, _ = split(matrix)
    greatest: NDArray[np.float64] = low.max(axis=1).reshape(images.shape[1:])
    return greatest


def _beyond(matrix: Matrix, threshold: float) -> Matrix:
    return np.where(np.abs(matrix) > threshold, matrix, 0.0)

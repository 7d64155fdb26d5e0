"""From counts of pairs to the levels that a network sees: on the CPU by kernels, on a GPU there.

Each intensity takes counts (image, cell) i4 with the measurements n (image,) behind them and the
grid's (n_dm, n_dt), and gives what its network eats, on the device of the counts. Most cells are
empty: the kernels compute where there are pairs only (1 us an image, PyTorch's operators 7 to 9).
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch.nn import functional


def paper(counts: torch.Tensor, n: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Grey levels of Mahabal et al. 2017 (arXiv:1709.06257, section II).

    floor(255 c / p + 0.99999) with p = n (n - 1) / 2, without rounding:
    (25_500_000 c + 99_999 p) // (100_000 p). A cell with one pair is not black while
    n < 7142; fewer than two measurements have no pairs and give a black image.

    Returns
    -------
    (image, 1, n_dm, n_dt) float32
        Whole numbers 0 to 255.
    """
    if counts.device.type == "cpu":
        levels = np.empty(counts.shape, np.float32)
        paper_kernel(counts.numpy(), n.numpy(), levels)
        return torch.from_numpy(levels).view(-1, 1, *grid)
    return paper_tensor(counts, n).view(-1, 1, *grid)


def paper_tensor(counts: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """`paper` in PyTorch's operators: (image, cell) float32."""
    n = n.long().view(-1, 1)
    pairs = (n * (n - 1) // 2).clamp_(min=1)  # the products fit int64 up to n = 850_000
    levels = torch.div(
        counts.long() * 25_500_000 + 99_999 * pairs, 100_000 * pairs, rounding_mode="floor"
    )
    return levels.float()


@njit(cache=True, nogil=True)
def paper_kernel(
    counts: NDArray[np.int32], n: NDArray[np.int32], levels: NDArray[np.float32]
) -> None:
    """`paper` on the CPU, into `levels` (image, cell)."""
    levels[:] = 0
    for i in range(len(counts)):
        points = np.int64(n[i])
        pairs = points * (points - 1) // 2
        for cell in range(counts.shape[1]):
            count = np.int64(counts[i, cell])
            if count != 0 and pairs != 0:
                levels[i, cell] = (25_500_000 * count + 99_999 * pairs) // (100_000 * pairs)


def root_rows(counts: torch.Tensor, n: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Roots of the cells' shares: of the pairs in the image, and of those in their row.

    A row has one time difference, so its shares are a distribution of dm there, whatever the
    cadence; shares of the image say how much stands behind each. Roots have the same error
    everywhere (a count's is its root) and keep the wings that 256 grey levels lose. Beside
    log1p(count) / 3 for the first channel, on validation curves of one point a night, the loss was
    0.848 against 0.854 and 0.862, on whole curves 0.551 against 0.562 and 0.565: one seed, and the
    last layers of those two were others (none, 128 wide), so the gain is not the input's alone.

    Returns
    -------
    (image, n_dt + 1, 2 n_dm) float32
        A row for each time difference, shares of the image before those of the row; then an empty
        row, which parts images whose rows stand in one matrix.
    """
    if counts.device.type == "cpu":
        n_dm, n_dt = grid
        levels = np.empty((len(counts), n_dt + 1, 2 * n_dm), np.float32)
        root_rows_kernel(counts.numpy(), levels)
        return torch.from_numpy(levels)
    return root_rows_tensor(counts, grid)


def root_rows_tensor(counts: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """`root_rows` in PyTorch's operators."""
    image = counts.view(-1, *grid)
    row = image.sum(1, keepdim=True)
    whole = row.sum(2, keepdim=True)
    channels = [(image / pairs.clamp(min=1)).sqrt_() for pairs in (whole, row)]
    return functional.pad(torch.cat(channels, 1), (0, 1)).transpose(1, 2).contiguous()


@njit(cache=True, nogil=True)
def root_rows_kernel(counts: NDArray[np.int32], levels: NDArray[np.float32]) -> None:
    """`root_rows` on the CPU, into `levels` (image, n_dt + 1, 2 n_dm)."""
    n_dt, n_dm = levels.shape[1] - 1, levels.shape[2] // 2
    pairs = np.empty(n_dt, np.int64)
    filled = np.empty((counts.shape[1], 3), np.int32)  # (dm, dt, count) of cells that hold some
    levels[:] = 0
    for i in range(len(counts)):
        pairs[:] = 0
        last = cell = 0
        for dm in range(n_dm):
            for dt in range(n_dt):  # without a branch: it would be guessed wrong at each edge
                count = counts[i, cell]
                cell += 1
                pairs[dt] += count
                filled[last, 0], filled[last, 1], filled[last, 2] = dm, dt, count
                last += count != 0
        whole = np.float32(pairs.sum())
        for k in range(last):
            dm, dt, count = filled[k, 0], filled[k, 1], np.float32(filled[k, 2])
            levels[i, dt, dm] = np.sqrt(count / whole)
            levels[i, dt, n_dm + dm] = np.sqrt(count / np.float32(pairs[dt]))

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

#: log1p(count) / 3 of counts that are often met.
LOG = (np.log1p(np.arange(4096)) / 3).astype(np.float32)


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


def log_rows(counts: torch.Tensor, n: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """How many pairs, and how each row of equal time difference shares its own among the dm.

    Two channels: log1p(count) / 3, which keeps wings that 256 grey levels lose, and
    sqrt(count / pairs in the row), a distribution of dm at each dt whatever the cadence.

    Returns
    -------
    (image, n_dt + 1, 2 n_dm) float32
        A row for each time difference, the logarithms before the shares; then an empty row, which
        parts images whose rows stand in one matrix.
    """
    if counts.device.type == "cpu":
        n_dm, n_dt = grid
        levels = np.empty((len(counts), n_dt + 1, 2 * n_dm), np.float32)
        log_rows_kernel(counts.numpy(), LOG, levels)
        return torch.from_numpy(levels)
    return log_rows_tensor(counts, grid)


def log_rows_tensor(counts: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """`log_rows` in PyTorch's operators."""
    image = counts.view(-1, *grid)
    pairs = image.sum(1, keepdim=True).clamp_(min=1).float()
    image = image.float()
    channels = torch.cat([image.log1p() / 3, (image / pairs).sqrt_()], 1)  # (image, 2 dm, dt)
    return functional.pad(channels, (0, 1)).transpose(1, 2).contiguous()


@njit(cache=True, nogil=True)
def log_rows_kernel(
    counts: NDArray[np.int32], log: NDArray[np.float32], levels: NDArray[np.float32]
) -> None:
    """`log_rows` on the CPU, into `levels` (image, n_dt + 1, 2 n_dm); `log` is LOG."""
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
        for k in range(last):
            dm, dt, count = filled[k, 0], filled[k, 1], filled[k, 2]
            levels[i, dt, dm] = log[count] if count < len(log) else np.log1p(count) / 3
            levels[i, dt, n_dm + dm] = np.sqrt(np.float32(count) / np.float32(pairs[dt]))

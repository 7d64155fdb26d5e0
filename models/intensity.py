"""From counts of pairs to the grey levels that a network sees, in exact integers."""

from __future__ import annotations

import torch


def paper(counts: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Grey levels of Mahabal et al. 2017 (arXiv:1709.06257, section II).

    floor(255 c / p + 0.99999) with p = n (n - 1) / 2, without rounding:
    (25_500_000 c + 99_999 p) // (100_000 p). A cell with one pair is not black while
    n < 7142.

    Parameters
    ----------
    counts : (image, ...) int32
        Pairs in each cell.
    n : (image,) int32 or int64
        Measurements in each image; fewer than two have no pairs and give a black image.

    Returns
    -------
    (image, ...) float32
        Whole numbers 0 to 255, on the device of `counts`.
    """
    n = n.long().view(-1, *[1] * (counts.dim() - 1))
    pairs = (n * (n - 1) // 2).clamp_(min=1)  # the products fit int64 up to n = 850_000
    levels = torch.div(
        counts.long() * 25_500_000 + 99_999 * pairs, 100_000 * pairs, rounding_mode="floor"
    )
    return levels.float()

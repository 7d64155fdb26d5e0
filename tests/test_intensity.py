from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import torch

from models import intensity


def paper(counts: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """By the kernel, which the operators of a GPU equal: (image, cell)."""
    levels = intensity.paper(counts.int(), n, (1, counts.shape[1]))[:, 0, 0]
    assert torch.equal(levels, intensity.paper_tensor(counts.int(), n))
    return levels


def test_it_is_the_papers_formula_in_exact_numbers() -> None:
    draw = np.random.default_rng(0)
    n = np.array([2, 3, 5, 235, 4096, 60_000, 65_000], np.int32)
    pairs = n.astype(np.int64) * (n - 1) // 2
    counts = (draw.random((len(n), 50)) * pairs[:, None]).astype(np.int32)
    counts[:, 0], counts[:, 1], counts[:, 2] = 0, 1, np.minimum(pairs, 2**31 - 1)
    levels = paper(torch.from_numpy(counts), torch.from_numpy(n))
    for row, p in enumerate(pairs.tolist()):
        for c, level in zip(counts[row].tolist(), levels[row].tolist(), strict=True):
            assert level == floor(Fraction(255 * c, p) + Fraction(99_999, 100_000))


def test_levels_are_right_where_they_change() -> None:
    """Counts beside each step: there a rounded division would be off by one."""
    for n in (7, 235, 5000, 60_000):
        p = n * (n - 1) // 2
        steps = [-((99_999 * p - 100_000 * p * k) // 25_500_000) for k in range(1, 256)]
        counts = [c for s in steps for c in (s - 1, s, s + 1) if 0 <= c <= p]
        levels = paper(torch.tensor([counts]), torch.tensor([n]))[0].tolist()
        assert levels == [(25_500_000 * c + 99_999 * p) // (100_000 * p) for c in counts]


def test_one_pair_shows_up_to_7141_points_and_all_pairs_are_white() -> None:
    n = torch.tensor([7141, 7142])
    one_and_all = torch.stack([torch.ones(2, dtype=torch.int64), n * (n - 1) // 2], dim=1)
    assert paper(one_and_all, n).tolist() == [[1, 255], [0, 255]]


def test_images_without_pairs_are_black() -> None:
    assert not paper(torch.zeros((2, 12), dtype=torch.int32), torch.tensor([0, 1])).any()


def test_root_rows_by_hand() -> None:
    counts = torch.tensor([[3, 0, 0, 1, 5, 4]], dtype=torch.int32)  # (dm, dt) = (2, 3)
    levels = intensity.root_rows(counts, torch.tensor([9]), (2, 3))
    squares = torch.tensor(
        [  # of each dm: the share of the image's 13 pairs, then of the row's
            [3 / 13, 1 / 13, 3 / 4, 1 / 4],
            [0, 5 / 13, 0, 1],
            [0, 4 / 13, 0, 1],
            [0, 0, 0, 0],  # the empty row
        ]
    )
    assert torch.allclose(levels[0] ** 2, squares)


def test_a_gpu_would_see_the_same_root_rows() -> None:
    draw = np.random.default_rng(3)
    counts = draw.integers(0, 40_000, (40, 22 * 23)).astype(np.int32)
    counts[draw.random(counts.shape) < 0.8] = 0
    counts[5] = 0
    counts[6] = 2**31 - 1  # the sum of a row is beyond int32
    made = torch.from_numpy(counts)
    levels = intensity.root_rows(made, torch.ones(40), (22, 23))
    assert torch.allclose(levels, intensity.root_rows_tensor(made, (22, 23)), rtol=3e-7, atol=0)
    assert not levels[5].any()
    assert torch.isfinite(levels).all()

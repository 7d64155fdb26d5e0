from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_catalogue import small

from models import examples, network


def test_examples_are_the_counts_of_first_points(tmp_path: Path) -> None:
    curves = small(tmp_path)
    both = np.array([1, 0])
    made = examples.first_points(curves, both, np.array([3, 2]))
    assert made.counts.sum(1).tolist() == [3, 1]
    assert made.n.tolist() == [3, 2]
    assert made.label.tolist() == curves.label[both].tolist()
    net = network.build("shallow", examples.GRID.shape, 7)
    levels = made.levels(net, torch.tensor([1]), "cpu")
    assert levels.shape == (1, 1, *examples.GRID.shape)
    assert levels.max() == 255  # one pair is all there are


def test_shortened_lengths_lie_between_four_and_all() -> None:
    n = np.repeat([2, 3, 4, 5, 300], 4000)
    length = examples.shortened(n, np.random.default_rng(0))
    assert (length <= n).all()
    assert length[n == 2].min() == 2
    assert set(length[n == 5]) == {4, 5}
    long = length[n == 300]
    assert (long.min(), long.max()) == (4, 300)
    middle = np.median(np.log(long))
    assert middle == pytest.approx(np.log(np.sqrt(4 * 300)), abs=0.15)

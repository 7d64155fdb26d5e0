from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import cards, train
from models.catalogue import CLASSES, FILE


def sky(folder: Path, objects: int = 420, seed: int = 3) -> None:
    """Stars whose class is told by amplitude: an easy catalogue."""
    draw = np.random.default_rng(seed)
    numbers = list(CLASSES)
    lab = np.arange(objects) % 2 * 3  # EW or RRc, by place in CLASSES
    t, m, lengths = [], [], []
    for i in range(objects):
        n = int(draw.integers(30, 60))
        time = np.sort(draw.uniform(0, 300, n))
        t.append(54_000 + time)
        m.append(15 + (2.0 if lab[i] else 0.05) * np.sin(time * 11) + draw.normal(0, 0.02, n))
        lengths.append(n)
    np.savez(
        folder / FILE,
        t=np.concatenate(t),
        m=np.concatenate(m),
        off=np.concatenate([[0], np.cumsum(lengths)]),
        ids=np.arange(objects),
        lab=np.array([numbers[k] for k in lab]),
    )


def test_training_learns_writes_a_card_and_repeats(tmp_path: Path) -> None:
    sky(tmp_path)
    told: list[train.Epoch] = []
    card = train.train(tmp_path, tmp_path / "a", 15, seed=1, device="cpu", progress=told.append)
    assert [e.number for e in told] == list(range(1, 16))
    assert told[-1].validation_accuracy > 0.8
    assert told[-1].validation_loss < told[0].validation_loss
    assert card.measured[0]["accuracy"] > 0.9

    read = cards.read(tmp_path / "a" / "crts-shallow.toml")
    assert read.weights_sha256 == card.weights_sha256
    assert read.inputs == card.inputs
    assert read.domain == card.domain
    assert read.training["best_epoch"] == max(e.number for e in told if e.best)

    again = train.train(tmp_path, tmp_path / "b", 2, seed=1, device="cpu")
    twin = train.train(tmp_path, tmp_path / "c", 2, seed=1, device="cpu")
    other = train.train(tmp_path, tmp_path / "d", 2, seed=2, device="cpu")
    assert again.weights_sha256 == twin.weights_sha256 != other.weights_sha256


def test_shortened_lengths_lie_between_four_and_all() -> None:
    n = np.repeat([2, 3, 4, 5, 300], 4000)
    length = train.shortened(n, np.random.default_rng(0))
    assert (length <= n).all()
    assert length[n == 2].min() == 2
    assert set(length[n == 5]) == {4, 5}
    long = length[n == 300]
    assert (long.min(), long.max()) == (4, 300)
    middle = np.median(np.log(long))
    assert middle == pytest.approx(np.log(np.sqrt(4 * 300)), abs=0.15)


def test_the_dtype_is_one_that_trains() -> None:
    assert train.faster_dtype("cpu") in (torch.float32, torch.bfloat16)

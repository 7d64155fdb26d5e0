from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from models import checkpoints


def trained(steps: int, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(net.parameters(), 0.01, fused=True)
    step(net, optimizer, steps)
    return net, optimizer


def step(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for k in range(steps):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(k))
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()


def test_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    net, optimizer = trained(5, seed=1)
    checkpoints.save(path, "seed 1", 7, {"net": net}, optimizer)
    other, its = trained(0, seed=2)
    assert checkpoints.load(path, "seed 1", {"net": other}, its) == 7
    step(net, optimizer, 3)
    step(other, its, 3)
    for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_one_of_another_training_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.checkpoint"
    net, optimizer = trained(5, seed=1)
    assert checkpoints.load(path, "seed 2", {"net": net}, optimizer) == 0
    checkpoints.save(path, "seed 1", 7, {"net": net}, optimizer)
    other, its = trained(0, seed=2)
    before = [t.clone() for t in other.state_dict().values()]
    with pytest.raises(ValueError, match=r"a\.checkpoint is of another training \(seed 1, not s"):
        checkpoints.load(path, "seed 2", {"net": other}, its)
    assert all(map(torch.equal, before, other.state_dict().values()))
    assert [p.name for p in path.parent.iterdir()] == ["a.checkpoint"]

"""What all trainings for the stream share: optimizer, step, mean of the weights, their file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

#: Share of all steps in which the step rises to its full length.
_WARM_UP = 0.08


@dataclass(frozen=True, slots=True)
class Epoch:
    """How training stands: validation figures are those of the averaged weights, seconds those
    since it began.
    """

    number: int
    of: int
    seconds: float
    validation_loss: float
    validation_accuracy: float
    best: bool


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many of PyTorch's threads on the CPU, for the whole process, and then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def adamw(net: nn.Module, step: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) whose decay is of matrices only."""
    matrices = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, step, fused=True)


def cosine(done: float) -> float:
    """What the step is multiplied by when a share `done` of all steps is done."""
    rest = max(0.0, done - _WARM_UP) / (1 - _WARM_UP)
    return min(1.0, done / _WARM_UP) * (1 + math.cos(math.pi * rest)) / 2


def set_step(optimizer: torch.optim.Optimizer, step: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = step


def follow(mean: nn.Module, net: nn.Module, decay: float, steps: int) -> None:
    """Move an exponential mean of the weights on; after few steps it soon forgets the first."""
    decay = min(decay, (1 + steps) / (10 + steps))
    with torch.no_grad():
        torch._foreach_lerp_(list(mean.parameters()), list(net.parameters()), 1 - decay)


def write(net: nn.Module, path: Path) -> str:
    """Write the weights as safetensors; returns their sha256."""
    weights = save({name: w.contiguous().cpu() for name, w in net.state_dict().items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    return hashlib.sha256(weights).hexdigest()

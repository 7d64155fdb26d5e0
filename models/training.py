"""What all trainings for the stream share: the optimizer, its step, the weights as a file."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

#: Share of all steps in which the step rises to its full length.
_WARM_UP = 0.08


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


def write(net: nn.Module, path: Path) -> str:
    """Write the weights as safetensors; returns their sha256."""
    weights = save({name: w.contiguous().cpu() for name, w in net.state_dict().items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    return hashlib.sha256(weights).hexdigest()

"""A last layer for each number of points: of few, what a network has seen means something else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from models import likeliest
from models.calibration import between

#: So strongly weights are drawn to 0, as of standardised inputs: as ten objects' evidence would.
_PENALTY = 10.0


class LastLayer(nn.Module):
    """What is added to the logits of the layer that is trained for all numbers of points alike.

    Linear in log n between some numbers of points; below the first and above the last it is that
    one's. Nothing is added before it is fitted, nor at numbers that were not.

    Parameters
    ----------
    points : sequence of int
        The numbers, rising.
    features : int
        Width of what the last layer eats.
    classes : int
        Number of classes.
    """

    log_points: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, points: Sequence[int], features: int, classes: int) -> None:
        super().__init__()
        self.points = tuple(points)
        self.register_buffer("log_points", torch.tensor(points, dtype=torch.float32).log())
        self.register_buffer("weight", torch.zeros(len(points), classes, features))
        self.register_buffer("bias", torch.zeros(len(points), classes))

    def forward(self, hidden: torch.Tensor, log_n: torch.Tensor) -> torch.Tensor:
        """What is added (object, class) for objects with exp(log_n) (object,) points."""
        every = functional.linear(hidden, self.weight.flatten(0, 1), self.bias.flatten())
        every = every.view(-1, *self.bias.shape)  # (object, knot, class)
        above, part = between(self.log_points, log_n)
        row = torch.arange(len(hidden), device=hidden.device)
        return torch.lerp(every[row, above - 1], every[row, above], part)

    def fit(
        self, points: int, hidden: torch.Tensor, logits: torch.Tensor, label: torch.Tensor
    ) -> None:
        """Learn what is to be added at one of the numbers of points; the loss is convex.

        Parameters
        ----------
        points : int
        hidden : (object, feature)
            Of objects with so many points.
        logits : (object, class)
            What is said of them without this layer.
        label : (object,)
        """
        scale, mean = torch.std_mean(hidden, dim=0)
        usual = (hidden - mean) / (scale + 1e-3)
        weight = torch.zeros(self.weight.shape[1:], requires_grad=True)
        bias = torch.zeros(self.bias.shape[1:], requires_grad=True)

        def loss() -> torch.Tensor:
            changed = logits + functional.linear(usual, weight, bias)
            wrong = functional.cross_entropy(changed, label)
            return wrong + _PENALTY * weight.square().sum() / len(label)

        likeliest.fit(loss, [weight, bias], 200)
        knot = self.points.index(points)
        plain = weight.detach() / (scale + 1e-3)
        self.weight[knot] = plain
        self.bias[knot] = bias.detach() - plain @ mean

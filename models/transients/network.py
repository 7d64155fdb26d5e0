"""The network of transients: images, course and numbers side by side, joined by small matrices."""

from __future__ import annotations

import torch
from torch import nn

from models.transients.inputs import Eye, Inputs
from models.transients.unseen import Typical

#: Width of the last hidden layer.
LAST = 128


class Standard(nn.Module):
    """Every input with mean 0 and deviation 1 over what `learn` saw, and within 5 deviations."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def learn(self, rows: torch.Tensor) -> None:
        """Take mean and deviation from rows (object, width)."""
        deviation, mean = torch.std_mean(rows, 0)
        # An input that never moves says nothing, whatever it is later.
        self.scale.copy_(torch.where(deviation > 1e-4, 1 / deviation.clamp(min=0.02), 0.0))
        self.shift.copy_(-mean * self.scale)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shift, rows, self.scale).clamp_(-5, 5)


class TransientNet(nn.Module):
    """Logits of classes for one object as seen in several bands.

    Parameters
    ----------
    eye : Eye
        The bands, which set the widths.
    classes : int
    hidden : int
        Width of the middle layers.
    dropout : float
    images : bool
        Without them the network sees the smoothed course and the numbers alone.
    """

    def __init__(
        self, eye: Eye, classes: int, hidden: int = 256, dropout: float = 0.2, images: bool = True
    ) -> None:
        super().__init__()
        image, course, numbers = (torch.Size(s).numel() for s in eye.shapes)
        self.eye = eye
        self.images = images
        self.rest = Standard(course + numbers)
        width = course + numbers
        if images:
            self.cells = Standard(image)
            self.image = nn.Sequential(nn.Linear(image, 64), nn.ReLU(), nn.Dropout(2 * dropout))
            width += 64
        layers: list[nn.Module] = []
        for before, after in ((width, hidden), (hidden, hidden), (hidden, LAST)):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(LAST, classes)
        self.typical = Typical(LAST, classes)

    def learn(self, inputs: Inputs) -> None:
        """Standardise what comes later by these."""
        self.rest.learn(self._rest(inputs))
        if self.images:
            self.cells.learn(levels(inputs.images))

    def hidden(self, inputs: Inputs) -> torch.Tensor:
        """What the last layer sees, (object, 128)."""
        rest = self.rest(self._rest(inputs))
        if self.images:
            image = self.image(self.cells(levels(inputs.images)))
            rest = torch.cat([rest, image], 1)
        hidden: torch.Tensor = self.body(rest)
        return hidden

    def forward(self, inputs: Inputs) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.hidden(inputs))
        return logits

    @staticmethod
    def _rest(inputs: Inputs) -> torch.Tensor:
        return torch.cat([inputs.course.flatten(1), inputs.numbers], 1)


def levels(images: torch.Tensor) -> torch.Tensor:
    """Counts (object, band, dm, dt) as shares of their row of equal time difference, square root.

    (object, band * dm * dt); how many pairs there are is among the numbers already.
    """
    rows = images.sum(2, keepdim=True).clamp(min=1)
    return (images / rows).sqrt().flatten(1)

"""The network of transients: images, course and numbers side by side, joined by small matrices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load
from torch import nn

from broker import course
from broker.inputs import Channel
from models import cards
from models.calibration import Calibration
from models.cards import Card
from models.transients.inputs import Eye, Inputs
from models.unseen import Typical

#: Width of the last hidden layer.
LAST = 128
#: Numbers of points at which it is calibrated.
KNOTS = (2, 5, 10, 20, 50, 100)
_LOG_N = course.OBJECT_NUMBERS.index("log_n")


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

    The last step makes the probabilities honest: a factor and a shift of the logits per class that
    depend on the number of points.

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
        if images:
            self.cells = Standard(image)
        self.body = _Body(image if images else 0, course + numbers, hidden, dropout)
        self.head = nn.Linear(LAST, classes)
        self.calibration = Calibration(KNOTS, classes)
        self.typical = Typical(LAST, classes)

    def learn(self, inputs: Inputs) -> None:
        """Standardise what comes later by these."""
        self.rest.learn(self._rest(inputs))
        if self.images:
            self.cells.learn(levels(inputs.images))

    def hidden(self, inputs: Inputs) -> torch.Tensor:
        """What the last layer sees, (object, 128), in its precision."""
        dtype = next(self.body.parameters()).dtype
        parts = [self.rest(self._rest(inputs)).to(dtype)]
        if self.images:
            parts.append(self.cells(levels(inputs.images)).to(dtype))
        hidden: torch.Tensor = self.body(*parts).to(self.head.weight.dtype)
        return hidden

    def raw(self, inputs: Inputs) -> torch.Tensor:
        """Logits (object, class) before calibration."""
        logits: torch.Tensor = self.head(self.hidden(inputs))
        return logits

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Logits (object, class)."""
        logits: torch.Tensor = self.calibration(self.raw(inputs), log_points(inputs))
        return logits

    @staticmethod
    def _rest(inputs: Inputs) -> torch.Tensor:
        return torch.cat([inputs.course.flatten(1), inputs.numbers], 1)


class _Body(nn.Module):
    def __init__(self, image: int, rest: int, hidden: int, dropout: float) -> None:
        super().__init__()
        width = rest
        if image:
            self.image = nn.Sequential(nn.Linear(image, 64), nn.ReLU(), nn.Dropout(2 * dropout))
            width += 64
        layers: list[nn.Module] = []
        for before, after in ((width, hidden), (hidden, hidden), (hidden, LAST)):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.join = nn.Sequential(*layers)

    def forward(self, rest: torch.Tensor, cells: torch.Tensor | None = None) -> torch.Tensor:
        parts = rest if cells is None else torch.cat([rest, self.image(cells)], 1)
        hidden: torch.Tensor = self.join(parts)
        return hidden


def read(card: Card) -> TransientNet:
    """The network of a card.

    Raises
    ------
    ValueError
        The weights are not those that the card was written for.
    """
    return of(load(cards.weights(card)), card.channel, len(card.classes))


def of(state: Mapping[str, torch.Tensor], channel: Channel, classes: int) -> TransientNet:
    """The network that has these weights, ready to be asked.

    Parameters
    ----------
    state : mapping
        As `TransientNet.state_dict` gives it.
    channel : Channel
        What it eats: survey and bands.
    classes : int

    Raises
    ------
    KeyError, RuntimeError
        The weights are not of such a network.
    """
    hidden = len(state["body.join.0.weight"])
    images = "cells.shift" in state
    net = TransientNet(Eye(channel.survey, channel.bands), classes, hidden, images=images)
    net.load_state_dict(dict(state))
    return net.eval().requires_grad_(False)


def log_points(inputs: Inputs) -> torch.Tensor:
    """Logarithm of the number of points (object,); of an object without points 0."""
    return inputs.numbers[:, _LOG_N].expm1().clamp(min=1).log()


def levels(images: torch.Tensor) -> torch.Tensor:
    """Counts (object, band, dm, dt) as shares of their row of equal time difference, square root.

    (object, band * dm * dt); how many pairs there are is among the numbers already.
    """
    rows = images.sum(2, keepdim=True).clamp(min=1)
    return (images / rows).sqrt().flatten(1)

"""The networks, as short as they are on paper."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from models import intensity
from models.population import Population
from models.unseen import Typical


class Network(nn.Module):
    """A body that may compute coarsely, and a last layer that stays in fp32.

    Logits in bf16 would be 1 % coarse, and their probabilities with them.
    """

    body: nn.Module
    head: nn.Linear
    typical: Typical | None
    #: A survey's own last layers, where there are some, and the Calibration of an object's bands
    #: together; see models.fusion.
    by_survey: nn.ModuleDict
    fused: nn.ModuleDict
    #: What their places on the sky say of objects, where it was learned.
    population: Population | None

    def __init__(self) -> None:
        super().__init__()
        self.typical = None
        self.by_survey = nn.ModuleDict()
        self.fused = nn.ModuleDict()
        self.population = None

    @staticmethod
    def levels(counts: torch.Tensor, n: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """What the network eats: one of `models.intensity`."""
        raise NotImplementedError

    def hidden(self, levels: Any) -> torch.Tensor:
        """What the last layer eats, (image, feature), of levels (image, ...) or more."""
        found: torch.Tensor = self.body(levels.to(next(self.body.parameters()).dtype))
        return found.to(self.head.weight.dtype)

    def logits(self, hidden: torch.Tensor, levels: Any) -> torch.Tensor:
        """Logits (image, class) of what the last layer eats."""
        found: torch.Tensor = self.head(hidden)
        return found

    def logits_of(self, survey: str, hidden: torch.Tensor, levels: Any) -> torch.Tensor:
        """Logits (image, class) of one of `by_survey`."""
        raise NotImplementedError

    def forward(self, levels: Any) -> torch.Tensor:
        """Logits (image, class)."""
        return self.logits(self.hidden(levels), levels)


class ShallowCNN(Network):
    """The shallow network of Mahabal et al. 2017 (arXiv:1709.06257, listing 2).

    Its convolution has no padding, as in the paper's Lasagne. Input: intensities 0 to 255, not
    0 to 1 (a hundredfold smaller input learns far slower at the paper's step of 2e-4).
    1.9 million multiplications an image.

    Parameters
    ----------
    grid : (int, int)
        Cells of the grid, (n_dm, n_dt).
    classes : int
        Number of classes.
    """

    levels = staticmethod(intensity.paper)

    def __init__(self, grid: tuple[int, int], classes: int) -> None:
        super().__init__()
        n_dm, n_dt = grid
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3),  # (image, 32, n_dm - 2, n_dt - 2)
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Flatten(),
            nn.Linear(32 * (n_dm - 2) * (n_dt - 2), 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.25),
            nn.Linear(128, 128),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(128, classes)


class RowNet(Network):
    """Each row of equal time difference becomes a token, from itself and its two neighbours.

    Small matrices only, 0.27 million multiplications an image: a seventh of the paper's
    network, and more accurate, for the most part through its input (`intensity.root_rows`). Nothing
    is pooled: where in the image a pixel lies is what it means.

    Parameters
    ----------
    grid : (int, int)
        Cells of the grid, (n_dm, n_dt).
    classes : int
        Number of classes.
    """

    levels = staticmethod(intensity.root_rows)

    def __init__(self, grid: tuple[int, int], classes: int) -> None:
        super().__init__()
        n_dm, n_dt = grid
        self.standard = Standard((n_dt + 1, 2 * n_dm))
        self.body = Rows(n_dt, 2 * n_dm, 32, 128, 64)
        self.head = nn.Linear(64, classes)

    def hidden(self, levels: torch.Tensor) -> torch.Tensor:
        return super().hidden(self.standard(levels))


class Standard(nn.Module):
    """Every pixel with mean 0 and deviation 1 over the training images, as `learn` saw them.

    A deviation below `least` counts as that; above `most` nothing is told apart.
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, shape: tuple[int, ...], least: float = 0.02, most: float = 6.0) -> None:
        super().__init__()
        self.least, self.most = least, most
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    def learn(self, levels: torch.Tensor) -> None:
        """Take mean and deviation from levels (image, ...)."""
        deviation, mean = torch.std_mean(levels, 0)
        self.scale.copy_(1 / deviation.clamp(min=self.least))  # some are all but always empty
        self.shift.copy_(-mean * self.scale)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shift, levels, self.scale).clamp_(max=self.most)


class Rows(nn.Module):
    """The branch that reads an image row by row; an empty row stands between images."""

    def __init__(self, rows: int, width: int, token: int, hidden: int, last: int) -> None:
        super().__init__()
        self.token = _beside(width, token)
        self.place = nn.Parameter(0.02 * torch.randn(rows, token))
        self.mix = _beside(token, token)
        self.mix_bias = nn.Parameter(torch.zeros(token))
        self.hidden = nn.Linear(rows * token, hidden)
        self.last = nn.Linear(hidden, last)
        self.dropout = nn.Dropout(0.15)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        images, _, width = levels.shape
        # The empty row between images stays zero: whatever came there, this is below it.
        place = functional.pad(self.place, (0, 0, 0, 1), value=-1e9).repeat(images, 1)
        tokens = along_rows(levels.view(-1, width), self.token, place).relu_()  # (row, token)
        mixed = along_rows(tokens, self.mix, self.mix_bias).relu_()
        # What was computed in the empty rows is left out here.
        x = (tokens + mixed).view(images, -1)[:, : self.hidden.in_features]
        x = self.hidden(self.dropout(x)).relu_()
        x = self.last(self.dropout(x)).relu_()
        hidden: torch.Tensor = self.dropout(x)
        return hidden


def along_rows(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A convolution along the rows of all images at once, which empty rows part.

    Three products of matrices: the library's own convolution takes a third longer in a batch of
    256, five times as long in one of 16.

    Parameters
    ----------
    rows : (row, width)
    weight : (3, width, out)
        For the row before, the row itself, the row after.
    bias : (out,) or (row, out)

    Returns
    -------
    (row, out)
    """
    result = torch.addmm(bias, rows, weight[1])
    result[1:].addmm_(rows[:-1], weight[0])
    result[:-1].addmm_(rows[1:], weight[2])
    return result


def _beside(width: int, out: int) -> nn.Parameter:
    limit = (3 * width) ** -0.5  # as PyTorch's own convolutions begin
    return nn.Parameter(torch.empty(3, width, out).uniform_(-limit, limit))


NETWORKS: dict[str, type[ShallowCNN] | type[RowNet]] = {"rows": RowNet, "shallow": ShallowCNN}


def build(name: str, grid: tuple[int, int], classes: int) -> Network:
    """The network of images alone that a card calls `name`, for the (n_dm, n_dt) cells of a grid.

    Raises
    ------
    ValueError
        There is no network of that name.
    """
    if name not in NETWORKS:
        msg = f"no network is called {name!r}; there are: {', '.join(NETWORKS)}"
        raise ValueError(msg)
    return NETWORKS[name](grid, classes)

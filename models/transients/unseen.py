"""How unlike all that training saw an object is: distance from its classes in the last layer."""

from __future__ import annotations

import torch
from torch import nn


class Typical(nn.Module):
    """Mahalanobis distance to the nearest class, as the share of known objects that lie nearer.

    One covariance for all classes (Lee et al. 2018, arXiv:1807.03888), shrunk by a tenth of its
    mean variance, since a layer behind a ReLU has directions that hardly move.

    Parameters
    ----------
    width : int
        Of the hidden layer.
    classes : int
    """

    centre: torch.Tensor  # (class, width)
    inverse: torch.Tensor  # (width, width)
    distances: torch.Tensor  # (STEPS,) of known objects, in order

    STEPS = 201

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(classes, width))
        self.register_buffer("inverse", torch.eye(width))
        self.register_buffer("distances", torch.arange(float(self.STEPS)))

    def learn(self, hidden: torch.Tensor, label: torch.Tensor) -> None:
        """Take centres and covariance from hidden (object, width) of known label (object,).

        A class without objects is never the nearest.
        """
        classes, width = self.centre.shape
        rows = hidden.double()
        count = torch.bincount(label, minlength=classes).double()
        total = torch.zeros(classes, width, dtype=torch.float64).index_add_(0, label, rows)
        centre = total / count.clamp(min=1)[:, None]
        off = rows - centre[label]
        covariance = off.T @ off / len(rows)
        shrink = 0.1 * covariance.trace() / width
        inverse = torch.linalg.inv(covariance + shrink * torch.eye(width, dtype=torch.float64))
        self.centre.copy_(torch.where(count[:, None] > 0, centre, torch.inf))
        self.inverse.copy_(inverse)

    def settle(self, hidden: torch.Tensor) -> None:
        """Learn how far known objects lie, best from ones that `learn` did not see."""
        steps = torch.linspace(0, 1, self.STEPS, dtype=torch.float64)
        self.distances.copy_(torch.quantile(self.distance(hidden).double(), steps))

    def distance(self, hidden: torch.Tensor) -> torch.Tensor:
        """Squared distance (object,) to the nearest class."""
        result = torch.full((len(hidden),), torch.inf)
        for centre in self.centre:
            if torch.isfinite(centre).all():
                off = hidden - centre
                result = torch.minimum(result, ((off @ self.inverse) * off).sum(1))
        return result

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Share (object,) of known objects that lie nearer: about even for them, near 1 for odd."""
        place = torch.searchsorted(self.distances, self.distance(hidden))
        return place.clamp(max=self.STEPS - 1) / (self.STEPS - 1)

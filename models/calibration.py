"""Honest probabilities after every number of points: a factor and shifts of the logits, fitted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from models import likeliest

#: How far factors are thought to lie from 1 and shifts from 0 before any object is seen: of two
#: thousand objects thirty are of a rare class, and if all are named right no factor is too great.
SPREAD = 0.5


class Calibration(nn.Module):
    """A factor of the logits and a shift of each class, linear in log n between numbers of points.

    Below the first and above the last of these numbers it is that one's. Nothing is changed before
    it is fitted.

    Parameters
    ----------
    points : sequence of int
        The numbers, rising.
    classes : int
        Number of classes.
    placed : bool
        Whether objects' places on the sky count as well (`models.population`), by a factor too: of
        many points, which tell the same and more, they say less than of few.
    """

    log_points: torch.Tensor
    factor: torch.Tensor
    shift: torch.Tensor
    place: torch.Tensor

    def __init__(self, points: Sequence[int], classes: int, placed: bool = False) -> None:
        super().__init__()
        self.register_buffer("log_points", torch.tensor(points, dtype=torch.float32).log())
        self.register_buffer("factor", torch.ones(len(points), 1))
        self.register_buffer("shift", torch.zeros(len(points), classes))
        self.register_buffer("place", torch.zeros(len(points), 1), persistent=placed)
        self.placed = placed

    def forward(
        self, logits: torch.Tensor, log_n: torch.Tensor, commoner: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (object, class) of objects with exp(log_n) (object,) points, made honest;
        `commoner` (object, class) is what `models.population.commoner` says of their places.
        """
        return self._changed(logits, log_n, commoner, (self.factor, self.shift, self.place))

    def fit(
        self,
        logits: torch.Tensor,
        log_n: torch.Tensor,
        label: torch.Tensor,
        weight: torch.Tensor | None = None,
        spread: float = SPREAD,
        commoner: torch.Tensor | None = None,
    ) -> None:
        """Learn from objects that training did not see: the likeliest; the loss is convex.

        Parameters
        ----------
        logits : (object, class)
            Of objects of every number of points, each as often as honesty is asked for there.
        log_n : (object,)
        label : (object,)
        weight : (class,)
            How much an object of each class counts: where the classes' proportions are known
            better than from these objects, by how much commoner it is; 1 if None.
        spread : float
            How far factors and shifts are thought to lie from 1 and 0, see SPREAD.
        commoner : (object, class)
            What `models.population.commoner` says of their places, if it counts.
        """
        factor = self.factor.clone().requires_grad_()
        shift = self.shift.clone().requires_grad_()
        place = torch.ones_like(self.place) if self.placed else self.place.clone()
        learned = [factor, shift, *([place.requires_grad_()] if self.placed else [])]

        def loss() -> torch.Tensor:
            changed = self._changed(logits, log_n, commoner, (factor, shift, place))
            wrong = functional.cross_entropy(changed, label, weight)
            far = (factor - 1).square().sum() + shift.square().sum()
            total = wrong + far / (2 * spread**2 * len(label))
            if self.placed:
                total = total + (place - 1).square().sum() / (2 * SPREAD**2 * len(label))
            return total

        likeliest.fit(loss, learned, 200)
        self.factor.copy_(factor.detach())
        self.shift.copy_(shift.detach())
        self.place.copy_(place.detach())

    def _changed(
        self,
        logits: torch.Tensor,
        log_n: torch.Tensor,
        commoner: torch.Tensor | None,
        at_knots: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        above, part = between(self.log_points, log_n)
        factor, shift, place = (torch.lerp(x[above - 1], x[above], part) for x in at_knots)
        changed = logits * factor + shift
        return changed if commoner is None else changed + commoner * place


def between(log_points: torch.Tensor, log_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of rising `log_points` (knot,) is the next above each of `log_n` (object,), and what
    part (object, 1) of the way to it from the one before that is; 0 or 1 outside of all.
    """
    above = torch.searchsorted(log_points, log_n).clamp(1, len(log_points) - 1)
    low, high = log_points[above - 1], log_points[above]
    return above, ((log_n - low) / (high - low)).clamp(0, 1).unsqueeze(1)

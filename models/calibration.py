"""Honest probabilities after every number of points: a factor and shifts of the logits, fitted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

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
    """

    log_points: torch.Tensor
    factor: torch.Tensor
    shift: torch.Tensor

    def __init__(self, points: Sequence[int], classes: int) -> None:
        super().__init__()
        self.register_buffer("log_points", torch.tensor(points, dtype=torch.float32).log())
        self.register_buffer("factor", torch.ones(len(points), 1))
        self.register_buffer("shift", torch.zeros(len(points), classes))

    def forward(self, logits: torch.Tensor, log_n: torch.Tensor) -> torch.Tensor:
        """Logits (object, class) of objects with exp(log_n) (object,) points, made honest."""
        return self._changed(logits, log_n, self.factor, self.shift)

    def fit(
        self,
        logits: torch.Tensor,
        log_n: torch.Tensor,
        label: torch.Tensor,
        weight: torch.Tensor | None = None,
        spread: float = SPREAD,
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
        """
        factor = self.factor.clone().requires_grad_()
        shift = self.shift.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([factor, shift], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            changed = self._changed(logits, log_n, factor, shift)
            wrong = functional.cross_entropy(changed, label, weight)
            far = (factor - 1).square().sum() + shift.square().sum()
            total = wrong + far / (2 * spread**2 * len(label))
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        self.factor.copy_(factor.detach())
        self.shift.copy_(shift.detach())

    def _changed(
        self, logits: torch.Tensor, log_n: torch.Tensor, factor: torch.Tensor, shift: torch.Tensor
    ) -> torch.Tensor:
        above, part = between(self.log_points, log_n)
        factor = torch.lerp(factor[above - 1], factor[above], part)
        return logits * factor + torch.lerp(shift[above - 1], shift[above], part)


def between(log_points: torch.Tensor, log_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of rising `log_points` (knot,) is the next above each of `log_n` (object,), and what
    part (object, 1) of the way to it from the one before that is; 0 or 1 outside of all.
    """
    above = torch.searchsorted(log_points, log_n).clamp(1, len(log_points) - 1)
    low, high = log_points[above - 1], log_points[above]
    return above, ((log_n - low) / (high - low)).clamp(0, 1).unsqueeze(1)

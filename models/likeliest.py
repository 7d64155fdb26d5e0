"""The parameters by which what was seen is likeliest, where the loss is convex."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def fit(loss: Callable[[], torch.Tensor], parameters: Sequence[torch.Tensor], most: int) -> None:
    """Change parameters until the loss is least: L-BFGS with a line search.

    Parameters
    ----------
    loss : callable
        Scalar loss of the parameters as they are.
    parameters : sequence of tensors
        Leaves that ask for a gradient.
    most : int
        Steps at most.
    """
    optimizer = torch.optim.LBFGS(parameters, max_iter=most, line_search_fn="strong_wolfe")

    def at() -> torch.Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(at)  # type: ignore[no-untyped-call]

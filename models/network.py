"""The networks, as short as they are on paper."""

from __future__ import annotations

import torch
from torch import nn


class ShallowCNN(nn.Module):
    """The shallow network of Mahabal et al. 2017 (arXiv:1709.06257, listing 2).

    Its convolution has no padding, as in the paper's Lasagne. Input: intensities 0 to 255, not
    0 to 1 (a hundredfold smaller input learns far slower at the paper's step of 2e-4).

    Parameters
    ----------
    shape : (int, int)
        Cells of the grid, (n_dm, n_dt).
    classes : int
        Number of classes.
    """

    def __init__(self, shape: tuple[int, int], classes: int) -> None:
        super().__init__()
        n_dm, n_dt = shape
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

    def forward(self, intensity: torch.Tensor) -> torch.Tensor:
        """Logits (image, class) of intensities (image, 1, n_dm, n_dt)."""
        logits: torch.Tensor = self.head(self.body(intensity).to(self.head.weight.dtype))
        return logits


def build(name: str, shape: tuple[int, int], classes: int) -> nn.Module:
    """The network that a card calls `name`.

    Raises
    ------
    ValueError
        There is no network of that name.
    """
    if name == "shallow":
        return ShallowCNN(shape, classes)
    msg = f"no network is called {name!r}; there is: shallow"
    raise ValueError(msg)


def cast_body(net: nn.Module, dtype: torch.dtype) -> None:
    """Let all of a network but its last layer compute in `dtype`.

    Logits in bf16 would be 1 % coarse, and their probabilities with them.
    """
    assert isinstance(net.body, nn.Module)
    net.body.to(dtype)

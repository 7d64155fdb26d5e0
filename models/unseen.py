"""How unlike all that training saw an object is: distance from its classes in the last layer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import nn

from models.cards import TYPICAL, Card


class Typical(nn.Module):
    """Mahalanobis distance to the nearest class, as the share of known objects that lie nearer.

    One covariance for all classes (Lee et al. 2018, arXiv:1807.03888), shrunk by a tenth of its
    mean variance, since a layer behind a ReLU has directions that hardly move.

    With `octaves` objects are held against known ones of as many points, and the distance is
    divided by (sum of exp of the logits) ** ENERGY: of short curves the distance tells what is
    strange, of long ones that sum does as well (its logarithm is minus the energy of Liu et al.
    2020, arXiv:2010.03759).

    Parameters
    ----------
    width : int
        Of the hidden layer.
    classes : int
    octaves : int
        Of 2, 4, 8 ... points on; the last has no end. 0: all objects are held against all, by
        distance alone.
    """

    centre: torch.Tensor  # (class, width)
    inverse: torch.Tensor  # (width, width)
    distances: torch.Tensor  # (octave, STEPS) or (STEPS,): how strange known objects are, in order

    STEPS = 201
    #: Of 0.2, 0.4 and 0.8 the best, or next to it, for each of the three networks of CRTS stars.
    ENERGY = 0.4
    #: Fewer known objects than this of an octave tell nothing: it is held against all.
    FEWEST = 40

    def __init__(self, width: int, classes: int, octaves: int = 0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(classes, width))
        self.register_buffer("inverse", torch.eye(width))
        steps = torch.arange(float(self.STEPS))
        self.register_buffer("distances", steps.repeat(octaves, 1) if octaves else steps)

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

    def settle(
        self,
        hidden: torch.Tensor,
        logits: torch.Tensor | None = None,
        n: torch.Tensor | None = None,
    ) -> None:
        """Learn how strange known objects of n (object,) points are, best from ones that `learn`
        did not see.
        """
        steps = torch.linspace(0, 1, self.STEPS, dtype=torch.float64)
        total = None if logits is None else logits.logsumexp(1)
        found = self.strangeness()(hidden, total).double()
        octave = torch.zeros(len(found)) if n is None else n.log2().floor() - 1
        table = self.distances.view(-1, self.STEPS)
        octave = octave.clamp(0, len(table) - 1)
        for k, row in enumerate(table):
            mine = found[octave == k]
            row.copy_(torch.quantile(mine if len(mine) >= self.FEWEST else found, steps))

    def strangeness(self) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
        """The function that tells how strange objects are (object,), before that is ranked.

        It is given hidden (object, width) and of the logits the logarithm of the sum of exp
        (object,), and made once for many calls: what it multiplies by is one matrix.
        """
        width, energy = len(self.inverse), self.ENERGY if self.distances.dim() == 2 else 0.0
        there = torch.isfinite(self.centre).all(1)
        centre = torch.where(there[:, None], self.centre, 0.0)
        turned = centre @ self.inverse
        own = torch.where(there, (turned * centre).sum(1), torch.inf)
        # (h - c)' M (h - c) = h' M h - 2 h' M c + c' M c
        both = torch.cat([self.inverse, -2 * turned.T], 1)  # (width, width + class)

        def strangeness(hidden: torch.Tensor, total: torch.Tensor | None = None) -> torch.Tensor:
            product = hidden @ both
            nearest = (product[:, width:] + own).amin(1)
            distance = (product[:, :width] * hidden).sum(1) + nearest
            return distance if not energy or total is None else distance * (-energy * total).exp()

        return strangeness

    def share(
        self, strangeness: NDArray[np.float32], n: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        """Share (object,) f4 of known objects of as many points that are less strange."""
        n = np.zeros(len(strangeness), np.int32) if n is None else n
        found: NDArray[np.float32] = _shares(
            strangeness, n, self.distances.view(-1, self.STEPS).numpy()
        )
        return found

    def forward(
        self,
        hidden: torch.Tensor,
        logits: torch.Tensor | None = None,
        n: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The same of objects on the CPU: about even for known ones, near 1 for odd ones."""
        total = None if logits is None else logits.logsumexp(1)
        found = self.strangeness()(hidden, total).numpy()
        return torch.from_numpy(self.share(found, None if n is None else n.int().numpy()))


@njit(cache=True, nogil=True)
def _shares(
    strangeness: NDArray[np.float32], n: NDArray[np.int32], table: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Place (object,) in the row of the table (octave, step) that n points belong to, 0 to 1."""
    found = np.empty(len(n), np.float32)
    last = table.shape[1] - 1
    for i in range(len(n)):
        octave = 0
        while octave < len(table) - 1 and n[i] >> (octave + 2):
            octave += 1
        found[i] = min(np.searchsorted(table[octave], strangeness[i]), last) / last
    return found


def write(typical: Typical, card: Card) -> str:
    """Write it beside the card's weights; sha256 of the file, for the card."""
    data = save({name: part.contiguous().cpu() for name, part in typical.state_dict().items()})
    card.weights.with_suffix(f".{TYPICAL}").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read(card: Card) -> Typical | None:
    """What `write` wrote; None where the card tells of no such file.

    Raises
    ------
    ValueError
        It is not the one that the card tells of.
    """
    if len(card.files) < 2:
        return None
    path = card.files[1]
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.training[f"{TYPICAL}_sha256"]:
        msg = f"{path} is not the file that {card.name}.toml tells of (sha256 differs)"
        raise ValueError(msg)
    state = load(data)
    octaves, (classes, width) = len(state["distances"]), state["centre"].shape
    typical = Typical(width, classes, octaves)
    typical.load_state_dict(state)
    return typical.requires_grad_(False)

"""What a network is trained on: labelled light curves, whole and cut, as counts of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from broker.grids import GRIDS
from models import network
from models.catalogue import Catalogue

GRID = GRIDS["fiducial"]
#: Of each epoch's objects so many keep their whole curve; of the others' curves only a first part
#: is seen, of its points all or one a night. The sky is observed more often one way than the other.
WHOLE, FIRST_PART = 0.40, 0.35
SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Examples:
    """Counts (object, cell) i4 of measurements n (object,) i4, and what the objects are."""

    counts: torch.Tensor
    n: torch.Tensor
    label: torch.Tensor

    def levels(
        self, net: network.Network, which: torch.Tensor | slice, device: str
    ) -> torch.Tensor:
        """What a network on `device` eats of some of them."""
        counts, n = self.counts[which].to(device), self.n[which].to(device)
        return net.levels(counts, n, GRID.shape)


def first_points(curves: Catalogue, objects: NDArray[np.int64], n: NDArray[np.int64]) -> Examples:
    """The first n (object,) points of objects (object,)."""
    return Examples(
        torch.from_numpy(curves.cut(objects, n).counts(GRID)),
        torch.from_numpy(n.astype(np.int32)),
        torch.from_numpy(curves.label[objects]),
    )


def shortened(n: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    """Lengths between 4 and n, each octave as often."""
    longest = np.maximum(n, SHORTEST)
    length = np.exp(draw.uniform(np.log(SHORTEST), np.log(longest + 1))).astype(np.int64)
    result: NDArray[np.int64] = np.minimum(length, n)
    return result


def epoch(
    whole: Examples,
    curves: Catalogue,
    nightly: Catalogue,
    objects: NDArray[np.int64],
    draw: np.random.Generator,
) -> Examples:
    """All objects once, some of them shortened."""
    counts, n = whole.counts.clone(), whole.n.clone()
    kind = draw.random(len(objects))
    for these, chosen in (
        (curves, (kind >= WHOLE) & (kind < WHOLE + FIRST_PART)),
        (nightly, kind >= WHOLE + FIRST_PART),
    ):
        part = objects[chosen]
        short = first_points(these, part, shortened(these.n[part], draw))
        counts[chosen], n[chosen] = short.counts, short.n
    return Examples(counts, n, whole.label)


def validation(curves: Catalogue, nightly: Catalogue, draw: np.random.Generator) -> Examples:
    """Each validation object whole, shortened, and shortened with one point a night."""
    objects = curves.validation
    parts = [
        first_points(curves, objects, curves.n[objects]),
        *(first_points(c, objects, shortened(c.n[objects], draw)) for c in (curves, nightly)),
    ]
    return Examples(
        torch.cat([p.counts for p in parts]),
        torch.cat([p.n for p in parts]),
        torch.cat([p.label for p in parts]),
    )

"""What a family of networks is asked for when one is to be trained, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models.cards import Card
from models.evaluate import Score
from models.training import Epoch


@dataclass(frozen=True, slots=True)
class Order:
    """A network to be trained.

    ``data`` is the folder of light curves, ``card`` the path of the card to be, ``epochs`` None for
    the recipe's own; ``progress`` is told after each epoch, ``say`` in words how far what comes
    before the first and behind the last is.
    """

    data: Path
    card: Path
    epochs: int | None
    seed: int
    device: str
    progress: Callable[[Epoch], None]
    say: Callable[[str], None]

    @property
    def checkpoint(self) -> Path:
        """Where a long training keeps how it stands."""
        return self.card.with_suffix(".checkpoint")


@dataclass(frozen=True, slots=True)
class Trained:
    """A network, and what its card will say.

    ``card`` lacks only what is known when weights are written; ``facts`` are those of the training;
    ``fingerprints`` (object,) u4 are of all light curves that training and validation used;
    ``finish`` learns what needs these weights, and adds it to the card; ``scores`` looks at the
    test objects, by the weights that the finished card names.
    """

    net: nn.Module
    card: Card
    facts: Mapping[str, object]
    fingerprints: NDArray[np.uint32]
    scores: Callable[[Card], Iterable[Score]]
    finish: Callable[[Card], Card] = lambda card: card


Make = Callable[[Order], Trained]

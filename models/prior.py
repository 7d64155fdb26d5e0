"""Probabilities given for some proportions of the classes, restated for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.cards import Card


def proportions(card: Card, prior: Mapping[str, float]) -> NDArray[np.float64]:
    """Shares (class,) f8 that add to 1: of `prior`, or those that the card assumes if it is empty.

    Parameters
    ----------
    prior
        Each of the card's classes to its share, in any unit.

    Raises
    ------
    ValueError
        It does not speak of each class and of no other, a share is not above 0, or the card does
        not say what its probabilities assume.
    """
    if not prior:
        return _shares(card.assumes)
    known = ", ".join(card.classes)
    if set(prior) != set(card.classes):
        msg = f"a prior for {card.name} speaks of {', '.join(prior)}; expected each of {known}"
        raise ValueError(msg)
    if not all(0 < share < np.inf for share in prior.values()):
        msg = f"a prior for {card.name}: expected shares above 0"
        raise ValueError(msg)
    if not card.assumes or not all(card.assumes):
        msg = f"{card.name}.toml does not state the proportions (above 0) that it assumes"
        raise ValueError(msg)
    return _shares([prior[name] for name in card.classes])


def restated(
    probabilities: NDArray[np.float32], assumed: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Probabilities (row, class) for other proportions (class,) than the assumed ones.

    Bayes' rule, where what is seen of a class does not depend on how frequent it is.

    >>> p = np.array([[0.5, 0.5]], np.float32)
    >>> restated(p, np.array([0.5, 0.5]), np.array([0.9, 0.1])).tolist()
    [[0.8999999761581421, 0.10000000149011612]]
    """
    weighted = probabilities * (prior / assumed)
    found: NDArray[np.float32] = (weighted / weighted.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    shares = np.array(weights, np.float64)
    found: NDArray[np.float64] = shares / shares.sum()
    return found

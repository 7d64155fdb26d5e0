"""Which light curves a network was trained on, so that no evaluation takes them for new ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.cards import Card

#: The card's key, among what it says of its training, for the hash of the list.
KEY = "data_sha256"


def path(weights: Path) -> Path:
    """The list that stands beside a file of weights."""
    return weights.with_suffix(".seen")


def write(weights: Path, fingerprints: NDArray[np.uint32]) -> str:
    """Write fingerprints (object,) of all light curves that training and validation used.

    Four bytes each, little-endian, in order.

    Returns
    -------
    str
        sha256 of the list, for the card: a hash of the training data.
    """
    data = np.unique(fingerprints).astype("<u4").tobytes()
    path(weights).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read(card: Card) -> NDArray[np.uint32] | None:
    """What `write` wrote; None where the card tells of no list.

    Raises
    ------
    ValueError
        The list beside the weights is not the one that the card tells of.
    """
    if KEY not in card.training:
        return None
    data = path(card.weights).read_bytes()
    if hashlib.sha256(data).hexdigest() != card.training[KEY]:
        msg = f"{path(card.weights)} is not the list that {card.name}.toml tells of (sha256)"
        raise ValueError(msg)
    return np.frombuffer(data, "<u4").astype(np.uint32)

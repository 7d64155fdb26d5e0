"""What networks of Catalina's variable stars (CRTS) share: how their cards begin, who is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker.inputs import Channel
from models import cards
from models.cards import Card
from models.catalogue import SEVEN, Catalogue
from models.domain import Domain, Rule

SOUTH = "CRTS-S periodic variables (Drake et al. 2017)"
#: A star, and the reference flux under the alert is its own.
DOMAIN: Domain = {
    "ztf": (Rule("distnr", below=1.4), Rule("sgscore1", above=0.5)),
    "lsst": (
        Rule("templateFlux", above=5.0, times="templateFluxErr"),
        Rule("extendedness", below=0.5),
    ),
}


def declare(path: Path, network: str, channel: Channel, min_points: int) -> Card:
    """The card at `path` of a network of the seven classes, before training."""
    given = "a periodic variable star of one of these classes"
    return cards.declare(path, network, SEVEN, given, channel, DOMAIN, min_points)


def used(surveys: Sequence[Catalogue]) -> NDArray[np.uint32]:
    """Fingerprints (object,) of all stars that train or choose."""
    parts = [c.fingerprint[np.concatenate([c.training, c.validation])] for c in surveys]
    return np.concatenate(parts)

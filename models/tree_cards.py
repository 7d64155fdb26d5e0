"""What a tree of networks is: which network stands at its root, and which class goes on to which.

Its card is a TOML file as a network's is (models.cards), read without torch: ``network = "tree"``,
and for each survey ``root = NETWORK, branches = {CLASS = NETWORK, ...}``, a class of the root's;
``prior = {CLASS = SHARE, ...}`` of all the root's classes where those of its card will not do.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.inputs import Inputs
from broker.records import SURVEYS
from models import cards
from models.cards import Card
from models.prior import proportions


@dataclass(frozen=True, slots=True)
class Limb:
    """The tree of one survey: the network at the root, and those that share out its classes."""

    root: Card
    branches: Mapping[str, Card]


@dataclass(frozen=True, slots=True)
class TreeCard:
    """A tree of networks that labels as one.

    Attributes
    ----------
    limbs
        By survey; of others the tree says nothing.
    prior
        Shares of the classes at the root that are assumed where the settings say nothing of them;
        empty: those that the roots' cards state.
    weights
        The tree's own file, which names the networks.
    """

    name: str
    version: str
    licence: str
    weights: Path
    limbs: Mapping[str, Limb]
    prior: Mapping[str, float]

    @property
    def classifier(self) -> str:
        """Name and version, as labels carry them."""
        return f"{self.name} {self.version}"

    @property
    def root(self) -> Card:
        """A network at the root: those of all surveys name the same classes of the same things."""
        return next(iter(self.limbs.values())).root

    @property
    def networks(self) -> tuple[Card, ...]:
        """Each network once."""
        every = {
            card.name: card
            for limb in self.limbs.values()
            for card in (limb.root, *limb.branches.values())
        }
        return tuple(every.values())

    @property
    def ids(self) -> Mapping[str, int]:
        """All classes with their ids in the DESC taxonomy: the root's, then those of branches."""
        branches = (card for limb in self.limbs.values() for card in limb.branches.values())
        return {
            name: number
            for card in (self.root, *branches)
            for name, number in zip(card.classes, card.class_ids, strict=True)
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes, see `ids`."""
        return tuple(self.ids)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The id of each of `classes`."""
        return tuple(self.ids.values())

    @property
    def conditional_on(self) -> str:
        """Nothing but what the root's probabilities are conditional on."""
        return self.root.conditional_on

    @property
    def inputs(self) -> Inputs:
        """What all networks eat."""
        return Inputs.union(card.inputs for card in self.networks)

    @property
    def weights_sha256(self) -> str:
        """A hash over the tree's file and the hashes of its networks' weights."""
        digest = hashlib.sha256(self.weights.read_bytes())
        for card in self.networks:
            digest.update(card.weights_sha256.encode())
        return digest.hexdigest()

    @property
    def params(self) -> str:
        """What grows from what, in one line."""
        limbs = (
            f"{survey}={limb.root.name}"
            f"({','.join(f'{name}:{card.name}' for name, card in limb.branches.items())})"
            for survey, limb in self.limbs.items()
        )
        return f"network={cards.TREE} {' '.join(limbs)}"


#: What may label a stream.
AnyCard = Card | TreeCard


def roots(card: AnyCard) -> dict[str, str]:
    """Each class to that of the root which it grows from: of one network to itself."""
    found = {name: name for name in card.classes}
    if isinstance(card, TreeCard):
        for limb in card.limbs.values():
            for root, branch in limb.branches.items():
                found |= {name: root for name in branch.classes if name not in card.root.classes}
    return found


def assumed(card: AnyCard, survey: str) -> dict[str, float]:
    """Share of each class that labels of a survey's alerts are given for, as the cards state it.

    Of a tree what grows from a class of the root shares that one's share; of a survey that it does
    not know, or a card that states nothing, nothing.
    """
    if not isinstance(card, TreeCard):
        return _shares(card, {})
    if survey not in card.limbs:
        return {}
    limb = card.limbs[survey]
    found = _shares(limb.root, card.prior)
    for root, branch in limb.branches.items():
        found |= {name: found[root] * share for name, share in _shares(branch, {}).items()}
    return found


def _shares(card: Card, prior: Mapping[str, float]) -> dict[str, float]:
    if not (prior or card.assumes):
        return {}
    return dict(zip(card.classes, proportions(card, prior).tolist(), strict=True))


def read(path: Path) -> TreeCard:
    """Read a tree's card.

    Raises
    ------
    ValueError
        The file lacks a key, or what it says does not fit together; the message names the file.
    """
    table = tomllib.loads(path.read_text())
    try:
        version, licence = table.pop("version"), table.pop("licence")
        table.pop("network")
        prior = table.pop("prior", {})
        limbs = {survey: _limb(path, survey, said) for survey, said in table.items()}
        _agree(limbs)
        for limb in limbs.values():
            proportions(limb.root, prior)
    except KeyError as error:
        msg = f"{path}: the card lacks {error}"
        raise ValueError(msg) from error
    except (LookupError, ValueError) as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error
    return TreeCard(path.stem, version, licence, path, limbs, prior)


def _limb(path: Path, survey: str, said: Any) -> Limb:
    if survey not in SURVEYS or not isinstance(said, dict):
        msg = f"{survey!r} is no survey; there are: {', '.join(SURVEYS)}"
        raise ValueError(msg)
    root = _network(path, said["root"])
    limb = Limb(root, {name: _network(path, of) for name, of in said["branches"].items()})
    for name, card in limb.branches.items():
        if name not in root.classes:
            msg = (
                f"{survey}: {card.name} branches off {name!r}, which is no class of {root.name}; "
                f"there are: {', '.join(root.classes)}"
            )
            raise ValueError(msg)
    for card in (root, *limb.branches.values()):
        if survey not in card.domain:
            msg = f"{survey}: {card.name} says nothing of it, only of {', '.join(card.domain)}"
            raise ValueError(msg)
    return limb


def _network(path: Path, name: str) -> Card:
    """A shipped network, or one by its path from the tree's file."""
    return cards.find(str(path.parent / name) if name.endswith(".toml") else name)


def _agree(limbs: Mapping[str, Limb]) -> None:
    """One label has the same classes in all surveys: so have the roots, and a name has one id."""
    if not limbs:
        msg = f"a tree of no survey; there are: {', '.join(SURVEYS)}"
        raise ValueError(msg)
    first, *others = (limb.root for limb in limbs.values())
    for root in others:
        if set(root.classes) != set(first.classes) or root.conditional_on != first.conditional_on:
            msg = (
                f"the roots differ: {first.name} names {', '.join(first.classes)} of "
                f"{first.conditional_on!r}, {root.name} {', '.join(root.classes)} of "
                f"{root.conditional_on!r}"
            )
            raise ValueError(msg)
    ids: dict[str, tuple[int, str]] = {}
    for limb in limbs.values():
        for card in (limb.root, *limb.branches.values()):
            for name, number in zip(card.classes, card.class_ids, strict=True):
                known, of = ids.setdefault(name, (number, card.name))
                if known != number:
                    msg = f"{name!r} is {known} to {of} and {number} to {card.name}"
                    raise ValueError(msg)


def shipped() -> tuple[AnyCard, ...]:
    """All cards that come with the project, of networks and of trees, by name."""
    return tuple(find(path.stem) for path in sorted(cards.FOLDER.glob("*.toml")))


def find(name: str) -> AnyCard:
    """The shipped card of that name, or the one in the file that `name` is the path of.

    Raises
    ------
    LookupError
        Neither; the message lists the shipped ones.
    ValueError
        The card is broken.
    """
    path = cards.path_of(name)
    return read(path) if cards.is_tree(path) else cards.read(path)


def branches() -> dict[str, set[str]]:
    """Of each class that a shipped tree shares out, the classes that it shares it out among."""
    found: dict[str, set[str]] = {}
    for card in shipped():
        for name, root in roots(card).items():
            if name != root:
                found.setdefault(root, set()).add(name)
    return found

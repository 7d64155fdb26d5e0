"""Which networks label a stream, as the settings name them, and what they need together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.inputs import Inputs
from models import tree_cards
from models.prior import proportions
from models.tree_cards import TreeCard
from workers.crew import SHADOW, SPANS
from workers.errors import Misused
from workers.topics import Namespace

if TYPE_CHECKING:
    from models.cards import Card
    from models.tree_cards import AnyCard
    from workers.settings import Settings


@dataclass(frozen=True, slots=True)
class Classifiers:
    """The cards of a stream: `models` label it, `shadows` are on trial."""

    models: tuple[AnyCard, ...]
    shadows: tuple[AnyCard, ...]

    @property
    def inputs(self) -> Inputs:
        """What light curves have to give for all of them: each channel once."""
        return Inputs.union(card.inputs for card in (*self.models, *self.shadows))

    def namespace(self, name: str) -> Namespace:
        """The stream of that name with these classifiers."""
        models, shadows = (tuple(c.name for c in some) for some in (self.models, self.shadows))
        return Namespace(name, models, shadows)


@dataclass(frozen=True, slots=True)
class Part:
    """What one thread of a worker does: a span; of the last one, what one classifier does."""

    span: str
    card: AnyCard | None = None
    shadow: bool = False

    @property
    def name(self) -> str:
        """`curves`, or `classify/crts-rows`: also the folder of its slots."""
        return self.span if self.card is None else f"{self.span}/{self.card.name}"


def of(settings: Settings) -> Classifiers:
    """The cards that the settings name.

    Raises
    ------
    LookupError
        There is no such card.
    Misused
        Two have one name: a label tells its classifier by that; or `classify.prior` does not fit.
    """
    models, shadows = (
        tuple(tree_cards.find(name) for name in names)
        for names in (settings.classify.models, settings.classify.shadow)
    )
    seen: dict[str, AnyCard] = {}
    for card in (*models, *shadows):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", card.name):
            msg = (
                f"a card's file is called {card.name!r}: expected letters, digits, dots, dashes, "
                "underscores (it is part of names of groups and folders), no dot or dash first"
            )
            raise Misused(msg)
        if card.name in seen:
            msg = (
                f"classify.models and classify.shadow name {card.name!r} twice: each network "
                "labels once, and is told from others by the name of its card's file; two versions "
                "side by side are two files, e.g. rows-2.toml beside rows-1.toml"
            )
            raise Misused(msg)
        seen[card.name] = card
    there = dict.fromkeys(name for c in seen.values() for name in (c.name, *networks(c)))
    for word in settings.classify.prior:
        if _parted(word)[0] not in there:
            msg = f"classify.prior: {word!r} is of no network here; there are {', '.join(there)}"
            raise Misused(msg)
    for card in seen.values():
        priors(settings, card)
    return Classifiers(models, shadows)


def networks(card: AnyCard) -> dict[str, Card]:
    """The networks of a card by their names: of a tree all, else itself."""
    return {c.name: c for c in (card.networks if isinstance(card, TreeCard) else (card,))}


def priors(settings: Settings, card: AnyCard) -> dict[str, dict[str, float]]:
    """What `classify.prior` says of each network of a card: the share of each of its classes.

    What it says of a tree is of the networks at its root, but where it names these themselves;
    where it says nothing of a tree, what the tree's card says. Empty: nothing.

    Raises
    ------
    Misused
        It does not fit what the network names.
    """
    said: dict[str, dict[str, float]] = {}
    for word in settings.classify.prior:
        name, of_class, share = _parted(word)
        said.setdefault(name, {})[of_class] = share
    roots = card.limbs.values() if isinstance(card, TreeCard) else ()
    if isinstance(card, TreeCard):
        said.setdefault(card.name, dict(card.prior))
    of_root = dict.fromkeys((limb.root.name for limb in roots), card.name)
    found = {}
    for name, network in networks(card).items():
        of = name if name in said else of_root.get(name, name)
        found[name] = said.get(of, {})
        try:
            proportions(network, found[name])
        except ValueError as error:
            what = "" if of == name else f"{of} takes one of the classes at its root: "
            msg = f"classify.prior: {what}{error}"
            raise Misused(msg) from None
    return found


def _parted(word: str) -> tuple[str, str, float]:
    """Network, class and share of NETWORK.CLASS=SHARE."""
    left, _, share = word.rpartition("=")
    name, _, of_class = left.rpartition(".")
    try:
        return name, of_class, float(share)
    except ValueError:
        msg = f"classify.prior: expected NETWORK.CLASS=SHARE, e.g. crts-rows.EW=0.6, not {word!r}"
        raise Misused(msg) from None


def parts(settings: Settings, words: tuple[str, ...]) -> list[Part]:
    """What a worker does that is asked for these spans, or for the `shadow` networks.

    Raises
    ------
    Misused
        No such span, or no network is on trial.
    """
    found: list[Part] = []
    known = of(settings)
    for word in words:
        if word == "classify":
            found += [Part(word, card) for card in known.models]
        elif word == SHADOW:
            if not known.shadows:
                msg = "no network is on trial: name one by --classify.shadow"
                raise Misused(msg)
            found += [Part("classify", card, shadow=True) for card in known.shadows]
        elif word in SPANS:
            found.append(Part(word))
        else:
            msg = f"no span {word!r}; there are {', '.join(SPANS)}, and {SHADOW}"
            raise Misused(msg)
    return found

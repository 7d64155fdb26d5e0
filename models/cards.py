"""What a network is, beside its weights: what it eats, where it may speak, how well it does.

A card is a TOML file; it is read without torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.inputs import Channel, Inputs
from broker.taxonomy import IDS
from models import domain

FOLDER = Path(__file__).parent / "weights"
#: Of a file beside the weights, and of its hash among what the card says of the training.
TYPICAL = "typical"
#: What the card of a tree of networks (models.tree_cards) says in place of a network.
TREE = "tree"
#: Shares stand in a card with four digits.
_ROUNDED = 1e-3


@dataclass(frozen=True, slots=True)
class Card:
    """One trained network.

    Attributes
    ----------
    classes, class_ids
        Names of its classes, and each one's id in the DESC taxonomy (broker.taxonomy).
    conditional_on
        Its probabilities are given that the object is one of these; "" if of anything.
    inputs
        What it eats; a network of one channel.
    domain
        Rules per survey, see models.domain.
    min_points
        A band with fewer measurements is not fed.
    weights, weights_sha256
        The safetensors file beside the card, and its hash.
    training, measured
        How it was trained, and what it reached on objects that it never saw: facts for people, but
        for those that `assumes` and `says_from` read.
    """

    name: str
    version: str
    network: str
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    conditional_on: str
    inputs: Inputs
    domain: domain.Domain
    min_points: int
    weights: Path
    weights_sha256: str
    licence: str
    training: Mapping[str, Any]
    measured: Sequence[Mapping[str, Any]]

    @property
    def classifier(self) -> str:
        """Name and version, as labels carry them."""
        return f"{self.name} {self.version}"

    @property
    def channel(self) -> Channel:
        """The one channel that it eats."""
        (channel,) = self.inputs.channels
        return channel

    @property
    def files(self) -> tuple[Path, ...]:
        """What labels need beside the card: weights, and what is typical (models.unseen)."""
        if f"{TYPICAL}_sha256" in self.training:
            return self.weights, self.weights.with_suffix(f".{TYPICAL}")
        return (self.weights,)

    @property
    def assumes(self) -> tuple[float, ...]:
        """Proportions of the classes that its probabilities assume; empty: it does not say."""
        return tuple(self.training.get("proportions", ()))

    @property
    def says_from(self) -> int:
        """Points from which its probabilities say more than the proportions of the classes do.

        The fewest of those measured above which the gain was never lost, on no survey's curves.
        """
        gains: dict[int, float] = {}
        for score in self.measured:
            if points := score["points"]:
                gain = score.get("log_loss_gain", math.inf)
                gains[points] = min(gain, gains.get(points, math.inf))
        vain = max((points for points, gain in gains.items() if not gain > 0), default=0)
        return min((points for points in gains if points > vain), default=vain + 1) if vain else 0

    @property
    def params(self) -> str:
        """What a reader of a label should know of how it was made, in one line."""
        channel = self.channel
        return (
            f"network={self.network} grid={channel.grid} photometry={channel.photometry} "
            f"min_points={self.min_points}"
        )


def declare(
    path: Path,
    network: str,
    classes: Sequence[str],
    conditional_on: str,
    channel: Channel,
    where: domain.Domain,
    min_points: int,
) -> Card:
    """The card at `path` before training, which will find out the rest."""
    return Card(
        name=path.stem,
        version="1",
        network=network,
        classes=tuple(classes),
        class_ids=tuple(IDS[name] for name in classes),
        conditional_on=conditional_on,
        inputs=Inputs((channel,)),
        domain=where,
        min_points=min_points,
        weights=path.with_suffix(".safetensors"),
        weights_sha256="",
        licence="MIT",
        training={},
        measured=(),
    )


def read(path: Path) -> Card:
    """Read a card.

    Raises
    ------
    ValueError
        The file lacks a key, or what it says does not fit together; the message names the file.
    """
    table = tomllib.loads(path.read_text())
    if table.get("network") == TREE:
        msg = f"{path}: a tree of networks; expected the card of one, such as those that it names"
        raise ValueError(msg)
    try:
        classes = table["classes"]
        card = Card(
            name=path.stem,
            version=table["version"],
            network=table["network"],
            classes=tuple(c["name"] for c in classes),
            class_ids=tuple(c["desc_id"] for c in classes),
            conditional_on=table["conditional_on"],
            inputs=Inputs.from_dict(table["inputs"]),
            domain=domain.read(table["domain"]),
            min_points=table["min_points"],
            weights=path.with_suffix(".safetensors"),
            weights_sha256=table["weights_sha256"],
            licence=table["licence"],
            training=table["training"],
            measured=tuple(table["measured"]),
        )
    except KeyError as error:
        msg = f"{path}: the card lacks {error}"
        raise ValueError(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error
    if len(card.inputs.channels) != 1 or card.min_points < 2:
        msg = f"{path}: a network eats one channel, of images with at least two points"
        raise ValueError(msg)
    if card.assumes and (
        len(card.assumes) != len(card.classes)
        or not all(0 <= share <= 1 for share in card.assumes)
        or abs(sum(card.assumes) - 1) > _ROUNDED
    ):
        msg = f"{path}: training.proportions are shares, one of each class, together 1"
        raise ValueError(msg)
    return card


def weights(card: Card) -> bytes:
    """The card's file of weights.

    Raises
    ------
    ValueError
        It is not the one that the card was written for.
    """
    data = card.weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        msg = f"{card.weights} is not the file that {card.name}.toml describes (sha256 differs)"
        raise ValueError(msg)
    return data


def dump(card: Card) -> str:
    """The card as TOML: `read` gives it back."""
    lines = [
        f"# {card.classifier}: what this network eats, where it may speak, how well it does.",
        "# Written by `nightjar train`; shares are of 1. A label names this card and its weights.",
        *_pairs(
            {
                "version": card.version,
                "licence": card.licence,
                "network": card.network,
                "weights_sha256": card.weights_sha256,
                "conditional_on": card.conditional_on,
                "min_points": card.min_points,
            }
        ),
        "",
        "# In the order of the network's output; ids of the DESC taxonomy.",
    ]
    for name, desc_id in zip(card.classes, card.class_ids, strict=True):
        lines += ["[[classes]]", *_pairs({"name": name, "desc_id": desc_id})]
    for channel in card.inputs.to_dict()["channels"]:
        lines += ["", "[[inputs.channels]]", *_pairs(channel)]
    everywhere = [survey for survey, rules in card.domain.items() if not rules]
    if everywhere:
        lines += ["", "[domain]", *_pairs({survey: [] for survey in everywhere})]
    for survey, rules in card.domain.items():
        for rule in rules:
            lines += ["", f"[[domain.{survey}]]", *_pairs(rule.to_dict())]
    lines += ["", "[training]", *_pairs(card.training)]
    lines += ["", "# On the test objects; points = 0 is the whole curve."]
    for score in card.measured:
        lines += ["[[measured]]", *_pairs(score)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if value % 1 else f"{value:.1f}"
    if isinstance(value, dict):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    # JSON's strings, integers and booleans are TOML's.
    return json.dumps(value)


def shipped() -> tuple[Card, ...]:
    """The cards of all networks that come with the project, by name."""
    return tuple(read(path) for path in sorted(FOLDER.glob("*.toml")) if not is_tree(path))


def is_tree(path: Path) -> bool:
    """Whether a card is that of a tree of networks."""
    return bool(tomllib.loads(path.read_text()).get("network") == TREE)


def path_of(name: str) -> Path:
    """The shipped card of that name, or the file that `name` is the path of.

    Raises
    ------
    LookupError
        Neither; the message lists the shipped ones.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(p.stem for p in sorted(FOLDER.glob("*.toml")))
        msg = f"no network is called {name!r}; there are: {names}, or the path of a card (.toml)"
        raise LookupError(msg)
    return path


def find(name: str) -> Card:
    """The shipped network's card of that name, or the one in the file that `name` is the path of.

    Raises
    ------
    LookupError
        Neither; the message lists the shipped ones.
    ValueError
        It is no network's: broken, or a tree's.
    """
    return read(path_of(name))

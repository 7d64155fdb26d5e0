"""What a network is, beside its weights: what it eats, where it may speak, how well it does.

A card is a TOML file; it is read without torch.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.inputs import Channel, Inputs
from models import domain

FOLDER = Path(__file__).parent / "weights"


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
        How it was trained, and what it reached on objects that it never saw: facts for people.
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
    def params(self) -> str:
        """What a reader of a label should know of how it was made, in one line."""
        channel = self.channel
        return (
            f"network={self.network} grid={channel.grid} photometry={channel.photometry} "
            f"min_points={self.min_points}"
        )


def read(path: Path) -> Card:
    """Read a card.

    Raises
    ------
    ValueError
        The file lacks a key, or what it says does not fit together; the message names the file.
    """
    table = tomllib.loads(path.read_text())
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
    return card


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
    # JSON's strings, integers, booleans and arrays of them are TOML's.
    return json.dumps(value)


def shipped() -> tuple[Card, ...]:
    """All cards that come with the project, by name."""
    return tuple(read(path) for path in sorted(FOLDER.glob("*.toml")))


def find(name: str) -> Card:
    """The shipped card of that name, or the one in the file that `name` is the path of.

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
    return read(path)

"""What is typical of the light curves that a network was trained on, learned when it is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from broker import cadence
from models import cards, catalogue, evaluate, forward, network, splits, unseen
from models.cards import TYPICAL, Card
from models.catalogue import Catalogue
from models.periodic import alike
from models.stars import read_stars
from models.unseen import Typical

#: Of 2, 4, 8 ... 128 points and more.
OCTAVES = 7
#: So many light curves are whole, of the others so much that each octave of lengths is as frequent.
WHOLE = 0.3
#: Training stars as measured, and light curves of single bands as each other survey's alerts tell.
STARS, ALIKE = 8_000, 2_000


def write(data: Path, card: Card, seed: int = 0) -> Card:
    """Learn what is typical and write it beside the card's weights; the card that tells of it.

    Validation stars, which the network's weights were not fitted to, tell how far known objects
    lie. A network with a periodogram was trained on stars as alerts of other surveys tell of them,
    so these are known to it.

    Parameters
    ----------
    data : Path
        Folder with crts_south.npz.
    card : Card
        Of a network of Catalina's stars, whose weights stand where it says.

    Raises
    ------
    FileNotFoundError
        `data` does not hold the light curves.
    ValueError
        The weights are not those that the card was written for.
    """
    south = catalogue.read(data)
    draw = np.random.default_rng([seed, STARS])
    some = draw.permutation(south.training)[:STARS]
    parts = [[south.cut(which, south.n[which])] for which in (some, south.validation)]
    if card.channel.periodogram:
        stars = read_stars(data)
        for curves, of in zip(parts, (splits.training, splits.validation), strict=True):
            these = np.flatnonzero(of(stars.split))
            for survey in cadence.SURVEYS:
                some = draw.permutation(these)[:ALIKE]
                curves.append(alike.bands(alike.alike(stars, some, survey, seed + 1), ALIKE, seed))
    training, validation = (catalogue.together(curves) for curves in parts)
    typical = learn(card, training, validation, draw)
    facts = {**card.training, f"{TYPICAL}_sha256": unseen.write(typical, card)}
    return replace(card, training=facts)


def learn(
    card: Card, training: Catalogue, validation: Catalogue, draw: np.random.Generator
) -> Typical:
    """Where the classes lie, of training curves cut by chance, and how far from that the others."""
    net = forward.load_network(card)
    hidden, _, _, label = _seen(net, card, training, draw)
    typical = Typical(hidden.shape[1], len(card.classes), OCTAVES)
    typical.learn(hidden, label)
    hidden, logits, n, _ = _seen(net, card, validation, draw)
    typical.settle(hidden, logits, n)
    return typical


def _seen(
    net: network.Network, card: Card, curves: Catalogue, draw: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the last layer eats of each curve's first points, and says; how many these are; the
    curve's class.
    """
    objects = np.flatnonzero(curves.n >= card.min_points)
    n = curves.n[objects]
    length = np.exp(draw.uniform(np.log(card.min_points), np.log(n + 1))).astype(np.int64)
    n = np.where(draw.random(len(n)) < WHOLE, n, np.minimum(length, n))
    parts = evaluate.eaten(card.channel, curves, objects, n)
    last = [forward.last_layer(net, card.channel, *each) for each in parts]
    hidden, logits = (torch.cat(each) for each in zip(*last, strict=True))
    return hidden, logits, torch.from_numpy(n), torch.from_numpy(curves.label[objects])


def rewrite(data: Path, out: Path, name: str, seed: int = 0) -> Card:
    """The same of a network that was trained before: its card in the folder `out` is written anew.

    Raises
    ------
    FileNotFoundError
        There is no such card, or `data` does not hold the light curves.
    ValueError
        The weights are not those that the card was written for.
    """
    path = out / f"{name}.toml"
    card = cards.read(path)
    if card.network == "transient":
        msg = f"{card.name}: its weights hold what is typical already"
        raise ValueError(msg)
    card = write(data, card, seed)
    path.write_text(cards.dump(card))
    return card

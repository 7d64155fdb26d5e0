"""`nightjar train`: from labelled light curves to weights and their card."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from models import cards, forward, images, seen, training
from models.cards import Card
from models.periodic import train as periodic
from models.periodic.fit import Recipe
from models.trained import Make, Order
from models.training import Epoch
from models.transients import train as transients

#: By the name of the card. The first is the fastest; the second the paper's; the third sees each
#: star's own period; then supernovae in several bands, and what sort of thing alerts.
NETWORKS: Mapping[str, Make] = {
    "crts-rows": partial(images.train, images.ROWS),
    "crts-shallow": partial(images.train, images.SHALLOW),
    "crts-periodic": partial(periodic.train, Recipe()),
    "transients-ztf": partial(transients.classifier, "ztf"),
    "transients-lsst": partial(transients.classifier, "lsst"),
    "gate-ztf": partial(transients.before, "ztf"),
    "gate-lsst": partial(transients.before, "lsst"),
}


def train(
    data: Path,
    out: Path,
    name: str = "crts-rows",
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[Epoch], None] = lambda _: None,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Card:
    """Train a network on labelled light curves; write weights and card.

    What is kept is an exponential mean of the weights. The test objects are looked at once, for the
    figures on the card.

    On one core crts-rows takes a minute, crts-shallow seven. All but these two keep a checkpoint
    beside their weights after each epoch, and go on from it if they were broken off.

    Parameters
    ----------
    data : Path
        Folder with crts_south.npz; crts-periodic learns from crts_north.npz too, the networks of
        transients from snpcc.npz or ztf_bts.npz, and slsn.npz.
    out : Path
        Folder for the safetensors and toml files of that name; made if it is not there.
    name : str
        Of NETWORKS.
    epochs : int
        The recipe's if None.
    seed : int
        The same seed, kind of device and number of threads give the same weights.
    device : str
        "auto", "cpu" or "cuda".
    progress : callable
        Told after each epoch.
    threads : int
        Threads of PyTorch on the CPU, for the whole process; crts-periodic's epochs have as many
        as its recipe says.
    say : callable
        Told in words how far what comes before the first epoch is.

    Raises
    ------
    LookupError
        No network is called so.
    FileNotFoundError
        `data` does not hold the light curves.
    ValueError
        The checkpoint is of another training.
    """
    if name not in NETWORKS:
        msg = f"no network is called {name!r}; there are: {', '.join(NETWORKS)}"
        raise LookupError(msg)
    torch.set_num_threads(threads)
    on = forward.choose_device(device)
    start = time.perf_counter()
    order = Order(data, out / f"{name}.toml", epochs, seed, on, progress, say)
    made = NETWORKS[name](order)
    facts = {
        "test_split": "crc32(id) % 5 == 1",
        "validation_split": "of the others, crc32(id) // 5 % 10 == 0",
        **made.facts,
        "device": on,
        "seed": seed,
        "seconds": round(time.perf_counter() - start),
    }
    out.mkdir(parents=True, exist_ok=True)
    weights = made.card.weights
    facts[seen.KEY] = seen.write(weights, made.fingerprints)
    card = replace(made.card, weights_sha256=training.write(made.net, weights), training=facts)
    card = made.finish(card)
    card = replace(card, measured=[asdict(score) for score in made.scores(card)])
    order.card.write_text(cards.dump(card))
    order.checkpoint.unlink(missing_ok=True)
    return card

"""`nightjar train`: from labelled light curves to weights and their card."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from broker.inputs import Channel, Inputs
from broker.taxonomy import IDS
from models import cards, catalogue, examples, forward, network, seen, training
from models.cards import Card
from models.catalogue import Catalogue
from models.domain import Rule
from models.evaluate import scores
from models.examples import GRID, Examples

EMA_DECAY = 0.998
CLASSES = tuple(catalogue.CLASSES.values())


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained: AdamW; the step warms up and falls as a cosine, or stays."""

    network: str
    epochs: int
    batch: int
    step: float
    weight_decay: float = 0.0  # of matrices only
    cosine: bool = False

    def factor(self, done: float) -> float:
        """What the step is multiplied by when a share `done` of all steps is done."""
        return training.cosine(done) if self.cosine else 1.0


#: By the name of the card. The first is the stream's; the second the paper's, at the paper's step.
#: Eight shapes and three recipes were tried for crts-rows, compared on the validation part; but the
#: test figures of two earlier recipes had been seen when the third was made, so those on its card
#: may be a little too good.
RECIPES: Mapping[str, Recipe] = {
    "crts-rows": Recipe("rows", 24, 128, 1.5e-3, 0.01, cosine=True),
    "crts-shallow": Recipe("shallow", 28, 128, 2e-4),
}


@dataclass(frozen=True, slots=True)
class Epoch:
    """How training stands: validation figures are those of the averaged weights, seconds those
    since it began.
    """

    number: int
    of: int
    seconds: float
    validation_loss: float
    validation_accuracy: float
    best: bool


def train(
    data: Path,
    out: Path,
    name: str = "crts-rows",
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[Epoch], None] = lambda _: None,
    threads: int = 1,
) -> Card:
    """Train a network on the CRTS-S curves; write weights and card.

    An exponential mean of the weights is what is kept, at the epoch that a validation part of the
    training objects likes best. The test objects are looked at once, for the figures on the card.
    On one core crts-rows takes a minute, crts-shallow seven.

    Parameters
    ----------
    data : Path
        Folder with crts_south.npz.
    out : Path
        Folder for the safetensors and toml files of that name; made if it is not there.
    name : str
        Of RECIPES.
    epochs : int
        The recipe's if None.
    seed : int
        The same seed, kind of device and number of threads give the same weights.
    device : str
        "auto", "cpu" or "cuda".
    progress : callable
        Told after each epoch.
    threads : int
        Threads of PyTorch on the CPU, for the whole process.

    Raises
    ------
    LookupError
        There is no recipe of that name.
    FileNotFoundError
        `data` does not hold the light curves.
    """
    if name not in RECIPES:
        msg = f"no network is called {name!r}; there are: {', '.join(RECIPES)}"
        raise LookupError(msg)
    recipe = RECIPES[name]
    epochs = epochs or recipe.epochs
    torch.set_num_threads(threads)
    curves = catalogue.read(data)
    on = forward.choose_device(device)
    start = time.perf_counter()
    net, best = fit(curves, recipe, epochs, seed, on, progress)
    facts = {
        "data": "CRTS-S periodic variables (Drake et al. 2017), crts_south.npz",
        "objects": len(curves.training),
        "test_split": "crc32(id) % 5 == 1",
        "validation_split": "of the others, crc32(id) // 5 % 10 == 0",
        "curves": "whole 40 %, first part 35 %, first part of one point a night 25 %",
        "optimizer": f"AdamW, step {recipe.step}{' on a cosine' if recipe.cosine else ''}, "
        f"decay {recipe.weight_decay}, batch {recipe.batch}, mean of weights {EMA_DECAY}",
        "device": on,
        "epochs": epochs,
        "best_epoch": best,
        "seed": seed,
        "seconds": round(time.perf_counter() - start),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.toml"
    used = np.concatenate([curves.training, curves.validation])
    facts[seen.KEY] = seen.write(path.with_suffix(".safetensors"), curves.fingerprint[used])
    card = replace(
        declaration(path, recipe.network),
        weights_sha256=training.write(net, path.with_suffix(".safetensors")),
        training=facts,
    )
    measured = scores(forward.prepare(card, on, (256,), "fp32"), curves)
    card = replace(card, measured=[asdict(s) for s in measured])
    path.write_text(cards.dump(card))
    return card


def declaration(path: Path, network: str) -> Card:
    """The card at `path`, but for what training will find out."""
    return Card(
        name=path.stem,
        version="1",
        network=network,
        classes=CLASSES,
        class_ids=tuple(IDS[c] for c in CLASSES),
        conditional_on="a periodic variable star of one of these classes",
        inputs=Inputs((Channel(GRID.name, "total", ("detection", "forced")),)),
        domain={
            # A star, and the reference flux under the alert is its own.
            "ztf": (Rule("distnr", below=1.4), Rule("sgscore1", above=0.5)),
            "lsst": (
                Rule("templateFlux", above=5.0, times="templateFluxErr"),
                Rule("extendedness", below=0.5),
            ),
        },
        min_points=5,
        weights=path.with_suffix(".safetensors"),
        weights_sha256="",
        licence="MIT",
        training={},
        measured=(),
    )


def fit(
    curves: Catalogue,
    recipe: Recipe,
    epochs: int,
    seed: int,
    device: str,
    progress: Callable[[Epoch], None],
) -> tuple[network.Network, int]:
    """Train on the training objects; the weights of the best epoch, and its number."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    start = time.perf_counter()
    nightly = curves.nightly()
    objects = curves.training
    whole = examples.first_points(curves, objects, curves.n[objects])  # made once
    validation = examples.validation(curves, nightly, np.random.default_rng(seed + 1))

    net = network.build(recipe.network, GRID.shape, len(CLASSES)).to(device)
    average = get_ema_multi_avg_fn(EMA_DECAY)  # type: ignore[no-untyped-call]
    mean = AveragedModel(net, multi_avg_fn=average)
    averaged = cast(network.Network, mean.module)
    optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
    steps = epochs * math.ceil(len(objects) / recipe.batch)
    schedule = LambdaLR(optimizer, lambda step: recipe.factor((step + 1) / steps))
    best, best_loss, best_net = 0, np.inf, net
    for number in range(1, epochs + 1):
        net.train()
        these = examples.epoch(whole, curves, nightly, objects, draw)
        if number == 1:
            for module in (*net.modules(), *mean.modules()):
                if isinstance(module, network.Standard):
                    module.learn(these.levels(net, slice(8192), device))
        order = torch.from_numpy(draw.permutation(len(objects)))
        for begin in range(0, len(order), recipe.batch):
            batch = order[begin : begin + recipe.batch]
            optimizer.zero_grad()
            logits = net(these.levels(net, batch, device))
            loss = functional.cross_entropy(logits, these.label[batch].to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            mean.update_parameters(net)
        log_p = _log_p(averaged, validation, device)
        loss_now = functional.nll_loss(log_p, validation.label).item()
        accuracy = (log_p.argmax(1) == validation.label).float().mean().item()
        if loss_now < best_loss:
            best, best_loss, best_net = number, loss_now, copy.deepcopy(averaged)
        seconds = time.perf_counter() - start
        progress(Epoch(number, epochs, seconds, loss_now, accuracy, best == number))
    return best_net.eval(), best


def _log_p(net: network.Network, these: Examples, device: str) -> torch.Tensor:
    net.eval()
    with torch.inference_mode():
        parts = [
            net(these.levels(net, slice(begin, begin + 256), device)).log_softmax(1).cpu()
            for begin in range(0, len(these.label), 256)
        ]
    return torch.cat(parts)

"""How a network of periodic variables is trained: epochs, a mean of the weights, calibration."""

from __future__ import annotations

import copy
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from broker.inputs import Channel
from models import checkpoints, training
from models.catalogue import SEVEN
from models.periodic.examples import Examples
from models.periodic.network import Periodic
from models.periodic.sets import Sets, Validation
from models.training import Epoch

#: Stars from which the network learns what is usual of its inputs.
_USUAL = 8192


@dataclass(frozen=True, slots=True)
class Recipe:
    """AdamW; the step warms up and falls as a cosine; what is kept is a mean of the weights."""

    epochs: int = 16
    batch: int = 256
    step: float = 1.5e-3
    weight_decay: float = 1e-2  # of matrices only
    label_smoothing: float = 0.02
    mean_decay: float = 0.998
    copies: int = 4  # thinned; so many cut, half as many of one point a night
    alike: int = 8_000  # light curves of single bands as ZTF's alerts tell of stars, and LSST's


def fit(
    sets: Sets,
    validation: Validation,
    recipe: Recipe,
    channel: Channel,
    seed: int,
    device: str,
    progress: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> Periodic:
    """Train, and calibrate on the validation stars; figures of epochs are of these, whole.

    Every random draw follows from the seed and the number of the epoch, so training that was
    broken off goes on from its checkpoint as if nothing had been.

    Raises
    ------
    ValueError
        The checkpoint is of another training.
    """
    torch.manual_seed(seed)
    net = Periodic(channel, len(SEVEN))
    usual, _ = next(sets.epoch(np.random.default_rng([seed, 0]), _USUAL))
    net.learn(usual.eaten())
    net.to(device)
    networks = {"net": net, "mean": copy.deepcopy(net).eval()}
    mean = networks["mean"]
    optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
    batches = math.ceil(len(sets.label) / recipe.batch)
    data = zlib.crc32(sets.kinds[0][0].numbers.numpy().tobytes())
    title = f"{recipe} seed={seed} channel={channel.hash} data={data}"
    done = checkpoints.load(checkpoint, title, networks, optimizer) if checkpoint else 0
    start = time.perf_counter()
    for number in range(done + 1, recipe.epochs + 1):
        net.train()
        torch.manual_seed(seed * 100_003 + number)  # of dropout, the same after a resumption
        draw = np.random.default_rng([seed, number])
        steps = (number - 1) * batches
        for some, stars in sets.epoch(draw, recipe.batch):
            steps += 1
            share = steps / (recipe.epochs * batches)
            training.set_step(optimizer, recipe.step * training.cosine(share))
            # In the proportions of its own survey a star is likelier to be what is common there.
            logits = net.raw(some.eaten(device)) + sets.odds[stars].to(device)
            wanted = sets.label[stars].to(device)
            loss = functional.cross_entropy(logits, wanted, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            training.follow(mean, net, recipe.mean_decay, steps)
        if checkpoint:
            checkpoints.save(checkpoint, title, number, networks, optimizer)
        _, logits, _ = heard(mean, validation.whole, device)
        loss_now = functional.cross_entropy(logits, validation.label).item()
        right = (logits.argmax(1) == validation.label).float().mean().item()
        seconds = time.perf_counter() - start
        progress(Epoch(number, recipe.epochs, seconds, loss_now, right, number == recipe.epochs))
    lengths = (validation.whole, *validation.cut)
    _, raw, log_n = zip(*(heard(mean, these, device) for these in lengths), strict=True)
    label = validation.label.repeat(len(lengths))
    mean.cpu().calibration.fit(torch.cat(raw), torch.cat(log_n), label, validation.weight)
    return mean


def heard(
    net: Periodic, these: Examples, device: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the last layer eats (curve, feature), logits (curve, class) before calibration, and
    logarithms of points (curve,), on the CPU.
    """
    net.eval()
    parts = []
    with torch.no_grad():
        for begin in range(0, len(these), 512):
            eaten = these.take(slice(begin, begin + 512)).eaten(device)
            hidden = net.hidden(eaten)
            parts.append((hidden.cpu(), net.head(hidden).cpu(), net.log_points(eaten).cpu()))
    hidden, logits, log_n = (torch.cat(several) for several in zip(*parts, strict=True))
    return hidden, logits, log_n

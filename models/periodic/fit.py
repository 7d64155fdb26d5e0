"""How a network of periodic variables is trained: epochs, a mean of the weights, calibration."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
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

    epochs: int = 32
    teachers: int = 2  # networks of half as many epochs, from which the one that is kept learns
    heed: float = 0.5  # share of its loss that is to say what they say, the rest what is true
    batch: int = 256
    step: float = 1.5e-3
    weight_decay: float = 0.1  # of matrices only
    mean_decay: float = 0.998
    copies: int = 4  # thinned; so many cut, half as many of one point a night
    alike: int = 8_000  # light curves of single bands as ZTF's alerts tell of stars, and LSST's
    threads: int = 2  # PyTorch's on a CPU, however many cores there are: more have other bits


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

    First come teachers, each by itself; the network that is kept learns from what they say of the
    same examples as well as from what is true of them (distillation, Hinton et al. 2015).

    Every random draw follows from the seed and the number of the epoch, so training that was
    broken off goes on from its checkpoint as if nothing had been.

    Raises
    ------
    ValueError
        The checkpoint is of another training.
    """
    with training.threads(recipe.threads):
        mean = _trained(sets, validation, recipe, channel, seed, device, progress, checkpoint)
        lengths = (validation.whole, *validation.cut)
        _, raw, log_n = zip(*(heard(mean, these, device) for these in lengths), strict=True)
        label = validation.label.repeat(len(lengths))
        mean.cpu().calibration.fit(torch.cat(raw), torch.cat(log_n), label, validation.weight)
    return mean


def _trained(
    sets: Sets,
    validation: Validation,
    recipe: Recipe,
    channel: Channel,
    seed: int,
    device: str,
    progress: Callable[[Epoch], None],
    checkpoint: Path | None,
) -> Periodic:
    """All epochs of all networks; the mean weights of the last, not yet calibrated."""
    torch.manual_seed(seed)
    usual, _ = next(sets.epoch(np.random.default_rng([seed, 0]), _USUAL))
    eaten = usual.eaten()

    def begun() -> Periodic:
        net = Periodic(channel, len(SEVEN))
        net.learn(eaten)
        return net.to(device)

    spans = (*recipe.teachers * [max(recipe.epochs // 2, 1)], recipe.epochs)
    net, means = begun(), [begun().eval() for _ in spans]
    networks = {"net": net, **{f"mean {i}": mean for i, mean in enumerate(means)}}
    optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
    data = zlib.crc32(sets.kinds[0][0].numbers.numpy().tobytes())
    title = f"{recipe} seed={seed} channel={channel.hash} data={data}"
    done = checkpoints.load(checkpoint, title, networks, optimizer) if checkpoint else 0
    start, number = time.perf_counter(), 0
    for span, mean in zip(spans, means, strict=True):
        teachers = means[:-1] if mean is means[-1] else []
        for epoch in range(span):
            number += 1
            if number <= done:
                continue
            if epoch == 0:  # each begins elsewhere
                net.load_state_dict(mean.state_dict())
                optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
            torch.manual_seed(seed * 100_003 + number)  # of dropout, the same after a resumption
            drawn = sets.epoch(np.random.default_rng([seed, number]), recipe.batch)
            learn(net, mean, teachers, sets, drawn, (epoch, span), recipe, optimizer)
            if checkpoint:
                checkpoints.save(checkpoint, title, number, networks, optimizer)
            _, logits, _ = heard(mean, validation.whole, device)
            loss = functional.cross_entropy(logits, validation.label).item()
            right = (logits.argmax(1) == validation.label).float().mean().item()
            seconds, last = time.perf_counter() - start, number == sum(spans)
            progress(Epoch(number, sum(spans), seconds, loss, right, last))
    return mean


def learn(
    net: Periodic,
    mean: Periodic,
    teachers: Sequence[Periodic],
    sets: Sets,
    drawn: Iterable[tuple[Examples, torch.Tensor]],
    when: tuple[int, int],
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
) -> None:
    """One epoch of `net`, whose mean weights `mean` follows.

    Parameters
    ----------
    teachers : sequence of Periodic
        What they say, on average, is heeded; without any only the truth.
    drawn : iterable of (Examples, (example,) i8)
        Batches, and which stars these are.
    when : (int, int)
        How many epochs are done, and of how many.
    """
    net.train()
    epoch, epochs = when
    batches = math.ceil(len(sets.label) / recipe.batch)
    device = net.head.weight.device
    for steps, (some, stars) in enumerate(drawn, epoch * batches + 1):
        step = recipe.step * training.cosine(steps / (epochs * batches))
        training.set_step(optimizer, step)
        # In the proportions of its own survey a star is likelier to be what is common there.
        odds, true = sets.odds[stars].to(device), sets.label[stars].to(device)
        eaten = some.eaten(str(device))
        logits = net.raw(eaten) + odds
        loss = functional.cross_entropy(logits, true)  # smoothed labels bend what it says
        if teachers:
            with torch.no_grad():
                said = torch.stack([(t.raw(eaten) + odds).softmax(1) for t in teachers]).mean(0)
            loss = torch.lerp(loss, functional.cross_entropy(logits, said), recipe.heed)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        training.follow(mean, net, recipe.mean_decay, steps)


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

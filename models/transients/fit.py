"""One network from epochs of examples: the same seed gives the same weights, resumed or not."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models import checkpoints, training
from models.training import Epoch
from models.transients import inputs
from models.transients.curves import Curves
from models.transients.inputs import Eye, Inputs
from models.transients.network import TransientNet, log_points

#: Curves, and the place of each one's class in the network's output.
Examples = tuple[Curves, NDArray[np.int64]]
#: The examples of one epoch, from a generator that is made of seed and epoch.
Draw = Callable[[np.random.Generator], Examples]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained: AdamW, the step warming up and falling as a cosine.

    What is kept is an exponential mean of the weights; ``mean_decay`` is that of a long training.
    Labels are smoothed for the sake of other skies: by labels as they are a network is more honest
    of its own survey (SNPCC: calibration error 0.7 % instead of 1.5) and lost in another (MALLORN:
    58 % right instead of 64, log loss 0.76 worse).
    """

    epochs: int
    batch: int = 256
    step: float = 2e-3
    weight_decay: float = 0.01  # of matrices only
    label_smoothing: float = 0.02
    mean_decay: float = 0.998
    hidden: int = 256
    dropout: float = 0.2
    images: bool = True


@dataclass(frozen=True, slots=True)
class Sets:
    """What a network learns from.

    ``draw`` gives the epochs, with a share of each class ``drawn`` (class,); its probabilities
    shall assume ``proportions`` (class,). Of objects that it does not train on ``whole`` tell how
    each epoch went; with ``cut``, the same after several numbers of points, it is calibrated.
    """

    draw: Draw
    drawn: NDArray[np.float64]
    proportions: NDArray[np.float64]
    whole: Examples
    cut: Examples

    @property
    def change(self) -> torch.Tensor:
        """(class,) f4 what turns logits of the shares drawn into such of the proportions."""
        odds = np.maximum(self.proportions, 1e-6) / np.maximum(self.drawn, 1e-6)
        return torch.from_numpy(np.log(odds)).float()


def fit(
    sets: Sets,
    eye: Eye,
    recipe: Recipe,
    seed: int,
    device: str = "cpu",
    progress: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> TransientNet:
    """Train a network, let it know what is typical, and calibrate it.

    Parameters
    ----------
    sets : Sets
    eye : Eye
    recipe : Recipe
    seed : int
        Same seed, same number of threads, same weights on the same kind of machine.
    device : str
        "cpu" or "cuda".
    progress : callable
        Told after each epoch.
    checkpoint : Path
        A safetensors file, written after each epoch; where it stands, training goes on from it.

    Raises
    ------
    ValueError
        The checkpoint is of another training.
    """
    torch.manual_seed(seed)
    classes = len(sets.drawn)
    net = TransientNet(eye, classes, recipe.hidden, recipe.dropout, recipe.images).to(device)
    networks = {"net": net, "mean": copy.deepcopy(net).eval()}
    mean = networks["mean"]
    optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
    title = f"{eye} {classes} {recipe} {seed}"
    done = checkpoints.load(checkpoint, title, networks, optimizer) if checkpoint else 0
    whole = inputs.make(sets.whole[0], eye)
    start = time.perf_counter()
    for number in range(done + 1, recipe.epochs + 1):
        torch.manual_seed(seed * 100_003 + number)  # of dropout, the same after a resumption
        rng = np.random.default_rng([seed, number])
        curves, label = sets.draw(rng)
        these = inputs.make(curves, eye)
        if number == 1:
            net.learn(these.to(device))
            mean.learn(these.to(device))
        order = torch.from_numpy(rng.permutation(len(label)))
        net.train()
        per_epoch = max(1, len(order) // recipe.batch)
        for k in range(per_epoch):
            batch = order[k * recipe.batch : (k + 1) * recipe.batch]
            steps = (number - 1) * per_epoch + k + 1
            share = steps / (recipe.epochs * per_epoch)
            training.set_step(optimizer, recipe.step * training.cosine(share))
            loss = functional.cross_entropy(
                net.raw(these[batch].to(device)),
                torch.from_numpy(label)[batch].to(device),
                label_smoothing=recipe.label_smoothing,
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            training.follow(mean, net, recipe.mean_decay, steps)
        if checkpoint:
            checkpoints.save(checkpoint, title, number, networks, optimizer)
        logits = _logits(mean, whole, mean.raw) + sets.change
        known = torch.from_numpy(sets.whole[1])
        wrong = functional.cross_entropy(logits, known).item()
        right = (logits.argmax(1) == known).float().mean().item()
        seconds = time.perf_counter() - start
        progress(Epoch(number, recipe.epochs, seconds, wrong, right, number == recipe.epochs))
    mean.cpu()
    with torch.no_grad():
        mean.head.bias.add_(sets.change)
    _typical(mean, sets.draw, seed)
    calibrate(mean, [(mean, sets.cut)])
    return mean


def calibrate(net: TransientNet, crossed: Sequence[tuple[TransientNet, Examples]]) -> None:
    """Make a network honest by what others of its kind say of objects that they never saw."""
    logits, log_n, truth = [], [], []
    for other, (curves, label) in crossed:
        these = inputs.make(curves, other.eye)
        logits.append(_logits(other, these, other.raw))
        log_n.append(log_points(these))
        truth.append(torch.from_numpy(label))
    net.calibration.fit(torch.cat(logits), torch.cat(log_n), torch.cat(truth))


def probabilities(net: TransientNet, these: Inputs) -> NDArray[np.float64]:
    """(object, class) f8, by the network in fp32."""
    net.eval()
    result: NDArray[np.float64] = _logits(net, these, net).double().softmax(1).numpy()
    return result


def _logits(
    net: TransientNet, these: Inputs, run: Callable[[Inputs], torch.Tensor]
) -> torch.Tensor:
    """Logits (object, class) on the CPU, of the whole network or as they are before calibration."""
    device = next(net.parameters()).device
    with torch.no_grad():
        parts = [
            run(these[slice(begin, begin + 256)].to(device)).cpu()
            for begin in range(0, len(these), 256)
        ]
    return torch.cat(parts)


def _typical(net: TransientNet, draw: Draw, seed: int) -> None:
    """Learn what is typical of the classes from two more epochs: where it lies, and how far."""
    for number in (1, 2):
        curves, label = draw(np.random.default_rng([seed, 1_000_000 + number]))
        with torch.inference_mode():
            hidden = net.hidden(inputs.make(curves, net.eye))
            if number == 1:
                net.typical.learn(hidden, torch.from_numpy(label))
            else:
                net.typical.settle(hidden)

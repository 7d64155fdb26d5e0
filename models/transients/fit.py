"""One network from epochs of examples: the same seed gives the same weights, resumed or not."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional

from models import training
from models.transients import inputs
from models.transients.curves import Curves
from models.transients.inputs import Eye
from models.transients.network import TransientNet

#: One epoch's curves, and the place of each one's class in the network's output.
Examples = tuple[Curves, NDArray[np.int64]]
Draw = Callable[[np.random.Generator], Examples]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained: AdamW, the step warming up and falling as a cosine.

    What is kept is an exponential mean of the weights; ``mean_decay`` is that of a long training.
    """

    epochs: int
    batch: int = 256
    step: float = 2e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.02
    mean_decay: float = 0.998
    hidden: int = 256
    dropout: float = 0.2
    images: bool = True


@dataclass(frozen=True, slots=True)
class Epoch:
    """How training stands: the loss is the epoch's mean on its own examples."""

    number: int
    of: int
    seconds: float
    loss: float


@dataclass(slots=True)
class State:
    """All that the next epoch depends on, but for seed and number."""

    net: TransientNet
    mean: TransientNet
    optimizer: torch.optim.Optimizer
    steps: int = 0
    epochs: int = 0


def fit(
    draw: Draw,
    eye: Eye,
    classes: int,
    recipe: Recipe,
    seed: int,
    progress: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Path | None = None,
    teacher: Callable[[inputs.Inputs], torch.Tensor] | None = None,
) -> TransientNet:
    """Train a network.

    Parameters
    ----------
    draw : callable
        The examples of one epoch, from a generator that is made of seed and epoch.
    eye : Eye
    classes : int
    recipe : Recipe
    seed : int
        Same seed, same number of threads, same weights on the same kind of machine.
    progress : callable
        Told after each epoch.
    checkpoint : Path
        A safetensors file, written after each epoch; where it stands, training goes on from it.
    teacher : callable
        Probabilities (object, class) to learn instead of the labels: an ensemble's.

    Raises
    ------
    ValueError
        The checkpoint is of another training.
    """
    torch.manual_seed(seed)
    state = _begin(TransientNet(eye, classes, recipe.hidden, recipe.dropout, recipe.images), recipe)
    title = f"{eye} {classes} {recipe} {seed}"
    if checkpoint is not None and checkpoint.is_file():
        _resume(state, checkpoint, title)
    start = time.perf_counter()
    for number in range(state.epochs + 1, recipe.epochs + 1):
        torch.manual_seed(seed * 100_003 + number)  # of dropout, the same after a resumption
        rng = np.random.default_rng([seed, number])
        curves, label = draw(rng)
        these = inputs.make(curves, eye)
        if number == 1:
            state.net.learn(these)
            state.mean.learn(these)
        order = torch.from_numpy(rng.permutation(len(label)))
        loss = _epoch(state, these, torch.from_numpy(label), order, recipe, teacher)
        state.epochs = number
        if checkpoint is not None:
            _keep(state, checkpoint, title)
        progress(Epoch(number, recipe.epochs, time.perf_counter() - start, loss))
    return state.mean.eval()


def probabilities(net: TransientNet, these: inputs.Inputs) -> NDArray[np.float64]:
    """(object, class) f8, by the network in fp32."""
    net.eval()
    with torch.inference_mode():
        parts = [
            net(these[slice(begin, begin + 256)]).double().softmax(1)
            for begin in range(0, len(these), 256)
        ]
    result: NDArray[np.float64] = torch.cat(parts).numpy()
    return result


def typical(net: TransientNet, draw: Draw, seed: int) -> None:
    """Learn what is typical of the classes from two more epochs: where it lies, and how far."""
    for number in (1, 2):
        curves, label = draw(np.random.default_rng([seed, 1_000_000 + number]))
        with torch.inference_mode():
            hidden = net.hidden(inputs.make(curves, net.eye))
            if number == 1:
                net.typical.learn(hidden, torch.from_numpy(label))
            else:
                net.typical.settle(hidden)


def _begin(net: TransientNet, recipe: Recipe) -> State:
    optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
    return State(net, copy.deepcopy(net).eval(), optimizer)


def _epoch(
    state: State,
    these: inputs.Inputs,
    label: torch.Tensor,
    order: torch.Tensor,
    recipe: Recipe,
    teacher: Callable[[inputs.Inputs], torch.Tensor] | None,
) -> float:
    """One pass; returns the mean loss."""
    per_epoch = max(1, len(order) // recipe.batch)
    of = recipe.epochs * per_epoch
    state.net.train()
    total = 0.0
    for k in range(per_epoch):
        batch = order[k * recipe.batch : (k + 1) * recipe.batch]
        for group in state.optimizer.param_groups:
            group["lr"] = recipe.step * training.cosine((state.steps + 1) / of)
        wanted = label[batch] if teacher is None else teacher(these[batch])
        loss = functional.cross_entropy(
            state.net(these[batch]), wanted, label_smoothing=recipe.label_smoothing
        )
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.steps += 1
        decay = min(recipe.mean_decay, (1 + state.steps) / (10 + state.steps))
        with torch.no_grad():
            for mean, now in zip(state.mean.parameters(), state.net.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        total += loss.item()
    return total / per_epoch


def _keep(state: State, path: Path, title: str) -> None:
    tensors = {f"net.{k}": v for k, v in state.net.state_dict().items()}
    tensors |= {f"mean.{k}": v for k, v in state.mean.state_dict().items()}
    for i, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v for k, v in moments.items()}
    metadata = {"title": title, "steps": str(state.steps), "epochs": str(state.epochs)}
    beside = path.with_suffix(".new")
    save_file({k: v.contiguous() for k, v in tensors.items()}, beside, metadata)
    beside.replace(path)  # whole or not at all


def _resume(state: State, path: Path, title: str) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        if metadata.get("title") != title:
            msg = f"{path} is of another training ({metadata.get('title')}, not {title}): remove it"
            raise ValueError(msg)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def part(name: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}

    state.net.load_state_dict(part("net."))
    state.mean.load_state_dict(part("mean."))
    whole = state.optimizer.state_dict()
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in part("adam.").items():
        number, name = key.split(".")
        moments.setdefault(int(number), {})[name] = value
    state.optimizer.load_state_dict({**whole, "state": moments})
    state.steps, state.epochs = int(metadata["steps"]), int(metadata["epochs"])

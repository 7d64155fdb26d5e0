"""Training as the studies need it: images made once, plain Adam, validation chooses the epoch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Adam with a step that stays; `step` is that of Mahabal et al. 2017."""

    epochs: int
    step: float = 2e-4
    batch: int = 128
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Trained:
    """A network at the epoch that its judge liked best, and what was said after each epoch."""

    net: nn.Module
    epoch: int
    seconds: float
    judged: list[float]
    watched: list[list[float]]


def fit(
    build: Callable[[], nn.Module],
    images: torch.Tensor,
    label: NDArray[np.int64],
    recipe: Recipe,
    judge: Callable[[nn.Module], float] | None = None,
    say: Say = lambda _: None,
    watch: Callable[[nn.Module], list[float]] | None = None,
) -> Trained:
    """Train a network.

    Parameters
    ----------
    build : callable
        Makes the network, after the seed was set.
    images : (object, 1, n_dm, n_dt)
        What it eats, of any type; a batch of them becomes float32.
    label : (object,)
    recipe : Recipe
        The same recipe and number of threads give the same weights on one kind of device.
    judge : callable
        Gives the network a mark after each epoch, by objects that are not among `images`; the
        epoch with the best is kept. Without a judge the last one is.
    say : callable
        Told a line after each epoch.
    watch : callable
        Gives figures of each epoch that choose nothing.
    """
    torch.manual_seed(recipe.seed)
    net = build().to(recipe.device)
    optimizer = torch.optim.Adam(net.parameters(), recipe.step, fused=True)
    draw = np.random.default_rng(recipe.seed)
    truth = torch.from_numpy(label)
    began = time.perf_counter()
    best, best_state = recipe.epochs, net.state_dict()
    judged: list[float] = []
    watched: list[list[float]] = []
    for epoch in range(1, recipe.epochs + 1):
        net.train()
        order = torch.from_numpy(draw.permutation(len(label)))
        for begin in range(0, len(order), recipe.batch):
            rows = order[begin : begin + recipe.batch]
            optimizer.zero_grad()
            logits = net(images[rows].to(recipe.device).float())
            loss = functional.cross_entropy(logits, truth[rows].to(recipe.device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        words = f"epoch {epoch} of {recipe.epochs}"
        if watch is not None:
            watched.append(watch(net))
        if judge is not None:
            judged.append(judge(net))
            if judged[-1] >= max(judged):  # of equal ones the later: it has seen more
                best, best_state = epoch, copy.deepcopy(net.state_dict())
            words += f"  mark {judged[-1]:.4f}"
        seconds = time.perf_counter() - began
        left = seconds / epoch * (recipe.epochs - epoch)
        say(f"{words}  {seconds:.0f} s, {left:.0f} s left")
    net.load_state_dict(best_state)
    return Trained(net.eval(), best, time.perf_counter() - began, judged, watched)


def probabilities(net: nn.Module, images: torch.Tensor, device: str = "cpu") -> NDArray[np.float64]:
    """Probabilities (object, class) f8 of images (object, 1, n_dm, n_dt), at least one."""
    net.eval()
    with torch.inference_mode():
        parts = [
            net(images[begin : begin + 256].to(device).float()).log_softmax(1).double().exp().cpu()
            for begin in range(0, len(images), 256)
        ]
    return torch.cat(parts).numpy()


def epochs_for(images: int, steps: int, batch: int = 128) -> int:
    """Epochs that make so many steps: small sets need more of them, as the paper's 300.

    >>> epochs_for(20_000, 3000)
    20
    """
    return max(1, math.ceil(steps / math.ceil(images / batch)))

"""How a network of images alone is trained: the epoch that a validation part likes best."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models import examples, network, training
from models.catalogue import SEVEN, Catalogue
from models.examples import GRID, Examples
from models.training import Epoch

EMA_DECAY = 0.998


@dataclass(frozen=True, slots=True)
class Recipe:
    """AdamW; the step warms up and falls as a cosine, or stays."""

    network: str
    epochs: int
    batch: int
    step: float
    weight_decay: float = 0.0  # of matrices only
    cosine: bool = False

    def factor(self, done: float) -> float:
        """What the step is multiplied by when a share `done` of all steps is done."""
        return training.cosine(done) if self.cosine else 1.0


def fit(
    curves: Catalogue,
    recipe: Recipe,
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

    net = network.build(recipe.network, GRID.shape, len(SEVEN)).to(device)
    average = get_ema_multi_avg_fn(EMA_DECAY)  # type: ignore[no-untyped-call]
    mean = AveragedModel(net, multi_avg_fn=average)
    averaged = cast(network.Network, mean.module)
    optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
    steps = recipe.epochs * math.ceil(len(objects) / recipe.batch)
    schedule = LambdaLR(optimizer, lambda step: recipe.factor((step + 1) / steps))
    best, best_loss, best_net = 0, np.inf, net
    for number in range(1, recipe.epochs + 1):
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
        progress(Epoch(number, recipe.epochs, seconds, loss_now, accuracy, best == number))
    return best_net.eval(), best


def _log_p(net: network.Network, these: Examples, device: str) -> torch.Tensor:
    net.eval()
    with torch.inference_mode():
        parts = [
            net(these.levels(net, slice(begin, begin + 256), device)).log_softmax(1).cpu()
            for begin in range(0, len(these.label), 256)
        ]
    return torch.cat(parts)

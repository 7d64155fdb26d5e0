"""How well the networks of transients name what they never saw, on the sets that have truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models import metrics, splits
from models.metrics import Metrics
from models.transients import examples, inputs, sets
from models.transients.curves import Curves
from models.transients.fit import probabilities
from models.transients.network import TransientNet

#: Days after the first 5-sigma detection; none: whole curves.
DAYS: tuple[float | None, ...] = (*examples.DAYS, None)
#: What the name is: the greatest of log p - TAU log prior. The dial of CRTS's networks, not tuned
#: on transients; 0 names the likeliest.
TAU = 0.25


@dataclass(frozen=True, slots=True)
class Interval:
    """Macro F1 with the interval that holds 95 % of what other objects of the kind would give."""

    macro_f1: float
    low: float
    high: float


def three(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of Ia, II with IIn, and Ib/c (object, 3), given that it is one of them."""
    merged = np.stack([p[:, 0], p[:, 1] + p[:, 3], p[:, 2]], axis=1)
    result: NDArray[np.float64] = merged / merged.sum(axis=1, keepdims=True)
    return result


def snpcc(net: TransientNet, curves: Curves) -> Mapping[float | None, Metrics]:
    """The three classes of the challenge, at each of DAYS, on the given objects."""
    label = examples.places(curves)
    label[label == examples.PLACES[4]] = examples.PLACES[2]
    result = {}
    for days in DAYS:
        cut = curves if days is None else curves.until(days)
        p = probabilities(net, inputs.make(cut, net.eye))
        result[days] = metrics.measure(three(p), label)
    return result


def snpcc_test(folder: Path) -> Curves:
    """SNPCC's objects that no training saw."""
    these = sets.read(folder, "snpcc")
    return these.take(np.flatnonzero(splits.test(these.split)))


def out_of_fold(
    curves: Curves, train: Callable[[Curves, int], TransientNet], folds: int = 5
) -> NDArray[np.float64]:
    """Probabilities (object, class) of each object by a network that did not see its part.

    Parameters
    ----------
    train : callable
        Told the other parts' objects and the part's number.
    folds : int
        Parts: crc32 of the name // 50 % folds. (What is left by 50 is taken: it marks the part that
        is kept elsewhere, the test part, and among the others the validation part.)
    """
    part = curves.split // 50 % folds
    result = np.zeros((len(curves), len(examples.CLASSES)))
    for k in range(folds):
        here = np.flatnonzero(part == k)
        net = train(curves.take(np.flatnonzero(part != k)), k)
        result[here] = probabilities(net, inputs.make(curves.take(here), net.eye))
    return result


def interval(p: NDArray[np.float64], label: NDArray[np.int64], draws: int = 1000) -> Interval:
    """Macro F1 of probabilities (object, class), by bootstrap over the objects."""

    def figure(chosen: NDArray[np.int64]) -> float:
        return metrics.measure(p[chosen], label[chosen]).macro_f1

    low, high = metrics.bootstrap(figure, len(label), draws=draws)
    return Interval(metrics.measure(p, label).macro_f1, low, high)


def unseen(net: TransientNet, known: Curves, others: Curves) -> float:
    """AUC of the out-of-distribution score: `others` above `known`."""
    score = np.concatenate([strangeness(net, known), strangeness(net, others)])
    return metrics.auc(score, np.arange(len(score)) >= len(known))


def strangeness(net: TransientNet, curves: Curves) -> NDArray[np.float64]:
    """Out-of-distribution score (object,) of each object from all its points."""
    these = inputs.make(curves, net.eye)
    net.eval()
    with torch.inference_mode():
        result: NDArray[np.float64] = net.typical(net.hidden(these)).double().numpy()
    return result

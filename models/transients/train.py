"""From sets of labelled transients to the weights that the stream runs, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.transients import examples, gate, sets
from models.transients.curves import Curves
from models.transients.examples import CLASSES, EYES, Pool
from models.transients.fit import Draw, Epoch, Recipe, fit, typical
from models.transients.network import TransientNet

Floats = NDArray[np.float64]

#: What `train` can make, by survey: the classifier of transients, and the gate before it.
NAMES = ("transients-ztf", "transients-lsst", "gate-ztf", "gate-lsst")

#: SNPCC has many objects; BTS few, so its networks are small and see each one often.
LSST = Recipe(60, hidden=384, dropout=0.3)
ZTF = Recipe(25, 128, step=1.5e-3, weight_decay=0.02, mean_decay=0.995, hidden=128, dropout=0.3)
#: Curves of an epoch of ZTF's.
PER_EPOCH = 6000
#: Faintest peak that the literature's superluminous supernovae are given.
FAINTEST: Mapping[str, float] = {"ztf": 19.3, "lsst": 23.0}


@dataclass(frozen=True, slots=True)
class Trained:
    """A network, what its outputs are called, and the proportions that they assume."""

    net: TransientNet
    classes: tuple[str, ...]
    proportions: tuple[float, ...]


def train(
    data: Path,
    name: str,
    seed: int = 0,
    progress: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Path | None = None,
    epochs: int | None = None,
) -> Trained:
    """Train a network of NAMES on all but the test parts.

    A gate's proportions are even: which share of a survey's alerts is variable is not known here.

    Parameters
    ----------
    data : Path
        Folder with ztf_bts.npz or snpcc.npz, and slsn.npz, or crts_south.npz for a gate.
    name : str
    seed : int
        The same seed and number of threads give the same weights.
    progress : callable
        Told after each epoch.
    checkpoint : Path
        See `models.transients.fit.fit`.
    epochs : int
        The recipe's if None.

    Raises
    ------
    LookupError
        No network has that name.
    FileNotFoundError
        `data` lacks a set.
    """
    if name not in NAMES:
        msg = f"no network is called {name!r}; there are: {', '.join(NAMES)}"
        raise LookupError(msg)
    task, survey = name.split("-")
    if task == "gate":
        net = gate.train(data, survey, seed, progress, checkpoint, epochs)
        return Trained(net, gate.CLASSES, (0.5, 0.5))
    source = examples.named(sets.read(data, gate.LENDERS[survey]))
    source = source.take(np.flatnonzero(source.fold != 1))
    bright = examples.superluminous(data, EYES[survey], FAINTEST[survey], seed)
    net, share = classifier(survey, source, bright, seed, progress, checkpoint, epochs)
    return Trained(net, CLASSES, tuple(share.tolist()))


def classifier(
    survey: str,
    source: Curves,
    superluminous: Curves,
    seed: int,
    progress: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Path | None = None,
    epochs: int | None = None,
) -> tuple[TransientNet, Floats]:
    """A network of one survey's transients, and the class proportions that it assumes.

    Parameters
    ----------
    survey : str
        "ztf" or "lsst".
    source, superluminous : Curves
        The survey's own, which have the proportions; and helpers where they are rare.
    seed, progress, checkpoint, epochs
        As `train` takes them.
    """
    proportions = examples.proportions(source)
    if survey == "ztf":
        pool, recipe, count = examples.ztf_pool(source, superluminous), ZTF, PER_EPOCH
    else:
        pool, recipe, count = examples.lsst_pool(source, superluminous), LSST, len(source)
        proportions = pool.share
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    draw = examples.epochs(pool, count)
    net = fit(draw, EYES[survey], len(CLASSES), recipe, seed, progress, checkpoint)
    return finish(net, pool, draw, proportions, seed)


def finish(
    net: TransientNet, pool: Pool, draw: Draw, proportions: Floats, seed: int
) -> tuple[TransientNet, Floats]:
    """Turn the shares that were drawn into `proportions`, and learn what is typical."""
    with torch.no_grad():
        change = np.log(np.maximum(proportions, 1e-6)) - np.log(np.maximum(pool.share, 1e-6))
        net.head.bias.add_(torch.from_numpy(change).float())
    typical(net, draw, seed)
    return net, proportions

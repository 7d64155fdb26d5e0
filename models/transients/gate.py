"""The gate before the classifiers: is what alerts a variable, or a transient?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import metrics
from models.transients import examples, inputs, sets, variables
from models.transients.curves import Curves, join
from models.transients.fit import Draw, Epoch, Recipe, fit, probabilities, typical
from models.transients.network import TransientNet
from models.transients.variables import Stars

CLASSES = ("variable", "transient")
#: Whose transients lend times, bands and errors.
LENDERS = {"ztf": "ztf_bts", "lsst": "snpcc"}
RECIPE = Recipe(12, hidden=128)
#: Pairs of an epoch, and alerts after which the gate is measured.
PAIRS = 4000
ALERTS = (3, 10, 30)
SHORTEST = 2


def lenders(folder: Path, survey: str) -> Curves:
    """The named transients of a survey with the points that alerted, three or more."""
    these = examples.named(sets.read(folder, LENDERS[survey]))
    these = these.rows(these.flux >= 5 * these.error)
    return these.take(np.flatnonzero(these.n >= 3))


def pairs(transients: Curves, stars: Stars, survey: str, blind: bool = False) -> Draw:
    """Epochs of pairs of a transient and a variable, cut after the same number of alerts.

    `blind` gates see no flux. Test parts are left out.
    """
    objects, among = np.flatnonzero(transients.fold != 1), np.flatnonzero(stars.split % 5 != 1)

    def draw(rng: np.random.Generator) -> tuple[Curves, NDArray[np.int64]]:
        chosen = transients.take(rng.choice(objects, PAIRS))
        alike, others, _ = variables.pairs(chosen, stars, among, survey, rng)
        alerts = np.exp(rng.uniform(np.log(SHORTEST), np.log(alike.n + 1))).astype(np.int64)
        return _both(alike, others, alerts, blind)

    return draw


def train(
    folder: Path,
    survey: str,
    seed: int,
    progress: Callable[[Epoch], None] = lambda _: None,
    checkpoint: Path | None = None,
    epochs: int | None = None,
    blind: bool = False,
) -> TransientNet:
    """A gate for one survey; see `models.transients.fit.fit`."""
    draw = pairs(lenders(folder, survey), variables.read_stars(folder), survey, blind)
    recipe = replace(RECIPE, epochs=epochs or RECIPE.epochs)
    net = fit(draw, examples.EYES[survey], len(CLASSES), recipe, seed, progress, checkpoint)
    typical(net, draw, seed)
    return net


def measure(
    net: TransientNet, folder: Path, survey: str, seed: int, blind: bool = False
) -> Mapping[int, float]:
    """AUC after so many alerts, on test objects each paired with four test stars."""
    transients, stars = lenders(folder, survey), variables.read_stars(folder)
    objects, among = np.flatnonzero(transients.fold == 1), np.flatnonzero(stars.split % 5 == 1)
    rng = np.random.default_rng(seed)
    alike, others, _ = variables.pairs(
        transients.take(np.repeat(objects, 4)), stars, among, survey, rng
    )
    result = {}
    for alerts in ALERTS:
        long = np.flatnonzero(alike.n >= alerts)
        curves, label = _both(
            alike.take(long), others.take(long), np.full(len(long), alerts), blind
        )
        score = probabilities(net, inputs.make(curves, examples.EYES[survey]))[:, 1]
        result[alerts] = metrics.auc(score, label == 1)
    return result


def first_points(curves: Curves, n: NDArray[np.int64]) -> Curves:
    """The first n (object,) points of each object."""
    place = np.arange(len(curves.time)) - np.repeat(curves.first[:-1], curves.n)
    return curves.rows(place < np.repeat(n, curves.n))


def _both(
    alike: Curves, others: Curves, alerts: NDArray[np.int64], blind: bool
) -> tuple[Curves, NDArray[np.int64]]:
    """Transients and variables in one, with their labels."""
    if blind:  # the sky's noise is that of the transient's night in both
        sky = variables.sky_error(alike).astype(np.float32)
        alike, others = (replace(c, flux=6 * sky, error=sky) for c in (alike, others))
    curves = join([first_points(alike, alerts), first_points(others, alerts)])
    return curves, np.repeat([1, 0], len(alike))

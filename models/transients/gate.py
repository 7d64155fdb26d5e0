"""The gate before the classifiers: is what alerts a variable, or a transient?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import evaluate, splits
from models.evaluate import Score
from models.splits import Mask
from models.stars import Stars, read_stars
from models.transients import examples, inputs, sets, variables
from models.transients.curves import Curves, join
from models.transients.fit import Examples, Recipe, Sets, probabilities
from models.transients.network import KNOTS, TransientNet

CLASSES = ("variable", "transient")
#: Whose transients lend times, bands and errors.
LENDERS = {"ztf": "ztf_bts", "lsst": "snpcc"}
RECIPE = Recipe(12, hidden=128)
#: Pairs of an epoch, and of what calibrates.
PAIRS, CALIBRATE = 4000, 3000
#: Alerts after which the gate is measured (0: all), on so many pairs of each test transient.
ALERTS, TIMES = (0, 3, 5, 10, 20, 30, 50, 100), 4
SHORTEST = 2


@dataclass(frozen=True, slots=True)
class Sky:
    """What pairs are drawn from: a survey's transients, the points that alerted, and stars.

    To a `blind` gate all fluxes are alike.
    """

    survey: str
    transients: Curves
    stars: Stars
    blind: bool = False

    def pairs(
        self, part: Callable[[NDArray[np.int64]], Mask], count: int, draw: np.random.Generator
    ) -> tuple[Curves, Curves]:
        """So many transients of a part of `models.splits`, and a variable in the place of each.

        Those of which fewer than two points would have alerted are left out.
        """
        objects, among = (
            np.flatnonzero(part(these.split)) for these in (self.transients, self.stars)
        )
        lenders = self.transients.take(draw.choice(objects, count))
        alike, others, _ = variables.pairs(lenders, self.stars, among, self.survey, draw)
        return blinded(alike, others) if self.blind else (alike, others)


def read_sky(folder: Path, survey: str, blind: bool = False) -> Sky:
    """The named transients of a survey that alerted three times or more, and CRTS-S's stars."""
    these = examples.named(sets.read(folder, LENDERS[survey]))
    these = these.rows(these.flux >= 5 * these.error)
    return Sky(survey, these.take(np.flatnonzero(these.n >= 3)), read_stars(folder), blind)


def learned(sky: Sky, seed: int) -> Sets:
    """Epochs of pairs, both cut after the same number of alerts; validation pairs.

    Proportions are even: which share of a survey's alerts is variable is not known here.
    """

    def draw(rng: np.random.Generator) -> Examples:
        alike, others = sky.pairs(splits.training, PAIRS, rng)
        alerts = np.exp(rng.uniform(np.log(SHORTEST), np.log(alike.n + 1))).astype(np.int64)
        return both(alike.first_points(alerts), others.first_points(alerts))

    even = np.array([0.5, 0.5])
    pairs = sky.pairs(splits.validation, CALIBRATE, np.random.default_rng([seed, 0]))
    cut = [both(*pairs)] + [both(*after(*pairs, alerts)) for alerts in KNOTS]
    curves, label = zip(*cut, strict=True)
    return Sets(draw, even, even, cut[0], (join(curves), np.concatenate(label)))


def scores(net: TransientNet, sky: Sky, seed: int) -> Iterator[Score]:
    """How well a gate does on test transients and test stars, by number of alerts."""
    count = TIMES * int(splits.test(sky.transients.split).sum())
    pairs = sky.pairs(splits.test, count, np.random.default_rng([seed, 1]))
    for alerts in ALERTS:
        curves, label = both(*after(*pairs, alerts))
        if len(label):
            p = probabilities(net, inputs.make(curves, net.eye)).astype(np.float32)
            yield evaluate.score(p, label, alerts)


def after(alike: Curves, others: Curves, alerts: int) -> tuple[Curves, Curves]:
    """The pairs that have so many alerts, cut to these; 0: all, whole."""
    if not alerts:
        return alike, others
    long = np.flatnonzero(alike.n >= alerts)
    return alike.take(long).first_points(alerts), others.take(long).first_points(alerts)


def both(alike: Curves, others: Curves) -> Examples:
    """Transients and variables in one, with their places in the output."""
    return join([alike, others]), np.repeat([1, 0], len(alike))


def blinded(alike: Curves, others: Curves) -> tuple[Curves, Curves]:
    """Both with fluxes of six times the sky's noise, which is that of the transient's night."""
    sky = variables.sky_error(alike).astype(np.float32)
    return replace(alike, flux=6 * sky, error=sky), replace(others, flux=6 * sky, error=sky)

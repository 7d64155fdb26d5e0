"""The gate before the classifiers: is what alerts periodic, a nucleus, a CV, a supernova?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import evaluate, metrics, splits
from models.splits import Mask
from models.stars import Stars, read_stars
from models.transients import again, examples, groups, inputs, sets, variables
from models.transients.again import Plan
from models.transients.augment import Fates, augment, draw_fates
from models.transients.curves import DETECTION_SIGMA, Curves, join
from models.transients.fit import Examples, Recipe, Sets, probabilities
from models.transients.groups import CLASSES, RECURRING, Groups
from models.transients.network import KNOTS, TransientNet

#: Whose transients lend times, bands and errors.
LENDERS = {"ztf": "ztf_bts", "lsst": "snpcc"}
RECIPE = Recipe(100, hidden=320)
#: Places of an epoch, and of what calibrates.
PLACES, CALIBRATE = 3000, 3000
#: Share of the supernovae that are seen on other nights than their own, if they are known well.
AGAIN = 0.7
#: Alerts after which the gate is measured (0: all), on so many groups of each test transient; no
#: fewer groups say anything.
ALERTS, TIMES, FEWEST = (0, 3, 5, 10, 20, 30, 50), 4, 100
SHORTEST = groups.SHORTEST
#: Its probabilities assume that all classes are equally frequent.
EVEN = np.full(len(CLASSES), 1 / len(CLASSES))


@dataclass(frozen=True, slots=True)
class Score(evaluate.Score):
    """What a gate's card says: ``auc`` is that of what recurs against transients, the sums.

    ``hardest`` is that of the two classes that are told apart worst;
    ``recall`` is the share of each class that is named so, in the order of the classes; ``giants``
    the share of the red giants among the periodic stars that counts as recurring.
    """

    hardest: float = np.nan
    recall: tuple[float, ...] = ()
    giants: float = np.nan


@dataclass(frozen=True, slots=True)
class Sky:
    """What groups are drawn from: a survey's supernovae, and stars.

    ``weight`` (object,) f8 is how often one lends its times; for some these are of the ``plan``.
    To a `blind` gate all fluxes are alike.
    """

    survey: str
    transients: Curves
    weight: NDArray[np.float64]
    stars: Stars
    plan: Plan
    blind: bool = False

    def groups(
        self,
        part: Callable[[NDArray[np.int64]], Mask],
        count: int,
        draw: np.random.Generator,
        changed: bool = False,
    ) -> Groups:
        """As many groups as so many supernovae of a part of `models.splits` find place for.

        `changed`: these are dimmed, noisier and slower than they were, by chance.
        """
        objects, among = (
            np.flatnonzero(part(these.split)) for these in (self.transients, self.stars)
        )
        weight = self.weight[objects]
        lenders = self.transients.take(draw.choice(objects, count, p=weight / weight.sum()))
        if changed:
            lenders = augment(lenders, draw, _fates(count, draw))
        lenders = alerting(again.some_again(lenders, self.plan, AGAIN, draw))
        made = groups.draw_groups(lenders, self.stars, among, self.survey, draw)
        return blinded(made, self.survey) if self.blind else made


def read_sky(folder: Path, survey: str, blind: bool = False) -> Sky:
    """A survey's supernovae that alerted three times or more, and CRTS-S's stars.

    Of each class as many as the square root of the survey's share, so that rare ones count too.
    """
    these = examples.named(sets.read(folder, LENDERS[survey]))
    found = these.rows(these.flux >= DETECTION_SIGMA * these.error)
    these = these.take(np.flatnonzero(found.n >= 3))
    share = np.sqrt(examples.proportions(these)) / np.maximum(examples.proportions(these), 1e-9)
    weight, stars = share[examples.places(these)], read_stars(folder)
    return Sky(survey, these, weight, stars, again.plan(survey), blind)


def alerting(these: Curves) -> Curves:
    """The points that would have alerted, of objects that have three."""
    these = these.rows(these.flux >= DETECTION_SIGMA * these.error)
    return these.take(np.flatnonzero(these.n >= 3))


def learned(sky: Sky, seed: int) -> Sets:
    """Epochs of groups, all members cut after the same number of alerts; validation groups."""

    def draw(rng: np.random.Generator) -> Examples:
        made = sky.groups(splits.training, PLACES, rng, changed=True)
        alerts = np.exp(rng.uniform(np.log(SHORTEST), np.log(made.n + 1))).astype(np.int64)
        return made.first_points(alerts).examples()

    made = sky.groups(splits.validation, CALIBRATE, np.random.default_rng([seed, 0]))
    cut = [made.examples()]
    cut += [made.after(alerts).examples() for alerts in KNOTS if (made.n >= alerts).any()]
    curves, label = zip(*cut, strict=True)
    return Sets(draw, EVEN, EVEN, cut[0], (join(curves), np.concatenate(label)))


def scores(net: TransientNet, sky: Sky, seed: int) -> Iterator[Score]:
    """How well a gate does on test transients and test stars, by number of alerts."""
    count = TIMES * int(splits.test(sky.transients.split).sum())
    made = sky.groups(splits.test, count, np.random.default_rng([seed, 1]))
    for alerts in ALERTS:
        these = made.after(alerts)
        if len(these) >= min(FEWEST, len(made)):
            curves, label = these.examples()
            p = probabilities(net, inputs.make(curves, net.eye)).astype(np.float32)
            yield score(p, label, these.kind, alerts)


def score(
    p: NDArray[np.float32], label: NDArray[np.int64], kind: NDArray[np.int64], alerts: int
) -> Score:
    """Compare probabilities (object, class) with true classes (object,) of groups."""
    usual, found = evaluate.score(p, label, alerts), metrics.measure(p, label)
    sums, truly = recurring(p), label < len(RECURRING)
    giants = sums[: len(kind)][kind == variables.LPV]
    share = float((giants > 0.5).mean()) if len(giants) else np.nan
    words = asdict(usual) | {"auc": metrics.auc(sums, truly)}
    recall = tuple(round(float(r), 4) for r in found.recall)
    worst = min(pairs(p, label).values())
    return Score(**words, hardest=worst, recall=recall, giants=share)


def pairs(p: NDArray[np.float32], label: NDArray[np.int64]) -> dict[tuple[str, str], float]:
    """Area under the ROC curve of each two classes, by the odds of one against the other."""
    log_p = np.log(np.maximum(p.astype(np.float64), metrics.LEAST))
    result = {}
    for (i, one), (j, other) in combinations(enumerate(CLASSES), 2):
        both = (label == i) | (label == j)
        result[one, other] = metrics.auc((log_p[:, i] - log_p[:, j])[both], label[both] == i)
    return result


def recurring(p: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability (object,) that it is a variable and no transient: a sum."""
    result: NDArray[np.float64] = p[:, : len(RECURRING)].astype(np.float64).sum(axis=1)
    return result


def blinded(made: Groups, survey: str) -> Groups:
    """All with fluxes of six times the sky's noise, which is that of the supernova's night."""
    sky = variables.sky_error(made.members[-1], survey).astype(np.float32)
    return replace(
        made, members=tuple(replace(these, flux=6 * sky, error=sky) for these in made.members)
    )


def _fates(count: int, draw: np.random.Generator) -> Fates:
    """Those of classifiers' epochs, whole."""
    return replace(draw_fates(count, draw), days=np.full(count, np.inf))

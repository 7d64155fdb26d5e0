"""Networks that see each star's own period: from two surveys and two more made alike to a card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np

from broker import cadence
from models import bands, catalogue, crts, known, splits
from models.cards import Card
from models.catalogue import SEVEN, Catalogue
from models.evaluate import LENGTHS, Score, score, scores
from models.fusion import CRTS
from models.periodic import alike, by_survey, sets
from models.periodic.fit import Recipe, fit
from models.periodic.network import CHANNEL
from models.stars import Stars, read_stars
from models.trained import Order, Trained

#: So many test stars are looked at as other surveys see them, six bands each.
_TEST_ELSEWHERE = 4000


def train(recipe: Recipe, order: Order) -> Trained:
    """Train on both surveys; `order.data` holds crts_south.npz and crts_north.npz."""
    recipe = replace(recipe, epochs=order.epochs or recipe.epochs)
    seed, device = order.seed, order.device
    stars = read_stars(order.data)
    surveys = [catalogue.read(order.data), catalogue.read(order.data, "crts-north")]
    south = surveys[0]
    training_sets = sets.training(
        [*surveys, *elsewhere(stars, recipe, seed)], recipe.copies, CHANNEL, seed, order.say
    )
    validation = sets.validation(south, CHANNEL)
    net = fit(
        *(training_sets, validation, recipe, CHANNEL, seed, device),
        *(order.progress, order.checkpoint),
    )
    by_survey.fit(net, surveys, stars, validation, seed, device, order.say)
    share = sets.proportions(south.label[south.training])
    facts = {
        "data": f"{crts.SOUTH}, crts_south.npz; CRTS-N (Drake et al. 2014), crts_north.npz; "
        "stars of CRTS-S as alerts of ZTF and of LSST would tell of them",
        "objects": len(training_sets.label),
        "proportions": [round(float(p), 4) for p in share],
        "places": f"where in the Galaxy a star stands counts for {CRTS}",
        "curves": ", ".join(f"{kind} {share:.0%}" for kind, share in sets.SHARES.items()),
        **asdict(recipe),
    }
    return Trained(
        net,
        crts.declare(order.card, "periodic", CHANNEL, min_points=2),
        facts,
        crts.used(surveys),
        lambda card: _scores(card, south, stars, device),
        lambda card: known.write(order.data, card, order.seed),
    )


def elsewhere(stars: Stars, recipe: Recipe, seed: int) -> list[Catalogue]:
    """Training stars of CRTS-S as alerts of each other survey would tell of them, single bands."""
    trainable = np.flatnonzero(splits.training(stars.split))
    return [
        alike.bands(alike.alike(stars, trainable, name, seed + 1), recipe.alike, seed)
        for name in cadence.SURVEYS
    ]


def _scores(card: Card, south: Catalogue, stars: Stars, device: str) -> Iterator[Score]:
    """Scores on the test stars, as Catalina measured them and as other surveys' alerts would."""
    yield from scores(card, south, device)
    for survey in cadence.SURVEYS:
        yield from _elsewhere(card, stars, survey, device)


def _elsewhere(card: Card, stars: Stars, survey: str, device: str) -> Iterator[Score]:
    """Scores on the test stars as another survey's alerts tell of them, bands fused."""
    test = np.flatnonzero(splits.test(stars.split))[:_TEST_ELSEWHERE]
    file = alike.alike(stars, test, survey, seed=0)
    label = catalogue.known(file, "crts-south", SEVEN)
    n = np.diff(file.off)
    namer = bands.stars(card, file, device, survey)
    for points in (0, *LENGTHS):
        p = namer(np.minimum(n, points or n))
        some = np.flatnonzero((label >= 0) & (n >= max(points, 2)) & np.isfinite(p).all(axis=1))
        if len(some):
            yield score(p[some], label[some], points, survey=f"{survey}-like")

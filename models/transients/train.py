"""Networks of transients and the gates before them: from the labelled sets to what a card says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from broker.inputs import Channel
from models import cards, crts, curve_files, splits
from models.cards import Card
from models.domain import Domain, Unless
from models.evaluate import Score
from models.trained import Order, Trained
from models.transients import examples, gate, groups, naming, sets
from models.transients.augment import WHOLE
from models.transients.curves import Curves, join
from models.transients.examples import CLASSES, EYES, PLACES
from models.transients.fit import Recipe, Sets, calibrate, fit

#: SNPCC has many objects; BTS few, so its networks are small and see each one often.
RECIPES: Mapping[str, Recipe] = {
    "lsst": Recipe(120, hidden=384, dropout=0.3),
    "ztf": Recipe(
        25, 128, step=1.5e-3, weight_decay=0.02, mean_decay=0.995, hidden=128, dropout=0.3
    ),
}
#: Curves of an epoch of ZTF's.
PER_EPOCH = 6000
#: Of BTS's objects 170 validate: so many networks more, each of which another tenth validates, tell
#: how sure one may be of objects that it never saw. Of SNPCC's there are enough.
CROSSED: Mapping[str, int] = {"ztf": 4, "lsst": 0}
#: What kinds of points a classifier eats: BTS tells of alerts alone.
KINDS: Mapping[str, tuple[str, ...]] = {"ztf": ("detection",), "lsst": ("detection", "forced")}
#: Of whom a gate speaks; ELAsTiCC is LSST, simulated.
EVERYTHING: Mapping[str, Domain] = {"ztf": {"ztf": ()}, "lsst": {"lsst": (), "elasticc": ()}}
#: Of whom a classifier does: of all that is not a star whose own light the reference holds.
DOMAINS: Mapping[str, Domain] = {
    survey: {**surveys, survey: (Unless(tuple(crts.DOMAIN[survey])),)}
    for survey, surveys in EVERYTHING.items()
}
SOURCES: Mapping[str, str] = {
    "snpcc": "SNPCC (Kessler et al. 2010, simulated; MIT)",
    "ztf_bts": "ZTF Bright Transient Survey to April 2021, photometry of ANTARES (MIT)",
    "slsn": "superluminous supernovae of the literature (Gomez et al. 2024; MIT)",
    "crts_south": "CRTS-S periodic variables (Drake et al. 2017)",
}


def classifier(survey: str, order: Order) -> Trained:
    """A network of one survey's supernovae; `order.data` holds its set, and slsn.npz."""
    name = gate.LENDERS[survey]
    source = examples.named(sets.read(order.data, name))
    source = source.take(np.flatnonzero(~splits.test(source.split)))
    bright = examples.superluminous(order.data, EYES[survey], source, order.seed)
    learned = supernovae(survey, source, bright, order.seed)
    recipe = replace(RECIPES[survey], epochs=order.epochs or RECIPES[survey].epochs)
    net = fit(
        learned, EYES[survey], recipe, order.seed, order.device, order.progress, order.checkpoint
    )
    crossed = [(net, learned.cut)]
    for turn in range(1, CROSSED[survey] + 1):
        order.say(f"calibration: network {turn} of {CROSSED[survey]} without another tenth")
        other = supernovae(survey, _turned(source, turn), _turned(bright, turn), order.seed)
        crossed.append((fit(other, EYES[survey], recipe, order.seed, order.device), other.cut))
    calibrate(net, crossed)
    facts = {
        "crossed": CROSSED[survey],
        "data": "; ".join(SOURCES[each] for each in (name, "slsn")),
        "objects": sum(_objects(curves) for curves in (source, bright)),
        "curves": f"whole {WHOLE:.0%}, cut some days after the first detection; dimmed, "
        "thinned, noisier, stretched by chance",
    }

    def scores(card: Card) -> list[Score]:
        file = curve_files.read(order.data / f"{name}.npz")
        return list(naming.scores(card, file, order.device))

    return Trained(
        net,
        cards.declare(
            order.card,
            "transient",
            CLASSES,
            "a supernova of one of these classes",
            _channel(survey, KINDS[survey]),
            DOMAINS[survey],
            2,
        ),
        facts | _facts(learned, recipe),
        np.concatenate([sets.fingerprints(order.data, each, PLACES) for each in (name, "slsn")]),
        scores,
    )


def before(survey: str, order: Order) -> Trained:
    """A gate for one survey; `order.data` holds its set, and crts_south.npz."""
    sky = gate.read_sky(order.data, survey)
    learned = gate.learned(sky, order.seed)
    recipe = replace(gate.RECIPE, epochs=order.epochs or gate.RECIPE.epochs)
    net = fit(
        learned, EYES[survey], recipe, order.seed, order.device, order.progress, order.checkpoint
    )
    name = gate.LENDERS[survey]
    facts = {
        "data": "; ".join(SOURCES[each] for each in (name, "crts_south"))
        + "; generators (models/transients): active nuclei, dwarf novae",
        "objects": int(splits.training(sky.transients.split).sum()),
        "curves": f"groups in {gate.PLACES} places an epoch: a supernova, and in its place, at its "
        "times, in its bands and under its sky a periodic star, an active nucleus and a "
        "cataclysmic variable; all cut after the same number of alerts",
        "assumed": "all classes equally frequent",
    }
    stars = curve_files.read(order.data / "crts_south.npz")
    seen = stars.take(np.flatnonzero(~splits.test(stars.split))).fingerprints
    return Trained(
        net,
        cards.declare(
            order.card,
            "transient",
            groups.CLASSES,
            "an astrophysical source",
            _channel(survey, ("detection",)),
            EVERYTHING[survey],
            2,
        ),
        facts | _facts(learned, recipe),
        np.concatenate([sets.fingerprints(order.data, name, PLACES), seen]),
        lambda _: gate.scores(net, sky, order.seed),
    )


def supernovae(survey: str, source: Curves, bright: Curves, seed: int) -> Sets:
    """What a network of one survey's supernovae learns from.

    Parameters
    ----------
    survey : str
        "ztf" or "lsst".
    source, bright : Curves
        The survey's own, which have the proportions, and superluminous ones, where they are rare.
        Validation objects are among them.
    seed : int
        Of which superluminous ones calibrate.
    """
    train, known = _parts(source)
    more, rare = _parts(bright)
    proportions = examples.proportions(train)
    if survey == "ztf":
        pool, count = examples.ztf_pool(train, more), PER_EPOCH
    else:
        pool, count = examples.lsst_pool(train, more), len(train)
        proportions = pool.share
        # The survey has none: in the share that is assumed, they keep their place.
        some = round(len(known) * proportions[PLACES[5]])
        known = join([known, rare.take(np.random.default_rng(seed).permutation(len(rare))[:some])])
    whole = known, examples.places(known)
    return Sets(examples.epochs(pool, count), pool.share, proportions, whole, examples.cuts(known))


def _turned(curves: Curves, turn: int) -> Curves:
    return replace(curves, split=splits.turned(curves.split, turn))


def _parts(curves: Curves) -> tuple[Curves, Curves]:
    parts = (part(curves.split) for part in (splits.training, splits.validation))
    training, validation = (curves.take(np.flatnonzero(part)) for part in parts)
    return training, validation


def _objects(curves: Curves) -> int:
    """How many train; one in several places is one."""
    return len(np.unique(curves.split[splits.training(curves.split)]))


def _facts(learned: Sets, recipe: Recipe) -> dict[str, object]:
    share = [round(float(p), 4) for p in learned.proportions]
    return {"proportions": share, **asdict(recipe)}


def _channel(survey: str, kinds: tuple[str, ...]) -> Channel:
    return Channel("transient", "asinh", kinds, survey=survey, bands=EYES[survey].bands)

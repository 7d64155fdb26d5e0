"""What the networks of transients learn from: pools of labelled curves, epochs, validation cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import splits
from models.transients import carry, lent, sets
from models.transients.augment import WHOLE, augment, draw_fates
from models.transients.curves import Curves, join
from models.transients.fit import Draw, Examples
from models.transients.inputs import Eye
from models.transients.network import KNOTS

#: Class number of the sets -> place in the networks' output. Each has at least 30 training objects
#: from two sources (or it would have no name), counted over both networks: Ia, II, Ib/c and IIn
#: are in SNPCC, which trains LSST's alone, and in BTS, which trains ZTF's alone; SLSN are in BTS
#: and the literature's.
PLACES: Mapping[int, int] = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4}
CLASSES = tuple(sets.CLASSES[number] for number in PLACES)

EYES: Mapping[str, Eye] = {"ztf": Eye("ztf", "gr"), "lsst": Eye("lsst", "griz")}
#: Days after the first detection that a network is calibrated and measured at, beside numbers of
#: points.
DAYS = (5, 15)
#: Superluminous supernovae of the literature: in so many places each; or peaks, AB, of those that
#: stand at their own times.
PLACES_EACH, PEAKS = 8, (17.3, 19.3)


@dataclass(frozen=True, slots=True)
class Pool:
    """Curves to draw from, each ``weight`` (object,) f8 as often as another of its class, and the
    share of each class (class,) f8 in what is drawn.
    """

    curves: Curves
    weight: NDArray[np.float64]
    share: NDArray[np.float64]

    @property
    def place(self) -> NDArray[np.int64]:
        """(object,) i8 place of each one's class in the output."""
        return places(self.curves)


def places(curves: Curves) -> NDArray[np.int64]:
    """(object,) i8 place of each one's class in the networks' output; -1 for one without a name."""
    return np.array([PLACES.get(number, -1) for number in curves.label.tolist()], np.int64)


def named(curves: Curves) -> Curves:
    """The objects whose class has a name."""
    return curves.take(np.flatnonzero(places(curves) >= 0))


def pool(sources: Sequence[tuple[Curves, float]], share: NDArray[np.float64]) -> Pool:
    """Several sources, each with the weight of one of its objects."""
    weight = np.concatenate([np.full(len(curves), w) for curves, w in sources])
    return Pool(join([curves for curves, _ in sources]), weight, share / share.sum())


def epochs(these: Pool, count: int, whole: float = WHOLE) -> Draw:
    """Epochs of `count` curves drawn from a pool, each changed and cut as fate has it.

    A share `whole` of them is not cut.
    """
    place = these.place
    chance = np.zeros(len(place))
    for k, share in enumerate(these.share):
        mine = place == k
        if mine.any():
            chance[mine] = share * these.weight[mine] / these.weight[mine].sum()
    chance /= chance.sum()

    def draw(rng: np.random.Generator) -> tuple[Curves, NDArray[np.int64]]:
        who = rng.choice(len(place), count, p=chance)
        return augment(these.curves.take(who), rng, draw_fates(count, rng, whole)), place[who]

    return draw


def cuts(curves: Curves) -> Examples:
    """The same objects as they were after each of KNOTS points and DAYS, and whole.

    Left out are those that have not so many, and what no alert would tell of: curves of one point,
    or without a detection.
    """
    parts = [curves.take(np.flatnonzero(curves.n >= n)).first_points(n) for n in KNOTS]
    joined = join([*parts, *(curves.until(days) for days in DAYS), curves])
    joined = joined.take(np.flatnonzero((joined.n >= KNOTS[0]) & joined.detected))
    return joined, places(joined)


def proportions(curves: Curves) -> NDArray[np.float64]:
    """Share (class,) f8 of each class among the objects that have a name."""
    count = np.bincount(places(named(curves)), minlength=len(PLACES))
    share: NDArray[np.float64] = count / count.sum()
    return share


def superluminous(folder: Path, eye: Eye, source: Curves, seed: int) -> Curves:
    """The literature's superluminous supernovae as a survey would have seen them.

    Their bands are taken as they are, and as the next one and two bluer, as from nearer objects.
    Each stands in several places of the survey's own objects, `source`; or, where these are known
    by their alerts alone and lend no more than the time in which they alerted, at its own times.
    Not those of the test part.
    """
    draw = np.random.default_rng(seed)
    slsn = sets.read(folder, "slsn")
    slsn = slsn.take(np.flatnonzero(~splits.test(slsn.split)))
    lenders = lent.lenders(source)
    parts = []
    for by in (0, 1, 2):
        these = carry.shifted(slsn, by, eye.bands)
        these = these.take(carry.worth(these, 6, 8))
        if len(lenders):
            these = these.take(np.repeat(np.arange(len(these)), PLACES_EACH))
            places = lenders.take(draw.integers(0, len(lenders), len(these)))
            these = lent.lent(these, places, eye.survey, draw)
        else:
            these = carry.seen_by(these, eye.survey, draw.uniform(*PEAKS, len(these)), draw)
        parts.append(these.take(carry.worth(these, 4, 6)))
    return join(parts)


def ztf_pool(bts: Curves, superluminous: Curves) -> Pool:
    """BTS objects and the literature's superluminous ones, classes in the square root of BTS's
    shares.
    """
    return pool([(bts, 1.0), (superluminous, 0.3)], np.sqrt(proportions(bts)))


def lsst_pool(snpcc: Curves, superluminous: Curves) -> Pool:
    """SNPCC's objects in their own proportions, and superluminous ones, one in a hundred."""
    share = proportions(snpcc)
    share[PLACES[5]] = 0.01
    return pool([(snpcc, 1.0), (superluminous, 1.0)], share)

"""A source of each class at the same times: but for the flux there is nothing to tell them apart.

A real supernova lends times, bands and errors. A periodic star, an active nucleus and a cataclysmic
variable are put in its place, and all four keep the times at which each has 5 sigma. Of a class a
few are tried, and the one with most alerts there is taken: what a source is like that was seen at
these times, be it that it lasts long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models.stars import Stars
from models.transients import nuclei, outbursts, variables
from models.transients.curves import Curves, join
from models.transients.fit import Examples
from models.transients.light import Generator

#: In the order of the networks' output. "periodic" and "AGN" are what recurs, the others not:
#: that is DESC's own division, of which the probabilities of variable and transient are sums.
#: Tidal disruptions have no name: a gate that had learned them from hot black bodies named a tenth
#: to a third of the real ones, and took real nuclei for them.
CLASSES = ("periodic", "AGN", "CV", "supernova")
RECURRING = ("periodic", "AGN")
#: How many of a class are tried in each place.
CANDIDATES = {"periodic": 4, "AGN": 4, "CV": 10}
#: Share of the places where a cataclysmic variable's reference is quiescence. Of candidates that
#: differ in this, one whose reference holds outbursts would be taken nearly always: it alerts when
#: it is quiet, too.
QUIET = 0.6
#: Natural logarithm of the greatest change over that of the supernova: stars are brighter.
BRIGHTER = {"periodic": (0.5, 0.8), "AGN": (0.0, 0.4), "CV": (0.3, 0.7)}
#: Alerts below which a group tells nothing.
SHORTEST = 2


@dataclass(frozen=True, slots=True)
class Groups:
    """Sources of one place each: ``members`` one set of curves per class, of the same times.

    ``kind`` (group,) i8 is the class number of CRTS-S of the periodic star.
    """

    members: tuple[Curves, ...]
    kind: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def n(self) -> NDArray[np.int64]:
        """Alerts of each member of a group."""
        return self.members[0].n

    def take(self, groups: NDArray[np.int64]) -> Groups:
        """Some of them (group,)."""
        return Groups(tuple(these.take(groups) for these in self.members), self.kind[groups])

    def first_points(self, n: NDArray[np.int64] | int) -> Groups:
        """The first n, or n (group,), alerts of each member."""
        return Groups(tuple(these.first_points(n) for these in self.members), self.kind)

    def after(self, alerts: int) -> Groups:
        """Those that have so many alerts, cut to these; 0: all, whole."""
        if not alerts:
            return self
        return self.take(np.flatnonzero(self.n >= alerts)).first_points(alerts)

    def examples(self) -> Examples:
        """All in one, class by class, with their places in the output."""
        return join(self.members), np.repeat(np.arange(len(self.members)), len(self))


def draw_groups(
    lenders: Curves,
    stars: Stars,
    among: NDArray[np.int64],
    survey: str,
    draw: np.random.Generator,
) -> Groups:
    """A group in the place of each lender, but where fewer than SHORTEST alerts are left.

    Parameters
    ----------
    lenders : Curves
        Alerts of supernovae, at least one of each.
    stars : Stars
    among : (star,) i8
        Which of them to draw from.
    survey : str
        Of `broker.cadence.SURVEYS`: whose noise it is.
    draw : numpy.random.Generator
    """
    star = variables.choose(stars, among, len(lenders), draw, CANDIDATES["periodic"])
    star = star.reshape(len(lenders), -1)
    quiet = np.repeat(draw.random((len(lenders), 1)) < QUIET, CANDIDATES["CV"], axis=1)
    place = np.arange(len(lenders))
    generators: dict[str, Callable[[NDArray[np.int64]], Generator]] = {
        # Of the places that are still there.
        "periodic": lambda there: partial(
            variables.generate, stars=stars, star=star[there].ravel()
        ),
        "AGN": lambda _: nuclei.generate,
        "CV": lambda there: partial(outbursts.generate, quiet=quiet[there].ravel()),
    }
    members = {"supernova": lenders}
    for name, generator in generators.items():
        made, keep = _best(members["supernova"], generator(place), name, survey, draw)
        members[name] = made
        members = {other: these.rows(keep) for other, these in members.items()}
        enough = np.flatnonzero(members[name].n >= SHORTEST)
        members = {other: these.take(enough) for other, these in members.items()}
        place = place[enough]
    kind = stars.kind[star[place, 0]]
    every = (replace(members[c], label=0 * kind + k) for k, c in enumerate(CLASSES))
    return Groups(tuple(every), kind)


def _best(
    lenders: Curves, generator: Generator, name: str, survey: str, draw: np.random.Generator
) -> tuple[Curves, NDArray[np.bool_]]:
    """A source in the place of each lender, at all its points, and which of these alert."""
    tried = CANDIDATES[name]
    several = lenders.take(np.repeat(np.arange(len(lenders)), tried))
    light = generator(several, draw)
    flux, error, found = variables.observe(several, light, survey, draw, BRIGHTER[name])
    count = np.add.reduceat(found, several.first[:-1], dtype=np.int64).reshape(-1, tried)
    best = np.arange(len(lenders)) * tried + count.argmax(axis=1)
    rows = np.repeat(several.first[best] - lenders.first[:-1], lenders.n) + np.arange(
        len(lenders.time)
    )
    return replace(lenders, flux=flux[rows], error=error[rows]), found[rows]

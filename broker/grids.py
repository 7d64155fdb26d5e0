"""The grids of DMDT images: edges in time and magnitude difference, as exact integers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

MICRODAYS = 10**6  #: one day
TENTH_MMAG = 10**4  #: one magnitude

Edge = Fraction | float


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Edges of half-open bins [edge, next edge); what lies outside is not counted.

    An edge that is not a whole number of units is rounded up: for whole numbers x, x >= edge is
    the same as x >= ceil(edge), so a pair falls where exact arithmetic puts it.
    """

    name: str
    dm_edges: NDArray[np.int32]  # (n_dm + 1,) 0.1 mmag, later minus earlier
    dt_edges: NDArray[np.int64]  # (n_dt + 1,) microdays

    @property
    def shape(self) -> tuple[int, int]:
        """(n_dm, n_dt); a cell's number is i_dm * n_dt + i_dt."""
        return len(self.dm_edges) - 1, len(self.dt_edges) - 1

    @property
    def cells(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def hash(self) -> int:
        """63 bits of the edges (not of the name), the same on every machine."""
        edges = repr((self.dm_edges.tolist(), self.dt_edges.tolist())).encode()
        return int.from_bytes(blake2b(edges, digest_size=8).digest(), "big") >> 1


def _exact(text: str) -> list[Fraction]:
    return [Fraction(word) for word in text.split()]


def _mirrored(positive: Iterable[Fraction]) -> list[Fraction]:
    return sorted({sign * edge for edge in positive for sign in (-1, 1)})


def _grid(name: str, dm_mag: Iterable[Edge], dt_days: Iterable[Edge]) -> Grid:
    dm = np.array([math.ceil(edge * TENTH_MMAG) for edge in dm_mag], np.int32)
    dt = np.array([math.ceil(edge * MICRODAYS) for edge in dt_days], np.int64)
    dm.flags.writeable = dt.flags.writeable = False
    return Grid(name, dm, dt)


# Mahabal et al. 2017 (arXiv:1709.06257), section II and table III.
_PAPER_DM = _mirrored(_exact("0 .1 .2 .3 .5 1 1.5 2 2.5 3 5 8"))
_FINER_DM = _mirrored(_exact("0 .05 .1 .15 .2 .25 .3 .4 .5 1 1.5 2 2.5 3 5 8"))
_PAPER_DT = _exact(
    "1/145 2/145 3/145 4/145 1/25 2/25 3/25 1.5 2.5 3.5 4.5 5.5 7 10 20 30 60 90 120 240 600 960"
    " 2000 4000"
)
_FEWER_DT = _exact("1/145 2/145 3/145 4/145 1.5 2.5 3.5 4.5 5.5 7 20 60 120 600 960 4000")

# The classroom exercise on that paper: np.logspace(log10(.01), log10(30), 24), linspace(-2, 2, 25).
_EXERCISE_DM = [Fraction(4 * i, 24) - 2 for i in range(25)]
_EXERCISE_DT = [Fraction(1, 100), *(0.01 * 3000 ** (i / 23) for i in range(1, 23)), Fraction(30)]

# Ours, finer where CRTS has its visits and nights: +3 % accuracy over the fiducial grid.
_FINE_DM = _mirrored(
    _exact("0 .02 .04 .06 .08 .1 .13 .16 .2 .25 .3 .37 .45 .55 .7 .9 1.2 1.6 2.2 3 5 8")
)
_FINE_DT = _exact(
    "0 1/300 1/180 1/145 1/130 2/145 2/125 3/145 3/125 4/145 1/20 1/8 .3 .7 .92 .96 .98 1 1.02"
    " 1.04 1.08 1.5 1.98 2.02 2.5 3.5 4.5 5.5 7 10 14 20 30 45 60 75 90 120 160 200 240 310 400"
    " 600 960 2000 4000"
)

# For the days and magnitudes of supernovae, a point or two a night and band.
_TRANSIENT_DM = _mirrored(_exact("0 .05 .12 .22 .35 .5 .75 1.1 1.6 2.3 3.5 6"))
_TRANSIENT_DT = _exact("0 .3 1.5 3.5 6.5 10 15 22 32 45 65 95 150")

GRIDS: Mapping[str, Grid] = {
    grid.name: grid
    for grid in (
        _grid("fiducial", _PAPER_DM, _PAPER_DT),
        _grid("new1", _FINER_DM, _PAPER_DT),
        _grid("new2", _FINER_DM, _FEWER_DT),
        _grid("new3", _PAPER_DM, _FEWER_DT),
        _grid("exercise", _EXERCISE_DM, _EXERCISE_DT),
        _grid("fine", _FINE_DM, _FINE_DT),
        _grid("transient", _TRANSIENT_DM, _TRANSIENT_DT),
    )
}

"""Grids: the papers' edges, as exact integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from broker.grids import GRIDS

# As printed in arXiv:1709.06257, section II and table III.
PAPER_DM = [0, 0.1, 0.2, 0.3, 0.5, 1, 1.5, 2, 2.5, 3, 5, 8]
FINER_DM = [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1, 1.5, 2, 2.5, 3, 5, 8]
MINUTES = [Fraction(k, 145) for k in (1, 2, 3, 4)]
HOURS = [Fraction(k, 25) for k in (1, 2, 3)]
PAPER_DT = [*MINUTES, *HOURS, 1.5, 2.5, 3.5, 4.5, 5.5, 7, 10, 20, 30]
PAPER_DT += [60, 90, 120, 240, 600, 960, 2000, 4000]
FEWER_DT = [*MINUTES, 1.5, 2.5, 3.5, 4.5, 5.5, 7, 20, 60, 120, 600, 960, 4000]


@pytest.mark.parametrize(
    ("name", "dm", "dt", "shape"),
    [
        ("fiducial", PAPER_DM, PAPER_DT, (22, 23)),
        ("new1", FINER_DM, PAPER_DT, (30, 23)),
        ("new2", FINER_DM, FEWER_DT, (30, 15)),
        ("new3", PAPER_DM, FEWER_DT, (22, 15)),
    ],
)
def test_the_papers_grids(
    name: str, dm: list[float], dt: list[float], shape: tuple[int, int]
) -> None:
    grid = GRIDS[name]
    assert grid.shape == shape
    both = sorted({round(s * e * 10_000) for e in dm for s in (1, -1)})
    assert grid.dm_edges.tolist() == both
    # an edge e in microdays may be rounded up, never down, and by less than one
    for edge, exact in zip(grid.dt_edges.tolist(), dt, strict=True):
        assert 0 <= edge - Fraction(exact) * 10**6 < 1


def test_the_exercises_grid() -> None:
    grid = GRIDS["exercise"]
    assert grid.shape == (24, 23)
    np.testing.assert_allclose(grid.dt_edges / 1e6, np.logspace(-2, np.log10(30), 24), atol=1e-6)
    np.testing.assert_allclose(grid.dm_edges / 1e4, np.linspace(-2, 2, 25), atol=1e-4)


def test_the_fine_grid() -> None:
    grid = GRIDS["fine"]
    assert grid.shape == (42, 46)
    assert grid.dt_edges[0] == 0
    assert grid.dt_edges[-1] == 4000 * 10**6
    assert (grid.dm_edges == -grid.dm_edges[::-1]).all()


def test_grids_cannot_be_changed_and_tell_themselves_apart() -> None:
    assert len({grid.hash for grid in GRIDS.values()}) == len(GRIDS)
    assert GRIDS["fiducial"].hash == 2229147927989821480  # cards and labels carry it
    for name, grid in GRIDS.items():
        assert grid.name == name
        assert grid.cells == grid.shape[0] * grid.shape[1]
        assert (np.diff(grid.dm_edges) > 0).all()
        assert (np.diff(grid.dt_edges) > 0).all()
        with pytest.raises(ValueError, match="read-only"):
            grid.dt_edges[0] = 1

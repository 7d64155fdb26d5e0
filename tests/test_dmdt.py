"""Pairs in cells: against the definition, and against the light-curve package."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from light_curve import DmDt
from twin import image

from broker import dmdt
from broker.grids import GRIDS, Grid

# Steps that land on edges and one unit beside them, forwards and backwards.
EDGES = sorted({int(e) for g in GRIDS.values() for e in g.dt_edges})
STEPS = st.sampled_from([0, 1, *EDGES, *(e - 1 for e in EDGES if e), *(e + 1 for e in EDGES)])
MAGNITUDES = st.sampled_from(
    [180_000 + s * e + o for e in (0, 200, 1000, 5000, 80_000) for s in (1, -1) for o in (-1, 0, 1)]
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(STEPS, MAGNITUDES), max_size=30),
    st.sampled_from(sorted(GRIDS)),
    st.randoms(use_true_random=False),
)
def test_any_curve_has_the_cells_of_the_definition(
    rows: list[tuple[int, int]], name: str, random: np.random.RandomState
) -> None:
    grid = GRIDS[name]
    time = np.cumsum([step for step, _ in rows], dtype=np.int64)
    magnitude = np.array([m for _, m in rows], np.int32)
    counts = dmdt.count(time, magnitude, np.array([0, len(rows)]), grid)[0]
    np.testing.assert_array_equal(counts, image(time, magnitude.astype(np.int64), grid))


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_every_bin_is_half_open_to_the_last_unit(name: str) -> None:
    grid = GRIDS[name]
    dt = [(int(e) + o, 0) for e in grid.dt_edges for o in (-1, 0, 1) if e + o >= 0]
    dm = [(int(grid.dt_edges[3]), int(e) + o) for e in grid.dm_edges for o in (-1, 0, 1)]
    steps = np.array([*dt, *dm])  # (curve, (dt, dm)): two points each
    time = (steps[:, :1] * [0, 1]).ravel() + 1000
    magnitude = (steps[:, 1:] * [0, 1]).ravel() + 180_000
    found = dmdt.count(time, magnitude, np.arange(0, 2 * len(steps) + 1, 2), grid)
    table = dmdt.table([grid])
    curve = np.zeros(1, dmdt.MEASUREMENT)
    for counts, (t, m) in zip(found, steps, strict=True):
        expected = image(np.array([0, t]), np.array([0, m]), grid)
        np.testing.assert_array_equal(counts, expected)
        curve["time"], curve["magnitude"] = t, m
        later = np.zeros(grid.cells, np.int32)
        dmdt.count_later(curve, 0, 1, 0, 0, 1, table, 0, later)
        np.testing.assert_array_equal(later.reshape(grid.shape), expected)


def test_each_curve_of_many_has_its_own_image() -> None:
    time = np.array([0, 10_000, 20_000, 5, 2_000_005, 7])
    magnitude = np.array([180_000, 181_000, 179_000, 170_000, 175_000, 160_000], np.int32)
    first = np.array([0, 3, 3, 5, 6])
    counts = dmdt.count(time, magnitude, first, GRIDS["fine"])
    assert counts.sum((1, 2)).tolist() == [3, 0, 1, 0]
    for i in range(4):
        part = slice(first[i], first[i + 1])
        expected = image(time[part], magnitude[part].astype(np.int64), GRIDS["fine"])
        np.testing.assert_array_equal(counts[i], expected)


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_a_point_that_is_taken_out_leaves_no_trace(name: str) -> None:
    rng = np.random.default_rng(3)
    grid, n = GRIDS[name], 60
    table = dmdt.table([GRIDS["new1"], grid])
    curve = np.zeros(n, dmdt.MEASUREMENT)
    curve["time"] = np.sort(rng.integers(0, 40_000_000, n))
    curve["magnitude"] = rng.normal(180_000, 9_000, n)
    counts = np.zeros(grid.cells, np.int32)
    dmdt.count_all(curve, n, table, 1, counts)
    gone = 23
    t, m = int(curve["time"][gone]), int(curve["magnitude"][gone])
    dmdt.count_earlier(curve, gone, t, m, -1, table, 1, counts)
    dmdt.count_later(curve, gone + 1, n, t, m, -1, table, 1, counts)
    rest = np.delete(curve, gone)
    expected = image(rest["time"], rest["magnitude"].astype(np.int64), grid)
    np.testing.assert_array_equal(counts.reshape(grid.shape), expected)


def oracle(time: np.ndarray, magnitude: np.ndarray, grid: Grid) -> np.ndarray:
    """Counts by the light-curve package (Malanchev et al. 2021), which works in floats."""
    maker = DmDt(
        dt=grid.dt_edges / 1e6, dm=grid.dm_edges / 1e4, dt_type="asis", dm_type="asis", n_jobs=1
    )
    counts: np.ndarray = maker.points(time / 1e6, magnitude / 1e4, sorted=True)
    return counts.T.astype(np.int32)


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_off_the_edges_it_agrees_with_the_light_curve_package(name: str) -> None:
    grid, rng = GRIDS[name], np.random.default_rng(11)
    for _ in range(5):
        # Odd times at even distances of 14 units from 7, magnitudes likewise: never on an edge.
        time = np.sort(rng.choice(3_000_000, 200, replace=False)) * 977 + 13
        magnitude = (rng.normal(180_000, 8_000, 200) // 7 * 7).astype(np.int32)
        dt, dm = np.subtract.outer(time, time), np.subtract.outer(magnitude, magnitude)
        on_edge = np.isin(dt, grid.dt_edges) | np.isin(dm, grid.dm_edges)
        keep = ~(np.triu(on_edge, 1) | np.tril(on_edge, -1)).any(0)
        time, magnitude = time[keep], magnitude[keep]
        assert len(time) > 20
        counts = dmdt.count(time, magnitude, np.array([0, len(time)]), grid)[0]
        np.testing.assert_array_equal(counts, oracle(time, magnitude, grid))


def test_real_curves_differ_from_it_by_pairs_on_an_edge_only(shared_data: Path) -> None:
    grid = GRIDS["fiducial"]
    with np.load(shared_data / "lightcurves" / "crts_south.npz") as data:
        first = data["off"][:61].astype(np.int64)
        t, m = data["t"][: first[-1]], data["m"][: first[-1]]
    pairs = 0
    for a, b in pairwise(first):
        order = np.argsort(t[a:b], kind="stable")
        time = np.rint(t[a:b][order] * 1e6).astype(np.int64)
        magnitude = np.rint(m[a:b][order] * 1e4).astype(np.int32)
        counts = dmdt.count(time, magnitude, np.array([0, b - a]), grid)[0]
        dt, dm = np.subtract.outer(time, time), np.subtract.outer(magnitude, magnitude)
        on_edge = (dt > 0) & (np.isin(dt, grid.dt_edges) | np.isin(dm, grid.dm_edges))
        assert np.abs(counts - oracle(time, magnitude, grid)).sum() <= 2 * on_edge.sum()
        pairs += counts.sum()
    assert pairs > 400_000

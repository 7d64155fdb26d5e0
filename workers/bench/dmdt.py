"""DMDT images: a point added, an image from scratch, and what an alert costs as its curve grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import dmdt
from broker.curves import Curves
from broker.dmdt import MEASUREMENT, count_earlier
from broker.grids import GRIDS, MICRODAYS, TENTH_MMAG, Grid
from broker.store import MemoryStore
from models import cards
from workers.bench import growing
from workers.bench.figures import Figure, figure, in_turns, most, thread_us

if TYPE_CHECKING:
    from workers.bench.bench import Bench

POINTS = 200
_CURVES = 50
_LENGTHS = (10, 30, 100, 300, 1000, 2000, 5000)
_SHOWN = (10, 100, 1000, 5000)
#: O(n) with room for caches that end somewhere; O(n²) has 2.
_MOST_SLOPE = 1.2

Columns = tuple[NDArray[np.int64], NDArray[np.int32]]


def measure(bench: Bench) -> list[Figure]:
    """One point into an image of 200, images from scratch on two grids, and the growth."""
    return [*_point(bench), *_scratch(bench), *_growth(bench)]


def _point(bench: Bench) -> list[Figure]:
    grid = GRIDS["fiducial"]
    time, magnitude = curve(POINTS + 1, bench.seed)
    ours, numpy, *rust = in_turns(
        4 * bench.rounds,
        update(time, magnitude, grid),
        lambda: thread_us(lambda: twin(time, magnitude, grid), 1),
        *light_curve(time, magnitude, grid),
    )
    name = f"a point into an image of {POINTS}"
    rows = [figure(name, ours, "µs", most(1.5), ("NumPy, anew", numpy))]
    rows += [figure(name, ours, "µs", None, ("light-curve, anew", theirs)) for theirs in rust]
    return rows


def _scratch(bench: Bench) -> list[Figure]:
    rows = []
    time, magnitude = curve(POINTS, bench.seed)
    for name in ("fiducial", "fine"):
        ours, theirs = in_turns(4 * bench.rounds, *scratch(time, magnitude, GRIDS[name]))
        label = f"an image from scratch, {name} grid"
        rows.append(figure(label, ours, "ns a pair", most(4), ("NumPy", theirs)))
    return rows


def _growth(bench: Bench) -> list[Figure]:
    """Curves.add and commit of one new point, for light curves of 10 to 5,000 points."""
    columns = in_turns(bench.rounds, *(lengthened(n, bench.seed) for n in _LENGTHS))
    costs = [float(np.median(column)) for column in columns]
    anew = []
    for n in _LENGTHS:
        time, magnitude = curve(n, bench.seed)
        (column,) = in_turns(bench.rounds, scratch(time, magnitude, GRIDS["fiducial"])[0])
        anew.append(float(np.median(column)) * n * (n - 1) / 2 / 1000)
    if bench.plot is not None:
        _write(bench.plot, costs, anew)
    rows = [
        figure(f"an alert at {n} points", [cost], "µs", None, ("counts anew", [other]))
        for n, cost, other in zip(_LENGTHS, costs, anew, strict=True)
        if n in _SHOWN
    ]
    slopes = slope(_LENGTHS, costs), slope(_LENGTHS[-3:], costs[-3:])
    name = "slope of these, log-log"
    rows.append(figure(name, [slopes[0]], "", most(_MOST_SLOPE), ("anew", [slope(_LENGTHS, anew)])))
    rows.append(figure("slope from 1,000 points on", [slopes[1]], "", most(_MOST_SLOPE)))
    return rows


def curve(n: int, seed: int) -> Columns:
    """Times (n,) in microdays, in order, and magnitudes (n,) in 0.1 mmag, of one band."""
    rng = np.random.default_rng([seed, n])
    time = np.sort(rng.uniform(0, 1000, n) * MICRODAYS).astype(np.int64)
    return time, (rng.normal(18, 0.5, n) * TENTH_MMAG).astype(np.int32)


def update(
    time: NDArray[np.int64], magnitude: NDArray[np.int32], grid: Grid
) -> Callable[[], float]:
    """One turn: µs to count the last point's pairs with all the others."""
    rows = np.zeros(len(time), MEASUREMENT)
    rows["time"], rows["magnitude"] = time, magnitude
    counts = np.zeros(grid.cells, np.int32)
    table = dmdt.table([grid])
    repeats = 1000
    return lambda: thread_us(lambda: _many(rows, len(rows) - 1, table, counts, repeats), repeats)


@njit(cache=True, nogil=True)
def _many(
    rows: NDArray[np.void], n: int, table: Any, counts: NDArray[np.int32], repeats: int
) -> None:
    """The same point again and again with another magnitude, as no call may be left out."""
    for k in range(repeats):
        m = np.int64(rows[n].magnitude) + k % 64
        count_earlier(rows, n, rows[n].time, m, 1, table, 0, counts)


def scratch(
    time: NDArray[np.int64], magnitude: NDArray[np.int32], grid: Grid
) -> tuple[Callable[[], float], Callable[[], float]]:
    """One turn of ours and one of the NumPy twin: ns a pair."""
    n = len(time)
    many = max(1, min(_CURVES, 2_000_000 // n**2))
    first = np.arange(many + 1, dtype=np.int64) * n
    times, magnitudes = np.tile(time, many), np.tile(magnitude, many)
    pairs = many * n * (n - 1) / 2 / 1000

    def ours() -> float:
        return thread_us(lambda: dmdt.count(times, magnitudes, first, grid), 1) / pairs

    def theirs() -> float:
        return thread_us(lambda: twin(time, magnitude, grid), 1) / (n * (n - 1) / 2 / 1000)

    return ours, theirs


def twin(time: NDArray[np.int64], magnitude: NDArray[np.int32], grid: Grid) -> NDArray[np.int32]:
    """Counts (n_dm, n_dt) of all pairs in plain NumPy."""
    later, earlier = np.nonzero(time[:, None] > time[None, :])
    dt, dm = time[later] - time[earlier], magnitude[later] - magnitude[earlier]
    i_dt = np.searchsorted(grid.dt_edges, dt, side="right") - 1
    i_dm = np.searchsorted(grid.dm_edges, dm, side="right") - 1
    n_dm, n_dt = grid.shape
    inside = (i_dt >= 0) & (i_dt < n_dt) & (i_dm >= 0) & (i_dm < n_dm)
    cells = i_dm[inside] * n_dt + i_dt[inside]
    return np.bincount(cells, minlength=grid.cells).reshape(grid.shape).astype(np.int32)


def light_curve(
    time: NDArray[np.int64], magnitude: NDArray[np.int32], grid: Grid
) -> list[Callable[[], float]]:
    """One turn of light-curve's dm-dt map on the same edges; nothing where it is not installed."""
    try:
        from light_curve import DmDt
    except ModuleNotFoundError:
        return []
    edges = {"dt": grid.dt_edges / MICRODAYS, "dm": grid.dm_edges / TENTH_MMAG}
    maps = DmDt(**edges, dt_type="asis", dm_type="asis", n_jobs=1)
    t, m = time / MICRODAYS, magnitude / TENTH_MMAG
    return [lambda: thread_us(lambda: maps.points(t, m, sorted=True), 1)]


def lengthened(n: int, seed: int) -> Callable[[], float]:
    """One turn: µs an alert that brings one new point to a light curve of `n`."""
    objects, each = (64, 8) if n <= 300 else (8, 4)
    inputs = cards.find("crts-shallow").inputs
    first = growing.alerts(objects, 0, n, seed)
    batches = list(growing.several(objects, range(1, each + 1), n, seed, solitary=True))

    def one() -> float:
        curves = Curves(inputs, MemoryStore())
        curves.add(first)
        curves.commit()

        def add() -> None:
            for batch in batches:
                curves.add(batch)
                curves.commit()

        return thread_us(add, objects * each)

    return one


def slope(lengths: Sequence[int], costs: Sequence[float]) -> float:
    """Of the straight line through the logarithms of both."""
    return float(np.polyfit(np.log(lengths), np.log(costs), 1)[0])


def _write(path: Path, costs: Sequence[float], anew: Sequence[float]) -> None:
    rows = zip(_LENGTHS, costs, anew, strict=True)
    lines = [f"{n},{cost:.2f},{other:.2f}" for n, cost, other in rows]
    path.write_text("\n".join(["points,alert_us,anew_us", *lines]) + "\n")

"""Supernovae on other nights: the same light, another survey's habits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from broker import cadence
from broker.grids import MICRODAYS
from broker.records import BANDS
from models.transients import again, carry
from models.transients.curves import Curves, from_points
from models.transients.variables import own_error

GRIZ = [BANDS.index(band) for band in "griz"]
PEAK = 20_000.0  # nJy, 20.6 mag


def light(days: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Up and down within weeks, later and longer in redder bands."""
    red = band - GRIZ[0]
    return PEAK * np.exp(-0.5 * ((days - 40 - 3 * red) / (14 + 3 * red)) ** 2)


def one_night_four_bands(objects: int = 40, step: float = 4.0, noise: float = 200.0) -> Curves:
    """As SNPCC: all bands of a night together, none twice."""
    draw = np.random.default_rng(0)
    night = np.arange(0, 110, step)
    days, band = np.repeat(night, 4), np.tile(GRIZ, len(night)).astype(np.uint8)
    flux = light(days, band) + draw.normal(0, noise, (objects, len(days)))
    return from_points(
        np.tile(54_000 + days, objects), np.tile(band, objects), flux.ravel(),
        np.full(flux.size, noise), np.arange(objects + 1) * len(days),
        np.arange(objects), np.arange(objects) % 4 + 1,
    )  # fmt: skip


def days(curves: Curves) -> np.ndarray:
    start = np.repeat(curves.time[curves.first[:-1]], curves.n)
    return (curves.time - start) / MICRODAYS


@pytest.fixture(scope="module")
def plan() -> again.Plan:
    return again.plan("lsst")


def test_of_none_that_is_known_well_none_is_seen_again(plan: again.Plan) -> None:
    faint = one_night_four_bands(noise=0.1 * PEAK).first_points(3)
    seen = again.some_again(faint, plan, 1.0, np.random.default_rng(1))
    np.testing.assert_array_equal(seen.time, faint.time)
    np.testing.assert_array_equal(seen.flux, faint.flux)
    assert seen.first.tolist() == faint.first.tolist()


def test_a_flux_is_that_of_the_light_at_the_new_time_within_its_error(
    plan: again.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(again.BRIGHTEST, "lsst", 30.0)  # as bright as it was
    # Many points, so that the Gaussian process itself errs by little.
    these = one_night_four_bands(step=1.0, noise=60.0)
    seen = again.again(these, plan, np.random.default_rng(1))
    # The first exposure stands for the first day; points before the first that is known are gone.
    off = (seen.flux - light(days(seen), seen.band)) / seen.error
    known = np.abs(off) < 50
    assert known.mean() > 0.9
    assert set(seen.band) == set(GRIZ)
    assert (seen.label == these.label).all()
    assert (seen.split == these.split).all()
    assert 0.8 < np.std(off[known]) < 1.3


def test_nights_are_the_surveys(plan: again.Plan) -> None:
    """SNPCC has a band once in a night; LSST comes back within the hour."""
    these = one_night_four_bands()
    seen = again.again(these, plan, np.random.default_rng(0))

    def soon(curves: Curves) -> float:
        owner = np.repeat(np.arange(len(curves)), curves.n)
        order = np.lexsort((curves.time, curves.band, owner))
        same = (np.diff(owner[order]) == 0) & (np.diff(curves.band[order]) == 0)
        step = np.diff(curves.time[order]) / MICRODAYS
        return float((step[same] < 0.1).mean())

    assert soon(these) == 0
    assert soon(seen) > 0.15
    # Plans differ: of some objects few nights are left, and of some many.
    draw = np.random.default_rng(0)
    some = [plan.draw(200.0, np.array(GRIZ, np.uint8), draw) for _ in range(200)]
    visited = [len(np.unique(np.floor(shots["mjd_tai"] + 0.3))) for shots in some]
    low, high = np.percentile(visited, [5, 95])
    assert 0 < low < 0.4 * high
    assert all(set(shots["band"]) <= set(GRIZ) for shots in some)


def test_it_may_be_nearer_and_never_fainter(plan: again.Plan) -> None:
    these = one_night_four_bands(200)
    seen = again.again(these, plan, np.random.default_rng(0))
    many = seen.n > 20
    more = 2.5 * np.log10(carry.brightest(seen) / carry.brightest(these))[many]
    brightest = -2.5 * np.log10(PEAK) + 31.4 - again.BRIGHTEST["lsst"]
    assert -0.4 < more.min() < 0.3
    assert brightest - 0.5 < more.max() < brightest + 0.2
    # Its own photons are noise, too; what is measured differs from what is by some errors.
    least = own_error("lsst", seen.flux - 5.0 * seen.error)
    assert (seen.error > least).all()
    assert (least > 200).sum() > 50


def test_what_nobody_saw_is_not_made_up(plan: again.Plan) -> None:
    these = one_night_four_bands()
    seen = again.again(these, plan, np.random.default_rng(0))
    assert ((days(seen) > 35) & (days(seen) < 65)).sum() > 50
    gone = these.rows((days(these) < 20) | (days(these) > 80))
    seen = again.again(gone, plan, np.random.default_rng(0))
    start = np.repeat(gone.time[gone.first[:-1]], gone.n)
    assert (start == gone.time[0]).all()
    assert ((days(seen) > 35) & (days(seen) < 65)).sum() == 0


def test_a_share_of_those_that_are_known_well(plan: again.Plan) -> None:
    these = one_night_four_bands(100)
    faint = np.repeat(np.arange(100) < 30, these.n)
    these = replace(these, flux=np.where(faint, 0.01, 1).astype(np.float32) * these.flux)
    found = again.some_again(these, plan, 0.5, np.random.default_rng(0))
    assert sorted(found.split) == list(range(100))
    kept = np.isin(found.time[found.first[:-1]], these.time)
    assert set(found.split[~kept]) & set(range(30)) == set()
    assert 20 < (~kept).sum() < 50
    twice = again.some_again(these, plan, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(twice.flux, found.flux)
    assert again.plan("lsst").shots.tobytes() == plan.shots.tobytes()
    assert set(plan.shots["band"]) <= {i for i, d in enumerate(cadence.LSST.depth) if d}

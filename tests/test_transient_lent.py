"""Supernovae of the literature in a survey's places: nothing of where they stood before is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_transient_again import GRIZ, PEAK, light

from broker.grids import MICRODAYS
from broker.records import DETECTION
from models import splits
from models.transients import carry, examples, lent, sets
from models.transients.curves import Curves, first_detection, from_points


@pytest.fixture(scope="module")
def places() -> Curves:
    """All bands of a night together; dark for two months, each at a brightness of its own."""
    draw = np.random.default_rng(3)
    night = np.arange(-60, 110, 4.0)
    days, band = np.repeat(night, 4), np.tile(GRIZ, len(night)).astype(np.uint8)
    factor = np.exp(draw.normal(0, 0.5, (60, 1)))
    error = np.broadcast_to(0.03 * PEAK * factor, (60, len(days)))
    flux = factor * light(days, band) + draw.normal(0, error)
    return from_points(
        np.tile(54_000 + days, 60), np.tile(band, 60), flux.ravel(), error.ravel(),
        np.arange(61) * len(days), np.arange(60), np.arange(60) % 4 + 1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def literature() -> Curves:
    """Points of many telescopes: only detections, in their own cadence, 100 times as bright."""
    draw = np.random.default_rng(5)
    days = np.sort(draw.uniform(25, 60, (60, 80)), axis=1)
    band = draw.choice(GRIZ, (60, 80)).astype(np.uint8)
    flux = 100 * light(days, band)
    return from_points(
        50_000 + days.ravel(), band.ravel(), flux.ravel(), 0.01 * flux.ravel(),
        np.arange(61) * 80, np.arange(60), np.full(60, 5),
    )  # fmt: skip


def seen(literature: Curves, places: Curves) -> Curves:
    return lent.lent(literature, places, "lsst", np.random.default_rng(1))


def test_times_bands_and_sky_are_the_lenders(literature: Curves, places: Curves) -> None:
    these = seen(literature, places)
    assert (these.label == 5).all()
    assert (these.split == literature.split).all()
    for i in range(len(these)):
        mine, lender = (slice(curves.first[i], curves.first[i + 1]) for curves in (these, places))
        own = set(zip(these.time[mine].tolist(), these.band[mine].tolist(), strict=True))
        assert own <= set(
            zip(places.time[lender].tolist(), places.band[lender].tolist(), strict=True)
        )
        # Bright points have the noise of their own light besides.
        assert these.error[mine].min() > 0.9 * places.error[lender].min()


def test_it_is_about_as_bright_and_has_limits_as_the_lender(
    literature: Curves, places: Curves
) -> None:
    these = seen(literature, places)
    ratio = np.log(carry.brightest(these) / carry.brightest(places))
    assert abs(np.median(ratio)) < 0.25
    assert 0.3 < ratio.std() < 0.7
    early = these.time < np.repeat(first_detection(these), these.n)
    assert (np.bincount(np.repeat(np.arange(60), these.n)[early], minlength=60) > 3).mean() > 0.8
    assert (these.kind != DETECTION).any()


def test_what_it_shows_is_its_own_light_and_darkness_before(
    literature: Curves, places: Curves
) -> None:
    these = seen(literature, places)
    right = []
    for i in range(len(these)):
        mine = slice(these.first[i], these.first[i + 1])
        flux, error = these.flux[mine].astype(float), these.error[mine].astype(float)
        days = these.time[mine] / MICRODAYS - 54_000
        # One shift and one factor carry its light here; the literature begins at day 25 of it.
        fits = []
        for shift in np.arange(-30, 30, 0.5):
            shape = light(days + shift, these.band[mine]) * (days + shift > 20)
            factor = (flux * shape / error**2).sum() / max((shape**2 / error**2).sum(), 1e-12)
            fits.append(np.mean(np.abs(flux - factor * shape) > 2 * error))
        right.append(min(fits))
    assert np.mean(right) < 0.1  # of a normal deviate 0.05


def test_who_is_known_by_alerts_alone_lends_no_place(places: Curves) -> None:
    assert len(lent.lenders(places)) == 60
    alerts = places.rows(places.kind == DETECTION)
    assert len(lent.lenders(alerts)) == 0
    assert len(lent.lenders(places.first_points(19))) == 0
    assert len(lent.lenders(places.rows(places.kind != DETECTION))) == 0


def test_superluminous_supernovae_look_from_afar_like_the_surveys_own(shared_data: Path) -> None:
    """Neither how bright they are nor how much of them is limits tells whence they come."""
    folder = shared_data / "lightcurves"
    source = examples.named(sets.read(folder, "snpcc"))
    source = source.take(np.flatnonzero(splits.training(source.split))[:4000])
    made = examples.superluminous(folder, examples.EYES["lsst"], source, 0)
    for what in (_peak, _limits):
        own, theirs = what(source), what(made)
        assert np.quantile(own, 0.05) < np.median(theirs) < np.quantile(own, 0.95), what
    assert (_limits(made) == 0).mean() < 0.1


def _peak(curves: Curves) -> np.ndarray:
    return np.log(carry.brightest(curves))


def _limits(curves: Curves) -> np.ndarray:
    return np.add.reduceat(curves.kind != DETECTION, curves.first[:-1]) / curves.n

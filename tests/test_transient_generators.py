"""Generators of what alerts beside supernovae keep to what their docstrings say."""

from __future__ import annotations

import numpy as np
import pytest

from broker.records import BANDS
from models.transients import nuclei, outbursts
from models.transients.curves import Curves
from models.transients.light import Floats, Generator, days, power_law

G, R, I_ = (BANDS.index(band) for band in "gri")
GENERATORS: dict[str, Generator] = {
    "AGN": nuclei.generate,
    "CV": lambda times, draw: outbursts.generate(times, draw, np.arange(len(times)) % 2 == 0),
}


def nights(objects: int = 300, n: int = 100, step: float = 1.0) -> Curves:
    """g and r in each of n nights."""
    time = np.rint((59_000 + step * np.repeat(np.arange(n), 2)) * 1e6).astype(np.int64)
    band = np.tile([G, R], n).astype(np.uint8)
    one = np.ones(objects * 2 * n, np.float32)
    return Curves(
        np.tile(time, objects), np.tile(band, objects), 0 * one.astype(np.uint8), one, one,
        np.arange(objects + 1) * 2 * n, np.ones(objects, np.int64), np.arange(objects),
    )  # fmt: skip


def flux(name: str, times: Curves, seed: int = 0) -> Floats:
    """Change (object, night, band) of objects of one generator."""
    change = GENERATORS[name](times, np.random.default_rng(seed)).change
    return change.reshape(len(times), -1, 2)


def colours(change: Floats) -> Floats:
    """g - r (object, night), NaN where one of both is not above 0."""
    bright = (change > 0).all(axis=2)
    g, r = np.where(bright, np.moveaxis(change, 2, 0), 1.0)
    return np.where(bright, -2.5 * np.log10(g / r), np.nan)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_same_seed_gives_the_same_light(name: str) -> None:
    times = nights(20, 30)
    light, again = (GENERATORS[name](times, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(light.change, again.change)
    np.testing.assert_array_equal(light.behind, again.behind)
    assert not np.array_equal(light.change, flux(name, times, 4).ravel())
    assert np.isfinite(light.change).all()
    assert (light.behind >= 0).all()
    assert (light.behind + light.change > -1e-9).all()  # no source shines with less than nothing


def test_dwarf_novae_burst_quickly_and_are_over_in_days_to_weeks() -> None:
    draw = np.random.default_rng(0)
    stars = outbursts.draw_stars(2000, draw)
    assert (stars.height >= 1.2).all()
    assert (stars.height <= 8).all()
    assert (stars.height[:, 0] > 2).mean() > 0.95
    up = stars.rise[:, None] * stars.height
    assert 1 < np.median(up) < 2.5  # days
    assert 0.5 < np.percentile(stars.fall, 5) < np.percentile(stars.fall, 95) < 4.5  # days a mag
    lasts = stars.top + stars.fall[:, None] * stars.height
    assert 4 < np.median(lasts) < 14
    assert 15 < np.percentile(lasts, 95) < 60
    assert (np.diff(stars.begin, axis=1) > up[:, :-1] + stars.top[:, :-1]).all()  # one by one
    cycle = np.median(np.diff(stars.begin, axis=1), axis=1)
    usual = np.median(stars.height, axis=1)
    low, high = (cycle[(usual > a) & (usual < a + 0.6)] for a in (2.4, 4.0))
    assert np.median(high) > 2 * np.median(low)  # Kukarkin and Parenago


def test_an_outburst_has_the_shape_of_its_numbers() -> None:
    """3 mag at 0.5 day/mag up, 4 days at the top, 2 days/mag down; the next after 40 days."""
    day = np.array([0.0, 0.75, 1.5, 4.0, 5.5, 7.5, 11.5, 20.0, 39.9, 41.5])
    one = np.ones(1)
    column = np.ones((1, 2))
    found = outbursts.heights(
        day, np.array([0, len(day)]), 0.5 * one, 2 * one, 0 * one, np.array([[0.0, 40.0]]),
        3 * column, 4 * column, 0 * column,
    )  # fmt: skip
    np.testing.assert_allclose(found, [0, 1.5, 3, 3, 3, 2, 0, 0, 0, 3], atol=1e-9)


def test_dwarf_novae_are_found_in_outburst_and_fade_below_it() -> None:
    change = flux("CV", nights(n=60))
    r = change[:, :, 1]
    assert (r[:, 0] > 0).mean() > 0.9  # in an outburst
    assert (r[::2, 0] > 0).mean() > 0.98  # of every second the reference is quiescence
    over = r.max(axis=1)
    assert np.median((r > 0.3 * over[:, None]).mean(axis=1)) < 0.5  # most nights it is faint
    assert -0.2 < np.nanmedian(colours(change)[r > 0.2 * over[:, None]]) < 0.25


def test_a_reference_that_is_a_mean_holds_light_of_outbursts() -> None:
    times = nights(400, 60)
    light = outbursts.generate(times, np.random.default_rng(0), np.arange(400) % 2 == 0)
    change = light.change.reshape(400, -1, 2)[:, :, 1]
    below = (change < 0).mean(axis=1)
    faintest = change.min(axis=1) + light.behind.reshape(400, -1, 2)[:, 0, 1]
    assert below[::2].mean() < 0.3  # flickering about the reference
    often = np.median(light.behind.reshape(400, -1, 2)[1::2, 0, 1] / faintest[1::2])
    assert often > 1.5
    assert below[1::2].mean() > 0.4


def test_nuclei_walk_about_their_reference_less_in_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nuclei, "SLOPE", (0.0, 0.0))
    monkeypatch.setattr(nuclei, "DUST", 0.0)
    times = nights(400, 60, step=5.0)
    light = nuclei.generate(times, np.random.default_rng(0))
    change = light.change.reshape(400, 60, 2)
    assert 0.4 < (change < 0).mean() < 0.6
    assert np.abs(np.diff(change, axis=1)).mean() < 0.5 * np.abs(change).mean()  # a slow walk
    g, r = (change[:, :, k] for k in (0, 1))
    ratio = [np.corrcoef(g[i], r[i])[0, 1] for i in range(400)]
    assert np.median(ratio) > 0.95
    # White ones: what differs is how far they walk, as wavelength^-0.48.
    assert np.median(np.abs(g).mean(axis=1) / np.abs(r).mean(axis=1)) == pytest.approx(
        1.14, abs=0.03
    )
    assert 0.1 < np.median(np.abs(r).mean(axis=1)) < 0.4


def test_a_power_law_is_bluer_the_steeper_it_is() -> None:
    level = power_law(np.array([0.0, 1.0]))
    assert level[0, G] == level[0, R] == 1
    assert level[1, G] > 1 > level[1, I_]


def test_days_begin_with_an_objects_first_point() -> None:
    times = nights(3, 4)
    assert days(times).tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 3

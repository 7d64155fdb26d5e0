from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from broker.asinh import POGSON
from broker.records import BANDS
from broker.sky import njy
from models.catalogue import SEVEN
from models.curve_files import CurveFile
from models.periodic import alike
from models.stars import Stars, reference_flux, swings

G, R = BANDS.index("g"), BANDS.index("r")
PERIOD = 0.4217


@pytest.fixture(scope="module", autouse=True)
def few_areas() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "AREAS", 20)
        yield


def stars(amplitude: float = 0.5, kind: int = 1, count: int = 40) -> Stars:
    """Sines of one period, as bright as 16th magnitude."""
    phase = np.tile(np.arange(0, 1, 0.01), count)
    return Stars(
        phase,
        amplitude * np.sin(2 * np.pi * phase),
        np.arange(count + 1) * 100,
        np.full(count, PERIOD),
        np.full(count, 16.0),
        np.full(count, kind),
        np.arange(count).astype(np.str_),
        np.arange(count),
    )


def seen(survey: str, sky: Stars, seed: int = 0) -> CurveFile:
    return alike.alike(sky, np.arange(len(sky)), survey, seed)


def sigmas(file: CurveFile, sky: Stars, fainter: float) -> np.ndarray:
    """How far each point lies from the reference, in errors."""
    total = njy(file.value.astype(float))
    error = total * file.e / POGSON
    star = np.repeat(np.arange(len(sky)), np.diff(file.off))
    relative = reference_flux(sky.magnitude, sky.first, star)
    reference = njy(16.0 + fainter) * relative ** swings(sky.kind)[star, file.b]
    return np.abs(total - reference) / error


def test_of_ztf_only_what_differs_from_the_reference_is_known() -> None:
    sky = stars()
    file = seen("ztf", sky)
    assert np.diff(file.off).min() > 100
    assert sigmas(file, sky, 0).min() > 4.99
    assert set(file.b) == {G, R}
    assert (np.diff(file.t)[np.diff(np.repeat(np.arange(40), np.diff(file.off))) == 0] > 0).all()
    # A flat star never alerts but by chance.
    assert np.diff(seen("ztf", stars(amplitude=0.002)).off).max() <= 1


def test_of_lsst_all_is_known_from_the_first_alert_on() -> None:
    sky = stars()
    file = seen("lsst", sky)
    far = sigmas(file, sky, 3.2)
    assert far[file.off[:-1]].min() > 4.99
    assert 0.02 < (far < 5).mean() < 0.5
    assert len(set(file.b)) == 6


@pytest.mark.parametrize(("band", "swing"), [(G, 1.15), (R, 0.85)])
def test_a_star_keeps_its_period_and_swings_as_its_kind_does(band: int, swing: float) -> None:
    sky = stars()
    file = seen("ztf", sky).band(band)
    one = slice(file.off[3], file.off[4])
    turn = 2 * np.pi * file.t[one] / PERIOD
    waves = np.stack([np.cos(turn), np.sin(turn), np.ones(len(turn))], 1)
    found = np.linalg.lstsq(waves, file.value[one].astype(float), rcond=None)[0]
    assert np.hypot(*found[:2]) == pytest.approx(0.5 * swing, rel=0.05)
    assert found[2] == pytest.approx(16, abs=0.05)


def test_the_same_seed_gives_the_same_curves() -> None:
    one, two, other = (seen("ztf", stars(), seed) for seed in (1, 1, 2))
    assert np.array_equal(one.value, two.value)
    assert not np.array_equal(one.value, other.value)


def test_single_bands_are_drawn_as_light_curves() -> None:
    made = alike.bands(seen("ztf", stars(kind=2)), 50, 0)
    assert len(made) == 50
    assert made.n.min() >= 2
    assert set(made.label) == {SEVEN.index("RRc")}
    assert len(set(made.split)) > 20
    assert len(alike.bands(seen("ztf", stars(kind=2)), 500, 0)) == 80

"""The true light curves: each kind has the shape that its name promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from broker import shapes
from broker.cadence import LSST, ZTF, observe
from broker.grids import MICRODAYS
from broker.imaging import noise, take_reference, watch
from broker.sky import COLOURS, KINDS, MIX, PERIODIC, draw, njy, true_flux
from models.transients import sets

START = 60676.0
G, R = 1, 2


def sky_of(kind: str, count: int = 40, nights: int = 120) -> np.ndarray:
    return draw(count, np.random.default_rng(7), START, nights, {kind: 1.0})


def magnitude(source: np.void, mjd: np.ndarray, band: int = R) -> np.ndarray:
    return 31.4 - 2.5 * np.log10(true_flux(source, mjd, band))


@pytest.mark.parametrize("kind", ["RRab", "RRc", "EW", "EA"])
def test_a_periodic_star_repeats_after_its_period(kind: str) -> None:
    mjd = START + np.random.default_rng(1).uniform(0, 200, 300)
    for source in sky_of(kind, 10):
        again = magnitude(source, mjd + 3 * source["period"])
        np.testing.assert_allclose(again, magnitude(source, mjd), atol=1e-6)
        half = magnitude(source, mjd + 0.37 * source["period"])
        assert np.abs(half - magnitude(source, mjd)).max() > 0.1


@pytest.mark.parametrize(
    ("kind", "period", "amplitude"),
    [
        ("RRab", (0.45, 0.75), (0.5, 1.2)),
        ("RRc", (0.25, 0.42), (0.3, 0.6)),
        ("EW", (0.2, 0.75), (0.2, 0.95)),
        ("EA", (0.5, 6.0), (0.3, 1.9)),
        ("LPV", (100, 500), (0.8, 4.0)),
        ("rotating", (1.0, 30.0), (0.1, 0.4)),
    ],
)
def test_periods_and_amplitudes_are_those_of_the_kind(
    kind: str, period: tuple[float, float], amplitude: tuple[float, float]
) -> None:
    sky = sky_of(kind, 200)
    assert period[0] <= sky["period"].min() <= sky["period"].max() <= period[1]
    assert amplitude[0] <= sky["amplitude"].min() <= sky["amplitude"].max() <= amplitude[1]
    assert sky["period"].std() > 0.05 * sky["period"].mean()
    for source in sky[:15]:
        range_ = np.ptp(magnitude(source, START + np.linspace(0, 4 * source["period"], 4000), G))
        assert 0.5 * source["amplitude"] < range_ < 1.7 * source["amplitude"]


def test_an_rrab_rises_fast_and_falls_slowly_and_an_rrc_does_not() -> None:
    phase = np.linspace(0, 1, 2000, endpoint=False)
    rises = {}
    for kind in ("RRab", "RRc"):
        source = sky_of(kind, 1)[0]
        curve = magnitude(source, source["epoch"] + phase * source["period"])
        rises[kind] = (phase[curve.argmin()] - phase[curve.argmax()]) % 1
    assert 0.1 < rises["RRab"] < 0.22
    assert 0.3 < rises["RRc"] < 0.5


def test_an_ea_is_flat_between_two_unequal_narrow_eclipses() -> None:
    for source in sky_of("EA", 20):
        phase = np.linspace(0, 1, 4000, endpoint=False)
        curve = magnitude(source, source["epoch"] + phase * source["period"])
        depth = curve - np.median(curve)
        assert (depth < 0.1 * source["amplitude"] + 0.05).mean() > 0.6
        primary = depth[np.abs((phase + 0.5) % 1 - 0.5) < 0.1].max()
        second = depth[np.abs(phase - 0.5) < 0.15].max()
        assert primary > 0.9 * source["amplitude"]
        assert 0 < second < primary


def test_an_ew_has_two_nearly_equal_minima_and_never_rests() -> None:
    for source in sky_of("EW", 20):
        phase = np.linspace(0, 1, 2000, endpoint=False)
        curve = magnitude(source, source["epoch"] + phase * source["period"])
        minima = (curve > np.roll(curve, 1)) & (curve > np.roll(curve, -1))
        assert minima.sum() == 2
        assert np.ptp(curve[minima]) < 0.35 * np.ptp(curve)
        quiet = np.abs(curve - curve.min()) < 0.05 * np.ptp(curve)
        assert quiet.mean() < 0.35


@pytest.mark.parametrize("kind", ["SN Ia", "SN II"])
def test_a_supernova_is_dark_rises_and_fades(kind: str) -> None:
    for source in sky_of(kind, 20):
        source["host"] = np.nan
        days = np.arange(-60, 250.0)
        flux = true_flux(source, source["epoch"] + days, G) / njy(source["magnitude"][G])
        assert flux[days < -20].max() < 1e-6
        assert 0.9 < flux.max() < 1.4
        assert abs(days[flux.argmax()]) < 6
        assert flux[days > 200].max() < 0.1
        late = flux[days > 130]
        assert (np.diff(late) < 0).all()
    assert shapes.supernova_ii(np.array([50.0]), R, 90.0) > 0.5  # the plateau


@pytest.mark.parametrize("number", [1, 2])
def test_supernovae_fade_as_those_of_the_bright_transient_survey(
    number: int, shared_data: Path
) -> None:
    """Medians of the real ones, by days from their brightest point in g."""
    real = sets.read(shared_data / "lightcurves", "ztf_bts")
    days: dict[int, list[np.ndarray]] = {G: [], R: []}
    flux: dict[int, list[np.ndarray]] = {G: [], R: []}
    for i in np.flatnonzero(real.label == number):
        rows = slice(real.first[i], real.first[i + 1])
        time, band, value = real.time[rows] / MICRODAYS, real.band[rows], real.flux[rows]
        if (band == G).sum() < 8 or (band == R).sum() < 5:
            continue
        peak = time[band == G][value[band == G].argmax()]
        away = time - peak
        if not (away[band == G].min() < -2 and away[band == G].max() > 2):
            continue
        for b in (G, R):
            near = value[(band == b) & (np.abs(away) < 6)]
            if len(near):
                days[b].append(away[band == b])
                flux[b].append(value[band == b] / near.max())
    shape = shapes.supernova_ia if number == 1 else shapes.supernova_ii
    usual = 1.0 if number == 1 else 95.0
    for b in (G, R):
        all_days, all_flux = np.concatenate(days[b]), np.concatenate(flux[b])
        for day in (10, 15, 20, 25, 30, 40, 60):
            found = float(np.median(all_flux[np.abs(all_days - day) < 2.5]))
            ours = float(shape(np.array([float(day)]), b, usual)[0])
            assert abs(ours - found) < 0.1 * found + 0.02, (b, day, found, ours)


def test_outbursts_flares_lenses_and_walks() -> None:
    for source in sky_of("CV", 10):
        curve = magnitude(source, START + np.arange(0, 400, 0.25))
        high = curve.max() - curve > 0.5 * source["amplitude"]
        assert 0.02 < high.mean() < 0.6
        assert 3 <= (np.diff(high.astype(int)) > 0).sum() <= 20
    for source in sky_of("flare", 10):
        flux = true_flux(source, START + np.arange(0, 30, 0.001), G)
        assert flux.max() > 1.5 * np.median(flux)
        assert (flux > 1.2 * np.median(flux)).mean() < 0.5
    for source in sky_of("microlensing", 10):
        days = np.linspace(-300, 300, 6001)
        ratio = true_flux(source, source["epoch"] + days, G) / njy(source["magnitude"][G])
        np.testing.assert_allclose(ratio, ratio[::-1], rtol=1e-9)
        colours = true_flux(source, source["epoch"] + days, R) / njy(source["magnitude"][R])
        np.testing.assert_allclose(ratio, colours)
        u = source["shape"][1]
        assert ratio.max() == pytest.approx((u**2 + 2) / (u * np.sqrt(u**2 + 4)))
    walk = np.concatenate([shapes.random_walk(np.arange(0, 3000.0), 100, s) for s in range(20)])
    assert 0.8 < walk.std() < 1.2
    lag = walk.reshape(20, 3000)
    one = np.mean([np.corrcoef(w[:-100], w[100:])[0, 1] for w in lag])
    assert 0.1 < one < 0.6  # exp(-1) of a damped random walk, less the mean taken out


def test_shares_of_kinds_are_honoured_and_a_wrong_kind_is_named() -> None:
    sky = draw(300, np.random.default_rng(0), START, 120)
    counts = np.bincount(sky["kind"], minlength=len(KINDS))
    for kind, share in MIX.items():
        assert abs(counts[KINDS.index(kind)] - 300 * share) <= 1
    assert set(COLOURS) == set(KINDS[:12])
    assert set(PERIODIC) < set(MIX)
    with pytest.raises(ValueError, match="no such kind of object: Quasar; there are RRab"):
        draw(3, np.random.default_rng(0), START, 10, {"Quasar": 1})


def test_a_survey_visits_at_its_depth_and_in_its_bands() -> None:
    rng = np.random.default_rng(5)
    ztf = observe(ZTF, 4, 200, START, 1, rng)
    assert (np.diff(ztf["jd_utc"]) >= 0).all()
    assert set(ztf["band"]) == {G, R}
    for band, depth in ((G, 20.6), (R, 20.4)):
        assert abs(np.median(ztf["limit"][ztf["band"] == band]) - depth) < 0.25
        assert ztf["limit"][ztf["band"] == band].std() > 0.1
    nights = len(np.unique(np.floor(ztf["mjd_tai"][ztf["area"] == 0])))
    assert 0.45 < nights / 200 < 0.7
    assert ztf["mjd_tai"] == pytest.approx(ztf["jd_utc"] - 2400000.5 + 52 / 86400, abs=1e-9)
    lsst = observe(LSST, 4, 200, START, 1, rng)
    assert set(lsst["band"]) == set(range(6))
    assert np.median(lsst["limit"][lsst["band"] == G]) > 24


def test_a_difference_is_true_minus_reference_with_the_noise_it_claims() -> None:
    rng = np.random.default_rng(3)
    exposures = observe(ZTF, 1, 2000, START, 2, rng)
    pulls, found = [], 0
    for source in sky_of("RRab", 5):
        reference = take_reference(ZTF, source, START, rng)
        mean = true_flux(source, START - np.linspace(0, 500, 20000), R).mean()
        assert reference["flux"][R] == pytest.approx(mean, rel=0.15)
        seen = watch(ZTF, exposures, source, reference, rng)
        single = seen[seen["twin"] == 0]
        bands = exposures["band"][single["exposure"]]
        total = reference["flux"][bands] + single["difference"]
        pulls.append((total - single["true"]) / single["error"])
        snr = np.abs(seen["difference"]) / seen["error"]
        assert ((snr >= 5) == (seen["id"] > 0)).all()
        found += int((seen["twin"] == 1).sum())
        pair = np.flatnonzero(seen["twin"])
        apart = 2.5 * np.log10(seen["difference"][pair] / seen["difference"][pair - 1])
        assert np.abs(apart).max() <= 0.13
        assert (seen["exposure"][pair] == seen["exposure"][pair - 1]).all()
        arcsec = 3600 * np.hypot(*(seen[c][pair] - seen[c][pair - 1] for c in ("ra", "dec")))
        assert arcsec.max() <= 0.9
    assert found > 10
    pull = np.concatenate(pulls)
    assert abs(pull.mean()) < 0.03
    assert 0.97 < pull.std() < 1.03
    assert (np.concatenate([seen["difference"] < 0]).mean()) > 0.2  # both signs
    # Faint: the sky's noise, a fifth of the limit. Bright: the floor.
    assert noise(ZTF, np.array([0.0]), 20.6)[0] == pytest.approx(njy(20.6) / 5)
    assert noise(ZTF, njy(14.0), 20.6) / njy(14.0) == pytest.approx(ZTF.floor, rel=0.1)

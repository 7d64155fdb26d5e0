from __future__ import annotations

import numpy as np
import pytest

from broker import course
from broker.asinh import magnitude, softening, tenth_mmag
from broker.records import BANDS

G, R, OTHER = (BANDS.index(band) for band in "gri")
SLOT = np.array([-1, 0, 1, -1, -1, -1, -1, -1])
SOFT = softening("ztf")[[G, R]]


def described(
    day: np.ndarray, band: np.ndarray, flux: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    flat = np.empty((2, len(course.NODES), 2), np.float32)
    numbers = np.empty(len(course.names("gr")), np.float32)
    course.describe(
        (day * 1e6).astype(np.int64),
        band.astype(np.uint8),
        flux.astype(np.float32),
        error.astype(np.float32),
        SLOT,
        SOFT,
        flat,
        numbers,
    )
    return flat, dict(zip(course.names("gr"), numbers.tolist(), strict=True))


def supernova(until: float, peak: float = 1e5, start: float = 59_000.0) -> tuple[np.ndarray, ...]:
    """A point a day in g and r, detected on the 5th day, at its peak on the 20th."""
    day = np.repeat(np.arange(0, 100.0), 2)
    band = np.tile([G, R], 100)
    width = np.where(day < 20, 6.0, 20.0)
    tint = np.where(band == G, 0.6, 1)
    flux = peak * tint * np.exp(-(((day - 20) / width) ** 2) / 2)
    keep = day <= until
    return (start + day)[keep], band[keep], flux[keep], (0.008 * peak * tint)[keep]


def test_asinh_magnitudes_are_ordinary_ones_where_the_flux_is_bright() -> None:
    soft = softening("ztf")[R]
    assert magnitude(3631e3, soft) == pytest.approx(15.0, abs=1e-3)
    assert magnitude(0.0, soft) == pytest.approx(31.4 - 2.5 * np.log10(soft))
    faint = [magnitude(f, soft) - magnitude(0.0, soft) for f in (-2 * soft, 2 * soft)]
    assert faint[0] == pytest.approx(-faint[1])
    assert faint[0] > 0.9  # negative flux is fainter than none
    assert tenth_mmag(3631e3, soft) == pytest.approx(150_000, abs=10)
    assert softening("ztf")[OTHER] > 0 == softening("ztf")[BANDS.index("y")]
    assert softening("lsst")[R] == pytest.approx(10 ** (-0.4 * (24.0 - 31.4)) / 5)


def test_the_peak_and_what_came_before_and_after_are_where_they_were_put() -> None:
    flat, numbers = described(*supernova(until=70))
    assert np.expm1(numbers["log_days_since_first"]) == pytest.approx(65, abs=0.01)
    assert np.expm1(numbers["log_days_to_peak"]) == pytest.approx(15, abs=2)
    assert np.expm1(numbers["log_days_from_limit"]) == pytest.approx(1, abs=0.01)
    assert numbers["r_magnitude_at_peak"] == pytest.approx(31.4 - 12.5, abs=0.1)
    assert numbers["g_colour_at_peak"] == pytest.approx(-2.5 * np.log10(0.6), abs=0.05)
    assert numbers["r_colour_at_peak"] == 0
    # exp(-(16 / 20)^2 / 2) is 0.35 mag, exp(-(30 / 20)^2 / 2) 1.22.
    assert numbers["r_fall_16_days"] == pytest.approx(0.35, abs=0.1)
    assert numbers["r_fall_30_days"] == pytest.approx(1.22, abs=0.2)
    assert numbers["r_slope_now"] > 0.1
    peak = list(course.NODES).index(0)
    assert flat[1, peak, 0] == pytest.approx(1, abs=0.05)
    assert flat[0, peak, 0] == pytest.approx(0.6, abs=0.05)
    assert flat[1, peak, 1] < 0.02 < 0.5 < flat[1, -1, 1]  # the last node lies in the future


def test_nothing_after_the_alert_is_known() -> None:
    """What is told at an alert is told by the points up to it, so all else may come later."""
    whole, cut = supernova(until=99), supernova(until=15)
    assert len(whole[0]) > len(cut[0])
    here, then = described(*cut), described(*(a[: len(cut[0])] for a in whole))
    np.testing.assert_array_equal(here[0], then[0])
    assert here[1] == then[1]
    assert here[1]["log_days_since_peak"] == 0
    assert here[1]["r_slope_now"] < -0.1
    assert here[1]["r_fall_16_days"] == 0


def test_days_count_from_the_object_and_shares_from_its_peak() -> None:
    near = described(*supernova(until=60))
    far = described(*supernova(until=60, start=60_123.0))
    np.testing.assert_allclose(near[0], far[0], atol=1e-6)
    faint = described(*supernova(until=60, peak=1e4))
    np.testing.assert_allclose(near[0], faint[0], atol=1e-6)
    assert faint[1]["peak_magnitude"] - near[1]["peak_magnitude"] == pytest.approx(2.5, abs=0.15)


def test_negative_flux_limits_and_other_bands_come_in_as_stated() -> None:
    day, band, flux, error = supernova(until=40)
    plain = described(day, band, flux, error)
    fifth = zip((day, band, flux, error), (day[5], OTHER, 9e9, 1.0), strict=True)
    third = described(*(np.insert(a, 5, x) for a, x in fifth))
    np.testing.assert_array_equal(plain[0], third[0])
    assert plain[1] == third[1]
    _, dimmed = described(day, band, -flux, error)
    assert (dimmed["negative_share"], dimmed["r_sign_now"]) == (1, -1)
    assert dimmed["log_days_since_first"] == plain[1]["log_days_since_first"]
    assert (plain[1]["negative_share"], plain[1]["r_sign_now"]) == (0, 1)
    # A limit ten days before the first point: flux 0, error a fifth of it.
    late = zip((day, band, flux, error), (day[20] - 10, R, 0.0, 800.0), strict=True)
    limited = described(*(np.insert(a[20:], 0, x) for a, x in late))
    assert np.expm1(limited[1]["log_days_from_limit"]) == pytest.approx(10, abs=1e-3)


def test_few_points_or_none_give_finite_numbers() -> None:
    flat, numbers = described(*(np.empty(0) for _ in range(4)))
    assert not flat.any()
    assert not any(numbers.values())
    one = [np.array([a]) for a in (59_000.0, G, 5e4, 1e3)]
    for points in (one, [np.repeat(a, 2) for a in one], [one[0], one[1], 0 * one[2], one[3]]):
        flat, numbers = described(*points)
        assert np.isfinite(flat).all()
        assert np.isfinite(list(numbers.values())).all()

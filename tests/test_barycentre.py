"""Light's way to the barycentre, against where the Sun is known to have been."""

from __future__ import annotations

import numpy as np
import pytest

from broker.barycentre import correct, delay, delays
from broker.cut import SEARCH, WANTED
from broker.grids import MICRODAYS
from broker.positions import CELL

EQUINOX = 58_928.160  #: 2020 March 20, 03:50 UT: the Sun at right ascension 0, declination 0
SOLSTICE = 59_020.905  #: 2020 June 20, 21:43 UT: at right ascension 90, declination 23.44
PERIHELION = 58_853.325  #: 2020 January 5, 07:48 UT: 0.98324 au away, at longitude 284.3
AU_S = 499.004784
#: The Sun itself is up to 5 s of light away from the barycentre.
WOBBLE_S = 5.0


def seconds(mjd: float, ra: float, dec: float) -> float:
    return 86_400 * delay(mjd, ra, dec)


@pytest.mark.parametrize(
    ("mjd", "sun", "distance"),
    [(EQUINOX, (0.0, 0.0), 0.9958), (SOLSTICE, (90.0, 23.44), 1.0162)],
)
def test_a_star_behind_us_is_seen_early_and_one_behind_the_sun_late(
    mjd: float, sun: tuple[float, float], distance: float
) -> None:
    ra, dec = sun
    assert seconds(mjd, ra + 180, -dec) == pytest.approx(distance * AU_S, abs=WOBBLE_S)
    assert seconds(mjd, ra, dec) == pytest.approx(-distance * AU_S, abs=WOBBLE_S)
    pole = seconds(mjd, 270.0, 66.56)  # of the ecliptic
    assert pole == pytest.approx(0, abs=0.05)


def test_the_earth_is_where_it_was_at_perihelion() -> None:
    """Of all places on the ecliptic the one opposite to the Sun is earliest."""
    longitude = np.radians(np.arange(0, 360, 0.1))
    ra = np.degrees(np.arctan2(np.cos(np.radians(23.44)) * np.sin(longitude), np.cos(longitude)))
    dec = np.degrees(np.arcsin(np.sin(np.radians(23.44)) * np.sin(longitude)))
    found = np.array([seconds(PERIHELION, a, d) for a, d in zip(ra, dec, strict=True)])
    assert found.max() == pytest.approx(0.98324 * AU_S, abs=WOBBLE_S)
    assert np.degrees(longitude[found.argmax()]) == pytest.approx(284.3 - 180, abs=0.9)


def test_the_sun_moves_as_jupiter_pulls() -> None:
    """Yearly means over one of its turns: some 2.5 s of light to either side, and Saturn's."""
    mjd = 55_000 + np.arange(0, 12 * 365.25, 1.0)
    yearly = delays(mjd, 0.0, 0.0)[: 12 * 365].reshape(12, 365).mean(axis=1) * 86_400
    assert 3 < np.ptp(yearly) < 8


def test_times_are_corrected_for_the_cell_of_each_alert() -> None:
    searches = np.zeros(3, SEARCH)
    searches["alert"], searches["first"], searches["points"] = [1, 0, 2], [0, 4, 7], [4, 3, 2]
    wanted = np.zeros(9, WANTED)
    mjd = 59_000 + np.arange(9) * 40.0
    wanted["time"] = mjd * MICRODAYS
    before = wanted["time"].copy()
    ra, dec = np.array([10.0, 200.04, np.nan]), np.array([5.0, -30.02, 0.0])
    correct(searches, wanted, ra, dec)
    for absurd in (1e308, np.inf, -1e9):
        kept = wanted.copy()
        kept["time"] = before
        correct(searches, kept, np.full(3, absurd), dec)
        correct(searches, kept, ra, np.full(3, absurd))
        assert (kept["time"] == before).all()
    moved = (wanted["time"] - before) / MICRODAYS
    assert moved[:4] == pytest.approx(delays(mjd[:4], 200.0, -30.0), abs=1e-6)
    assert moved[4:7] == pytest.approx(delays(mjd[4:7], 10.0, 5.0), abs=1e-6)
    assert not moved[7:].any()
    again = np.zeros(9, WANTED)
    again["time"] = before
    correct(searches, again, ra + 0.2 / 3600, dec)  # the next alert's centroid
    assert (again["time"] == wanted["time"]).all()
    near = delays(mjd, 200.04, -30.02) - delays(mjd, 200.0, -30.0)
    assert np.abs(near).max() * 86_400 < 499 * np.radians(CELL)


def test_a_short_period_is_found_sharper_over_a_year() -> None:
    """A wave of 0.1 days over two years, as it arrives here: its power before and after."""
    draw = np.random.default_rng(3)
    mjd = np.sort(59_000 + draw.uniform(0, 700, 400))
    there = mjd + delays(mjd, 120.0, 20.0)
    wave = np.exp(2j * np.pi * there / 0.1)

    def power(times: np.ndarray) -> float:
        grid = 10 + np.linspace(-1e-3, 1e-3, 201)
        return max(abs((wave * np.exp(-2j * np.pi * times * f)).mean()) for f in grid)

    assert power(there) == pytest.approx(1.0)
    assert power(mjd) < 0.98

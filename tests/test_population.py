"""A place on the sky tells of a star what the Galaxy is like there, and nothing where it is not
known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import catalogue
from models.periodic import by_survey, sets
from models.population import TERMS, Population, commoner, direction


@pytest.mark.parametrize(
    ("ra", "dec", "longitude", "latitude"),
    [
        (279.23473, 38.78369, 67.4482, 19.2373),  # Vega
        (80.8942, -69.7561, 280.4652, -32.8884),  # the Large Magellanic Cloud
        (10.68471, 41.26875, 121.1743, -21.5733),  # M 31
        (266.41683, -29.00781, 359.9442, -0.0462),  # Sagittarius A*
    ],
)
def test_directions_are_those_of_galactic_coordinates(
    ra: float, dec: float, longitude: float, latitude: float
) -> None:
    towards, above = direction(ra, dec)
    b = np.radians(latitude)
    assert towards == pytest.approx(np.cos(b) * np.cos(np.radians(longitude)), abs=1e-5)
    assert above == pytest.approx(abs(np.sin(b)), abs=1e-5)


def drawn(stars: int, seed: int) -> tuple[np.ndarray, torch.Tensor, np.ndarray]:
    """Places all over the sky, classes of which the first is of the plane; log odds of it."""
    draw = np.random.default_rng(seed)
    sky = np.stack([draw.uniform(0, 360, stars), np.degrees(np.arcsin(draw.uniform(-1, 1, stars)))])
    above = np.array([direction(*place)[1] for place in sky.T.tolist()])
    odds = 1.5 - 3 * above
    label = (draw.random(stars) > 1 / (1 + np.exp(-odds))).astype(np.int64)
    return np.ascontiguousarray(sky.T), torch.from_numpy(label), odds


def test_what_one_half_of_the_sky_teaches_is_true_of_the_other() -> None:
    sky, label, _ = drawn(40_000, 0)
    north = sky[:, 1] > 0
    population = Population(2)
    share = torch.bincount(label).float().log().expand(len(label), 2)
    population.fit(sky[north], label[north], share[north])
    there, _, odds = drawn(500, 1)
    found = commoner(there, population.weight.numpy()) + share[0].numpy()
    south = there[:, 1] < 0
    assert np.abs((found[:, 0] - found[:, 1] - odds)[south]).max() < 0.3


def test_shares_of_surveys_are_left_out_of_account() -> None:
    """One that has ten times as many of the second class teaches the same."""
    sky, label, odds = drawn(60_000, 2)
    keep = (label == 1) | (torch.arange(len(label)) % 10 == 0)
    share = torch.tensor([0.1, 1.0]).log().expand(int(keep.sum()), 2)
    population = Population(2)
    population.fit(sky[keep.numpy()], label[keep], share)
    found = commoner(sky[:500], population.weight.numpy())
    assert np.abs(found[:, 0] - found[:, 1] - odds[:500]).max() < 0.4


def test_an_unknown_place_says_nothing_and_teaches_nothing() -> None:
    sky, label, _ = drawn(3000, 3)
    several = [Population(2), Population(2)]
    sky[::3] = np.nan
    sky[1::30] = 100.0  # no declination
    known = np.isfinite(sky).all(axis=1) & (sky[:, 1] <= 90)
    share = torch.zeros(len(label), 2)
    several[0].fit(sky, label, share)
    several[1].fit(sky[known], label[known], share[known])
    assert torch.equal(several[0].weight, several[1].weight)
    places = np.array([[np.nan, 3.0], [np.inf, 0], [10.0, 91.0], [1e308, 1e308], [10.0, 9.0]])
    said = several[0](places)
    assert not said[:4].any()
    assert said[4].any()


def test_a_place_has_the_same_bits_alone_as_among_others_and_within_arc_seconds() -> None:
    sky, *_ = drawn(999, 4)
    weight = torch.randn(TERMS + 1, 7, generator=torch.Generator().manual_seed(0)).numpy()
    together = commoner(sky, weight)
    assert (together[500] == commoner(sky[500:501], weight)[0]).all()
    middle = np.round(sky, 1)
    scattered = commoner(middle + 0.3 / 3600, weight)
    assert (scattered == commoner(middle, weight)).all()


def test_either_survey_of_catalina_teaches_of_the_other_s_sky(shared_data: Path) -> None:
    """Places of the south come from numbers of its stars, of the north from names; both avoid the
    plane of the Galaxy, and in both RR Lyrae are where the other has them.
    """
    folder = shared_data / "lightcurves"
    surveys = [catalogue.read(folder, name) for name in ("crts-south", "crts-north")]
    for one, other in (surveys, surveys[::-1]):
        above = np.array([direction(*place)[1] for place in one.sky.tolist()])
        assert (above < np.sin(np.radians(5))).mean() < 0.001
        assert (above < np.sin(np.radians(15))).mean() > 0.03
        label = torch.from_numpy(other.label)
        without = torch.from_numpy(sets.proportions(other.label)).log().expand(len(other), 7)
        told = without + by_survey.settled([one])(other.sky)
        loss = [torch.nn.functional.cross_entropy(x, label).item() for x in (told, without)]
        assert loss[0] < loss[1] - 0.01

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_periodogram import nights

from broker import beside
from broker.grids import GRIDS
from broker.periodogram import rungs
from models import catalogue, intensity
from models.catalogue import Catalogue
from models.periodic import examples, sets
from models.periodic.network import CHANNEL, KNOTS


def curves(lengths: tuple[int, ...] = (90, 30, 8, 120, 60), seed: int = 0) -> Catalogue:
    rng = np.random.default_rng(seed)
    time = np.concatenate([nights(n, n) for n in lengths])
    return Catalogue(
        time=time,
        magnitude=(150_000 + 3000 * np.sin(time / 2e5) + rng.normal(0, 99, len(time))).astype("i4"),
        error=rng.uniform(0.01, 0.1, len(time)),
        first=np.cumsum([0, *lengths]),
        label=np.arange(len(lengths)) % 7,
        split=np.arange(len(lengths)),
        fingerprint=np.arange(len(lengths), dtype=np.uint32),
        sky=np.full((len(lengths), 2), np.nan),
    )


def test_examples_are_what_the_stream_will_see() -> None:
    these = curves()
    points = rungs(these.n)
    assert points.tolist() == [81, 24, 0, 116, 57]
    made = examples.make((these, points), CHANNEL)
    rows = (these.time, these.magnitude, these.error, these.first)
    expected = beside.many(*rows, points, CHANNEL)
    levels, numbers, folds = made.take(slice(1, 4)).eaten()
    np.testing.assert_array_equal(numbers, expected.numbers[1:4])
    np.testing.assert_array_equal(folds, expected.folds[1:4])
    counts = torch.from_numpy(these.counts(GRIDS[CHANNEL.grid])[1:4])
    n = torch.from_numpy(these.n[1:4])
    assert torch.equal(levels, intensity.root_rows(counts, n, made.grid))
    assert made.take(torch.tensor([3, 0])).n.tolist() == [120, 90]


def test_thinned_curves_keep_half_and_more() -> None:
    these = curves((200,) * 300)
    made, points = examples.thinned(these, np.random.default_rng(1))
    share = made.n / 200
    assert 0.4 < share.min() < 0.55
    assert 0.95 < share.max() <= 1
    assert np.isin(made.time, these.time).all()
    assert all(np.diff(made.time[made.first[i] : made.first[i + 1]]).min() > 0 for i in (0, 7))
    assert (points <= made.n).all()
    assert (points >= rungs(made.n)).all()
    assert 0.5 < (points == made.n).mean() < 0.72
    # The noise is three tenths of the errors.
    place = dict(zip(these.time[:200], these.magnitude[:200], strict=True))
    first = slice(0, int(made.first[1]))
    moved = made.magnitude[first] - [place[t] for t in made.time[first]]
    assert 0.2 < np.std(moved / made.error[first] / 1e4) < 0.4


def test_a_curve_that_would_have_too_few_points_stays_whole() -> None:
    these = curves((17,) * 200)
    made, _ = examples.thinned(these, np.random.default_rng(2))
    assert (made.n >= 16).all()
    assert (made.n == 17).mean() > 0.5


def test_cut_curves_have_every_length_that_a_periodogram_has() -> None:
    these = curves((240,) * 2000)
    made, points = examples.cut(these, np.random.default_rng(3))
    assert (made.n.min(), made.n.max()) == (16, 240)
    assert np.median(np.log(made.n)) == pytest.approx(np.log(np.sqrt(16 * 240)), abs=0.1)
    ladder = rungs(made.n)
    assert ((points == ladder) | (points == made.n)).all()
    assert 0.25 < (points == made.n).mean() < 0.5
    successive(these, made)


def test_curves_of_few_points_have_every_length_from_two() -> None:
    these = curves((240,) * 2000)
    made, points = examples.few(these, np.random.default_rng(3))
    assert set(made.n) == set(range(2, 16))
    assert 0.25 < (made.n < 4).mean() < 0.4  # as each octave comes as often
    assert not points.any()
    successive(these, made)


def test_short_curves_are_cut_as_they_can_be() -> None:
    these = curves((1, 2, 9, 15, 16) * 40)
    cut, points = examples.cut(these, np.random.default_rng(4))
    few, _ = examples.few(these, np.random.default_rng(4))
    for made in (cut, few):
        assert (made.n >= np.minimum(these.n, 2)).all()
        assert (made.n <= these.n).all()
    assert points.tolist() == [0, 0, 0, 0, 16] * 40
    assert set(cut.n[3::5]) > {2, 15}
    assert few.n.max() == 15


def successive(these: Catalogue, made: Catalogue) -> None:
    """Three in five begin with the first point, and none is left out."""
    begins = made.time[made.first[:-1]] == these.time[these.first[:-1]]
    assert 0.55 < begins.mean() < 0.75
    for i in range(50):
        times = these.time[these.first[i] : these.first[i + 1]]
        begin = np.searchsorted(times, made.time[made.first[i]])
        part = times[begin : begin + made.n[i]]
        assert part.tolist() == made.time[made.first[i] : made.first[i + 1]].tolist()


def survey(labels: list[int], first_id: int) -> Catalogue:
    """Stars that may train (crc32 0 of 5), one of which is for validation, and a test star."""
    these = curves(tuple(20 + i for i in range(len(labels))), seed=first_id)
    split = np.full(len(labels), 5)  # 5 % 5 = 0, 5 // 5 % 10 = 1: of the training part
    split[0], split[1] = 1, 50
    return replace(these, label=np.array(labels), split=split)


def test_every_star_comes_once_an_epoch_with_its_own_label_and_odds() -> None:
    south = survey([0, 0, 0, 0, 0, 1], 1)
    north = survey([1, 1, 1, 1, 0], 2)
    told: list[str] = []
    made = sets.training([south, north], 2, CHANNEL, 0, told.append)
    assert [len(several) for several in made.kinds] == [1, 2, 2, 1]
    assert made.label.tolist() == [0, 0, 0, 1, 1, 1, 0]  # neither test nor validation stars
    assert len(told) == 6
    assert told[3].startswith("inputs, one a night 1: 7 of 7 stars")
    # Of the north's three training stars two are EA, of the south's four one; one more of each.
    ratio = (np.array([2, 3]) / 10) / (np.array([4, 2]) / 11)
    assert not made.odds[:4].any()
    np.testing.assert_allclose(made.odds[4:, :2].exp(), [ratio] * 3, rtol=1e-6)
    stars, n = [], []
    for some, which in made.epoch(np.random.default_rng(0), 4):
        assert len(some) == len(which)
        stars += which.tolist()
        n += some.n.tolist()
    assert sorted(stars) == list(range(7))
    lengths = catalogue.together([c.cut(c.training, c.n[c.training]) for c in (south, north)]).n
    assert all(k <= lengths[star] for star, k in zip(stars, n, strict=True))
    again = [which for _, which in made.epoch(np.random.default_rng(0), 4)]
    assert torch.cat(again).tolist() == stars


def test_stars_come_with_few_points_cut_anew_in_each_epoch() -> None:
    made = sets.training([survey([0, 1, 2], 1)], 1, CHANNEL, 0, lambda _: None)
    begins: dict[int, set[tuple[float, ...]]] = {}
    epochs = 400
    for epoch in range(epochs):
        for some, _ in made.epoch(np.random.default_rng(epoch), 8):
            for n, numbers in zip(some.n.tolist(), some.numbers.tolist(), strict=True):
                begins.setdefault(n, set()).add(tuple(numbers))
    few = {n: several for n, several in begins.items() if n < 16}
    assert set(few) == set(range(2, 16))
    assert sum(len(several) for several in few.values()) > 40  # a copy would have shown itself
    assert all(len(several) <= 6 for n, several in begins.items() if n >= 16)


def test_validation_stars_are_whole_and_after_each_number_of_points() -> None:
    south = replace(survey([3, 2, 1, 0], 1), split=np.array([50, 5, 1, 50]))
    made = sets.validation(south, CHANNEL)
    assert made.label.tolist() == [3, 0]
    assert made.whole.n.tolist() == [20, 23]
    short = [[k, k] for k in KNOTS[:4] for _ in range(4)]
    assert [c.n.tolist() for c in made.cut] == short + [[20, 23]] * 12
    log_points = len(CHANNEL.scalars)
    assert made.whole.numbers[:, log_points].exp().tolist() == pytest.approx([20, 23])
    assert made.cut[-1].numbers[:, log_points].exp().tolist() == pytest.approx([16, 16])


def test_sets_joined_stand_one_behind_the_other() -> None:
    one = examples.make((curves((20, 30)), np.array([0, 0])), CHANNEL)
    two = examples.join([one, one.take(torch.tensor([1]))])
    assert two.n.tolist() == [20, 30, 30]
    assert torch.equal(two.eaten()[0][2], one.eaten()[0][1])

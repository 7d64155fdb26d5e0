from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from broker.records import BANDS
from models import metrics
from models.training import Epoch
from models.transients import curves, examples, figures, fit, inputs
from models.transients.augment import Fates, augment
from models.transients.curves import Curves
from models.transients.fit import Recipe, Sets

EYE = examples.EYES["ztf"]
SMALL = Recipe(3, batch=64, hidden=32, mean_decay=0.9)
HALVES = np.array([0.5, 0.5, 0, 0, 0])


def supernovae(objects: int = 300, seed: int = 0) -> Curves:
    """Every other one fades four times as slowly and is red: classes 1 and 2."""
    draw = np.random.default_rng(seed)
    mjd, band, flux, error, off = [], [], [], [], [0]
    for i in range(objects):
        n = int(draw.integers(20, 40))
        day = np.sort(draw.uniform(-20, 80, n))
        b = draw.integers(1, 3, n)
        width = np.where(day < 0, 5, 10 if i % 2 == 0 else 40)
        peak = 2e5 * np.where(b == 1, 1.0 if i % 2 == 0 else 0.6, 1.0)
        mjd.append(59_000 + day)
        band.append(b)
        flux.append(peak * np.exp(-((day / width) ** 2) / 2) + draw.normal(0, 4e3, n))
        error.append(np.full(n, 4e3))
        off.append(off[-1] + n)
    columns = [np.concatenate(a) for a in (mjd, band, flux, error)]
    split = draw.integers(0, 1 << 32, objects)
    label = 1 + np.arange(objects) % 2
    return curves.from_points(*columns, np.array(off), split, label)


def known(these: Curves, count: int = 256) -> Sets:
    """Epochs of these; others tell how it went, and calibrate."""
    pool = examples.pool([(these, 1.0)], HALVES)
    others = supernovae(100, seed=7)
    whole = others, examples.places(others)
    return Sets(examples.epochs(pool, count), HALVES, HALVES, whole, examples.cuts(others))


def test_inputs_hold_every_pair_and_every_number() -> None:
    these = supernovae(5)
    made = inputs.make(these, EYE)
    assert tuple(made.images.shape[1:]) == EYE.shapes[0]
    for b, band in enumerate("gr"):
        n = np.array([(these.band[a:z] == BANDS.index(band)).sum() for a, z in zip(
            these.first[:-1], these.first[1:], strict=True)])  # fmt: skip
        inside = made.images[:, b].sum((1, 2)).numpy()
        assert (inside <= n * (n - 1) // 2).all()
        assert (inside > 0.5 * n * (n - 1) / 2).all()  # not those of one night, nor 6 mag apart
    alone = inputs.make(these.take(np.array([3])), EYE)
    for name in ("images", "course", "numbers"):
        assert torch.equal(getattr(alone, name)[0], getattr(made, name)[3])


def test_a_fate_is_what_it_says() -> None:
    these = supernovae(40)
    none = np.zeros(40)
    same = Fates(none + 1, none, none, none + 1, none + np.inf)
    draw = np.random.default_rng(0)
    kept = augment(these, draw, same)
    np.testing.assert_array_equal(kept.time, these.time)
    np.testing.assert_array_equal(kept.flux, these.flux)

    dim = augment(these, draw, replace(same, dim=none + 0.5))
    assert (dim.error == these.error).all()
    change = (dim.flux - 0.5 * these.flux) / these.error
    assert change.std() == pytest.approx(np.sqrt(0.75), abs=0.05)
    noisy = augment(these, draw, replace(same, noise=none + 0.5))
    assert noisy.error[0] == pytest.approx(np.sqrt(1.25) * these.error[0])
    thin = augment(these, draw, replace(same, lost=none + 0.3))
    assert len(thin.time) == pytest.approx(0.7 * len(these.time), rel=0.1)

    start = curves.first_detection(these)
    slow = augment(these, draw, replace(same, stretch=none + 2))
    first = these.first[:-1]
    assert (slow.time[first] - start == 2 * (these.time[first] - start)).all()
    cut = augment(these, draw, replace(same, days=none + 10))
    assert (cut.n == these.until(10).n).all()
    assert (cut.n < these.n).all()


def test_a_network_learns_and_the_same_seed_gives_the_same_weights_resumed_or_not(
    tmp_path: Path,
) -> None:
    sets = known(supernovae())
    told: list[Epoch] = []
    recipe = replace(SMALL, epochs=8)
    whole = fit.fit(sets, EYE, recipe, 1, progress=told.append)
    assert [e.number for e in told] == list(range(1, 9))
    assert told[-1].validation_loss < 0.2 < told[0].validation_loss
    assert told[-1].validation_accuracy > 0.95
    fresh = supernovae(100, seed=9)
    p = fit.probabilities(whole, inputs.make(fresh, EYE))
    assert (p.argmax(1) == examples.places(fresh)).mean() > 0.95

    class Stop(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Stop

    path = tmp_path / "half.safetensors"
    with pytest.raises(Stop):
        fit.fit(sets, EYE, recipe, 1, "cpu", stop, path)
    resumed: list[Epoch] = []
    half = fit.fit(sets, EYE, recipe, 1, "cpu", resumed.append, path)
    assert [e.number for e in resumed] == [4, 5, 6, 7, 8]
    other = fit.fit(sets, EYE, recipe, 2)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, half.state_dict()[name])
    assert not torch.equal(whole.head.weight, other.head.weight)
    with pytest.raises(ValueError, match="is of another training"):
        fit.fit(sets, EYE, recipe, 2, checkpoint=path)


def test_what_is_drawn_in_equal_shares_is_named_in_the_skys() -> None:
    these = supernovae()
    sets = known(these, 128)
    drawn, place = sets.draw(np.random.default_rng(0))
    assert len(drawn) == len(place) == 128
    assert place.mean() == pytest.approx(0.5, abs=0.15)
    sky = replace(sets, proportions=np.array([0.9, 0.1, 0, 0, 0]))
    made = inputs.make(these, EYE)
    even, odd = (fit.fit(s, EYE, replace(SMALL, epochs=1), 0).raw(made) for s in (sets, sky))
    change = (odd[:, 0] - odd[:, 1]) - (even[:, 0] - even[:, 1])
    np.testing.assert_allclose(change.detach().exp(), 9, rtol=1e-3)


def test_it_is_calibrated_by_objects_that_training_did_not_see() -> None:
    """To the network they are clear; their classes are thrown, so it must say half and half."""
    sets = known(supernovae())
    curves, place = sets.cut
    assert (curves.n >= 2).all()
    assert curves.detected.all()
    assert (np.bincount(curves.n)[[5, 10]] >= 80).all()  # as they were after five points, after ten
    thrown = np.random.default_rng(0).integers(0, 2, len(place))
    recipe = replace(SMALL, epochs=6)
    honest, fooled = (
        fit.fit(s, EYE, recipe, 0) for s in (sets, replace(sets, cut=(curves, thrown)))
    )
    made = inputs.make(supernovae(100, seed=9).first_points(20), EYE)
    assert torch.equal(honest.raw(made), fooled.raw(made))
    assert fit.probabilities(honest, made).max(1).mean() > 0.8
    np.testing.assert_allclose(fit.probabilities(fooled, made)[:, :2], 0.5, atol=0.2)


def test_what_training_never_saw_is_strange() -> None:
    net = fit.fit(known(supernovae(), 300), EYE, replace(SMALL, epochs=6), 0)
    fresh = supernovae(100, seed=9)
    assert figures.strangeness(net, fresh).mean() == pytest.approx(0.5, abs=0.2)
    flashes = replace(fresh, flux=(fresh.flux * np.where(fresh.time % 2, -3, 2)).astype(np.float32))
    assert figures.unseen(net, fresh, flashes) > 0.8


def test_rare_classes_are_named_more_readily_with_tau() -> None:
    p, prior = np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([0.8, 0.2])
    assert metrics.adjusted(p, prior, 0).tolist() == pytest.approx(p)
    even = metrics.adjusted(p, prior, 1)
    np.testing.assert_allclose(even[:, 1], [0.4 / 0.2 / (0.6 / 0.8 + 2), 0.5 / (0.9 / 0.8 + 0.5)])
    three = figures.three(np.array([[0.2, 0.1, 0.3, 0.1, 0.3]]))
    np.testing.assert_allclose(three, [[0.2 / 0.7, 0.2 / 0.7, 0.3 / 0.7]])

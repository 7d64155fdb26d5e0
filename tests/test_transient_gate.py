from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_transient_cards import write
from test_transient_training import supernovae

from broker.records import BANDS
from models import curve_files, examine, train
from models.stars import Stars, folded, read_stars, swings
from models.transients import carry, examples, fit, gate, inputs, variables
from models.transients.curves import Curves

U, G, R, I_ = (BANDS.index(band) for band in "ugri")


def stars(count: int = 60, kind: int = 1, amplitude: float = 0.5) -> Stars:
    """Sines of periods around half a day."""
    phase = np.tile(np.arange(0, 1, 0.01), count)
    return Stars(
        phase,
        amplitude * np.sin(2 * np.pi * phase),
        np.arange(count + 1) * 100,
        np.linspace(0.4, 0.6, count),
        np.full(count, 15.0),
        np.full(count, kind),
        np.arange(count).astype(np.str_),
        np.arange(count),
    )


def paired(sky: Stars, seed: int = 0) -> tuple[Curves, Curves, np.ndarray]:
    lenders = supernovae(200)
    lenders = lenders.rows(lenders.flux >= 5 * lenders.error)
    return variables.pairs(lenders, sky, np.arange(len(sky)), "ztf", np.random.default_rng(seed))


def test_a_pair_has_the_same_times_and_all_of_the_variables_points_alert() -> None:
    alike, others, kind = paired(stars())
    assert len(alike) == len(others) == len(kind) > 100
    for name in ("time", "band", "first"):
        assert np.array_equal(getattr(alike, name), getattr(others, name))
    assert (np.abs(others.flux) >= 5 * others.error).all()
    assert (alike.n >= 2).all()
    assert set(alike.label) == {1}
    assert set(others.label) == {0}
    assert 0.05 < (kind == 0).mean() < 0.3  # active nuclei
    assert 0.3 < (others.flux < 0).mean() < 0.7  # brighter than its reference as often as fainter
    peaks = [np.maximum.reduceat(np.abs(c.flux), c.first[:-1]) for c in (alike, others)]
    assert np.median(np.log(peaks[1] / peaks[0])) == pytest.approx(0, abs=0.15)


def test_a_star_repeats_with_its_period_and_swings_more_in_g() -> None:
    """Points of one phase have one magnitude; RR Lyrae swing by 1.15 in g and 0.85 in r."""
    one = stars(1)
    period = one.period[0]
    mjd = 59_000 + period * np.concatenate([np.arange(20), np.arange(20) + 0.5])
    lender = supernovae(1)
    lender = Curves(
        np.rint(mjd * 1e6).astype(np.int64), np.full(40, R, np.uint8), np.zeros(40, np.uint8),
        np.full(40, 1e6, np.float32), np.full(40, 1.0, np.float32), np.array([0, 40]),
        lender.label, lender.split,
    )  # fmt: skip
    change = folded(
        lender.time, lender.first, one.phase, one.magnitude, one.first,
        np.array([0]), one.period, np.array([0.25]),
    )  # fmt: skip
    np.testing.assert_allclose(change[:20], 0.5, atol=0.01)
    np.testing.assert_allclose(change[20:], -0.5, atol=0.01)
    swing = swings(np.array([1, 5, 8]))
    assert swing[0, [G, R]].tolist() == [1.15, 0.85]
    assert swing[1, [G, R]].tolist() == [1, 1]
    assert swing[2, G] > 1 > swing[2, I_]


def test_a_star_that_would_saturate_stays_faint_and_does_not_alert() -> None:
    _, others, kind = paired(stars(amplitude=1e-4))
    assert (kind == 0).all()  # nuclei alone
    assert len(others)


def test_a_blind_gate_is_shown_the_same_twice() -> None:
    alike, others, _ = paired(stars())
    alike, others = (these.first_points(5) for these in (alike, others))
    curves, label = gate.both(*gate.blinded(alike, others))
    made = inputs.make(curves, examples.EYES["ztf"])
    half = len(alike)
    assert label.tolist() == [1] * half + [0] * half
    for name in ("images", "course", "numbers"):
        column = getattr(made, name)
        assert torch.equal(column[:half], column[half:])
    seen, _ = gate.both(alike, others)
    assert (seen.n <= 5).all()
    made = inputs.make(seen, examples.EYES["ztf"])
    assert not torch.equal(made.course[:half], made.course[half:])


def test_a_gate_tells_stars_from_supernovae(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PAIRS", 300)
    monkeypatch.setattr(gate, "CALIBRATE", 200)
    monkeypatch.setattr(gate, "RECIPE", replace(gate.RECIPE, epochs=4, batch=64, mean_decay=0.9))
    these, sky = supernovae(200), stars(100)
    t = np.concatenate(
        [54_000 + sky.period[i] * (np.arange(100) + sky.phase[:100]) for i in range(100)]
    )
    np.savez(
        tmp_path / "crts_south.npz", t=t, m=15 + sky.magnitude, off=sky.first,
        ids=np.arange(100), lab=sky.kind, period=sky.period,
    )  # fmt: skip
    write(tmp_path, these)
    read = read_stars(tmp_path)
    assert read.period.tolist() == sky.period.tolist()
    assert (np.diff(read.phase[:100]) >= 0).all()
    card = train.train(tmp_path, tmp_path / "a", "gate-ztf", device="cpu")
    assert card.classes == ("variable", "transient")
    assert card.class_ids == (2300, 2200)
    assert card.channel.kinds == ("detection",)
    area = {m["points"]: m["auc"] for m in card.measured}
    assert area[10] > 0.9
    blind = gate.read_sky(tmp_path, "ztf", blind=True)
    net = fit.fit(gate.learned(blind, 0), examples.EYES["ztf"], replace(gate.RECIPE, epochs=1), 0)
    assert {score.auc for score in gate.scores(net, blind, 1)} == {0.5}
    supernova = curve_files.read(tmp_path / "ztf_bts.npz")
    with pytest.raises(ValueError, match="gate-ztf on: it tells variable, transient, not SN Ia"):
        examine.examine(card, supernova, "transients", "all", "cpu")


def test_curves_are_carried_to_other_bands_times_and_depths() -> None:
    these = supernovae(50)
    bluer = carry.shifted(these, 1, "ug")
    assert set(bluer.band) == {U, G}
    assert (bluer.time == these.time).all()
    assert carry.shifted(these, 1, "g").n.sum() == (these.band == R).sum()
    slow = carry.hurried(these, np.full(50, 2.0))
    span = [c.time[c.first[1:] - 1] - c.time[c.first[:-1]] for c in (these, slow)]
    np.testing.assert_allclose(span[1], 2 * span[0], atol=1)

    peak = np.linspace(17, 19, 50)
    seen = carry.seen_by(these, "ztf", peak, np.random.default_rng(0))
    assert seen.n.sum() < these.n.sum()
    assert (seen.flux >= 3.99 * seen.error).all()
    made = 31.4 - 2.5 * np.log10(carry.brightest(seen))
    np.testing.assert_allclose(made, peak, atol=0.35)
    faint = carry.seen_by(these, "ztf", peak + 3, np.random.default_rng(0))
    assert len(carry.worth(faint, 4, 6)) < len(carry.worth(seen, 4, 6))
    # An object without points stays one.
    none = these.rows(these.time < 0)
    assert carry.seen_by(none, "ztf", peak, np.random.default_rng(0)).n.sum() == 0

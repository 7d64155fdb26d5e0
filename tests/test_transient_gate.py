from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_transient_cards import write
from test_transient_generators import nights
from test_transient_training import supernovae

from broker import taxonomy
from broker.records import BANDS
from models import cards, curve_files, examine, train
from models.stars import Stars, folded, read_stars, swings
from models.transients import carry, examples, fit, gate, groups, inputs, reality, variables
from models.transients.curves import Curves
from models.transients.network import TransientNet

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


def lenders(objects: int = 200) -> Curves:
    return gate.alerting(supernovae(objects))


def drawn(sky: Stars | None = None, seed: int = 0) -> groups.Groups:
    sky = sky or stars()
    draw = np.random.default_rng(seed)
    return groups.draw_groups(lenders(), sky, np.arange(len(sky)), "ztf", draw)


def test_members_of_a_group_have_the_same_times_and_alert_at_each() -> None:
    made = drawn()
    assert len(made.members) == len(groups.CLASSES)
    assert 100 < len(made) < 200
    assert (made.n >= 2).all()
    assert np.median(made.n) >= 5
    for these in made.members:
        for name in ("time", "band", "first"):
            np.testing.assert_array_equal(getattr(these, name), getattr(made.members[-1], name))
        assert (np.abs(these.flux) >= 4.99 * these.error).all()
    assert [set(these.label) for these in made.members] == [{k} for k in range(4)]
    below = {c: (m.flux < 0).mean() for c, m in zip(groups.CLASSES, made.members, strict=True)}
    assert 0.3 < below["periodic"] < 0.7  # brighter than its reference as often as fainter
    assert 0.3 < below["AGN"] < 0.7
    assert below["supernova"] == 0
    cv = made.members[groups.CLASSES.index("CV")]
    under = np.add.reduceat(cv.flux < 0, cv.first[:-1], dtype=np.int64)
    # Where the reference is quiescence it is never below, else in half of the alerts and more.
    assert (under == 0).mean() == pytest.approx(groups.QUIET, abs=0.15)
    assert below["CV"] > 0.15
    peaks = [np.maximum.reduceat(np.abs(m.flux), m.first[:-1]) for m in made.members]
    for k, c in enumerate(groups.CLASSES[:-1]):
        brighter = np.median(np.log(peaks[k] / peaks[-1]))
        assert brighter == pytest.approx(groups.BRIGHTER[c][0], abs=0.35)
    again = drawn()
    np.testing.assert_array_equal(again.members[2].flux, made.members[2].flux)


def test_groups_are_cut_together() -> None:
    made = drawn()
    after = made.after(5)
    assert set(after.n) == {5}
    assert len(after) == (made.n >= 5).sum() == len(after.kind)
    assert made.after(0) is made
    curves, label = after.examples()
    assert (curves.n == 5).all()
    assert label.tolist() == np.repeat(np.arange(4), len(after)).tolist()


def test_families_of_stars_have_their_shares_and_candidates_are_alike() -> None:
    some = stars(600)
    kind = np.repeat([1, 5, 7, 8], [300, 240, 57, 3])
    some = replace(some, kind=kind)
    star = variables.choose(some, np.arange(600), 2000, np.random.default_rng(0), 4)
    families = kind[star].reshape(-1, 4)
    assert (families == families[:, :1]).all()
    found = [(families[:, 0] == k).mean() for k in (1, 5, 7, 8)]
    wanted = [share for _, share in variables.FAMILIES.values()]
    np.testing.assert_allclose(found, wanted, atol=0.03)  # three red giants of 600 are 30 %
    alone = variables.choose(some, np.arange(300), 50, np.random.default_rng(0))
    assert (kind[alone] == 1).all()


def test_a_red_giants_change_is_red_and_its_reference_was_taken_at_another_phase() -> None:
    slow = replace(stars(300, variables.LPV), period=np.linspace(200, 400, 300))
    times = nights(300, 40)
    draw = np.random.default_rng(0)
    light = variables.generate(times, draw, slow, np.arange(300))
    change = light.change.reshape(300, 40, 2)
    ratio = np.median(change[:, :, 0] / change[:, :, 1], axis=1)
    assert np.median(-2.5 * np.log10(ratio[ratio > 0])) > 0.7  # r changes by far more light
    # It moves in one direction for weeks, above or below what the reference holds.
    alike = (np.sign(change[:, :, 1]) == np.sign(change[:, :1, 1])).mean()
    assert alike > 0.85
    middle = np.median(light.behind.reshape(300, 40, 2)[:, 0, 1])
    quick = variables.generate(times, draw, stars(300), np.arange(300))
    spread = [x.behind.reshape(300, -1, 2)[:, 0, 1].std() for x in (light, quick)]
    assert spread[0] > 1.5 * spread[1]
    assert middle == pytest.approx(1.0, abs=0.2)
    white = -2.5 * np.log10(quick.behind.reshape(300, 40, 2)[:, 0])
    assert 0.1 < np.median(white[:, 0] - white[:, 1]) < 0.45  # RR Lyrae


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


def test_a_star_that_would_saturate_stays_faint() -> None:
    faint = stars(amplitude=1e-4)
    these = lenders()
    light = variables.generate(these, np.random.default_rng(0), faint, np.zeros(200, np.int64))
    flux, error, found = variables.observe(these, light, "ztf", np.random.default_rng(0))
    assert found.mean() < 0.01
    assert len(drawn(faint)) < 5
    total = np.median(np.sqrt(error.astype(float) ** 2 - variables.sky_error(these, "ztf") ** 2))
    assert total < 0.03 * 10 ** (-0.4 * (variables.SATURATES["ztf"] - 31.4))
    assert np.isfinite(flux).all()


def test_a_blind_gate_is_shown_all_classes_alike() -> None:
    made = drawn().first_points(5)
    curves, label = gate.blinded(made, "ztf").examples()
    inside = inputs.make(curves, examples.EYES["ztf"])
    assert label.max() == len(groups.CLASSES) - 1
    for name in ("images", "course", "numbers"):
        first, *others = getattr(inside, name).split(len(made))
        assert all(torch.equal(first, other) for other in others)
    inside = inputs.make(made.examples()[0], examples.EYES["ztf"])
    first, *others = inside.course.split(len(made))
    assert not any(torch.equal(first, other) for other in others)


def test_what_recurs_is_a_sum_and_pairs_of_classes_are_measured_each() -> None:
    assert groups.CLASSES[: len(groups.RECURRING)] == groups.RECURRING
    ids = [taxonomy.IDS[name] for name in groups.CLASSES]
    assert ids == [2320, 2332, 2234, 2220]
    for name in groups.CLASSES:
        above = {"Recurring", "Non-Recurring"} & set(taxonomy.lineage(name))
        assert above == {"Recurring" if name in groups.RECURRING else "Non-Recurring"}
    p = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.6, 0.1], [0.1, 0.1, 0.3, 0.5]], np.float32)
    np.testing.assert_allclose(gate.recurring(p), [0.7, 0.3, 0.2], atol=1e-6)
    areas = gate.pairs(p, np.array([0, 2, 3]))
    assert len(areas) == 6
    assert areas["periodic", "supernova"] == areas["CV", "supernova"] == 1
    assert areas["periodic", "CV"] == 1
    assert np.isnan(areas["AGN", "CV"])


def test_a_gate_tells_stars_from_supernovae(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PLACES", 300)
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
    assert card.classes == groups.CLASSES
    assert card.class_ids == (2320, 2332, 2234, 2220)
    assert card.assumes == (0.25,) * 4
    assert card.channel.kinds == ("detection",)
    after = {m["points"]: m for m in card.measured}
    assert after[5]["auc"] > 0.8
    assert 0.5 < after[5]["hardest"] < after[5]["auc"]
    assert len(after[5]["recall"]) == 4
    assert np.mean(after[5]["recall"]) == pytest.approx(after[5]["balanced"], abs=1e-3)
    kept = cards.read(tmp_path / "a" / "gate-ztf.toml")
    assert kept.measured[0]["recall"] == list(card.measured[0]["recall"])
    blind = gate.read_sky(tmp_path, "ztf", blind=True)
    net = fit.fit(gate.learned(blind, 0), examples.EYES["ztf"], replace(gate.RECIPE, epochs=1), 0)
    for score in gate.scores(net, blind, 1):
        assert (score.auc, score.hardest) == (0.5, 0.5)
    supernova = curve_files.read(tmp_path / "ztf_bts.npz")
    with pytest.raises(ValueError, match="gate-ztf on: it tells periodic, AGN, CV, supernova"):
        examine.examine(card, supernova, "transients", "all", "cpu")


def test_real_magnitudes_are_held_against_what_the_star_is_like_when_quiet(tmp_path: Path) -> None:
    """Half a dozen stars of 18 mag, each fifth night one of 15 mag, four points a night."""
    night = np.repeat(np.arange(60), 4)
    m = np.where(night % 5 == 0, 15.0, 18.0)
    t = 54_000 + night + np.tile([0.0, 0.01, 0.02, 0.03], 60)
    np.savez(
        tmp_path / "crts_transients.npz", t=np.tile(t, 6), m=np.tile(m, 6),
        e=np.full(6 * len(t), 0.05), b=np.zeros(6 * len(t), np.uint8),
        off=np.arange(7) * len(t), ids=np.arange(6).astype(str), lab=np.full(6, 8),
    )  # fmt: skip
    these = reality.read(tmp_path, "crts_transients")
    assert these.n.tolist() == [12] * 6  # one of each bright night
    assert set(these.band) == {R}
    expected = 10 ** (-0.4 * (15 - 31.4)) - 10 ** (-0.4 * (18 - 31.4))
    np.testing.assert_allclose(these.flux, expected, rtol=1e-4)
    net = TransientNet(examples.EYES["ztf"], 4, 16)
    with torch.no_grad():
        net.head.bias.add_(torch.tensor([50.0, 0, 0, 0]))  # it calls all periodic
    found = list(reality.ask(net, tmp_path, "crts_transients"))
    assert [(f.kind, f.name, f.alerts, f.objects) for f in found] == [
        ("CV", "CV", alerts, 6) for alerts in (3, 5, 10, 0)
    ]
    assert all(f.named.sum() == pytest.approx(1) for f in found)
    assert found[0].right == found[0].named[2] == 0
    assert found[0].named[0] == 1


def test_curves_are_carried_to_other_bands_and_depths() -> None:
    these = supernovae(50)
    bluer = carry.shifted(these, 1, "ug")
    assert set(bluer.band) == {U, G}
    assert (bluer.time == these.time).all()
    assert carry.shifted(these, 1, "g").n.sum() == (these.band == R).sum()

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

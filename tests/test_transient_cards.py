"""Networks of transients as networks of the house: trained by name, carded, asked of files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import nightjar
from safetensors.torch import load
from test_transient_training import SMALL, supernovae

from broker.records import BANDS
from models import cards, crts, curve_files, examine, seen, train
from models.cards import Card
from models.domain import Unless
from models.studies import transients_report
from models.studies.transients import Study
from models.transients import figures, fit, gate, groups, inputs, naming
from models.transients import train as transients
from models.transients.curves import Curves
from models.transients.network import of

NAME = "transients-ztf"


def write(folder: Path, these: Curves, name: str = "ztf_bts") -> Path:
    """A file of magnitudes in g and r; what is fainter than its error is as bright as that."""
    flux = np.maximum(these.flux, these.error)
    path = folder / f"{name}.npz"
    np.savez(
        path, t=these.time / 1e6, b=(these.band == BANDS.index("r")).astype(np.uint8),
        m=31.4 - 2.5 * np.log10(flux), e=1.0857 * these.error / flux, off=these.first,
        ids=np.array([f"ZTF{i}" for i in range(len(these))]), lab=these.label,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card]:
    folder = tmp_path_factory.mktemp("transients")
    write(folder, supernovae(400))
    bright = supernovae(60, seed=5)
    slow = replace(bright, time=4 * bright.time, label=0 * bright.label + 5)
    path = write(folder, slow, "slsn")
    with np.load(path) as file:  # bands ugrizy
        arrays = dict(file)
    np.savez(path, **arrays | {"b": arrays["b"] + 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transients, "RECIPES", {"ztf": replace(SMALL, epochs=8)})
        patch.setattr(transients, "PER_EPOCH", 512)
        return folder, train.train(folder, folder / "a", NAME, device="cpu")


def test_the_study_asks_of_each_object_a_network_that_did_not_see_it(
    trained: tuple[Path, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained
    monkeypatch.setattr(transients, "RECIPES", {"ztf": SMALL})
    monkeypatch.setattr(transients, "PER_EPOCH", 512)
    said: list[str] = []
    results = Study(folder, epochs=2, say=said.append).run(tmp_path, ["bts"])
    assert list(results) == ["bts"]
    assert said == ["bts (1 of 10)", *(f"  fifth {k}" for k in range(1, 6))]
    found = results["bts"]["0.0"]
    assert found["objects"] == 400
    assert found["accuracy"] > 0.7
    assert found["low"] < found["macro_f1"] < found["high"]
    (section,) = transients_report.sections(results)
    assert section.tables[1].rows[0][0] == "SN Ia"
    Study(folder, epochs=2, say=said.append).run(tmp_path, ["bts"])
    assert len(said) == 6  # kept


def test_the_report_of_gates_stands_beside_real_sources() -> None:
    """Results as `parts.run` gives them, which adds how long each took."""
    score = {"auc": 0.9, "hardest": 0.8, "recall": [0.1, 0.2, 0.3, 0.4], "giants": 0.5, "ece": 0.02}
    asked = {"kind": "blazar", "name": "AGN", "alerts": 3, "objects": 47, "named": [0.1, 0.9, 0, 0]}
    results = {
        "gate/ztf": {"seeing": {"3": score}, "blind": {"3": score | {"auc": 0.5}}, "seconds": 2.0},
        "gate/ztf/real": {"crts_transients": [asked], "seconds": 0.5},
    }
    gates, real = transients_report.sections(results)
    names = [row[1] for row in gates.tables[0].rows]
    assert [name for name in names if "worst" not in name] == ["seeing", "blind"]
    assert gates.tables[0].rows[0][2] == "0.900"
    (row,) = real.tables[0].rows
    assert row[:4] == ("gate-ztf", "crts_transients", "blazar", "AGN")
    assert "90" in row[4]
    assert row[5] == ""


def test_a_card_says_what_it_is(trained: tuple[Path, Card]) -> None:
    folder, card = trained
    read = cards.read(folder / "a" / f"{NAME}.toml")
    assert replace(read, measured=card.measured) == card
    assert {p.suffix for p in (folder / "a").iterdir()} == {".toml", ".safetensors", ".seen"}
    assert (card.network, card.channel.survey, card.channel.bands) == ("transient", "ztf", "gr")
    assert card.domain == {"ztf": (Unless(tuple(crts.DOMAIN["ztf"])),)}
    assert sum(card.training["proportions"]) == pytest.approx(1, abs=1e-3)
    assert [(m["points"], m["days"]) for m in card.measured] == [
        *((0, 0), (5, 0), (10, 0), (20, 0)), *((0, 5), (0, 15)),
    ]  # fmt: skip
    whole, *_, five_days, _ = card.measured
    assert whole["accuracy"] > 0.9
    assert whole["log_loss_gain"] > five_days["log_loss_gain"]
    files = [curve_files.read(folder / f"{name}.npz") for name in ("ztf_bts", "slsn")]
    used = [file.fingerprints[file.split % 5 != 1] for file in files]
    assert set(seen.read(card).tolist()) == set(np.concatenate(used).tolist())  # type: ignore[union-attr]


def test_its_weights_alone_make_the_network_again(trained: tuple[Path, Card]) -> None:
    _, card = trained
    state = load(cards.weights(card))
    net = of(state, card.channel, len(card.classes))
    made = inputs.make(supernovae(50, seed=9), net.eye)
    assert not torch.equal(net(made), net.raw(made))  # calibrated
    p = fit.probabilities(net, made)
    coarse = of(state, card.channel, len(card.classes))
    coarse.body.to(torch.bfloat16)
    assert coarse(made).dtype == torch.float32
    np.testing.assert_allclose(fit.probabilities(coarse, made), p, atol=0.03)
    with pytest.raises(RuntimeError, match="size mismatch"):
        of(state, replace(card.channel, bands="gri"), len(card.classes))
    with pytest.raises(ValueError, match=r"is not the file that transients-ztf\.toml describes"):
        cards.weights(replace(card, weights_sha256="0"))


def test_it_is_asked_of_files_by_their_first_points(trained: tuple[Path, Card]) -> None:
    folder, card = trained
    path = folder / "ztf_bts.npz"
    file = curve_files.read(path)
    result = examine.examine(card, file, "transients", device="cpu")
    assert "that training did not see; it saw" in result.used
    for answer, measured in zip(result.answers, card.measured, strict=False):
        assert answer.points == measured["points"]
        assert answer.metrics is not None
        assert answer.metrics.accuracy == pytest.approx(measured["accuracy"])
    namer = naming.Transients(card, file, "cpu")
    n = np.full(len(file), 8)
    p = namer(n)
    short = naming.Transients(card, file.rows(np.arange(len(file)), n), "cpu")
    np.testing.assert_array_equal(p, short(n))  # no later point leaks in
    assert np.isnan(namer(np.ones_like(n))).all()
    done = nightjar(
        "evaluate", str(path), "--model", str(card.weights.with_suffix(".toml")), "--json",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert table["macro_f1"] == pytest.approx(card.measured[0]["macro_f1"])


def test_bands_that_it_has_not_are_left_out_and_fluxes_below_5_sigma_are_no_detections(
    trained: tuple[Path, Card],
) -> None:
    folder, card = trained
    file = curve_files.read(folder / "ztf_bts.npz")
    p = naming.Transients(card, file, "cpu")(np.diff(file.off))
    # The same objects in microjansky, with i beside: only g and r enter, and only what alerts.
    flux = 10 ** (-0.4 * (file.value - 23.9))
    rows = np.repeat(np.arange(len(file.t)), 2)
    off, odd = 2 * file.off, np.arange(2 * len(file.t)) % 2 == 1
    forced = replace(
        file, path=Path("tde_ztf.npz"), flux=True, t=file.t[rows], off=off,
        value=flux[rows].astype(np.float32), b=np.where(odd, 2, file.b[rows]).astype(np.uint8),
        e=(flux * file.e / 1.0857)[rows].astype(np.float32),
    )  # fmt: skip
    bright = file.e < 0.2
    fewer = naming.Transients(card, forced, "cpu")(np.diff(off))
    owner = np.repeat(np.arange(len(file)), np.diff(file.off))
    all_bright = np.bincount(owner[~bright], minlength=len(file)) == 0
    assert 0 < all_bright.sum() < len(file)
    np.testing.assert_allclose(fewer[all_bright], p[all_bright], atol=1e-3)
    entering = naming.Transients(card, forced, "cpu").curves.entering(card.channel)
    assert {BANDS[band] for band in np.unique(entering.band)} == {"g", "r"}
    assert (np.abs(entering.flux) >= 5 * entering.error).all()
    assert 0 < len(entering.time) < len(file.t)
    u_alone = replace(forced, path=Path("mallorn.npz"), b=forced.b * 0)
    assert np.isnan(naming.Transients(card, u_alone, "cpu")(np.diff(off))).all()
    with pytest.raises(ValueError, match=r"expected m \(magnitude\), it holds f"):
        naming.Transients(card, replace(forced, path=Path("ztf_bts.npz")), "cpu")
    with pytest.raises(LookupError, match="its bands are not known"):
        naming.Transients(card, replace(forced, path=Path("some.npz")), "cpu")


def test_a_file_is_asked_of_who_knows_most_of_its_classes_and_can_eat_it(tmp_path: Path) -> None:
    """Nine nuclei and a supernova of each of two types: the gates know the nuclei alone."""
    some = supernovae(11)
    nuclei = replace(some, label=np.array([1, 2, *9 * [7]]))
    file = curve_files.read(write(tmp_path, nuclei, "mallorn_like_ztf_bts"))
    assert examine.best_known(cards.shipped(), file, "transients").name.startswith("transients-")
    elsewhere = replace(file, path=tmp_path / "crts_transients.npz", lab=np.array([10, *10 * [7]]))
    found = examine.best_known(cards.shipped(), elsewhere, "transients")
    assert found.channel.photometry == "total"  # of what bands it has its name does not tell


def test_the_network_of_the_files_survey_is_the_best_known(trained: tuple[Path, Card]) -> None:
    folder, card = trained
    file = curve_files.read(folder / "ztf_bts.npz")
    other = replace(card, inputs=replace(
        card.inputs, channels=(replace(card.channel, survey="lsst", bands="griz"),)
    ), measured=[{"accuracy": 1.0}])  # fmt: skip
    for several in ([card, other], [other, card]):
        assert examine.best_known(several, file, "transients") is card
        snpcc = replace(file, path=Path("snpcc_fifth.npz"))
        assert examine.best_known(several, snpcc, "transients") is other


def test_its_set_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ztf_bts\.npz: no such file"):
        train.train(tmp_path, tmp_path, NAME)


SHIPPED = [card for card in cards.shipped() if card.network == "transient"]


@pytest.mark.parametrize("card", [c for c in SHIPPED if "SN Ia" in c.classes], ids=lambda c: c.name)
def test_a_shipped_network_names_supernovae_it_never_saw(shared_data: Path, card: Card) -> None:
    folder = shared_data / "lightcurves"
    file = curve_files.read(folder / f"{gate.LENDERS[card.channel.survey]}.npz")
    whole = next(naming.scores(card, file, "cpu"))
    assert whole.accuracy == pytest.approx(card.measured[0]["accuracy"], abs=0.005)
    assert whole.ece < 0.05
    if card.channel.survey == "ztf":
        assert whole.macro_f1 > 0.55
        return
    net = of(load(cards.weights(card)), card.channel, len(card.classes))
    three = figures.snpcc(net, figures.snpcc_test(folder))
    for days, least in ((5, 0.64), (15, 0.77), (None, 0.84)):
        assert three[days].macro_f1 > least
    assert three[None].auc[0] > 0.988


@pytest.mark.parametrize("card", [c for c in SHIPPED if "supernova" in c.classes])
def test_a_shipped_gate_is_right_after_ten_alerts(card: Card) -> None:
    assert card.classes == groups.CLASSES
    after = {m["points"]: m for m in card.measured}
    assert after[10]["auc"] > 0.96
    assert after[3]["auc"] > 0.9
    assert after[10]["hardest"] > 0.85
    assert min(after[10]["recall"]) > 0.7
    assert after[10]["giants"] > 0.78
    assert after[10]["ece"] < 0.04

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import nightjar
from test_train import sky

from models import bands, cards, curve_files, examine, metrics, seen, train
from models.cards import Card


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card]:
    folder = tmp_path_factory.mktemp("examine")
    sky(folder)
    return folder, train.train(folder, folder, "crts-rows", 1, 1, "cpu")


def rewritten(source: Path, path: Path, **other: Any) -> Path:
    with np.load(source) as file:
        np.savez(path, **{**{name: file[name] for name in file.files}, **other})
    return path


def test_what_training_saw_does_not_count_wherever_it_stands(trained: tuple[Path, Card]) -> None:
    folder, card = trained
    path = folder / "crts_south.npz"
    with np.load(path) as file:
        ids = file["ids"]
    fifth = [zlib.crc32(str(i).encode()) % 5 == 1 for i in ids]
    unseen = examine.examine(card, curve_files.read(path), "crts-south", device="cpu")
    assert unseen.answers[0].objects == sum(fifth)
    assert f"it saw {420 - sum(fifth)} of this file" in unseen.used

    # Other names and another order are no other stars; a moved point is another star.
    file = curve_files.read(rewritten(path, folder / "renamed.npz", ids=ids + 10_000))
    back = file.take(np.arange(len(file))[::-1])
    again = examine.examine(card, back, "crts-south", device="cpu")
    assert again.answers[0].objects == sum(fifth)
    new = curve_files.read(path)
    new.t[:] += 1
    everything = examine.examine(card, new, "crts-south", device="cpu")
    assert everything.answers[0].objects == 420
    assert "it saw 0 of this file" in everything.used

    # The other ways to choose say what they are; a card without a list leaves the rule of names.
    told = {
        split: examine.examine(card, file, "crts-south", split, "cpu") for split in ("test", "all")
    }
    assert told["all"].answers[0].objects == 420
    assert f"seen in training: {420 - sum(fifth)}" in told["all"].used
    assert 0 < told["test"].answers[0].objects < 420
    silent = replace(card, training={})
    ruled = examine.examine(silent, curve_files.read(path), "crts-south", device="cpu")
    assert ruled.answers[0].objects == sum(fifth)
    assert "the card does not tell" in ruled.used


def test_a_list_that_is_not_the_cards_is_refused(
    trained: tuple[Path, Card], tmp_path: Path
) -> None:
    _, card = trained
    other = replace(card, weights=tmp_path / "other.safetensors")
    seen.write(other.weights, np.array([5, 3], np.uint32))
    with pytest.raises(ValueError, match=r"other\.seen is not the list that crts-rows\.toml"):
        seen.read(other)


@pytest.mark.parametrize("card", cards.shipped(), ids=lambda card: card.name)
def test_shipped_cards_tell_what_training_saw(card: Card) -> None:
    fingerprints = seen.read(card)
    assert fingerprints is not None
    assert len(fingerprints) > 1000


def test_figures_are_those_of_first_points_by_class(trained: tuple[Path, Card]) -> None:
    folder, card = trained
    file = curve_files.read(folder / "crts_south.npz")
    result = examine.examine(card, file, "crts-south", "all", "cpu")
    assert [a.points for a in result.answers] == [0, 5, 10, 20, 50]  # none has 100
    assert result.answers[4].objects == (np.diff(file.off) >= 50).sum()
    n = np.minimum(np.diff(file.off), 10)
    p = bands.stars(card, file, "cpu")(n)
    short = bands.stars(card, file.rows(np.arange(len(file)), n), "cpu")(n)
    np.testing.assert_array_equal(p, short)  # no later point leaks in
    label = np.array([card.classes.index({5: "EW", 2: "RRc"}[k]) for k in file.lab.tolist()])
    assert metrics.measure(p, label).accuracy == result.answers[2].metrics.accuracy
    table = result.to_dict()
    assert table["points"]["10"]["recall"]["EW"] == result.answers[2].metrics.recall[0]
    assert table["accuracy"] == result.answers[0].metrics.accuracy


def test_bands_are_fused_and_few_points_say_nothing(trained: tuple[Path, Card]) -> None:
    folder, card = trained
    one = curve_files.read(folder / "crts_south.npz")
    n = np.diff(one.off)
    whole = bands.stars(card, one, "cpu")(n)
    # The same points twice, as two bands: each says the same, and so do both.
    rows = np.repeat(np.arange(len(one.t)), 2)
    two = replace(
        one,
        t=one.t[rows],
        value=one.value[rows],
        e=one.e[rows],
        b=np.tile(np.array([0, 1], np.uint8), len(one.t)),
        off=2 * one.off,
    )
    np.testing.assert_allclose(bands.stars(card, two, "cpu")(2 * n), whole, atol=1e-5)
    # Five points, of which one band has three: that band is not heard.
    five = bands.stars(card, two, "cpu")(np.full(len(n), 9))
    np.testing.assert_allclose(five, bands.stars(card, one, "cpu")(np.full(len(n), 5)), atol=1e-5)
    assert np.isnan(bands.stars(card, two, "cpu")(np.full(len(n), 8))).all()


def test_as_a_command(trained: tuple[Path, Card]) -> None:
    folder, _ = trained
    south = folder / "crts_south.npz"
    with np.load(south) as file:
        ids, lab, t = file["ids"], file["lab"].copy(), file["t"]
    lab[:30] = 9
    odd = rewritten(south, folder / "odd.npz", lab=lab, t=t + 3)
    card = str(folder / "crts-rows.toml")
    done = nightjar(
        "evaluate", "--data", str(odd), "--labels", "crts-south", "--model", card, "--json",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert table["labels_from"] == "by --labels"
    assert table["unknown"] == {"delta Scuti": 30}
    assert table["objects"] == len(ids) - 30
    assert set(table["points"]) == {"5", "10", "20", "50"}
    for figures in (table, *table["points"].values()):
        assert {"accuracy", "balanced_accuracy", "macro_f1", "ece", "recall"} <= set(figures)

    # Northern numbers mean other classes: 5 is RRc there, 2 EA. In words, with the usual network.
    north = rewritten(odd, folder / "crts_north.npz")
    done = nightjar("evaluate", str(north), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "class numbers of crts-north, by the file's name" in done.stdout
    assert "390 of 420 objects: that training did not see; it saw 0" in done.stdout
    assert "left out, as crts-periodic 1 does not know their class: 30 anom" in done.stdout

    done = nightjar("evaluate", str(odd), cwd=folder)
    assert done.returncode == 2
    assert "does not tell whose class numbers" in done.stderr


def test_what_cannot_be_evaluated_is_refused_in_words(trained: tuple[Path, Card]) -> None:
    folder, card = trained
    file = replace(curve_files.read(folder / "crts_south.npz"), flux=True)
    with pytest.raises(ValueError, match=r"crts-rows eats total magnitudes \(m\)"):
        examine.examine(card, file, "crts-south", "all", "cpu")
    with pytest.raises(ValueError, match="no object to evaluate crts-rows on: it tells EW, EA"):
        examine.examine(card, file, "transients", "all", "cpu")
    with pytest.raises(ValueError, match="does not state the class proportions"):
        examine.examine(replace(card, training={}), file, "crts-south", "all", "cpu", tau=0.5)
    with pytest.raises(ValueError, match="no shipped network knows a class of it"):
        examine.best_known([card], file, "crts-south")  # it could not eat fluxes
    file = replace(file, flux=False)
    few = replace(file, lab=np.where(file.lab == 2, 2, 3))
    blind = replace(card, classes=("TDE",))
    with pytest.raises(ValueError, match=r"no shipped network knows a class of it \(SN II, SN Ib"):
        examine.best_known([blind], few, "transients")
    assert examine.best_known([blind, card], file, "crts-south") is card
    better = replace(card, measured=[{"accuracy": 1.1}])
    for some in ([card, better], [better, card]):
        assert examine.best_known(some, file, "crts-south") is better

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import nightjar
from test_train import sky

from models import (
    bands,
    cards,
    catalogue,
    curve_files,
    evaluate,
    examine,
    forward,
    population,
    train,
)
from models.cards import Card
from models.catalogue import SEVEN
from models.fusion import CRTS, PLACES, Fusion
from models.periodic import alike
from models.periodic import train as periodic
from models.periodic.fit import Recipe
from models.training import Epoch

NAME = "crts-periodic"
EPOCHS = 16  # of one step each
ALL = 2 * (EPOCHS // 2) + EPOCHS  # two teachers' before


def skies(folder: Path) -> None:
    """A northern survey, with its own class numbers, and a southern one; EW are near the plane of
    the Galaxy (in Cygnus), RRc about its pole.
    """
    for name, objects, seed in (("crts_north", 60, 5), ("crts_south", 160, 3)):
        sky(folder, objects, seed)
        with np.load(folder / "crts_south.npz") as file:
            stars = {key: file[key] for key in file.files}
        of_plane = stars["lab"] == 5
        off = np.random.default_rng(seed).uniform(-15, 15, (2, objects))
        stars["ra"], stars["dec"] = np.where(of_plane, 305.0, 193.0), np.where(of_plane, 40.0, 27.0)
        stars["ra"], stars["dec"] = stars["ra"] + off[0], stars["dec"] + off[1]
        if name == "crts_north":
            stars["lab"] = np.where(of_plane, 1, 5)
        np.savez(folder / f"{name}.npz", **stars)


def train_on_little(patch: pytest.MonkeyPatch) -> None:
    """Of few stars in few nights, each band of one a light curve."""
    recipe = Recipe(copies=1, alike=30, threads=1)  # others' tests run beside
    patch.setitem(train.NETWORKS, NAME, partial(periodic.train, recipe))
    patch.setattr(alike, "NIGHTS", 90)
    patch.setattr(alike, "AREAS", 20)
    patch.setattr(periodic, "_TEST_ELSEWHERE", 10)


@pytest.fixture(scope="module", autouse=True)
def few_of_other_surveys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        train_on_little(patch)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Card, list[Epoch]]:
    folder = tmp_path_factory.mktemp("periodic")
    skies(folder)
    told: list[Epoch] = []
    words: list[str] = []
    out = folder / "a"
    card = train.train(folder, out, NAME, EPOCHS, 1, "cpu", told.append, say=words.append)
    assert any(w.startswith("inputs, cut 1: ") for w in words)
    assert any(w.startswith("last layer for 5 points, from ") for w in words)
    return folder, card, told


def test_it_learns_and_writes_a_card(trained: tuple[Path, Card, list[Epoch]]) -> None:
    folder, card, told = trained
    assert [(e.number, e.of) for e in told] == [(i, ALL) for i in range(1, ALL + 1)]
    assert told[-1].validation_loss < told[0].validation_loss
    losses = [e.validation_loss for e in told]
    first = [losses[0], losses[EPOCHS // 2], losses[EPOCHS]]  # of each network
    assert len(set(first)) == 3
    assert min(first) > max(losses[EPOCHS // 2 - 1], losses[EPOCHS - 1])
    read = cards.read(folder / "a" / f"{NAME}.toml")
    assert read.inputs == card.inputs
    assert read.channel.periodogram
    assert not {"mean_magnitude", "log_mean_error"} & set(read.channel.scalars)
    whole, streamed, five, *_ = read.measured
    assert (whole["points"], whole["ladder"]) == (0, False)
    assert (streamed["points"], streamed["ladder"]) == (0, True)
    assert (five["points"], five["ladder"]) == (5, True)
    assert whole["accuracy"] > 0.9
    surveys = [m["survey"] for m in read.measured if m["points"] == 0 and not m["nightly"]]
    assert surveys == ["survey", "survey", "ztf-like", "lsst-like"]
    assert whole["log_loss_gain"] > 0
    assert sum(read.training["proportions"]) == pytest.approx(1, abs=1e-3)


def test_the_same_seed_gives_the_same_weights_resumed_or_not(
    trained: tuple[Path, Card, list[Epoch]],
) -> None:
    folder, card, _ = trained

    class Enough(Exception):
        pass

    out, told = folder / "b", list[Epoch]()

    def stop(last: int, epoch: Epoch) -> None:
        told.append(epoch)
        if epoch.number == last:
            raise Enough

    for last in (2, EPOCHS // 2, EPOCHS + 2):  # in a teacher, between two, behind both
        with pytest.raises(Enough):
            train.train(folder, out, NAME, EPOCHS, 1, "cpu", partial(stop, last))
        assert [p.name for p in out.iterdir()] == [f"{NAME}.checkpoint"]
    with pytest.raises(ValueError, match=r"crts-periodic\.checkpoint is of another training"):
        train.train(folder, out, NAME, EPOCHS, 2, "cpu")
    again = train.train(folder, out, NAME, EPOCHS, 1, "cpu", told.append)
    assert [e.number for e in told] == list(range(1, ALL + 1))
    assert again.weights_sha256 == card.weights_sha256
    assert {p.suffix for p in out.iterdir()} == {".toml", ".safetensors", ".seen", ".typical"}


@pytest.fixture(scope="module")
def fusion(trained: tuple[Path, Card, list[Epoch]]) -> Fusion:
    return forward.prepare(trained[1], "cpu", (16,)).fusion


def test_what_bands_say_together_is_calibrated_for_each_survey(fusion: Fusion) -> None:
    ztf, lsst, elasticc, other, crts = fusion.factor
    assert (ztf != 1).any()
    assert (lsst != ztf).any()
    assert (crts != ztf).any()
    assert (elasticc == lsst).all()
    assert (other == 1).all()
    assert not fusion.shift[PLACES.index("")].any()


def test_where_stars_stand_counts_for_catalina_alone(
    trained: tuple[Path, Card, list[Epoch]], fusion: Fusion
) -> None:
    folder, card, _ = trained
    ztf, lsst, elasticc, other, crts = fusion.place
    assert crts.any()
    assert not np.stack([ztf, lsst, elasticc, other]).any()
    names = [SEVEN.index(name) for name in ("EW", "RRc")]
    cygnus, pole = population.commoner(np.array([[305.0, 40.0], [193.0, 27.0]]), fusion.population)
    assert np.subtract(*cygnus[names]) > 1
    assert np.subtract(*pole[names]) < -1
    file = curve_files.read(folder / "crts_south.npz")
    elsewhere = replace(file, sky=np.roll(file.sky, 1, axis=0))  # every other star is of a class
    true = catalogue.known(file, "crts-south", SEVEN)
    few = np.full(len(file), 3)
    right = []
    for each in (file, elsewhere):
        namer = bands.stars(card, each, "cpu", CRTS)
        assert namer.placed == len(file)
        p = namer(few)
        right.append(p[np.arange(len(p)), true].mean())
    assert right[0] > right[1] + 0.05
    assert bands.stars(card, file, "cpu", "ztf").placed == 0


def test_a_catalogue_s_stars_are_asked_each_with_its_own_place(
    trained: tuple[Path, Card, list[Epoch]],
) -> None:
    folder, card, _ = trained
    south = catalogue.read(folder)
    network = forward.prepare(card, "cpu", (256,), survey=CRTS)
    objects = np.random.default_rng(0).integers(0, len(south), 400)  # more than one batch
    said = evaluate.predict(network, south, objects, np.full(400, 3))
    file = curve_files.read(folder / "crts_south.npz")
    alone = bands.stars(card, file, "cpu", CRTS)(np.full(len(file), 3))
    np.testing.assert_allclose(said, alone[objects], atol=1e-5)


def test_catalina_s_few_points_have_a_last_layer_of_their_own(
    trained: tuple[Path, Card, list[Epoch]],
) -> None:
    _, card, _ = trained
    layers = forward.load_network(card).by_survey
    assert list(layers) == ["crts"]
    layer = layers["crts"]
    assert all(layer.weight[knot].any() for knot in range(6))  # 2 to 10 points
    assert not layer.weight[-1].any()


def test_it_is_asked_of_files_by_what_a_stream_would_have(
    trained: tuple[Path, Card, list[Epoch]],
) -> None:
    folder, card, _ = trained
    file = curve_files.read(folder / "crts_south.npz")
    n = np.minimum(np.diff(file.off), 30)
    stars = bands.stars(card, file, "cpu")
    p = stars(n)
    short = bands.stars(card, file.rows(np.arange(len(file)), n), "cpu")
    np.testing.assert_array_equal(p, short(n))  # no later point leaks in
    assert (p != stars(n, ladder=False)).any()  # 24 of 30 points
    path = str(folder / "a" / f"{NAME}.toml")
    south = str(folder / "crts_south.npz")
    done = nightjar("evaluate", south, "--model", path, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert table["accuracy"] == pytest.approx(card.measured[0]["accuracy"])
    readily = examine.examine(card, file, "crts-south", device="cpu", tau=1.0).answers[0].metrics
    honest = examine.examine(card, file, "crts-south", device="cpu").answers[0].metrics
    assert readily.log_loss > honest.log_loss  # five classes that are not there are no rarer now
    assert table["points"]["5"]["accuracy"] == pytest.approx(card.measured[2]["accuracy"])


def test_both_surveys_must_be_there(tmp_path: Path) -> None:
    sky(tmp_path, 40)
    with pytest.raises(FileNotFoundError, match=r"crts_north\.npz: no such file"):
        train.train(tmp_path, tmp_path, NAME)

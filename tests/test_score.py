"""`nightjar score`: labels against what objects are, by hand and from a replay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker.packets import Shares, Simulation, write
from broker.records import REASONS
from models import cards, tree_cards
from models.cards import Card
from workers import cli
from workers.diff.answers import ANSWER, Answers
from workers.replay import to_parquet
from workers.score import score, truth
from workers.settings import Classify, Settings

NAN = float("nan")


def answers(classes: str, *said: tuple[str, int, str, tuple[float, ...]]) -> Answers:
    """Of (object, detections, reason, probabilities), an alert each; words are classes."""
    rows = np.zeros(len(said), ANSWER)
    rows["object"] = [name.encode() for name, *_ in said]
    rows["alert_id"] = np.arange(len(said))
    rows["detections"] = [n for _, n, *_ in said]
    rows["reason"] = [REASONS.index(reason) for *_, reason, _ in said]
    names = tuple(classes.split("/"))
    table = np.array([p or (NAN,) * len(names) for *_, p in said], np.float32)
    return Answers(rows, names, table)


def test_each_label_counts_once_where_its_light_curve_stood() -> None:
    found = score.of(
        answers(
            "EW/RRab",
            ("a", 3, "none", (0.6, 0.4)),
            ("a", 7, "none", (0.3, 0.7)),
            ("a", 8, "none", (0.9, 0.1)),
            ("b", 6, "none", (0.2, 0.8)),
            ("b", 120, "too_few_points", ()),
            ("c", 9, "none", (0.5, 0.5)),
            ("d", 9, "none", (0.5, 0.5)),
        ),
        {b"a": "EW", b"b": "RRab", b"c": "SN Ia"},
        "x 1",
    )
    one, five, ten, *_, more = found.by_detections
    assert (one.known, one.named, one.accuracy) == (1, 1, 1.0)
    assert (five.known, five.named, five.accuracy) == (3, 3, pytest.approx(2 / 3))
    assert five.said == pytest.approx(0.8)
    assert (ten.known, np.isnan(ten.accuracy)) == (0, True)
    assert (more.known, more.named) == (1, 0)
    assert (found.whole.known, found.whole.named) == (5, 4)
    assert found.whole.accuracy == pytest.approx(3 / 4)
    assert found.recall == {"EW": (3, pytest.approx(2 / 3)), "RRab": (1, 1.0)}
    assert found.others == {"SN Ia": (1, 1)}
    words = score.text(found)
    assert "SN Ia" in words
    assert "66.7%" in words


def test_an_answer_that_stops_higher_in_the_tree_is_held_against_that() -> None:
    found = score.of(
        answers(
            "RR Lyrae/RRab/RRc",
            ("a", 5, "none", (0.0, 0.7, 0.3)),
            ("b", 5, "none", (0.0, 0.4, 0.6)),
            ("c", 5, "none", (1.0, 0.0, 0.0)),
        ),
        {b"a": "RRab", b"b": "RRab", b"c": "RRab"},
        "x 1",
    )
    assert found.whole.named == 3
    assert found.recall == {"RR Lyrae": (1, 1.0), "RRab": (2, 0.5)}


def test_of_a_tree_what_was_not_shared_out_is_held_against_the_root() -> None:
    said = answers(
        "AGN/EW/periodic",
        ("a", 5, "none", (0.2, 0.8, 0.0)),
        ("a", 5, "none", (0.3, 0.0, 0.7)),
        ("a", 5, "none", (0.6, 0.0, 0.4)),
        ("b", 5, "none", (0.6, 0.0, 0.4)),
    )
    found = score.of(said, {b"a": "EW", b"b": "AGN"}, "x 1", grows={"EW": "periodic"})
    assert found.recall == {"AGN": (1, 1.0), "EW": (1, 1.0), "periodic": (2, 0.5)}
    assert np.isnan(found.whole.ece_restated)


def test_probabilities_for_other_proportions_are_restated() -> None:
    """Said 1/2 each where classes are even; here nine of ten are of the first."""
    said = [(f"o{i}", 5, "none", (0.5, 0.5)) for i in range(200)]
    kinds = {f"o{i}".encode(): "EW" if i % 10 else "RRab" for i in range(200)}
    given = {"ztf": {"EW": 0.5, "RRab": 0.5}}
    found = score.of(answers("EW/RRab", *said), kinds, "x 1", given)
    assert found.whole.ece == pytest.approx(0.4, abs=1e-6)
    assert found.whole.ece_restated == pytest.approx(0.0, abs=1e-6)


def test_of_a_tree_each_class_is_restated_where_its_answer_ended() -> None:
    """Said 0.8 periodic, and of that 3/4 EW; here half are periodic, and of these a half EW."""
    grows = {"EW": "periodic", "RRab": "periodic"}
    given = {"ztf": {"AGN": 0.2, "periodic": 0.8, "EW": 0.6, "RRab": 0.2}}
    split, whole = (0.2, 0.6, 0.2, 0.0), (0.2, 0.0, 0.0, 0.8)
    said = [(f"o{i}", 5, "none", split if i < 200 else whole) for i in range(400)]
    kinds = ["AGN", "AGN", "EW", "RRab"]
    found = score.of(
        answers("AGN/EW/RRab/periodic", *said),
        {f"o{i}".encode(): kinds[i % 4] for i in range(400)},
        "x 1",
        given,
        grows,
    )
    assert found.whole.ece == pytest.approx(0.35 * 0.5 + 0.3 * 0.5, abs=1e-6)
    assert found.whole.ece_restated == pytest.approx(0.0, abs=1e-6)
    elsewhere = {"lsst": given["ztf"]}
    found = score.of(
        answers("AGN/EW/RRab/periodic", *said), {b"o1": "AGN"}, "x 1", elsewhere, grows
    )
    assert np.isnan(found.whole.ece_restated)


def test_what_a_label_assumes_of_a_class_is_its_share_of_the_roots() -> None:
    sky, stars, supernovae = (
        tree_cards.find(name) for name in ("sky", "crts-periodic", "transients-ztf")
    )
    given = tree_cards.assumed(sky, "ztf")
    assert given["periodic"] == pytest.approx(0.6)
    assert isinstance(stars, Card)
    assert isinstance(supernovae, Card)
    for card, root in ((stars, 0.6), (supernovae, 0.2)):
        own = [given[name] for name in card.classes]
        np.testing.assert_allclose(own, root * np.array(card.assumes) / sum(card.assumes))
    assert "EW" not in tree_cards.assumed(sky, "elasticc")
    assert sum(tree_cards.assumed(stars, "ztf").values()) == pytest.approx(1)
    unstated = replace(stars, training={})
    assert tree_cards.assumed(unstated, "ztf") == {}


def test_labels_of_a_night_whose_truth_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    night = Simulation("ztf", 24, 60, 5, cutouts=False, shares=Shares(0.02, 0.02, 0, 0, 0))
    write(night, tmp_path / "night")
    to_parquet(
        Settings(classify=Classify(models=("crts-rows",), device="cpu")),
        ["night"],
        [],
        Path("n.parquet"),
    )
    assert cli.run(["score", "night/truth.parquet", "n.parquet", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = pq.read_table(tmp_path / "n.parquet").to_pylist()
    kinds = {r["object"]: r["kind"] for r in pq.read_table("night/truth.parquet").to_pylist()}
    last = {(r["object"], r["alert_id"]): r for r in rows}.values()
    named = [
        r for r in last if r["class"] and kinds[r["object"]] in cards.find("crts-rows").classes
    ]
    right = [r["class"] == kinds[r["object"]] for r in named]
    assert said["classifier"] == "crts-rows 1"
    assert said["whole"]["named"] == len(named) > 100
    assert said["whole"]["accuracy"] == pytest.approx(np.mean(right))
    assert said["whole"]["ece_restated"] != said["whole"]["ece"]
    assert sum(row["known"] for row in said["by_detections"]) == said["whole"]["known"]
    assert cli.run(["score", "night/truth.parquet", "n.parquet"]) == 0
    assert f"{np.mean(right):.1%}" in capsys.readouterr().out


def test_a_truth_that_says_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("object,type\nZTF1,RRab\nZTF2,\n")
    assert truth.read(Path("a.csv")) == {b"ZTF1": "RRab"}
    Path("b.csv").write_text("name,type\nZTF1,RRab\n")
    Path("c.csv").write_text("object,class\nZTF1,Quasar?\n")
    pq.write_table(pa.table({"object": ["x"], "kind": ["EW"]}), "d.parquet")
    for path, words in (
        ("none.csv", "none.csv: no such file"),
        ("b.csv", "expected columns object and kind or class or type; it has name, type"),
        ("c.csv", "no kind is one that `nightjar taxonomy` prints; it has Quasar?"),
        ("d.parquet", "n.parquet: no such file"),
    ):
        assert cli.run(["score", path, "n.parquet"]) == 1
        assert words in capsys.readouterr().err

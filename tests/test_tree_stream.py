"""A tree on a stream, with a network on trial beside: restarted, traced, compared and replayed."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from streams import publish
from test_classifiers import Stream, ids

from broker.packets import Shares, Simulation, write
from models import tree_cards
from workers import classifiers, replay, topics
from workers.diff.diff import diff
from workers.labels import Wanted, read_labels
from workers.local_kafka import LocalKafka
from workers.settings import Classify, Settings
from workers.trace.trace import trace

NIGHT = Simulation("ztf", 16, 40, 12, cutouts=False, shares=Shares(0.02, 0.02, 0, 0, 0))


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_a_sky_that_no_network_saw_is_told_apart_at_the_root(survey: str, tmp_path: Path) -> None:
    """Of alerts of ten detections and more. A gate of SNPCC's nights alone finds a third of LSST's
    supernovae, one that takes each reference for quiescence a twentieth of its dwarf novae.
    """
    mix = {"RRab": 2, "EW": 2, "LPV": 1, "CV": 1, "AGN": 1, "SN Ia": 2, "SN II": 2}
    night = Simulation(
        survey, 66, 90, 3, cutouts=False, shares=Shares(0, 0, 0, 0, 0), mix=mix
    )  # fmt: skip
    write(night, tmp_path / "night")
    settings = Settings(classify=Classify(device="cpu"))
    replay.to_parquet(settings, [str(tmp_path / "night")], [], tmp_path / "labels.parquet")
    truth = pq.read_table(tmp_path / "night" / "truth.parquet").to_pylist()
    kinds = {row["object"]: row["kind"] for row in truth}
    card = tree_cards.find("sky")
    grows = tree_cards.roots(card)
    right: dict[str, list[bool]] = {}
    named: dict[str, list[str]] = {"SN Ia": [], "SN II": []}
    for row in pq.read_table(tmp_path / "labels.parquet").to_pylist():
        if row["n_detection"] >= 10 and row["class"]:
            sums = dict.fromkeys(card.root.classes, 0.0)
            for name, root in grows.items():
                sums[root] += row[f"p_{name}"]
            if kinds[row["object"]] in named and row["n_detection"] >= 20:
                named[kinds[row["object"]]].append(row["class"])
            kind = grows[kinds[row["object"]]]
            right.setdefault(kind, []).append(max(sums, key=sums.__getitem__) == kind)
    found = {kind: sum(these) / len(these) for kind, these in right.items()}
    assert found["periodic"] > 0.95
    assert found["supernova"] > 0.85
    assert found["CV"] > 0.7
    assert found["AGN"] > 0.35  # of six
    for names in named.values():  # of a class with one in a hundred; it was a quarter of LSST's Ia
        assert names.count("SLSN") < 0.05 * len(names)
    assert named["SN II"].count("SN II") > 0.6 * len(named["SN II"])


def test_a_tree_labels_a_stream_as_one_network_does(
    kafka: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    card = tree_cards.find("sky")
    assert isinstance(card, tree_cards.TreeCard)
    first = card.root.classes[0]
    prior = tuple(f"sky.{name}={1 + (name == first)}" for name in card.root.classes)
    classify = Classify(("sky",), ("crts-periodic",), prior=prior, device="cpu")
    stream = Stream(kafka, namespace, tmp_path, classify)
    assert classifiers.of(stream.settings).inputs == card.inputs
    values = [value for value, _, _ in NIGHT.packets()]
    every = NIGHT.truth()["alert_id"].to_pylist()
    half = len(values) // 2
    publish(kafka.bootstrap, stream.survey, values[:half], 1)
    try:
        stream.start("decode", "curves", "classify", "shadow")
        stream.wait_for("sky", half)
        stream.stop()
        publish(kafka.bootstrap, stream.survey, values[half:], 1)
        stream.start("decode", "curves", "classify", "shadow")
        for name in ("sky", "crts-periodic"):
            stream.wait_for(name, len(every))
    finally:
        stream.stop()
        stream.ledger.close()
    stream.closed()
    rows = stream.labels()["sky 1"]
    assert ids(rows) == sorted(every)
    assert {row["weights_hash"] for row in rows} == {card.weights_sha256}
    share = 2 / (len(card.root.classes) + 1)
    assert all(f" assumes={first}:{share:.4g}," in row["classifierParams"] for row in rows)
    assert stream.labels(topics.SHADOW).keys() == {"crts-periodic 1"}
    named = [row for row in rows if row["reason"] == "none"]
    assert len(named) > len(rows) / 2

    # Asked for by a class at the root: what it shares out.
    branches = tree_cards.branches()
    for name in branches:
        found = list(read_labels(stream.settings, Wanted(name, 0.5, branches=branches)))
        within = {name, *branches[name]}
        wanted = [
            row["alertId"]
            for row in named
            if sum(c["probability"] for c in row["classes"] if c["name"] in within) > 0.5
        ]
        assert sorted(row["alertId"] for row in found) == sorted(wanted)
    (seen,) = trace(stream.settings, str(named[0]["alertId"]))
    assert {row["classifier"] for row in seen["labels"]} == {"sky 1", "crts-periodic 1"}
    compared = diff(stream.settings, "sky", "crts-periodic", 3, 0.02).row()
    assert compared["both"] == len(every)

    # A replay of the same packets, where it saw the same points: the same bits.
    write(NIGHT, tmp_path / "night")
    out = tmp_path / "again.parquet"
    replay.to_parquet(stream.settings, [str(tmp_path / "night")], [], out)
    again = {row["alert_id"]: row for row in pq.read_table(out).to_pylist()}
    same = 0
    for row in named:
        its = again[row["alertId"]]
        assert its["classifier"] == "sky 1"
        if its["points_hash"] == row["points_hash"]:
            assert {c["name"]: c["probability"] for c in row["classes"]} == {
                name: its[f"p_{name}"] for name in card.classes
            }
            same += 1
    assert same > 0.9 * len(named)
    alike = diff(stream.settings, "sky", f"{out}:sky", 3, 0.02)
    assert alike.good


@pytest.mark.parametrize("models", [("sky", "gate-ztf"), ("sky", "crts-rows")])
def test_a_tree_and_one_of_its_networks_label_side_by_side(
    models: tuple[str, ...], tmp_path: Path
) -> None:
    write(NIGHT, tmp_path / "night")
    settings = Settings(state_dir=tmp_path, classify=Classify(models=models, device="cpu"))
    out = tmp_path / "two.parquet"
    replay.to_parquet(settings, [str(tmp_path / "night")], [], out)
    rows = pq.read_table(out).to_pylist()
    assert {row["classifier"] for row in rows} == {f"{name} 1" for name in models}
    assert len(rows) == 2 * len(NIGHT)

"""An archive walked again: to Parquet without Kafka, or by workers into its own namespace."""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import nightjar
from streams import label, publish, read_topic

from broker.packets import Shares, Simulation, write
from workers.local_kafka import LocalKafka

SHARES = Shares(solar_system=0.02, bogus=0.02, repeated=0.02, late=0.0, corrupt=0.02)


@pytest.fixture(scope="module")
def night() -> Simulation:
    return Simulation("ztf", 20, 60, 21, cutouts=False, shares=SHARES)


@pytest.fixture(scope="module")
def archive(night: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nightly tar as the public archive serves it: members in no order of time."""
    folder = tmp_path_factory.mktemp("archive")
    values = [value for value, _, _ in night.packets()]
    random.Random(1).shuffle(values)
    tar = folder / "ztf_public_20180819.tar.gz"
    with tarfile.open(tar, "w:gz") as out:
        for number, value in enumerate(values):
            member = folder / "member"
            member.write_bytes(value)
            out.add(member, f"{number}.avro")
    member.unlink()
    return tar


@pytest.fixture(scope="module")
def table(archive: Path) -> dict[str, list]:
    done = nightjar("replay", str(archive), "--out", "labels.parquet", cwd=archive.parent)
    assert done.returncode == 0, done.stderr
    assert "no --warm-up" in done.stdout
    return pq.read_table(archive.parent / "labels.parquet").to_pydict()


def test_a_tar_becomes_labels_in_order_of_time(
    table: dict[str, list], night: Simulation, archive: Path
) -> None:
    truth = night.truth().to_pydict()
    deeds = list(zip(truth["alert_id"], truth["deed"], strict=True))
    readable = {alert for alert, deed in deeds if deed != "corrupt"}
    assert len(table["alert_id"]) == len(readable)
    assert set(table["alert_id"]) == readable
    assert table["mjd_tai"] == sorted(table["mjd_tai"])
    dead = pq.read_table(archive.parent / "labels.dead.parquet").to_pydict()
    assert len(dead["value"]) == sum(deed == "corrupt" for _, deed in deeds)
    assert all(dead["value"])
    named = [c for c in table["class"] if c is not None]
    assert named
    assert all(
        (c is None) == (r != "none") for c, r in zip(table["class"], table["reason"], strict=True)
    )


def test_light_curves_only_grow(table: dict[str, list]) -> None:
    seen: dict[str, int] = {}
    for name, n, reason in zip(table["object"], table["n_detection"], table["reason"], strict=True):
        if reason != "solar_system":
            assert n >= seen.get(name, 0)
            seen[name] = n


def test_a_namespace_gives_the_same_labels(
    kafka: LocalKafka, namespace: str, table: dict[str, list], archive: Path, tmp_path: Path
) -> None:
    done = nightjar(
        "replay",
        str(archive),
        "--namespace",
        namespace,
        cwd=tmp_path,
        kafka_bootstrap_servers=kafka.bootstrap,
    )
    assert done.returncode == 0, done.stderr
    parts = read_topic(kafka.bootstrap, f"{namespace}.labels").values()
    labels = {row["alertId"]: row for part in parts for row in (label(v) for _, v in part)}
    assert set(labels) == set(table["alert_id"])
    for i, alert in enumerate(table["alert_id"]):
        row = labels[alert]
        assert row["points_hash"] == table["points_hash"][i]
        assert row["reason"] == table["reason"][i]
        for c in row["classes"]:
            assert abs(c["probability"] - table[f"p_{c['name']}"][i]) < 0.02
    again = nightjar(
        "replay",
        str(archive),
        "--namespace",
        namespace,
        cwd=tmp_path,
        kafka_bootstrap_servers=kafka.bootstrap,
    )
    assert again.returncode == 1
    assert "in use" in again.stderr


def test_warm_up_builds_light_curves_without_labels(
    kafka: LocalKafka, namespace: str, night: Simulation, tmp_path: Path
) -> None:
    """The last nights after the first ones give what they gave in one go, on both roads."""
    values = [v for v, _, _ in night.packets()]
    truth = night.truth().to_pydict()
    plain = [v for v, deed in zip(values, truth["deed"], strict=True) if deed == "plain"]
    cut = len(plain) // 2
    for name, part in (("all", plain), ("first", plain[:cut]), ("last", plain[cut:])):
        (tmp_path / name).mkdir()
        for number, value in enumerate(part):
            (tmp_path / name / f"{number:05d}.avro").write_bytes(value)
    whole = nightjar("replay", "all", "--out", "all.parquet", cwd=tmp_path)
    warm = nightjar("replay", "last", "--warm-up", "first", "--out", "last.parquet", cwd=tmp_path)
    assert whole.returncode == warm.returncode == 0, whole.stderr + warm.stderr
    assert f"warmed up with {cut:,} alerts" in warm.stdout
    everything = pq.read_table(tmp_path / "all.parquet").to_pydict()
    last = pq.read_table(tmp_path / "last.parquet").to_pydict()
    hashes = dict(zip(everything["alert_id"], everything["points_hash"], strict=True))
    assert len(last["alert_id"]) == len(plain) - cut
    assert [hashes[a] for a in last["alert_id"]] == last["points_hash"]
    done = nightjar(
        "replay",
        "last",
        "--warm-up",
        "first",
        "--namespace",
        namespace,
        cwd=tmp_path,
        kafka_bootstrap_servers=kafka.bootstrap,
    )
    assert done.returncode == 0, done.stderr
    parts = read_topic(kafka.bootstrap, f"{namespace}.labels").values()
    rows = [label(v) for part in parts for _, v in part]
    assert {r["alertId"]: r["points_hash"] for r in rows} == dict(
        zip(last["alert_id"], last["points_hash"], strict=True)
    )


def test_a_finished_topic_is_a_source(
    kafka: LocalKafka, namespace: str, night: Simulation, table: dict[str, list], tmp_path: Path
) -> None:
    topic = f"{namespace}-old"
    publish(kafka.bootstrap, topic, [v for v, _, _ in night.packets()], 3)
    done = nightjar(
        "replay", topic, "--out", "t.parquet", cwd=tmp_path, kafka_bootstrap_servers=kafka.bootstrap
    )
    assert done.returncode == 0, done.stderr
    again = pq.read_table(tmp_path / "t.parquet").to_pydict()
    assert again["alert_id"] == table["alert_id"]
    assert again["points_hash"] == table["points_hash"]
    np.testing.assert_array_equal(again["p_RRab"], table["p_RRab"])
    neither = nightjar(
        "replay",
        "no-such",
        "--out",
        "n.parquet",
        cwd=tmp_path,
        kafka_bootstrap_servers=kafka.bootstrap,
    )
    assert neither.returncode == 1
    assert "neither a file here nor a topic" in neither.stderr


def test_lsst_packets_in_length_prefixed_files(tmp_path: Path) -> None:
    rubin = Simulation("lsst", 6, 30, 5, cutouts=False)
    write(rubin, tmp_path / "rubin")
    done = nightjar("replay", "rubin", "--out", "rubin.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "rubin.parquet").to_pydict()
    truth = rubin.truth().to_pydict()
    readable = {a for a, d in zip(truth["alert_id"], truth["deed"], strict=True) if d != "corrupt"}
    assert set(table["alert_id"]) == readable
    assert set(table["survey"]) == {"lsst"}
    assert any(c is not None for c in table["class"])


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    nothing = nightjar("replay", "--out", "x.parquet", cwd=tmp_path)
    assert nothing.returncode == 2
    assert "SOURCE" in nothing.stderr

"""Light curves carried to another cluster: later nights are labelled as if nothing had moved."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import NIGHTJAR, Standing, environment, nightjar
from streams import label, publish, read_topic

from broker import wire
from broker.packets import Shares, Simulation
from broker.records import POINT
from workers.carry import export
from workers.carry.curve_file import OBJECT, Contents, Group, Reader, Writer
from workers.errors import Failed
from workers.follow import Follower
from workers.local_kafka import LocalKafka

HOP_TIMES = ("decoded_ms", "curves_ms", "classified_ms", "brokerIngestTimestamp")


@contextmanager
def working(kafka: LocalKafka, folder: Path, namespace: str, **more: str) -> Iterator[Follower]:
    """The workers of a namespace, and its ledger."""
    folder.mkdir()
    settings = {"kafka_bootstrap_servers": kafka.bootstrap, "namespace": namespace, **more}
    with Standing("up", cwd=folder, **settings) as up:
        up.wait_for("share")
        follower = Follower({"bootstrap.servers": kafka.bootstrap}, f"{namespace}.ledger")
        yield follower
        follower.close()
        assert up.interrupt()[0] == 0, up.output.read_text()


def wait(follower: Follower, packets: int) -> None:
    deadline = time.monotonic() + 120
    while not follower.read(0.1).done(packets):
        assert time.monotonic() < deadline, follower.totals


def labels(kafka: LocalKafka, namespace: str) -> list[dict[str, Any]]:
    """Labels but for hop times, each object's in their order."""
    parts = read_topic(kafka.bootstrap, f"{namespace}.labels").values()
    rows = [label(value) for part in parts for _, value in part]
    for row in rows:
        for name in HOP_TIMES:
            del row[name]
    return sorted(rows, key=lambda row: row["object"])


def same(one: object, other: object) -> bool:
    """Equal, NaN to NaN as well."""
    return repr(one) == repr(other)


def test_the_night_after_a_move(kafka: LocalKafka, namespace: str, tmp_path: Path) -> None:
    """Two nights in A; the first one's light curves carried to B, of other partitions; the second
    night in B gives the labels that it gave in A."""
    shares = Shares(solar_system=0.03, bogus=0.03, repeated=0.04, late=0.03, corrupt=0.01)
    sky = Simulation("ztf", 40, 60, 31, cutouts=False, shares=shares)
    values = [value for value, _, _ in sky.packets()]
    cut = len(values) // 2
    a, b, topic = f"{namespace}-a", f"{namespace}-b", f"{namespace}-survey"
    there = {"kafka_bootstrap_servers": kafka.bootstrap}
    # one partition: of several, decode may take an object's alerts in another order
    publish(kafka.bootstrap, topic, values[:cut], 1)
    with working(kafka, tmp_path / "a", a, source_topics=topic) as ledger:
        wait(ledger, cut)
        first = len(labels(kafka, a))
        done = nightjar("curves", "export", "a.parquet", cwd=tmp_path, namespace=a, **there)
        assert done.returncode == 0, done.stderr
        publish(kafka.bootstrap, topic, values[cut:], 1)
        wait(ledger, len(values))
    moved = {**there, "namespace": b, "partitions": "7"}
    done = nightjar("curves", "import", "a.parquet", "--take-up", cwd=tmp_path, **moved)
    assert done.returncode == 0, done.stderr
    with working(kafka, tmp_path / "b", b, source_topics=topic, partitions="7") as ledger:
        wait(ledger, len(values) - cut)
        assert ledger.totals.outcomes()["duplicate"] > 5  # of alerts of the first night, too
    every, after = labels(kafka, a), labels(kafka, b)
    assert len(after) == len(every) - first > 300
    known = {row["alertId"] for row in after}
    assert same(after, [row for row in every if row["alertId"] in known])
    # the file says it in columns that anybody reads
    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert set(table["survey"]) == {"ztf"}
    assert {row["object"] for row in every if row["reason"] == "none"} >= set(table["object"][:1])
    again = nightjar("curves", "import", "a.parquet", cwd=tmp_path, **moved)
    assert again.returncode == 1
    assert "is in use" in again.stderr


def some(objects: int, points: int = 70, seed: int = 1) -> Group:
    """Light curves of three pages with every kind of value in them."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(objects * points, POINT)
    for name in POINT.names or ():
        if POINT[name].kind == "f":
            rows[name] = rng.normal(0, 1e3, len(rows))
            rows[name][rng.random(len(rows)) < 0.1] = np.nan
        elif name not in ("kind", "band") and POINT[name].kind != "V":
            rows[name] = rng.integers(-(2**31), 2**31 - 1, len(rows))
    rows["kind"], rows["band"] = rng.integers(0, 3, len(rows)), rng.integers(0, 8, len(rows))
    named = np.zeros(objects, OBJECT)
    named["object"] = [f"{seed}-{i:06}" for i in range(objects)]
    named["survey"] = np.arange(objects) * 3 // max(objects, 1)
    return Group(named, rows, np.arange(objects + 1) * points)


def write(path: Path, *groups: Group) -> Path:
    with Writer(path, Contents("night", 4, 1_780_000_000_000)) as file:
        for group in groups:
            file.write(group)
    return path


def verified(path: Path) -> Reader:
    reader = Reader(path)
    list(reader.verify())
    return reader


def test_a_file_gives_back_every_bit(tmp_path: Path) -> None:
    groups = some(50), some(20, 33, seed=2)
    reader = verified(write(tmp_path / "x.parquet", *groups))
    assert (reader.contents.objects, reader.contents.points) == (70, 50 * 70 + 20 * 33)
    for number, group in enumerate(groups):
        found = reader.read(number)
        assert found.points.tobytes() == group.points.tobytes()
        assert found.objects.tobytes() == group.objects.tobytes()
        assert found.first.tolist() == group.first.tolist()


def test_a_harmed_file_is_refused(tmp_path: Path) -> None:
    """A byte changed anywhere, or an end cut off: refused, or (in what nobody reads) harmless."""
    whole = write(tmp_path / "x.parquet", some(40))
    data = whole.read_bytes()
    harmed = tmp_path / "harmed.parquet"
    rng = np.random.default_rng(3)
    refused = 0
    for at in rng.integers(0, len(data), 150).tolist():
        harmed.write_bytes(
            data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        )
        try:
            reader = verified(harmed)
        except Failed:
            refused += 1
        else:
            assert reader.read(0).points.tobytes() == some(40).points.tobytes()
            assert reader.contents == Reader(whole).contents
    assert refused > 130
    for length in (0, 3, 4, 100, len(data) // 2, len(data) - 1):
        harmed.write_bytes(data[:length])
        with pytest.raises(Failed, match=r"is cut off|is no file of light curves"):
            verified(harmed)
    pq.write_table(pq.read_table(whole).replace_schema_metadata(), harmed)
    with pytest.raises(Failed, match="is no file of light curves"):
        verified(harmed)


def test_a_value_changed_behind_the_checksum_is_refused(tmp_path: Path) -> None:
    """Written anew by another hand, whole as Parquet, with what the file said of itself."""
    whole = write(tmp_path / "x.parquet", some(40))
    table = pq.read_table(whole)
    said = pq.read_metadata(whole).metadata
    ours = {name: said[name] for name in (b"nightjar.curves", b"nightjar.curves.sha256")}
    pq.write_table(table.replace_schema_metadata(ours), whole)
    verified(whole)
    at = table.schema.get_field_index("id")
    ids = table["id"].to_numpy().copy()
    ids[17] += 1
    other = table.set_column(at, table.schema.field(at), [ids])
    pq.write_table(other.replace_schema_metadata(ours), whole)
    with pytest.raises(Failed, match="its checksum is wrong"):
        verified(whole)


def test_a_page_that_is_missing_ends_an_export() -> None:
    group = some(3)
    pages = dict(_pages(group))
    export._group(pages)
    del pages[b"ztf:1-000000#1"]
    with pytest.raises(Failed, match="not hold every page of the light curve b'ztf:1-000000'"):
        export._group(pages)


def _pages(group: Group) -> list[tuple[bytes, bytes]]:
    """Pages cut by hand: 32 points each."""
    found = []
    for i, key in enumerate(wire.keys(group.objects)):
        points = group.points[group.first[i] : group.first[i + 1]]
        for number, at in enumerate(range(0, len(points), 32)):
            found.append((b"%b#%d" % (key, number), wire.write_page(points[at : at + 32])))
    return found


def test_an_import_killed_midway_goes_on(kafka: LocalKafka, namespace: str, tmp_path: Path) -> None:
    """kill -9 once the first row groups are in; workers refuse the namespace until it is whole;
    another file is refused; the changelog is then, page for page, what was exported."""
    groups = [some(40, 70, seed) for seed in range(1, 9)]
    write(tmp_path / "x.parquet", *groups)
    write(tmp_path / "other.parquet", *groups[:2])
    settings = {
        "kafka_bootstrap_servers": kafka.bootstrap,
        "namespace": namespace,
        "partitions": "3",
        "source_topics": "none-yet",
    }
    killed = subprocess.run(
        [NIGHTJAR[0], "-c", KILLED, "curves", "import", "x.parquet"],
        cwd=tmp_path,
        env=environment(**settings),
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    half = read_topic(kafka.bootstrap, f"{namespace}.curves")
    assert sum(map(len, half.values())) == 5 * 40 * 3
    worker = nightjar("work", "curves", cwd=tmp_path, **settings)
    assert worker.returncode == 1
    assert "only part of the light curves" in worker.stderr
    other = nightjar("curves", "import", "other.parquet", cwd=tmp_path, **settings)
    assert other.returncode == 1
    assert "holds part of another file" in other.stderr
    done = nightjar("curves", "import", "x.parquet", cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    found = read_topic(kafka.bootstrap, f"{namespace}.curves")
    assert sum(map(len, found.values())) == 9 * 40 * 3  # only the fifth again
    wanted = {key: value for group in groups for key, value in _pages(group)}
    assert dict(record for part in found.values() for record in part) == wanted
    for partition, records in found.items():
        for key, _ in records:
            survey, _, name = key.rpartition(b"#")[0].partition(b":")
            row = np.zeros(1, OBJECT)
            row["survey"], row["object"] = ["ztf", "lsst", "elasticc"].index(survey.decode()), name
            assert wire.partitions(row, 3).tolist() == [partition]
    back = nightjar("curves", "export", ".", cwd=tmp_path, **settings)
    assert back.returncode == 0, back.stderr
    (file,) = tmp_path.glob(f"{namespace}.*.curves.parquet")
    assert verified(file).contents.points == 8 * 40 * 70


#: `nightjar`, killed when the fifth row group is in Kafka and not yet noted.
KILLED = """
import os, signal, sys
from workers import cli
from workers.carry import bring
note = bring._note
def note_or_die(mark, found):
    if found.groups == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    note(mark, found)
bring._note = note_or_die
sys.exit(cli.run(sys.argv[1:]))
"""

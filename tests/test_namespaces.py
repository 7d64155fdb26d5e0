"""Namespaces listed and dropped: whole, not while workers live, and nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from commands import NIGHTJAR, environment, nightjar
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from streams import publish
from working import Workers

from workers import ledger, slots, topics
from workers.kafka import never
from workers.local_kafka import LocalKafka
from workers.namespaces import find
from workers.outputs import Outputs
from workers.settings import Settings

YESTERDAY_MS = int(time.time() - 86_400) * 1000


class Place:
    """A namespace as workers leave it, another whose name begins with its name, and a survey."""

    def __init__(self, kafka: LocalKafka, name: str, folder: Path) -> None:
        self.kafka, self.name, self.folder = kafka, name, folder
        self.other, self.survey = f"{name}.source.x", f"{name}-survey"
        self.settings = {"kafka_bootstrap_servers": kafka.bootstrap, "state_dir": "state"}
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        publish(kafka.bootstrap, self.survey, [b"packet"] * 5, 2)
        # this one's twin is called as a ledger is
        publish(kafka.bootstrap, "ledger", [b"packet"], 1)
        for one in (name, self.other):
            self.make(one)

    def make(self, name: str) -> None:
        client = {"bootstrap.servers": self.kafka.bootstrap}
        namespace = topics.Namespace(name, Settings().classify.models)
        topics.ensure(client, namespace, 2, 1)
        for source, count in ((self.survey, 2), ("ledger", 1)):
            topics.twin(self.admin, namespace, source, count, 1, never)
        twin = TopicPartition(namespace.twin(self.survey), 0, 3)
        member = Consumer({**client, "group.id": namespace.group("decode")})
        member.commit(offsets=[twin], asynchronous=False)
        member.close()
        producer = Producer(client)
        for value in (b"a", b"b", b"c"):
            producer.produce(namespace.topic("labels"), value, partition=1)
        none = Outputs()
        row = ledger.row("curves", "w", "g", YESTERDAY_MS, [], none.written(), none.tallies)
        producer.produce(namespace.topic("ledger"), row, timestamp=YESTERDAY_MS)
        assert producer.flush(20) == 0
        with slots.take(self.folder / "state", name, "curves") as slot:
            (slot.folder / "0").mkdir()
            (slot.folder / "0" / "data.mdb").write_bytes(b"light curves")

    def nightjar(self, *words: str, **other: str) -> subprocess.CompletedProcess[str]:
        return nightjar("namespaces", *words, cwd=self.folder, **(self.settings | other))

    def left(self, name: str) -> tuple[set[str], set[str], bool]:
        """Topics, groups and state of a namespace, by their names alone."""
        before = f"{name}."
        there = {t for t in self.admin.list_topics(timeout=10).topics if t.startswith(before)}
        groups = {g.group_id for g in self.admin.list_consumer_groups().result(20).valid}
        if name == self.name:
            there = {t for t in there if not t.startswith(f"{self.other}.")}
            groups = {g for g in groups if not g.startswith(f"{self.other}.")}
        else:
            there.discard(f"{self.name}.source.ledger")
        state = (self.folder / "state" / name).exists()
        return there, {g for g in groups if g.startswith(before)}, state

    def rows(self, **other: str) -> dict[str, dict[str, object]]:
        done = self.nightjar("ls", "--json", **other)
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {row["namespace"]: row for row in rows}


@pytest.fixture
def place(kafka: LocalKafka, namespace: str, tmp_path: Path) -> Iterator[Place]:
    place = Place(kafka, namespace, tmp_path)
    yield place
    place.admin.delete_topics(["ledger"])["ledger"].result(20)


def test_ls_and_drop_while_a_worker_lives_and_after(place: Place, kafka: LocalKafka) -> None:
    workers = Workers(kafka, place.name, place.survey, place.folder)
    workers.environment["NIGHTJAR_PARTITIONS"] = "2"
    workers.start("decode")
    try:
        deadline = time.monotonic() + 60
        while "share" not in (place.folder / "decode.log").read_text():
            assert workers.processes["decode"].poll() is None, workers.logs()
            assert time.monotonic() < deadline, workers.logs()
            time.sleep(0.1)
        rows = place.rows(local_kafka_data_dir=str(kafka.data_dir))
        assert f"{place.name}.source" not in rows, "the twin of a topic called ledger"
        one = rows[place.name]
        assert one["workers"] == {"decode": 1, "curves": 0, "classify": 0}
        assert one["partitions"] == 2
        assert one["label_offsets"] == 3
        assert str(one["state"]) == f"state/{place.name}"
        assert int(str(one["bytes"])) > 0
        yesterday = datetime.fromtimestamp(YESTERDAY_MS / 1000, UTC).isoformat()[:19] + "Z"
        assert rows[place.other]["last_commit"] == yesterday
        assert rows[place.other]["workers"] == {"decode": 0, "curves": 0, "classify": 0}
        table = place.nightjar("ls").stdout
        (line,) = (row for row in table.splitlines() if row.startswith(f"{place.name} "))
        assert "1 decode" in line
        before = place.left(place.name)
        here = place.nightjar("drop", place.name, "--yes")
        assert here.returncode == 1
        assert f"process {workers.processes['decode'].pid}" in here.stderr
        elsewhere = place.nightjar("drop", place.name, "--yes", state_dir="another")
        assert elsewhere.returncode == 1
        assert "workers live" in elsewhere.stderr
        assert workers.processes["decode"].poll() is None
        assert place.left(place.name) == before
    finally:
        workers.kill("decode")
    done = place.nightjar("drop", place.name, "--yes")  # waits for the dead worker's session
    assert done.returncode == 0, done.stderr
    assert "dropped namespace" in done.stdout
    assert place.left(place.name) == (set(), set(), False)
    assert len(place.left(place.other)[0]) == len(topics.KINDS) + 2
    assert place.left(place.other)[1:] == (
        {
            f"{place.other}.decode",
            f"{place.other}.curves",
            f"{place.other}.classify.{Settings().classify.models[0]}",
        },
        True,
    )
    there = place.admin.list_topics(timeout=10).topics
    assert {place.survey, "ledger"} <= set(there)
    assert len(there[place.survey].partitions) == 2


#: A drop that ends, as if killed, just before its n-th deed: groups, topics, state, mark.
STRUCK = """
import os, sys
from workers import cli, drop
deeds = [0]
def before(do):
    def done(*a, **k):
        deeds[0] += 1
        if deeds[0] == int(sys.argv[1]):
            os._exit(9)
        return do(*a, **k)
    return done
drop.AdminClient.delete_consumer_groups = before(drop.AdminClient.delete_consumer_groups)
drop._delete = before(drop._delete)
drop.shutil.rmtree = before(drop.shutil.rmtree)
sys.exit(cli.run(sys.argv[2:]))
"""


def test_a_drop_that_was_killed_is_finished_by_another(place: Place) -> None:
    words = ["namespaces", "drop", place.name, "--yes"]
    lefts = []
    settings = Settings().using(place.kafka.bootstrap)
    for deed in (1, 2, 2):  # what is done already is not done again, so the second moves on
        done = subprocess.run(
            [sys.executable, "-c", STRUCK, str(deed), *words],
            cwd=place.folder,
            env=environment(**place.settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        lefts.append(place.left(place.name))
        assert done.returncode == 9, done.stdout + done.stderr
        assert f"{place.name}.dropping" in lefts[-1][0]
        assert place.name in [n.name for n in find(settings) if n.half_dropped]
        with pytest.raises(topics.WrongNamespace, match=f"namespaces drop {place.name}"):
            topics.ensure(settings.kafka.client(), topics.Namespace(place.name, ("x",)), 2, 1)
    assert [len(groups) for _, groups, _ in lefts] == [3, 0, 0]
    assert [len(there) > 1 for there, _, _ in lefts] == [True, True, False]
    done = place.nightjar("drop", place.name, "--yes")
    assert done.returncode == 0, done.stderr
    assert place.left(place.name) == (set(), set(), False)
    again = place.nightjar("drop", place.name, "--yes")
    assert again.returncode == 1
    assert f"no namespace {place.name!r}" in again.stderr
    assert place.other in again.stderr
    assert len(place.left(place.other)[0]) == len(topics.KINDS) + 2


def test_a_drop_must_be_meant(place: Place) -> None:
    def typed(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NIGHTJAR, "namespaces", "drop", place.other],
            input=text,
            cwd=place.folder,
            env=environment(**place.settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    before = place.left(place.other)
    done = typed(f"{place.name}\n")
    assert done.returncode == 2
    assert "nothing was dropped" in done.stderr
    assert "up to 3 labels" in done.stderr
    assert place.left(place.other) == before
    # the name of a twin, and records in it: then it is somebody's
    twin = f"{place.other}.source.{place.survey}"
    producer = Producer({"bootstrap.servers": place.kafka.bootstrap})
    producer.produce(twin, b"packet")
    assert producer.flush(20) == 0
    done = typed(f"{place.other}\n")
    assert done.returncode == 1
    assert f"{twin} holds records" in done.stderr
    assert place.left(place.other) == before


def test_names_that_begin_alike(place: Place) -> None:
    """Each topic and each group is of one namespace, and the survey's of none."""
    settings = Settings().using(place.kafka.bootstrap)
    found = {n.name: n for n in find(settings) if n.name.startswith(place.name)}
    assert set(found) == {place.name, place.other}
    for name, one in found.items():
        there, groups, _ = place.left(name)
        assert set(one.topics) == there
        assert set(one.groups) == groups
    (asked,) = find(settings, place.survey)
    assert asked.topics == {}

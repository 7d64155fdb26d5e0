"""A span's commit on a real Kafka: all of a batch or nothing, whatever fails in between."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from streams import delete_group, publish, read_topic, until

from broker import wire
from broker.records import ALERT, POINT, Detections
from workers import intake, ledger, metrics, offsets, topics
from workers.counting import SpanMetrics
from workers.errors import Failed
from workers.follow import Totals
from workers.intake import Intake, Rebalanced
from workers.kafka import TRANSACTION_TIMEOUT_MS, consumer, member, transactional
from workers.letters import Letter, letter
from workers.local_kafka import LocalKafka
from workers.outputs import Outputs, Records
from workers.span import Fenced, Span
from workers.whole import read_whole


@dataclass
class Copy:
    """Writes every record on, and counts in a state that is staged until the commit."""

    out: str
    trouble: Callable[[Message], None] = lambda message: None
    span: str = "curves"
    seen: list[bytes] = field(default_factory=list)
    staged: list[bytes] = field(default_factory=list)
    readied: list[tuple[int, int]] = field(default_factory=list)

    def ready(self, topic: str, partition: int, offset: int, breathe: Callable[[], None]) -> None:
        breathe()
        self.readied.append((partition, offset))

    def take(self, messages: list[Message], outputs: Outputs) -> None:
        for message in messages:
            self.trouble(message)
            self.staged.append(message.value())
            place = message.partition() % 2
            outputs.records.append(Records(self.out, [message.value()], [b"key"], [place]))
            outputs.tallies.one("survey", 0, 0, 1, 0)

    def keep(self, offsets: Mapping[int, int]) -> None:
        self.seen += self.staged
        self.staged = []

    def drop(self) -> None:
        self.staged = []


@pytest.fixture
def names(kafka: LocalKafka, namespace: str) -> topics.Namespace:
    place = topics.Namespace(namespace, ("none",))
    topics.ensure({"bootstrap.servers": kafka.bootstrap}, place, 2, 1)
    return place


class Running:
    """A span in a thread, until it is asked to stop."""

    def __init__(
        self,
        kafka: LocalKafka,
        names: topics.Namespace,
        stage: Copy,
        slot: str,
        survey: Sequence[str],
    ) -> None:
        client = {"bootstrap.servers": kafka.bootstrap}
        self.names, self.admin = names, AdminClient(client)
        self.event = threading.Event()
        group = offsets.Group(names.group("curves"), names.topic("ledger"))
        ours = member(client, group.name, slot)
        stop = self.event.is_set
        books = partial(offsets.of_late, client, group, stop)
        if survey:
            first = partial(offsets.offset_at, self.admin, "earliest", stop=stop)
            self.intake = Intake(ours, consumer(client), stop, stage.ready, 100, first, books)
            self.read(survey)
        else:
            self.intake = Intake(ours, ours, stop, stage.ready, 100, None, books)
            self.intake.subscribe({names.topic("detections"): names.topic("detections")})
        self.span = Span(
            stage=stage,
            intake=self.intake,
            producer=transactional(client, slot),
            ledger_topic=names.topic("ledger"),
            dead_topic=names.topic("dead-letters"),
            worker=slot,
            group=group.name,
            commit_s=0.05,
            stop=self.event.is_set,
            metrics=SpanMetrics("curves"),
        )
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def read(self, survey: Sequence[str]) -> None:
        found = {}
        for topic in survey:
            count = topics.every(self.admin, self.event.is_set)[topic]
            twin = topics.twin(self.admin, self.names, topic, count, 1, self.event.is_set)
            found[twin] = topic
        self.intake.subscribe(found)

    def _run(self) -> None:
        try:
            self.span.run()
        except BaseException as exc:
            self.failure = exc

    def stop(self) -> None:
        self.event.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def run(kafka: LocalKafka, names: topics.Namespace) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(stage: Copy, slot: str | None = None, survey: Sequence[str] = ()) -> Running:
        started.append(Running(kafka, names, stage, slot or f"{names.name}.curves.0", survey))
        return started[-1]

    yield start
    for running in started:
        running.stop()


def copied(kafka: LocalKafka, names: topics.Namespace, topic: str = "images") -> list[bytes]:
    parts = read_topic(kafka.bootstrap, names.topic(topic))
    return sorted(value for part in parts.values() for _, value in part)


def totals(kafka: LocalKafka, names: topics.Namespace) -> Totals:
    out = Totals()
    for part in read_topic(kafka.bootstrap, names.topic("ledger")).values():
        for _, value in part:
            out.add(ledger.read(value))
    return out


def test_records_go_on_once_and_the_ledger_says_so(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    values = [b"%04d" % i for i in range(1000)]
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    stage = Copy(names.topic("images"))
    running = run(stage)
    until(lambda: len(stage.seen) == 1000)
    running.stop()
    # a commit is acknowledged before readers may see it: Kafka writes its marks afterwards
    until(lambda: copied(kafka, names) == values)
    until(lambda: totals(kafka, names).consumed["curves"] == 1000)
    assert stage.readied == [(0, 0), (1, 0)]
    sums = totals(kafka, names)
    assert sums.tallies["curves"]["passed"] == 1000
    assert sums.written[names.topic("images")] == 1000
    assert sums.consumed["curves"] == 1000


def test_who_waits_behind_others_is_left_alone_and_who_was_forgotten_is_asked_for_again(
    kafka: LocalKafka, names: topics.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = names.topic("detections")
    publish(kafka.bootstrap, topic, [b"%010000d" % i for i in range(400)], 2)
    whole = {"bootstrap.servers": kafka.bootstrap, "max.partition.fetch.bytes": 4 << 20}
    ours = member(whole, names.group("curves"), "a")
    one = Intake(ours, ours, lambda: False, lambda *_: None, 10)
    one.subscribe({topic: topic})
    stands: list[int] = []
    stand = Intake._stand
    monkeypatch.setattr(Intake, "_stand", lambda self: (stands.append(1), stand(self)))
    got: list[int] = []

    def read() -> int:
        try:
            got.extend(message.partition() for message in one.consume(0.05))
        except Rebalanced:
            one.settle()
        return len(got)

    def read_and_look() -> int:
        read()
        one.look()
        return len(got)

    def fetched(partition: int) -> bool:
        place = TopicPartition(topic, partition)
        return ours.get_watermark_offsets(place, cached=True)[1] == 200

    until(lambda: read() > 0)
    until(lambda: fetched(0) and fetched(1))  # each by one answer
    time.sleep(0.5)  # so that its queue is found empty at the end only
    monkeypatch.setattr(intake, "_STILL_S", 0.0)
    until(lambda: read_and_look() == 400)
    assert any(len(set(got[i : i + 50])) == 1 for i in range(350))  # the other waited meanwhile
    assert len(stands) == 1
    monkeypatch.setattr(intake, "_STILL_S", 1.0)  # what is not paused comes within that
    ours.pause([TopicPartition(topic, 1)])
    publish(kafka.bootstrap, topic, [b"a", b"b"], 2)
    until(lambda: read_and_look() == 402)
    assert len(stands) == 2
    one.close()


def test_a_member_that_a_killed_kafka_puts_out_ends_and_does_not_wait_for_ever(
    tmp_path: Path,
) -> None:
    """Seen where a stage was made ready meanwhile: its end came with the loss of its share."""
    with LocalKafka(tmp_path) as node:
        client = {"bootstrap.servers": node.bootstrap}
        publish(node.bootstrap, "topic", [b"a", b"b"], 2)
        ours = member(client, "group", "a")
        one = Intake(ours, ours, lambda: False, lambda *_: None, 10, lambda topic, partition: 0)
        one.subscribe({"topic": "topic"})

        def read() -> None:
            try:
                one.consume(0.05)
            except Rebalanced:
                one.settle()

        until(lambda: read() or bool(one.standing()))
        node.kill()
        node.start()
        time.sleep(5)  # both are told before it asks again
        with pytest.raises(KafkaException, match="fenced"):
            until(lambda: bool(read()), 10)
        one.close()


def test_a_share_that_nobody_has_heard_of_is_taken_and_given_back_by_who_leaves(
    kafka: LocalKafka, names: topics.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken within close() it was once waited for without end."""
    topic = names.topic("detections")
    heard: list[tuple[Consumer, str]] = []
    for name in ("_assigned", "_revoked"):
        usual = getattr(Intake, name)

        def hear(self: Intake, member: Consumer, share: list, name=name, usual=usual) -> None:
            heard.append((member, name))
            usual(self, member, share)

        monkeypatch.setattr(Intake, name, hear)

    def join(slot: str) -> Intake:
        ours = member({"bootstrap.servers": kafka.bootstrap}, names.group("curves"), slot)
        one = Intake(ours, ours, lambda: False, lambda *_: None, 10)
        one.subscribe({topic: topic})
        return one

    def told(one: Intake) -> list[str]:
        one.member.poll(0)
        return [name for member, name in heard if member is one.member]

    first = join("a")
    until(lambda: told(first) == ["_assigned"])
    second = join("b")
    until(lambda: told(first) == ["_assigned", "_revoked"])
    until(lambda: told(second) == ["_assigned"])  # so has the other been, and did not look
    time.sleep(0.5)
    assert len(heard) == 3
    first.close()
    assert [name for member, name in heard if member is first.member] == [
        "_assigned",
        "_revoked",
        "_assigned",
        "_revoked",
    ]
    second.close()


def test_a_commit_that_falls_due_between_two_looks_steps_over_nothing(
    kafka: LocalKafka,
    names: topics.Namespace,
    run: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock of large steps: a commit is due at nearly every second look at it, not at the first.

    Once what was consumed but not yet given to the stage was committed as done.
    """
    looks = count()
    stepping = SimpleNamespace(monotonic=lambda: 0.03 * next(looks), sleep=time.sleep)
    monkeypatch.setattr("workers.span.time", stepping)
    values = [b"%04d" % i for i in range(1000)]
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    stage = Copy(names.topic("images"))
    run(stage)
    until(lambda: totals(kafka, names).consumed["curves"] == 1000)
    assert sorted(stage.seen) == values
    assert totals(kafka, names).tallies["curves"]["passed"] == 1000


def test_a_restart_goes_on_where_the_commit_stood(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    first, second = Copy(names.topic("images")), Copy(names.topic("images"))
    publish(kafka.bootstrap, names.topic("detections"), [b"%04d" % i for i in range(100)], 2)
    running = run(first)
    until(lambda: len(first.seen) == 100)
    running.stop()
    publish(kafka.bootstrap, names.topic("detections"), [b"%04d" % i for i in range(100, 150)], 2)
    run(second)
    until(lambda: len(second.seen) == 50)
    assert sorted(second.seen) == [b"%04d" % i for i in range(100, 150)]
    assert sorted(p for p, _ in second.readied) == [0, 1]
    assert min(offset for _, offset in second.readied) == 50


def test_a_record_that_breaks_the_stage_is_buried_alone(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    def trouble(message: Message) -> None:
        if message.value() in (b"0333", b"0334", b"0700"):
            msg = "a kernel refuses this"
            raise ValueError(msg)

    values = [b"%04d" % i for i in range(1000)]
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    stage = Copy(names.topic("images"), trouble)
    run(stage)
    until(lambda: len(stage.seen) == 997)
    until(lambda: len(copied(kafka, names, "dead-letters")) == 3)
    assert copied(kafka, names, "dead-letters") == [b"0333", b"0334", b"0700"]
    assert copied(kafka, names) == sorted(set(values) - {b"0333", b"0334", b"0700"})
    assert totals(kafka, names).tallies["curves"] == {"passed": 997, "dead": 3}


def test_a_buried_record_counts_where_its_alert_came_from(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    def trouble(message: Message) -> None:
        if message.value() == values[3]:
            msg = "a kernel refuses this"
            raise ValueError(msg)

    alerts = np.zeros(5, ALERT)
    alerts["object"], alerts["topic"], alerts["partition"] = b"ZTF18aaiscil", b"ztf-night", 7
    alerts["alert_id"] = np.arange(5)
    none = np.zeros(6, np.int64)
    values = wire.write_detections(Detections(alerts, np.zeros(0, POINT), none))
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    run(Copy(names.topic("images"), trouble))
    until(lambda: copied(kafka, names, "dead-letters") == [values[3]])
    until(lambda: totals(kafka, names).tallies["curves"] == {"passed": 4, "dead": 1})
    rows = read_topic(kafka.bootstrap, names.topic("ledger"))[0]
    (dead,) = (
        tally
        for _, row in rows
        for tally in ledger.read(row)["tallies"]
        if tally["outcome"] == "dead"
    )
    assert (dead["topic"], dead["partition"]) == ("ztf-night", 7)
    assert dead["sum"] % (1 << 64) == int(wire.alert_hashes(alerts)[3])
    read = [given for _, row in rows for given in ledger.read(row)["inputs"]]
    assert sum(given["records"] for given in read) == 5
    assert {ledger.read(row)["group"] for _, row in rows} == {names.group("curves")}


@dataclass
class Swollen(Copy):
    """Makes a large record of one that says so."""

    size: int = 0

    def take(self, messages: list[Message], outputs: Outputs) -> None:
        Copy.take(self, messages, outputs)
        for message in messages:
            if message.value() == b"0333":
                outputs.records.append(Records(self.out, [bytes(self.size)], [b"key"], [0]))


def limit(kafka: LocalKafka, topic: str, size: int) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(10)


def letters(kafka: LocalKafka, names: topics.Namespace) -> list[Letter]:
    client = {"bootstrap.servers": kafka.bootstrap}
    some = (m for batch in read_whole(client, names.topic("dead-letters")) for m in batch)
    return [letter(message, names.name) for message in some]


@pytest.mark.parametrize(("size", "most"), [(17 << 20, 16 << 20), (200_000, 100_000)])
def test_a_record_that_kafka_never_takes_is_buried_alone(
    kafka: LocalKafka,
    names: topics.Namespace,
    run: Callable[..., Running],
    size: int,
    most: int,
) -> None:
    """The client library refuses what is larger than any topic takes, Kafka what its own does."""
    limit(kafka, names.topic("images"), most)
    values = [b"%04d" % i for i in range(500)]
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    stage = Swollen(names.topic("images"), size=size)
    run(stage)
    until(lambda: len(stage.seen) == 499)
    until(lambda: len(letters(kafka, names)) == 1)
    (dead,) = letters(kafka, names)
    assert (dead.value, dead.size, dead.attempts) == (b"0333", 4, 1)
    assert (dead.reason, dead.span) == ("stage_failed", "curves")
    assert "MSG_SIZE_TOO_LARGE" in dead.error
    until(lambda: copied(kafka, names) == sorted(set(values) - {b"0333"}))
    assert totals(kafka, names).tallies["curves"] == {"passed": 499, "dead": 1}


def test_a_letter_that_is_too_large_goes_without_its_bytes(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    def trouble(message: Message) -> None:
        if len(message) > 1000:
            msg = "too much of it"
            raise ValueError(msg)

    limit(kafka, names.topic("dead-letters"), 20_000)
    values = [b"%04d" % i for i in range(100)] + [bytes(50_000)]
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    stage = Copy(names.topic("images"), trouble)
    run(stage)
    until(lambda: len(stage.seen) == 100)
    until(lambda: len(letters(kafka, names)) == 1)
    (dead,) = letters(kafka, names)
    assert (dead.value, dead.size, dead.whole) == (b"", 50_000, False)
    assert (dead.topic, dead.source_partition, dead.source_offset) == (
        names.topic("detections"),
        0,
        50,
    )
    assert "too much of it" in dead.error


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), MemoryError(), Failed("disk full")]
)
def test_a_fault_of_the_machine_is_no_letter(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running], fault: Exception
) -> None:
    """The worker ends; when it is started again all is taken, once."""

    def trouble(message: Message) -> None:
        if message.value() == b"0333":
            raise fault

    values = [b"%04d" % i for i in range(500)]
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    sick = run(Copy(names.topic("images"), trouble))
    until(lambda: sick.failure is not None)
    assert sick.failure is fault
    stage = Copy(names.topic("images"))
    run(stage)
    until(lambda: copied(kafka, names) == values)
    assert letters(kafka, names) == []


def test_a_zombie_cannot_commit(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    """The first worker computes for long; meanwhile another takes its place by the same name."""
    gate = threading.Event()

    def trouble(message: Message) -> None:
        gate.wait(20)

    publish(kafka.bootstrap, names.topic("detections"), [b"%04d" % i for i in range(200)], 2)
    zombie, heir = Copy(names.topic("images"), trouble), Copy(names.topic("images"))
    old = run(zombie)
    until(lambda: bool(zombie.readied))
    time.sleep(1)
    run(heir)
    until(lambda: len(heir.seen) == 200)
    gate.set()
    until(lambda: not old.thread.is_alive())
    assert isinstance(old.failure, Fenced)
    assert zombie.seen == []
    assert copied(kafka, names) == [b"%04d" % i for i in range(200)]


def test_what_the_source_no_longer_has_is_lost_aloud(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    publish(kafka.bootstrap, names.topic("detections"), [b"%04d" % i for i in range(100)], 2)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    gone = TopicPartition(names.topic("detections"), 0, 30)
    next(iter(admin.delete_records([gone]).values())).result(10)
    stage = Copy(names.topic("images"))
    run(stage)
    until(lambda: len(stage.seen) == 70)
    until(lambda: totals(kafka, names).tallies["curves"]["lost"] == 30)
    until(lambda: totals(kafka, names).consumed["curves"] == 100)


def test_partition_counts_are_fixed(kafka: LocalKafka, names: topics.Namespace) -> None:
    client: dict[str, Any] = {"bootstrap.servers": kafka.bootstrap}
    assert topics.ensure(client, names, 2, 1) == 2
    with pytest.raises(topics.WrongNamespace, match="made with 2 partitions"):
        topics.ensure(client, names, 3, 1)
    with pytest.raises(topics.WrongNamespace, match="in use"):
        topics.refuse_if_used(client, names.name)


def test_a_start_does_not_wait_for_what_its_predecessor_left_open(
    kafka: LocalKafka, names: topics.Namespace
) -> None:
    """Killed within a transaction, a worker waited out its time-out: its own start ends it."""
    client = {"bootstrap.servers": kafka.bootstrap}
    group = names.group("curves")
    killed = transactional(client, f"{names.name}.curves.0")
    killed.init_transactions(10)
    killed.begin_transaction()
    reader = consumer(client, **{"group.id": group})
    at = TopicPartition(names.topic("detections"), 0, 5)
    killed.send_offsets_to_transaction([at], reader.consumer_group_metadata(), 10)
    deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 2000
    assert topics.ensure(client, names, 2, 1, lambda: time.monotonic() > deadline) == 2
    heir = transactional(client, f"{names.name}.curves.0")
    heir.init_transactions(10)
    assert reader.committed([TopicPartition(at.topic, 0)], 10)[0].offset == 0


def test_deleted_offsets_are_found_in_the_ledger(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    """Kafka forgets the offsets of a group that nobody was in for a week."""
    client = {"bootstrap.servers": kafka.bootstrap}
    values = [b"%04d" % i for i in range(300)]
    publish(kafka.bootstrap, names.topic("detections"), values, 2)
    stage = Copy(names.topic("images"))
    running = run(stage)
    until(lambda: len(stage.seen) == 300)
    running.stop()
    delete_group(AdminClient(client), names.group("curves"))
    publish(kafka.bootstrap, names.topic("detections"), [b"9%03d" % i for i in range(10)], 2)
    topics.ensure(client, names, 2, 1)
    again = Copy(names.topic("images"))
    run(again)
    until(lambda: len(again.seen) == 10)
    until(lambda: len(copied(kafka, names)) == 310)
    assert offsets.by_ledger(
        client,
        offsets.Group(names.group("curves"), names.topic("ledger")),
        [(names.topic("detections"), 0), (names.topic("images"), 0)],
    ).keys() == {(names.topic("detections"), 0)}


def test_offsets_that_went_back_are_those_of_the_ledger(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    """Kafka, held up while it read its own log after a kill, named places of long ago."""
    client = {"bootstrap.servers": kafka.bootstrap}
    topic = names.topic("detections")
    publish(kafka.bootstrap, topic, [b"%04d" % i for i in range(300)], 2)
    stage = Copy(names.topic("images"))
    running = run(stage)
    until(lambda: len(stage.seen) == 300)
    running.stop()
    delete_group(AdminClient(client), names.group("curves"))  # once its member's session is over
    back = consumer(client, **{"group.id": names.group("curves")})
    long_ago = [TopicPartition(topic, 0, 20), TopicPartition(topic, 1, 150)]
    back.commit(offsets=long_ago, asynchronous=False)
    back.close()
    publish(kafka.bootstrap, topic, [b"9%03d" % i for i in range(10)], 2)
    again = Copy(names.topic("images"))
    run(again)
    until(lambda: len(again.seen) >= 10)
    assert sorted(again.seen) == [b"9%03d" % i for i in range(10)]
    until(lambda: len(copied(kafka, names)) == 310)


def test_two_survey_topics_are_read_by_their_twins_from_their_first_offsets(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    """The second appears while the group is at work; the first has lost its beginning before."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    one, two = f"{names.name}-one", f"{names.name}-two"
    publish(kafka.bootstrap, one, [b"1%03d" % i for i in range(100)], 2)
    gone = TopicPartition(one, 0, 30)
    next(iter(admin.delete_records([gone]).values())).result(10)
    stage = Copy(names.topic("images"))
    running = run(stage, None, [one])
    until(lambda: len(stage.seen) == 70)
    assert totals(kafka, names).tallies["curves"]["lost"] == 0  # it never was ours
    publish(kafka.bootstrap, two, [b"2%03d" % i for i in range(50)], 3)
    running.read([one, two])
    until(lambda: len(stage.seen) == 120)
    publish(kafka.bootstrap, one, [b"3%03d" % i for i in range(10)], 2)
    until(lambda: len(stage.seen) == 130)
    running.stop()
    again = Copy(names.topic("images"))
    publish(kafka.bootstrap, two, [b"4%03d" % i for i in range(10)], 3)
    run(again, None, [one, two])
    until(lambda: len(again.seen) == 10)
    assert len(copied(kafka, names)) == 140
    sums = totals(kafka, names)
    assert sums.consumed["curves"] == 140


@pytest.mark.parametrize("survey", [(), ("survey",)])
def test_a_member_whose_name_another_took_ends(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running], survey: tuple[str, ...]
) -> None:
    """The client library tells it by a message alone; a worker deaf to it would idle for ever."""
    publish(kafka.bootstrap, f"{names.name}-survey", [b"one"])
    stage = Copy(names.topic("images"))
    running = run(stage, survey=[f"{names.name}-{topic}" for topic in survey])
    until(lambda: bool(stage.readied))
    usurper = member(
        {"bootstrap.servers": kafka.bootstrap}, names.group("curves"), f"{names.name}.curves.0"
    )
    usurper.subscribe(list(running.intake.source))
    until(lambda: usurper.poll(0.1) is not None or running.failure is not None, 20)
    until(lambda: running.failure is not None, 20)
    usurper.close()
    assert isinstance(running.failure, Fenced)


def test_a_partition_that_is_not_fetched_is_taken_up_again(
    kafka: LocalKafka, names: topics.Namespace, run: Callable[..., Running]
) -> None:
    """As the client library was seen to do by itself: one partition of the share stands still."""

    def trouble(message: Message) -> None:
        # in the span's own thread: a consumer waits for its lock while another thread polls
        if message.value() == b"first":
            running.intake.member.pause([TopicPartition(names.topic("detections"), 1)])

    stage = Copy(names.topic("images"), trouble)
    running = run(stage)
    publish(kafka.bootstrap, names.topic("detections"), [b"first"] * 2, 2)
    until(lambda: len(stage.seen) == 2)
    publish(kafka.bootstrap, names.topic("detections"), [b"second"] * 2, 2)
    until(lambda: len(stage.seen) == 4)


def test_a_slow_stage_neither_leaves_its_group_nor_holds_it_up(
    kafka: LocalKafka,
    names: topics.Namespace,
    run: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It computes for longer than a member may be silent; then again, and another joins meanwhile,
    which has its share at once. The slow one's batch is refused, and taken again, by either."""
    monkeypatch.setattr("workers.kafka.SESSION_TIMEOUT_MS", 6000)
    monkeypatch.setattr("workers.kafka.MAX_POLL_INTERVAL_MS", 8000)
    slow, joined = threading.Event(), threading.Event()

    def trouble(message: Message) -> None:
        if message.value() == b"0050":
            slow.wait(9.5)
        if message.value() == b"0150" and not joined.is_set():
            held.set()
            joined.wait(25)

    held = threading.Event()
    stage, other = Copy(names.topic("images"), trouble), Copy(names.topic("images"))
    values = [b"%04d" % i for i in range(200)]
    running = run(stage)
    until(lambda: len(running.intake.standing()) == 2)
    before = rebalances()
    for some in (values[:100], values[100:110]):
        publish(kafka.bootstrap, names.topic("detections"), some, 2)
        until(lambda n=int(some[-1]) + 1: len(stage.seen) == n)
    assert rebalances() == before
    publish(kafka.bootstrap, names.topic("detections"), values[110:], 2)
    until(held.is_set)
    second = run(other, f"{names.name}.curves.1")
    until(lambda: len(second.intake.standing()) == 1, 6.5)
    joined.set()
    until(lambda: len(copied(kafka, names)) >= 200)
    running.stop()
    second.stop()
    assert copied(kafka, names) == values
    assert totals(kafka, names).tallies["curves"] == {"passed": 200}


def rebalances() -> float:
    """Of all spans of this process."""
    return metrics.REBALANCES._value.get()

"""The survey's topics as they come, grow and go, read on a real Kafka by a span in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from confluent_kafka import OFFSET_INVALID, Message, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic
from streams import publish, until
from test_span import Copy, copied, totals

from workers import topics
from workers.counting import SpanMetrics
from workers.fixed import Fixed
from workers.intake import Intake
from workers.kafka import admin, consumer, member, transactional
from workers.local_kafka import LocalKafka
from workers.settings import Kafka, Settings, Source
from workers.sources import Sources, night
from workers.span import Span

DAY_MS = 86_400_000
NOON = round(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp() * 1000)


class Reading:
    """A span in a thread that copies what its `Sources` find; its clock is set by hand."""

    def __init__(
        self, kafka: LocalKafka, names: topics.Namespace, stage: Copy, slot: int, source: Source
    ) -> None:
        client = {"bootstrap.servers": kafka.bootstrap}
        self.event, self.now_ms = threading.Event(), NOON
        self.admin = admin(client)
        settings = Settings(namespace=names.name, kafka=Kafka(kafka.bootstrap), source=source)
        name, stop = f"{names.name}.curves.{slot}", self.event.is_set
        sources = Sources(settings, names, self.admin, self.admin, stop, lambda: self.now_ms)
        ours = member(client, names.group("curves"), name)
        survey = consumer(client, **{"queued.max.messages.kbytes": 2048})  # fetches little ahead
        self.intake = Intake(ours, survey, stop, stage.ready, 10, sources.first)
        self.intake.identity = sources.identity
        self.span = Span(
            stage=stage,
            intake=self.intake,
            producer=transactional(client, name),
            ledger_topic=names.topic("ledger"),
            dead_topic=names.topic("dead-letters"),
            worker=name,
            group=names.group("curves"),
            commit_s=0.05,
            stop=stop,
            metrics=SpanMetrics("curves"),
            looks=[Fixed(names, self.admin, 2).look, sources.look],
        )
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.span.run()
        except BaseException as exc:
            self.failure = exc

    def reads(self, topic: str) -> set[int]:
        """Partitions of a topic that it has a share of."""
        standing = self.intake.standing()
        return {p for p in range(9) if f"{topic}[{p}]" in standing}


Start = Callable[..., Reading]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look as often as they are asked to: once a second."""
    monkeypatch.setattr("workers.sources._LOOK_S", 0.1)
    monkeypatch.setattr("workers.fixed._LOOK_S", 0.1)


@pytest.fixture
def names(kafka: LocalKafka, namespace: str) -> topics.Namespace:
    place = topics.Namespace(namespace, ("none",))
    topics.ensure({"bootstrap.servers": kafka.bootstrap}, place, 2, 1, lambda: False)
    return place


@pytest.fixture
def start(kafka: LocalKafka, names: topics.Namespace) -> Iterator[Start]:
    started: list[Reading] = []

    def begin(stage: Copy, slot: int = 0, **source: object) -> Reading:
        started.append(Reading(kafka, names, stage, slot, Source(**source)))
        return started[-1]

    yield begin
    for reading in started:
        reading.event.set()
        reading.thread.join(20)
        assert not reading.thread.is_alive()


def numbers(start: int, end: int) -> list[bytes]:
    return [b"%05d" % i for i in range(start, end)]


def grow(kafka: LocalKafka, topic: str, count: int) -> None:
    client = admin({"bootstrap.servers": kafka.bootstrap})
    client.create_partitions([NewPartitions(topic, count)])[topic].result(10)


def test_partitions_that_the_survey_adds_are_read_from_their_first_record(
    kafka: LocalKafka, names: topics.Namespace, start: Start
) -> None:
    """Two workers that began at the topic's end; the new partitions hold records before they are
    seen, and none is missed or doubled."""
    survey = f"{names.name}-lsst"
    publish(kafka.bootstrap, survey, numbers(0, 50), 2)
    stages = [Copy(names.topic("images")) for _ in range(2)]
    workers = [start(s, i, topics=(survey,), start="latest") for i, s in enumerate(stages)]
    until(lambda: sorted(len(w.reads(survey)) for w in workers) == [1, 1])
    publish(kafka.bootstrap, survey, numbers(50, 150), 2)
    grow(kafka, survey, 5)
    publish(kafka.bootstrap, survey, numbers(150, 350), 5)
    until(lambda: set.union(*(w.reads(survey) for w in workers)) == set(range(5)))
    publish(kafka.bootstrap, survey, numbers(350, 450), 5)
    until(lambda: sum(len(s.seen) for s in stages) >= 400)
    until(lambda: len(copied(kafka, names)) >= 400)
    assert copied(kafka, names) == numbers(50, 450)
    sums = totals(kafka, names)
    assert (sums.consumed["curves"], sums.tallies["curves"]) == (400, {"passed": 400})
    assert topics.every(workers[0].admin, lambda: False)[names.twin(survey)] == 5


def test_nights_come_and_go(kafka: LocalKafka, names: topics.Namespace, start: Start) -> None:
    """A night that appears is read whole; one that the survey deletes holds up no other, not even
    in a rebalance; its twin goes later, and with it what the group had committed."""
    pattern = f"{names.name}_{{date}}_programid1"
    first, second = night(pattern, NOON, 0), night(pattern, NOON + DAY_MS, 0)
    assert second.endswith("_20260311_programid1")
    publish(kafka.bootstrap, first, numbers(0, 50), 2)
    stage = Copy(names.topic("images"))
    worker = start(stage, topics=(pattern,), start="latest", nights=3)
    until(lambda: worker.reads(first) == {0, 1})
    publish(kafka.bootstrap, first, numbers(50, 80), 2)
    until(lambda: len(stage.seen) == 30)

    publish(kafka.bootstrap, second, numbers(80, 120), 3)  # before midnight by this clock
    worker.now_ms += DAY_MS
    until(lambda: worker.reads(second) == {0, 1, 2})
    until(lambda: len(stage.seen) == 70)

    worker.admin.delete_topics([first])[first].result(10)
    other = Copy(names.topic("images"))
    heir = start(other, 1, topics=(pattern,), nights=3)
    heir.now_ms = worker.now_ms
    publish(kafka.bootstrap, second, numbers(120, 150), 3)
    until(lambda: len(stage.seen) + len(other.seen) == 100)
    until(lambda: not worker.reads(first) and not heir.reads(first))
    assert copied(kafka, names) == numbers(50, 150)
    assert totals(kafka, names).tallies["curves"] == {"passed": 100}

    def twins() -> list[str]:
        every = topics.every(worker.admin, lambda: False)
        return sorted(t for t in every if t.startswith(names.twin("")))

    assert twins() == [names.twin(first), names.twin(second)]
    worker.now_ms += 4 * DAY_MS  # the night before last is then five nights old
    until(lambda: not worker.reads(second))
    assert names.twin(first) in twins()
    worker.now_ms += 2 * DAY_MS
    until(lambda: names.twin(first) not in twins())
    again = [NewTopic(names.twin(first), 3, 1)]
    worker.admin.create_topics(again)[names.twin(first)].result(10)
    assert sum(committed(kafka, names, second)) == 70
    assert committed(kafka, names, first) == [OFFSET_INVALID] * 3
    assert worker.failure is heir.failure is None


def committed(kafka: LocalKafka, names: topics.Namespace, topic: str) -> list[int]:
    """What the group has committed of a topic's twin."""
    reader = consumer({"bootstrap.servers": kafka.bootstrap, "group.id": names.group("curves")})
    known = reader.committed([TopicPartition(names.twin(topic), p) for p in range(3)], 10)
    reader.close()
    return [at.offset for at in known]


def test_what_of_a_topic_is_deleted_before_it_is_read_is_lost_and_said(
    kafka: LocalKafka, names: topics.Namespace, start: Start
) -> None:
    """30 MB in one partition, ten times what the client library fetches ahead; a slow stage."""

    def trouble(message: Message) -> None:
        if worker.intake.lag().get((survey, 0)):  # it was told where the topic ends
            taken.set()
        deleted.wait(20 if taken.is_set() else 0.05)

    taken, deleted = threading.Event(), threading.Event()
    stage = Copy(names.topic("images"), trouble)
    survey, other = f"{names.name}-lsst", f"{names.name}-ztf"
    publish(kafka.bootstrap, survey, [bytes(750_000)] * 40, 1)
    worker = start(stage, topics=(survey, other))
    until(taken.is_set)
    worker.admin.delete_topics([survey])[survey].result(10)
    publish(kafka.bootstrap, other, numbers(0, 10), 2)
    deleted.set()
    until(lambda: totals(kafka, names).tallies["curves"]["lost"] > 0)
    until(lambda: not worker.reads(survey) and worker.reads(other) == {0, 1})
    until(lambda: set(numbers(0, 10)) <= set(stage.seen))
    sums = totals(kafka, names)
    assert sums.tallies["curves"]["passed"] == len(stage.seen)
    assert sums.tallies["curves"]["lost"] == 50 - len(stage.seen)
    assert sums.consumed["curves"] == 50


@pytest.mark.parametrize("records", [5, 40])
def test_a_topic_made_anew_under_its_name_holds_nobody_up(
    kafka: LocalKafka, names: topics.Namespace, start: Start, records: int
) -> None:
    """Where its records would belong nobody can say, and if they are more neither."""
    anew, other = f"{names.name}-lsst", f"{names.name}-ztf"
    publish(kafka.bootstrap, anew, numbers(0, 20), 1)
    publish(kafka.bootstrap, other, numbers(20, 30), 1)
    first = Copy(names.topic("images"))
    worker = start(first, topics=(anew, other))
    until(lambda: len(first.seen) == 30)
    worker.event.set()
    worker.thread.join(20)
    worker.admin.delete_topics([anew])[anew].result(10)
    until(lambda: anew not in topics.every(worker.admin, lambda: False))
    publish(kafka.bootstrap, anew, numbers(100, 100 + records), 1)
    publish(kafka.bootstrap, other, numbers(40, 50), 1)
    second = Copy(names.topic("images"))
    worker = start(second, topics=(anew, other))
    until(lambda: len(second.seen) == 10)
    publish(kafka.bootstrap, anew, numbers(200, 205), 1)
    publish(kafka.bootstrap, other, numbers(50, 60), 1)
    until(lambda: len(second.seen) == 20)
    assert second.seen == numbers(40, 60)


def test_a_night_that_has_grown_old_is_read_to_its_end(
    kafka: LocalKafka, names: topics.Namespace, start: Start
) -> None:
    pattern = f"{names.name}_{{date}}"
    first = night(pattern, NOON, 0)

    def trouble(message: Message) -> None:
        worker.now_ms = NOON + 2 * DAY_MS
        later.wait(20)

    later = threading.Event()
    stage = Copy(names.topic("images"), trouble)
    publish(kafka.bootstrap, first, numbers(0, 1), 2)
    worker = start(stage, topics=(pattern,), nights=1)
    until(lambda: worker.now_ms > NOON)
    publish(kafka.bootstrap, first, numbers(1, 2000), 2)
    later.set()
    until(lambda: not worker.reads(first))
    assert sorted(stage.seen) == numbers(0, 2000)
    assert totals(kafka, names).tallies["curves"] == {"passed": 2000}


def test_partitions_added_to_a_topic_of_ours_are_refused(
    kafka: LocalKafka, names: topics.Namespace, start: Start
) -> None:
    """While a worker runs that does not even read it, and at any start."""
    survey = f"{names.name}-lsst"
    publish(kafka.bootstrap, survey, numbers(0, 50), 2)
    stage = Copy(names.topic("images"))
    worker = start(stage, topics=(survey,))
    until(lambda: len(stage.seen) == 50)
    grow(kafka, names.topic("detections"), 3)
    until(lambda: not worker.thread.is_alive())
    assert isinstance(worker.failure, topics.WrongNamespace)
    assert "partitions were added" in str(worker.failure)
    for partitions in (2, 3):
        with pytest.raises(topics.WrongNamespace, match="partitions were added"):
            topics.ensure(
                {"bootstrap.servers": kafka.bootstrap}, names, partitions, 1, lambda: False
            )

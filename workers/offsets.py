"""Where a partition begins and ends, and where a group stands in it: by Kafka, else by the ledger.

Kafka forgets a group's offsets seven days after its last member left (offsets.retention.minutes),
or by an operator's hand. The ledger's rows were committed in the same transactions, so what they
say that a group took is where it stood.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from workers import ledger, newcomer
from workers.kafka import admin, consumer, never, patiently
from workers.log import logger
from workers.whole import read_whole

_TIMEOUT_S = 5
#: The ledger is read from its end, this many offsets first and then twice as many each time: a
#: group at work is found among the last.
_FIRST_READ = 2000
#: From so many on it is said that they are read: of a new group up to 31 days of them.
_SAID = 1_000_000
#: So many of its last offsets say where a group at work stands; half a minute of a busy stream.
_OF_LATE = 8000
#: Not further back than this before its last row: of a group that is new, no row tells. What is
#: older than this stands no longer in detections and images (30 days).
_LOOK_BACK_MS = 31 * 86_400_000

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group, and the ledger that its transactions write to."""

    name: str
    ledger: str


def offsets_at(
    kafka: AdminClient,
    places: Iterable[TopicPartition],
    spec: OffsetSpec,
    what: str = "offsets",
    stop: Callable[[], bool] = never,
) -> dict[TopicPartition, Any]:
    """What the leaders say of some partitions, also of records in transactions that are open.

    Each answer has an `offset` (-1 where there is none such) and a `timestamp`; `what` is told
    while they are waited for.
    """
    asked = dict.fromkeys(places, spec)

    def ask() -> dict[TopicPartition, Any]:
        answers = kafka.list_offsets(
            asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S
        )
        try:
            return {at: answer.result(_TIMEOUT_S + 1) for at, answer in answers.items()}
        except KafkaException as exc:
            learn_leaders(kafka, [exc])
            raise

    return patiently(what, ask, stop) if asked else {}


def learn_leaders(kafka: AdminClient, refused: Iterable[BaseException | None]) -> None:
    """Have a client ask for the leaders anew if it was refused for naming the epoch of one before.

    Left alone, one from before Kafka was killed holds on to the leaders that were, for minutes.

    Raises
    ------
    KafkaException
        Kafka does not say.
    """
    codes = {exc.args[0].code() for exc in refused if isinstance(exc, KafkaException)}
    if KafkaError.FENCED_LEADER_EPOCH in codes:
        kafka.list_topics(timeout=_TIMEOUT_S)


def offset_at(
    kafka: AdminClient,
    which: str,
    topic: str,
    partition: int,
    stop: Callable[[], bool] = never,
) -> int:
    """The `earliest` or `latest` offset of a partition, as its leader knows it.

    The latest is that behind all records, also those of a transaction that is open: a reader of
    committed records that comes to it has missed nothing.
    """
    at = TopicPartition(topic, partition)
    spec = OffsetSpec.earliest() if which == "earliest" else OffsetSpec.latest()
    what = f"the {which} offset of {topic}[{partition}]"
    return int(offsets_at(kafka, [at], spec, what, stop)[at].offset)


def committed(reader: Consumer, places: Iterable[Place]) -> dict[Place, int]:
    """The offsets that a consumer's group has committed, of the places that it has ever held.

    Raises
    ------
    KafkaException
        Kafka does not say; after 5 s, where a transaction that would move them is still open.
    """
    answers = reader.committed([TopicPartition(*place) for place in places], _TIMEOUT_S)
    for at in answers:
        if at.error is not None:
            raise KafkaException(at.error)
    return {(at.topic, at.partition): at.offset for at in answers if at.offset >= 0}


def by_ledger(
    client: Mapping[str, Any],
    group: Group,
    places: Collection[Place],
    stop: Callable[[], bool] = never,
) -> dict[Place, int]:
    """The offset behind the last record that a group took, by topic and partition.

    Places that no row of the group names are left out: it never took anything there.
    """
    kafka = admin(client)
    begin, end = (offset_at(kafka, w, group.ledger, 0, stop) for w in ("earliest", "latest"))
    return _taken(client, group, places, begin, end, stop)


def of_late(
    client: Mapping[str, Any], group: Group, stop: Callable[[], bool], places: Collection[Place]
) -> dict[Place, int]:
    """The same of the ledger's last rows, those that can be read without waiting for a transaction.

    Kafka was seen to name offsets of twenty minutes before, after it had been killed and then was
    held up while it read them back: all that was committed since was there and not counted. What
    a group took is in the ledger by the same transaction, so it stands there or further.
    """
    reader = consumer(client)
    at = TopicPartition(group.ledger, 0)
    try:
        bounds = patiently("the ledger", lambda: reader.get_watermark_offsets(at, timeout=5), stop)
    finally:
        reader.close()
    begin, end = bounds
    return _taken(client, group, places, max(begin, end - _OF_LATE), end, stop)


def _taken(
    client: Mapping[str, Any],
    group: Group,
    places: Collection[Place],
    begin: int,
    end: int,
    stop: Callable[[], bool],
) -> dict[Place, int]:
    """What the rows between two offsets of the ledger say, the last first."""
    found: dict[Place, int] = {}
    name, size, newest = group.name.encode(), _FIRST_READ, 0
    while end > begin and len(found) < len(places):
        start = max(begin, end - size)
        if size > _SAID:
            logger().info("looks back in the ledger", group=group.name, rows=end - start)
        oldest = newest
        for messages in read_whole(client, group.ledger, stop, {0: start}, {0: end}):
            oldest = min(oldest or messages[0].timestamp()[1], messages[0].timestamp()[1])
            newest = max(newest, messages[-1].timestamp()[1])
            for message in messages:
                if name in (value := message.value() or b""):  # others' rows need no decoding
                    row = ledger.read(value)
                    if row["group"] == group.name:
                        for given in row["inputs"]:
                            place = given["topic"], given["partition"]
                            if place in places:
                                found[place] = max(found.get(place, 0), given["end"])
        if newest - oldest > _LOOK_BACK_MS:
            break
        end, size = start, 2 * size
    return found


def first_offsets(
    client: Mapping[str, Any],
    group: Group,
    places: Collection[Place],
    stop: Callable[[], bool] = never,
    start: str | None = None,
) -> None:
    """Commit where a group begins in topics of ours, if Kafka has no offset of it there.

    That is behind what the ledger says it took, else the beginning: a reset by accident would skip
    or repeat. A group that is new begins at the `start` if there is one, `earliest` or `latest`,
    and the ledger says so. By a consumer that is no member, not by the admin client: that one was
    seen to crash the process when the group's coordinator was still loading. It does not wait for
    what a transaction left open: a worker that was killed ends its own at its next start, and only
    after this.
    """
    reader = consumer(client, **{"group.id": group.name, "isolation.level": "read_uncommitted"})

    def commit() -> None:
        known = committed(reader, places)
        if new := [place for place in places if place not in known]:
            stood = by_ledger(client, group, new, stop)
            if stood:
                logger().warning(
                    "offsets are gone: goes on where the ledger ends", group=group.name
                )
            elif start is not None and not known:
                kafka = admin(client)
                begin = {place: offset_at(kafka, start, *place, stop) for place in new}
                if any(begin.values()):
                    newcomer.begin(
                        client,
                        group.name,
                        group.ledger,
                        begin,
                        reader,
                        lambda: bool(committed(reader, places)),
                    )
                    return
            first = [TopicPartition(*place, stood.get(place, 0)) for place in new]
            reader.commit(offsets=first, asynchronous=False)

    try:
        patiently(f"first offsets of {group.name}", commit, stop)
    except KafkaException as exc:
        # a member is already there, so another worker of this namespace has committed them
        if exc.args[0].code() not in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP):
            raise
    finally:
        reader.close()


def first_of_survey(
    client: Mapping[str, Any],
    group: Group,
    survey: AdminClient,
    start: str,
    stop: Callable[[], bool],
    topic: str,
    partition: int,
) -> int:
    """Where a group begins in a survey's partition that Kafka knows no offset of for it: behind
    what the ledger says it took, else at the `earliest` or `latest` offset that there is.
    """
    place = topic, partition
    stood = by_ledger(client, group, [place], stop)
    return stood[place] if stood else offset_at(survey, start, *place, stop)

"""The operator's last resort: a group moved past records that it cannot take, and a ledger row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from broker.clock import now_ms
from broker.origins import origin
from broker.records import OUTCOMES
from workers import classifiers, ledger
from workers.errors import Failed, Misused
from workers.intake import Range
from workers.kafka import SESSION_TIMEOUT_MS, admin, consumer, patiently, sole, transact
from workers.namespaces import members
from workers.offsets import committed
from workers.outputs import Outputs
from workers.topics import READS, Namespace, listed
from workers.whole import read_whole

if TYPE_CHECKING:
    from workers.settings import Settings

#: Last word of the name that a skip's row is written under.
SKIP = "skip"
_LOST = OUTCOMES.index("lost")
#: Records of the range are read for the ledger; what does not come in this time is not waited for.
_READ_S = 20


def skip(
    settings: Settings,
    topic: str,
    partition: int,
    start: int,
    end: int,
    really: bool,
    model: str | None = None,
) -> str:
    """Move the group that reads `topic` past offsets [start, end) of a partition; what was done.

    Images are read by each classifier's group: `model` says whose is moved, where there are more.

    Raises
    ------
    Misused
        No span reads this topic; not a range; not told that it is meant.
    Failed
        The group stands elsewhere, its workers run, or the range is not all there.
    """
    namespace = classifiers.of(settings).namespace(settings.namespace)
    client = settings.kafka.client()
    span, held, source = _reader_of(settings, namespace, topic)
    group = namespace.group(span, _classifier(namespace, span, model))
    if not 0 <= start < end:
        msg = f"skip: expected 0 <= FROM < TO, and got {start} and {end}"
        raise Misused(msg)
    kafka = admin(client)
    _refuse_while_running(kafka, group, span)
    member = consumer(client, **{"group.id": group})
    reader = consumer(source)
    try:
        at = held, partition
        stands = patiently("the group's offset", lambda: committed(member, [at])).get(at)
        where = f"{topic}[{partition}]"
        if stands != start:
            told = "at no offset" if stands is None else f"at offset {stands}"
            msg = f"group {group} stands {told} of {where}, not at {start}: a skip begins there"
            raise Failed(msg)
        place = TopicPartition(topic, partition)
        bounds = partial(reader.get_watermark_offsets, place, timeout=5)
        first, behind = patiently(where, bounds)
        if end > behind:
            msg = f"{where} ends at offset {behind}: nothing of it up to {end} can be skipped yet"
            raise Failed(msg)
        lost = _lost(span, source, topic, partition, max(start, first), end)
        told = f"group {group}: offsets {start} to {end} ({end - start}) of {where}"
        if not really:
            msg = f"{told} would be skipped, and their alerts be lost; say --yes if it is meant"
            raise Misused(msg)
        outputs = Outputs()
        if span == "decode":
            outputs.tallies.one(topic, partition, _LOST, end - start, 0)
        else:
            for value in lost:
                outputs.tallies.record(origin(value), (topic, partition), "lost")
        row = ledger.row(
            span,
            f"{settings.namespace}.{SKIP}",
            group,
            now_ms(),
            [Range(topic, partition, start, end, len(lost) if span != "decode" else end - start)],
            outputs.written(),
            outputs.tallies,
        )
        producer = sole(client, f"{settings.namespace}.{SKIP}")

        def write() -> None:
            producer.produce(namespace.topic("ledger"), row)
            moved = [TopicPartition(held, partition, end)]
            producer.send_offsets_to_transaction(moved, member.consumer_group_metadata(), 10)

        try:
            transact(producer, write)
        except KafkaException as exc:
            msg = (
                f"nothing was skipped: {exc.args[0].str()}. Did a {span} worker start meanwhile? "
                "Stop it, and try again"
            )
            raise Failed(msg) from exc
    finally:
        member.close()
        reader.close()
    alerts = sum(outputs.tallies.count.values())
    return f"{told} skipped: {alerts} lost, said in the ledger. It goes on at {end}"


def _reader_of(
    settings: Settings, namespace: Namespace, topic: str
) -> tuple[str, str, Mapping[str, Any]]:
    """The span that reads a topic, the topic that its group holds, and the cluster to read from."""
    ours = settings.kafka.client()
    for span, kind in READS.items():
        if topic == namespace.topic(kind):
            return span, topic, ours
    there = listed(ours)
    if namespace.twin(topic) in there:
        return "decode", namespace.twin(topic), settings.source_client()
    before = namespace.twin("")
    read = sorted(name.removeprefix(before) for name in there if name.startswith(before))
    read += [namespace.topic(kind) for kind in READS.values()]
    msg = (
        f"skip: no span of namespace {namespace.name!r} reads {topic!r}; read are {', '.join(read)}"
    )
    raise Misused(msg)


def _classifier(namespace: Namespace, span: str, model: str | None) -> str | None:
    """The name of the classifier whose group it is; None for the other spans."""
    known = (*namespace.classifiers, *namespace.shadows)
    if span != "classify":
        if model is not None:
            msg = (
                f"skip: --model {model} is of images, which classifiers read; {span} has one group"
            )
            raise Misused(msg)
        return None
    if model is None and len(known) > 1:
        msg = f"skip: each classifier has its own place in the images: --model {' or '.join(known)}"
        raise Misused(msg)
    return model or known[0]


def _refuse_while_running(kafka: AdminClient, group: str, span: str) -> None:
    if alive := members(kafka, group):
        msg = (
            f"group {group} has members: {', '.join(alive)}. Offsets of a group at work cannot "
            f"be moved: stop every worker of it (Ctrl-C or SIGTERM to `nightjar up` or `nightjar "
            f"work {span}`), then skip, then start them again. One that was just stopped stays a "
            f"member for {SESSION_TIMEOUT_MS // 1000} s"
        )
        raise Failed(msg)


def _lost(
    span: str, source: Mapping[str, Any], topic: str, partition: int, start: int, end: int
) -> list[bytes]:
    """The records of our own topic in the range; of a survey's none, which each are one packet."""
    if span == "decode" or start >= end:
        return []
    deadline = time.monotonic() + _READ_S
    batches = read_whole(
        source, topic, lambda: time.monotonic() > deadline, {partition: start}, {partition: end}
    )
    return [message.value() or b"" for messages in batches for message in messages]

"""The topics of a namespace: made once with explicit settings, checked ever after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from workers import offsets
from workers.errors import Failed
from workers.kafka import MAX_MESSAGE_BYTES, admin, never, patiently
from workers.settings import Settings

_DAY_MS = 86_400_000
_TIMEOUT_S = 5

#: Record time is the wall clock, except where the record's own time is the survey's.
_SETTINGS: dict[str, dict[str, str]] = {
    "detections": {"retention.ms": str(30 * _DAY_MS)},
    "images": {"retention.ms": str(30 * _DAY_MS)},
    "labels": {"retention.ms": "-1"},
    "curves": {"cleanup.policy": "compact", "min.compaction.lag.ms": "60000"},
    "ledger": {"retention.ms": str(400 * _DAY_MS)},
    "dead-letters": {"retention.ms": "-1"},
}
#: What each span reads and writes, by kind of topic; decode reads the survey's.
READS = {"curves": "detections", "classify": "images"}
WRITES = {"decode": "detections", "curves": "images", "classify": "labels"}
KINDS = tuple(_SETTINGS)
#: Kind of the topic for labels of networks on trial; a namespace without any has none.
SHADOW = "labels-shadow"
LABELS = ("labels", SHADOW)
#: Kind of the topic that a namespace has while it is being dropped.
MARK = "dropping"
#: These share one partition count, so that an object keeps its number all the way.
_BY_OBJECT = ("detections", "images", "curves", "labels", SHADOW)


#: Kind of the topic that stands while light curves are being imported.
IMPORT = "import"


class WrongNamespace(Failed):
    """A namespace that is in use, or not made as this worker needs it."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """Names of one stream's topics and groups; every replay has its own.

    `classifiers` label it, `shadows` are on trial.

    >>> Namespace("nightjar").topic("labels")
    'nightjar.labels'
    >>> Namespace("nightjar").group("classify", "rr")
    'nightjar.classify.rr'
    """

    name: str
    classifiers: tuple[str, ...] = ()
    shadows: tuple[str, ...] = ()

    def topic(self, kind: str) -> str:
        return f"{self.name}.{kind}"

    def twin(self, source: str) -> str:
        """The empty topic on our cluster whose offsets stand for those of a survey's topic."""
        return f"{self.name}.source.{source}"

    def group(self, span: str, classifier: str | None = None) -> str:
        """The consumer group of a span; of the last one, each classifier has its own."""
        return f"{self.name}.{span}" + (f".{classifier}" if classifier is not None else "")


def ensure(
    client: Mapping[str, Any],
    namespace: Namespace,
    partitions: int,
    replication: int,
    stop: Callable[[], bool] = never,
    importing: bool = False,
    start: str = "latest",
) -> int:
    """Make what is missing of a namespace, check what is there; its partition count.

    Only an import may take a namespace whose light curves are being imported. A classifier that is
    new begins at the `start` of the images: with the next one, or with the earliest that is kept;
    so does the first of a stream that nobody has labelled yet.

    Raises
    ------
    WrongNamespace
        Its keyed topics differ in their number of partitions, or from what was asked for; it is
        being dropped; or its import has not come to its end.
    """
    kafka = admin(client)
    there = every(kafka, stop)
    if namespace.topic(MARK) in there:
        msg = (
            f"namespace {namespace.name!r} is half dropped: finish it with `nightjar namespaces "
            f"drop {namespace.name}`, or take another --namespace"
        )
        raise WrongNamespace(msg)
    if import_mark(namespace.name) in there and not importing:
        raise WrongNamespace(half_imported(namespace.name))
    settings = {**_SETTINGS, **({SHADOW: _SETTINGS["labels"]} if namespace.shadows else {})}
    names = {kind: namespace.topic(kind) for kind in settings}
    have = {name: there[name] for name in keyed(namespace) if name in there}
    check(namespace, have, partitions)
    new = [
        NewTopic(
            name,
            partitions if kind in _BY_OBJECT else 1,
            replication,
            config={
                "message.timestamp.type": "CreateTime",
                "max.message.bytes": str(MAX_MESSAGE_BYTES),
                "min.insync.replicas": str(min(2, replication)),
                **settings[kind],
            },
        )
        for kind, name in names.items()
        if name not in there
    ]
    _create(kafka, new, stop)
    labels = [TopicPartition(names["labels"], p) for p in range(partitions)]
    ends = offsets.offsets_at(kafka, labels, OffsetSpec.latest(), "labels", stop)
    if not any(end.offset for end in ends.values()):
        start = "earliest"
    first: list[tuple[str, str, str | None]] = [("detections", namespace.group("curves"), None)]
    first += [("images", name, start) for name in classifying(namespace)]
    for topic, name, begin in first:
        places = [(names[topic], p) for p in range(partitions)]
        group = offsets.Group(name, names["ledger"])
        offsets.first_offsets(client, group, places, stop, begin)
    return partitions


def classifying(namespace: Namespace) -> list[str]:
    """The groups of its classifiers, those on trial among them."""
    return [namespace.group("classify", c) for c in (*namespace.classifiers, *namespace.shadows)]


def keyed(namespace: Namespace) -> list[str]:
    """The topics that share one partition count."""
    kinds = [kind for kind in _BY_OBJECT if kind != SHADOW or namespace.shadows]
    return [namespace.topic(kind) for kind in kinds]


def check(namespace: Namespace, have: Mapping[str, int], partitions: int) -> None:
    """Refuse a namespace whose topics have not `partitions` each.

    Raises
    ------
    WrongNamespace
        Its topics differ in their number of partitions, or from what was asked for.
    """
    found = set(have.values())
    if found <= {partitions}:
        return
    if len(found) == 1:
        msg = (
            f"namespace {namespace.name!r} was made with {found.pop()} partitions, not the "
            f"{partitions} of --partitions. The count is fixed for a namespace's life, as every "
            "object keeps its partition: take the count it has, or another --namespace"
        )
    else:
        msg = (
            f"partitions were added to topics of namespace {namespace.name!r}: {dict(have)}. An "
            "object's partition follows from their number, so its alerts would part; and Kafka "
            "cannot take partitions away: go on in another --namespace"
        )
    raise WrongNamespace(msg)


def refuse_if_used(client: Mapping[str, Any], name: str, stop: Callable[[], bool] = never) -> None:
    """A replay may only write where nothing stands.

    Raises
    ------
    WrongNamespace
        There are topics of that name already.
    """
    used = sorted(t for t in listed(client, stop) if t.startswith(f"{name}."))
    if used:
        msg = (
            f"namespace {name!r} is in use ({', '.join(used[:3])} ...): a replay never touches "
            "what stands; choose another --namespace"
        )
        raise WrongNamespace(msg)


def import_mark(name: str) -> str:
    """The topic that stands in a namespace as long as light curves are being imported into it."""
    return f"{name}.{IMPORT}"


def half_imported(name: str) -> str:
    """What to say of a namespace with that topic."""
    return (
        f"namespace {name!r} holds only part of the light curves that are being imported into it: "
        "wait for the import, or run the same `nightjar curves import` again if it was ended"
    )


def make(client: Mapping[str, Any], name: str, replication: int) -> None:
    """A topic of one partition that keeps its records until it is deleted."""
    config = {"retention.ms": "-1"}
    _create(admin(client), [NewTopic(name, 1, replication, config=config)], never)


def delete(client: Mapping[str, Any], name: str) -> None:
    """Delete a topic; that it is gone already is as good."""
    kafka = admin(client)

    def gone() -> None:
        try:
            kafka.delete_topics([name])[name].result(_TIMEOUT_S + 1)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise

    patiently(f"the end of {name}", gone)


def twin(
    kafka: AdminClient,
    namespace: Namespace,
    topic: str,
    count: int,
    replication: int,
    stop: Callable[[], bool],
) -> str:
    """The twin of a survey's topic of `count` partitions, made or grown if need be.

    Offsets can be committed on an empty topic and read back, and a commit on it inside a
    transaction is fenced like any other: so a read-only cluster can still be read exactly once.

    Raises
    ------
    WrongNamespace
        The topic's name is longer than an alert's origin has room for.
    """
    if len(topic) > 128:
        msg = f"topic name {topic!r} is longer than the 128 bytes that an origin has room for"
        raise WrongNamespace(msg)
    name = namespace.twin(topic)
    there = every(kafka, stop).get(name)
    if there is None:
        config = {"retention.ms": "-1", "max.message.bytes": "1024"}
        _create(kafka, [NewTopic(name, count, replication, config=config)], stop)
    elif there < count:
        patiently(f"partitions of {name}", partial(_grow, kafka, name, count), stop)
    return name


def _grow(kafka: AdminClient, name: str, count: int) -> None:
    """Add partitions; that another worker adds the same at the same moment is as good."""
    try:
        kafka.create_partitions([NewPartitions(name, count)])[name].result(_TIMEOUT_S + 1)
    except KafkaException:
        if len(kafka.list_topics(name, timeout=_TIMEOUT_S).topics[name].partitions) < count:
            raise


def label_topics(client: Mapping[str, Any], name: str) -> list[str]:
    """The topics of a namespace that labels stand in: that of networks on trial if there is one."""
    there = listed(client)
    return [t for t in (f"{name}.{kind}" for kind in LABELS) if t in there]


def counts(settings: Settings, *kinds: str) -> dict[str, int]:
    """How many partitions the topics of these kinds have in a namespace that must be there.

    Raises
    ------
    Failed
        One is not there.
    """
    there = listed(settings.kafka.client())
    for kind in kinds:
        topic = f"{settings.namespace}.{kind}"
        if topic not in there:
            msg = (
                f"there is no topic {topic} at {settings.kafka.bootstrap_servers}: expected the "
                "--namespace of a stream or a replay that wrote one"
            )
            raise Failed(msg)
    return {kind: there[f"{settings.namespace}.{kind}"] for kind in kinds}


def listed(client: Mapping[str, Any], stop: Callable[[], bool] = never) -> dict[str, int]:
    """The topics that a cluster has, each with its number of partitions."""
    return every(admin(client), stop)


def every(kafka: AdminClient, stop: Callable[[], bool]) -> dict[str, int]:
    """The same, asked by a client that is there already."""
    listed = patiently("Kafka", lambda: kafka.list_topics(timeout=5), stop)
    return {name: len(t.partitions) for name, t in listed.topics.items() if t.error is None}


def _create(kafka: AdminClient, topics: list[NewTopic], stop: Callable[[], bool]) -> None:
    """Make topics; that another worker makes the same at the same moment is as good."""
    if not topics:
        return

    def make() -> None:
        made = kafka.create_topics(topics, request_timeout=_TIMEOUT_S)
        for future in made.values():
            try:
                future.result(_TIMEOUT_S + 1)
            except KafkaException as exc:
                if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    patiently("new topics", make, stop)
    for topic in topics:
        patiently(f"topic {topic.topic}", partial(_present, kafka, topic.topic), stop)


def _present(kafka: AdminClient, name: str) -> None:
    error = kafka.list_topics(name, timeout=5).topics[name].error
    if error is not None:
        raise KafkaException(error)

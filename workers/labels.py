"""The labels topic read as anybody may read it: committed records of all partitions, no group."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, TopicPartition

from broker import taxonomy
from workers.errors import Failed
from workers.kafka import admin, consumer, is_fatal, patiently
from workers.settings import Settings

Label = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which labels are asked for; None is any.

    `name` is the likeliest class, or a class of the taxonomy that it lies in, or that has more than
    half: all that lie in that must together reach `min_probability`. In a class that a tree of
    networks shares out (`branches`) lie those among which it does. `model` is the classifier's name
    without its version.

    Raises
    ------
    LookupError
        There is no such class.
    """

    name: str | None = None
    min_probability: float = 0.0
    survey: str | None = None
    model: str | None = None
    branches: Mapping[str, Collection[str]] = field(default_factory=dict)
    _within: frozenset[str] | None = field(init=False)

    def __post_init__(self) -> None:
        within = None
        if self.name is not None:
            within = taxonomy.below(self.name).union(self.branches.get(self.name, ()))
        object.__setattr__(self, "_within", within)

    def __call__(self, label: Label) -> bool:
        name, probability = best(label)
        inside = True
        if self._within is not None:
            probability = share(label, self._within)
            inside = name in self._within or probability > 0.5
        return (
            inside
            and probability >= self.min_probability
            and (self.survey is None or label["survey"] == self.survey)
            and (self.model is None or classifier_of(label["classifierName"]) == self.model)
        )


def share(label: Label, within: frozenset[str]) -> float:
    """How likely it is one of these classes: of a node of the taxonomy, those below it."""
    return float(sum(c["probability"] for c in label["classes"] if c["name"] in within))


def classifier_of(name: str) -> str:
    """`crts-rows 1` is a version of `crts-rows`, which its consumer group is called by."""
    return name.rpartition(" ")[0] or name


def best(label: Label) -> tuple[str | None, float]:
    """The likeliest class and its probability; (None, 0) where the alert has no name."""
    likeliest = max(label["classes"], key=lambda c: c["probability"], default=None)
    if likeliest is None:
        return None, 0.0
    return likeliest["name"], likeliest["probability"]


def read_labels(
    settings: Settings,
    wanted: Wanted = Wanted(),
    follow: bool = False,
    kind: str = "labels",
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Label]:
    """Yield the labels of a namespace, in order within each object.

    Parameters
    ----------
    follow
        Begin at the end and go on (waiting for the topic where it is not there yet), instead of
        from the beginning to the end of now.
    kind
        Of the topic: labels, or workers.topics.SHADOW for those of networks on trial.
    stop
        Asked a few times a second; true ends it.

    Raises
    ------
    Failed
        The topic is not there, and it is not followed.
    """
    client = settings.kafka.client()
    topic = f"{settings.namespace}.{kind}"
    reader = consumer(client, **{"enable.partition.eof": not follow})
    try:
        count = patiently("Kafka", lambda: _partitions(client, topic, follow), stop)
        if count is None:
            msg = (
                f"there is no topic {topic} at {settings.kafka.bootstrap_servers}: nothing was "
                "labelled in this --namespace yet; --follow waits for it"
            )
            raise Failed(msg)
        start = OFFSET_END if follow else OFFSET_BEGINNING
        reader.assign([TopicPartition(topic, p, start) for p in range(count)])
        open_partitions = set(range(count))
        while open_partitions and not stop():
            for message in reader.consume(500, 0.2):
                error = message.error()
                if error is None:
                    for label in fastavro.reader(io.BytesIO(message.value())):
                        if wanted(label):
                            yield label
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition())
                elif is_fatal(error) or not error.retriable():
                    raise KafkaException(error)
    finally:
        reader.close()


def _partitions(client: dict[str, Any], topic: str, wait: bool) -> int | None:
    found = admin(client).list_topics(topic, timeout=5).topics[topic]
    if found.error is None:
        return len(found.partitions)
    if wait or found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    return None

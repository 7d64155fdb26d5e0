"""A namespace's topics read by object: one partition of each, or all where only an id is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Message

from broker import wire
from broker.identities import Identifier
from broker.records import ALERT, SURVEYS
from workers.audit.labels import batches
from workers.errors import Failed
from workers.kafka import admin, patiently
from workers.progress import Progress
from workers.settings import Settings
from workers.topics import LABELS
from workers.whole import read_whole


@dataclass(slots=True)
class Topics:
    """A namespace's topics, read by key."""

    settings: Settings
    progress: Progress
    kept: dict[tuple[str, bytes], list[Message]] = field(default_factory=dict)
    client: Mapping[str, Any] = field(init=False)
    partitions: int = field(init=False)
    labels: list[str] = field(init=False)  # kinds of the topics that labels stand in

    def __post_init__(self) -> None:
        self.client = self.settings.kafka.client()
        kafka = admin(self.client)
        known = patiently("Kafka", lambda: kafka.list_topics(timeout=5)).topics
        topic = self.name("detections")
        if topic not in known:
            msg = (
                f"there is no topic {topic} at {self.settings.kafka.bootstrap_servers}: expected "
                "the --namespace of a stream or a replay that wrote one"
            )
            raise Failed(msg)
        self.partitions = len(known[topic].partitions)
        self.labels = [kind for kind in LABELS if self.name(kind) in known]

    def name(self, kind: str) -> str:
        return f"{self.settings.namespace}.{kind}"

    def place(self, key: bytes) -> int:
        """The partition of an object."""
        survey, _, name = key.partition(b":")
        row = np.zeros(1, ALERT)
        row["survey"], row["object"] = SURVEYS.index(survey.decode()), name
        return int(wire.partitions(row, self.partitions)[0])

    def of(self, kind: str, key: bytes) -> list[Message]:
        """Records of an object, in their order."""
        if (kind, key) not in self.kept:
            self.kept[kind, key] = [
                message
                for messages in self._read(kind, [self.place(key)])
                for message in messages
                if message.key() == key
            ]
        return self.kept[kind, key]

    def has(self, kind: str, key: bytes) -> bool:
        return bool(self.of(kind, key))

    def key_of(self, alert_id: int) -> bytes | None:
        """The object of an alert: all detections are looked through, then all labels."""
        read: Callable[[list[bytes]], Any]
        identifier = Identifier()
        places = [("detections", identifier.records)]
        for kind, read in [*places, *((kind, identifier.labels) for kind in self.labels)]:
            for batch in batches(read, self._read(kind, range(self.partitions))):
                for i in np.flatnonzero(batch.rows["alert_id"] == alert_id).tolist():
                    row = batch.rows[i]
                    survey: str = SURVEYS[row["survey"]]
                    return survey.encode() + b":" + bytes(row["object"])
        return None

    def letters(self) -> Iterator[Message]:
        for messages in read_whole(self.client, self.name("dead-letters")):
            yield from messages

    def _read(self, kind: str, partitions: Collection[int]) -> Iterator[list[Message]]:
        starts = dict.fromkeys(partitions, 0)
        for messages in read_whole(self.client, self.name(kind), starts=starts):
            self.progress.at(self.progress.done + len(messages))
            yield messages

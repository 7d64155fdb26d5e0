"""What is compared: a classifier of a namespace, or of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from workers.diff.answers import Answers, Collected
from workers.errors import Failed
from workers.labels import classifier_of
from workers.topics import label_topics, listed
from workers.whole import read_whole

if TYPE_CHECKING:
    from workers.settings import Settings


@dataclass(slots=True)
class Side:
    """One of the two: its labels in a namespace, live ones and those of a trial, or in a file.

    `partitions` is how many parts it is read in: 1, or as many as the topic has.
    """

    said: str
    classifier: str
    namespace: str = ""
    file: Path | None = None
    partitions: int = 1
    collected: Collected = field(init=False)

    def __post_init__(self) -> None:
        self.collected = Collected(self.classifier)

    def read(self, settings: Settings, partition: int | None) -> Answers:
        """All of its answers, or those of one partition."""
        if self.file is not None:
            return self.collected.of_table(pq.read_table(self.file))
        client = settings.kafka.client()
        starts = None if partition is None else {partition: 0}
        chunks = (
            messages
            for topic in label_topics(client, self.namespace)
            for messages in read_whole(client, topic, starts=starts)
        )
        return self.collected.of_topic(chunks)

    def check(self) -> None:
        """After all was read: whether it was one classifier's.

        Raises
        ------
        Failed
            There is no such classifier, or none was named and there are several.
        """
        met = sorted(self.collected.met)
        names = sorted({classifier_of(name) for name in met})
        there = f"there are labels of {', '.join(met)}" if met else "there are no labels"
        if not any(map(self.collected.fits, met)):
            msg = f"{self.said}: no label is of {self.classifier or 'a classifier'}; {there}"
            raise Failed(msg)
        if not self.classifier and len(names) > 1:
            place = str(self.file or self.namespace)
            msg = f"{self.said}: {there}: say which one, as {place}:{names[0]}"
            raise Failed(msg)


def side(settings: Settings, said: str) -> Side:
    """`[NAMESPACE:]CLASSIFIER`, or `FILE.parquet[:CLASSIFIER]`.

    Raises
    ------
    Failed
        There is no such namespace or file.
    """
    before, colon, behind = said.rpartition(":")
    if said.endswith(".parquet") or before.endswith(".parquet"):
        whole = said.endswith(".parquet")
        file = Path(said if whole else before)
        if not file.is_file():
            msg = f"{file}: no such file"
            raise Failed(msg)
        return Side(said, "" if whole else behind, file=file)
    namespace = before if colon else settings.namespace
    known = listed(settings.kafka.client())
    topic = f"{namespace}.labels"
    if topic not in known:
        msg = (
            f"{said}: there is no topic {topic} at {settings.kafka.bootstrap_servers}: expected "
            "[NAMESPACE:]CLASSIFIER, or a file that ends in .parquet"
        )
        raise Failed(msg)
    return Side(said, behind, namespace, partitions=known[topic])


def pairs(settings: Settings, first: Side, second: Side) -> Iterator[tuple[Answers, Answers]]:
    """The answers of both; partition by partition where an object stands in the same of both."""
    together = first.partitions == second.partitions and first.file is None and second.file is None
    for partition in range(first.partitions) if together else [None]:
        yield first.read(settings, partition), second.read(settings, partition)

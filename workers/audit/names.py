"""Places in a topic that are at fault, read again for the names of the alerts there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.identities import Identifier
from broker.records import SURVEYS
from workers.audit.books import kind
from workers.audit.faults import Fault, where
from workers.audit.labels import batches
from workers.topics import LABELS
from workers.whole import read_whole

#: Words for what is wrong with an alert or a label, with its place before them.
_WORDS = {
    "missing": "has no label of {classifier}",
    "doubled": "has another label of {classifier} (the first at offset {first})",
    "order": "has its label of {classifier} behind that of a later alert of its object",
    "stranger": "a label of {classifier} for an alert that is not among the detections",
    "twice": "stands among the detections once more (first at offset {first})",
}


@dataclass(slots=True)
class Faulty:
    """Places in one topic's partition, each with what is wrong there; named in a second reading."""

    found: dict[int, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)

    def add(self, what: str, offsets: Iterable[int], **more: Any) -> None:
        for offset in offsets:
            self.found.setdefault(offset, []).append((what, more))


def chosen(
    client: Mapping[str, Any], topic: str, partition: int, offsets: set[int]
) -> Iterator[tuple[NDArray[np.void], list[int]]]:
    """Identities of records at these offsets, and their offsets, read once more."""
    identifier = Identifier()
    read = identifier.labels if kind(topic) in LABELS else identifier.records
    for batch in batches(read, read_whole(client, topic, starts={partition: min(offsets)})):
        here = np.array([o in offsets for o in batch.offset.tolist()], bool)
        if here.any():
            yield batch.rows[here], batch.offset[here].tolist()
        if batch.next > max(offsets):
            return


def named(client: Mapping[str, Any], topic: str, partition: int, faulty: Faulty) -> Iterator[Fault]:
    """Faults with the names of their alerts."""
    if not faulty.found:
        return
    for rows, offsets in chosen(client, topic, partition, set(faulty.found)):
        for row, offset in zip(rows, offsets, strict=True):
            for what, more in faulty.found[offset]:
                name = f"{SURVEYS[row['survey']]}:{row['object'].decode()}"
                packet = (row["topic"].decode(), int(row["partition"]))
                words = (
                    f"{where((topic, partition))} offset {offset}: alert {row['alert_id']} of "
                    f"{name}, from {where(packet)} offset {row['offset']} record {row['record']}: "
                    + _WORDS[what].format(**more)
                )
                place = {
                    "topic": topic,
                    "partition": partition,
                    "offset": offset,
                    "object": name,
                    "alert_id": int(row["alert_id"]),
                    "origin": {
                        "topic": packet[0],
                        "partition": packet[1],
                        "offset": int(row["offset"]),
                        "record": int(row["record"]),
                    },
                    **more,
                }
                yield Fault("doubled" if what == "twice" else what, words, place)

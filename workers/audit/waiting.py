"""What stands in our topics behind the last record that a reader took: on its way, not missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from broker import wire
from broker.identities import Identifier
from broker.records import OUTCOMES
from workers.audit.books import Books, kind
from workers.audit.faults import Cell, Sum, Sums
from workers.audit.labels import batches
from workers.ledger import Tallies
from workers.topics import READS
from workers.whole import read_whole

#: Offsets that are read for their alerts; of more it is only said how many.
MOST = 1_000_000
_PASSED = OUTCOMES.index("passed")


@dataclass(slots=True)
class Waiting:
    """The alerts that a reader has yet to take, by survey partition; None where too many."""

    offsets: int = 0
    sums: Sums | None = None
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    def of(self, cell: Cell) -> Sum:
        return Sum() if self.sums is None else self.sums[cell]


def waiting(
    client: Mapping[str, Any], namespace: str, partitions: int, books: Books, reader: str, span: str
) -> Waiting:
    """What `reader` has yet to take, by the last row of the ledger."""
    topic = f"{namespace}.{READS[span]}"
    starts = dict.fromkeys(range(partitions), 0)
    for (name, read, partition), end in books.ends.items():
        if name == reader and kind(read) == READS[span]:
            starts[partition] = end
    found = Waiting()
    tallies, identifier = Tallies(), Identifier()
    hashes = []
    for batch in batches(identifier.records, _read(client, topic, starts, found)):
        its = wire.alert_hashes(batch.rows)
        tallies.add(batch.rows, np.full(len(its), _PASSED, np.uint8), its)
        hashes.append(its)
        if found.offsets > MOST:
            return Waiting(found.offsets)
    found.sums = Sums()
    for (name, partition, outcome), count in tallies.count.items():
        total = tallies.sum[name, partition, outcome]
        found.sums[name, partition].add(count, total)
    if hashes:
        found.hashes = np.concatenate(hashes)
    return found


def _read(
    client: Mapping[str, Any], topic: str, starts: dict[int, int], found: Waiting
) -> Iterator[list[Message]]:
    for messages in read_whole(client, topic, starts=starts):
        found.offsets += len(messages)
        yield messages

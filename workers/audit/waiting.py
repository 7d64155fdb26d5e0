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
from workers.kafka import admin
from workers.ledger import Tallies
from workers.offsets import offset_at
from workers.outputs import is_for
from workers.topics import READS
from workers.whole import read_whole

U8 = NDArray[np.uint64]
#: Offsets that are read for their alerts; of more it is only said how many.
MOST = 1_000_000
_PASSED = OUTCOMES.index("passed")


@dataclass(slots=True)
class Waiting:
    """The alerts that a reader has yet to take, by survey partition; None where too many.

    `alerts` are those without the notices.
    """

    offsets: int = 0
    sums: Sums | None = None
    alerts: Sums = field(default_factory=Sums)
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
    return _added(read_whole(client, topic, starts=starts), reader)


def earlier(client: Mapping[str, Any], namespace: str, books: Books, reader: str) -> Waiting:
    """The images that were there before a classifier came, by the row that says where it began.

    Their sums are None where they are there no more, or too many.
    """
    ends = {p: end for (name, _, p), end in books.begun.items() if name == reader}
    if not ends:
        return Waiting(sums=Sums())
    topic, kafka = f"{namespace}.images", admin(client)
    n = sum(ends.values())
    gone = any(offset_at(kafka, "earliest", topic, p) for p in ends)
    if gone or n > MOST:
        return Waiting(n)
    starts = dict.fromkeys(ends, 0)
    return _added(read_whole(client, topic, starts=starts, ends=ends), reader)


def skipped(client: Mapping[str, Any], namespace: str, books: Books) -> dict[str, list[U8]]:
    """Hashes of the alerts that an operator had a group step over, by group."""
    found: dict[str, list[U8]] = {}
    for (reader, topic, partition), start, end in books.skipped:
        if (span := books.readers[reader]) in READS and kind(topic) == READS[span]:
            own = f"{namespace}.{READS[span]}"
            chunks = read_whole(client, own, starts={partition: start}, ends={partition: end})
            found.setdefault(reader, []).append(_added(chunks, reader).hashes)
    return found


def _added(chunks: Iterator[list[Message]], reader: str) -> Waiting:
    """The alerts of some records that are for this reader."""
    found = Waiting()
    every, alerts, identifier = Tallies(), Tallies(), Identifier()
    hashes = []
    for batch in batches(identifier.records, _counted(chunks, reader, found)):
        its, alert = wire.alert_hashes(batch.rows), batch.rows["notice"] == 0
        for tallies, some in ((every, slice(None)), (alerts, alert)):
            tallies.add(batch.rows[some], np.full(len(its[some]), _PASSED, np.uint8), its[some])
        hashes.append(its)
        if found.offsets > MOST:
            return Waiting(found.offsets)
    found.sums = Sums()
    for tallies, sums in ((every, found.sums), (alerts, found.alerts)):
        for (name, partition, outcome), count in tallies.count.items():
            sums[name, partition].add(count, tallies.sum[name, partition, outcome])
    if hashes:
        found.hashes = np.concatenate(hashes)
    return found


def _counted(
    chunks: Iterator[list[Message]], reader: str, found: Waiting
) -> Iterator[list[Message]]:
    """Without those that were put back for another classifier."""
    for messages in chunks:
        its = [message for message in messages if is_for(message, reader)]
        found.offsets += len(its)
        if its:
            yield its

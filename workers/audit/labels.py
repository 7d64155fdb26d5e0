"""The labels themselves, added up as the ledger adds up alerts: who said how much of which alerts.

A label's alert is read from the label's own bytes: its origin and classifier stand in the record,
and broker.identities reads them without the rest. No header of Kafka's is needed for that, and none
is written: a list of headers would cost each label in the hot path, and readers get the bytes with
them anyway.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from broker import wire
from broker.identities import Identifier
from broker.records import OUTCOMES, REASONS
from workers.audit.faults import Cell, Fault, Sums, where
from workers.labels import classifier_of
from workers.ledger import Tallies
from workers.whole import read_whole

#: Of labels, what the ledger's outcomes are told by: a notice is not told from a withdrawal.
KINDS = ("labelled", "unclassified", "withdrawn")
_NONE, _WITHDRAWN = REASONS.index("none"), REASONS.index("withdrawn")


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition: identities, and where in the topic each stands."""

    partition: int
    rows: NDArray[np.void]  # (n,) broker.identities.IDENTITY
    offset: NDArray[np.int64]  # (n,)
    strange: list[int]  # offsets of records that cannot be read
    next: int  # the offset behind the last record


def batches(
    read: Callable[[list[bytes]], tuple[NDArray[np.void], NDArray[np.int64]]],
    chunks: Iterable[list[Message]],
) -> Iterator[Batch]:
    """The identities of messages, partition by partition in each chunk."""
    for messages in chunks:
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            by_partition.setdefault(message.partition(), []).append(message)
        for partition, some in by_partition.items():
            rows, which = read([m.value() or b"" for m in some])
            offset = np.fromiter((m.offset() for m in some), np.int64, len(some))
            strange = []
            if len(which) < len(some):
                strange = np.delete(offset, which).tolist()
            yield Batch(partition, rows, offset[which], strange, int(offset[-1]) + 1)


@dataclass(slots=True)
class LabelSums:
    """Labels by classifier and outcome, as far as the partitions were read."""

    tallies: defaultdict[str, Tallies] = field(default_factory=lambda: defaultdict(Tallies))
    ends: dict[tuple[str, int], int] = field(default_factory=dict)  # by topic and partition
    count: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, topic: str, batch: Batch) -> None:
        self.ends[topic, batch.partition] = batch.next
        self.count += len(batch.rows)
        for offset in batch.strange:
            words = f"{where((topic, batch.partition))}: the record at offset {offset} is no label"
            place = {"topic": topic, "partition": batch.partition, "offset": offset}
            self.faults.append(Fault("unreadable", words, place))
        hashes = wire.alert_hashes(batch.rows)
        outcome = outcomes(batch.rows)
        names = batch.rows["classifier"].tolist()
        for name in set(names):
            its = (
                slice(None) if names.count(name) == len(names) else batch.rows["classifier"] == name
            )
            tallies = self.tallies[classifier_of(name.decode())]
            tallies.add(batch.rows[its], outcome[its], hashes[its])

    def sums(self, classifier: str, kind: str) -> Sums:
        found = Sums()
        tallies = self.tallies.get(classifier, Tallies())
        for (topic, partition, outcome), count in tallies.count.items():
            if OUTCOMES[outcome] == kind:
                found[topic, partition].add(count, tallies.sum[topic, partition, outcome])
        return found


def outcomes(rows: NDArray[np.void]) -> NDArray[np.uint8]:
    """(n,) indexes of OUTCOMES: labelled, unclassified or withdrawn."""
    found = np.full(len(rows), OUTCOMES.index("unclassified"), np.uint8)
    found[rows["reason"] == _NONE] = OUTCOMES.index("labelled")
    found[rows["reason"] == _WITHDRAWN] = OUTCOMES.index("withdrawn")
    return found


def add_labels(
    client: Mapping[str, Any],
    topic: str,
    sums: LabelSums,
    said: Callable[[int], None],
    starts: Mapping[int, int] | None = None,
) -> None:
    """Add the labels of a topic up to its end of now; `said` is told how many there are so far."""
    for batch in batches(Identifier().labels, read_whole(client, topic, starts=starts)):
        sums.add(topic, batch)
        said(sums.count)


def compare(
    before: LabelSums,
    after: LabelSums,
    said: Mapping[tuple[str, str], Sums],
    readers: Mapping[str, str],
) -> tuple[list[Fault], int]:
    """Where the labels are not what the ledger says of them; and how many are on their way.

    Parameters
    ----------
    before, after
        The labels as they stood before the ledger was read, and after it.
    said
        The ledger's sums by reader and outcome; notices are counted with withdrawals.
    readers
        Group -> its classifier's name.
    """
    faults, moving = [], 0
    for reader, name in sorted(readers.items()):
        for kind in KINDS:
            ledger = said.get((reader, kind), Sums())
            least, most = before.sums(name, kind), after.sums(name, kind)
            for cell in sorted({*ledger, *most}):
                n = ledger[cell].count
                there = {"topic": cell[0], "partition": cell[1], "classifier": name}
                if least[cell].count <= n <= most[cell].count:
                    same = n in (least[cell].count, most[cell].count)
                    moving += most[cell].count - n
                    agree = ledger[cell] in (least[cell], most[cell])
                    if same and not agree:
                        words = (
                            f"{where(cell)}: {name} wrote {n} labels ({kind}) as the ledger says, "
                            "but the sums of the alerts' hashes differ: not those alerts' labels, "
                            "or one is missing and another doubled"
                        )
                        faults.append(Fault("sum", words, {**there, "outcome": kind}))
                    continue
                missing = n > most[cell].count
                apart = n - most[cell].count if missing else least[cell].count - n
                words = (
                    f"{where(cell)}: {apart} labels of {name} ({kind}) "
                    f"{'are missing' if missing else 'are more'} than the ledger's {n}"
                )
                place = {**there, "outcome": kind, "labels": apart}
                faults.append(Fault("missing" if missing else "doubled", words, place))
    known = set(readers.values())
    for name in sorted(set(after.tallies) - known):
        n = sum(after.tallies[name].count.values())
        words = f"{n} labels are of a classifier {name!r} that the ledger does not know"
        faults.append(Fault("stranger", words, {"classifier": name, "labels": n}))
    return faults, moving


def cells_of(sums: Mapping[tuple[str, str], Sums]) -> list[Cell]:
    """All survey partitions that are spoken of."""
    return sorted({cell for some in sums.values() for cell in some})

"""Every alert matched with its label: which has none, which has two, which stand in another order.

One partition at a time, as an object keeps its partition from detections to labels: some 50 bytes
for each alert of the largest are held. Names are read again for the faulty ones alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import wire
from broker.identities import Identifier, name_hashes, object_hashes
from broker.origins import origin
from broker.records import OUTCOMES
from workers.audit.books import Books, kind
from workers.audit.faults import Fault, Sums, where
from workers.audit.labels import batches, classifier_of, outcomes
from workers.audit.names import Faulty, chosen, named
from workers.audit.waiting import Waiting
from workers.kafka import admin
from workers.ledger import Tallies
from workers.letters import letter
from workers.offsets import offset_at
from workers.progress import Progress
from workers.whole import read_whole

_WITHDRAWN, _DUPLICATE = OUTCOMES.index("withdrawn"), OUTCOMES.index("duplicate")
U8 = NDArray[np.uint64]
I8 = NDArray[np.int64]


@dataclass(slots=True)
class Deep:
    """What matching found."""

    alerts: int = 0
    matched: int = 0  # labels with their alert
    repeats: int = 0  # alerts that came again, and so have no label of their own
    notices: int = 0
    under_way: int = 0
    expired: int = 0  # labels whose detections are gone
    faults: list[Fault] = field(default_factory=list)

    def row(self) -> dict[str, int]:
        names = ("alerts", "matched", "repeats", "notices", "under_way", "expired")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Column:
    """Records of one partition: hash of the alert and its packet, of the alert, of its object."""

    hash: U8
    alert: U8
    object: U8
    offset: I8
    withdrawn: NDArray[np.bool_]
    classifier: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.hash)

    def only(self, chosen: Any) -> Column:
        return Column(*(getattr(self, name)[chosen] for name in self.__slots__))


def match(
    client: Mapping[str, Any],
    namespace: str,
    partitions: int,
    books: Books,
    lags: Mapping[str, Waiting],
) -> Deep:
    """Match all detections with all labels, for each classifier of the ledger."""
    deep = Deep()
    kafka = admin(client)
    buried = _buried(client, namespace)
    numbers: dict[str, int] = {}
    repeated = Tallies()
    whole = True
    with Progress("alerts and labels", unit="records") as progress:
        for partition in range(partitions):
            # labels first: each of them has its detection there already
            labels, detections = (
                _column(client, f"{namespace}.{topic}", partition, numbers, progress)
                for topic in ("labels", "detections")
            )
            deep.alerts += len(detections)
            whole &= not offset_at(kafka, "earliest", f"{namespace}.detections", partition)
            alerts_at, labels_at = Faulty(), Faulty()
            _twice(detections, buried, alerts_at)
            curves_end = max(
                (
                    end
                    for (_, topic, number), end in books.ends.items()
                    if kind(topic) == "detections" and number == partition
                ),
                default=0,
            )
            repeats: list[int] = []
            for reader in books.classifiers:
                name = reader.partition(".classify.")[2]
                its = labels
                if name:
                    its = labels.only(labels.classifier == numbers.get(name, -1))
                waits = lags[reader].hashes
                known = lags[reader].sums is not None
                taken = detections.offset < curves_end
                taken &= ~_isin(detections.hash, waits)
                repeats = _one(
                    deep, detections, its, taken, known, buried, whole, name or "classify",
                    alerts_at, labels_at,
                )  # fmt: skip
            deep.faults += named(client, f"{namespace}.detections", partition, alerts_at)
            deep.faults += named(client, f"{namespace}.labels", partition, labels_at)
            deep.repeats += len(repeats)
            if repeats:
                _tally(client, f"{namespace}.detections", partition, set(repeats), repeated)
    if whole and books.classifiers:
        _repeats(deep, books, repeated)
    return deep


def _column(
    client: Mapping[str, Any],
    topic: str,
    partition: int,
    numbers: dict[str, int],
    progress: Progress,
) -> Column:
    identifier = Identifier()
    read = identifier.labels if kind(topic) == "labels" else identifier.records
    parts: list[tuple[NDArray[Any], ...]] = []
    for batch in batches(read, read_whole(client, topic, starts={partition: 0})):
        rows = batch.rows
        names = [classifier_of(name.decode()) for name in rows["classifier"].tolist()]
        parts.append(
            (
                wire.alert_hashes(rows),
                name_hashes(rows),
                object_hashes(rows),
                batch.offset,
                outcomes(rows) == _WITHDRAWN,
                np.array([numbers.setdefault(n, len(numbers)) for n in names], np.int32),
            )
        )
        progress.at(progress.done + len(rows))
    empty = (np.zeros(0, np.uint64),) * 3
    parts = parts or [(*empty, np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, np.int32))]
    return Column(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _isin(values: U8, among: U8) -> NDArray[np.bool_]:
    """np.isin by sorting, without its tables: values of 64 bits spread over all of them."""
    return np.isin(values, among, kind="sort") if len(among) else np.zeros(len(values), bool)


def _earlier(values: U8) -> I8:
    """(n,) the index of the first equal value; its own where it is the first."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    found: I8 = first[inverse]
    return found


def _twice(detections: Column, buried: U8, faulty: Faulty) -> None:
    """Detections written twice; one that was buried may be there again, by a retry."""
    first = _earlier(detections.hash)
    again = np.flatnonzero(first < np.arange(len(detections)))
    again = again[~_isin(detections.hash[again], buried)]
    for i in again.tolist():
        faulty.add("twice", [int(detections.offset[i])], first=int(detections.offset[first[i]]))


def _one(
    deep: Deep,
    detections: Column,
    labels: Column,
    taken: NDArray[np.bool_],
    known: bool,
    buried: U8,
    whole: bool,
    classifier: str,
    alerts_at: Faulty,
    labels_at: Faulty,
) -> list[int]:
    """Match one classifier's labels of a partition; offsets of detections that are repeats."""
    order = np.argsort(detections.hash, kind="stable")
    # the last of equal ones: a detection that was put back is taken from there
    at = np.searchsorted(detections.hash[order], labels.hash, side="right") - 1
    index = order[np.maximum(at, 0)] if len(order) else np.zeros(len(labels), np.int64)
    match = np.zeros(len(labels), bool)
    if len(order):
        match = (at >= 0) & (detections.hash[index] == labels.hash)
    deep.matched += int(match.sum())
    alone = ~match & ~labels.withdrawn
    deep.notices += int((~match & labels.withdrawn).sum())
    if whole:
        labels_at.add("stranger", labels.offset[alone].tolist(), classifier=classifier)
    else:
        deep.expired += int(alone.sum())
    first = _earlier(labels.hash)
    for i in np.flatnonzero(first < np.arange(len(labels))).tolist():
        at_first = int(labels.offset[first[i]])
        labels_at.add("doubled", [int(labels.offset[i])], classifier=classifier, first=at_first)

    once = match & (first == np.arange(len(labels)))
    some, its = labels.only(once), index[once]
    by_object = np.argsort(some.object, kind="stable")
    same = some.object[by_object[1:]] == some.object[by_object[:-1]]
    back = same & (its[by_object[1:]] < its[by_object[:-1]])
    late = by_object[1:][back]
    labels_at.add("order", some.offset[late].tolist(), classifier=classifier)

    none = np.ones(len(detections), bool)
    none[its] = False
    none &= ~_isin(detections.hash, labels.hash)
    deep.under_way += int((none & ~taken).sum())
    none &= taken & ~_isin(detections.hash, buried)
    dead = _isin(detections.hash, buried) & ~_isin(detections.hash, labels.hash)
    # an alert that came again has the label of its first coming, unless that one died
    alive = np.flatnonzero(~dead)
    earlier = np.zeros(len(detections), bool)
    earlier[alive] = _earlier(detections.alert[alive]) < np.arange(len(alive))
    again = none & (earlier | _isin(detections.alert, labels.alert))
    missing = none & ~again
    if known:
        alerts_at.add("missing", detections.offset[missing].tolist(), classifier=classifier)
    found: list[int] = detections.offset[again].tolist()
    return found


def _buried(client: Mapping[str, Any], namespace: str) -> U8:
    """Hashes of the alerts that died behind decode."""
    found = []
    for messages in read_whole(client, f"{namespace}.dead-letters"):
        for message in messages:
            buried = letter(message, namespace)
            if buried.span != "decode" and (of := origin(buried.value)):
                found.append(of.hash)
    return np.array(found, np.uint64)


def _tally(
    client: Mapping[str, Any],
    topic: str,
    partition: int,
    offsets: set[int],
    repeated: Tallies,
) -> None:
    for rows, _ in chosen(client, topic, partition, offsets):
        outcome = np.full(len(rows), _DUPLICATE, np.uint8)
        repeated.add(rows, outcome, wire.alert_hashes(rows))


def _repeats(deep: Deep, books: Books, repeated: Tallies) -> None:
    """The alerts without a label of their own are those that the ledger calls repeats."""
    found, said = Sums(), Sums()
    for (topic, partition, outcome), count in repeated.count.items():
        found[topic, partition].add(count, repeated.sum[topic, partition, outcome])
    for (reader, name), sums in books.tallies.items():
        if books.readers[reader] == "curves" and name in ("duplicate", "corrected"):
            for cell, part in sums.by_cell.items():
                said[cell].add(part.count, part.total)
    for cell in sorted({*found, *said}):
        if found[cell] != said[cell]:
            words = (
                f"{where(cell)}: {found[cell].count} alerts have no label of their own as they "
                f"came before, the ledger says {said[cell].count} (duplicate and corrected)"
                + ("" if found[cell].count != said[cell].count else ", and they are others")
            )
            place = {"topic": cell[0], "partition": cell[1]}
            deep.faults.append(Fault("sum", words, place))

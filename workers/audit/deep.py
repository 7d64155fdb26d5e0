"""Every alert matched with its label: which has none, which has two, which stand in another order.

One partition at a time, as an object keeps its partition from detections to labels: some 50 bytes
for each alert of the largest are held. Names are read again for the faulty ones alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import wire
from broker.identities import Identifier, name_hashes, object_hashes
from broker.origins import origin
from broker.records import OUTCOMES
from workers.audit.books import Books, kind
from workers.audit.faults import Fault, Sums, where
from workers.audit.labels import batches, outcomes
from workers.audit.names import Faulty, chosen, named
from workers.audit.waiting import Waiting, skipped
from workers.kafka import admin
from workers.labels import classifier_of
from workers.ledger import Tallies
from workers.letters import letter
from workers.offsets import offset_at
from workers.progress import Progress
from workers.topics import LABELS, label_topics
from workers.whole import read_whole

_WITHDRAWN, _DUPLICATE = OUTCOMES.index("withdrawn"), OUTCOMES.index("duplicate")
U8 = NDArray[np.uint64]
I8 = NDArray[np.int64]
_NONE: U8 = np.zeros(0, np.uint64)


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
    topic: NDArray[np.int32]  # of labels, which may stand in two

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
    early: Mapping[str, Waiting],
) -> Deep:
    """Match all detections with all labels, for each classifier of the ledger.

    `early` are the images that were there before a classifier came, `lags` those that wait.
    """
    deep = Deep()
    kafka = admin(client)
    died = _buried(client, namespace)
    for group, hashes in skipped(client, namespace, books).items():
        died[group] = np.concatenate([died.get(group, _NONE), *hashes])
    before = np.concatenate([*(h for g, h in died.items() if ".classify." not in g), _NONE])
    topics = label_topics(client, namespace)
    numbers: dict[str, int] = {}
    repeated = Tallies()
    whole = True
    with Progress("alerts and labels", unit="records") as progress:
        for partition in range(partitions):
            # labels first: each of them has its detection there already
            said = [_column(client, topic, partition, numbers, progress) for topic in topics]
            labels = _both(said)
            detections = _column(client, f"{namespace}.detections", partition, numbers, progress)
            deep.alerts += len(detections)
            whole &= not offset_at(kafka, "earliest", f"{namespace}.detections", partition)
            alerts_at, labels_at = Faulty(), [Faulty() for _ in topics]
            _twice(detections, np.concatenate([*died.values(), _NONE]), alerts_at)
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
                known = lags[reader].sums is not None and early[reader].sums is not None
                taken = detections.offset < curves_end
                taken &= ~_isin(detections.hash, lags[reader].hashes)
                own = np.concatenate([died.get(reader, _NONE), early[reader].hashes])
                repeats = _one(
                    deep, detections, its, taken, known, (before, own), whole, name or "classify",
                    alerts_at, labels_at,
                )  # fmt: skip
            deep.faults += named(client, f"{namespace}.detections", partition, alerts_at)
            for topic, faulty in zip(topics, labels_at, strict=True):
                deep.faults += named(client, topic, partition, faulty)
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
    read = identifier.labels if kind(topic) in LABELS else identifier.records
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
                np.zeros(len(rows), np.int32),
            )
        )
        progress.at(progress.done + len(rows))
    number = np.zeros(0, np.int32)
    parts = parts or [
        (_NONE, _NONE, _NONE, np.zeros(0, np.int64), np.zeros(0, bool), number, number)
    ]
    return Column(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _both(said: Sequence[Column]) -> Column:
    """The labels of all topics as one column that tells them apart."""
    columns = [
        replace(column, topic=np.full(len(column), number, np.int32))
        for number, column in enumerate(said)
    ]
    names = Column.__slots__
    return Column(*(np.concatenate([getattr(c, name) for c in columns]) for name in names))


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
    died: tuple[U8, U8],
    whole: bool,
    classifier: str,
    alerts_at: Faulty,
    labels_at: Sequence[Faulty],
) -> list[int]:
    """Match one classifier's labels of a partition; offsets of detections that are repeats.

    `died` are the alerts that no classifier got, and those that this one could not or need not
    take: buried, stepped over, or there before it.
    """
    buried = np.concatenate(died)
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
        for number, faulty in enumerate(labels_at):
            strange = labels.offset[alone & (labels.topic == number)]
            faulty.add("stranger", strange.tolist(), classifier=classifier)
    else:
        deep.expired += int(alone.sum())
    first = _earlier(labels.hash)
    for i in np.flatnonzero(first < np.arange(len(labels))).tolist():
        at_first, place = int(labels.offset[first[i]]), labels_at[labels.topic[i]]
        place.add("doubled", [int(labels.offset[i])], classifier=classifier, first=at_first)

    once = match & (first == np.arange(len(labels)))
    some, its = labels.only(once), index[once]
    put_back = _isin(some.hash, died[1])  # an image that was put back has its label late
    for number, faulty in enumerate(labels_at):  # a topic has an order, two have none
        here = np.flatnonzero((some.topic == number) & ~put_back)
        by_object = here[np.argsort(some.object[here], kind="stable")]
        same = some.object[by_object[1:]] == some.object[by_object[:-1]]
        back = same & (its[by_object[1:]] < its[by_object[:-1]])
        late = by_object[1:][back]
        faulty.add("order", some.offset[late].tolist(), classifier=classifier)

    none = np.ones(len(detections), bool)
    none[its] = False
    none &= ~_isin(detections.hash, labels.hash)
    deep.under_way += int((none & ~taken).sum())
    none &= taken & ~_isin(detections.hash, buried)
    dead = _isin(detections.hash, died[0]) & ~_isin(detections.hash, labels.hash)
    # an alert that came again has the label of its first coming, unless that one made no image
    alive = np.flatnonzero(~dead)
    earlier = np.zeros(len(detections), bool)
    earlier[alive] = _earlier(detections.alert[alive]) < np.arange(len(alive))
    again = none & (earlier | _isin(detections.alert, labels.alert))
    missing = none & ~again
    if known:
        alerts_at.add("missing", detections.offset[missing].tolist(), classifier=classifier)
    found: list[int] = detections.offset[again].tolist()
    return found


def _buried(client: Mapping[str, Any], namespace: str) -> dict[str, U8]:
    """Hashes of the alerts that died behind decode, by the group that could not take them."""
    found: dict[str, list[int]] = {}
    for messages in read_whole(client, f"{namespace}.dead-letters"):
        for message in messages:
            buried = letter(message, namespace)
            if buried.span != "decode" and (of := origin(buried.value)):
                found.setdefault(buried.group, []).append(of.hash)
    return {group: np.array(hashes, np.uint64) for group, hashes in found.items()}


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

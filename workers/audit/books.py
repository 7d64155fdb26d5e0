"""The ledger added up row by row: ranges that touch, rows that agree, hops that close.

Memory does not grow with the rows: a few numbers per partition and per survey partition.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker import records
from workers.audit.faults import Cell, Fault, Moment, Sum, Sums, where
from workers.newcomer import BEGIN
from workers.skip import SKIP
from workers.topics import READS, SHADOW, WRITES

HOPS = tuple(WRITES)
#: What stands in the outputs for each outcome: a record of the next topic, or a letter.
_WRITTEN = {
    "decode": {"passed", "dead"},
    "curves": {"passed", "withdrawn", "notice", "dead"},
    "classify": {"labelled", "unclassified", "withdrawn", "notice", "dead"},
}
#: What a span makes of what it is given; a notice is made by curves itself.
_TAKEN = {
    "curves": {"passed", "duplicate", "corrected", "withdrawn", "dead"},
    "classify": {"labelled", "unclassified", "withdrawn", "notice", "dead"},
}
_PASSED_ON = {"decode": {"passed"}, "curves": {"passed", "withdrawn", "notice"}}
#: What becomes of an alert in the end; a notice is told of one that has its outcome already.
OUTCOMES = tuple(name for name in records.OUTCOMES if name not in ("passed", "notice"))
#: What a classifier that is younger than the stream has no answer to.
BEFORE = "before"

Place = tuple[str, str, int]  # reader, topic, partition


def kind(topic: str) -> str:
    """`nightjar.detections` is of kind detections."""
    return topic.rpartition(".")[2]


@dataclass(slots=True)
class Hop:
    """What one span passed on, and what each reader of it made of that, by survey partition.

    A reader's row stands behind the rows that wrote what it read. So at any row it has taken a part
    of what was passed, never more; and where the counts are equal, so must be the sums.
    """

    span: str  # that reads
    passed: Sums = field(default_factory=Sums)
    taken: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    closed: dict[tuple[str, Cell], Moment] = field(default_factory=dict)
    wrong: dict[tuple[str, Cell], Fault] = field(default_factory=dict)

    def left(self, reader: str, cell: Cell) -> Sum:
        """What was passed on and not taken yet."""
        return self.passed[cell].less(self.taken[reader][cell])

    def check(self, reader: str, cell: Cell, at: Moment) -> None:
        left = self.left(reader, cell)
        if not left:
            self.closed[reader, cell] = at
        elif left.count <= 0 and (reader, cell) not in self.wrong:
            last = self.closed.get((reader, cell))
            since = f"after {last}, where they last agreed," if last else "from the beginning on"
            place = {"topic": cell[0], "partition": cell[1], "reader": reader, "ledger": at.offset}
            if last is not None:
                place["agreed"] = last.offset
            if left.count < 0:
                words = (
                    f"{where(cell)}: {-left.count} more alerts came out of {reader} than went in, "
                    f"{since} up to {at}"
                )
                fault = Fault("doubled", words, {**place, "alerts": -left.count})
            else:
                words = (
                    f"{where(cell)}: as many alerts came out of {reader} as went in, but not the "
                    f"same ones: the sums of their hashes differ {since} up to {at}"
                )
                fault = Fault("sum", words, place)
            self.wrong[reader, cell] = fault


@dataclass(slots=True)
class Books:
    """All that the ledger's rows add up to."""

    rows: int = 0
    first: Moment | None = None
    last: Moment | None = None
    faults: list[Fault] = field(default_factory=list)
    ends: dict[Place, int] = field(default_factory=dict)
    starts: dict[Place, int] = field(default_factory=dict)
    tallies: defaultdict[tuple[str, str], Sums] = field(  # by reader and outcome
        default_factory=lambda: defaultdict(Sums)
    )
    unknown: Counter[tuple[str, str, Cell]] = field(default_factory=Counter)  # of no known origin
    hops: dict[str, Hop] = field(default_factory=lambda: {s: Hop(s) for s in HOPS[1:]})
    written: Counter[tuple[str, int]] = field(default_factory=Counter)  # by kind and partition
    read: Counter[Place] = field(default_factory=Counter)
    readers: dict[str, str] = field(default_factory=dict)  # reader -> its span
    begun: dict[Place, int] = field(default_factory=dict)  # where one that came later began
    skipped: list[tuple[Place, int, int]] = field(default_factory=list)  # by an operator, from, to
    own: set[str] = field(default_factory=set)  # topics of ours that spans read

    @property
    def classifiers(self) -> list[str]:
        """The groups that label, in order of their names."""
        return sorted(reader for reader, span in self.readers.items() if span == "classify")

    def add(self, row: Mapping[str, Any], offset: int) -> None:
        """Take in the row that stands at `offset` of the ledger."""
        at = Moment(offset, row["committed_ms"])
        self.rows += 1
        self.first = self.first or at
        self.last = at
        span = row["span"]
        if span not in HOPS:
            self.faults.append(
                Fault("row", f"{at} is of a span {span!r} that there is not", {"ledger": offset})
            )
            return
        retry = any(kind(r["topic"]) == "dead-letters" for r in row["inputs"])
        reader = self._reader(span, row["group"], retry)
        if not retry:
            for given in row["inputs"]:
                self._range(span, reader, given, at)
                place = reader, given["topic"], given["partition"]
                hand = row["worker"].rpartition(".")[2]
                if hand == BEGIN:
                    self.begun[place] = given["end"]
                if hand == SKIP:
                    self.skipped.append((place, given["start"], given["end"]))
        for out in row["outputs"]:
            self.written[kind(out["topic"]), out["partition"]] += out["count"]
        self._row(span, row, retry, at)
        self._tallies(span, reader, row, at)

    def _reader(self, span: str, group: str, retry: bool) -> str:
        """Whose row it is. Rows of the first version name no group; an old retry names its own."""
        reader = group or span
        if reader in self.readers:
            return reader
        known = [name for name, of in self.readers.items() if of == span]
        if retry and known:
            return known[0]
        if known == [span]:  # what the first version wrote of this span goes on under its name
            del self.readers[span]
            for places in (self.ends, self.starts, self.read):
                for place in [p for p in places if p[0] == span]:
                    places[reader, place[1], place[2]] = places.pop(place)
            for key in [k for k in self.tallies if k[0] == span]:
                self.tallies[reader, key[1]] = self.tallies.pop(key)
            if span in self.hops and span in self.hops[span].taken:
                self.hops[span].taken[reader] = self.hops[span].taken.pop(span)
        self.readers[reader] = span
        return reader

    def _range(self, span: str, reader: str, given: Mapping[str, Any], at: Moment) -> None:
        topic, partition, start, end = (given[k] for k in ("topic", "partition", "start", "end"))
        place = reader, topic, partition
        there = {"topic": topic, "partition": partition, "reader": reader, "ledger": at.offset}
        name = where((topic, partition))
        last = self.ends.get(place)
        if last is None:
            self.starts[place] = start
            # a survey's topic may have lost its beginning before it ever was ours
            last = start if span == "decode" else 0
        if end < start:
            words = f"{name}: {at} says that {reader} read offsets {start} to {end}, backwards"
            self.faults.append(Fault("row", words, {**there, "start": start, "end": end}))
        if start > last:
            words = (
                f"{name}: offsets {last} to {start} were read by no row of {reader}, before {at}"
            )
            self.faults.append(Fault("gap", words, {**there, "start": last, "end": start}))
        elif start < last:
            words = (
                f"{name}: offsets {start} to {min(last, end)} were read twice by {reader}, by {at}"
            )
            self.faults.append(
                Fault("overlap", words, {**there, "start": start, "end": min(last, end)})
            )
        self.ends[place] = max(end, last)
        self.read[place] += max(given["records"], 0)

    def _row(self, span: str, row: Mapping[str, Any], retry: bool, at: Moment) -> None:
        """Whether a row agrees with itself: what it wrote, and what it read, with its outcomes."""
        count: Counter[str] = Counter()
        for tally in row["tallies"]:
            count[tally["outcome"]] += tally["count"]
        made = sum(count[outcome] for outcome in _WRITTEN[span])
        wrote = sum(
            out["count"]
            for out in row["outputs"]
            if kind(out["topic"]) in (WRITES[span], "dead-letters")
            or (span == "classify" and kind(out["topic"]) == SHADOW)
        )
        there = {"reader": row["group"] or span, "ledger": at.offset}
        if made != wrote and not retry:
            words = f"{at}: {span} made {made} records by its outcomes and wrote {wrote}"
            self.faults.append(Fault("row", words, there))
        records = [given["records"] for given in row["inputs"]]
        if span == "decode" or retry or min(records, default=-1) < 0:
            return
        decided = sum(count[outcome] for outcome in _TAKEN[span])
        # what an operator skipped was read for its alerts or not; a record that was put back for
        # another classifier is passed over
        most = sum(records)
        short = decided > most or (
            span == "curves" and not decided <= most <= decided + count["lost"]
        )
        if short:
            words = f"{at}: {span} read {most} records and decided on {decided}"
            self.faults.append(Fault("row", words, there))

    def _tallies(self, span: str, reader: str, row: Mapping[str, Any], at: Moment) -> None:
        if span != "decode":
            self.own.update(given["topic"] for given in row["inputs"])
        touched = set()
        for tally in row["tallies"]:
            cell = tally["topic"], tally["partition"]
            outcome, count, total = tally["outcome"], tally["count"], tally["sum"]
            if span != "decode" and cell[0] in self.own:
                self.unknown[reader, outcome, cell] += count
                continue
            self.tallies[reader, outcome][cell].add(count, total)
            if span in READS and (span != "curves" or outcome != "notice"):
                self.hops[span].taken[reader][cell].add(count, total)
                touched.add(cell)
            if span in _PASSED_ON and outcome in _PASSED_ON[span]:
                self.hops[HOPS[HOPS.index(span) + 1]].passed[cell].add(count, total)
        for cell in touched:
            self.hops[span].check(reader, cell, at)

    def tally(self, reader: str, outcome: str, cell: Cell) -> int:
        sums = self.tallies.get((reader, outcome))
        return sums[cell].count if sums is not None else 0

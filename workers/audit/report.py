"""An audit's result: the table, the faults and what is only under way, as plain data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from workers.audit.books import Books
from workers.audit.deep import Deep
from workers.audit.faults import Cell, Fault
from workers.times import utc


@dataclass(frozen=True, slots=True)
class Line:
    """One survey partition as one classifier answered it."""

    cell: Cell
    classifier: str
    received: int
    outcomes: dict[str, int]
    under_way: int
    missing: int
    doubled: int

    def row(self) -> dict[str, Any]:
        return {
            "topic": self.cell[0],
            "partition": self.cell[1],
            "classifier": self.classifier,
            "received": self.received,
            **self.outcomes,
            "under_way": self.under_way,
            "missing": self.missing,
            "doubled": self.doubled,
        }


@dataclass(slots=True)
class Report:
    """What an audit found."""

    namespace: str
    books: Books
    labels: int = 0
    lines: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    deep: Deep | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not self.faults

    def row(self) -> dict[str, Any]:
        """All of it as plain data."""
        books = self.books
        return {
            "namespace": self.namespace,
            "good": self.good,
            "ledger": {
                "rows": books.rows,
                "first": books.first and {**books.first.row(), "at": utc(books.first.ms)},
                "last": books.last and {**books.last.row(), "at": utc(books.last.ms)},
            },
            "labels": self.labels,
            "partitions": [line.row() for line in self.lines],
            "read": [
                {
                    "reader": reader,
                    "topic": topic,
                    "partition": partition,
                    "start": books.starts[reader, topic, partition],
                    "end": end,
                }
                for (reader, topic, partition), end in sorted(books.ends.items())
            ],
            "unknown_origin": [
                {"reader": r, "outcome": o, "topic": c[0], "partition": c[1], "records": n}
                for (r, o, c), n in sorted(books.unknown.items())
            ],
            "deep": self.deep and self.deep.row(),
            "notes": self.notes,
            "faults": [fault.row() for fault in self.faults],
            "seconds": {name: round(s, 3) for name, s in self.seconds.items()},
        }

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds what a part takes, in s."""
        began = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began

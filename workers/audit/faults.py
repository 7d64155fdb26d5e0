"""What an audit finds: each fault in words and with its place, and the sums that it compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from workers.times import utc

#: A survey's topic and partition.
Cell = tuple[str, int]

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """Something missing, doubled or contradicted; `place` is what it is known by.

    `what` is one of gap, overlap, row, missing, doubled, sum, order, stranger, unreadable.
    """

    what: str
    words: str
    place: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        return {"what": self.what, "words": self.words, **self.place}


@dataclass(slots=True)
class Sum:
    """How many alerts, and the sum mod 2^64 of their hashes: equal sums are equal sets."""

    count: int = 0
    total: int = 0

    def add(self, count: int, total: int) -> None:
        self.count += count
        self.total = (self.total + total) & _MASK

    def less(self, other: Sum) -> Sum:
        return Sum(self.count - other.count, (self.total - other.total) & _MASK)

    def __bool__(self) -> bool:
        return bool(self.count or self.total)


@dataclass(slots=True)
class Sums:
    """A sum for each survey partition; one that was never touched is zero."""

    by_cell: dict[Cell, Sum] = field(default_factory=dict)

    def __getitem__(self, cell: Cell) -> Sum:
        return self.by_cell.get(cell) or self.by_cell.setdefault(cell, Sum())

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.by_cell)


@dataclass(frozen=True, slots=True)
class Moment:
    """A row of the ledger: where it stands, and when it was written."""

    offset: int
    ms: int

    def __str__(self) -> str:
        return f"ledger row {self.offset} ({utc(self.ms)})"

    def row(self) -> dict[str, Any]:
        return asdict(self)


def where(cell: Cell) -> str:
    """`ztf_20261121_programid1[3]`."""
    return f"{cell[0]}[{cell[1]}]"

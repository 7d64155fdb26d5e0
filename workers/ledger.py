"""One row for each transaction: what it consumed, wrote and decided, so that sums can close."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from fastavro import schemaless_reader, schemaless_writer
from fastavro.schema import parse_schema
from numpy.typing import NDArray

import schemas
from broker import wire
from broker.records import OUTCOMES
from workers.intake import Range

_SCHEMA = parse_schema(schemas.find("nightjar.Transaction"))
_HEAD = wire.head(schemas.find("nightjar.Transaction"))


@dataclass(slots=True)
class Tallies:
    """Alerts by survey topic, partition and outcome, each with the sum mod 2^64 of their hashes.

    Equal sums from hop to hop mean the same set of alerts, whatever their order.
    """

    count: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    sum: Counter[tuple[str, int, int]] = field(default_factory=Counter)

    def add(
        self, alerts: NDArray[np.void], outcome: NDArray[np.uint8], hashes: NDArray[np.uint64]
    ) -> None:
        """Count alerts, (n,) ALERT or IMAGE, with the index of each one's outcome in OUTCOMES."""
        # Sorting rows of 132 bytes costs more than all else here: number the few topics instead.
        numbers: dict[bytes, int] = {}
        topic = [numbers.setdefault(name, len(numbers)) for name in alerts["topic"].tolist()]
        origin = np.array(topic, np.int64) << 32 | alerts["partition"]
        names = [name.decode() for name in numbers]
        cell = origin * len(OUTCOMES) + outcome
        for value in np.unique(cell).tolist():
            place, which = divmod(value, len(OUTCOMES))
            chosen = hashes[cell == value]
            total = int(chosen.sum())
            self.one(names[place >> 32], place & 0xFFFFFFFF, which, len(chosen), total)

    def one(self, topic: str, partition: int, outcome: int, count: int, total: int) -> None:
        key = (topic, partition, outcome)
        self.count[key] += count
        self.sum[key] = (self.sum[key] + total) % (1 << 64)

    def by_outcome(self) -> Counter[str]:
        totals: Counter[str] = Counter()
        for (_, _, outcome), count in self.count.items():
            totals[OUTCOMES[outcome]] += count
        return totals


def row(
    span: str,
    worker: str,
    committed_ms: int,
    inputs: Iterable[Range],
    outputs: Counter[tuple[str, int]],
    tallies: Tallies,
) -> bytes:
    """The ledger's value for one transaction (schema nightjar.Transaction)."""
    out = io.BytesIO()
    out.write(_HEAD)
    record = {
        "span": span,
        "worker": worker,
        "committed_ms": committed_ms,
        "inputs": [
            {"topic": r.topic, "partition": r.partition, "start": r.start, "end": r.end}
            for r in inputs
        ],
        "outputs": [
            {"topic": topic, "partition": partition, "count": count}
            for (topic, partition), count in outputs.items()
        ],
        "tallies": [
            {
                "topic": topic,
                "partition": partition,
                "outcome": OUTCOMES[outcome],
                "count": count,
                # Avro's long is signed: the same 64 bits
                "sum": (tallies.sum[topic, partition, outcome] + (1 << 63)) % (1 << 64) - (1 << 63),
            }
            for (topic, partition, outcome), count in tallies.count.items()
        ],
    }
    schemaless_writer(out, _SCHEMA, record)
    return out.getvalue()


def read(value: bytes) -> dict[str, object]:
    """A row back as plain data.

    Raises
    ------
    ValueError
        The value was not written by this schema.
    """
    if not value.startswith(_HEAD):
        msg = "not a ledger row of a known version"
        raise ValueError(msg)
    return dict(schemaless_reader(io.BytesIO(value[len(_HEAD) :]), _SCHEMA, None))

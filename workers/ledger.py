"""One row for each transaction: what it consumed, wrote and decided, so that sums can close.

What each span says of alerts, by survey topic, partition and outcome, count and sum of hashes:

- decode: passed; dead (a packet's letter, hash 0); lost (offsets that the survey had dropped)
- curves: passed, duplicate, corrected, withdrawn, dead, lost of what decode passed; and notices
- classify: labelled, unclassified, withdrawn, notice, dead, lost of what curves passed, withdrew
  or noticed, by each classifier's group

So with all hops done: decode's passed = curves' all but notices, and curves' passed, withdrawn and
notices = classify's all, count by count and sum by sum. What is lost or dead and does not tell its
alert stands under our own topic, with sum 0.

A classifier that is new to a stream at work begins with a row, too: its inputs are what stood
before, of which it read no record.

Rows by other hands keep to it, and then everything closes without a special case. An operator's
skip is a row of the span and group whose offsets it moves: its input is the skipped range, its
outcome lost, by the survey's topic with the alerts' hashes where the records can be read. A retry
of dead letters is a row of the span that buried them, and of that span's group; its inputs are the
letters, one by one. It takes `dead` back (count -1, minus the hash that the letter was buried with)
and passes what decode now reads; what is put into detections or images again is in the outputs.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from fastavro import schemaless_reader, schemaless_writer
from numpy.typing import NDArray

from broker import wire
from broker.records import OUTCOMES, Origin
from workers.intake import Range

#: What earlier versions wrote is read as today's, with the defaults of what they did not say.
_VERSIONS = wire.versions("nightjar.Transaction")
_HEAD, _SCHEMA = next(iter(_VERSIONS.items()))


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

    def record(
        self, of: Origin | None, place: tuple[str, int], outcome: str, times: int = 1
    ) -> None:
        """Count one record of ours by its alert's origin; by where it stands (topic, partition),
        with hash 0, where it does not tell that. A notice is one, whatever becomes of it.
        """
        if of is None:
            self.one(*place, OUTCOMES.index(outcome), times, 0)
        else:
            which = OUTCOMES.index("notice" if of.notice else outcome)
            self.one(of.topic, of.partition, which, times, times * of.hash)

    def by_outcome(self) -> Counter[str]:
        totals: Counter[str] = Counter()
        for (_, _, outcome), count in self.count.items():
            totals[OUTCOMES[outcome]] += count
        return totals


def row(
    span: str,
    worker: str,
    group: str,
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
        "group": group,
        "committed_ms": committed_ms,
        "inputs": [asdict(r) for r in inputs],
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


def read(value: bytes) -> dict[str, Any]:
    """A row back as plain data.

    Raises
    ------
    ValueError
        The value was not written by this schema.
    """
    head, body = value[: wire.HEAD], io.BytesIO(value[wire.HEAD :])
    if head == _HEAD:
        return schemaless_reader(body, _SCHEMA, None)  # type: ignore[no-any-return]
    if head not in _VERSIONS:
        msg = (
            f"a ledger row that starts with {head.hex()} is of no version that this Nightjar "
            "knows: if a newer one wrote it, use that one"
        )
        raise ValueError(msg)
    return schemaless_reader(body, _VERSIONS[head], _SCHEMA)  # type: ignore[no-any-return]

"""A finished namespace in words: where alerts went, and how fast the names came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import schemas
from broker.avro import Reader
from broker.avro import Table as Columns
from broker.records import KINDS
from workers.follow import Totals
from workers.whole import read_whole

_LABEL = np.dtype(
    [
        ("alertId", "i8"),
        ("object", "S32"),
        ("reason", "u1"),
        ("classifierName", "S128"),
        ("elasticcPublishTimestamp", "i8"),
        ("decoded_ms", "i8"),
        ("curves_ms", "i8"),
        ("classified_ms", "i8"),
    ]
)
_CLASS = np.dtype([("name", "S24"), ("probability", "f4")])
_PRESENCE = np.dtype([("kind", "u1"), ("n", "i4")])


@dataclass(frozen=True, slots=True)
class Read:
    """The labels topic as columns, in order of partition and offset."""

    labels: NDArray[np.void]  # (label,)
    written_ms: NDArray[np.int64]  # (label,) Kafka's time of the label
    name: NDArray[np.bytes_]  # (label,) the most probable class; empty where there is none
    detections: NDArray[np.int64]  # (label,) detections in the light curve

    def of(self, classifier: str) -> Read:
        """The labels of one classifier, by its name and version."""
        chosen = self.labels["classifierName"] == classifier.encode()
        columns = (self.labels, self.written_ms, self.name, self.detections)
        return Read(*(column[chosen] for column in columns))


def read_labels(client: Mapping[str, Any], topic: str) -> Read:
    """All labels that stand committed on a topic now."""
    values: list[bytes] = []
    written: list[int] = []
    for messages in read_whole(client, topic):
        values += [m.value() for m in messages]
        written += [m.timestamp()[1] for m in messages]
    return columns(values, np.array(written, np.int64))


def columns(values: Sequence[bytes], written_ms: NDArray[np.int64]) -> Read:
    """Labels as they stand on the topic, with Kafka's times of them."""
    same = {name: name for name in _LABEL.names or ()}
    reader = Reader(
        schemas.find("nightjar.Label"),
        {
            "": Columns(_LABEL, same),
            "classes": Columns(_CLASS, {"name": "name", "probability": "probability"}),
            "presences": Columns(_PRESENCE, {"kind": "kind", "n": "n"}),
        },
    )
    start = np.array([_body(value) for value in values], np.int64)
    end = np.array([len(value) - 16 for value in values], np.int64)
    rows = reader.read(values, start, end)
    labels, n = rows.rows[""], len(values)
    classes, first = rows.rows["classes"], rows.first["classes"]
    name = np.zeros(n, "S24")
    for i in range(n):
        some = classes[first[i] : first[i + 1]]
        if len(some):
            name[i] = some["name"][some["probability"].argmax()]
    presences, first = rows.rows["presences"], rows.first["presences"]
    owner = np.repeat(np.arange(n), np.diff(first))
    of_kind = presences["kind"] == KINDS.index("detection")
    detections = np.bincount(owner[of_kind], presences["n"][of_kind], minlength=n).astype(np.int64)
    return Read(labels, written_ms, name, detections)


def _body(value: bytes) -> int:
    """Where the record of a one-record container begins: after the header's sync marker (it also
    ends the container), the count and the size."""
    at = value.index(value[-16:]) + 16
    for _ in range(2):
        while value[at] & 0x80:
            at += 1
        at += 1
    return at


def outcomes(totals: Totals, group: str | None = None) -> Table:
    """Alerts in, and what became of each as one classifier answered; the sum must close."""
    out = Table(title="What became of the alerts", title_justify="left")
    out.add_column("outcome")
    out.add_column("alerts", justify="right")
    said = totals.outcomes(group)
    for outcome, n in said.items():
        out.add_row(outcome, f"{n:,}")
    out.add_section()
    left = totals.received - sum(said.values())
    closes = "the sum closes" if left == 0 else f"{left:,} WITHOUT OUTCOME"
    out.add_row(f"received ({closes})", f"{totals.received:,}", style="bold")
    return out


def latency(read: Read, since_ms: int) -> Table:
    """Time of each hop for the packets published after `since_ms`."""
    rows = read.labels[read.labels["elasticcPublishTimestamp"] >= since_ms]
    written = read.written_ms[read.labels["elasticcPublishTimestamp"] >= since_ms]
    out = Table(
        title=f"Latency of {len(rows):,} alerts, published as they came", title_justify="left"
    )
    out.add_column("hop")
    out.add_column("p50 ms", justify="right")
    out.add_column("p99 ms", justify="right")
    stamps = [
        rows["elasticcPublishTimestamp"],
        rows["decoded_ms"],
        rows["curves_ms"],
        rows["classified_ms"],
        written,
    ]
    hops = ("packet to detection", "to image", "to name", "to label on Kafka")
    if len(rows):
        for hop, before, after in zip(hops, stamps, stamps[1:], strict=False):
            p50, p99 = np.percentile(after - before, (50, 99))
            out.add_row(hop, f"{p50:,.0f}", f"{p99:,.0f}")
        out.add_section()
        p50, p99 = np.percentile(written - stamps[0], (50, 99))
        out.add_row("packet to label", f"{p50:,.0f}", f"{p99:,.0f}", style="bold")
    return out

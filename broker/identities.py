"""Who and where alone, read fast from detections, images and labels: what audits and traces ask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from broker import wire
from broker.avro import Reader, SchemaError, Table
from broker.framing import Framing
from broker.hashes import alert_hashes
from broker.records import ALERT

#: What an alert's hash is made of, and of labels what they say and who says it.
IDENTITY = np.dtype(
    [
        ("alert_id", "i8"),
        ("offset", "i8"),
        ("partition", "i4"),
        ("record", "i4"),
        ("survey", "u1"),
        ("reason", "u1"),
        ("notice", "u1"),
        ("", "V5"),
        ("object", ALERT["object"]),
        ("topic", ALERT["topic"]),
        ("classifier", "S128"),
    ]
)
_COMMON = ("offset", "partition", "record", "survey", "object", "topic")
_OF_RECORD = {name: name for name in (*_COMMON, "alert_id", "notice")}
_OF_LABEL = {name: name for name in (*_COMMON, "reason")} | {
    "alert_id": "alertId",
    "classifier": "classifierName",
}
_SCHEMAS = 64  #: of labels' writers that are kept; more than there will ever be

Identities = tuple[NDArray[np.void], NDArray[np.int64]]


class Identifier:
    """Reads the identities of records by thousands; keeps what it learned of their schemas."""

    def __init__(self) -> None:
        self._framing = Framing()
        self._labels: dict[bytes | int, Reader | None] = {}

    def records(self, values: Sequence[bytes]) -> Identities:
        """Of detections or images: rows (n,) of IDENTITY, and whose they are.

        Returns
        -------
        rows
            (n,) of those values that can be read, in their order.
        which
            (n,) i8, their indexes among the values.
        """
        return _in_order([self._some(values, start) for start in {v[: wire.HEAD] for v in values}])

    def labels(self, values: Sequence[bytes]) -> Identities:
        """The same of labels, whole containers as broker.labels writes them: not compressed, of
        one record, whatever version of the schema.
        """
        parts = []
        for framed in self._framing.sort(values).framed:
            if (reader := self._reader(framed.schema)) is None:
                continue
            some = [values[i] for i in framed.packet.tolist()]
            read = reader.read(some, framed.start, framed.end)
            parts.append((read.rows[""], framed.packet[read.status >= 0]))
        return _in_order(parts)

    def _some(self, values: Sequence[bytes], start: bytes) -> Identities:
        which = np.array([i for i, v in enumerate(values) if v.startswith(start)], np.int64)
        if (reader := _readers().get(start)) is None:
            return np.zeros(0, IDENTITY), which[:0]
        some = [values[i] for i in which.tolist()] if len(which) < len(values) else values
        read = reader.read(some, np.full(len(some), wire.HEAD, np.int64))
        return read.rows[""], which[read.status >= 0]

    def _reader(self, schema: bytes | int) -> Reader | None:
        if schema not in self._labels:
            if len(self._labels) >= _SCHEMAS:
                self._labels.clear()
            self._labels[schema] = None if isinstance(schema, int) else _label_reader(schema)
        return self._labels[schema]


def _label_reader(schema: bytes) -> Reader | None:
    """None where it is no schema of labels."""
    try:
        reader = Reader(json.loads(schema), {"": Table(IDENTITY, _OF_LABEL)})
    except (SchemaError, ValueError):
        return None
    return None if reader.missing[""] else reader


@cache
def _readers() -> dict[bytes, Reader]:
    """Head of a detection or image, of any version -> what reads its identity."""
    tables = {"": Table(IDENTITY, _OF_RECORD)}
    return {
        head: Reader(schema, tables)
        for name in ("nightjar.Detection", "nightjar.Image")
        for head, schema in wire.versions(name).items()
    }


def _in_order(parts: Sequence[Identities]) -> Identities:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.zeros(0, IDENTITY), np.zeros(0, np.int64)
    rows, which = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    order = np.argsort(which)
    return rows[order], which[order]


def object_hashes(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """(n,) u8 that name each row's object alone."""
    return _hashes(rows, ("survey", "object"))


def name_hashes(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """(n,) u8 that name each row's alert, wherever its packet stood: by these repeats are known."""
    return _hashes(rows, ("survey", "object", "alert_id"))


def _hashes(rows: NDArray[np.void], names: Sequence[str]) -> NDArray[np.uint64]:
    some = np.zeros(len(rows), IDENTITY)
    for name in names:
        some[name] = rows[name]
    return alert_hashes(some)

"""Layouts that were met before make reading faster and change nothing of what is read."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import numpy as np
import pytest

from broker.avro import Reader, Rows, Table
from broker.avro_read import KEPT
from broker.bytewise import OVERLONG
from broker.records import SPAN

ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "n", "type": ["null", "int"]},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["a", "b", "c"]}},
        {"name": "x", "type": "double"},
        {"name": "y", "type": ["float", "null"]},
        {"name": "y_err", "type": ["float", "null"]},
        {"name": "skipped", "type": ["null", "boolean"]},
        {"name": "ok", "type": ["null", "boolean"]},
        {"name": "band", "type": ["null", "string"]},
        {"name": "status", "type": "string"},
        {"name": "w", "type": ["null", "double"]},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "Top",
    "fields": [{"name": "rows", "type": {"type": "array", "items": ITEM}}],
}
ROW = np.dtype(
    [
        *(("id", "i8"), ("n", "f8"), ("e", "u1"), ("x", "f8"), ("y", "f4"), ("y_err", "f4")),
        *(("ok", "u1"), ("band", "S8"), ("status", SPAN), ("again", "i8")),
    ]
)
TABLES = {"rows": Table(ROW, {name: name for name in ROW.names[:-1]} | {"again": "id"})}


def item(random: np.random.Generator) -> dict[str, Any]:
    """A row of one of very many layouts."""

    def some(value: Any) -> Any:
        return value if random.random() < 0.5 else None

    return {
        "id": int(random.integers(0, 2)) << int(random.integers(0, 63)),
        "n": some(int(random.integers(-(1 << 31), 1 << 31))),
        "e": "abc"[random.integers(3)],
        "x": random.random(),
        "y": some(0.5),
        "y_err": some(0.25),
        "skipped": some(True),
        "ok": some(True),
        "band": some(["g", "", "r2", "ä", "lsst_ir8"][random.integers(5)]),
        "status": ["0", "", "56,57", "ß"][random.integers(4)],
        "w": some(1.5),
    }


def encode(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, {"rows": rows})
    return out.getvalue()


def said(found: Rows) -> list[Any]:
    """Status and rows of the values, the spans as what they point to."""
    rows = found.rows["rows"]
    texts = [found.heap[s : s + n].tobytes() for s, n in rows["status"].tolist()]
    plain = rows[[name for name in ROW.names if name != "status"]]
    numbers = [repr(row) for row in plain.tolist()]
    first = found.first["rows"].tolist()
    return [
        int(s) if s < 0 else list(zip(numbers[a:b], texts[a:b], strict=True))
        for s in found.status.tolist()
        for a, b in [(first[s], first[s + 1]) if s >= 0 else (0, 0)]
    ]


def test_rows_of_many_layouts_are_what_fastavro_reads() -> None:
    random = np.random.default_rng(1)
    kinds = [item(random) for _ in range(3 * KEPT)]
    rows = [kinds[k] for k in random.integers(0, len(kinds), 2000)]
    found = Reader(SCHEMA, TABLES).read([encode(rows[i : i + 7]) for i in range(0, 2000, 7)])
    read = found.rows["rows"]
    for name in ("id", "again"):
        assert read[name].tolist() == [row["id"] for row in rows]
    for name in ("n", "x", "y", "y_err"):
        values = [np.nan if row[name] is None else row[name] for row in rows]
        np.testing.assert_array_equal(read[name], values)
    assert read["e"].tolist() == ["abc".index(row["e"]) for row in rows]
    assert read["ok"].tolist() == [int(bool(row["ok"])) for row in rows]
    assert read["band"].tolist() == [(row["band"] or "").encode() for row in rows]
    texts = [found.heap[s : s + n].tobytes() for s, n in read["status"].tolist()]
    assert texts == [row["status"].encode() for row in rows]


@pytest.mark.parametrize("spoil", range(64))
def test_what_was_read_before_changes_nothing(spoil: int) -> None:
    """Each byte of a row, in turn, is one that its layout does not have, or has with other bits."""
    random = np.random.default_rng(spoil // 8)
    good = np.frombuffer(encode([item(random) for _ in range(2)]), np.uint8)
    bits = [1, 2, 4, 8, 16, 64, 128, 255][spoil % 8]
    values = [good.tobytes()]
    for at in range(len(good)):
        value = good.copy()
        value[at] ^= bits
        values += [value.tobytes(), good.tobytes(), value[: at + 1].tobytes()]
    fresh = [said(Reader(SCHEMA, TABLES).read([value]))[0] for value in values]
    reader = Reader(SCHEMA, TABLES)
    assert said(reader.read(values)) == fresh
    assert said(reader.read(values[::-1])) == fresh[::-1]


def test_a_number_of_a_known_layout_may_still_have_too_many_bits() -> None:
    row = item(np.random.default_rng(2)) | {"id": -(1 << 63)}
    good = encode([row])
    tenth = good.index(b"\xff" * 9 + b"\x01") + 9
    wide = good[:tenth] + b"\x03" + good[tenth + 1 :]
    status = Reader(SCHEMA, TABLES).read([good, wide, good]).status.tolist()
    assert status == [0, OVERLONG, 1]

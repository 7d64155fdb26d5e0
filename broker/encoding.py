"""Pieces of Avro's binary form put together by hand, for packets made of rows encoded once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fastavro
from fastavro.schema import parse_schema

NULL, PRESENT = b"\x00", b"\x02"  # branches of the ["null", T] unions of both surveys


def long(value: int) -> bytes:
    r"""Avro long: zigzag, then base 128, low group first.

    >>> long(-1), long(64)
    (b'\x01', b'\x80\x01')
    """
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """Avro string or bytes: length, then the bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return long(len(raw)) + raw


def array(rows: Sequence[bytes]) -> bytes:
    """Nullable array of encoded rows, in one block; none gives null, as the surveys do."""
    return b"".join((PRESENT, long(len(rows)), *rows, NULL)) if rows else NULL


def container_header(schema: Any, sync: bytes) -> bytes:
    """Header of an Avro object container, codec null, as fastavro writes it."""
    out = io.BytesIO()
    fastavro.writer(out, schema, [], codec="null", sync_marker=sync)
    return out.getvalue()


def row_writer(schema: Any) -> Callable[[Mapping[str, Any]], bytes]:
    """Compile a record's `schema` to a function that encodes one row; absent fields are null."""
    parsed = parse_schema(json.loads(json.dumps(schema)))

    def encode(row: Mapping[str, Any]) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, row)
        return out.getvalue()

    return encode


def part(schema: Any, field: str, *, named: Mapping[str, Any] | None = None) -> Any:
    """Schema of the record that stands in `field` of the record `schema`, out of unions and arrays.

    A record that is only named there is taken from `named` (full name → schema).
    """
    kind = next(f["type"] for f in schema["fields"] if f["name"] == field)
    branches = kind if isinstance(kind, list) else [kind]
    found = next(b for b in branches if b != "null")
    if isinstance(found, dict) and found["type"] == "array":
        found = found["items"]
    return (named or {})[found] if isinstance(found, str) else found

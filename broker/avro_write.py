"""Compiles a schema, columns and constants to the program that writes them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro
import numpy as np

from broker import encoder as ops
from broker.avro_read import int_range, prefixes
from broker.avro_table import Table
from broker.avro_types import SchemaError, Type

VARINT = 10  #: bytes that a number takes at most
MAX_BRANCHES = 64  #: of a union, so that a tag is one byte
BESIDE = "+"  #: a second table of top records, row for row beside the first
_NOTHING = object()


class WriteProgram:
    """Emits the instructions that write a type; joins constants that follow each other, and
    columns of fixed size that do so both in Avro and in the row.

    `most` are the bytes that a row of each table takes at most, beside its spans' bytes; `spans`
    are the SPAN columns: table, offset. `names` begin with "" and BESIDE.
    """

    def __init__(
        self, names: Sequence[str], tables: Sequence[Table], constants: Mapping[str, Any]
    ) -> None:
        self.code: list[int] = []
        self.constants = bytearray()
        self.last = -1  # the CONSTANT or COPY that a next one may be joined to
        self.loops = {path: t for t, path in enumerate(names) if t > 1}
        self.names, self.tables = names, tables
        self.most = [0] * len(tables)
        self.spans: list[tuple[int, int]] = []
        self.columns: dict[str, tuple[int, str]] = {}  # full path -> table and column
        self.fixed = dict(constants)
        for t, (path, table) in enumerate(zip(names, tables, strict=True)):
            above = path if t > 1 else ""
            self.columns |= {_join(above, p): (t, name) for name, p in table.fields.items()}
        if sum(len(t.fields) for t in tables) > len(self.columns):
            msg = "two columns have one path"
            raise SchemaError(msg)
        wanted = {*self.columns, *self.fixed, *self.loops}
        self.unseen = set(wanted)
        self.live = {prefix for path in wanted for prefix in prefixes(path)}

    def whole(self, kind: Type) -> None:
        self.value(kind, 0, "")
        self.emit(ops.END)
        if self.unseen:
            msg = f"the schema has no {', '.join(sorted(self.unseen))}"
            raise SchemaError(msg)

    def value(self, kind: Type, t: int, path: str, default: Any = _NOTHING) -> None:
        self.unseen.discard(path)
        table_here = t == 0 and path in self.loops
        if path in self.fixed:
            self.constant(kind, t, self.fixed[path], path)
        elif table_here and kind.kind == "array":
            self.loop(kind.parts[0], path)
        elif path in self.columns and not table_here:
            self.column(kind, t, path)
        elif kind.kind == "union" and path in self.live:
            self.branch(kind, t, path)
        elif default is not _NOTHING and path not in self.live:
            self.constant(kind, t, default, path)
        elif kind.kind == "record":
            defaults = dict(kind.defaults)
            for name, part in zip(kind.names, kind.parts, strict=True):
                self.value(part, t, _join(path, name), defaults.get(name, _NOTHING))
        elif kind.kind != "null":
            msg = f"{path!r} has neither a column nor a constant nor a default"
            raise SchemaError(msg)

    def bytes(self, t: int, encoded: bytes) -> None:
        """Bytes that every row of table `t` has here."""
        self.most[t] += len(encoded)
        if self.last >= 0 and self.code[self.last] == ops.CONSTANT:
            self.code[self.last + 2] += len(encoded)
        else:
            self.last = self.emit(ops.CONSTANT, len(self.constants), len(encoded))
        self.constants += encoded

    def constant(self, kind: Type, t: int, value: Any, path: str) -> None:
        out = io.BytesIO()
        try:
            fastavro.schemaless_writer(out, kind.schema, value)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            msg = f"{value!r} is no {kind.schema} for {path!r}: {error}"
            raise SchemaError(msg) from error
        self.bytes(t, out.getvalue())

    def branch(self, kind: Type, t: int, path: str) -> None:
        """A union's first record or array: there are columns inside it."""
        for i, part in enumerate(kind.parts[:MAX_BRANCHES]):
            if part.kind in ("record", "array"):
                self.bytes(t, bytes([2 * i]))
                self.value(part, t, path)
                return
        msg = f"{path!r} is {' or '.join(k.kind for k in kind.parts)}, nothing with parts"
        raise SchemaError(msg)

    def loop(self, item: Type, path: str) -> None:
        t = self.loops[path]
        at = self.emit(ops.LOOP, t, 0)
        self.value(item, t, path)
        self.emit(ops.NEXT)
        self.code[at + 2] = len(self.code)
        self.most[0] += VARINT
        self.bytes(0, b"\0")  # the block of no items that ends an array

    def column(self, kind: Type, t: int, path: str) -> None:
        owner, name = self.columns[path]
        offset, dtype = self.tables[owner].column(name)
        branches, option = [kind], -1
        if kind.kind == "union":
            branches = list(kind.parts[:MAX_BRANCHES])
        fits = [i for i, k in enumerate(branches) if k.kind in _FITS[dtype.kind]]
        if not fits:
            words = " or ".join(k.kind for k in branches)
            msg = f"{path!r} is {words} in the schema, the column {name!r} is {dtype}"
            raise SchemaError(msg)
        if kind.kind == "union":
            nulls = [2 * i for i, k in enumerate(branches) if k.kind == "null"]
            kind = branches[fits[0]]
            if nulls:
                tags = nulls[0], 2 * fits[0]
                option = self.emit(ops.OPTION, owner, offset, *_test(dtype), *tags, 0)
                self.most[t] += 1
            else:
                self.bytes(t, bytes([2 * fits[0]]))
        self.most[t] += VARINT + (dtype.itemsize if dtype.kind == "S" else 0)
        self.present(kind, owner, offset, dtype)
        if option >= 0:
            self.code[option + 7] = len(self.code)
            self.last = -1

    def present(self, kind: Type, t: int, offset: int, dtype: np.dtype[Any]) -> None:
        """A column's value that is there."""
        size, is_text = dtype.itemsize, int(kind.kind == "string")
        if dtype.kind == "S":
            self.emit(ops.TEXT, t, offset, size, is_text)
        elif dtype.kind == "V":
            self.spans.append((t, offset))
            if kind.kind in _ENCODED:
                self.emit(ops.ENCODED, t, offset)
            else:
                self.emit(ops.SPAN, t, offset, is_text)
        elif dtype.kind == "f" and size == kind.size:
            self.copy(t, offset, size)
        elif dtype.kind == "f":
            self.emit(ops.REAL, t, offset, size, kind.size or 0)
        else:
            form, (low, high) = dtype.str[1:], int_range(kind)
            if kind.kind == "boolean":
                self.emit(ops.BOOL, t, offset, ops.FORMS.index(form))
            elif (kind.kind, form) == ("long", "i8"):
                self.emit(ops.LONG, t, offset)
            elif (kind.kind, form) == ("int", "i4"):
                self.emit(ops.INT4, t, offset)
            elif form == "u1" and low == 0:
                self.emit(ops.WORD, t, offset, high + 1)
            else:
                self.emit(ops.INT, t, offset, ops.FORMS.index(form), low, high)

    def copy(self, t: int, offset: int, size: int) -> None:
        """Bytes that stand in Avro as they do in the row; joined to those right before them."""
        code = self.code[self.last :]
        if self.last >= 0 and code[:2] == [ops.COPY, t] and code[2] + code[3] == offset:
            self.code[self.last + 3] += size
        else:
            self.last = self.emit(ops.COPY, t, offset, size)

    def emit(self, *words: int) -> int:
        at = len(self.code)
        self.code += words
        self.last = -1
        return at


def _test(dtype: np.dtype[Any]) -> tuple[int, int]:
    """How a column of this dtype tells null: test and size or form of OPTION."""
    if dtype.kind in "iu":
        return ops.INT, ops.FORMS.index(dtype.str[1:])
    return {"f": ops.REAL, "S": ops.TEXT, "V": ops.SPAN}[dtype.kind], dtype.itemsize


_ENCODED = ("array", "map", "record")
_INTS = ("int", "long", "enum", "boolean")
#: Kind of dtype -> Avro types that it may be written as.
_FITS = {
    "f": ("float", "double"),
    "i": _INTS,
    "u": _INTS,
    "S": ("string", "bytes"),
    "V": ("string", "bytes", *_ENCODED),
}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name

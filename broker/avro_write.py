"""Compiles a schema, columns and constants to the program that writes them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

from broker import encoder as ops
from broker.avro_read import int_range, prefixes
from broker.avro_table import Table
from broker.avro_types import SchemaError, Type

VARINT = 10  #: bytes that a number takes at most
MAX_BRANCHES = 64  #: of a union, so that a tag is one byte
_NOTHING = object()


class WriteProgram:
    """Emits the instructions that write a type; joins constants that follow each other.

    `most` are the bytes that a row of each table takes at most, beside its spans' bytes; `spans`
    each table's SPAN columns.
    """

    def __init__(
        self, names: Sequence[str], tables: Sequence[Table], constants: Mapping[str, Any]
    ) -> None:
        self.code: list[int] = []
        self.constants = bytearray()
        self.last = -1  # the CONSTANT that a next one may be joined to
        self.loops = {path: t for t, path in enumerate(names) if path}
        self.names, self.tables = names, tables
        self.most = [0] * len(tables)
        self.spans: list[list[str]] = [[] for _ in tables]
        self.columns: dict[str, str] = {}  # full path -> column
        self.fixed = dict(constants)
        for path, table in zip(names, tables, strict=True):
            self.columns.update({_join(path, inner): name for name, inner in table.fields.items()})
        if sum(len(t.fields) for t in tables) > len(self.columns):
            msg = "two columns have one path"
            raise SchemaError(msg)
        wanted = {*self.columns, *self.fixed, *self.loops}
        self.unseen = set(wanted)
        self.live = {prefix for path in wanted for prefix in prefixes(path)}

    def whole(self, kind: Type) -> None:
        self.value(kind, 0, "")
        self.code.append(ops.END)
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
        if self.last >= 0:
            self.code[self.last + 2] += len(encoded)
        else:
            self.last = len(self.code)
            self.code += [ops.CONSTANT, len(self.constants), len(encoded)]
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
        at = len(self.code)
        self.code += [ops.LOOP, t, 0]
        self.last = -1
        self.value(item, t, path)
        self.code += [ops.NEXT]
        self.last = -1
        self.code[at + 2] = len(self.code)
        self.most[0] += VARINT
        self.bytes(0, b"\0")  # the block of no items that ends an array

    def column(self, kind: Type, t: int, path: str) -> None:
        name = self.columns[path]
        offset, dtype = self.tables[t].column(name)
        null, tag = -1, 0
        if kind.kind == "union":
            kinds = [k.kind for k in kind.parts][:MAX_BRANCHES]
            fits = [i for i, k in enumerate(kinds) if k in _FITS[dtype.kind]]
            tag = 2 * fits[0] if fits else 0
            null = 2 * kinds.index("null") if "null" in kinds else -1
            if null < 0:
                self.bytes(t, bytes([tag]))
            words = kinds
            kind = kind.parts[tag // 2]
        else:
            words = [kind.kind]
        if kind.kind not in _FITS[dtype.kind]:
            msg = f"{path!r} is {' or '.join(words)} in the schema, the column {name!r} is {dtype}"
            raise SchemaError(msg)
        size, is_text = dtype.itemsize, int(kind.kind == "string")
        if dtype.kind == "S":
            op, extra, most = ops.TEXT, (size, 0, is_text), VARINT + size
        elif dtype.kind == "V":
            op, extra, most = ops.SPAN, (0, 0, is_text), VARINT
            self.spans[t].append(name)
        elif dtype.kind == "f":
            op, extra, most = ops.REAL, (size, kind.size or 0, 0), 8
        else:
            form = ops.FORMS.index(dtype.str[1:])
            op, extra, most = ops.INT, (form, *int_range(kind)), VARINT
            if kind.kind == "boolean":
                op, extra, most = ops.BOOL, (form, 0, 0), 1
        self.code += [op, t, offset, null, tag, *extra]
        self.most[t] += 1 + most
        self.last = -1


_INTS = ("int", "long", "enum", "boolean")
#: Kind of dtype -> Avro types that it may be written as.
_FITS = {
    "f": ("float", "double"),
    "i": _INTS,
    "u": _INTS,
    "S": ("string", "bytes"),
    "V": ("string", "bytes"),
}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name

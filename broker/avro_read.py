"""Compiles what is wanted of a writer's schema to the program that reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from broker import interpreter as ops
from broker.avro_table import Table
from broker.avro_types import SchemaError, Type

MAX_PROGRAM = 1 << 16  #: words; the largest survey schema takes some 700


class ReadProgram:
    """Emits the instructions that read a type; merges skips that follow each other."""

    def __init__(self, names: Sequence[str], tables: Sequence[Table]) -> None:
        self.code: list[int] = []
        self.last = -1  # the instruction that a next one may be merged into
        self.found: set[tuple[int, str]] = set()
        self.loops = {path: t for t, path in enumerate(names) if path}
        self.tables = tables
        self.wanted: dict[tuple[int, str], list[str]] = {}  # (table, path) -> fields
        self.live = {(0, "")}  # paths on the way to something wanted
        for t, table in enumerate(tables):
            for name, path in table.fields.items():
                self.wanted.setdefault((t, path), []).append(name)
                self.live.update((t, prefix) for prefix in prefixes(path))
        self.live.update((0, prefix) for path in self.loops for prefix in prefixes(path))

    def emit(self, *words: int) -> int:
        if len(self.code) > MAX_PROGRAM:
            msg = "the schema is too large"
            raise SchemaError(msg)
        self.last = len(self.code)
        self.code.extend(words)
        return self.last

    def finish(self) -> NDArray[np.int64]:
        self.emit(ops.END)
        return np.array(self.code, np.int64)

    def value(self, kind: Type, t: int, path: str) -> None:
        """Read what is wanted of a value at `path` of table `t`; skip the rest."""
        fields = self.wanted.get((t, path), ())
        if t == 0 and kind.kind == "array" and path in self.loops:
            self.loop(self.loops[path], kind.parts[0])
        elif kind.kind == "union" and (t, path) in self.live:
            self.union(kind, t, path)
        elif fields and kind.kind != "null":
            if len(fields) > 1:
                self.emit(ops.MARK)
            for i, name in enumerate(fields):
                if i:
                    self.emit(ops.BACK)
                self.column(kind, t, name, -1, path)
        elif kind.kind == "record" and (t, path) in self.live:
            for name, part in zip(kind.names, kind.parts, strict=True):
                self.value(part, t, f"{path}.{name}" if path else name)
        else:
            self.skip(kind)

    def union(self, kind: Type, t: int, path: str) -> None:
        fields = self.wanted.get((t, path), ())
        null, other = _option(kind)
        if other is not None and len(fields) == 1 and other.kind not in ("array", "record"):
            self.column(other, t, fields[0], null, path)
            return
        fits = [k for k in kind.parts if all(self.fits(k, t, name) for name in fields)]
        if fields and not fits and any(k.kind != "null" for k in kind.parts):
            raise self.mismatch(kind, t, fields[0], path)
        self.branches(kind, lambda k: self.value(k, t, path) if k in fits else self.skip(k))

    def branches(self, union: Type, body: Callable[[Type], None]) -> None:
        at = self.emit(ops.UNION, len(union.parts), *(0 for _ in union.parts))
        ends = []
        for i, branch in enumerate(union.parts):
            self.last = -1
            self.code[at + 2 + i] = len(self.code)
            body(branch)
            ends.append(self.emit(ops.JUMP, 0))
        for end in ends:
            self.code[end + 1] = len(self.code)
        self.last = -1

    def loop(self, t: int, item: Type) -> None:
        """An array's items into table `t`, or past them if it is -1."""
        if item.size == 0:
            msg = "an array of items that take no bytes cannot be read"
            raise SchemaError(msg)
        at = self.emit(ops.LOOP, t, 0)
        self.last = -1
        if t >= 0:
            self.value(item, t, "")
        else:
            self.skip(item)
        self.emit(ops.NEXT)
        self.code[at + 2] = len(self.code)
        self.last = -1

    def fits(self, kind: Type, t: int, name: str) -> bool:
        _, dtype = self.tables[t].column(name)
        if dtype.kind in "SV":
            return kind.kind in ("string", "bytes", "fixed")
        numbers = ("int", "long", "boolean")
        return kind.kind in (*numbers, *(("float", "double") if dtype.kind == "f" else ("enum",)))

    def mismatch(self, kind: Type, t: int, name: str, path: str) -> SchemaError:
        _, dtype = self.tables[t].column(name)
        words = " or ".join(k.kind for k in (kind.parts if kind.kind == "union" else (kind,)))
        return SchemaError(f"{path!r} is {words} in the schema, the column {name!r} is {dtype}")

    def column(self, kind: Type, t: int, name: str, null: int, path: str) -> None:
        """Read one value into one column; `null` is null's tag byte before it, or -1."""
        if not self.fits(kind, t, name):
            raise self.mismatch(kind, t, name, path)
        self.found.add((t, name))
        offset, dtype = self.tables[t].column(name)
        size, k = dtype.itemsize, kind.kind
        if dtype.kind in "SV":
            op = ops.TEXT if dtype.kind == "S" else ops.SPAN
            words = [size, -1 if kind.size is None else kind.size, int(k == "string")]
        elif (k, size) == ("float", 4):
            op, words = ops.COPY4, [0, 0, 0]
        elif (k, size) == ("double", 8):
            op, words = ops.COPY8, [0, 0, 0]
        elif dtype.kind == "f":
            source = {"float": ops.FLOAT, "double": ops.DOUBLE, "boolean": ops.BOOLEAN}
            op, words = ops.REAL, [source.get(k, ops.VARINT), size, 0]
        elif k == "boolean":
            op, words = ops.BOOL, [size, 0, 1]
        else:
            low, high = int_range(kind)
            info = np.iinfo(dtype)
            op, words = ops.INT, [size, max(low, int(info.min)), min(high, int(info.max))]
        self.emit(op, t, offset, null, *words)

    def skip(self, kind: Type) -> None:
        if kind.size is not None:
            if self.last >= 0 and self.code[self.last] == ops.SKIP:
                self.code[self.last + 1] += kind.size
            elif kind.size:
                self.emit(ops.SKIP, kind.size)
        elif kind.kind == "record":
            for part in kind.parts:
                self.skip(part)
        elif kind.kind == "union":
            self.skip_union(kind)
        elif kind.kind == "array" and kind.parts[0].size is not None:
            self.emit(ops.SKIP_ARRAY, kind.parts[0].size)
        elif kind.kind == "array":
            self.loop(-1, kind.parts[0])
        elif kind.kind == "map":
            key = Type("string", None, "string")
            self.loop(-1, Type("record", None, None, (key, kind.parts[0])))
        else:
            self.emit(ops.SKIP_LENGTH if kind.kind in ("string", "bytes") else ops.SKIP_VARINT)

    def skip_union(self, kind: Type) -> None:
        null, other = _option(kind)
        if other is None or (other.size is None and other.kind in ("record", "array", "map")):
            self.branches(kind, self.skip)
        elif other.size is not None:
            same = self.last >= 0 and self.code[self.last : self.last + 3] == [
                ops.SKIP_OPTION,
                null,
                other.size,
            ]
            if same:
                self.code[self.last + 3] += 1
            else:
                self.emit(ops.SKIP_OPTION, null, other.size, 1)
        elif other.kind in ("string", "bytes"):
            self.emit(ops.SKIP_OPTION_LENGTH, null)
        else:
            self.emit(ops.SKIP_OPTION_VARINT, null)


def prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return ["", *(".".join(parts[: i + 1]) for i in range(len(parts)))]


def _option(kind: Type) -> tuple[int, Type | None]:
    """Of [null, x] or [x, null]: null's tag byte and x; of any other union (0, None)."""
    kinds = [k.kind for k in kind.parts]
    if len(kinds) != 2 or kinds.count("null") != 1 or "union" in kinds:
        return 0, None
    null = kinds.index("null")
    return 2 * null, kind.parts[1 - null]


def int_range(kind: Type) -> tuple[int, int]:
    """Least and greatest value that an Avro int, long or enum may have."""
    if kind.kind == "enum":
        return 0, len(kind.names) - 1
    bits = 31 if kind.kind == "int" else 63
    return -(1 << bits), (1 << bits) - 1

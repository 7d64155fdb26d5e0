"""Compiles what is wanted of a writer's schema to the program that reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from broker import interpreter as ops
from broker import layouts, moves
from broker.avro_table import Table
from broker.avro_types import SchemaError, Type

MAX_PROGRAM = 1 << 13  #: words; the largest survey schema takes some 1,600
MAX_MEMORY = 1 << 17  #: words of layouts, 1 MB; the largest survey schema takes 21,000
KEPT = 16  #: layouts of a stretch; real packets' histories have 2 to 21
LONGEST = 1024  #: bytes of a layout; a source of LSST takes 325, a candidate of ZTF 700
SIMPLE = ("int", "long", "enum", "string", "bytes")


class ReadProgram:
    """Emits the instructions that read a type; fields that follow each other become a stretch."""

    def __init__(self, names: Sequence[str], tables: Sequence[Table]) -> None:
        self.code: list[int] = []
        self.stretches: list[tuple[int, list[list[int]]]] = []  # instruction and fields of each
        self.open = False  # whether the last of them may go on
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
        self.size = 0

    def emit(self, *words: int) -> int:
        self.grow(len(words))
        self.open = False
        self.code.extend(words)
        return len(self.code) - len(words)

    def grow(self, words: int) -> None:
        self.size += words
        if self.size > MAX_PROGRAM:
            msg = "the schema is too large"
            raise SchemaError(msg)

    def field(
        self,
        lies: int,
        null: int = -1,
        size: int = 0,
        t: int = 0,
        *move: int,
    ) -> None:
        """One more field of the stretch: `move` says where in a row of table `t` it goes."""
        if not self.open:
            op = self.emit(ops.STRETCH, *(0 for _ in range(layouts.STRETCH_WORDS - 1)))
            self.stretches.append((op, []))
            self.open = True
        self.grow(layouts.FIELD_WORDS)
        op, fields = self.stretches[-1]
        if move:
            self.code[op + layouts.TABLE] = t
        field = [lies, null, size, 1, *(move or (moves.NOTHING, 0, 0, 0, 0))]
        last = fields[-1] if fields else field
        plain = not move and last[layouts.MOVE] == moves.NOTHING and lies == layouts.FIXED
        if fields and plain and lies == last[layouts.LIES] and null == last[layouts.NULL]:
            if null < 0:
                last[layouts.BYTES] += size
                return
            if size == last[layouts.BYTES]:
                last[layouts.TIMES] += 1
                return
        fields.append(field)

    def finish(self) -> tuple[NDArray[np.int64], int]:
        """The program, and the words of memory that it needs."""
        self.emit(ops.END)
        memory = 0
        for op, fields in self.stretches:
            wanted = sum(field[layouts.MOVE] != moves.NOTHING for field in fields)
            longest = _longest(fields)
            kept = KEPT if longest else 1
            first = len(self.code)
            self.code += (word for field in fields for word in field)
            self.code[op + layouts.FIRST : op + layouts.STRETCH_WORDS] = [
                first, len(self.code), wanted, longest, memory, kept,
            ]  # fmt: skip
            memory += layouts.KNOWN + kept * layouts.layout_words(wanted, longest)
        if memory > MAX_MEMORY:
            msg = "the schema parts its fields too often"
            raise SchemaError(msg)
        return np.array(self.code, np.int64), memory

    def value(self, kind: Type, t: int, path: str) -> None:
        """Read what is wanted of a value at `path` of table `t`; skip the rest."""
        fields = self.wanted.get((t, path), ())
        if t == 0 and kind.kind == "array" and path in self.loops:
            self.loop(self.loops[path], kind.parts[0])
        elif kind.kind == "union" and (t, path) in self.live:
            self.union(kind, t, path)
        elif fields and kind.kind != "null":
            for i, name in enumerate(fields):
                self.column(kind, t, name, -1, path, again=i > 0)
        elif kind.kind == "record" and (t, path) in self.live:
            for name, part in zip(kind.names, kind.parts, strict=True):
                self.value(part, t, f"{path}.{name}" if path else name)
        else:
            self.skip(kind)

    def union(self, kind: Type, t: int, path: str) -> None:
        fields = self.wanted.get((t, path), ())
        null, other = _option(kind)
        if other is not None and fields and other.kind not in ("array", "record", "map"):
            for i, name in enumerate(fields):
                self.column(other, t, name, null, path, again=i > 0)
            return
        fits = [k for k in kind.parts if all(self.fits(k, t, name) for name in fields)]
        if fields and not fits and any(k.kind != "null" for k in kind.parts):
            raise self.mismatch(kind, t, fields[0], path)
        self.branches(kind, lambda k: self.value(k, t, path) if k in fits else self.skip(k))

    def branches(self, union: Type, body: Callable[[Type], None]) -> None:
        at = self.emit(ops.UNION, len(union.parts), *(0 for _ in union.parts))
        ends = []
        for i, branch in enumerate(union.parts):
            self.open = False
            self.code[at + 2 + i] = len(self.code)
            body(branch)
            ends.append(self.emit(ops.JUMP, 0))
        for end in ends:
            self.code[end + 1] = len(self.code)

    def loop(self, t: int, item: Type) -> None:
        """An array's items into table `t`, or past them if it is -1."""
        if item.size == 0:
            msg = "an array of items that take no bytes cannot be read"
            raise SchemaError(msg)
        at = self.emit(ops.LOOP, t, 0)
        if t >= 0:
            self.value(item, t, "")
        else:
            self.skip(item)
        body = at + 3
        if t >= 0 and self.stretches and self.stretches[-1][0] == body and self.open:
            # The item is one stretch: it needs no instructions of its own.
            self.code[at:] = [ops.ROWS, t, *(0 for _ in range(layouts.STRETCH_WORDS - 2))]
            self.stretches[-1] = (at, self.stretches[-1][1])
            self.open = False
            return
        self.emit(ops.NEXT)
        self.code[at + 2] = len(self.code)

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

    def column(
        self, kind: Type, t: int, name: str, null: int, path: str, again: bool = False
    ) -> None:
        """Read one value into one column; `null` is null's tag byte before it, or -1.

        `again`: it is the value that was read last.
        """
        if not self.fits(kind, t, name):
            raise self.mismatch(kind, t, name, path)
        self.found.add((t, name))
        offset, dtype = self.tables[t].column(name)
        width, k = dtype.itemsize, kind.kind
        low, high = 0, 0
        if dtype.kind in "SV":
            move = moves.TEXT if dtype.kind == "S" else moves.SPAN
            low = int(k == "string")
        elif (k, width) in (("float", 4), ("double", 8)) and dtype.kind == "f":
            move = moves.COPY
        elif dtype.kind == "f":
            reals = {
                "float": moves.REAL_FLOAT,
                "double": moves.REAL_DOUBLE,
                "boolean": moves.REAL_BOOL,
            }
            move = reals.get(k, moves.REAL_INT)
        elif k == "boolean":
            move = moves.BOOL
        else:
            move = moves.INT
            low, high = int_range(kind)
            info = np.iinfo(dtype)
            low, high = max(low, int(info.min)), min(high, int(info.max))
        lies, size = _lies(kind)
        lies = layouts.AGAIN if again else lies
        self.field(lies, null, size, t, move, offset, width, low, high)

    def skip(self, kind: Type) -> None:
        if kind.size is not None or kind.kind in SIMPLE:
            if kind.size != 0:
                self.field(_lies(kind)[0], -1, _lies(kind)[1])
        elif kind.kind == "record":
            for part in kind.parts:
                self.skip(part)
        elif kind.kind == "union":
            null, other = _option(kind)
            if other is None or (other.size is None and other.kind not in SIMPLE):
                self.branches(kind, self.skip)
            else:
                self.field(_lies(other)[0], null, _lies(other)[1])
        elif kind.kind == "array" and kind.parts[0].size is not None:
            self.emit(ops.SKIP_ARRAY, kind.parts[0].size)
        elif kind.kind == "array":
            self.loop(-1, kind.parts[0])
        else:  # a map
            key = Type("string", None, "string")
            self.loop(-1, Type("record", None, None, (key, kind.parts[0])))


def _lies(kind: Type) -> tuple[int, int]:
    """How the bytes of a type without parts lie, and how many they are if that is fixed."""
    if kind.size is not None:
        return layouts.FIXED, kind.size
    return layouts.SIZED if kind.kind in ("string", "bytes") else layouts.VARINT, 0


def _longest(fields: Sequence[Sequence[int]]) -> int:
    """Bytes that the layouts of these fields may take; 0 if none is worth keeping."""
    total = 0
    for lies, null, size, times, *_ in fields:
        total += times * ((null >= 0) + (size, 10, 64, 0)[lies])
    return min(32 * (total // 32 + 1), LONGEST)


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

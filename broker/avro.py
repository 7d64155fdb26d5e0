"""Avro straight into NumPy rows and back, by programs compiled once per schema.

A `Reader` takes the writer's schema and what is wanted of it, and compiles both to a program for
broker.interpreter; a `Writer` is the inverse. Compiling takes milliseconds and no JIT, so a
survey's new schema version costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import interpreter as ops
from broker.avro_types import SchemaError, Type, parse
from broker.records import SPAN

__all__ = ["TRUNCATED", "Reader", "Rows", "SchemaError", "Table", "explain"]

MAX_PROGRAM = 1 << 20  #: words; the largest survey schema takes some 1500
PAYLOAD = bytes.__basicsize__ - 1  #: of a bytes object: CPython keeps its bytes here, behind a head
TRUNCATED = ops.TRUNCATED

_WORDS = {
    ops.TRUNCATED: "truncated",
    ops.OVERLONG: "number of more than 64 bits",
    ops.BRANCH: "union branch out of range",
    ops.TOO_LONG: "string longer than the column",
    ops.LEFT_OVER: "bytes left over at the end",
    ops.NEGATIVE: "negative length",
    ops.OUT_OF_RANGE: "number out of its column's range",
    ops.BLOCK: "array block that is not as long as it says",
    ops.NOT_BOOLEAN: "boolean that is neither 0 nor 1",
    ops.NOT_UTF8: "string that is not UTF-8",
    ops.NUL: "string that ends in NUL",
}


def explain(code: int) -> str:
    """What an error code of `Rows.status` means, in words."""
    return _WORDS[int(code)]


@dataclass(frozen=True, slots=True)
class Table:
    """One record level: which fields of its rows are which fields of the Avro record.

    Attributes
    ----------
    dtype
        Structured; fields of ints, floats, S<n>, records.SPAN, and structs of these.
    fields
        Field of the dtype ("context.rb" reaches into a struct) -> path in the Avro record
        ("candidate.magpsf"; "" is the item itself). One path may feed several fields.
    defaults
        The row that a new record starts from: Avro's null and absent fields leave it. Without it:
        NaN, 0, b"" and empty spans.
    """

    dtype: np.dtype[Any]
    fields: Mapping[str, str]
    defaults: np.void | None = None

    def default_row(self) -> NDArray[np.void]:
        """(1,) of dtype, contiguous."""
        row = np.zeros(1, self.dtype)
        if self.defaults is not None:
            row[0] = self.defaults
        else:
            _fill(row)
        return row

    def column(self, name: str) -> tuple[int, np.dtype[Any]]:
        """Offset in the row (bytes) and dtype of a field.

        Raises
        ------
        TypeError
            No such field, or one of a type that Avro has no counterpart of.
        """
        dtype, offset = self.dtype, 0
        for part in name.split("."):
            if part not in (dtype.fields or {}):
                msg = f"the dtype has no field {name!r}; it has {dtype.names}"
                raise TypeError(msg)
            field = dtype.fields[part]  # type: ignore[index]
            dtype, offset = field[0], offset + field[1]
        fits = (
            dtype == SPAN or dtype.kind in "iuS" or (dtype.kind == "f" and dtype.itemsize in (4, 8))
        )
        if not fits or not dtype.isnative:
            msg = f"the field {name!r} is of type {dtype}; f4, f8, ints, S<n> and SPAN are possible"
            raise TypeError(msg)
        return offset, dtype


def _fill(rows: NDArray[np.void]) -> None:
    for name in rows.dtype.names or ():
        if rows.dtype[name].kind == "f":
            rows[name] = np.nan
        elif rows.dtype[name].names:
            _fill(rows[name])


@dataclass(frozen=True, slots=True)
class Rows:
    """What a batch of values held. A value that failed has no rows in any table.

    Attributes
    ----------
    rows
        Per table its rows; "" are the top records, in the order of the values.
    first
        Per other table (top + 1,): rows first[i]:first[i + 1] belong to top record i.
    status
        (value,) the index of its top record, or a negative error code (see `explain`).
    heap
        Bytes that SPAN fields point into.
    """

    rows: Mapping[str, NDArray[np.void]]
    first: Mapping[str, NDArray[np.int64]]
    status: NDArray[np.int64]
    heap: NDArray[np.uint8]


class Reader:
    """Reads values of one writer's schema into rows of tables.

    Parameters
    ----------
    schema
        The writer's schema as JSON gives it, already parsed.
    tables
        Path of an array -> the table of its items; "" is the top record. A table's array may not
        lie inside another array or a map.

    Attributes
    ----------
    missing : Mapping[str, tuple[str, ...]]
        Per table the fields whose Avro path this schema lacks; they keep their defaults.

    Raises
    ------
    SchemaError
        Not Avro; recursive; a wanted value of a type that its column cannot hold.
    """

    def __init__(self, schema: Any, tables: Mapping[str, Table]) -> None:
        self._names = ("", *(path for path in tables if path))
        top = tables.get("", Table(np.dtype([("", "V1")]), {}))
        self._tables = tuple(tables[path] if path else top for path in self._names)
        self._defaults = tuple(t.default_row() for t in self._tables)
        whole = parse(schema)
        program = _Program(self._names, self._tables)
        program.value(whole, 0, "")
        self._code = program.finish()
        passing = _Program((), ())
        passing.skip(whole)
        self._passing = passing.finish()
        self.missing: Mapping[str, tuple[str, ...]] = {
            path: tuple(name for name in table.fields if (t, name) not in program.found)
            for t, (path, table) in enumerate(zip(self._names, self._tables, strict=True))
        }

    def read(
        self,
        values: Sequence[bytes],
        start: NDArray[np.int64] | None = None,
        end: NDArray[np.int64] | None = None,
    ) -> Rows:
        """Read one Avro datum per value, at [start, end) of it; it must end exactly at `end`.

        The same bytes object may stand in `values` many times.
        """
        n = len(values)
        if not set(map(type, values)) <= {bytes}:
            msg = "values must be bytes"
            raise TypeError(msg)
        address = np.fromiter(map(id, values), np.int64, n) + PAYLOAD
        length = np.fromiter(map(len, values), np.int64, n)
        begin = np.zeros(n, np.int64) if start is None else np.asarray(start, np.int64)
        stop = length if end is None else np.asarray(end, np.int64)
        if not (begin.shape == stop.shape == (n,)):
            msg = f"{n} values, but start {begin.shape} and end {stop.shape}"
            raise ValueError(msg)
        if np.any((begin < 0) | (begin > stop) | (stop > length)):
            msg = "start and end must lie inside their values"
            raise ValueError(msg)
        total = int((stop - begin).sum())

        # Pages of memory that no row reaches are never touched, so a generous guess costs little.
        rows = [np.empty(n, self._tables[0].dtype)]
        rows += [np.empty(16 + total // 128, t.dtype) for t in self._tables[1:]]
        rows.append(np.empty(16 + total // 16, np.uint8))
        tables = np.zeros((len(rows), 5), np.int64)
        for t, array in enumerate(rows):
            tables[t, : ops.DEFAULT] = array.ctypes.data, array.itemsize
            tables[t, ops.CAPACITY] = len(array)
        for t, row in enumerate(self._defaults):
            tables[t, ops.DEFAULT] = row.ctypes.data
        first = np.zeros((len(rows), n + 1), np.int64)
        status = np.empty(n, np.int64)
        i = 0
        while True:
            i, full = ops.read_batch(
                self._code, address + begin, address + stop, i, tables, first, status
            )
            if full < 0:
                break
            # A row takes at least a byte of input, so what is allocated is in proportion to it.
            grown = np.empty(2 * len(rows[full]), rows[full].dtype)
            grown[: len(rows[full])] = rows[full]
            rows[full] = grown
            tables[full, ops.AT] = grown.ctypes.data
            tables[full, ops.CAPACITY] = len(grown)
        count = tables[:, ops.COUNT]
        return Rows(
            {path: rows[t][: count[t]] for t, path in enumerate(self._names)},
            {p: first[t, : count[0] + 1] for t, p in enumerate(self._names) if p},
            status,
            rows[-1][: count[-1]],
        )

    def split(self, value: bytes, records: int, start: int = 0) -> NDArray[np.int64]:
        """Where the data of a container's block lie, which stand in it one behind another.

        Parameters
        ----------
        value
            Holds `records` data from byte `start` to its end.

        Returns
        -------
        (piece + 1,) offsets: datum i is value[offset[i]:offset[i + 1]]. A datum that cannot be
        passed is the last piece, and so are bytes left over; `read` then says what is wrong.
        """
        if not isinstance(value, bytes) or not 0 <= start <= len(value):
            msg = f"start {start} does not lie inside the value"
            raise ValueError(msg)
        # No datum of an alert is empty, so a lie about their number allocates little.
        offsets = np.empty(max(1, min(records, len(value) - start)) + 1, np.int64)
        at = id(value) + PAYLOAD
        n = ops.split(self._passing, at + start, at + len(value), offsets)
        return offsets[: n + 1] - at


class _Program:
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
                self.live.update((t, prefix) for prefix in _prefixes(path))
        self.live.update((0, prefix) for path in self.loops for prefix in _prefixes(path))

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
        words = [k.kind for k in kind.parts] if kind.kind == "union" else kind.kind
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
            low, high = _range(kind)
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


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return ["", *(".".join(parts[: i + 1]) for i in range(len(parts)))]


def _option(kind: Type) -> tuple[int, Type | None]:
    """Of [null, x] or [x, null]: null's tag byte and x; of any other union (0, None)."""
    kinds = [k.kind for k in kind.parts]
    if len(kinds) != 2 or kinds.count("null") != 1 or "union" in kinds:
        return 0, None
    null = kinds.index("null")
    return 2 * null, kind.parts[1 - null]


def _range(kind: Type) -> tuple[int, int]:
    """Values that an Avro int, long or enum may have."""
    if kind.kind == "enum":
        return 0, len(kind.names) - 1
    bits = 31 if kind.kind == "int" else 63
    return -(1 << bits), (1 << bits) - 1

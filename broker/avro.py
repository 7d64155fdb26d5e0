"""Avro straight into NumPy rows and back, by programs compiled once per schema.

A `Reader` takes the writer's schema and what is wanted of it, and compiles both to a program for
broker.interpreter; a `Writer` is the inverse. Compiling takes milliseconds and no JIT, so a
survey's new schema version costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import encoder
from broker import interpreter as ops
from broker.avro_read import ReadProgram
from broker.avro_table import Table
from broker.avro_types import SchemaError, parse
from broker.avro_write import WriteProgram

__all__ = ["TRUNCATED", "Reader", "Rows", "SchemaError", "Table", "Writer", "explain"]

PAYLOAD = bytes.__basicsize__ - 1  #: of a bytes object: CPython keeps its bytes here, behind a head
KEPT_ROOM = 1 << 26  #: bytes; a batch that needed more gives its room back
NO_COLUMNS = Table(np.dtype([("", "V1")]), {})
NO_BYTES = np.empty(0, np.uint8)
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
        self._tables = tuple(tables.get(path, NO_COLUMNS) for path in self._names)
        self._default_rows = [t.default_row() for t in self._tables]
        self._defaults = np.array([r.ctypes.data for r in self._default_rows], np.int64)
        self._rooms: list[_Room] = []  # of calls that are over; one for each thread at most
        whole = parse(schema)
        program = ReadProgram(self._names, self._tables)
        program.value(whole, 0, "")
        self._code = program.finish()
        passing = ReadProgram((), ())
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

        Parameters
        ----------
        values
            The same bytes object may stand here many times.
        start, end
            (value,) offsets in bytes; the whole values without them.

        Raises
        ------
        TypeError, ValueError
            Values that are not bytes, or offsets outside them. Whatever the bytes are raises
            nothing: see `Rows.status`.
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
        if ((begin < 0) | (begin > stop) | (stop > length)).any():
            msg = "start and end must lie inside their values"
            raise ValueError(msg)
        room = self._rooms.pop() if self._rooms else _Room([t.dtype for t in self._tables])
        room.empty(n, self._defaults)
        first = np.zeros((len(room.tables), n + 1), np.int64)
        status = np.empty(n, np.int64)
        i, full = 0, -1
        while i < n:
            i, full = ops.read_batch(
                self._code, address + begin, address + stop, i, room.tables, first, status
            )
            if full >= 0:
                room.grow(full)
        *rows, heap = room.taken()
        if sum(r.nbytes for r in room.raw) < KEPT_ROOM:
            self._rooms.append(room)
        return Rows(
            dict(zip(self._names, rows, strict=True)),
            {p: first[t, : len(rows[0]) + 1] for t, p in enumerate(self._names) if p},
            status,
            heap,
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


class Writer:
    """Writes rows of tables as values of one schema: the inverse of `Reader`.

    Every field of the schema has a column, a constant or a default. Where it is a union with null,
    null is written for NaN, for an empty span, and for an integer or a string that equals the
    table's default row: 0 and b"" unless `Table.defaults` says otherwise (a nullable boolean
    column needs a default of, say, 2).

    Parameters
    ----------
    schema
        As JSON gives it, already parsed.
    tables
        As for `Reader`.
    constants
        Path in the Avro record -> the value that each record gets there.

    Raises
    ------
    SchemaError
        Not Avro; recursive; a field with neither column nor constant nor default; a column or
        constant whose path the schema lacks, or whose type does not fit.
    """

    def __init__(
        self,
        schema: Any,
        tables: Mapping[str, Table],
        constants: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._names = ("", *(path for path in tables if path))
        self._tables = tuple(tables.get(path, NO_COLUMNS) for path in self._names)
        self._default_rows = [t.default_row() for t in self._tables]
        self._defaults = [r.ctypes.data for r in self._default_rows]
        program = WriteProgram(self._names, self._tables, constants)
        program.whole(parse(schema))
        self._code = np.array(program.code, np.int64)
        self._constants = np.frombuffer(bytes(program.constants) + b"\0", np.uint8)
        self._constants_at = self._constants.ctypes.data
        self._most, self._spans = program.most, program.spans

    def write(
        self,
        rows: Mapping[str, NDArray[np.void]],
        first: Mapping[str, NDArray[np.int64]],
        heap: NDArray[np.uint8] = NO_BYTES,
        prefix: bytes = b"",
    ) -> list[bytes]:
        """One value per row of the top table, each with `prefix` before it.

        Shapes as in `Rows`: rows first[path][i]:first[path][i + 1] of a table belong to value i.

        Raises
        ------
        ValueError
            A number that its Avro type cannot hold, a string that is not UTF-8 (the message names
            the row), a span outside the heap, a `first` that is not one.
        """
        own = [np.ascontiguousarray(rows[p]) if p or p in rows else None for p in self._names]
        n = len(first[self._names[1]]) - 1 if own[0] is None else len(own[0])
        edges = np.zeros((len(own), n + 1), np.int64)
        tables = np.zeros((len(own), 3), np.int64)
        size = n * (len(prefix) + self._most[0])
        for t, (path, table) in enumerate(zip(self._names, own, strict=True)):
            tables[t, ops.DEFAULT] = self._defaults[t]
            if table is None:
                continue
            if table.dtype != self._tables[t].dtype:
                msg = f"the rows of {path!r} are {table.dtype}, not {self._tables[t].dtype}"
                raise TypeError(msg)
            tables[t, : ops.DEFAULT] = table.ctypes.data, table.itemsize
            size += _span_bytes(table, self._spans[t], len(heap))
            if path:
                edges[t] = _checked(first[path], n, len(table), path)
                size += int(edges[t, -1] - edges[t, 0]) * self._most[t]
        out = np.empty(size, np.uint8)
        ends = np.zeros(n + 1, np.int64)
        heap, head = np.ascontiguousarray(heap), np.frombuffer(prefix, np.uint8)
        error = encoder.write_batch(
            self._code,
            self._constants_at,
            tables,
            edges,
            heap.ctypes.data,
            head.ctypes.data,
            len(head),
            out.ctypes.data,
            ends,
        )
        if error < 0:
            at = int(np.flatnonzero(np.diff(ends) < 0)[0]) if n else 0
            msg = f"value {at} cannot be written: {explain(error)}"
            raise ValueError(msg)
        raw = out[: ends[-1]].tobytes()
        return [raw[a:b] for a, b in pairwise(ends.tolist())]


def _span_bytes(rows: NDArray[np.void], fields: Sequence[str], heap: int) -> int:
    """Bytes of the heap that the rows' spans cover together."""
    total = 0
    for field in fields:
        span: Any = rows
        for part in field.split("."):
            span = span[part]
        start, length = span["start"], span["length"]
        if ((start < 0) | (start > heap) | (length < 0) | (length > heap - start)).any():
            msg = f"a span in {field!r} lies outside the heap"
            raise ValueError(msg)
        total += int(length.sum())
    return total


def _checked(first: NDArray[np.int64], n: int, rows: int, path: str) -> NDArray[np.int64]:
    first = np.asarray(first, np.int64)
    if (
        first.shape != (n + 1,)
        or first[0] < 0
        or first[-1] > rows
        or (first[1:] < first[:-1]).any()
    ):
        msg = f"first[{path!r}] does not divide {rows} rows among {n} values"
        raise ValueError(msg)
    return first


class _Room:
    """Where a batch's rows are put before their number is known; kept warm for the next batch.

    It grows by what was really read, a row for a byte at most: a count that lies allocates nothing.
    `tables` (table + 1, 5) describes it to the kernel; the last of its rows is the heap.
    """

    def __init__(self, dtypes: Sequence[np.dtype[Any]]) -> None:
        # Kept as plain bytes: NumPy copies structured rows field by field.
        self.dtypes = [*dtypes, np.dtype(np.uint8)]
        self.tables = np.zeros((len(self.dtypes), 5), np.int64)
        self.tables[:, ops.SIZE] = [d.itemsize for d in self.dtypes]
        self.raw = [np.empty(0, np.uint8) for _ in self.dtypes]
        for t in range(len(self.raw)):
            self.grow(t, 16)

    def empty(self, n: int, defaults: NDArray[np.int64]) -> None:
        """Make it ready for `n` top records and rows that start from those at `defaults`."""
        self.tables[:, ops.COUNT] = 0
        self.tables[:-1, ops.DEFAULT] = defaults
        if n > self.tables[0, ops.CAPACITY]:
            self.grow(0, n)

    def grow(self, t: int, least: int = 0) -> None:
        """Twice the room in a table, or `least` rows."""
        capacity = max(2 * int(self.tables[t, ops.CAPACITY]), least)
        grown = np.empty(capacity * self.dtypes[t].itemsize, np.uint8)
        grown[: len(self.raw[t])] = self.raw[t]
        self.raw[t] = grown
        self.tables[t, ops.AT] = grown.ctypes.data
        self.tables[t, ops.CAPACITY] = capacity

    def taken(self) -> list[NDArray[Any]]:
        """Copies of the rows that were read, table by table, and of the heap."""
        used = (self.tables[:, ops.COUNT] * self.tables[:, ops.SIZE]).tolist()
        return [
            raw[:n].copy().view(dtype)
            for raw, n, dtype in zip(self.raw, used, self.dtypes, strict=True)
        ]

"""Avro straight into NumPy rows, by programs compiled once per schema.

A `Reader` takes the writer's schema and what is wanted of it, and compiles both to a program for
broker.interpreter (broker.avro_writer is the inverse). Compiling takes milliseconds and no JIT, so
a survey's new schema version costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import bytewise
from broker import interpreter as ops
from broker.avro_read import ReadProgram
from broker.avro_table import Table
from broker.avro_types import SchemaError, parse

__all__ = ["TRUNCATED", "Reader", "Rows", "SchemaError", "Table", "explain"]

PAYLOAD = bytes.__basicsize__ - 1  #: of a bytes object: CPython keeps its bytes here, behind a head
MOST_LIKELY = 1 << 26  #: bytes; a batch of more says nothing about the next
NO_BYTES = np.empty(0, np.uint8)
NO_COLUMNS = Table(np.dtype([("", "V1")]), {})
TRUNCATED = bytewise.TRUNCATED

_WORDS = {
    bytewise.TRUNCATED: "truncated",
    bytewise.OVERLONG: "number of more than 64 bits",
    bytewise.BRANCH: "union branch out of range",
    bytewise.TOO_LONG: "string longer than the column",
    bytewise.LEFT_OVER: "bytes left over at the end",
    bytewise.NEGATIVE: "negative length",
    bytewise.OUT_OF_RANGE: "number out of its column's range",
    bytewise.BLOCK: "array block that is not as long as it says",
    bytewise.NOT_BOOLEAN: "boolean that is neither 0 nor 1",
    bytewise.NOT_UTF8: "string that is not UTF-8",
    bytewise.NUL: "string that ends in NUL",
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
        self._code, self._words = program.finish()
        passing = ReadProgram((), ())
        passing.skip(whole)
        self._passing, self._passing_words = passing.finish()
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
        room, size = self._room(), int((stop - begin).sum())
        room.open(n, size, self._defaults)
        first = np.zeros((len(room.tables), n + 1), np.int64)
        status = np.empty(n, np.int64)
        i, full = 0, -1
        while i < n:
            i, full = ops.read_batch(
                self._code.ctypes.data,
                room.memory.ctypes.data,
                address + begin,
                address + stop,
                i,
                room.tables,
                first,
                status,
            )
            if full >= 0:
                room.grow(full)
        *rows, heap = room.taken(size)
        self._rooms.append(room)
        return Rows(
            dict(zip(self._names, rows, strict=True)),
            {p: first[t, : len(rows[0]) + 1] for t, p in enumerate(self._names) if p},
            status,
            heap,
        )

    def _room(self) -> _Room:
        if self._rooms:
            return self._rooms.pop()
        return _Room([t.dtype for t in self._tables], self._words, self._passing_words)

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
        room = self._room()
        code, memory = self._passing.ctypes.data, room.passing.ctypes.data
        n = ops.split(code, memory, at + start, at + len(value), offsets)
        self._rooms.append(room)
        return offsets[: n + 1] - at


class _Room:
    """Where a batch's rows are put before their number is known.

    It grows by what was really read, a row for a byte at most: a count that lies allocates nothing.
    `tables` (table + 1, column) describes it to the kernel; the last of its rows is the heap. From
    one batch to the next it keeps how many rows a byte is likely to give, and in `memory` and
    `passing` the layouts that were met in what was read and in what was split.
    """

    def __init__(self, dtypes: Sequence[np.dtype[Any]], words: int, passing: int) -> None:
        self.memory = np.zeros(words, np.int64)
        self.passing = np.zeros(passing, np.int64)
        self.dtypes = [*dtypes, np.dtype(np.uint8)]
        self.tables = np.zeros((len(self.dtypes), ops.COLUMNS), np.int64)
        self.tables[:, ops.SIZE] = [d.itemsize for d in self.dtypes]
        self.raw: list[NDArray[np.uint8]] = []
        self.likely = np.zeros(len(self.dtypes))  # rows of a byte that is read

    def open(self, n: int, size: int, defaults: NDArray[np.int64]) -> None:
        """Make it ready for `n` values of `size` bytes, and rows that start from `defaults`."""
        self.tables[:, ops.COUNT] = 0
        self.tables[:, ops.CAPACITY] = 0
        self.tables[:-1, ops.DEFAULT] = defaults
        self.raw = [NO_BYTES for _ in self.dtypes]
        for t, rows in enumerate((1.25 * size * self.likely).astype(np.int64).tolist()):
            self.grow(t, n if t == 0 else rows + 16)

    def grow(self, t: int, least: int = 0) -> None:
        """Twice the room in a table, or `least` rows."""
        capacity = max(2 * int(self.tables[t, ops.CAPACITY]), least)
        grown = np.empty(capacity * self.dtypes[t].itemsize, np.uint8)
        grown[: len(self.raw[t])] = self.raw[t]
        self.raw[t] = grown
        self.tables[t, ops.AT] = grown.ctypes.data
        self.tables[t, ops.CAPACITY] = capacity

    def taken(self, size: int) -> list[NDArray[Any]]:
        """The rows that were read of `size` bytes, table by table, and the heap."""
        used = self.tables[:, ops.COUNT] * self.tables[:, ops.SIZE]
        usual = used.sum() < MOST_LIKELY
        self.likely = self.tables[:, ops.COUNT] / max(size, 1) if usual else 0 * self.likely
        raw, self.raw = self.raw, []
        return [
            r[:end].view(dtype)
            for r, end, dtype in zip(raw, used.tolist(), self.dtypes, strict=True)
        ]

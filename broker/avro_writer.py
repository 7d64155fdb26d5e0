"""NumPy rows as Avro, by programs compiled once per schema: the inverse of broker.avro."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import encoder
from broker.avro import NO_COLUMNS, explain
from broker.avro_table import Table
from broker.avro_types import parse
from broker.avro_write import BESIDE, WriteProgram

NO_BYTES = np.empty(0, np.uint8)


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
        As for `Reader`. A table called BESIDE has a row for each value, as "" does, with columns
        that "" lacks. A SPAN column for an array, a map or a record holds its Avro bytes.
    constants
        Path in the Avro record -> the value that each record gets there.
    before, behind
        Bytes that stand before and behind each value.
    sized
        Whether the value's length (an Avro long) stands right before it, as in a container.

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
        before: bytes = b"",
        behind: bytes = b"",
        sized: bool = False,
    ) -> None:
        self._names = ("", BESIDE, *(path for path in tables if path not in ("", BESIDE)))
        self._tables = tuple(tables.get(path, NO_COLUMNS) for path in self._names)
        self._default_rows = [t.default_row() for t in self._tables]
        program = WriteProgram(self._names, self._tables, constants)
        program.whole(parse(schema))
        self._code = np.array(program.code, np.int64)
        self._spans = np.array(program.spans, np.int64).reshape(-1, 2)
        self._kept = [
            np.frombuffer(b + bytes(8), "u1") for b in (program.constants, before, behind)
        ]
        self._constants, start, end = (b.ctypes.data for b in self._kept)
        self._frame = (start, len(before), end, len(behind), int(sized))
        self._blank = np.zeros((len(self._names), 5), np.int64)  # tables of no rows
        self._blank[:, encoder.SIZE] = [t.dtype.itemsize for t in self._tables]
        self._blank[:, encoder.DEFAULT] = [row.ctypes.data for row in self._default_rows]
        self._blank[:, encoder.MOST] = program.most

    def write(
        self,
        rows: Mapping[str, NDArray[np.void]],
        first: Mapping[str, NDArray[np.int64]],
        heap: NDArray[np.uint8] = NO_BYTES,
    ) -> list[bytes]:
        """One value per row of the top table.

        Shapes as in `Rows`: rows first[path][i]:first[path][i + 1] of a table belong to value i.

        Raises
        ------
        ValueError
            A number that its Avro type cannot hold, a string that is not UTF-8 (the message names
            the row), a span outside the heap, a `first` that is not one.
        """
        own = [np.ascontiguousarray(rows[p]) if p in rows else None for p in self._names]
        n = len(first[self._names[2]]) - 1 if own[0] is None else len(own[0])
        edges = np.zeros((len(own), n + 1), np.int64)
        tables = self._blank.copy()
        for t, (path, table) in enumerate(zip(self._names, own, strict=True)):
            if table is None:
                continue
            if table.dtype != self._tables[t].dtype:
                msg = f"the rows of {path!r} are {table.dtype}, not {self._tables[t].dtype}"
                raise TypeError(msg)
            tables[t, encoder.AT], tables[t, encoder.ROWS] = table.ctypes.data, len(table)
            if t > 1 and np.shape(first[path]) == (n + 1,):
                edges[t] = first[path]
            elif t > 1:
                edges[t, 0] = -1
            elif len(table) != n:
                msg = f"{len(table)} rows beside {n}"
                raise ValueError(msg)
        heap = np.ascontiguousarray(heap)
        size, undivided = encoder.room_needed(tables, edges, self._spans, len(heap))
        if undivided >= 0:
            path, count = self._names[undivided], tables[undivided, encoder.ROWS]
            msg = f"first[{path!r}] does not divide {count} rows among {n} values"
            raise ValueError(msg)
        values: list[Any] = [None] * n
        written, error = encoder.write_batch(
            self._code,
            self._constants,
            tables,
            edges,
            heap,
            self._frame,
            np.empty(size, np.uint8),
            id(values),
            n,
        )
        if error == encoder.OUTSIDE:
            msg = f"a span of value {written} lies outside the heap"
            raise ValueError(msg)
        if error < 0:
            msg = f"value {written} cannot be written: {explain(error)}"
            raise ValueError(msg)
        return values

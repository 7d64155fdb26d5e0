"""NumPy rows as Avro, by programs compiled once per schema: the inverse of broker.avro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import encoder
from broker import interpreter as ops
from broker.avro import NO_COLUMNS, explain
from broker.avro_table import Table
from broker.avro_types import parse
from broker.avro_write import WriteProgram

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

"""Which columns of a structured array are which fields of an Avro record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.records import SPAN


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

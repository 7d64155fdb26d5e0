"""What objects are known to be, from a table of names and kinds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from broker.taxonomy import TREE
from workers.errors import Failed

#: Columns that may say what an object is: the simulator's name of it, then what others use.
COLUMNS = ("kind", "class", "type")


def read(path: Path) -> Mapping[bytes, str]:
    """Kinds of objects by their names, from a Parquet or CSV file with a header.

    One column is called `object`, another `kind`, `class` or `type`; of an object in several rows
    the last counts.

    Raises
    ------
    Failed
        There is no such file, it lacks a column, or none of its kinds is one of the taxonomy.
    """
    if not path.is_file():
        msg = f"{path}: no such file"
        raise Failed(msg)
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        names, rows = table.column_names, table.to_pylist()
    else:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names, rows = list(reader.fieldnames or ()), list(reader)
    column = next((name for name in COLUMNS if name in names), None)
    if column is None or "object" not in names:
        msg = f"{path}: expected columns object and {' or '.join(COLUMNS)}; it has {_words(names)}"
        raise Failed(msg)
    truth = {str(row["object"]).encode(): str(row[column]) for row in rows if row[column]}
    if not any(kind in TREE for kind in truth.values()):
        found = _words(sorted(set(truth.values()))[:8])
        msg = f"{path}: no kind is one that `nightjar taxonomy` prints; it has {found}"
        raise Failed(msg)
    return truth


def _words(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"

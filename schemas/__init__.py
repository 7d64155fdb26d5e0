"""The wire: Avro schemas as files, and the one function that finds them.

`nightjar.*` are our own records; `ztf/`, `lsst/`, `elasticc/` hold the surveys' writer schemas as
facts of the wire (names, types and order, in Avro's parsing canonical form), their origin beside
them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastavro.schema import load_schema

FOLDER = Path(__file__).parent


@cache
def find(name: str) -> Any:
    """The schema called `name`: ``nightjar.Detection``, or a survey's, e.g. ``lsst/1101``.

    Named parts that stand in files of their own are put in where they are first used, so what
    comes back is whole.

    Raises
    ------
    LookupError
        No such schema is shipped; the message lists those that are.
    """
    path = FOLDER / f"{name}.avsc"
    if not path.is_file():
        shipped = sorted(str(p.relative_to(FOLDER))[:-5] for p in FOLDER.rglob("*.avsc"))
        msg = f"no schema {name!r} is shipped; there are: {', '.join(shipped)}"
        raise LookupError(msg)
    if path.parent == FOLDER:
        return load_schema(str(path), _write_hint=False)
    return json.loads(path.read_text())

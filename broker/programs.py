"""How to read the packets of each writer's schema; compiled at its first packet, then kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker import avro
from broker.containers import Unreadable, refuse
from broker.surveys import SURVEYS, survey_of
from broker.surveys.survey import Survey
from broker.writer_schemas import WriterSchemas

#: Kept; beyond, all are forgotten: only broken or hostile packets get there. Each may take
#: 8 * broker.avro_read.MAX_MEMORY bytes.
MAX_PROGRAMS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """How to read the packets of one writer's schema."""

    survey: Survey
    reader: avro.Reader


class Programs:
    """Programs by schema: its text as it stands in a container, or its id.

    Never by a version: ZTF sends two orders of union branches under one.
    """

    def __init__(
        self,
        registry: Callable[[int], dict[str, Any]] | None,
        cache: Path | None,
        clock: Callable[[], int],
    ) -> None:
        self._schemas = WriterSchemas(registry, cache, clock)
        self._kept: dict[bytes | int, Program | Unreadable] = {}

    def find(self, schema: bytes | int, survey: str | None) -> Program:
        """The program for a schema that came in a topic of `survey` (None: of any).

        Raises
        ------
        Unreadable
            unknown_schema, schema_mismatch, missing_field, or corrupt.
        """
        found = self._kept.get(schema)
        if found is None:
            # Outside: an id that is unknown today may be known in a minute.
            told = self._schemas.find(schema) if isinstance(schema, int) else None
            try:
                found = program(*(told or _told_by(schema)))  # type: ignore[arg-type]
            except Unreadable as error:
                found = error
            if len(self._kept) >= MAX_PROGRAMS:
                self._kept.clear()
            self._kept[schema] = found
        if isinstance(found, Unreadable):
            refuse(found.reason, found.error)
        if survey is not None and found.survey.name != survey:
            refuse("schema_mismatch", f"a packet of {found.survey.name} in a topic of {survey}")
        return found


def program(survey: str, schema: Any) -> Program:
    """Compile the program that reads `survey`'s packets of this writer's schema.

    Raises
    ------
    Unreadable
        schema_mismatch, or missing_field.
    """
    tables, needs = SURVEYS[survey].tables, SURVEYS[survey].needs
    try:
        reader = avro.Reader(schema, tables)
    except (avro.SchemaError, RecursionError) as error:
        refuse("schema_mismatch", f"the writer's schema: {error}")
    for path, missing in reader.missing.items():
        lacking = set(needs[path]) & set(missing)
        if lacking and (path == "" or len(missing) < len(tables[path].fields)):
            names = ", ".join(sorted(tables[path].fields[name] for name in lacking))
            refuse("missing_field", f"the writer's schema lacks {names} in {path or 'the alert'}")
    return Program(SURVEYS[survey], reader)


def _told_by(text: bytes) -> tuple[str, Any]:
    """Survey and schema of a container, from the schema's text in its header."""
    try:
        schema = json.loads(text)
        survey = survey_of(schema)
    except (ValueError, RecursionError) as error:
        refuse("corrupt", f"the container's schema is not JSON: {error}")
    if survey is None:
        refuse("unknown_schema", "the container's schema is of no survey known here")
    return survey.name, schema

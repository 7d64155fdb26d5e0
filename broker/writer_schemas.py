"""Finds the writer's schema of an id: among those shipped, on disk, or at the registry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import schemas
from broker.avro_types import parse
from broker.containers import refuse
from broker.framing import ELASTICC_ID

FIRST_LSST_ID = 500  #: 100 * major + minor; LSST began to send with major version 5 or later
ASK_AGAIN_MS = 60_000


class WriterSchemas:
    """Schemas by id: those in `schemas/`, else those kept in the folder `cache`, else the registry.

    Ids never change their meaning, so what the registry gave is kept for ever. A registry that
    failed is asked again for the same id after a minute, not with every packet.
    """

    def __init__(
        self,
        registry: Callable[[int], dict[str, Any]] | None,
        cache: Path | None,
        clock: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._cache = cache
        self._clock = clock
        self._failed: dict[int, tuple[int, str]] = {}  # id -> (when, why)

    def find(self, number: int) -> tuple[str, Any]:
        """Survey and schema of an id.

        Raises
        ------
        Unreadable
            Nobody knows the id.
        """
        survey = "elasticc" if number == ELASTICC_ID else "lsst"
        if number != ELASTICC_ID and number < FIRST_LSST_ID:
            refuse("unknown_schema", f"schema id {number} is of no survey known here")
        if (schemas.FOLDER / survey / f"{number}.avsc").is_file():
            return survey, schemas.find(f"{survey}/{number}")
        file = None if self._cache is None else self._cache / survey / f"{number}.avsc"
        if file is not None and file.is_file():
            try:
                return survey, json.loads(file.read_text())
            except ValueError:
                file.unlink()  # half written when a machine died
        found = self._ask(number)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(found))
            part.replace(file)
        return survey, found

    def _ask(self, number: int) -> dict[str, Any]:
        if self._registry is None:
            refuse("unknown_schema", f"schema id {number} is not shipped; no registry set")
        when, why = self._failed.get(number, (0, ""))
        if not why or self._clock() - when >= ASK_AGAIN_MS:
            try:
                found = self._registry(number)
                parse(found)
                return found
            except Exception as error:  # a registry may fail in any way; the stream goes on
                why = f"schema id {number}: the registry failed: {type(error).__name__}: {error}"
                if len(self._failed) >= 1000:
                    self._failed.clear()
                self._failed[number] = self._clock(), why
        refuse("unknown_schema", why)

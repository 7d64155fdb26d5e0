"""The survey's schema registry, asked once for each writer's schema that nobody here knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from workers.errors import Misused

if TYPE_CHECKING:
    from broker.decode import Decoder
    from workers.settings import Settings

_TIMEOUT_S = 5
#: LSST's largest schema has 100 kB.
_MOST_BYTES = 4 << 20


def decoder(settings: Settings) -> Decoder:
    """Reads packets as the settings say; a schema that is new is kept under `state_dir`."""
    from broker.decode import Decoder

    return Decoder(
        public_only=settings.source.public_only,
        registry=registry(settings.source.registry),
        cache=Path(settings.state_dir) / "schemas",
    )


def registry(url: str) -> Callable[[int], dict[str, Any]] | None:
    """What asks a registry of Confluent's kind for the schema of an id; None without an address.

    Raises
    ------
    Misused
        The address is not one of the web's.
    """
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        msg = f"source.registry = {url!r}: expected the address of a registry, https://..."
        raise Misused(msg)

    def ask(number: int) -> dict[str, Any]:
        with urlopen(f"{url.rstrip('/')}/schemas/ids/{number}", timeout=_TIMEOUT_S) as answer:
            told = json.loads(answer.read(_MOST_BYTES))
        schema: dict[str, Any] = json.loads(told["schema"])
        return schema

    return ask

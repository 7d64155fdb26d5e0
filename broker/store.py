"""Where light curves are kept between batches: bytes by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Store(Protocol):
    """One value per key; `put` replaces."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of the keys in their order; None where there is none."""

    def put(self, items: Mapping[bytes, bytes]) -> None:
        """Keep all of these, or, if it raises, none."""

    def clear(self) -> None:
        """Forget everything."""

    def __len__(self) -> int:
        """How many keys it holds."""

    @property
    def nbytes(self) -> int:
        """Bytes of all values together."""


class MemoryStore:
    """A store that lasts as long as the process."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._nbytes = 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of the keys in their order; None where there is none."""
        get = self._values.get
        return [get(key) for key in keys]

    def put(self, items: Mapping[bytes, bytes]) -> None:
        """Keep all of these."""
        for key, value in items.items():
            self._nbytes += len(value) - len(self._values.get(key, b""))
        self._values.update(items)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._nbytes = 0

    def __len__(self) -> int:
        """How many keys it holds."""
        return len(self._values)

    @property
    def nbytes(self) -> int:
        """Bytes of all values together."""
        return self._nbytes

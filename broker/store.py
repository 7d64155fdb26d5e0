"""Where light curves are kept between batches: bytes by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Store(Protocol):
    """One value per key; `put` replaces.

    Keys are objects (b"ztf:ZTF18aaiscil"), or something of theirs: pages that wait to be merged
    (b"ztf:ZTF18aaiscil#3"), periodograms (b"ztf:ZTF18aaiscil#periods"). Only these hold a ``#``,
    and an object's key is there whenever one of them is.
    """

    def get(self, keys: Sequence[bytes]) -> Sequence[bytes | memoryview | None]:
        """Values of the keys in their order, None where there is none.

        A memoryview is good until the next `put` or `clear`.
        """

    def put(
        self, items: Mapping[bytes, bytes], gone: Sequence[bytes] = (), note: bytes | None = None
    ) -> None:
        """Keep all of these, delete the keys in `gone`, and replace the note unless it is None.

        All of it is done or, if it raises, nothing.
        """

    @property
    def note(self) -> bytes:
        """What the last `put` with a note said; b"" at first."""

    def clear(self) -> None:
        """Forget everything, the note too."""

    def __len__(self) -> int:
        """How many objects it holds; pages are not counted."""

    @property
    def nbytes(self) -> int:
        """Bytes of all values together."""


class MemoryStore:
    """A store that lasts as long as the process."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self.clear()

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values of the keys in their order; None where there is none."""
        get = self._values.get
        return [get(key) for key in keys]

    def put(
        self, items: Mapping[bytes, bytes], gone: Sequence[bytes] = (), note: bytes | None = None
    ) -> None:
        """Keep all of these, delete `gone`, replace the note unless it is None."""
        values = self._values
        for key, value in items.items():
            before = values.get(key)
            if before is None:
                self._nbytes += len(value)
                self._pages += b"#" in key
            else:
                self._nbytes += len(value) - len(before)
        values.update(items)
        for key in gone:
            before = values.pop(key, None)
            if before is not None:
                self._nbytes -= len(before)
                self._pages -= b"#" in key
        if note is not None:
            self._note = note

    @property
    def note(self) -> bytes:
        """What the last `put` with a note said; b"" at first."""
        return self._note

    def clear(self) -> None:
        """Forget everything, the note too."""
        self._values.clear()
        self._nbytes = self._pages = 0
        self._note = b""

    def __len__(self) -> int:
        """How many objects it holds; pages are not counted."""
        return len(self._values) - self._pages

    @property
    def nbytes(self) -> int:
        """Bytes of all values together."""
        return self._nbytes

"""Light curves written to a namespace's changelog as if a predecessor had been there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import wire
from workers.publish import Publisher


class Pages(Publisher):
    """Sends pages to the changelog, each to its object's partition, where workers restore them.

    Pages may be sent again: the later one of a key counts.
    """

    def __init__(self, client: Mapping[str, Any], topic: str, partitions: int) -> None:
        super().__init__(client, topic)
        self._partitions = partitions

    def add(self, objects: NDArray[np.void], pages: Iterable[tuple[bytes, bytes]]) -> None:
        """Send keys and values of pages; `objects` (ALERT's survey and object) are all theirs."""
        places = wire.partitions(objects, self._partitions).tolist()
        place_of = dict(zip(wire.keys(objects), places, strict=True))
        for key, value in pages:
            self.send(value, key, place_of[key.rpartition(b"#")[0]])

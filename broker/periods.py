"""Periodograms in the stream: made at a rung of the ladder, kept in the store until the next."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.folds import LEVELS, PHASES, fold
from broker.light_curve import N_BANDS, Channels
from broker.periodogram import FEATURES, PEAKS, room, search
from broker.store import Store

#: Behind an object's key. The ``#`` makes it no object; a page would have a number.
SUFFIX = b"#periods"
_FEATURES = len(FEATURES)
#: What is kept of a slot: a hash of the points that it was made of, the best frequencies, features.
KEPT = np.dtype(
    [
        ("slot", "i8"),
        ("points_hash", "u8"),
        ("per_day", "f8", (PEAKS,)),
        ("features", "f4", (_FEATURES,)),
    ]
)
#: To be raised when the same points would give another periodogram: what is kept is then no good.
_VERSION = 3
_HEAD = blake2b(repr((_VERSION, FEATURES, PEAKS)).encode(), digest_size=8).digest()


class Periods:
    """Finishes the images of channels with a periodogram.

    What it keeps is a cache: the same points give the same answer, so a store that was lost, or is
    another one's, changes nothing but the time that it takes (some 2 ms a periodogram).

    Attributes
    ----------
    staged : dict
        What is to be put into the store with the batch, or to be forgotten.
    searched : int
        How many periodograms were made so far.
    """

    def __init__(self, store: Store, channels: Channels) -> None:
        self._store = store
        self._channels = channels
        self._room = room() if channels.rows["periodogram"].any() else None
        if self._room is not None:  # the kernel is compiled, or read, before the first alert
            search(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0), self._room)
        self.staged: dict[bytes, bytes] = {}
        self.searched = 0

    def finish(
        self,
        keys: Sequence[bytes],
        searches: NDArray[np.void],
        wanted: NDArray[np.void],
        heap: NDArray[np.uint8],
    ) -> None:
        """Write into a heap of images what the periodograms say.

        Parameters
        ----------
        keys
            Of the batch's objects.
        searches, wanted
            `cut.SEARCH` and `cut.WANTED` rows, of barycentric times.
        """
        if self._room is None:
            return
        objects = np.unique(searches["object"]).tolist()
        names = [keys[o] + SUFFIX for o in objects]
        known = dict(zip(objects, self._known(names), strict=True))
        found = np.zeros(len(searches), KEPT)
        renewed = set()
        for i, (o, _, slot, first, points, _) in enumerate(searches.tolist()):
            rows = wanted[first : first + points]
            points_hash = int.from_bytes(blake2b(rows.tobytes(), digest_size=8).digest(), "little")
            kept = known[o].get(slot)
            if kept is None or kept["points_hash"] != points_hash:
                known[o][slot] = kept = found[i]
                kept["slot"], kept["points_hash"] = slot, points_hash
                columns = (rows["time"].copy(), rows["magnitude"].copy(), rows["error"].copy())
                made = search(*columns, self._room)
                kept["per_day"], kept["features"] = made.per_day, made.features
                self.searched += 1
                renewed.add(o)
            else:
                found[i] = kept
        for o, name in zip(objects, names, strict=True):
            if o in renewed:
                self.staged[name] = _HEAD + b"".join(row.tobytes() for row in known[o].values())
        _write(searches, wanted, found, self._channels.rows, heap)

    def _known(self, names: Sequence[bytes]) -> list[dict[int, np.void]]:
        """By slot, what is kept of each object."""
        others = [name for name in names if name not in self.staged]
        kept = dict(zip(others, self._store.get(others), strict=True))
        result = []
        for name in names:
            value = self.staged.get(name) or kept[name] or b""
            of_today = bytes(value[: len(_HEAD)]) == _HEAD
            rows = np.frombuffer(value[len(_HEAD) :], KEPT) if of_today else ()
            result.append({int(row["slot"]): row for row in rows})
        return result


@njit(cache=True, nogil=True)
def _write(
    searches: NDArray[np.void],
    wanted: NDArray[np.void],
    found: NDArray[np.void],
    channels: NDArray[np.void],
    heap: NDArray[np.uint8],
) -> None:
    """Say of how many points each periodogram is, its features and the folds at its frequencies."""
    for s in range(len(searches)):
        begin, points = searches[s].first, searches[s].points
        at = searches[s].at
        values = heap[at : at + 4 * (1 + _FEATURES)].view(np.float32)
        values[0] = np.log(points)
        for k in range(_FEATURES):
            values[1 + k] = found[s].features[k]
        at += 4 * (1 + _FEATURES)
        folds = channels[searches[s].slot // N_BANDS].folds
        if folds == 0:
            continue
        time, magnitude = np.empty(points, np.int64), np.empty(points, np.int32)
        for k in range(points):
            time[k], magnitude[k] = wanted[begin + k].time, wanted[begin + k].magnitude
        for p in range(folds):
            image = heap[at : at + PHASES * LEVELS].reshape(PHASES, LEVELS)
            fold(time, magnitude, found[s].per_day[p], image)
            at += PHASES * LEVELS

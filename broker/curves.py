"""Detections in, images out: every object's light curve is kept, and its image grows by a point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker import barycentre, blobs, dmdt, runs, waiting, wire
from broker.clock import now_ms
from broker.grids import GRIDS, MICRODAYS
from broker.growth import Alerts, Grown, grow
from broker.inputs import Inputs
from broker.light_curve import Channels
from broker.measurements import ROW, channel_rows, kernel_rows
from broker.periods import Periods
from broker.records import (
    ALERT,
    BLOCK,
    IMAGE,
    POINT,
    PRESENCE,
    SURVEYS,
    Detections,
    Images,
)
from broker.store import Store
from broker.surveys.survey import MJD_LIMIT

_ZTF = SURVEYS.index("ztf")


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch of alerts.

    ``outcome`` (alert,) u1 indexes OUTCOMES: passed, duplicate, corrected or withdrawn. An alert
    that passed or is withdrawn has one image; a row with notice 1 behind an alert's place says
    that its history took back a source which was alerted before. ``pages`` are the keys and values
    for the changelog.
    """

    images: Images
    outcome: NDArray[np.uint8]
    pages: list[tuple[bytes, bytes]]


def _regrouped(
    rows: NDArray[np.void], first: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Groups rows[first[i]:first[i + 1]] in another order."""
    row, begin = runs.picked(first, order)
    return rows[row], begin


class Curves:
    """The light curves of one partition of `detections`.

    `add` stages what it changes; `commit` puts that into the store, `discard` forgets it.

    Parameters
    ----------
    inputs : Inputs
        The channels of its images.
    store : Store
        Where light curves are kept; each object's is one value.
    clock : callable
        Unix time in ms, for `curves_ms`.
    """

    def __init__(self, inputs: Inputs, store: Store, clock: Callable[[], int] = now_ms) -> None:
        self._store = store
        self._clock = clock
        self._channels = Channels(
            channel_rows(inputs.channels),
            dmdt.table([GRIDS[channel.grid] for channel in inputs.channels]),
        )
        self._periods = Periods(store, self._channels)
        self._inputs_hash = inputs.hash
        self._staged: dict[bytes, bytes] = {}
        self._merged: list[bytes] = []  # keys of the pages that went into staged light curves
        # Kernels are compiled, or read from the disk's cache, here and not on the first alert.
        self.add(Detections(np.zeros(0, ALERT), np.zeros(0, POINT), np.zeros(1, np.int64)))

    def add(self, detections: Detections) -> Added:
        """Merge alerts into the light curves and cut an image for each.

        Parameters
        ----------
        detections : Detections
            In the order of the topic; what an earlier `add` staged counts as there.

        Raises
        ------
        ValueError
            An alert without points, or with a time that is none; an object of which `restore` did
            not get every page, or one that cannot be read.
        """
        alerts = detections.alerts
        if len(alerts) and np.diff(detections.first).min() < 1:
            msg = "an alert came without its own detection; each must have at least one point"
            raise ValueError(msg)
        for times in (alerts["mjd_tai"], detections.points["mjd_tai"]):
            if not (np.abs(times) < MJD_LIMIT).all():  # NaN is not
                msg = "an alert or one of its points has a time that is none"
                raise ValueError(msg)
        numbers: dict[bytes, int] = {}
        of_alert = [numbers.setdefault(key, len(numbers)) for key in wire.keys(alerts)]
        keys = list(numbers)
        stored, merged = self._stored(keys)
        sizes = np.bincount(of_alert, minlength=len(keys)) if keys else np.zeros(0, np.int64)
        grown = grow(
            np.frombuffer(bytearray().join(stored), np.uint8),
            np.cumsum([0, *map(len, stored)], dtype=np.int64),
            Alerts(
                np.argsort(np.array(of_alert, np.int64), kind="stable"),
                np.cumsum([0, *sizes], dtype=np.int64),
                np.rint(alerts["mjd_tai"] * MICRODAYS).astype(np.int64),
                alerts["solar_system"].copy(),
                (alerts["survey"] == _ZTF).astype(np.uint8),
                kernel_rows(detections.points),
                np.require(detections.first, np.int64, ["C", "W"]),
            ),
            self._inputs_hash,
            self._channels,
        )
        ends = grown.first_blob.tolist()
        bytes_out = memoryview(grown.blobs)
        for key, blob, begin, end in zip(keys, stored, ends, ends[1:], strict=False):
            if begin == end:
                msg = f"the store's light curve {key!r} cannot be read: {blobs.refused(blob)}"
                raise ValueError(msg)
        for key, begin, end in zip(keys, ends, ends[1:], strict=False):
            self._staged[key] = bytes(bytes_out[begin:end])
        self._merged += merged
        barycentre.correct(grown.searches, grown.wanted, alerts["ra"].copy(), alerts["dec"].copy())
        self._periods.finish(keys, grown.searches, grown.wanted, grown.heap)
        return Added(self._images(detections, grown), grown.outcome, self._pages(keys, grown))

    def commit(self, note: bytes | None = None) -> None:
        """Keep what was staged, and the store's note with it unless it is None."""
        self._store.put(self._staged | self._periods.staged, self._merged, note)
        self.discard()

    def discard(self) -> None:
        """Forget what was staged."""
        self._staged, self._merged = {}, []
        self._periods.staged = {}

    def restore(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Take pages of the changelog, in any order; the later value of a key wins.

        What it takes is in the store at once, as it came. An object's pages are read and merged at
        its first touch, once all of them are there; nothing may be staged.

        Raises
        ------
        ValueError
            A value that is no page.
        """
        heads = wire.page_heads()
        items: dict[bytes, bytes] = {}
        numbers: dict[bytes, list[int]] = {}
        for key, value in zip(keys, values, strict=True):
            if value[: wire.HEAD] not in heads:
                raise ValueError(waiting.unreadable(key, "it starts as no page does"))
            items[key] = value
        for key in items:
            name, _, number = key.rpartition(b"#")
            numbers.setdefault(name, []).append(int(number))
        for (name, some), kept in zip(numbers.items(), self._store.get(list(numbers)), strict=True):
            noted = waiting.noted(kept, some)
            if noted is not None:
                items[name] = noted
        self._store.put(items)

    def points(self, key: bytes) -> NDArray[np.void]:
        """All points of an object (b"ztf:ZTF18aaiscil") in order of arrival, staged ones too."""
        (blob,), _ = self._stored([key])
        known = blobs.points(blob) if blob else np.zeros(0, ROW)
        rows = np.zeros(len(known), POINT)
        rows.view(ROW)[:] = known
        return rows

    @property
    def searched(self) -> int:
        """How many periodograms were made so far."""
        return self._periods.searched

    def __len__(self) -> int:
        """How many light curves are kept; staged ones that are new are not counted."""
        return len(self._store)

    @property
    def nbytes(self) -> int:
        """Bytes that the kept light curves take."""
        return self._store.nbytes

    def _stored(self, keys: Sequence[bytes]) -> tuple[list[waiting.Value], list[bytes]]:
        """Blobs as they stand, empty where an object is new; keys of pages merged into them."""
        staged = self._staged.get
        found: list[waiting.Value | None] = [staged(key) for key in keys]
        others = [key for key, blob in zip(keys, found, strict=True) if blob is None]
        kept = dict(zip(others, self._store.get(others), strict=True))
        raw = {k: v for k, v in kept.items() if v and v[0] == waiting.WAITS}
        pages: dict[bytes, waiting.Value] = {}
        if raw:
            names = waiting.page_keys(list(raw), list(raw.values()))
            for name, page in zip(names, self._store.get(names), strict=True):
                pages[name] = page or b""
            kept |= waiting.merge(raw, pages)
        stored = [b or kept[key] or b"" for key, b in zip(keys, found, strict=True)]
        return stored, list(pages)

    def _pages(self, keys: list[bytes], grown: Grown) -> list[tuple[bytes, bytes]]:
        """Keys and values of the pages that changed, all written in one call."""
        first = np.zeros(len(grown.pages) + 1, np.int64)
        first[1:] = grown.pages["end"]
        values = wire.write_pages(grown.points.view(POINT), first)
        numbers = zip(grown.pages["object"].tolist(), grown.pages["page"].tolist(), strict=True)
        names = [b"%b#%d" % (keys[number], page) for number, page in numbers]
        return list(zip(names, values, strict=True))

    def _images(self, detections: Detections, grown: Grown) -> Images:
        """Rows in the order of the alerts, each with its alert's own columns."""
        order = np.argsort(grown.images["alert"], kind="stable")
        said = grown.images[order]
        alerts = detections.alerts[said["alert"]]
        own = detections.points[detections.first[said["alert"]]]
        images = np.zeros(len(order), IMAGE)
        for name in ALERT.names or ():
            images[name] = alerts[name]
        for name in (
            "flux_njy",
            "flux_err_njy",
            "total_flux_njy",
            "total_flux_err_njy",
            "reliability",
        ):
            images[name] = own[name]
        for name in ("points_hash", "first_detection_mjd_tai", "reason"):
            images[name] = said[name]
        images["curves_ms"] = self._clock()
        images["inputs_hash"] = self._inputs_hash
        notice = said["notice_of"] != 0
        images["notice"] = notice
        for name in ("alert_id", "source_id"):
            images[name] = np.where(notice, said["notice_of"], images[name])
        presences, first_presence = _regrouped(grown.presences, grown.first_presence, order)
        blocks, first_block = _regrouped(grown.blocks, grown.first_block, order)
        return Images(
            images,
            presences.view(PRESENCE),
            first_presence,
            blocks.view(BLOCK),
            first_block,
            grown.heap,
        )

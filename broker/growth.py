"""A batch of alerts enters the light curves: one kernel, object by object, alerts in order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import blobs, cut
from broker.entering import take
from broker.light_curve import (
    N_BANDS,
    Channels,
    allocate,
    find,
    news,
)
from broker.measurements import ROW as POINT_ROW
from broker.memory import load_u4
from broker.packing import PAGE
from broker.records import ALERTED, OUTCOMES, REASONS, SOLAR_SYSTEM, WITHDRAWN

PASSED = OUTCOMES.index("passed")
DUPLICATE = OUTCOMES.index("duplicate")
CORRECTED = OUTCOMES.index("corrected")
OUTCOME_WITHDRAWN = OUTCOMES.index("withdrawn")
REASON_NONE = REASONS.index("none")
REASON_SOLAR_SYSTEM = REASONS.index("solar_system")
REASON_WITHDRAWN = REASONS.index("withdrawn")

#: What one image row says beside its alert's columns; `notice_of` is the withdrawn source's id.
ROW = np.dtype(
    [
        ("alert", "i8"),
        ("notice_of", "i8"),
        ("points_hash", "i8"),
        ("first_detection_mjd_tai", "f8"),
        ("reason", "i8"),
    ]
)
#: A page that changed: its number, and where its points end among those of all of them.
PAGE_ROW = np.dtype([("object", "i8"), ("page", "i8"), ("end", "i8")])


class Alerts(NamedTuple):
    """The alerts of a batch; those of object o are order[first[o]:first[o + 1]]."""

    order: NDArray[np.int64]  # (alert,)
    first: NDArray[np.int64]  # (object + 1,)
    time: NDArray[np.int64]  # (alert,) microdays
    solar_system: NDArray[np.uint8]  # (alert,)
    kinds_apart: NDArray[np.uint8]  # (alert,) 1: forced photometry is a kind of its own
    points: NDArray[np.void]  # (point,) measurements.ROW, each alert's own first
    first_point: NDArray[np.int64]  # (alert + 1,)


class Grown(NamedTuple):
    """What came of them. Images stand object by object, an object's in the order of its alerts."""

    outcome: NDArray[np.uint8]  # (alert,)
    blobs: NDArray[np.uint8]
    first_blob: NDArray[np.int64]  # (object + 1,); an empty blob: the stored one is not sound
    pages: NDArray[np.void]  # (page,) PAGE_ROW
    points: NDArray[np.void]  # (point,) measurements.ROW of these pages
    images: NDArray[np.void]  # (image,) ROW
    presences: NDArray[np.void]  # (presence,) cut.PRESENCE_ROW
    first_presence: NDArray[np.int64]  # (image + 1,)
    blocks: NDArray[np.void]  # (block,) cut.BLOCK_ROW
    first_block: NDArray[np.int64]  # (image + 1,)
    heap: NDArray[np.uint8]
    searches: NDArray[np.void]  # (search,) cut.SEARCH
    wanted: NDArray[np.void]  # (point,) cut.WANTED


@njit(cache=True, nogil=True)
def room(array: Any, used: int, more: int) -> Any:
    """The array, or a larger copy if `more` would not fit behind what is used."""
    if used + more <= len(array):
        return array
    larger = np.zeros(2 * (used + more), array.dtype)
    larger[:used] = array[:used]
    return larger


@njit(cache=True, nogil=True)
def say(image: Any, alert: int, notice_of: int, reason: int) -> None:
    """Fill an image row that used no points."""
    image.alert, image.notice_of, image.reason = alert, notice_of, reason
    image.points_hash, image.first_detection_mjd_tai = 0, np.nan


@njit(cache=True, nogil=True)
def grow(
    stored: NDArray[np.uint8],
    first_stored: NDArray[np.int64],
    alerts: Alerts,
    inputs_hash: int,
    channels: Channels,
) -> Grown:
    """Take each object's light curve in hand, merge its alerts one by one, and put it back.

    Parameters
    ----------
    stored : (byte,) u1
        Blobs of the objects, of object o at first_stored[o]:first_stored[o + 1].
    """
    n_objects = len(first_stored) - 1
    base = np.int64(stored.ctypes.data)
    most_points = 1
    for o in range(n_objects):
        length = first_stored[o + 1] - first_stored[o]
        size = 0
        if length > 8:  # of one that is not sound, any number: 32 points take 15 bytes or more
            size = min(load_u4(base + first_stored[o] + 4), 3 * length)
        for k in range(alerts.first[o], alerts.first[o + 1]):
            a = alerts.order[k]
            size += alerts.first_point[a + 1] - alerts.first_point[a]
        most_points = max(most_points, size)
    n_slots = len(channels.rows) * N_BANDS
    most_cells = 1
    for c in range(len(channels.rows)):
        most_cells = max(most_cells, channels.rows[c].cells)
    curve = allocate(most_points, n_slots, most_cells)
    desk = cut.desk(most_points, most_cells)

    outcome = np.zeros(len(alerts.order), np.uint8)
    out = np.empty(len(stored) + 1024 * n_objects + 4096, np.uint8)
    first_blob = np.zeros(n_objects + 1, np.int64)
    pages = np.zeros(2 * n_objects + 16, PAGE_ROW)
    images = np.zeros(len(alerts.order) + 16, ROW)
    first_presence = np.zeros(len(images) + 1, np.int64)
    first_block = np.zeros(len(images) + 1, np.int64)
    presences = np.zeros(4 * len(images), cut.PRESENCE_ROW)
    blocks = np.zeros(4 * len(images), cut.BLOCK_ROW)
    heap = np.empty(1024 * len(images), np.uint8)
    searches = np.zeros(16, cut.SEARCH)
    wanted = np.zeros(1024, cut.WANTED)
    page_points = np.empty(PAGE * (n_objects + 4), POINT_ROW)
    numbers = np.empty(PAGE, np.int64)
    n_page_points = n_pages = n_images = n_presences = n_blocks = n_heap = n_out = 0
    n_searches = n_wanted = 0

    for o in range(n_objects):
        incoming = 0
        for k in range(alerts.first[o], alerts.first[o + 1]):
            a = alerts.order[k]
            incoming += alerts.first_point[a + 1] - alerts.first_point[a]
        apart = alerts.kinds_apart[alerts.order[alerts.first[o]]] != 0
        n = blobs.load(
            base + first_stored[o],
            base + first_stored[o + 1],
            curve,
            incoming,
            apart,
            inputs_hash,
            channels,
        )
        if n < 0:
            first_blob[o + 1] = n_out
            continue
        for k in range(alerts.first[o], alerts.first[o + 1]):
            a = alerts.order[k]
            own = alerts.first_point[a]
            solar = alerts.solar_system[a] != 0
            flags = np.int64(alerts.points[own].flags) | ALERTED
            if solar:
                flags |= SOLAR_SYSTEM
            me = find(curve, n, alerts.points[own], n)
            n, before, replaced = take(curve, n, me, alerts.points[own], flags, apart, channels)
            me = n - 1 if me < 0 else me
            begin = n_images
            n_images += 1  # the alert's own image stands before its notices
            if not solar:  # the history of a solar-system body is not one object's
                behind = alerts.first_point[a + 1]
                r, i, near = news(curve, n, alerts.points, own + 1, behind, 0)
                while r < behind:
                    row = alerts.points[r]
                    flags = np.int64(row.flags) & ~ALERTED
                    n, was, again = take(curve, n, i, row, flags, apart, channels)
                    if i == me:
                        replaced |= again
                    elif was & ALERTED and flags & WITHDRAWN and not was & WITHDRAWN:
                        images = room(images, n_images, 1)
                        say(images[n_images], a, curve.points[i].id, REASON_WITHDRAWN)
                        n_images += 1
                    r, i, near = news(curve, n, alerts.points, r + 1, behind, near)
            gone = (curve.points[me].flags & WITHDRAWN) != 0
            if before & ALERTED and not (gone and not before & WITHDRAWN):
                outcome[a] = CORRECTED if replaced else DUPLICATE
                for m in range(begin + 1, n_images):  # it has no image: its notices move up
                    images[m - 1] = images[m]
                n_images -= 1
            else:
                outcome[a] = OUTCOME_WITHDRAWN if gone else PASSED
            images = room(images, n_images, 1)
            if len(first_block) <= len(images):
                first_block = room(first_block, begin + 1, len(images))
                first_presence = room(first_presence, begin + 1, len(images))
            if outcome[a] == PASSED or outcome[a] == OUTCOME_WITHDRAWN:
                image = images[begin]
                if gone:
                    say(image, a, 0, REASON_WITHDRAWN)
                elif solar:
                    say(image, a, 0, REASON_SOLAR_SYSTEM)
                else:
                    say(image, a, 0, REASON_NONE)
                    presences = room(presences, n_presences, N_BANDS * cut.N_KINDS)
                    n_presences, image.first_detection_mjd_tai = cut.presences(
                        curve, n, alerts.time[a], desk, presences, n_presences
                    )
                    blocks = room(blocks, n_blocks, n_slots + len(channels.rows))
                    heap = room(heap, n_heap, cut.most_bytes(curve, channels))
                    searches = room(searches, n_searches, n_slots)
                    wanted = room(wanted, n_wanted, cut.most_wanted(curve, channels))
                    begun = n_searches
                    n_blocks, n_heap, image.points_hash, n_searches, n_wanted = cut.blocks(
                        curve,
                        alerts.time[a],
                        desk,
                        channels,
                        blocks,
                        n_blocks,
                        heap,
                        n_heap,
                        searches,
                        n_searches,
                        wanted,
                        n_wanted,
                    )
                    for s in range(begun, n_searches):
                        searches[s].object, searches[s].alert = o, a
            for m in range(begin, n_images):
                first_presence[m + 1] = n_presences
                first_block[m + 1] = n_blocks

        out = room(out, n_out, blobs.most_bytes(curve, n, channels))
        end = blobs.save(curve, n, inputs_hash, channels, heap, out, n_out, numbers)
        for page in range((n + PAGE - 1) // PAGE):
            if curve.dirty[page] != 0:
                pages = room(pages, n_pages, 1)
                page_points = room(page_points, n_page_points, PAGE)
                for i in range(page * PAGE, min(n, page * PAGE + PAGE)):
                    page_points[n_page_points] = curve.points[i]
                    n_page_points += 1
                row = pages[n_pages]
                row.object, row.page, row.end = o, page, n_page_points
                n_pages += 1
        n_out = end
        first_blob[o + 1] = n_out

    return Grown(
        outcome,
        out,
        first_blob,
        pages[:n_pages],
        page_points[:n_page_points],
        images[:n_images],
        presences[:n_presences],
        first_presence[: n_images + 1],
        blocks[:n_blocks],
        first_block[: n_images + 1],
        heap[:n_heap].copy(),
        searches[:n_searches],
        wanted[:n_wanted],
    )

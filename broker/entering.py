"""A point enters a light curve, changes or leaves it, and the counts follow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from broker import dmdt
from broker.light_curve import N_BANDS, PAGE, Channels, Curve, bucket, link_exposure, link_name
from broker.measurements import (
    exposure_hash,
    flux,
    magnitude,
    measurement_hash,
    microdays,
    precedes,
    rivals,
    usable,
)
from broker.records import ALERTED, SOLAR_SYSTEM, WITHDRAWN


@njit(cache=True, nogil=True)
def count(curve: Curve, slot: int, place: int, sign: int, channels: Channels, c: int) -> None:
    """Add `sign` for each pair of the measurement at `place` with the others of its slot."""
    all_of_slot, counts, table = curve.measurements[slot], curve.counts[slot], channels.table
    t, m = all_of_slot[place].time, np.int64(all_of_slot[place].magnitude)
    n = curve.slots[slot].n
    dmdt.count_earlier(all_of_slot, place, t, m, sign, table, c, counts)
    dmdt.count_later(all_of_slot, place + 1, n, t, m, sign, table, c, counts)


@njit(cache=True, nogil=True)
def insert(curve: Curve, i: int, channels: Channels, c: int) -> None:
    """Point i becomes a measurement of channel c."""
    point = curve.points[i]
    slot = c * N_BANDS + point.band
    t = microdays(point.mjd_tai)
    m = magnitude(flux(point, channels.rows[c]))
    key = measurement_hash(point, t, m)
    rows = curve.measurements[slot]
    place = curve.slots[slot].n
    # Most points are the latest.
    while place > 0 and (
        rows[place - 1].time > t or (rows[place - 1].time == t and rows[place - 1].key > key)
    ):
        rows[place] = rows[place - 1]
        place -= 1
    row = rows[place]
    row.time, row.key, row.magnitude, row.row = t, key, m, i
    curve.slots[slot].n += 1
    curve.slots[slot].keys += key
    count(curve, slot, place, 1, channels, c)


@njit(cache=True, nogil=True)
def take_out(curve: Curve, i: int, channels: Channels, c: int) -> None:
    """Point i, a measurement of channel c, is one no more."""
    slot = c * N_BANDS + curve.points[i].band
    rows = curve.measurements[slot]
    place = curve.slots[slot].n - 1
    while rows[place].row != i:
        place -= 1
    count(curve, slot, place, -1, channels, c)
    curve.slots[slot].n -= 1
    curve.slots[slot].keys -= rows[place].key
    for k in range(place, curve.slots[slot].n):
        rows[k] = rows[k + 1]


@njit(cache=True, nogil=True)
def best_rival(
    curve: Curve, i: int, buckets: int, kinds_apart: bool, channels: Channels, c: int
) -> int:
    """The point that is the measurement of i's exposure if i is not, or -1."""
    point = curve.points[i]
    best = -1
    j = curve.buckets[bucket(exposure_hash(point), buckets)].exposure
    while j >= 0:
        other = curve.points[j]
        if (
            j != i
            and rivals(point, other, kinds_apart)
            and usable(other, channels.rows[c])
            and (best < 0 or precedes(other, curve.points[best]))
        ):
            best = j
        j = curve.after[j].exposure
    return best


@njit(cache=True, nogil=True)
def enter(curve: Curve, i: int, buckets: int, kinds_apart: bool, channels: Channels) -> None:
    """Point i, as it stands now, takes its part in the measurements."""
    point = curve.points[i]
    for c in range(len(channels.rows)):
        if usable(point, channels.rows[c]):
            rival = best_rival(curve, i, buckets, kinds_apart, channels, c)
            if rival >= 0 and precedes(point, curve.points[rival]):
                take_out(curve, rival, channels, c)
                rival = -1
            if rival < 0:
                insert(curve, i, channels, c)
    link_exposure(curve, i, buckets)


@njit(cache=True, nogil=True)
def leave(curve: Curve, i: int, buckets: int, kinds_apart: bool, channels: Channels) -> None:
    """Undo `enter`: as if point i had never come."""
    point = curve.points[i]
    for c in range(len(channels.rows)):
        if usable(point, channels.rows[c]):
            rival = best_rival(curve, i, buckets, kinds_apart, channels, c)
            if rival < 0 or precedes(point, curve.points[rival]):
                take_out(curve, i, channels, c)
                if rival >= 0:
                    insert(curve, rival, channels, c)
    head = curve.buckets[bucket(exposure_hash(point), buckets)]
    if head.exposure == i:
        head.exposure = curve.after[i].exposure
    else:
        j = head.exposure
        while curve.after[j].exposure != i:
            j = curve.after[j].exposure
        curve.after[j].exposure = curve.after[i].exposure


@njit(cache=True, nogil=True)
def take(
    curve: Curve,
    n: int,
    i: int,
    row: Any,
    flags: int,
    buckets: int,
    kinds_apart: bool,
    channels: Channels,
) -> tuple[int, int, bool]:
    """Merge one row of a packet into the light curve in hand.

    The content with the greater processed time stands, else the one that came first; that a point
    was alerted, withdrawn or of the solar system is never forgotten.

    Parameters
    ----------
    n : int
        How many points there are.
    i : int
        The point that the row tells of, or -1.

    Returns
    -------
    n : int
        How many points there are now.
    before : int
        The point's flags before; 0 if it is new.
    replaced : bool
        Whether its content was replaced.
    """
    if i < 0:
        curve.points[n] = row
        curve.points[n].flags = flags
        link_name(curve, n, buckets)
        enter(curve, n, buckets, kinds_apart, channels)
        curve.dirty[n // PAGE] = 1
        return n + 1, 0, False
    before = int(curve.points[i].flags)
    lasting = (before | flags) & (ALERTED | WITHDRAWN | SOLAR_SYSTEM)
    replaced = row.processed_mjd_tai > curve.points[i].processed_mjd_tai  # never with NaN
    after = lasting | ((flags if replaced else before) & ~(ALERTED | WITHDRAWN | SOLAR_SYSTEM))
    if not replaced and after == before:
        return n, before, False
    moves = replaced or ((after ^ before) & (WITHDRAWN | SOLAR_SYSTEM)) != 0
    if moves:
        leave(curve, i, buckets, kinds_apart, channels)
    if replaced:
        curve.points[i] = row
    curve.points[i].flags = after
    if moves:
        enter(curve, i, buckets, kinds_apart, channels)
    curve.dirty[i // PAGE] = 1
    return n, before, bool(replaced)

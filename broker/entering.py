"""A point enters a light curve, changes or leaves it, and the counts follow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from broker import dmdt
from broker.light_curve import (
    EXPOSED,
    EXPOSURE_SCANS,
    N_BANDS,
    Channels,
    Curve,
    bucket,
    key,
    link_exposure,
    link_exposures,
    link_name,
    open_slot,
)
from broker.measurements import (
    channel_magnitude,
    exposure_hash,
    looks_at,
    measurement_hash,
    microdays,
    precedes,
    rivals,
    usable,
)
from broker.packing import PAGE
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
    open_slot(curve, slot, channels)
    t = microdays(point.mjd_tai)
    m = channel_magnitude(point, channels.rows[c])
    my_key = measurement_hash(point, t, m)
    rows, state = curve.measurements[slot], curve.slots[slot]
    place = state.n
    # Most points are the latest.
    while place > 0 and (
        rows[place - 1].time > t
        or (rows[place - 1].time == t and key(curve, slot, place - 1) > my_key)
    ):
        rows[place] = rows[place - 1]
        place -= 1
    row = rows[place]
    row.time, row.magnitude, row.row = t, m, i
    state.n += 1
    state.keys += my_key
    changed(curve, slot)
    count(curve, slot, place, 1, channels, c)


@njit(cache=True, nogil=True)
def take_out(curve: Curve, i: int, channels: Channels, c: int) -> None:
    """Point i, a measurement of channel c, is one no more."""
    slot = c * N_BANDS + curve.points[i].band
    open_slot(curve, slot, channels)
    rows, state = curve.measurements[slot], curve.slots[slot]
    place = state.n - 1
    while rows[place].row != i:
        place -= 1
    count(curve, slot, place, -1, channels, c)
    state.n -= 1
    state.keys -= key(curve, slot, place)
    for k in range(place, state.n):
        rows[k] = rows[k + 1]
    changed(curve, slot)


@njit(cache=True, nogil=True)
def changed(curve: Curve, slot: int) -> None:
    """The counts of an open slot are no longer those that are written anywhere."""
    state = curve.slots[slot]
    state.counts, state.heap = 0, -1
    if state.n > 0:
        state.last = curve.measurements[slot, state.n - 1].time


@njit(cache=True, nogil=True)
def best_rival(curve: Curve, i: int, kinds_apart: bool, channels: Channels, c: int) -> int:
    """The point that is the measurement of i's exposure if i is not, or -1; it needs the table."""
    point = curve.points[i]
    best = -1
    j: Any = np.int64(bucket(exposure_hash(point), curve).exposure)
    while j >= 0:
        other = curve.points[j]
        if (
            j != i
            and rivals(point, other, kinds_apart)
            and usable(other, channels.rows[c])
            and (best < 0 or precedes(other, curve.points[best]))
        ):
            best = j
        j = np.int64(curve.after[j].exposure)
    return best


@njit(cache=True, nogil=True)
def alone(curve: Curve, n: int, i: int) -> bool:
    """Whether no other of the first n points is of i's exposure; else the table is made."""
    tables, points = curve.tables, curve.points
    if tables[EXPOSED] == 0 and tables[EXPOSURE_SCANS] > 0:
        tables[EXPOSURE_SCANS] -= 1
        exposure, part = points[i].exposure, points[i].exposure_part
        others = 0
        for j in range(n):
            others += points[j].exposure == exposure and points[j].exposure_part == part
        if others - (i < n) == 0:
            return True
    link_exposures(curve, n, i)
    return False


@njit(cache=True, nogil=True)
def enter(curve: Curve, n: int, i: int, kinds_apart: bool, channels: Channels) -> None:
    """Point i, as it stands now, takes its part in the measurements of the first n points."""
    point = curve.points[i]
    no_rivals = alone(curve, n, i)
    for c in range(len(channels.rows)):
        if looks_at(channels.rows[c], kinds_apart) and usable(point, channels.rows[c]):
            rival = -1 if no_rivals else best_rival(curve, i, kinds_apart, channels, c)
            if rival >= 0 and precedes(point, curve.points[rival]):
                take_out(curve, rival, channels, c)
                rival = -1
            if rival < 0:
                insert(curve, i, channels, c)
    link_exposure(curve, i)


@njit(cache=True, nogil=True)
def leave(curve: Curve, n: int, i: int, kinds_apart: bool, channels: Channels) -> None:
    """Undo `enter`: as if point i had never come."""
    link_exposures(curve, n, -1)
    point = curve.points[i]
    for c in range(len(channels.rows)):
        if looks_at(channels.rows[c], kinds_apart) and usable(point, channels.rows[c]):
            rival = best_rival(curve, i, kinds_apart, channels, c)
            if rival < 0 or precedes(point, curve.points[rival]):
                take_out(curve, i, channels, c)
                if rival >= 0:
                    insert(curve, rival, channels, c)
    head = bucket(exposure_hash(point), curve)
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
        link_name(curve, n)
        enter(curve, n, n, kinds_apart, channels)
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
        leave(curve, n, i, kinds_apart, channels)
    if replaced:
        curve.points[i] = row
    curve.points[i].flags = after
    if moves:
        enter(curve, n, i, kinds_apart, channels)
    curve.dirty[i // PAGE] = 1
    return n, before, bool(replaced)

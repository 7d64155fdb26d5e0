"""A slow twin of the curves stage, from the definitions: sets of points, images from scratch.

Also a small sky for it: rows of packets from few ids, exposures, times and fluxes, so that repeats,
ties and edges are common.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from broker.curves import Added
from broker.grids import GRIDS, Grid
from broker.inputs import Channel, Inputs
from broker.records import (
    ALERT,
    ALERTED,
    BANDS,
    CONTEXT,
    DETECTION,
    FORCED,
    KINDS,
    OUTCOMES,
    POINT,
    REASONS,
    SOLAR_SYSTEM,
    SURVEYS,
    WITHDRAWN,
    Detections,
)

LASTING = ALERTED | WITHDRAWN | SOLAR_SYSTEM


def microdays(mjd: float) -> int:
    return round(mjd * 1e6)


def tenth_mmag(flux: float) -> int:
    return round((31.4 - 2.5 * math.log10(flux)) * 1e4)


def name_of(point: np.void) -> tuple[int, ...]:
    """Who a point is."""
    kind, pid = int(point["kind"]), int(point["id"])
    if kind == DETECTION or (kind == FORCED and pid):
        return kind, pid
    return kind, 0, int(point["exposure"]), int(point["exposure_part"])


def image(time: np.ndarray, mag: np.ndarray, grid: Grid) -> np.ndarray:
    """Counts of all pairs with t_j > t_i, one by one."""
    counts = np.zeros(grid.shape, np.int32)
    later, earlier = np.nonzero(time[:, None] > time[None, :])
    dt, dm = time[later] - time[earlier], mag[later] - mag[earlier]
    i_dt = np.searchsorted(grid.dt_edges, dt, side="right") - 1
    i_dm = np.searchsorted(grid.dm_edges, dm, side="right") - 1
    inside = (i_dt >= 0) & (i_dt < grid.shape[1]) & (i_dm >= 0) & (i_dm < grid.shape[0])
    np.add.at(counts, (i_dm[inside], i_dt[inside]), 1)
    return counts


def flux_of(point: np.void, channel: Channel) -> float:
    return float(point["total_flux_njy" if channel.photometry == "total" else "flux_njy"])


def may_enter(point: np.void, channel: Channel) -> bool:
    if KINDS[point["kind"]] not in channel.kinds or BANDS[point["band"]] == "unknown":
        return False
    if point["flags"] & (channel.refuse_flags | WITHDRAWN | SOLAR_SYSTEM):
        return False
    asked = point["kind"] == DETECTION and channel.min_reliability > 0
    if asked and not point["reliability"] >= np.float32(channel.min_reliability):
        return False
    return flux_of(point, channel) > 0


def measurements(points: Iterable[np.void], channel: Channel, ztf: bool) -> list[np.void]:
    """One point for each exposure."""
    of_exposure: dict[tuple[int, ...], list[np.void]] = {}
    for p in points:
        if may_enter(p, channel):
            exposure = (int(p["exposure"]), int(p["exposure_part"]), int(p["kind"]) if ztf else -1)
            of_exposure.setdefault(exposure, []).append(p)
    return [
        min(some, key=lambda p: (p["kind"] != FORCED, p["id"])) for some in of_exposure.values()
    ]


@dataclass
class Curve:
    """What came of one object: points by who they are."""

    points: dict[tuple[int, ...], np.void] = field(default_factory=dict)

    def take(self, row: np.void, flags: int) -> tuple[int, bool]:
        """Merge a row; the flags before, and whether the content was replaced."""
        name = name_of(row)
        row = row.copy()
        row["flags"] = flags
        if name not in self.points:
            self.points[name] = row
            return 0, False
        known = self.points[name]
        before = int(known["flags"])
        replaced = bool(row["processed_mjd_tai"] > known["processed_mjd_tai"])
        stays = row if replaced else known.copy()
        stays["flags"] = (int(stays["flags"]) & ~LASTING) | ((before | flags) & LASTING)
        self.points[name] = stays
        return before, replaced


@dataclass
class Twin:
    """`add` as Curves.add, in plain dicts."""

    inputs: Inputs
    curves: dict[tuple[int, bytes], Curve] = field(default_factory=dict)

    def add(self, d: Detections) -> tuple[list[dict[str, Any]], list[str]]:
        images: list[dict[str, Any]] = []
        outcomes = []
        for i, alert in enumerate(d.alerts):
            rows = d.points[d.first[i] : d.first[i + 1]]
            key = (int(alert["survey"]), bytes(alert["object"]))
            curve = self.curves.setdefault(key, Curve())
            solar = bool(alert["solar_system"])
            mine = ALERTED | (SOLAR_SYSTEM if solar else 0)
            before, replaced = curve.take(rows[0], int(rows[0]["flags"]) | mine)
            notices = []
            for row in () if solar else rows[1:]:
                flags = int(row["flags"]) & ~ALERTED
                was, again = curve.take(row, flags)
                if name_of(row) == name_of(rows[0]):
                    replaced |= again
                elif was & ALERTED and flags & WITHDRAWN and not was & WITHDRAWN:
                    notices.append(int(row["id"]))
            gone = bool(curve.points[name_of(rows[0])]["flags"] & WITHDRAWN)
            if before & ALERTED and (before & WITHDRAWN or not gone):
                outcomes.append("corrected" if replaced else "duplicate")
            else:
                outcomes.append("withdrawn" if gone else "passed")
                said: dict[str, Any] = {
                    "alert_id": int(alert["alert_id"]),
                    "notice": 0,
                    "reason": "withdrawn" if gone else "solar_system" if solar else "none",
                    "presences": {},
                    "blocks": {},
                    "first": math.nan,
                }
                if said["reason"] == "none":
                    said |= self.image(curve, key[0], microdays(alert["mjd_tai"]))
                images.append(said)
            images += [
                {
                    "alert_id": source,
                    "notice": 1,
                    "reason": "withdrawn",
                    "presences": {},
                    "blocks": {},
                    "first": math.nan,
                }
                for source in notices
            ]
        return images, outcomes

    def image(self, curve: Curve, survey: int, until: int) -> dict[str, Any]:
        held = [
            p
            for p in curve.points.values()
            if microdays(p["mjd_tai"]) <= until and not p["flags"] & (WITHDRAWN | SOLAR_SYSTEM)
        ]
        presences: dict[tuple[int, int], int] = {}
        for p in held:
            where = (int(p["band"]), int(p["kind"]))
            presences[where] = presences.get(where, 0) + 1
        blocks = {}
        for channel in self.inputs.channels:
            # The rule is on all points; only then the curve is cut.
            chosen = measurements(curve.points.values(), channel, SURVEYS[survey] == "ztf")
            chosen = [p for p in chosen if microdays(p["mjd_tai"]) <= until]
            for band in range(len(BANDS)):
                some = [p for p in chosen if p["band"] == band]
                time = np.array([microdays(p["mjd_tai"]) for p in some], np.int64)
                mag = np.array([tenth_mmag(flux_of(p, channel)) for p in some], np.int64)
                if some:
                    counts = image(time, mag, GRIDS[channel.grid])
                    blocks[channel.hash, band] = (len(some), counts.ravel().tolist())
        times = [p["mjd_tai"] for p in held if p["kind"] == DETECTION]
        return {"presences": presences, "blocks": blocks, "first": min(times, default=math.nan)}


def varints(data: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number, shift = 0, 0
    return numbers


def told(added: Added, inputs: Inputs) -> list[dict[str, Any]]:
    """Images as the twin tells them."""
    images = added.images
    cells = {channel.hash: GRIDS[channel.grid].cells for channel in inputs.channels}
    out = []
    for i, row in enumerate(images.images):
        blocks = {}
        for block in images.blocks[images.first_block[i] : images.first_block[i + 1]]:
            start, length = block["counts"]
            numbers = varints(images.heap[start : start + length].tobytes())
            counts = [0] * cells[int(block["channel"])]
            cell = 0
            for gap, count in zip(numbers[::2], numbers[1::2], strict=True):
                cell += gap
                counts[cell] = count
            blocks[int(block["channel"]), int(block["band"])] = (int(block["n"]), counts)
        held = images.presences[images.first_presence[i] : images.first_presence[i + 1]]
        out.append(
            {
                "alert_id": int(row["alert_id"]),
                "notice": int(row["notice"]),
                "reason": REASONS[row["reason"]],
                "presences": {(int(p["band"]), int(p["kind"])): int(p["n"]) for p in held},
                "blocks": blocks,
                "first": float(row["first_detection_mjd_tai"]),
            }
        )
    return out


def outcomes(added: Added) -> list[str]:
    return [OUTCOMES[o] for o in added.outcome]


def point(**columns: Any) -> Any:
    """A point, by default a good detection in g at MJD 60000 with total flux 1e5 nJy."""
    row: Any = np.zeros(1, POINT)
    row["processed_mjd_tai"] = math.nan
    row["mjd_tai"], row["band"], row["reliability"] = 60000.0, 1, 0.9
    row["flux_njy"], row["total_flux_njy"], row["total_flux_err_njy"] = 1e4, 1e5, 1e3
    for name, value in columns.items():
        row[name] = value
    return row[0]


def alert(
    own: np.void,
    *history: np.void,
    name: bytes = b"A",
    survey: str = "ztf",
    solar_system: bool = False,
) -> tuple[np.void, list[np.void]]:
    row = np.zeros(1, ALERT)
    row["object"], row["survey"] = name, SURVEYS.index(survey)
    row["alert_id"] = row["source_id"] = own["id"]
    row["mjd_tai"], row["band"], row["solar_system"] = own["mjd_tai"], own["band"], solar_system
    row["context"] = tuple(math.nan for _ in CONTEXT)
    return row[0], [own, *history]


def batch(*alerts: tuple[np.void, list[np.void]]) -> Detections:
    first = np.cumsum([0, *(len(points) for _, points in alerts)], dtype=np.int64)
    return Detections(
        np.array([a for a, _ in alerts], ALERT),
        np.array([p for _, points in alerts for p in points], POINT),
        first,
    )

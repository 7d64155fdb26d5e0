"""What a survey's file must say, and the arithmetic that the surveys share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.avro import Rows
from broker.avro_table import Table
from broker.records import ALERT, ALERTED, BANDS, CONTEXT, CONTEXT_ROW, POINT, SOLAR_SYSTEM

#: TAI - UTC in seconds from each MJD (UTC) on: IERS Bulletin C. The next leap second goes here.
LEAP_SECONDS = np.array(
    [
        (41317, 10), (41499, 11), (41683, 12), (42048, 13), (42413, 14), (42778, 15), (43144, 16),
        (43509, 17), (43874, 18), (44239, 19), (44786, 20), (45151, 21), (45516, 22), (46247, 23),
        (47161, 24), (47892, 25), (48257, 26), (48804, 27), (49169, 28), (49534, 29), (50083, 30),
        (50630, 31), (51179, 32), (53736, 33), (54832, 34), (56109, 35), (57204, 36), (57754, 37),
    ],
    np.float64,
)  # fmt: skip
#: Why a survey takes no alert out of a record that Avro could read; 0 is a good one.
GOOD, MISSING_FIELD, NOT_PUBLIC, BAD_TIME = range(4)
#: Days that a time may have: microdays of any of them fit an int64, whatever a broken row says.
MJD_LIMIT = 1e12
UNKNOWN_BAND = BANDS.index("unknown")
DAY_MS = 86_400_000
UNIX_MJD = 40587
LN_10 = math.log(10)


def for_kernel(dtype: np.dtype[Any], *letters: str) -> np.dtype[Any]:
    """The same rows for Numba: padding without a name, and the strings `letters` as bytes."""
    names = [name for name in dtype.names or () if dtype[name].kind != "V" or dtype[name].names]
    formats = [("u1", dtype[n].itemsize) if n in letters else dtype[n] for n in names]
    fields: Mapping[str, Any] = dtype.fields or {}
    offsets = [fields[name][1] for name in names]
    return _laid_out(names, formats, offsets, dtype.itemsize)


def behind_alert(*fields: Any) -> np.dtype[Any]:
    """Rows of a top table for kernels: `fields` behind the ALERT, which they do not see."""
    names, formats = (
        [f[0] for f in fields],
        [np.dtype(f[1:] if len(f) > 2 else f[1]) for f in fields],
    )
    ends = np.cumsum([ALERT.itemsize, *(f.itemsize for f in formats)]).tolist()
    return _laid_out(names, formats, ends[:-1], ends[-1])


def _laid_out(names: Any, formats: Any, offsets: Any, itemsize: int) -> np.dtype[Any]:
    spec = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    return np.dtype(spec)  # type: ignore[call-overload,no-any-return]


def _kernel_alert() -> np.dtype[Any]:
    """What kernels need of an ALERT; its context as two arrays: days (2,) f8, scalars (n,) f4."""
    fields: Mapping[str, Any] = ALERT.fields or {}
    plain = ("alert_id", "source_id", "mjd_tai", "survey", "band", "solar_system")
    context, scalars = fields["context"][1], CONTEXT_ROW.fields["rb"][1]  # type: ignore[index]
    return _laid_out(
        [*plain, "object", "days", "scalars"],
        [*(ALERT[n] for n in plain), ("u1", 32), ("f8", 2), ("f4", len(CONTEXT) - 2)],
        [*(fields[n][1] for n in plain), fields["object"][1], context, context + scalars],
        ALERT.itemsize,
    )


KERNEL_ALERT = _kernel_alert()
#: With its padding, which is set as well: what is written must not depend on what memory held.
KERNEL_POINT = np.dtype(
    [(n, POINT[n]) if POINT[n].kind != "V" else ("padding", "u2") for n in POINT.names or ()]
)
#: By the byte that names it (Y as ELAsTiCC spells it); BAND_OF[0] is no band.
BAND_OF = np.full(256, UNKNOWN_BAND, np.uint8)
BAND_OF[list(b"ugrizyY")] = [0, 1, 2, 3, 4, 5, 5]


@dataclass(frozen=True, slots=True)
class Alerts:
    """A batch of records of one writer schema, read.

    ``alerts`` (n,) ALERT without origin and clocks; ``points`` (m,) POINT; ``first`` (n + 1,);
    ``fault`` (n,) u1 is GOOD, or why this record is no alert (then it has no points).
    """

    alerts: NDArray[np.void]
    points: NDArray[np.void]
    first: NDArray[np.int64]
    fault: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Survey:
    """Where one survey keeps what we need, and how its rows become alerts and points.

    Attributes
    ----------
    name
        One of broker.records.SURVEYS.
    tables
        What to read of its packets (see broker.avro.Table); the top table "" has the field
        ``alert`` (ALERT).
    needs
        For each table the fields that a schema must have if it has that table at all: without them
        its rows would be lost unseen.
    read
        ``read(rows, public_only) -> Alerts``.
    """

    name: str
    tables: Mapping[str, Table]
    needs: Mapping[str, tuple[str, ...]]
    read: Callable[[Rows, bool], Alerts]


def one_row(dtype: np.dtype[Any], **values: Any) -> np.void:
    """A row of NaN, 0 and b"", but for `values`: the defaults of a Table."""
    row = Table(dtype, {}).default_row()
    for name, value in values.items():
        row[name] = value
    return row[0]  # type: ignore[no-any-return]


def alerts_of(top: NDArray[np.void]) -> NDArray[np.void]:
    """(n,) KERNEL_ALERT: copies of the field ``alert`` that the rows begin with."""
    rows = top.view(np.uint8).reshape(len(top), top.itemsize)[:, : ALERT.itemsize]
    # As bytes: NumPy copies structured rows field by field.
    return np.ascontiguousarray(rows).reshape(-1).view(KERNEL_ALERT)


def room_for(*tables: NDArray[np.void]) -> NDArray[np.void]:
    """(m,) KERNEL_POINT: room for a point of each row."""
    return np.empty(sum(map(len, tables)), KERNEL_POINT)


def read_alerts(
    alerts: NDArray[np.void],
    points: NDArray[np.void],
    first: NDArray[np.int64],
    fault: NDArray[np.uint8],
) -> Alerts:
    """What a survey's kernel filled: its rows under their own names."""
    return Alerts(alerts.view(ALERT), points[: first[-1]].view(POINT), first, fault)


@njit(cache=True, nogil=True)
def name_by_number(alert: Any, number: int) -> None:
    """Name the object by a number's decimal digits; 0 is none."""
    digits, rest = 0, abs(number)
    while rest > 0:
        digits, rest = digits + 1, rest // 10
    if number < 0:
        alert.object[0] = 45  # a minus
        digits += 1
    rest = abs(number)
    while rest > 0:
        digits -= 1
        alert.object[digits] = 48 + rest % 10
        rest //= 10


@njit(cache=True, nogil=True)
def is_named(alert: Any) -> bool:
    """Whether an alert has an object and an id.

    An object's name goes into keys, terminals and pages: it is printable ASCII without a blank, and
    without the # that stands between an object and the number of its page in the store.
    """
    ended = False
    for byte in alert.object:
        if byte == 0:
            ended = True
        elif ended or byte <= 32 or byte >= 127 or byte == 35:
            return False
    return bool(alert.object[0] != 0 and alert.alert_id != 0)


@njit(cache=True, nogil=True)
def mark_own(alert: Any, point: Any) -> None:
    """From its own point an alert has its time and band, and that point the bits of the alert."""
    alert.mjd_tai = point.mjd_tai
    alert.band = point.band
    point.flags |= ALERTED | SOLAR_SYSTEM if alert.solar_system else ALERTED


@njit(cache=True, nogil=True)
def tai(mjd_utc: float) -> float:
    """MJD in TAI of an MJD in UTC, by the table of leap seconds (10 s before it begins)."""
    seconds = 10.0
    for i in range(len(LEAP_SECONDS) - 1, -1, -1):
        if mjd_utc >= LEAP_SECONDS[i, 0]:
            seconds = LEAP_SECONDS[i, 1]
            break
    return mjd_utc + seconds / 86400


def unix_ms(mjd_tai: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) Unix time in ms of times in MJD (TAI); 0 for those that have none."""
    ends = LEAP_SECONDS[:, 0] + LEAP_SECONDS[:, 1] / 86400
    leap = LEAP_SECONDS[:, 1][np.maximum(np.searchsorted(ends, mjd_tai, "right") - 1, 0)]
    ms = (mjd_tai - leap / 86400 - UNIX_MJD) * DAY_MS
    return np.where(np.abs(ms) < 2.0**62, np.rint(ms), 0).astype(np.int64)


@njit(cache=True, nogil=True)
def good_time(mjd: float) -> bool:
    """Whether a row has a time: sentinels, NaN and wild values are none."""
    return 0 < mjd < MJD_LIMIT


@njit(cache=True, nogil=True)
def band_number(letter: int, behind: int) -> int:
    """Index in BANDS of a band named by one letter; `behind` is the byte after it."""
    return BAND_OF[letter] if behind == 0 else UNKNOWN_BAND


@njit(cache=True, nogil=True)
def finite(x: float) -> float:
    """The number if float32 can hold it, else NaN."""
    return x if abs(x) < 3e38 else np.nan


@njit(cache=True, nogil=True)
def ab_flux(magnitude: float, zero_point: float) -> float:
    """Flux of a magnitude, in nJy if the zero point is 31.4 (AB: Oke and Gunn 1983)."""
    return math.exp(LN_10 * 0.4 * (zero_point - magnitude))  # a power takes four times as long


@njit(cache=True, nogil=True)
def blank(point: Any) -> None:
    """Set a point to nothing known."""
    point.id = 0
    point.mjd_tai = np.nan
    point.exposure = 0
    point.processed_mjd_tai = np.nan
    point.flux_njy = np.nan
    point.flux_err_njy = np.nan
    point.total_flux_njy = np.nan
    point.total_flux_err_njy = np.nan
    point.reliability = np.nan
    point.flags = 0
    point.exposure_part = 0
    point.padding = 0

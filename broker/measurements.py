"""Which points are the same, and which one of an exposure is its measurement.

These are rules on the set of points: the order in which they came plays no part. Ids are compared,
never times or fluxes: the same row comes back from a survey with other rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.asinh import ZERO_POINT, softening, tenth_mmag
from broker.grids import GRIDS, MICRODAYS, TENTH_MMAG
from broker.inputs import Channel
from broker.records import (
    BANDS,
    DETECTION,
    FORCED,
    KINDS,
    PHOTOMETRIES,
    POINT,
    SOLAR_SYSTEM,
    WITHDRAWN,
)
from broker.scalars import SCALARS

UNKNOWN_BAND = BANDS.index("unknown")
_TOTAL, _ASINH = PHOTOMETRIES.index("total"), PHOTOMETRIES.index("asinh")
_NEVER = WITHDRAWN | SOLAR_SYSTEM

_fields: Any = POINT.fields
_columns = [name for name, field in _fields.items() if field[0].kind != "V"]

#: POINT as Numba takes it: the padding is no field.
_LAYOUT: Any = {
    "names": _columns,
    "formats": [_fields[name][0] for name in _columns],
    "offsets": [_fields[name][1] for name in _columns],
    "itemsize": POINT.itemsize,
}
ROW = np.dtype(_LAYOUT)

#: A channel as the kernels read it; `kinds` has bit k for kind k, `scalars` are indexes. `beside`
#: bytes stand beside the counts; `periodogram` is 1 if one is among them. Of asinh photometry
#: `together` numbers stand in the block of all bands, of which `place` says where the network has
#: each (-1: not at all), and `soft` its softening flux in nJy (0: not at all); `ztf` says for whose
#: objects it is (1: ZTF's, 0: those of the others; -1: anybody's, as of other photometry).
CHANNEL = np.dtype(
    [
        ("hash", "i8"),
        ("cells", "i8"),
        ("kinds", "i4"),
        ("photometry", "i4"),
        ("refuse_flags", "i4"),
        ("min_reliability", "f4"),
        ("beside", "i8"),
        ("periodogram", "i8"),
        ("folds", "i8"),
        ("n_scalars", "i8"),
        ("scalars", "i8", (len(SCALARS),)),
        ("together", "i8"),
        ("place", "i8", (len(BANDS),)),
        ("soft", "f8", (len(BANDS),)),
        ("ztf", "i8"),
    ]
)


def channel_rows(channels: Sequence[Channel]) -> NDArray[np.void]:
    """CHANNEL rows of some channels."""
    rows = np.zeros(len(channels), CHANNEL)
    for row, channel in zip(rows, channels, strict=True):
        row["hash"], row["cells"] = channel.hash, GRIDS[channel.grid].cells
        row["kinds"] = sum(1 << KINDS.index(kind) for kind in set(channel.kinds))
        row["photometry"] = PHOTOMETRIES.index(channel.photometry)
        row["refuse_flags"] = channel.refuse_flags
        row["min_reliability"] = channel.min_reliability
        row["beside"] = channel.beside
        row["periodogram"], row["folds"] = channel.periodogram, channel.folds
        row["n_scalars"] = len(channel.scalars)
        row["scalars"][: len(channel.scalars)] = [SCALARS.index(name) for name in channel.scalars]
        row["together"], row["place"] = channel.together, -1
        row["ztf"] = channel.survey == "ztf" if channel.bands else -1
        for place, band in enumerate(channel.bands):
            number = BANDS.index(band)
            row["place"][number], row["soft"][number] = place, softening(channel.survey)[number]
    return rows


@njit(cache=True, nogil=True)
def microdays(mjd: float) -> int:
    """Whole microdays of a date in days."""
    return int(np.rint(mjd * MICRODAYS))


@njit(cache=True, nogil=True)
def magnitude(flux_njy: float) -> int:
    """AB magnitude in whole 0.1 mmag of a flux above 0."""
    mag = ZERO_POINT - 2.5 * np.log10(np.float64(flux_njy))
    return int(np.rint(mag * TENTH_MMAG))


@njit(cache=True, nogil=True)
def channel_magnitude(point: Any, channel: Any) -> int:
    """Magnitude in whole 0.1 mmag of the flux that the channel looks at."""
    if channel.photometry == _ASINH:
        return int(tenth_mmag(float(point.flux_njy), channel.soft[point.band]))
    return int(magnitude(flux(point, channel)))


@njit(cache=True, nogil=True)
def flux(point: Any, channel: Any) -> float:
    """The flux that the channel looks at, in nJy."""
    return float(point.total_flux_njy if channel.photometry == _TOTAL else point.flux_njy)


@njit(cache=True, nogil=True)
def flux_error(point: Any, channel: Any) -> float:
    """Its error."""
    if channel.photometry == _TOTAL:
        return float(point.total_flux_err_njy)
    return float(point.flux_err_njy)


@njit(cache=True, nogil=True)
def usable(point: Any, channel: Any) -> bool:
    """Whether the channel may take this point as a measurement.

    It must be of the channel's kinds and quality, with a known band (pairs never cross bands) and
    a flux that has a magnitude: for asinh, one of the channel's bands, any flux, and an error.
    """
    if not (channel.kinds >> point.kind) & 1 or point.band == UNKNOWN_BAND:
        return False
    if point.flags & (channel.refuse_flags | _NEVER):
        return False
    asked = point.kind == DETECTION and channel.min_reliability > 0
    if asked and not point.reliability >= channel.min_reliability:  # NaN is refused
        return False
    if channel.photometry == _ASINH:
        known = np.isfinite(point.flux_njy) and 0.0 < point.flux_err_njy < np.inf
        return bool(known and channel.soft[point.band] > 0.0)
    return bool(0.0 < flux(point, channel) < np.inf)


@njit(cache=True, nogil=True)
def looks_at(channel: Any, ztf: bool) -> bool:
    """Whether the channel is for objects of ZTF, or of the other surveys."""
    return bool(channel.ztf < 0 or (channel.ztf == 1) == ztf)


@njit(cache=True, nogil=True)
def named_by_id(point: Any) -> bool:
    """Whether the id says who a point is; else its kind and exposure do."""
    return bool(point.kind == DETECTION or (point.kind == FORCED and point.id != 0))


@njit(cache=True, nogil=True)
def same_point(a: Any, b: Any) -> bool:
    """Whether two rows tell of one point."""
    if a.kind != b.kind or named_by_id(a) != named_by_id(b):
        return False
    if named_by_id(a):
        return bool(a.id == b.id)
    return bool(a.exposure == b.exposure and a.exposure_part == b.exposure_part)


@njit(cache=True, nogil=True)
def rivals(a: Any, b: Any, kinds_apart: bool) -> bool:
    """Whether two points tell of one exposure, so that one of them is its measurement.

    ZTF's forced photometry is a kind of its own (`kinds_apart`); LSST's and ELAsTiCC's stands for
    the source of the same exposure.
    """
    if a.exposure != b.exposure or a.exposure_part != b.exposure_part:
        return False
    return bool(not kinds_apart or a.kind == b.kind)


@njit(cache=True, nogil=True)
def precedes(a: Any, b: Any) -> bool:
    """Whether `a` is the measurement of an exposure rather than `b`: forced first, then by id."""
    if a.kind != b.kind:
        return bool(a.kind == FORCED)
    return bool(a.id < b.id)


@njit(cache=True, nogil=True)
def mix(number: Any) -> Any:
    """Spread 64 bits over 64 bits (the finaliser of splitmix64, Steele et al. 2014)."""
    h = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, nogil=True)
def identity_hash(point: Any) -> Any:
    """Equal for rows that tell of one point."""
    if named_by_id(point):
        return mix(np.uint64(point.id) * np.uint64(4) + np.uint64(point.kind))
    return exposure_hash(point) + np.uint64(point.kind)


@njit(cache=True, nogil=True)
def exposure_hash(point: Any) -> Any:
    """Equal for points of one exposure."""
    part = np.uint64(point.exposure_part) * np.uint64(0x9E3779B97F4A7C15)
    return mix(np.uint64(point.exposure) + part)


@njit(cache=True, nogil=True)
def measurement_hash(point: Any, time: int, mag: int) -> Any:
    """Hash of who a measurement is and of the whole numbers that an image is made of."""
    what = (np.int64(mag) << 16) | (np.int64(point.kind) << 8) | np.int64(point.band)
    h = mix(exposure_hash(point) + np.uint64(point.id) * np.uint64(0xD1342543DE82EF95))
    return mix(mix(h + np.uint64(time)) + np.uint64(what))


def kernel_rows(points: NDArray[np.void]) -> NDArray[np.void]:
    """POINT rows as the kernels take them: contiguous, writeable, padding hidden; else a copy.

    Numba compiles again for an array that is read-only, and must not do so on the first alert.
    """
    return np.require(points, requirements=["C", "W"]).view(ROW)

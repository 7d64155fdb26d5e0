"""Where on the sky the objects of a file are: as it tells, or as their names or numbers do."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

#: What an .npz may hold of it: right ascension and declination (object,) in degrees of J2000, or
#: names.
ARRAYS = ("ra", "dec", "name")
#: As in CSS_J075740.6+235027: hours, minutes and seconds, then degrees.
_NAME = re.compile(r"J(\d\d)(\d\d)(\d\d(?:\.\d+)?)([+-]\d\d)(\d\d)(\d\d)")
#: Catalina's numbers of the stars of Siding Spring: 3, the declination of the field (degrees
#: south), its number in its row (from right ascension 0 on, 2 degrees each), the star's.
_SIDING_SPRING = re.compile(r"3(0\d\d)(\d{3})\d{6}")
_FIELD = 2.0


def sky(arrays: Mapping[str, NDArray], ids: NDArray[np.str_]) -> NDArray[np.float64]:
    """Right ascension and declination (object, 2) f8 in degrees; NaN where nothing tells them.

    Parameters
    ----------
    arrays : mapping
        What the file holds of ARRAYS, each (object,).
    ids : (object,)

    Raises
    ------
    ValueError
        An array is of another length.
    """
    for name in ARRAYS:
        if name in arrays and arrays[name].shape != ids.shape:
            msg = f"{name} has shape {arrays[name].shape}, ids {ids.shape}"
            raise ValueError(msg)
    if "ra" in arrays and "dec" in arrays:
        return np.stack([arrays["ra"], arrays["dec"]], axis=1).astype(np.float64)
    if "name" in arrays:
        names = arrays["name"].astype(np.str_)
        return np.array([_named(name) for name in names.tolist()]).reshape(-1, 2)
    return np.array([_numbered(number) for number in ids.tolist()]).reshape(-1, 2)


def _named(name: str) -> tuple[float, float]:
    """A place by a name that tells it.

    >>> _named("CSS_J120000.0-303600")
    (180.0, -30.6)
    """
    found = _NAME.search(name)
    if not found:
        return np.nan, np.nan
    hours, minutes, seconds, degrees, arc_minutes, arc_seconds = found.groups()
    ra = 15 * (int(hours) + int(minutes) / 60 + float(seconds) / 3600)
    dec = abs(int(degrees)) + int(arc_minutes) / 60 + int(arc_seconds) / 3600
    return ra, -dec if degrees[0] == "-" else dec


def _numbered(number: str) -> tuple[float, float]:
    """A place good to a degree or two by a number of Siding Spring's; others tell none.

    >>> [round(degrees, 1) for degrees in _numbered("3060045001234")]
    [178.0, -60.0]
    """
    found = _SIDING_SPRING.fullmatch(number)
    if not found:
        return np.nan, np.nan
    south, field = int(found[1]), int(found[2])
    return (field - 0.5) * _FIELD / math.cos(math.radians(south)) % 360.0, -float(south)

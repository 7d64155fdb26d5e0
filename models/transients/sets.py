"""The labelled sets of transients, each with the conversion that its units need.

snpcc, ztf_bts and slsn may train; mallorn, tde_ztf and elasticc2_sample have no licence that lets
weights made from them go out, and serve as checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from broker.records import BANDS, DETECTION
from models import curve_files, splits
from models.curve_files import LABELS, CurveFile
from models.transients.curves import Curves, from_points

#: What the class numbers of these sets mean.
CLASSES = LABELS["transients"]

#: Nanojansky of a flux of 1: zero point 27.5 to 31.4 (SNANA's FLUXCAL), and microjansky.
FLUXCAL = 10 ** (0.4 * (31.4 - 27.5))
MICROJANSKY = 1000.0


@dataclass(frozen=True, slots=True)
class Origin:
    """How one file keeps its photometry: bands in order of its numbers, and its unit.

    ``survey`` is whose depth it has; "" where that of many telescopes. Magnitudes are of alerts.
    """

    survey: str
    bands: str
    unit: Literal["fluxcal", "microjansky", "magnitude"]
    trains: bool


SETS: Mapping[str, Origin] = {
    "snpcc": Origin("lsst", "griz", "fluxcal", trains=True),
    "ztf_bts": Origin("ztf", "gr", "magnitude", trains=True),
    "slsn": Origin("", "ugrizy", "magnitude", trains=True),
    "mallorn": Origin("lsst", "ugrizy", "microjansky", trains=False),
    "tde_ztf": Origin("ztf", "gri", "microjansky", trains=False),
    "elasticc2_sample": Origin("lsst", "ugrizy", "fluxcal", trains=False),
}


def read(folder: Path, name: str) -> Curves:
    """Read the set `name` from `name`.npz in a folder.

    Raises
    ------
    LookupError
        No set has that name.
    FileNotFoundError
        The folder does not hold it.
    ValueError
        It is not that file.
    """
    if name not in SETS:
        msg = f"no set of transients is called {name!r}; there are: {', '.join(SETS)}"
        raise LookupError(msg)
    return of(curve_files.read(folder / f"{name}.npz"), SETS[name])


def by_name(path: Path) -> Origin:
    """Whose photometry a file of that name holds.

    Raises
    ------
    LookupError
        The name tells of no set.

    >>> by_name(Path("kept/ztf_bts_fifth.npz")).bands
    'gr'
    """
    for name, origin in SETS.items():
        if name in path.stem.lower():
            return origin
    msg = f"{path}: its name holds none of {', '.join(SETS)}, so its bands are not known"
    raise LookupError(msg)


def fingerprints(folder: Path, name: str, numbers: Iterable[int]) -> NDArray[np.uint32]:
    """Fingerprints (object,) of the light curves of these classes that no test looks at."""
    file = curve_files.read(folder / f"{name}.npz")
    mine = np.isin(file.lab, list(numbers)) & ~splits.test(file.split)
    return file.take(np.flatnonzero(mine)).fingerprints


def of(file: CurveFile, origin: Origin) -> Curves:
    """The light curves of a file, converted; each point of an alert is a detection.

    Raises
    ------
    ValueError
        It keeps another quantity than its origin, a band that this has not, or a point without
        error.
    """
    if file.flux != (origin.unit != "magnitude"):
        wanted, given = ("m", "f") if file.flux else ("f", "m")
        msg = f"{file.path}: expected {wanted} ({origin.unit}), it holds {given}"
        raise ValueError(msg)
    if file.b.max() >= len(origin.bands) or not (file.e > 0).all():
        msg = f"{file.path}: expected bands below {len(origin.bands)} and errors above 0"
        raise ValueError(msg)
    number = np.array([BANDS.index(band) for band in origin.bands], np.uint8)
    value, error = file.value.astype(np.float64), file.e.astype(np.float64)
    flux, flux_error = to_njy(value, error, origin.unit)
    curves = from_points(file.t, number[file.b], flux, flux_error, file.off, file.split, file.lab)
    if origin.unit == "magnitude":
        return replace(curves, kind=np.full_like(curves.kind, DETECTION))
    return curves


def to_njy(
    value: NDArray[np.float64], error: NDArray[np.float64], unit: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and error in nJy (AB, zero point 31.4).

    An error in magnitudes becomes one in flux to first order.

    >>> flux, error = to_njy(np.array([31.4]), np.array([0.1]), "magnitude")
    >>> flux.round(3).tolist(), error.round(3).tolist()
    ([1.0], [0.092])
    >>> to_njy(np.array([1.0]), np.array([0.5]), "fluxcal")[0].round(3).tolist()
    [36.308]
    """
    if unit == "magnitude":
        flux = 10 ** (-0.4 * (value - 31.4))
        return flux, flux * error * np.log(10) / 2.5
    factor = {"fluxcal": FLUXCAL, "microjansky": MICROJANSKY}[unit]
    return value * factor, error * factor


def spectroscopic(folder: Path) -> NDArray[np.bool_]:
    """Which objects (object,) of snpcc the challenge gave with a spectroscopic type."""
    with np.load(folder / "snpcc.npz") as file:
        return np.asarray(file["spec"] == 1)

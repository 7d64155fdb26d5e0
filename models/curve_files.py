"""Files of labelled light curves: one layout for all surveys, and whose class numbers they hold."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker import runs
from broker.grids import MICRODAYS
from models import whereabouts

#: What a class number means, by who gave it.
LABELS: Mapping[str, Mapping[int, str]] = {
    # Drake et al. (2017), the Catalina Surveys Southern periodic variable star catalogue.
    "crts-south": {
        1: "RRab",
        2: "RRc",
        3: "RRd",
        4: "Blazhko",
        5: "EW",
        6: "EA",
        7: "rotating",
        8: "LPV",
        9: "delta Scuti",
        10: "rare 10",
        11: "rare 11",
        12: "rare 12",
        13: "rare 13",
    },
    # Drake et al. (2014), the northern catalogue: other numbers for the same classes.
    "crts-north": {
        1: "EW",
        2: "EA",
        3: "beta Lyrae",
        4: "RRab",
        5: "RRc",
        6: "RRd",
        7: "Blazhko",
        8: "rotating",
        9: "anomalous Cepheid",
        10: "Cepheid II",
        11: "HADS",
        12: "LADS",
        13: "LPV",
        14: "ellipsoidal",
        15: "hump",
        16: "PCEB",
    },
    # Ours, for transients and whatever else comes in several bands.
    "transients": {
        0: "not a transient",
        1: "SN Ia",
        2: "SN II",
        3: "SN Ib/c",
        4: "SN IIn",
        5: "SLSN",
        6: "TDE",
        7: "AGN",
        8: "CV",
        9: "other transient",
        10: "RRab",
        11: "RRc",
        12: "kilonova",
        13: "flare",
        14: "blazar",
        15: "supernova",
        16: "high proper motion",
        17: "LPV",
        18: "other variable",
    },
}
#: A class that a network may know under a wider name.
WIDER: Mapping[str, str] = {"SN IIn": "SN II", "blazar": "AGN"}
#: A few dates of CRTS are corrupt: points further from the median time than this are left out.
MOST_DAYS = 4000
#: Words in a file's name that tell whose numbers it holds.
_WORDS = {
    "south": "crts-south",
    "north": "crts-north",
    "snpcc": "transients",
    "mallorn": "transients",
    "ztf": "transients",
    "bts": "transients",
    "tde": "transients",
    "slsn": "transients",
    "rrlyrae": "transients",
    "elasticc": "transients",
    "transients": "transients",
}


@dataclass(frozen=True, slots=True)
class CurveFile:
    """Labelled light curves of a file; object i is rows off[i]:off[i + 1], in order of time.

    ``t`` (point,) f8 MJD in days, ``value`` (point,) f4 magnitudes or fluxes, ``flux`` which of the
    two, ``e`` (point,) f4 error of the value (0: not known), ``b`` (point,) u1 band, ``off``
    (object + 1,) i8, ``ids`` (object,) names, ``lab`` (object,) i8 class numbers, ``sky``
    (object, 2) f8 right ascension and declination in degrees (NaN: not known).
    """

    path: Path
    t: NDArray[np.float64]
    value: NDArray[np.float32]
    flux: bool
    e: NDArray[np.float32]
    b: NDArray[np.uint8]
    off: NDArray[np.int64]
    ids: NDArray[np.str_]
    lab: NDArray[np.int64]
    sky: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.lab)

    @property
    def split(self) -> NDArray[np.int64]:
        """(object,) i8 crc32 of each name; test objects of training sets have split % 5 == 1."""
        return np.array([zlib.crc32(name.encode()) for name in self.ids.tolist()], np.int64)

    @property
    def fingerprints(self) -> NDArray[np.uint32]:
        """(object,) u4 crc32 of each light curve: the same curve has it in whatever file."""
        time = np.rint(self.t * MICRODAYS).astype("<i8")
        value = self.value.astype("<f4")
        return np.array(
            [
                zlib.crc32(value[a:z].tobytes(), zlib.crc32(time[a:z].tobytes()))
                for a, z in zip(self.off[:-1], self.off[1:], strict=True)
            ],
            np.uint32,
        )

    def take(self, objects: NDArray[np.int64]) -> CurveFile:
        """Some of the objects (object,)."""
        return self.rows(objects, np.diff(self.off)[objects])

    def rows(self, objects: NDArray[np.int64], n: NDArray[np.int64]) -> CurveFile:
        """Some objects (object,), each with its first n (object,) rows."""
        row, off = runs.picked(self.off, objects, n)
        return CurveFile(
            self.path,
            self.t[row],
            self.value[row],
            self.flux,
            self.e[row],
            self.b[row],
            off,
            self.ids[objects],
            self.lab[objects],
            self.sky[objects],
        )

    def band(self, band: int) -> CurveFile:
        """All objects, with their points of one band only."""
        keep = self.b == band
        off = runs.kept(self.off, keep)
        part = (self.t[keep], self.value[keep], self.flux, self.e[keep], self.b[keep])
        return CurveFile(self.path, *part, off, self.ids, self.lab, self.sky)


def labels_by_name(path: Path) -> str | None:
    """Whose class numbers a file of that name holds, a key of LABELS; None where it tells nothing.

    >>> labels_by_name(Path("kept/crts_north_fifth.npz"))
    'crts-north'
    """
    name = path.stem.lower()
    return next((labels for word, labels in _WORDS.items() if word in name), None)


def read(path: Path) -> CurveFile:
    """Read an .npz of arrays t, m or f, off, ids and lab, and e and b where there are some.

    Where the objects are is told as `whereabouts.sky` has it. Points are put in order of time;
    those of corrupt dates are left out.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not of that layout; the message names the file and what is wrong.
    """
    if not path.is_file():
        msg = f"{path}: no such file; expected labelled light curves (.npz)"
        raise FileNotFoundError(msg)
    try:
        with np.load(path) as file:
            arrays = {name: _text(file[name]) for name in file.files if name in _ARRAYS}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        msg = f"{path}: {_LAYOUT}: {error}"
        raise ValueError(msg) from error
    try:
        return _in_order(_checked(path, arrays))
    except ValueError as error:
        msg = f"{path}: {_LAYOUT}: {error}"
        raise ValueError(msg) from error


_ARRAYS = ("t", "m", "f", "e", "b", "off", "ids", "lab", *whereabouts.ARRAYS)
_LAYOUT = "expected an .npz of flat arrays t, m or f, off, ids and lab (e and b where there are)"


def _text(array: NDArray) -> NDArray:
    """Bytes as text, other arrays as they are."""
    return np.char.decode(array) if array.dtype.kind == "S" else array


def _checked(path: Path, arrays: Mapping[str, NDArray]) -> CurveFile:
    lacking = [name for name in ("t", "off", "ids", "lab") if name not in arrays]
    if lacking or ("m" in arrays) == ("f" in arrays):
        given = ", ".join(sorted(arrays)) or "none of them"
        msg = f"it holds {given}"
        raise ValueError(msg)
    t, off, ids, lab = (arrays[name] for name in ("t", "off", "ids", "lab"))
    flux = "f" in arrays
    value = arrays["f" if flux else "m"]
    points, objects = len(t), len(lab)
    e = arrays.get("e", np.zeros(points, np.float32))
    b = arrays.get("b", np.zeros(points, np.uint8))
    for name, array in (("m or f", value), ("e", e), ("b", b)):
        if array.shape != (points,):
            msg = f"{name} has shape {array.shape}, t {t.shape}"
            raise ValueError(msg)
    if ids.shape != (objects,) or off.shape != (objects + 1,):
        msg = f"lab has {objects} objects, ids {ids.shape}, off {off.shape}: one more than objects"
        raise ValueError(msg)
    for name, array, kinds in (
        ("t", t, "fiu"),
        ("m or f", value, "fiu"),
        ("e", e, "fiu"),
        ("b", b, "iu"),
        ("off", off, "iu"),
        ("lab", lab, "iu"),
        ("ids", ids, "iuU"),
    ):
        if array.dtype.kind not in kinds:
            msg = f"{name} is of type {array.dtype}"
            raise ValueError(msg)
    if not objects or off[0] != 0 or off[-1] != points or (np.diff(off) < 1).any():
        msg = f"off must rise from 0 to the {points} points, with a point for each object"
        raise ValueError(msg)
    if not (np.isfinite(t).all() and np.isfinite(value).all()):
        msg = "a time or a value is not finite"
        raise ValueError(msg)
    ids = ids.astype(np.str_)
    return CurveFile(
        path,
        t.astype(np.float64),
        value.astype(np.float32),
        flux,
        e.astype(np.float32),
        b.astype(np.uint8),
        off.astype(np.int64),
        ids,
        lab.astype(np.int64),
        whereabouts.sky(arrays, ids),
    )


def _in_order(file: CurveFile) -> CurveFile:
    n = np.diff(file.off)
    of = np.repeat(np.arange(len(n)), n)
    order = np.lexsort((file.t, of))  # stable: points of one time stay as they stood
    t = file.t[order]
    median = (t[file.off[:-1] + (n - 1) // 2] + t[file.off[:-1] + n // 2]) / 2
    keep = np.abs(t - median[of]) <= MOST_DAYS
    off = runs.kept(file.off, keep)
    order = order[keep]
    part = (file.t[order], file.value[order], file.flux, file.e[order], file.b[order])
    return CurveFile(file.path, *part, off, file.ids, file.lab, file.sky)

"""The DESC taxonomy as data: which number stands for which kind of object.

Four-digit ids of ELAsTiCC2 (taxonomy 0.9.1, LSSTDESC/elasticc, taxonomy/taxonomy.ipynb; each digit
is one level). The campaign of 2022-23 used three-digit ids that mean other things.
"""

from __future__ import annotations

from collections.abc import Mapping

VERSION = "elasticc2-0.9.1"

OTHER = 100  #: Meta/Other
RESIDUAL = 200  #: Meta/Residual: what is left when a classifier speaks of less than everything
NOT_CLASSIFIED = 300  #: Meta/NotClassified

DESC: Mapping[int, str] = {
    0: "Meta",
    OTHER: "Meta/Other",
    RESIDUAL: "Residual",
    NOT_CLASSIFIED: "NotClassified",
    1000: "Static",
    2000: "Variable",
    2200: "Non-Recurring",
    2220: "SN-like",
    2221: "SN-like/Other",
    2222: "Ia",
    2223: "Ib/c",
    2224: "II",
    2225: "Iax",
    2226: "91bg",
    2230: "Fast",
    2231: "Fast/Other",
    2232: "KN",
    2233: "M-dwarf Flare",
    2234: "Dwarf Novae",
    2235: "uLens",
    2240: "Long",
    2241: "Long/Other",
    2242: "SLSN",
    2243: "TDE",
    2244: "ILOT",
    2245: "CART",
    2246: "PISN",
    2300: "Recurring",
    2320: "Periodic",
    2321: "Periodic/Other",
    2322: "Cepheid",
    2323: "RR Lyrae",
    2324: "Delta Scuti",
    2325: "EB",
    2326: "LPV/Mira",
    2330: "Non-Periodic",
    2331: "Non-Periodic/Other",
    2332: "AGN",
}

#: Our names of kinds of objects, those of the networks and those of the simulated sky. Rotating
#: stars have no id of their own: Periodic/Other.
IDS: Mapping[str, int] = {
    "EW": 2325,
    "EA": 2325,
    "RRab": 2323,
    "RRc": 2323,
    "RRd": 2323,
    "rotating": 2321,
    "LPV": 2326,
    "SN Ia": 2222,
    "SN Ib/c": 2223,
    "SN II": 2224,
    "SLSN": 2242,
    "TDE": 2243,
    "CV": 2234,
    "AGN": 2332,
    "microlensing": 2235,
    "flare": 2233,
    "kilonova": 2232,
}

"""What passes between the stages: batches of columns, and words for the small numbers in them.

A batch is a frozen dataclass of NumPy structured arrays. A field of such an array is a column
(``detections.alerts["mjd_tai"]``); a kernel reads the rows. Missing numbers are NaN (floats) or 0
(identifiers: no survey gives 0 as an id).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SURVEYS = ("ztf", "lsst", "elasticc")
#: ``clear`` is an unfiltered survey (CRTS); ``unknown`` a row whose packet names no band.
BANDS = ("u", "g", "r", "i", "z", "y", "clear", "unknown")
KINDS = ("detection", "forced", "limit")
DETECTION, FORCED, LIMIT = range(3)
PHOTOMETRIES = ("total", "difference", "asinh")
#: Why an alert has no name; ``none`` means that it has one (or may still get one).
REASONS = (
    "none",
    "too_few_points",
    "solar_system",
    "out_of_domain",
    "no_photometry",
    "withdrawn",
    "no_gain",
)
#: What became of an alert at one hop. ``passed`` went on to the next; ``notice`` is a withdrawal
#: that arrived inside another alert's history, so it adds a label but no alert.
OUTCOMES = (
    "passed",
    "labelled",
    "unclassified",
    "duplicate",
    "corrected",
    "withdrawn",
    "dead",
    "lost",
    "notice",
)

# Bits of a point's `flags`.
ALERTED = 1  #: this detection came as an alert of its own: only this makes a duplicate
WITHDRAWN = 2  #: the survey took it back (LSST timeWithdrawnMjdTai)
SOLAR_SYSTEM = 4  #: kept to know a repeated alert by; never part of a light curve
BAD_FLUX = 8  #: the survey says that the flux is not to be trusted (psfFlux_flag, procstatus)
BAD_POSITION = 16  #: centroid_flag

#: Scalars that classifiers of transients need, by the surveys' own names and in their units.
CONTEXT = (
    "jdstarthist",
    "firstDiaSourceMjdTai",
    "rb",
    "drb",
    "distnr",
    "magnr",
    "sgscore1",
    "distpsnr1",
    "ssdistnr",
    "ndethist",
    "ncovhist",
    "programid",
    "reliability",
    "extendedness",
    "isDipole",
    "templateFlux",
    "templateFluxErr",
    "nDiaSources",
    "z_final",
    "mwebv",
)
#: Days need float64; the others are float32 or small integers in all surveys' packets.
CONTEXT_ROW = np.dtype([(name, "f8") for name in CONTEXT[:2]] + [(n, "f4") for n in CONTEXT[2:]])

#: One row of a light curve, 64 bytes. Fluxes in nJy (AB zero point 31.4), difference fluxes signed.
#: A limit has flux NaN and flux_err a fifth of the 5-sigma limit. (exposure, exposure_part) name
#: the exposure: ZTF (pid, fid), LSST (visit, detector), ELAsTiCC (mid-time in microdays, band).
POINT = np.dtype(
    [
        ("id", "i8"),
        ("exposure", "i8"),
        ("mjd_tai", "f8"),
        ("processed_mjd_tai", "f8"),
        ("flux_njy", "f4"),
        ("flux_err_njy", "f4"),
        ("total_flux_njy", "f4"),
        ("total_flux_err_njy", "f4"),
        ("reliability", "f4"),
        ("flags", "i4"),
        ("exposure_part", "i4"),
        ("kind", "u1"),
        ("band", "u1"),
        ("", "V2"),
    ]
)

#: One alert: who, where, when, and which record of which packet it was. Times in ms are Unix time;
#: published_ms is Kafka's time of the packet, decoded_ms our own clock at decode.
ALERT = np.dtype(
    [
        ("alert_id", "i8"),
        ("source_id", "i8"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("mjd_tai", "f8"),
        ("published_ms", "i8"),
        ("decoded_ms", "i8"),
        ("offset", "i8"),
        ("partition", "i4"),
        ("record", "i4"),
        ("survey", "u1"),
        ("band", "u1"),
        ("solar_system", "u1"),
        ("", "V5"),
        ("object", "S32"),
        ("topic", "S128"),
        ("context", CONTEXT_ROW),
    ]
)

#: A stretch of a batch's heap of bytes.
SPAN = np.dtype([("start", "i8"), ("length", "i8")])

#: What the curves stage says of one alert: its own columns, its own point, and what was used.
IMAGE = np.dtype(
    [
        *((n, ALERT[n]) for n in ALERT.names or ()),
        ("curves_ms", "i8"),
        ("points_hash", "i8"),
        ("inputs_hash", "i8"),
        ("first_detection_mjd_tai", "f8"),
        ("flux_njy", "f4"),
        ("flux_err_njy", "f4"),
        ("total_flux_njy", "f4"),
        ("total_flux_err_njy", "f4"),
        ("reliability", "f4"),
        ("reason", "u1"),
        ("notice", "u1"),
        ("", "V2"),
    ]
)

#: Points of one band and kind that the light curve held at the alert's time.
PRESENCE = np.dtype([("band", "u1"), ("kind", "u1"), ("", "V2"), ("n", "i4")])

#: The counts of one band in one channel (see broker.inputs): `n` measurements, `counts` sparse
#: as unsigned LEB128 varints (gap, count), (gap, count) ... over cells dm * n_dt + dt; the first
#: gap is the first cell's index, each later one the distance to the cell before. `scalars` holds
#: all that stands beside: `Channel.numbers` float32, little-endian, then the fold images, u1; where
#: there is no periodogram yet it ends with the scalars. A block of band "unknown", without counts,
#: is of all bands together: `Channel.together` float32.
BLOCK = np.dtype(
    [
        ("channel", "i8"),
        ("n", "i4"),
        ("band", "u1"),
        ("", "V3"),
        ("counts", SPAN),
        ("scalars", SPAN),
    ]
)


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets of one topic as they arrived, untouched.

    ``survey`` is a name of SURVEYS, or None: then each packet's own framing tells it.
    ``partition`` (n,) i4, ``offset`` (n,) i8, ``published_ms`` (n,) i8.
    """

    values: Sequence[bytes]
    topic: str
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    published_ms: NDArray[np.int64]
    survey: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the packet of an alert stood, the alert's hash (broker.hashes), and whether the record
    is a notice: those add a label but no alert.
    """

    topic: str
    partition: int
    hash: int
    notice: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A packet or record that a stage could not take: its bytes, why, and where it came from.

    `topic`, `partition` and `offset` are where these bytes stood; `origin` is that of the alert
    where they are a record of ours and tell it. `key` is Kafka's of such a record; `attempts` how
    often it has died by now.
    """

    value: bytes
    reason: str
    error: str
    topic: str
    partition: int
    offset: int
    record: int
    published_ms: int
    origin: Origin | None = None
    key: bytes | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Detections:
    """Alerts with their packets' points. The points of alert i are rows first[i]:first[i+1]; its
    own detection is the first of them.
    """

    alerts: NDArray[np.void]  # (alert,) ALERT
    points: NDArray[np.void]  # (point,) POINT
    first: NDArray[np.int64]  # (alert + 1,)

    def __len__(self) -> int:
        return len(self.alerts)


@dataclass(frozen=True, slots=True)
class Images:
    """Images of alerts. Blocks of image i are rows first_block[i]:first_block[i+1], its presences
    first_presence[i]:first_presence[i+1]; spans point into `heap`.
    """

    images: NDArray[np.void]  # (image,) IMAGE
    presences: NDArray[np.void]  # (presence,) PRESENCE
    first_presence: NDArray[np.int64]  # (image + 1,)
    blocks: NDArray[np.void]  # (block,) BLOCK
    first_block: NDArray[np.int64]  # (image + 1,)
    heap: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class Labels:
    """One classifier's answers to the images, row by row.

    ``reason`` (n,) u1 indexes REASONS; ``probabilities`` (n, class) f4 are NaN where there is a
    reason; they are conditional on ``conditional_on``. ``novelty`` (n,) f4 is how unlike all that
    the classifier was trained on the image is, NaN where it was not looked at or not known.
    ``gated``: a gate stands before the classes, so that they are all that there may be.
    """

    images: Images
    reason: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    conditional_on: str
    classifier: str
    params: str
    weights_hash: str
    grid_hash: str
    classified_ms: int
    novelty: NDArray[np.float32] | None = None
    gated: bool = False

    def __len__(self) -> int:
        return len(self.reason)

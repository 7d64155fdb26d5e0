"""What a label says beyond its image: magnitudes, and the lists of names, encoded already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.encoding import long, text
from broker.memory import copy, load_f4, load_f8, load_i8, store_f4, store_f8, store_i8, store_u1
from broker.records import CONTEXT, IMAGE, REASONS, SPAN, Labels
from broker.taxonomy import NOT_CLASSIFIED, RESIDUAL

NAMED = REASONS.index("none")
WITHDRAWN = REASONS.index("withdrawn")
UNKNOWN_SIGN = 255
#: AB magnitude of 1 nJy.
ZERO_POINT = 31.4
#: Magnitudes per relative error of a flux: 2.5 / ln 10.
POGSON = 1.0857362

#: A label's columns beside those of its image; the spans hold Avro.
LABEL = np.dtype(
    [
        ("ingested_ms", "i8"),
        ("supersedes", "i8"),
        ("classified_ms", "i8"),
        ("magnitude", "f4"),
        ("magnitude_err", "f4"),
        ("total_magnitude", "f4"),
        ("total_magnitude_err", "f4"),
        ("novelty", "f4"),
        ("classifications", SPAN),
        ("classes", SPAN),
        ("context", SPAN),
        ("is_positive", "u1"),
        ("reason", "u1"),
    ]
)
_fields: Any = IMAGE.fields
_ALERT_ID, _DECODED_MS = _fields["alert_id"][1], _fields["decoded_ms"][1]
_FLUX, _FLUX_ERR = _fields["flux_njy"][1], _fields["flux_err_njy"][1]
_TOTAL, _TOTAL_ERR = _fields["total_flux_njy"][1], _fields["total_flux_err_njy"][1]
_CONTEXT: Any = IMAGE["context"].fields


#: Keys of the context's map, each in words of 8 bytes that are copied whole.
_KEYS = [text(name) for name in CONTEXT]
_KEY_ROOM = -(-max(map(len, _KEYS)) // 8) * 8
_KEY_WORDS = np.array(_KEYS, f"S{_KEY_ROOM}").view(np.int64)
#: Of each scalar of the context: length of its key, its offset in IMAGE, its bytes.
_SCALARS = np.array(
    [
        (len(key), _fields["context"][1] + _CONTEXT[name][1], _CONTEXT[name][0].itemsize)
        for key, name in zip(_KEYS, CONTEXT, strict=True)
    ],
    np.int64,
)
_CONTEXT_ROOM = sum(len(key) + 8 for key in _KEYS) + _KEY_ROOM + 8

Template = tuple[NDArray[np.uint8], NDArray[np.int64]]  # Avro, and where floats are put into it


def _template(constants: Sequence[bytes], value: bytes = bytes(4)) -> Template:
    """An array of (constant, float) in Avro."""
    encoded = bytearray(long(len(constants)) if constants else b"")
    holes = []
    for constant in constants:
        encoded += constant
        holes.append(len(encoded))
        encoded += value
    return np.frombuffer(bytes(encoded) + b"\0", np.uint8), np.array(holes, np.int64)


_ONE, _NO_HOLES = np.float32(1).tobytes(), np.zeros(0, np.int64)
_UNNAMED = _template([long(NOT_CLASSIFIED)], _ONE)[0]


@lru_cache(16)
def _templates(
    classes: tuple[str, ...], class_ids: tuple[int, ...], conditional: bool
) -> tuple[Template, Template, NDArray[np.int64]]:
    """Our list of a named label, DESC's, and which entry of DESC's each class is added to."""
    ours = _template([text(name) for name in classes])
    if conditional:
        return ours, (_template([long(RESIDUAL)], _ONE)[0], _NO_HOLES), _NO_HOLES
    ids, which = np.unique(class_ids, return_inverse=True)
    return ours, _template([long(i) for i in ids.tolist()]), which.astype(np.int64)


def label_rows(labels: Labels) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
    """Rows of LABEL, one per label, and the heap that their spans point into.

    DESC's list holds, of a label with a reason, {300 NotClassified: 1}; of probabilities that are
    conditional on something, {200 Residual: 1} unless a gate stands before the network; else one
    entry per class id, probabilities added.
    """
    residual = bool(labels.conditional_on) and not labels.gated
    ours, desc, which = _templates(labels.classes, labels.class_ids, residual)
    images = np.ascontiguousarray(labels.images.images)
    room = len(ours[0]) + max(len(desc[0]), len(_UNNAMED)) + _CONTEXT_ROOM
    rows, heap = np.empty(len(images), LABEL), np.empty(len(images) * room, np.uint8)
    _fill(
        images.ctypes.data,
        images.itemsize,
        labels.classified_ms,
        labels.reason,
        np.ascontiguousarray(labels.probabilities, np.float32),
        *ours,
        *desc,
        which,
        _UNNAMED,
        heap,
        rows,
    )
    rows["novelty"] = np.nan if labels.novelty is None else labels.novelty
    return rows, heap


@njit(cache=True, nogil=True)
def _magnitude(flux: float, flux_err: float) -> tuple[float, float]:
    """AB magnitude and error of a flux in nJy, NaN where there is none."""
    if not flux > 0:
        return np.nan, np.nan
    return ZERO_POINT - 2.5 * np.log10(flux), POGSON * flux_err / flux


@njit(cache=True, nogil=True)
def _list(
    to: int, template: NDArray[np.uint8], holes: NDArray[np.int64], values: NDArray[np.float32]
) -> int:
    copy(to, template.ctypes.data, len(template))
    for k in range(len(holes)):
        store_f4(to + holes[k], values[k])
    return to + len(template)


@njit(cache=True, nogil=True)
def _context(to: int, image: int) -> int:
    """The scalars that are known, as an Avro map of doubles."""
    start = to
    to += 1  # their number: less than 64, so one byte
    known = 0
    for k in range(len(_SCALARS)):
        at = image + _SCALARS[k, 1]
        value = load_f8(at) if _SCALARS[k, 2] == 8 else np.float64(load_f4(at))
        if not np.isnan(value):
            for w in range(_KEY_ROOM // 8):
                store_i8(to + 8 * w, _KEY_WORDS[k * (_KEY_ROOM // 8) + w])
            to += _SCALARS[k, 0]
            store_f8(to, value)
            to += 8
            known += 1
    store_u1(start, np.uint8(2 * known))
    if known > 0:
        store_u1(to, np.uint8(0))
        to += 1
    return to


@njit(cache=True, nogil=True)
def _fill(
    images: int,
    stride: int,
    classified_ms: int,
    reason: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    classes: NDArray[np.uint8],
    class_holes: NDArray[np.int64],
    desc: NDArray[np.uint8],
    desc_holes: NDArray[np.int64],
    which: NDArray[np.int64],
    unnamed: NDArray[np.uint8],
    heap: NDArray[np.uint8],
    rows: NDArray[np.void],
) -> None:
    added = np.zeros(len(desc_holes), np.float32)
    start: int = heap.ctypes.data
    to = start
    for i in range(len(rows)):
        image, row = images + i * stride, rows[i]
        row.ingested_ms = load_i8(image + _DECODED_MS)
        row.supersedes = load_i8(image + _ALERT_ID) if reason[i] == WITHDRAWN else 0
        row.classified_ms = classified_ms
        row.reason = reason[i]
        flux = np.float64(load_f4(image + _FLUX))
        found = _magnitude(abs(flux), np.float64(load_f4(image + _FLUX_ERR)))
        row.magnitude, row.magnitude_err = found
        row.is_positive = UNKNOWN_SIGN if np.isnan(flux) else np.uint8(flux > 0)
        total = np.float64(load_f4(image + _TOTAL))
        found = _magnitude(total, np.float64(load_f4(image + _TOTAL_ERR)))
        row.total_magnitude, row.total_magnitude_err = found
        at = to
        if reason[i] == NAMED:
            added[:] = 0
            for k in range(len(which)):
                added[which[k]] += probabilities[i, k]
            to = _list(to, desc, desc_holes, added)
        else:
            copy(to, unnamed.ctypes.data, len(unnamed))
            to += len(unnamed)
        row.classifications.start = at - start
        row.classifications.length = to - at
        at = to
        if reason[i] == NAMED:
            to = _list(to, classes, class_holes, probabilities[i])
        else:
            store_u1(to, np.uint8(0))
            to += 1
        row.classes.start = at - start
        row.classes.length = to - at
        at = to
        to = _context(to, image)
        row.context.start = at - start
        row.context.length = to - at

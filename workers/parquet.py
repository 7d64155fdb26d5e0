"""Labels as a Parquet table: one row for each, columns that a scientist reads without our code."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from broker.records import BANDS, KINDS, REASONS, SURVEYS, Labels


def table(labels: Labels) -> pa.Table:
    """Labels as columns; magnitudes are AB, times MJD (TAI) in days, missing values null.

    ``class`` is the most probable one, null where ``reason`` says why there is none;
    ``p_<class>`` are all probabilities, given that the object is one of these classes.
    """
    rows = labels.images.images
    named = labels.reason == REASONS.index("none")
    best = labels.probabilities.argmax(axis=1) if labels.classes else np.zeros(len(labels), int)
    top = labels.probabilities[np.arange(len(labels)), best] if len(labels) else np.zeros(0)
    columns: dict[str, pa.Array] = {
        "survey": _words(SURVEYS, rows["survey"]),
        "object": _text(rows["object"]),
        "alert_id": pa.array(rows["alert_id"]),
        "source_id": pa.array(rows["source_id"]),
        "ra": pa.array(rows["ra"]),
        "dec": pa.array(rows["dec"]),
        "mjd_tai": pa.array(rows["mjd_tai"]),
        "band": _words(BANDS, rows["band"]),
        "class": pa.array(np.array(labels.classes, object)[best], mask=~named, type=pa.string()),
        "probability": pa.array(top, mask=~named, type=pa.float32()),
        "reason": _words(REASONS, labels.reason),
    }
    for i, name in enumerate(labels.classes):
        columns[f"p_{name}"] = pa.array(labels.probabilities[:, i], mask=~named)
    columns["magnitude"] = _magnitude(rows["flux_njy"])
    columns["total_magnitude"] = _magnitude(rows["total_flux_njy"])
    columns["is_positive"] = pa.array(rows["flux_njy"] > 0, mask=np.isnan(rows["flux_njy"]))
    columns["reliability"] = pa.array(rows["reliability"], mask=np.isnan(rows["reliability"]))
    columns |= {f"n_{kind}": pa.array(n) for kind, n in zip(KINDS, count(labels).T, strict=True)}
    columns["points_hash"] = pa.array(rows["points_hash"])
    columns["classifier"] = _same(labels.classifier, len(labels))
    columns["weights_hash"] = _same(labels.weights_hash, len(labels))
    columns["topic"] = _text(rows["topic"])
    columns["partition"] = pa.array(rows["partition"])
    columns["offset"] = pa.array(rows["offset"])
    columns["record"] = pa.array(rows["record"])
    return pa.table(columns)


def count(labels: Labels) -> np.ndarray:
    """Points of each kind in each label's light curve, (label, kind)."""
    images = labels.images
    owner = np.repeat(np.arange(len(labels)), np.diff(images.first_presence))
    n = np.zeros((len(labels), len(KINDS)), np.int64)
    np.add.at(n, (owner, images.presences["kind"]), images.presences["n"])
    return n


def _words(words: tuple[str, ...], index: np.ndarray) -> pa.Array:
    return pa.array(np.array(words, object)[index], type=pa.string())


def _text(column: np.ndarray) -> pa.Array:
    return pa.array(np.char.decode(column, "ascii").astype(object), type=pa.string())


def _same(word: str, n: int) -> pa.Array:
    return pa.array([word] * n, type=pa.string())


def _magnitude(flux_njy: np.ndarray) -> pa.Array:
    size = np.abs(flux_njy)
    seen = size > 0
    magnitude = 31.4 - 2.5 * np.log10(size, where=seen, out=np.full(len(size), np.nan, np.float32))
    return pa.array(magnitude.astype(np.float32), mask=~seen)

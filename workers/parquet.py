"""Labels as a Parquet table: one row for each, columns that a scientist reads without our code."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from broker.records import BANDS, KINDS, REASONS, SURVEYS, Labels


@dataclass(slots=True)
class Labelled:
    """A Parquet file of some classifiers' labels, which appears when it is whole.

    `classes` are those of each.
    """

    path: Path
    classes: Sequence[Sequence[str]]
    _writer: pq.ParquetWriter | None = None

    def write(self, labels: Labels) -> None:
        every = dict.fromkeys(name for some in self.classes for name in some)
        rows = table(labels, tuple(every))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._partial, rows.schema, compression="zstd")
        self._writer.write_table(rows)

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            os.replace(self._partial, self.path)

    def discard(self) -> None:
        """What is not finished is gone."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
        self._partial.unlink(missing_ok=True)

    @property
    def _partial(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")


def table(labels: Labels, classes: Sequence[str] | None = None) -> pa.Table:
    """Labels as columns; magnitudes are AB, times MJD (TAI) in days, missing values null.

    ``class`` is the most probable one, null where ``reason`` says why there is none;
    ``p_<class>`` are all probabilities, given that the object is one of these classes. Where other
    classifiers stand in the same table, `classes` are those of all: null where it has none.
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
    for name in labels.classes if classes is None else classes:
        columns[f"p_{name}"] = (
            pa.array(labels.probabilities[:, labels.classes.index(name)], mask=~named)
            if name in labels.classes
            else pa.nulls(len(labels), pa.float32())
        )
    novelty = np.full(len(rows), np.nan, np.float32) if labels.novelty is None else labels.novelty
    columns["novelty"] = pa.array(novelty, mask=np.isnan(novelty))
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

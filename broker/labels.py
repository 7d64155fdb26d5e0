"""Labels on the wire: one whole Avro container each, so that any reader opens it years later."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

import schemas
from broker.avro_table import Table
from broker.avro_writer import Writer
from broker.encoding import container_header, long
from broker.records import CONTEXT, IMAGE, PRESENCE, REASONS, Labels
from broker.taxonomy import NOT_CLASSIFIED, RESIDUAL

BROKER = "nightjar"

NAMED = REASONS.index("none")
WITHDRAWN = REASONS.index("withdrawn")

#: AB magnitude of 1 nJy.
ZERO_POINT = 31.4
#: Magnitudes per relative error of a flux: 2.5 / ln 10.
POGSON = 1.0857362
UNKNOWN_SIGN = 255

#: Columns of a row -> paths in the Avro record. What an image says already is repeated as it is.
_PATHS = {
    "image.alert_id": "alertId",
    "image.source_id": "diaSourceId",
    "image.published_ms": "elasticcPublishTimestamp",
    "ingested_ms": "brokerIngestTimestamp",
    **{
        f"image.{name}": name
        for name in (
            "survey",
            "object",
            "ra",
            "dec",
            "mjd_tai",
            "band",
            "reliability",
            "first_detection_mjd_tai",
            *(f"context.{name}" for name in CONTEXT),
            "points_hash",
            "topic",
            "partition",
            "offset",
            "record",
            "decoded_ms",
            "curves_ms",
        )
    },
    **{
        name: name
        for name in (
            "magnitude",
            "magnitude_err",
            "is_positive",
            "total_magnitude",
            "total_magnitude_err",
            "reason",
            "supersedes",
            "classified_ms",
        )
    },
}
ROW = np.dtype(
    [
        ("image", IMAGE),
        ("ingested_ms", "i8"),
        ("supersedes", "i8"),
        ("classified_ms", "i8"),
        ("magnitude", "f4"),
        ("magnitude_err", "f4"),
        ("total_magnitude", "f4"),
        ("total_magnitude_err", "f4"),
        ("is_positive", "u1"),
        ("reason", "u1"),
    ]
)
CLASSIFICATION = np.dtype([("class_id", "i4"), ("probability", "f4")])
CLASS = np.dtype([("name", "S64"), ("probability", "f4")])


def write_labels(labels: Labels) -> list[bytes]:
    """One Avro container file per label, with one record of schema ``nightjar.Label``.

    The first nine fields are those of DESC's brokerClassification 0.9.1. Its list holds, of a
    label with a reason, {300 NotClassified: 1}; of probabilities that are conditional on
    something, {200 Residual: 1} until a gate stands before the network; else one entry per class
    id, probabilities added.

    Parameters
    ----------
    labels : Labels

    Returns
    -------
    list of bytes
        In the order of `labels`; not compressed, one block, deterministic.
    """
    named = labels.reason == NAMED
    classifications, first_classification = _desc_list(labels, named)
    classes, first_class = _class_list(labels, named)
    bodies = _writer(
        labels.classifier,
        labels.params,
        labels.conditional_on,
        labels.weights_hash,
        labels.grid_hash,
    ).write(
        {
            "": _rows(labels),
            "classifications": classifications,
            "classes": classes,
            "presences": labels.images.presences,
        },
        {
            "classifications": first_classification,
            "classes": first_class,
            "presences": labels.images.first_presence,
        },
        np.empty(0, np.uint8),
    )
    head, sync = _container()
    return [b"".join((head, long(len(body)), body, sync)) for body in bodies]


def _rows(labels: Labels) -> NDArray[np.void]:
    images = labels.images.images
    rows = np.empty(len(images), ROW)
    rows["image"] = images
    rows["ingested_ms"] = images["decoded_ms"]
    for quantity in ("", "total_"):
        flux = images[f"{quantity}flux_njy"].astype(np.float64)
        if quantity:  # a total flux that is not positive has no magnitude
            flux[~(flux > 0)] = np.nan
        flux[flux == 0] = np.nan
        size = np.abs(flux)
        rows[f"{quantity}magnitude"] = ZERO_POINT - 2.5 * np.log10(size)
        rows[f"{quantity}magnitude_err"] = POGSON * images[f"{quantity}flux_err_njy"] / size
    sign = images["flux_njy"]
    rows["is_positive"] = np.where(np.isnan(sign), UNKNOWN_SIGN, sign > 0)
    rows["reason"] = labels.reason
    rows["supersedes"] = np.where(labels.reason == WITHDRAWN, images["alert_id"], 0)
    rows["classified_ms"] = labels.classified_ms
    return rows


def _desc_list(
    labels: Labels, named: NDArray[np.bool_]
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """DESC's list of every label: its rows, and (label + 1,) where each one's begin."""
    if labels.conditional_on:
        rows = np.ones(len(labels), CLASSIFICATION)
        rows["class_id"] = np.where(named, RESIDUAL, NOT_CLASSIFIED)
        return rows, np.arange(len(labels) + 1)
    ids, which = np.unique(labels.class_ids, return_inverse=True)
    added = np.zeros((len(labels), len(ids)), np.float32)  # (label, class id)
    for column, i in enumerate(which):
        added[:, i] += labels.probabilities[:, column]
    lengths = np.where(named, len(ids), 1)
    first = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.ones(first[-1], CLASSIFICATION)
    rows["class_id"] = NOT_CLASSIFIED
    of_named = np.repeat(named, lengths)
    rows["class_id"][of_named] = np.tile(ids, int(named.sum()))
    rows["probability"][of_named] = added[named].ravel()
    return rows, first


def _class_list(
    labels: Labels, named: NDArray[np.bool_]
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Our classes of every named label: rows, and (label + 1,) where each one's begin."""
    count = len(labels.classes)
    rows = np.empty((int(named.sum()), count), CLASS)
    rows["name"] = [name.encode() for name in labels.classes]
    rows["probability"] = labels.probabilities[named]
    return rows.ravel(), np.concatenate([[0], np.cumsum(named * count)])


@lru_cache(maxsize=16)
def _writer(
    classifier: str, params: str, conditional_on: str, weights_hash: str, grid_hash: str
) -> Writer:
    defaults = np.zeros(1, ROW)[0]  # an integer that equals its default is written as null
    defaults["is_positive"] = UNKNOWN_SIGN
    return Writer(
        schemas.find("nightjar.Label"),
        {
            "": Table(ROW, _PATHS, defaults),
            "classifications": Table(
                CLASSIFICATION, {"class_id": "classId", "probability": "probability"}
            ),
            "classes": Table(CLASS, {"name": "name", "probability": "probability"}),
            "presences": Table(PRESENCE, {"band": "band", "kind": "kind", "n": "n"}),
        },
        {
            "brokerName": BROKER,
            "brokerVersion": _version(),
            "classifierName": classifier,
            "classifierParams": params,
            "conditional_on": conditional_on,
            "weights_hash": weights_hash,
            "grid_hash": grid_hash,
        },
    )


def _version() -> str:
    try:
        return version("nightjar")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


@cache
def _container() -> tuple[bytes, bytes]:
    """Head of every container, up to its only block's length, and the sync marker.

    The marker is the schema's own hash, so the same label has the same bytes everywhere.
    """
    schema = schemas.find("nightjar.Label")
    sync = hashlib.sha256(json.dumps(schema).encode()).digest()[:16]
    return container_header(schema, sync) + long(1), sync

"""Labels on the wire: one whole Avro container each, so that any reader opens it years later."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

import schemas
from broker.avro_table import Table
from broker.avro_write import BESIDE
from broker.avro_writer import Writer
from broker.encoding import long, text
from broker.label_rows import LABEL, UNKNOWN_SIGN, label_rows
from broker.records import IMAGE, PRESENCE, Labels

BROKER = "nightjar"

#: Columns of an image -> paths in the Avro record: what it says already is repeated as it is.
_OF_IMAGE = {
    "alert_id": "alertId",
    "source_id": "diaSourceId",
    "published_ms": "elasticcPublishTimestamp",
    **{
        name: name
        for name in (
            "survey",
            "object",
            "ra",
            "dec",
            "mjd_tai",
            "band",
            "reliability",
            "first_detection_mjd_tai",
            "points_hash",
            "topic",
            "partition",
            "offset",
            "record",
            "decoded_ms",
            "curves_ms",
        )
    },
}
_OF_LABEL = {name: name for name in LABEL.names or ()} | {"ingested_ms": "brokerIngestTimestamp"}


def write_labels(labels: Labels) -> list[bytes]:
    """One Avro container file per label, with one record of schema ``nightjar.Label``.

    The first nine fields are those of DESC's brokerClassification 0.9.1 (broker.label_rows says
    what its list holds).

    Parameters
    ----------
    labels : Labels

    Returns
    -------
    list of bytes
        In the order of `labels`; not compressed, one block, deterministic.
    """
    rows, heap = label_rows(labels)
    images = labels.images
    return _writer(
        labels.classifier,
        labels.params,
        labels.conditional_on,
        labels.weights_hash,
        labels.grid_hash,
    ).write(
        {"": images.images, BESIDE: rows, "presences": images.presences},
        {"presences": images.first_presence},
        heap,
    )


@lru_cache(16)
def _writer(
    classifier: str, params: str, conditional_on: str, weights_hash: str, grid_hash: str
) -> Writer:
    head, sync = _container()
    defaults = np.zeros(1, LABEL)[0]  # an integer that equals its default is written as null
    defaults["is_positive"] = UNKNOWN_SIGN
    return Writer(
        schemas.find("nightjar.Label"),
        {
            "": Table(IMAGE, _OF_IMAGE),
            BESIDE: Table(LABEL, _OF_LABEL, defaults),
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
        head,
        sync,
        sized=True,
    )


def _version() -> str:
    try:
        return version("nightjar")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


@cache
def _container() -> tuple[bytes, bytes]:
    """Head of every container, up to its only block's length, and the sync marker.

    The marker is the schema's own hash, so the same label has the same bytes everywhere. The
    schema's words take 85 % of a label: they stand without blanks.
    """
    schema = json.dumps(schemas.find("nightjar.Label"), separators=(",", ":"))
    sync = hashlib.sha256(schema.encode()).digest()[:16]
    meta = text("avro.codec") + text("null") + text("avro.schema") + text(schema)
    return b"Obj\x01" + long(2) + meta + long(0) + sync + long(1), sync

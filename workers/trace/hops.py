"""What each hop left of an object's alerts: detections and points, images, letters, labels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from broker import wire
from broker.curves import Curves
from broker.origins import origin
from broker.records import BANDS, KINDS, OUTCOMES, SURVEYS
from broker.store import MemoryStore
from workers import classifiers
from workers.letters import letter
from workers.settings import Settings
from workers.times import utc
from workers.trace.topics import Topics

Found = dict[str, Any]
_OF_POINT = ("id", "exposure", "exposure_part", "kind", "band", "mjd_tai")


def detected(settings: Settings, topics: Topics, key: bytes) -> list[Found]:
    curves = Curves(classifiers.of(settings).inputs, MemoryStore())
    pages: dict[bytes, NDArray[np.void]] = {}
    found = []
    for message in topics.of("detections", key):
        detections, faults = wire.read_detections([message.value() or b""])
        if faults:
            continue
        row = detections.alerts[0]
        before = _points(pages)
        made, refused = "", ""
        try:
            added = curves.add(detections)
            curves.commit()
            made = OUTCOMES[int(added.outcome[0])]
            for name, value in added.pages:
                pages[name] = wire.read_pages([value])[0]
        except ValueError as error:  # it died there too, and its letter says why
            curves.discard()
            refused = str(error)
        after = _points(pages)
        found.append(
            {
                "survey": SURVEYS[row["survey"]],
                "object": row["object"].decode(),
                "alert_id": int(row["alert_id"]),
                "hash": int(wire.alert_hashes(detections.alerts)[0]),
                "origin": {
                    "topic": row["topic"].decode(),
                    "partition": int(row["partition"]),
                    "offset": int(row["offset"]),
                    "record": int(row["record"]),
                },
                "published": utc(int(row["published_ms"])),
                "decoded": utc(int(row["decoded_ms"])),
                "detection": _place(message),
                "curves": made or f"refused: {refused}",
                "points_added": [point for name, point in after.items() if name not in before],
                "points": len(after),
            }
        )
    return found


def _points(pages: Mapping[bytes, NDArray[np.void]]) -> dict[tuple[Any, ...], Found]:
    return {
        tuple(point[name].item() for name in _OF_POINT): {
            "mjd_tai": float(point["mjd_tai"]),
            "band": BANDS[point["band"]],
            "kind": KINDS[point["kind"]],
        }
        for page in pages.values()
        for point in page
    }


def images(topics: Topics, key: bytes) -> Iterator[tuple[int, Found]]:
    for message in topics.of("images", key):
        images, faults = wire.read_images([message.value() or b""])
        if not faults:
            made = utc(int(images.images["curves_ms"][0]))
            yield int(wire.alert_hashes(images.images)[0]), {**_place(message), "made": made}


def letters(settings: Settings, topics: Topics) -> dict[int, list[Found]]:
    """Letters of detections and images, by the alert's hash."""
    found: dict[int, list[Found]] = {}
    for message in topics.letters():
        buried = letter(message, settings.namespace)
        if buried.span == "decode" or (of := origin(buried.value)) is None:
            continue
        said = {
            **_place(message),
            "hop": buried.span,
            "reason": buried.reason,
            "error": buried.error,
            "died": utc(buried.died_ms),
        }
        found.setdefault(of.hash, []).append(said)
    return found


def told(message: Message) -> Found:
    (label,) = fastavro.reader(io.BytesIO(message.value()))
    names = sorted(label["classes"], key=lambda c: -c["probability"])
    return {
        **_place(message),
        "alert_id": label["alertId"],
        "origin": {n: label[n] for n in ("topic", "partition", "offset", "record")},
        "published": label["elasticcPublishTimestamp"],
        "decoded": utc(label["decoded_ms"]),
        "made": utc(label["curves_ms"]),
        "classified": utc(label["classified_ms"]),
        "classifier": label["classifierName"],
        "weights_hash": label["weights_hash"],
        "reason": label["reason"],
        "withdraws": label["reason"] == "withdrawn",
        "classes": {c["name"]: c["probability"] for c in names},
        "points_hash": label["points_hash"],
    }


def _place(message: Message) -> Found:
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "written": utc(message.timestamp()[1]),
    }

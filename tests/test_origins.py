"""A record of ours tells its alert even where the rest of it is broken."""

from __future__ import annotations

import numpy as np
import pytest

from broker import wire
from broker.origins import origin
from broker.records import (
    ALERT,
    BLOCK,
    IMAGE,
    POINT,
    PRESENCE,
    Detections,
    Images,
    Origin,
)


def rows(dtype: np.dtype) -> np.ndarray:
    found = np.zeros(3, dtype)
    found["survey"] = np.arange(3)
    found["object"] = [b"ZTF18aaiscil", b"169", b"9876543210"]
    found["topic"] = [b"ztf_20261121_programid1", b"lsst-alerts", "é".encode()]
    found["alert_id"] = [-3, 1 << 62, 7]
    found["partition"], found["offset"], found["record"] = [3, 0, 11], [1 << 40, 0, 5], [0, 2, 1]
    return found


def written(dtype: np.dtype) -> tuple[np.ndarray, list[bytes]]:
    of, none = rows(dtype), np.zeros(4, np.int64)
    if dtype == ALERT:
        return of, wire.write_detections(Detections(of, np.zeros(0, POINT), none))
    of["notice"] = [0, 1, 0]
    heap = np.zeros(0, np.uint8)
    images = Images(of, np.zeros(0, PRESENCE), none, np.zeros(0, BLOCK), none, heap)
    return of, wire.write_images(images)


@pytest.mark.parametrize("dtype", [ALERT, IMAGE])
def test_records_tell_their_alerts(dtype: np.dtype) -> None:
    of, values = written(dtype)
    hashes = wire.alert_hashes(of).tolist()
    for row, value, number in zip(of, values, hashes, strict=True):
        notice = dtype == IMAGE and bool(row["notice"])
        told = Origin(row["topic"].decode(), int(row["partition"]), number, notice)
        assert origin(value) == told
        assert origin(value[: len(value) // 2]) == (
            Origin(told.topic, told.partition, number, False)
        ), "cut in the middle of its context"


def test_every_cut_and_every_flipped_bit_tells_something_or_nothing() -> None:
    _, values = written(IMAGE)
    whole = origin(values[1])
    told = [origin(values[1][:n]) for n in range(len(values[1]))]
    assert told[0] is None
    assert told[:60] == [None] * 60
    assert told[-1] is not None
    assert whole is not None
    assert told[-1].hash == whole.hash
    for bit in range(8 * 120):
        value = bytearray(values[1])
        value[bit // 8] ^= 1 << bit % 8
        found = origin(bytes(value))
        assert found is None or 0 < len(found.topic.encode()) <= ALERT["topic"].itemsize


def test_what_is_no_record_of_ours_tells_nothing() -> None:
    _, (value, *_) = written(ALERT)
    assert origin(b"") is None
    assert origin(b"Obj\x01" + value) is None
    assert origin(value[:10] + b"\xff" * 200) is None
    assert origin(value[:10] + bytes(500)) is None, "an object without a name"

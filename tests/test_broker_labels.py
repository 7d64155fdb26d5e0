from __future__ import annotations

import io
from dataclasses import replace

import fastavro
import numpy as np
import pytest

import schemas
from broker.labels import write_labels
from broker.records import (
    BANDS,
    BLOCK,
    CONTEXT,
    IMAGE,
    KINDS,
    PRESENCE,
    REASONS,
    SURVEYS,
    Images,
    Labels,
)

NAN = np.nan


def labels(n: int = 3, conditional_on: str = "one of these") -> Labels:
    """Named labels of `n` alerts, each with two presences, every number another."""
    rows = np.zeros(n, IMAGE)
    i = np.arange(n)
    rows["survey"] = SURVEYS.index("lsst")
    rows["object"] = [f"object{k}".encode() for k in i]
    rows["topic"] = b"lsst-alerts-v7.4"
    rows["alert_id"] = 2**62 + i
    rows["source_id"] = 2**61 + i
    rows["ra"], rows["dec"] = 10.5 + i, -30.25 - i
    rows["mjd_tai"] = 60_000.125 + i
    rows["band"] = BANDS.index("r")
    rows["published_ms"], rows["decoded_ms"], rows["curves_ms"] = 1000 + i, 2000 + i, 3000 + i
    rows["partition"], rows["offset"], rows["record"] = 4, 500 + i, 6
    rows["points_hash"] = -7 - i
    rows["first_detection_mjd_tai"] = 59_000.5
    rows["flux_njy"], rows["flux_err_njy"] = -3630.7805, 36.307805
    rows["total_flux_njy"], rows["total_flux_err_njy"] = 36307.805, 363.07805
    rows["reliability"] = 0.75
    rows["context"] = NAN
    rows["context"]["templateFlux"] = 123.5
    presences = np.zeros(2 * n, PRESENCE)
    presences["band"] = np.tile([BANDS.index("g"), BANDS.index("r")], n)
    presences["kind"] = np.tile([KINDS.index("forced"), KINDS.index("detection")], n)
    presences["n"] = np.arange(2 * n) + 1
    images = Images(
        rows,
        presences,
        np.arange(n + 1) * 2,
        np.zeros(0, BLOCK),
        np.zeros(n + 1, np.int64),
        np.zeros(0, np.uint8),
    )
    p = np.random.default_rng(0).dirichlet(np.ones(4), n).astype(np.float32)
    return Labels(
        images=images,
        reason=np.zeros(n, np.uint8),
        probabilities=p,
        classes=("EW", "EA", "RRab", "Rosetta ☄"),
        class_ids=(2325, 2325, 2323, 2321),
        conditional_on=conditional_on,
        classifier="crts-shallow 1",
        params="grid=fiducial",
        weights_hash="ab" * 32,
        grid_hash="123",
        classified_ms=4000,
        novelty=np.full(n, 0.625, np.float32),
    )


def unnamed(of: Labels, reasons: list[str]) -> Labels:
    reason = np.array([REASONS.index(r) for r in reasons], np.uint8)
    p = of.probabilities.copy()
    p[reason > 0] = NAN
    return replace(of, reason=reason, probabilities=p)


def read(value: bytes) -> dict:
    (record,) = fastavro.reader(io.BytesIO(value))
    return record


def test_a_label_says_all_that_the_image_and_the_network_said() -> None:
    given = labels()
    values = write_labels(given)
    assert len(values) == 3
    record = read(values[1])
    probabilities = [float(p) for p in given.probabilities[1]]
    plain = {k: v for k, v in record.items() if k not in ("context", "brokerVersion")}
    for name in ("elasticcPublishTimestamp", "brokerIngestTimestamp"):
        plain[name] = round(plain[name].timestamp() * 1000)
    for name in ("magnitude", "magnitude_err", "total_magnitude", "total_magnitude_err"):
        plain[name] = round(plain[name], 4)
    assert plain == {
        "alertId": 2**62 + 1,
        "diaSourceId": 2**61 + 1,
        "elasticcPublishTimestamp": 1001,
        "brokerIngestTimestamp": 2001,
        "brokerName": "nightjar",
        "classifierName": "crts-shallow 1",
        "classifierParams": "grid=fiducial",
        "classifications": [{"classId": 200, "probability": 1.0}],
        "survey": "lsst",
        "object": "object1",
        "ra": 11.5,
        "dec": -31.25,
        "mjd_tai": 60_001.125,
        "band": "r",
        "magnitude": 22.5,
        "magnitude_err": 0.0109,
        "is_positive": False,
        "total_magnitude": 20.0,
        "total_magnitude_err": 0.0109,
        "reliability": 0.75,
        "reason": "none",
        "conditional_on": "one of these",
        "classes": [
            {"name": name, "probability": p}
            for name, p in zip(given.classes, probabilities, strict=True)
        ],
        "novelty": 0.625,
        "presences": [
            {"band": "g", "kind": "forced", "n": 3},
            {"band": "r", "kind": "detection", "n": 4},
        ],
        "first_detection_mjd_tai": 59_000.5,
        "weights_hash": "ab" * 32,
        "grid_hash": "123",
        "points_hash": -8,
        "supersedes": None,
        "topic": "lsst-alerts-v7.4",
        "partition": 4,
        "offset": 501,
        "record": 6,
        "decoded_ms": 2001,
        "curves_ms": 3001,
        "classified_ms": 4000,
    }
    assert record["brokerVersion"]
    assert record["context"] == {"templateFlux": 123.5}


def test_desc_reads_its_own_nine_fields_first() -> None:
    names = [
        ("alertId", "long"),
        ("diaSourceId", "long"),
        ("elasticcPublishTimestamp", "long"),
        ("brokerIngestTimestamp", ["null", "long"]),
        ("brokerName", "string"),
        ("brokerVersion", "string"),
        ("classifierName", "string"),
        ("classifierParams", "string"),
    ]
    own = {
        "type": "record",
        "name": "elasticc.v0_9_1.brokerClassfication",
        "fields": [{"name": name, "type": kind} for name, kind in names],
    }
    container = io.BytesIO(write_labels(labels(1))[0])
    (block,) = fastavro.block_reader(container)
    body = io.BytesIO(block.bytes_.getvalue())
    record = fastavro.schemaless_reader(body, own, None)
    assert record["classifierName"] == "crts-shallow 1"
    assert record["alertId"] == 2**62


def test_the_container_carries_the_schema_with_its_words() -> None:
    reader = fastavro.reader(io.BytesIO(write_labels(labels(1))[0]))
    assert reader.codec == "null"
    assert reader.writer_schema["fields"][15]["doc"].startswith("AB, of the difference flux")
    assert reader.writer_schema == schemas.find("nightjar.Label")


def test_the_record_is_as_fastavro_writes_it() -> None:
    given = unnamed(labels(4, conditional_on=""), ["none", "withdrawn", "none", "none"])
    scalars = given.images.images["context"]
    for name, value in zip(CONTEXT, np.arange(len(CONTEXT)) + 0.1, strict=True):
        scalars[name][1:] = value  # all scalars are known of one alert, and but one of the next
    scalars["jdstarthist"] = 2_458_000.123456789, NAN, NAN, 5
    scalars["templateFlux"][0] = NAN
    given.images.images["flux_njy"][2] = NAN
    for value in write_labels(given):
        (block,) = fastavro.block_reader(io.BytesIO(value))
        out = io.BytesIO()
        schema = fastavro.parse_schema(schemas.find("nightjar.Label"))
        fastavro.schemaless_writer(out, schema, read(value))
        assert block.bytes_.getvalue() == out.getvalue()
        assert value.endswith(out.getvalue() + value[-16:])
    known = [read(value)["context"] for value in write_labels(given)]
    assert known[0] == {"jdstarthist": 2_458_000.123456789}
    assert [len(context) for context in known] == [1, 19, 19, 20]
    assert list(known[3]) == list(CONTEXT)
    assert known[3]["mwebv"] == np.float32(19.1)


def test_what_is_not_named_is_300_with_its_reason() -> None:
    given = unnamed(labels(4), ["too_few_points", "none", "withdrawn", "solar_system"])
    records = [read(value) for value in write_labels(given)]
    assert [r["reason"] for r in records] == [
        "too_few_points",
        "none",
        "withdrawn",
        "solar_system",
    ]
    assert [r["classifications"][0]["classId"] for r in records] == [300, 200, 300, 300]
    assert [len(r["classes"]) for r in records] == [0, 4, 0, 0]
    assert [r["supersedes"] for r in records] == [None, None, 2**62 + 2, None]


def test_unconditional_probabilities_are_added_per_id() -> None:
    given = unnamed(labels(3, conditional_on=""), ["none", "withdrawn", "none"])
    records = [read(value) for value in write_labels(given)]
    p = given.probabilities[2]
    listed = {c["classId"]: c["probability"] for c in records[2]["classifications"]}
    assert listed == {
        2325: pytest.approx(p[0] + p[1]),
        2323: pytest.approx(p[2]),
        2321: pytest.approx(p[3]),
    }
    assert records[1]["classifications"] == [{"classId": 300, "probability": 1.0}]
    assert len(records[0]["classifications"]) == 3


@pytest.mark.parametrize(
    ("flux", "total", "expected"),
    [
        (3630.7805, NAN, (22.5, True, NAN)),
        (NAN, 36307.805, (NAN, None, 20.0)),
        (0.0, 0.0, (NAN, False, NAN)),
        (-3630.7805, -5.0, (22.5, False, NAN)),
    ],
)
def test_fluxes_without_a_magnitude_are_nan(flux, total, expected) -> None:
    given = labels(1)
    given.images.images["flux_njy"] = flux
    given.images.images["total_flux_njy"] = total
    record = read(write_labels(given)[0])
    found = [record[k] for k in ("magnitude", "is_positive", "total_magnitude")]
    assert found == [
        pytest.approx(e, nan_ok=True) if e not in (True, False) else e for e in expected
    ]
    assert np.isnan(record["magnitude_err"]) == np.isnan(expected[0])
    assert np.isnan(record["total_magnitude_err"]) == np.isnan(expected[2])


def test_missing_numbers_are_nan() -> None:
    given = labels(1)
    for name in ("reliability", "first_detection_mjd_tai"):
        given.images.images[name] = NAN
    record = read(write_labels(given)[0])
    assert np.isnan(record["reliability"])
    assert np.isnan(record["first_detection_mjd_tai"])


def test_no_labels_are_no_values_and_the_same_label_has_the_same_bytes() -> None:
    assert write_labels(labels(0)) == []
    assert write_labels(labels(3)) == write_labels(labels(3))
    assert write_labels(labels(3))[:1] != write_labels(labels(3))[1:2]

"""The decode stage: order, letters, versions side by side, and packets made to break it."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

import schemas
from broker import packet_files
from broker.containers import MAGIC, read_header
from broker.decode import REASONS, Decoder
from broker.records import DeadLetter, Detections, Packets

SYNC = bytes(range(100, 116))
LSST_IDS = (700, 701, 702, 703, 704, 800, 900, 1000, 1100, 1101)


def packets(values: list[bytes], survey: str | None = None) -> Packets:
    n = len(values)
    published = np.arange(n, dtype=np.int64) * 1000
    return Packets(
        values,
        "ztf_20260310",
        np.arange(n, dtype=np.int32) % 3,
        100 + np.arange(n),
        published,
        survey,
    )


def filled(schema: Any) -> Any:
    """A value of a schema: null where that is possible, else 1 or nothing."""
    if isinstance(schema, list):
        return None if "null" in schema else filled(schema[0])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {field["name"]: filled(field["type"]) for field in schema["fields"]}
    simple = {"string": "", "bytes": b"", "array": [], "boolean": False, "null": None}
    return simple.get(kind, 1) if isinstance(kind, str) else filled(kind)


def lsst(number: int, source: int, name: int = 5) -> bytes:
    schema = fastavro.parse_schema(schemas.find(f"lsst/{number}"))
    record = filled(schema)
    record["diaSource"] |= {
        "diaSourceId": source,
        "diaObjectId": name,
        "midpointMjdTai": 6e4 + source,
    }
    if "alertId" in record:
        record["alertId"] = source
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, record)
    return b"\x00" + number.to_bytes(4, "big") + stream.getvalue()


def ztf_schema(**changes: Any) -> Any:
    return json.loads(json.dumps(schemas.find("ztf/402"))) | changes


def ztf(
    *candids: int, schema: Any = None, codec: str = "null", interval: int = 1 << 20, **own: Any
) -> bytes:
    """A container of these alerts; a negative id stands for one that is not public."""
    schema = schema or ztf_schema()
    records = []
    for candid in candids:
        record = filled(schema) | {"objectId": "ZTF18abc", "candid": abs(candid)}
        known = {"candid": abs(candid), "jd": 2459000.5 + abs(candid), "isdiffpos": "t"}
        record["candidate"] |= known | {"programid": 2 if candid < 0 else 1} | own
        records.append(record)
    stream = io.BytesIO()
    fastavro.writer(
        stream, fastavro.parse_schema(schema), records, codec, interval, sync_marker=SYNC
    )
    return stream.getvalue()


def decode(values: list[bytes], survey: str | None = None) -> tuple[Detections, list[DeadLetter]]:
    return Decoder(clock=lambda: 77).decode(packets(values, survey))


def seen(letters: list[DeadLetter]) -> list[tuple[int, int, str]]:
    return [(letter.offset - 100, letter.record, letter.reason) for letter in letters]


def test_all_lsst_versions_and_other_surveys_lie_side_by_side_in_one_topic() -> None:
    values = [lsst(number, 7 * i + k) for k in range(1, 8) for i, number in enumerate(LSST_IDS)]
    wanted = [7 * i + k for k in range(1, 8) for i in range(len(LSST_IDS))]
    values.insert(33, ztf(4))
    wanted.insert(33, 4)
    detections, letters = decode(values)
    assert letters == []
    assert len(detections) == 7 * len(LSST_IDS) + 1
    assert detections.alerts["alert_id"].tolist() == wanted
    assert detections.points["id"][detections.first[:-1]].tolist() == wanted
    assert detections.alerts["survey"].tolist() == [1] * 33 + [0] + [1] * 37


def test_an_alert_says_which_record_of_which_packet_it_was() -> None:
    detections, letters = decode([ztf(1), ztf(2, 3), ztf(4, 5, codec="deflate", interval=1)])
    assert letters == []
    alerts = detections.alerts
    assert alerts["alert_id"].tolist() == [1, 2, 3, 4, 5]
    assert alerts["offset"].tolist() == [100, 101, 101, 102, 102]
    assert alerts["partition"].tolist() == [0, 1, 1, 2, 2]
    assert alerts["record"].tolist() == [0, 0, 1, 0, 1]
    assert alerts["published_ms"].tolist() == [0, 1000, 1000, 2000, 2000]
    assert set(alerts["decoded_ms"].tolist()) == {77}
    assert set(alerts["topic"].tolist()) == {b"ztf_20260310"}


@pytest.mark.parametrize("interval", [1, 1 << 20])
def test_records_before_a_broken_one_go_on_and_the_letter_names_it(interval: int) -> None:
    good = ztf(1, 2, 3, 4, interval=interval)
    third = -1
    for _ in range(3):
        third = good.find(b"\x10ZTF18abc", third + 1)
    broken = bytearray(good)
    broken[third] = 0x7F  # a name longer than what is left, or than the column
    detections, letters = decode([ztf(9), bytes(broken), ztf(8)])
    assert detections.alerts["alert_id"].tolist() == [9, 1, 2, 8]
    assert [(o, r) for o, r, _ in seen(letters)] == [(1, 2)]
    assert letters[0].value == bytes(broken)
    assert (letters[0].topic, letters[0].partition) == ("ztf_20260310", 1)
    assert letters[0].published_ms == 1000


def test_a_wrong_sync_marker_costs_its_block_and_what_follows() -> None:
    value = ztf(1, 2, 3, interval=1)
    second = value.rfind(SYNC, 0, value.rfind(SYNC))
    spoiled = value[:second] + b"\x01" + value[second + 1 :]
    detections, letters = decode([spoiled])
    assert detections.alerts["alert_id"].tolist() == [1]
    assert seen(letters) == [(0, 1, "corrupt")]


def test_alerts_that_are_not_public_leave_no_bytes_behind() -> None:
    values = [ztf(1), ztf(-2), ztf(3, -4, 5), ztf(6, -7)[:-1]]
    detections, letters = decode(values)
    assert detections.alerts["alert_id"].tolist() == [1, 3, 5]
    assert seen(letters) == [(1, 0, "not_public"), (2, 1, "not_public"), (3, 0, "truncated")]
    assert [letter.value for letter in letters] == [b"", b"", values[3]]
    everything, letters = Decoder(public_only=False).decode(packets(values[:3]))
    assert everything.alerts["alert_id"].tolist() == [1, 2, 3, 4, 5]
    assert letters == []


def test_each_reason_has_its_packet() -> None:
    no_magnitude = ztf_schema()
    candidate = next(f for f in no_magnitude["fields"] if f["name"] == "candidate")["type"]
    candidate["fields"] = [f for f in candidate["fields"] if f["name"] != "magpsf"]
    words = ztf_schema()
    candidate = next(f for f in words["fields"] if f["name"] == "candidate")["type"]
    candidate["fields"] = [
        f | {"type": "string"} if f["name"] == "ra" else f for f in candidate["fields"]
    ]
    stranger = {"type": "record", "name": "x", "fields": [{"name": "candid", "type": "long"}]}
    stream = io.BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(stranger), [{"candid": 3}])
    cases = {
        b"hello": "not_avro",
        b"<!DOCTYPE HTML PUBLIC>": "html",
        lsst(1000, 3)[:-1]: "truncated",
        b"\x00\x00\x00\x27\x0f1234": "unknown_schema",
        b"\x00\x00\x00\x00\x07elasticsearch?": "unknown_schema",
        stream.getvalue(): "unknown_schema",
        ztf(1).replace(b"null", b"zstd", 1): "unsupported_codec",
        ztf(1, schema=no_magnitude): "missing_field",
        lsst(1000, 3, name=0): "missing_field",
        ztf(1, schema=words, ra="north"): "schema_mismatch",
        lsst(1000, 3) + b"\0": "corrupt",
        ztf(1).replace(b'"fields"', b"'fields'", 1): "corrupt",
        ztf(1)[:-1] + b"?": "corrupt",  # the last byte of the sync marker
        ztf(1, jd=float("nan")): "corrupt",
        ztf(-1): "not_public",
    }
    detections, letters = decode(list(cases))
    assert len(detections) == 0
    assert [letter.reason for letter in letters] == list(cases.values())
    assert set(cases.values()) == set(REASONS)
    assert all(letter.error for letter in letters)


def test_a_packet_of_another_survey_does_not_pass_for_its_topics() -> None:
    _, letters = decode([lsst(900, 3), ztf(4)], "ztf")
    assert seen(letters) == [(0, 0, "schema_mismatch")]


def test_two_union_orders_under_one_version_are_not_mixed_up() -> None:
    def turned(schema: Any) -> Any:
        if isinstance(schema, list):
            return [turned(s) for s in reversed(schema)]
        if isinstance(schema, dict):
            return {k: turned(v) if k in ("type", "items") else v for k, v in schema.items()} | (
                {"fields": [turned(f) for f in schema["fields"]]} if "fields" in schema else {}
            )
        return schema

    value_first = json.loads(json.dumps(turned(ztf_schema())))
    detections, letters = decode(
        [ztf(1, magnr=19.0), ztf(2, schema=value_first, magnr=18.0), ztf(3, magnr=None)]
    )
    assert letters == []
    np.testing.assert_array_equal(detections.alerts["context"]["magnr"], [19, 18, np.nan])


def test_null_as_default_of_a_union_that_begins_otherwise_is_no_obstacle() -> None:
    schema = ztf_schema()
    for field in schema["fields"]:
        if isinstance(field["type"], list):
            field["type"], field["default"] = field["type"][::-1], None
    value = ztf(1, schema=schema)
    assert len(decode([value])[0]) == 1


def test_an_id_nobody_ships_is_asked_for_once_and_kept(tmp_path: Path) -> None:
    asked: list[int] = []
    now = [0]

    def registry(number: int) -> Any:
        asked.append(number)
        if len(asked) == 1:
            raise TimeoutError
        return schemas.find("lsst/1101")

    value = lsst(1101, 3)[:1] + (1102).to_bytes(4, "big") + lsst(1101, 3)[5:]
    decoder = Decoder(registry=registry, cache=tmp_path, clock=lambda: now[0])
    for _ in range(3):  # within a minute after it failed it is left alone
        _, letters = decoder.decode(packets([value, value]))
        assert [letter.reason for letter in letters] == ["unknown_schema"] * 2
    assert "TimeoutError" in letters[0].error
    now[0] += 60_000
    for _ in range(3):
        assert len(decoder.decode(packets([value, value]))[0]) == 2
    assert asked == [1102, 1102]
    assert len(Decoder(cache=tmp_path).decode(packets([value]))[0]) == 1


def test_a_registry_that_answers_with_nonsense_is_not_believed(tmp_path: Path) -> None:
    value = b"\x00" + (1200).to_bytes(4, "big") + b"body"
    decoder = Decoder(registry=lambda _: {"error_code": 40403}, cache=tmp_path)
    _, letters = decoder.decode(packets([value]))
    assert [letter.reason for letter in letters] == ["unknown_schema"]
    assert list(tmp_path.rglob("*.avsc")) == []


def test_nothing_in_nothing_out() -> None:
    detections, letters = decode([])
    assert (len(detections), len(detections.points), letters) == (0, 0, [])
    assert detections.first.tolist() == [0]


def samples(folder: Path) -> list[bytes]:
    """Of each schema and survey a few packets, the small ones."""
    found: dict[bytes, list[bytes]] = {}
    for file in packet_files.files(folder):
        for item in packet_files.packets(file):
            some = found.setdefault(
                item.value[:200] if item.value[:1] == b"O" else item.value[:5], []
            )
            some.append(item.value)
    return [value for some in found.values() for value in sorted(some, key=len)[:6]]


def spoil(value: bytes, random: np.random.Generator) -> bytes:
    """Change, cut or double a few bytes; in a container mostly behind its header."""
    spoiled = np.frombuffer(value, np.uint8).copy()
    container = value.startswith(MAGIC) and random.random() < 0.99
    body = len(read_header(value).head) if container else 0
    for _ in range(random.integers(1, 6)):
        at = random.integers(body, min(len(spoiled), body + 16000))
        spoiled[at] = random.choice([0, 1, 2, 0x7F, 0x80, 0xFF, random.integers(256)])
    if random.random() < 0.3:
        spoiled = spoiled[: random.integers(0, len(spoiled) + 1)]
    if random.random() < 0.1:
        at = random.integers(0, len(spoiled) + 1)
        spoiled = np.concatenate([spoiled[:at], spoiled[max(0, at - 9) :]])
    return spoiled.tobytes()


def test_fifty_thousand_spoiled_packets_crash_and_hang_nothing(shared_data: Path) -> None:
    random = np.random.default_rng(20260310)
    whole = samples(shared_data / "alerts")
    whole += [
        ztf(*range(1, 9), codec=c, interval=1000) for c in ("deflate", "snappy") for _ in "123"
    ]
    assert len(whole) > 40
    light = [value for value in whole if len(value) < 20_000]
    decoder = Decoder()
    begin = time.monotonic()
    n = alerts = 0
    reasons: Counter[str] = Counter()
    while n < 50_000:
        pool = whole if random.random() < 0.3 else light
        values = [spoil(pool[i], random) for i in random.integers(0, len(pool), 250)]
        detections, letters = decoder.decode(packets(values))
        n += len(values)
        alerts += len(detections)
        reasons.update(letter.reason for letter in letters)
        # Each packet is an alert or has its letter; a packet of several records could be both.
        told = {letter.offset for letter in letters} | set(detections.alerts["offset"].tolist())
        assert len(told) == len(values)
        assert detections.first[-1] == len(detections.points)
        assert (detections.points["mjd_tai"] > 0).all()
        for name in ("flux_njy", "flux_err_njy", "total_flux_njy", "total_flux_err_njy"):
            assert not np.isinf(detections.points[name]).any()
    assert set(reasons) <= set(REASONS)
    assert alerts > 1000
    assert reasons["corrupt"] > 1000
    assert reasons["truncated"] > 1000
    assert time.monotonic() - begin < 300

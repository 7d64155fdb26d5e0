"""Our records on the wire: they come back whole, fastavro reads the same, faults stay alone."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from broker import wire
from broker.hashes import murmur2
from broker.records import (
    ALERT,
    BANDS,
    BLOCK,
    CONTEXT,
    IMAGE,
    KINDS,
    PHOTOMETRIES,
    POINT,
    PRESENCE,
    REASONS,
    SURVEYS,
    Detections,
    Images,
)
from schemas import find

#: Of images: no_gain is a reason of labels alone.
WORDS = {"survey": SURVEYS, "band": BANDS, "kind": KINDS, "reason": REASONS[:-1]}
FLAGS = ("solar_system", "notice")
NAN = math.nan


def random_rows(dtype: np.dtype, n: int, seed: int) -> NDArray[np.void]:
    """Rows of any values that the record may have; a third of the floats are missing."""
    random = np.random.default_rng(seed)
    rows = np.zeros(n, dtype)
    for name in dtype.names:
        column = rows[name]
        if column.dtype.names == CONTEXT:
            for part in CONTEXT:
                column[part] = random.normal(size=n)
                column[part][random.random(n) < 0.3] = np.nan
        elif column.dtype.kind == "f":
            column[:] = random.normal(size=n)
            if not name.startswith(("ra", "dec")) and name != "mjd_tai":
                column[random.random(n) < 0.3] = np.nan
        elif column.dtype.kind == "S":
            letters = random.choice(np.array(["ZTF18", "é", "x", ""]), (n, 3))
            column[:] = ["".join(row).encode() for row in letters]
        elif name in WORDS or name in FLAGS:
            column[:] = random.integers(0, len(WORDS.get(name, "no")), n)
        elif column.dtype.kind in "iu":
            limits = np.iinfo(column.dtype)
            column[:] = random.integers(limits.min, limits.max, n, column.dtype, endpoint=True)
            column[random.random(n) < 0.2] = 0
    return rows


def random_first(n: int, rows: int, seed: int) -> NDArray[np.int64]:
    inner = np.random.default_rng(seed).integers(0, rows, n - 1, endpoint=True) if n else []
    return np.concatenate([[0], np.sort(inner), [rows] if n else []]).astype(np.int64)


def random_detections(n: int, seed: int) -> Detections:
    rows = 4 * n
    points = random_rows(POINT, rows, seed + 1)
    return Detections(random_rows(ALERT, n, seed), points, random_first(n, rows, seed))


def random_images(n: int, seed: int) -> Images:
    rows = 3 * n
    blocks = random_rows(BLOCK, rows, seed)
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 300, (2, rows))
    ends = np.cumsum(lengths.ravel()).reshape(2, rows)
    for name, length, end in zip(("counts", "scalars"), lengths, ends, strict=True):
        blocks[name]["start"], blocks[name]["length"] = end - length, length
    return Images(
        random_rows(IMAGE, n, seed),
        random_rows(PRESENCE, rows, seed),
        random_first(n, rows, seed),
        blocks,
        random_first(n, rows, seed + 1),
        random.integers(0, 256, int(ends.max(initial=0)), np.uint8),
    )


def as_fastavro(name: str, row: np.void, **lists: Any) -> dict[str, Any]:
    """A row as fastavro gives its record back."""
    datum: dict[str, Any] = dict(lists)
    for field in row.dtype.names:
        value = row[field]
        if value.dtype.names == CONTEXT:
            datum[field] = {part: plain(value[part]) for part in CONTEXT}
        elif field in WORDS:
            datum[field] = WORDS[field][value]
        elif field in FLAGS:
            datum[field] = bool(value)
        elif value.dtype.kind == "S":
            datum[field] = value.decode()
        elif value.dtype.kind in "iuf":
            datum[field] = plain(value)
    return datum


def plain(value: Any) -> Any:
    return NAN if value.dtype.kind == "f" and np.isnan(value) else value.item()


def with_one_nan(value: Any) -> Any:
    """The same NaN wherever one stands, so that == finds it equal to itself."""
    if isinstance(value, dict):
        return {name: with_one_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [with_one_nan(part) for part in value]
    return NAN if isinstance(value, float) and math.isnan(value) else value


@cache
def parsed(name: str) -> Any:
    return fastavro.parse_schema(find(f"nightjar.{name}"))


def read_by_fastavro(name: str, value: bytes) -> Any:
    schema = parsed(name)
    assert value[:10] == wire.head(schema)
    file = io.BytesIO(value[10:])
    datum = fastavro.schemaless_reader(file, schema)
    assert not file.read()
    return with_one_nan(datum)


def points_of(points: NDArray[np.void]) -> list[dict[str, Any]]:
    return [as_fastavro("Point", p) for p in points]


def same(a: NDArray[np.void], b: NDArray[np.void]) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 12), st.integers(0, 10**6))
def test_detections_come_back_and_fastavro_agrees(n: int, seed: int) -> None:
    detections = random_detections(n, seed)
    values = wire.write_detections(detections)
    back, faults = wire.read_detections(values)
    assert not faults
    assert same(back.alerts, detections.alerts)
    assert same(back.points, detections.points)
    assert back.first.tolist() == detections.first.tolist()
    for i, value in enumerate(values):
        points = points_of(detections.points[detections.first[i] : detections.first[i + 1]])
        expected = as_fastavro("Detection", detections.alerts[i], points=points)
        assert read_by_fastavro("Detection", value) == expected


def blocks_of(images: Images, i: int) -> list[dict[str, Any]]:
    found = []
    for block in images.blocks[images.first_block[i] : images.first_block[i + 1]]:
        datum = as_fastavro("Block", block)
        for name in ("counts", "scalars"):
            start, length = block[name].tolist()
            datum[name] = images.heap[start : start + length].tobytes()
        found.append(datum)
    return found


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 8), st.integers(0, 10**6))
def test_images_come_back_and_fastavro_agrees(n: int, seed: int) -> None:
    images = random_images(n, seed)
    values = wire.write_images(images)
    back, faults = wire.read_images(values)
    assert not faults
    assert same(back.images, images.images)
    assert same(back.presences, images.presences)
    assert back.first_presence.tolist() == images.first_presence.tolist()
    assert back.first_block.tolist() == images.first_block.tolist()
    for i, value in enumerate(values):
        assert blocks_of(back, i) == blocks_of(images, i)
        a, b = images.first_presence[i : i + 2]
        presences = [as_fastavro("Presence", p) for p in images.presences[a:b]]
        blocks = blocks_of(images, i)
        expected = as_fastavro("Image", images.images[i], presences=presences, blocks=blocks)
        assert read_by_fastavro("Image", value) == expected


def test_pages_come_back_and_fastavro_agrees() -> None:
    points = random_rows(POINT, 70, 3)
    first = np.array([0, 32, 32, 64, 70])
    values = wire.write_pages(points, first)
    assert values == [wire.write_page(points[a:b]) for a, b in pairwise(first)]
    back, back_first, faults = wire.read_pages([values[0], b"", *values[1:]])
    assert same(back, points)
    assert back_first.tolist() == first.tolist()
    assert [(f.index, f.reason) for f in faults] == [(1, "not_avro")]
    assert read_by_fastavro("Page", values[3]) == {"points": points_of(points[64:])}


def test_a_fault_takes_out_its_own_value_only() -> None:
    images = random_images(6, 1)
    good = wire.write_images(images)
    strange = b"\xc3\x01" + bytes(8) + good[0][10:]
    page = wire.write_page(random_rows(POINT, 2, 0))
    bad = [b"", b"\xc3\x01\x02", b"{}", strange, page, good[0][:-1], good[0] + b"\0"]
    values = [v for pair in zip(good, bad, strict=False) for v in pair] + bad[len(good) :]
    back, faults = wire.read_images(values)
    assert same(back.images, images.images)
    assert same(back.presences, images.presences)
    for i in range(len(good)):
        assert blocks_of(back, i) == blocks_of(images, i)
    reasons = ["not_avro", "truncated", "not_avro", "unknown_schema", "unknown_schema"]
    assert [f.reason for f in faults] == [*reasons, "truncated", "corrupt"]
    assert [f.index for f in faults] == [1, 3, 5, 7, 9, 11, 12]
    assert all(f.error for f in faults)
    empty, faults = wire.read_images(bad)
    assert len(empty) == len(empty.blocks) == 0
    assert len(faults) == len(bad)
    assert wire.read_detections([])[0].first.tolist() == [0]


def test_what_an_earlier_schema_wrote_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version with fields in another order, one less, and one that has gone."""
    today = find("nightjar.Page")
    point = json.loads(json.dumps(today["fields"][0]["type"]["items"]))
    for field in point["fields"]:  # named types stand in files of their own
        kind = field["type"]
        field["type"] = kind if isinstance(kind, str | list) else kind["name"]
    fields = [f for f in point["fields"][::-1] if f["name"] != "exposure_part"]
    fields.append({"name": "gone", "type": "string"})
    items = {"type": "array", "items": {**point, "fields": fields}}
    earlier = {**today, "fields": [{"name": "points", "type": items}]}
    for path in wire.FOLDER.glob("nightjar.*.avsc"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    clean = json.loads(json.dumps(earlier, default=str))
    (tmp_path / "nightjar.Page.v1.avsc").write_text(json.dumps(clean))
    monkeypatch.setattr(wire, "FOLDER", tmp_path)
    monkeypatch.setattr("schemas.FOLDER", tmp_path)
    find.cache_clear()
    record = wire._Record("nightjar.Page", {"points": POINT})
    points = random_rows(POINT, 9, 2)
    points["exposure_part"] = 0
    schema = find("nightjar.Page.v1")
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out, schema, {"points": [{**p, "gone": "x"} for p in points_of(points)]}
    )
    old = wire.head(schema) + out.getvalue()
    new = wire.write_page(points)
    assert old[:10] != new[:10]
    found, faults = record.read([new, old, new, old])
    find.cache_clear()
    assert not faults
    assert same(found.rows["points"], np.tile(points, 4))
    assert found.first["points"].tolist() == [0, 9, 18, 27, 36]
    assert found.status.tolist() == [0, 1, 2, 3]


def test_spans_of_several_reads_point_into_one_heap() -> None:
    images = random_images(4, 7)
    values = wire.write_images(images)
    parts = [wire._IMAGE.read(values[i : i + 1])[0] for i in range(4)]
    rows = wire._joined(parts)
    back = Images(
        *(rows.rows[""], rows.rows["presences"], rows.first["presences"]),
        *(rows.rows["blocks"], rows.first["blocks"], rows.heap),
    )
    assert [blocks_of(back, i) for i in range(4)] == [blocks_of(images, i) for i in range(4)]


def test_the_schemas_words_are_the_records() -> None:
    for name, words in {**WORDS, "photometry": PHOTOMETRIES}.items():
        schema = find(f"nightjar.{name.capitalize()}")
        assert tuple(schema["symbols"]) == words
    assert tuple(find("nightjar.Unnamed")["symbols"]) == REASONS
    for record in (wire._DETECTION, wire._IMAGE, wire._PAGE):
        for reader in record.readers.values():
            assert not any(reader.missing.values())


def test_the_fingerprint_is_the_specifications() -> None:
    # Avro 1.12 specification's own example of the algorithm: '"null"' gives 0x63dd24e7cc258f8a.
    assert wire.head("null") == b"\xc3\x01" + (0x63DD24E7CC258F8A).to_bytes(8, "little")


def plain_murmur2(data: Sequence[int]) -> int:
    """Austin Appleby's MurmurHash2 with Kafka's seed, from its definition."""
    m, r, word = 0x5BD1E995, 24, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    i = 0
    while len(data) - i >= 4:
        k = int.from_bytes(bytes(data[i : i + 4]), "little") * m & word
        k = (k ^ k >> r) * m & word
        h = h * m & word ^ k
        i += 4
    rest = len(data) - i
    if rest == 3:
        h ^= data[i + 2] << 16
    if rest >= 2:
        h ^= data[i + 1] << 8
    if rest >= 1:
        h = (h ^ data[i]) * m & word
    h = (h ^ h >> 13) * m & word
    return h ^ h >> 15


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # of Kafka's own UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_the_java_clients(key: bytes, expected: int) -> None:
    assert plain_murmur2(key) == expected % (1 << 32)
    held = np.frombuffer(key + b"\xff", np.uint8)
    assert murmur2(held.ctypes.data, len(key)) == expected % (1 << 32)


def test_keys_and_partitions() -> None:
    alerts = random_rows(ALERT, 500, 4)
    alerts["object"][:250] = [f"ZTF{i * 7919}".encode() for i in range(250)]
    keys = wire.keys(alerts)
    first = alerts[0]
    assert keys[0] == f"{SURVEYS[first['survey']]}:{first['object'].decode()}".encode()
    for count in (1, 6, 64):
        expected = [(plain_murmur2(key) & 0x7FFFFFFF) % count for key in keys]
        assert wire.partitions(alerts, count).tolist() == expected
    assert wire.keys(alerts[::-3]) == keys[::-3]
    assert wire.partitions(alerts[::-3], 6).tolist() == wire.partitions(alerts, 6)[::-3].tolist()
    assert wire.keys(alerts[:0]) == wire.partitions(np.zeros(0, ALERT), 4).tolist() == []
    with pytest.raises(ValueError, match="partitions"):
        wire.partitions(alerts, 0)
    alerts["survey"] = 3
    with pytest.raises(ValueError, match="survey 3"):
        wire.partitions(alerts, 4)
    with pytest.raises(ValueError, match="survey 3"):
        wire.keys(alerts)


def test_alert_hashes_tell_every_alert_and_place_apart() -> None:
    alerts = np.repeat(random_rows(ALERT, 1, 1), 8)
    alerts["object"], alerts["topic"] = b"ab", b"c"
    hashed = ("survey", "alert_id", "partition", "offset", "record")
    for i, name in enumerate(hashed):
        alerts[name][i + 1] ^= 1
    alerts["object"][6], alerts["topic"][6] = b"a", b"bc"
    alerts["object"][7] = b"ba"
    hashes = wire.alert_hashes(alerts)
    assert hashes.dtype == np.uint64
    assert len(set(hashes.tolist())) == 8
    alerts["ra"] += 1
    alerts["decoded_ms"] += 1
    assert wire.alert_hashes(alerts).tolist() == hashes.tolist()
    images = np.zeros(8, IMAGE)
    for name in (*hashed, "object", "topic"):
        images[name] = alerts[name]
    assert wire.alert_hashes(images).tolist() == hashes.tolist()
    # The ledger keeps sums of these for 400 days: another value is another ledger.
    assert wire.alert_hashes(np.zeros(1, ALERT)).tolist() == [701279491252118104]


def test_a_number_beyond_its_words_is_not_written() -> None:
    detections = random_detections(2, 0)
    detections.alerts["band"][1] = len(BANDS)
    with pytest.raises(ValueError, match=r"value 1 .* range"):
        wire.write_detections(detections)

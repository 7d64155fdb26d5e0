"""All of ours that lasts tells its version: yesterday's is read, tomorrow's is refused aloud.

`tests/golden` describes version 1 of each record as it was when this was written; it is never
edited. Bytes are written here from that description by fastavro, and read by the house.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from fastavro.schema import fingerprint, to_parsing_canonical_form
from streams import publish

from broker import blobs, wire
from broker.curves import Curves
from broker.identities import Identifier
from broker.measurements import ROW
from broker.records import ALERT, IMAGE, KINDS, POINT, SURVEYS, DeadLetter
from broker.store import MemoryStore
from models import cards
from workers import ledger, topics
from workers.carry import bring
from workers.carry.curve_file import Reader
from workers.errors import Failed
from workers.follow import Follower
from workers.letters import read_letters
from workers.local_kafka import LocalKafka
from workers.outputs import Letters
from workers.settings import Kafka, Settings
from workers.standing import Standing, fault
from workers.whole import read_whole

GOLDEN = Path(__file__).parent / "golden"


def described(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.avsc").read_text())


def newer(name: str) -> Any:
    """The description with a field more, as a version to come may have it."""
    schema = described(name)
    schema["fields"].append({"name": "of_tomorrow", "type": "long"})
    return schema


def value_of(schema: Any, numbers: Iterator[int], named: dict[str, Any]) -> Any:
    """A value of a schema, each number in it another one."""
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(schema, list):
        return value_of(schema[-1], numbers, named)
    if kind in ("record", "enum"):
        named[schema["name"]] = schema
    if kind in named:
        return value_of(named[kind], numbers, named)
    n = next(numbers)
    if kind == "record":
        return {f["name"]: value_of(f["type"], numbers, named) for f in schema["fields"]}
    if kind == "enum":
        return schema["symbols"][n % len(schema["symbols"])]
    if kind == "array":
        return [value_of(schema["items"], numbers, named) for _ in range(2)]
    if kind == "map":
        return {"rb": n + 0.5}
    plain = {"string": f"s{n}", "bytes": bytes([n % 128]), "boolean": True}
    return plain.get(kind, n + 0.5 if kind in ("double", "float") else n)


def written(schema: Any) -> tuple[dict[str, Any], bytes]:
    """A record, and its bytes in single-object encoding, by fastavro alone."""
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    record = value_of(schema, count(1), {})
    out = io.BytesIO()
    crc = fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO")
    out.write(b"\xc3\x01" + bytes.fromhex(crc))
    fastavro.schemaless_writer(out, parsed, record)
    return record, out.getvalue()


def check(row: np.void, record: dict[str, Any], dtype: np.dtype[Any]) -> None:
    """Every number and word of the record stands in our columns under its name."""
    compared = 0
    for name in dtype.names or ():
        if dtype[name].kind in "iuf" and isinstance(record.get(name), int | float):
            assert row[name] == np.array(record[name], dtype[name]), name
            compared += 1
        elif dtype[name].kind == "S":
            assert row[name].decode() == record[name], name
            compared += 1
    assert compared > 5


def test_detections_and_images_of_version_1() -> None:
    record, value = written(described("Detection"))
    detections, faults = wire.read_detections([value])
    assert not faults
    check(detections.alerts[0], record, ALERT)
    assert SURVEYS[detections.alerts["survey"][0]] == record["survey"]
    for point, wanted in zip(detections.points, record["points"], strict=True):
        check(point, wanted, POINT)
        assert KINDS[point["kind"]] == wanted["kind"]
    record, value = written(described("Image"))
    images, faults = wire.read_images([value])
    assert not faults
    check(images.images[0], record, IMAGE)
    assert images.presences["n"].tolist() == [p["n"] for p in record["presences"]]
    assert len(images.blocks) == len(record["blocks"])


def test_a_page_of_version_1_is_a_light_curve() -> None:
    record, value = written(described("Page"))
    curves = Curves(cards.find("crts-rows").inputs, MemoryStore())
    curves.restore([b"ztf:a#0"], [value])
    for point, wanted in zip(curves.points(b"ztf:a"), record["points"], strict=True):
        check(point, wanted, POINT)


def test_a_label_of_any_version_tells_its_alert() -> None:
    """A label holds the schema that wrote it; versions 1 and 2, and one that is yet to come."""
    for schema in (described("Label"), described("Label.v2"), newer("Label.v2")):
        record = value_of(schema, count(1), {})
        out = io.BytesIO()
        fastavro.writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), [record])
        rows, which = Identifier().labels([out.getvalue()])
        assert which.tolist() == [0]
        assert rows["alert_id"][0] == record["alertId"]
        assert rows["object"][0].decode() == record["object"]
        assert rows["classifier"][0].decode() == record["classifierName"]


def test_a_ledger_row_of_version_2() -> None:
    """Version 1 is held by test_ledger."""
    record, value = written(described("Transaction"))
    assert ledger.read(value) == record


@pytest.mark.parametrize("name", ["Detection", "Image", "Page", "Transaction"])
def test_a_record_of_tomorrow_is_refused_aloud(name: str) -> None:
    _, value = written(newer(name))
    if name == "Transaction":
        with pytest.raises(ValueError, match=f"starts with {value[:10].hex()}.*a newer one"):
            ledger.read(value)
        return
    if name == "Page":
        curves = Curves(cards.find("crts-rows").inputs, MemoryStore())
        with pytest.raises(ValueError, match="starts as no page does"):
            curves.restore([b"ztf:a#0"], [value])
    read = {
        "Detection": wire.read_detections,
        "Image": wire.read_images,
        "Page": wire.read_pages,
    }[name]
    faults = read([value])[-1]
    assert [f.reason for f in faults] == ["unknown_schema"]
    assert value[2:10].hex() in faults[0].error


def test_a_ledger_of_tomorrow_ends_who_follows_it(kafka: LocalKafka, namespace: str) -> None:
    _, value = written(newer("Transaction"))
    publish(kafka.bootstrap, f"{namespace}.ledger", [value], 1)
    follower = Follower({"bootstrap.servers": kafka.bootstrap}, f"{namespace}.ledger")
    with pytest.raises(Failed, match=r"the ledger cannot be followed: .* a newer one wrote it"):
        follower.read(20)
    follower.close()


OF_VERSION_1 = {
    "reason": b"truncated",
    "error": b"ends early",
    "span": b"decode",
    "group": b"n.decode",
    "topic": b"ztf",
    "partition": b"2",
    "offset": b"77",
    "record": b"1",
    "published_ms": b"5",
    "died_ms": b"6",
    "attempts": b"2",
    "bytes": b"5",
}


def test_letters_by_version(kafka: LocalKafka, namespace: str) -> None:
    """Those from before letters told their version are of the first."""
    settings = Settings(namespace=namespace, kafka=Kafka(bootstrap_servers=kafka.bootstrap))
    topic = f"{namespace}.dead-letters"
    topics.make(settings.kafka.client(), topic, 1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    producer.produce(topic, b"bytes", headers=list(OF_VERSION_1.items()))
    dead = DeadLetter(b"bytes", "truncated", "ends early", "ztf", 2, 77, 1, 5, attempts=2)
    Letters(topic, [dead], 6, "decode", "n.decode", 10).produce(producer)
    assert producer.flush(30) == 0
    old, new = read_letters(settings)
    assert replace(new, offset=old.offset) == old
    assert (old.reason, old.topic, old.source_offset) == ("truncated", "ztf", 77)
    assert (old.attempts, old.died_ms, old.size) == (2, 6, 5)
    records = [m for some in read_whole(settings.kafka.client(), topic) for m in some]
    assert dict(records[1].headers()) == {"version": b"1", **OF_VERSION_1}
    producer.produce(topic, b"bytes", headers=[("version", b"2")])
    assert producer.flush(30) == 0
    with pytest.raises(Failed, match=r"letter 0:2 has version 2.* use the one that wrote it"):
        list(read_letters(settings))


#: What stood in a store of format 1.2: its note, and a light curve of 3 points without counts.
NOTE = b'{"offset": 7, "pages_from": 3, "topic": "id", "partitions": 4, "boot": "b", "form": "1.2"}'
BLOB = (
    "020000000300000000000000000000000000000000000000030027000000003052ec40000000000000000000"
    "100000000010020b000000000000002402e90300000000000024000000000000000000190000508200000000"
    "00f0010060060000000000000000000000000000000000000000ffffffffbbd833b9703948f9"
)


def test_a_store_by_its_format() -> None:
    """A cache: what is of another format is thrown away with these words, and read back."""
    found = Standing.read(NOTE)
    assert found is not None
    assert fault(found, Standing(7, 3, "id", 4, "b")) is None
    other = Standing.read(NOTE.replace(b"1.2", b"1.3"))
    assert fault(other, Standing(7, 3, "id", 4, "b")) == "it has format 1.3, and this is 1.2"
    rows = blobs.points(bytes.fromhex(BLOB))
    assert rows["id"].tolist() == [1001, 1002, 1003]
    assert rows["mjd_tai"].tolist() == [58001.5, 58002.5, 58003.5]
    assert rows["flux_njy"].tolist() == [10.5, 20.5, 30.5]
    with pytest.raises(ValueError, match="not in format 2: it starts with 03000000"):
        blobs.points(b"\3" + bytes.fromhex(BLOB)[1:])


def points() -> np.ndarray:
    rows = np.zeros(3, ROW)
    rows["id"], rows["exposure"] = [1001, 1002, 1003], [11, 12, 13]
    rows["mjd_tai"], rows["flux_njy"] = [58001.5, 58002.5, 58003.5], [10.5, 20.5, 30.5]
    return rows


def test_a_file_of_light_curves_by_its_version(tmp_path: Path) -> None:
    """`curves.v1.parquet` was written when that was the version."""
    reader = Reader(GOLDEN / "curves.v1.parquet")
    assert list(reader.verify()) == [3]
    assert reader.contents.survey == {"alerts": {"0": 5}}
    group = reader.read(0)
    assert group.objects["object"].tolist() == [b"a"]
    assert group.points.view(ROW).tobytes() == points().tobytes()
    table = pq.read_table(GOLDEN / "curves.v1.parquet")
    said = pq.read_metadata(GOLDEN / "curves.v1.parquet").metadata[b"nightjar.curves"]
    said = json.loads(said) | {"version": 2}
    table = table.replace_schema_metadata({b"nightjar.curves": json.dumps(said)})
    pq.write_table(table, tmp_path / "v2.parquet")
    with pytest.raises(Failed, match=r"has version 2 .* reads version 1: use the Nightjar"):
        Reader(tmp_path / "v2.parquet")


def test_an_import_begun_by_another_version() -> None:
    mark = b'{"version": 1, "sha256": "ab", "groups": 5}'
    assert bring._read("n.import", mark) == bring.Mark("ab", 5)
    with pytest.raises(Failed, match="finish the import with the one that began it"):
        bring._read("n.import", mark.replace(b"1,", b"2,"))

"""The stream's own disorder through the real workers: labels, ledger and audit agree on it."""

from __future__ import annotations

import copy
import io
import json
import random
from collections import Counter, defaultdict
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from streams import read_topic, until
from test_dead import Place, labels_of
from test_decode import LSST_IDS, filled, lsst, ztf, ztf_schema
from test_span import totals

import schemas
from broker import wire
from broker.packets import Shares, Simulation
from workers.local_kafka import LocalKafka

HOUR_MS = 3_600_000
BEGIN_MS = 1_773_100_800_000
PARTITIONS = 3
#: A version that was not there when this broker was shipped.
NEW_ID = 1102


@pytest.fixture
def place(kafka: LocalKafka, namespace: str, tmp_path: Any) -> Place:
    place = Place(kafka, namespace, tmp_path)
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    client.create_topics([NewTopic(place.survey, PARTITIONS, 1)])[place.survey].result(10)
    return place


def send(place: Place, packets: list[tuple[bytes, int, int]]) -> None:
    """Packets with their partitions and their times in ms."""
    producer = Producer({"bootstrap.servers": place.kafka.bootstrap, "linger.ms": 5})
    for value, partition, at_ms in packets:
        producer.produce(place.survey, value, partition=partition, timestamp=at_ms)
        producer.poll(0)
    assert producer.flush(30) == 0


def settle(place: Place, packets: int) -> dict[str, int]:
    """Outcomes, once so many packets have theirs."""
    until(lambda: totals(place.kafka, place.names).done(packets), 120)
    return place.sum()[1]


def test_the_streams_own_disorder(place: Place) -> None:
    with place.work("decode") as decode, place.work("curves,classify") as rest:
        sent, labels = out_of_order(place)
        more, named = many_versions(place, sent)
        sent, labels = sent + more, labels + named
        more, named = taken_back(place, sent)
        sent, labels = sent + more, labels + named
        more, named = unseen_schemas(place, sent)
        sent, labels = sent + more, labels + named
        assert rest.interrupt()[0] == 0
        assert decode.interrupt()[0] == 0
    assert Counter(row["alertId"] for row in labels_of(place)) == labels
    audited = place.run("audit", "--deep")
    assert audited.returncode == 0, audited.stdout


def out_of_order(place: Place) -> tuple[int, Counter[int]]:
    """A night in any order, every fifth packet once more, hours later, on another partition."""
    night = Simulation("ztf", 20, 40, 31, cutouts=False, shares=Shares(0.02, 0.02, 0, 0, 0))
    chance = random.Random(31)
    values = [value for value, _, _ in night.packets()]
    ids = night.truth()["alert_id"].to_pylist()
    chance.shuffle(values)
    packets = [(v, i % PARTITIONS, BEGIN_MS + i) for i, v in enumerate(values)]
    again = [(v, (p + 1) % PARTITIONS, at + 5 * HOUR_MS) for v, p, at in packets[::5]]
    send(place, packets + again)
    outcomes = settle(place, len(packets) + len(again))
    assert outcomes.pop("duplicate") == len(again) > 30
    assert set(outcomes) <= {"labelled", "unclassified"}
    assert len(ids) == sum(outcomes.values())
    came_as_history(place)
    return len(packets) + len(again), Counter(ids)


def came_as_history(place: Place) -> None:
    """Alerts that were points of another's history before: each is named, by what it could know."""
    by_object = defaultdict(list)
    for part in read_topic(place.kafka.bootstrap, place.names.topic("detections")).values():
        for key, value in part:
            by_object[key].append(value)
    said = {row["alertId"]: row for row in labels_of(place)}
    known_before = 0
    for values in by_object.values():
        detections, _ = wire.read_detections(values)
        points: dict[int, float] = {}  # id -> time, of what came so far
        for i, alert in enumerate(detections.alerts):
            first = alert["alert_id"] not in points
            known_before += not first and not alert["solar_system"]
            own = detections.points[detections.first[i] : detections.first[i + 1]]
            seen = own[own["kind"] == 0]
            points |= dict(zip(seen["id"].tolist(), seen["mjd_tai"].tolist(), strict=True))
            row = said[alert["alert_id"]]
            if first and not alert["solar_system"]:
                until_then = sum(at <= alert["mjd_tai"] for at in points.values())
                n = sum(p["n"] for p in row["presences"] if p["kind"] == "detection")
                assert n == until_then
    assert known_before > 50


def many_versions(place: Place, sent: int) -> tuple[int, Counter[int]]:
    """All versions of LSST's schema that are shipped, interleaved."""
    ids = {10_000 + 10 * k + i: number for k in range(6) for i, number in enumerate(LSST_IDS)}
    before = place.sum()[1]
    send(place, [(lsst(n, a, a), a % PARTITIONS, BEGIN_MS) for a, n in ids.items()])
    outcomes = settle(place, sent + len(ids))
    assert Counter(outcomes) - Counter(before) == {"unclassified": len(ids)}
    return len(ids), Counter(list(ids))


def source(alert: int, name: int, history: list[dict[str, Any]] | None = None, **own: Any) -> bytes:
    """An LSST packet of version 11.1 with measured fluxes, and some rows of its history."""
    schema = fastavro.parse_schema(schemas.find("lsst/1101"))
    record = filled(schema)
    record["diaSource"] |= row(record["diaSource"], alert, name, **own)
    if history is not None:
        record["prvDiaSources"] = [record["diaSource"] | past for past in history]
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, record)
    return b"\x00" + (1101).to_bytes(4, "big") + stream.getvalue()


def row(blank: dict[str, Any], alert: int, name: int, **own: Any) -> dict[str, Any]:
    measured = {"psfFlux": 900.0, "psfFluxErr": 9.0, "band": "r", "timeProcessedMjdTai": 7e4}
    places = {"diaSourceId": alert, "diaObjectId": name, "midpointMjdTai": 6e4 + alert % 1000}
    return blank | {"visit": alert} | measured | places | own


def taken_back(place: Place, sent: int) -> tuple[int, Counter[int]]:
    """Corrections and withdrawals of alerts that were labelled hours ago."""
    before = Counter(place.sum()[1])
    first = [(source(20_000 + i, 77), i % PARTITIONS, BEGIN_MS) for i in range(8)]
    send(place, first)
    settle(place, sent + len(first))
    later = BEGIN_MS + 7 * HOUR_MS
    corrected = source(20_001, 77, psfFlux=950.0, timeProcessedMjdTai=7e4 + 1)
    older = source(20_002, 77, psfFlux=950.0, timeProcessedMjdTai=7e4 - 1)
    withdrawn = source(20_003, 77, timeWithdrawnMjdTai=7e4 + 2)
    gone = {"diaSourceId": 20_004, "visit": 20_004, "midpointMjdTai": 6e4 + 4}
    history = source(20_009, 77, [gone | {"timeWithdrawnMjdTai": 7e4 + 2}])
    for some in ((corrected, older, withdrawn), (history,)):
        send(place, [(value, i, later) for i, value in enumerate(some)])
        sent += len(some)
        outcomes = Counter(settle(place, sent + len(first))) - before
    assert outcomes.pop("corrected") == 1
    assert outcomes.pop("duplicate") == 1
    assert outcomes.pop("withdrawn") == 1
    assert set(outcomes) <= {"labelled", "unclassified"}
    assert outcomes.total() == 9
    labels = Counter({20_000 + i: 1 for i in range(8)} | {20_009: 1})
    labels[20_003] += 1  # itself, withdrawn
    until(lambda: sum(row["supersedes"] == 20_004 for row in labels_of(place)) == 1)
    (notice,) = (row for row in labels_of(place) if row["supersedes"] == 20_004)
    assert notice["reason"] == "withdrawn"
    labels[notice["alertId"]] += 1
    (last,) = (row for row in labels_of(place) if row["alertId"] == 20_009)
    assert sum(p["n"] for p in last["presences"]) == 7  # eight and itself, less the two
    return len(first) + 4, labels


def unseen_schemas(place: Place, sent: int) -> tuple[int, Counter[int]]:
    """At midnight both surveys change: records renamed, fields new and in another order.

    ZTF's packets bring their schema along. LSST's are dead letters until it is known.
    """
    before = Counter(place.sum()[1])
    schema = ztf_schema(name="ztf.alert_v5")
    fields = next(f for f in schema["fields"] if f["name"] == "candidate")["type"]["fields"]
    fields.reverse()
    fields.insert(7, {"name": "colour_of_the_sky", "type": ["null", "string"]})
    schema["fields"].insert(2, {"name": "moon", "type": {"type": "array", "items": "double"}})
    new = json.dumps(copy.deepcopy(schemas.find("lsst/1101"))).replace("v11_1", "v12_0")
    changed = json.loads(new)
    inner = next(f for f in changed["fields"] if f["name"] == "diaSource")["type"]["fields"]
    inner.reverse()
    inner.insert(11, {"name": "seeing", "type": ["null", "double"]})
    record = filled(fastavro.parse_schema(copy.deepcopy(changed)))
    packets = [ztf(30_000, schema=schema)]
    for alert in (30_001, 30_002):
        own = row(record["diaSource"], alert, alert)
        stream = io.BytesIO()
        fastavro.schemaless_writer(
            stream, fastavro.parse_schema(copy.deepcopy(changed)), record | {"diaSource": own}
        )
        packets.append(b"\x00" + NEW_ID.to_bytes(4, "big") + stream.getvalue())
    send(place, [(value, i % PARTITIONS, BEGIN_MS) for i, value in enumerate(packets)])
    outcomes = Counter(settle(place, sent + len(packets))) - before
    assert outcomes == {"unclassified": 1, "dead": 2}
    letters = place.letters("--reason", "unknown_schema")
    assert len(letters) == 2
    assert all(f"schema id {NEW_ID}" in letter["error"] for letter in letters)
    kept = place.folder / "state" / "schemas" / "lsst" / f"{NEW_ID}.avsc"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(changed))
    done = place.run("dead", "retry", "--reason", "unknown_schema")
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: {30_000, 30_001, 30_002} <= {row["alertId"] for row in labels_of(place)})
    return len(packets), Counter([30_000, 30_001, 30_002])

"""`nightjar labels`: committed labels of all partitions, those asked for, as lines or JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import threading
from collections.abc import Iterable
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import schemas
from workers import cli
from workers.labels import Wanted, best, read_labels
from workers.local_kafka import LocalKafka
from workers.settings import Settings
from workers.show import json_line, label_line

NAN = float("nan")


def label(alert: int, survey: str = "ztf", **classes: float) -> dict[str, Any]:
    named = bool(classes)
    return {
        "alertId": alert,
        "diaSourceId": alert,
        "elasticcPublishTimestamp": 1_700_000_000_000,
        "brokerIngestTimestamp": None,
        "brokerName": "nightjar",
        "brokerVersion": "0",
        "classifierName": "test",
        "classifierParams": "",
        "classifications": [{"classId": 200, "probability": 1.0}],
        "survey": survey,
        "object": f"object{alert}",
        "ra": 10.5,
        "dec": -3.25,
        "mjd_tai": 60000.5,
        "band": "r",
        "magnitude": 17.5,
        "magnitude_err": 0.1,
        "is_positive": True,
        "total_magnitude": NAN,
        "total_magnitude_err": NAN,
        "reliability": NAN,
        "reason": "none" if named else "too_few_points",
        "conditional_on": "variable",
        "classes": [{"name": n, "probability": p} for n, p in classes.items()],
        "novelty": NAN,
        "presences": [{"band": "r", "kind": "detection", "n": 31}],
        "first_detection_mjd_tai": 59000.0,
        "context": {},
        "weights_hash": "",
        "grid_hash": "",
        "points_hash": 1,
        "supersedes": None,
        "topic": "t",
        "partition": 0,
        "offset": alert,
        "record": 0,
        "decoded_ms": 1,
        "curves_ms": 2,
        "classified_ms": 3,
    }


def container(record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, schemas.find("nightjar.Label"), [record])
    return out.getvalue()


@pytest.fixture
def settings(kafka: LocalKafka, namespace: str) -> Settings:
    return dataclasses.replace(Settings(), namespace=namespace).using(kafka.bootstrap)


@pytest.fixture
def topic(settings: Settings) -> str:
    name = f"{settings.namespace}.labels"
    admin = AdminClient(settings.kafka.client())
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(20)
    return name


def write(settings: Settings, topic: str, records: Iterable[dict[str, Any]], commit: bool) -> None:
    producer = Producer({**settings.kafka.client(), "transactional.id": f"{topic}.writer"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for record in records:
        producer.produce(topic, container(record), partition=record["alertId"] % 3)
    if commit:
        producer.commit_transaction(20)
    else:
        producer.flush(10)
        producer.abort_transaction(20)


def test_all_committed_labels_once(settings: Settings, topic: str) -> None:
    write(settings, topic, [label(n, RRab=0.9) for n in range(7)], commit=True)
    write(settings, topic, [label(n, RRab=0.9) for n in range(100, 107)], commit=False)
    write(settings, topic, [label(n) for n in range(7, 10)], commit=True)
    write(settings, topic, [label(n) for n in range(200, 203)], commit=False)
    found = sorted(row["alertId"] for row in read_labels(settings))
    assert found == list(range(10))


def test_follow_begins_at_the_end_and_goes_on(settings: Settings, topic: str) -> None:
    write(settings, topic, [label(1, RRab=0.9)], commit=True)
    seen: list[int] = []
    started, done = threading.Event(), threading.Event()

    def stop() -> bool:
        started.set()
        return done.is_set()

    def read() -> None:
        seen.extend(row["alertId"] for row in read_labels(settings, follow=True, stop=stop))

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(20)
    for number in range(2, 50):  # until the reader stands at the end, what is written may be before
        write(settings, topic, [label(number, RRab=0.9)], commit=True)
        if done.wait(0.2) or len(seen) >= 2:
            break
    done.set()
    reader.join(20)
    assert len(seen) >= 2
    assert 1 not in seen
    assert seen == list(range(seen[0], seen[-1] + 1))


def test_only_those_that_are_asked_for() -> None:
    rrab, ew = label(1, RRab=0.6, EW=0.4), label(2, "lsst", EW=0.9, RRab=0.1)
    nameless = label(3)
    rows = [rrab, ew, nameless]
    assert [r for r in rows if Wanted()(r)] == rows
    assert [r for r in rows if Wanted(name="EW")(r)] == [ew]
    assert [r for r in rows if Wanted(min_probability=0.5)(r)] == [rrab, ew]
    assert [r for r in rows if Wanted(min_probability=0.7)(r)] == [ew]
    assert [r for r in rows if Wanted(survey="ztf")(r)] == [rrab, nameless]
    assert best(nameless) == (None, 0.0)


def test_the_command_prints_lines_and_json(
    settings: Settings, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(settings, topic, [label(1, RRab=0.9, EW=0.1), label(2)], commit=True)
    where = [f"--kafka.bootstrap-servers={settings.kafka.bootstrap_servers}"]
    where.append(f"--namespace={settings.namespace}")
    assert cli.run(["labels", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert any("object1" in row and "RRab 0.90, EW 0.10" in row for row in lines)
    assert any("object2" in row and "too_few_points" in row for row in lines)
    assert cli.run(["labels", "--json", "--class", "RRab", *where]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["alertId"] == 1
    assert row["total_magnitude"] is None  # NaN is no JSON
    assert row["elasticcPublishTimestamp"].startswith("2023-11-14T22:13:20")


def test_a_line_has_what_one_looks_for() -> None:
    line = label_line(label(5, RRab=0.93, EW=0.07))
    for word in ("ztf", "object5", "r 17.50", "31 points", "RRab 0.93"):
        assert word in line
    assert json.loads(json_line({"a": (1, float("inf"))})) == {"a": [1, None]}

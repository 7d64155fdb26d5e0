"""The promise: one label for each alert, in order within its object, whoever is killed and when."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from streams import label, publish, read_topic
from working import Workers

from broker.packets import Shares, Simulation
from workers.crew import SPANS
from workers.local_kafka import LocalKafka


@pytest.fixture(scope="module")
def night() -> Simulation:
    """Some 3,500 packets of a small sky, repeated and corrupt ones among them."""
    return Simulation(
        "ztf",
        60,
        100,
        11,
        cutouts=False,
        shares=Shares(solar_system=0.02, repeated=0.03, corrupt=0.01),
    )


@pytest.fixture
def workers(kafka: LocalKafka, namespace: str, tmp_path: Path) -> Iterator[Workers]:
    crew = Workers(kafka, namespace, f"{namespace}-survey", tmp_path)
    yield crew
    for process in crew.processes.values():
        process.kill()
        process.wait()


def expected(simulation: Simulation) -> tuple[set[int], int]:
    """Ids of the alerts that can be read, and how many packets cannot."""
    truth = simulation.truth().to_pydict()
    done = zip(truth["alert_id"], truth["deed"], strict=True)
    readable = {alert for alert, what in done if what != "corrupt"}
    return readable, truth["deed"].count("corrupt")


def wait_for_labels(
    workers: Workers, bootstrap: str, namespace: str, n: int, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    admin = AdminClient({"bootstrap.servers": bootstrap})
    while True:
        have = 0
        if f"{namespace}.labels" in admin.list_topics(timeout=10).topics:
            with contextlib.suppress(KafkaException):  # a topic that is just being made
                have = sum(map(len, read_topic(bootstrap, f"{namespace}.labels").values()))
        if have >= n:
            return
        for name, process in workers.processes.items():
            assert process.poll() is None, f"{name} ended\n{workers.logs()}"
        assert time.monotonic() < deadline, f"{have} of {n} labels\n{workers.logs()}"
        time.sleep(0.5)


def check(bootstrap: str, namespace: str, simulation: Simulation) -> list[dict[str, object]]:
    """Nothing lost, nothing doubled, in the order of detections within each object."""
    readable, corrupt = expected(simulation)
    by_partition = read_topic(bootstrap, f"{namespace}.labels")
    labels = [label(v) for part in by_partition.values() for _, v in part]
    ids = [row["alertId"] for row in labels]
    assert len(ids) == len(set(ids)), "a label is doubled"
    assert set(ids) == readable
    dead = [r for part in read_topic(bootstrap, f"{namespace}.dead-letters").values() for r in part]
    assert len(dead) == corrupt
    order = defaultdict(list)
    for part in read_topic(bootstrap, f"{namespace}.detections").values():
        for key, value in part:
            order[key].append(value)
    from broker import wire

    for key, values in order.items():
        detections, _ = wire.read_detections(values)
        first_seen = list(dict.fromkeys(detections.alerts["alert_id"].tolist()))
        answered = [
            row["alertId"] for row in labels if f"{row['survey']}:{row['object']}".encode() == key
        ]
        assert answered == first_seen
    return labels


def test_killed_ten_times_each(
    kafka: LocalKafka, namespace: str, workers: Workers, night: Simulation
) -> None:
    values = [value for value, _, _ in night.packets()]
    source = f"{namespace}-survey"
    publish(kafka.bootstrap, source, values[:200])
    for span in SPANS:
        workers.start(span)
    wait_for_labels(workers, kafka.bootstrap, namespace, 100, 120)
    chance = random.Random(5)
    kills = list(SPANS) * 10
    chance.shuffle(kills)
    pieces = np.array_split(np.arange(200, len(values)), len(kills))
    for span, piece in zip(kills, pieces, strict=True):
        publish(kafka.bootstrap, source, [values[i] for i in piece])
        time.sleep(chance.uniform(0.05, 0.6))
        workers.kill(span)
        workers.start(span)
    wait_for_labels(workers, kafka.bootstrap, namespace, len(expected(night)[0]), 120)
    labels = check(kafka.bootstrap, namespace, night)
    assert set(workers.stop().values()) == {0}
    # a light curve that lived through the kills is the one that a single run builds
    assert {row["points_hash"] for row in labels} == straight_hashes(kafka.bootstrap, namespace)


def straight_hashes(bootstrap: str, namespace: str) -> set[int]:
    """Hashes that one process computes from the same detections, without Kafka between."""
    from broker import wire
    from broker.curves import Curves
    from broker.store import MemoryStore
    from models import tree_cards
    from workers.settings import Settings

    inputs = tree_cards.find(Settings().classify.models[0]).inputs
    hashes: set[int] = set()
    for part in read_topic(bootstrap, f"{namespace}.detections").values():
        curves = Curves(inputs, MemoryStore())
        detections, faults = wire.read_detections([value for _, value in part])
        assert not faults
        hashes |= set(curves.add(detections).images.images["points_hash"].tolist())
    return hashes


def test_two_of_a_span_share_the_work(
    kafka: LocalKafka, namespace: str, workers: Workers, night: Simulation
) -> None:
    """A second decode and a second curves worker join in the middle, then one of each is killed
    for good: its share goes to the other after the session time-out."""
    values = [value for value, _, _ in night.packets()]
    source = f"{namespace}-survey"
    publish(kafka.bootstrap, source, values[:500])
    for span in SPANS:
        workers.start(span)
    wait_for_labels(workers, kafka.bootstrap, namespace, 300, 120)
    workers.start("curves-2", "curves")
    workers.start("decode-2", "decode")
    publish(kafka.bootstrap, source, values[500:2000])
    time.sleep(3)
    workers.kill("curves")
    workers.kill("decode")
    del workers.processes["curves"], workers.processes["decode"]
    publish(kafka.bootstrap, source, values[2000:])
    wait_for_labels(workers, kafka.bootstrap, namespace, len(expected(night)[0]), 120)
    check(kafka.bootstrap, namespace, night)
    assert set(workers.stop().values()) == {0}


def test_kafka_killed_in_the_middle_of_a_night(
    namespace: str, tmp_path: Path, night: Simulation
) -> None:
    """kill -9 of Kafka three times while packets come; workers that end are started again."""
    values = [value for value, _, _ in night.packets()]
    source = f"{namespace}-survey"
    with LocalKafka(tmp_path / "kafka") as kafka:
        workers = Workers(kafka, namespace, source, tmp_path)
        try:
            for span in SPANS:
                workers.start(span)
            for some in np.array_split(np.arange(len(values)), 4):
                publish(kafka.bootstrap, source, [values[i] for i in some])
                time.sleep(1.5)
                if some[-1] < len(values) - 1:
                    kafka.kill()
                    time.sleep(1)
                    kafka.start()
            deadline = time.monotonic() + 300
            want = len(expected(night)[0])
            have = 0
            while have < want:
                assert time.monotonic() < deadline, f"{have} of {want}\n{workers.logs()}"
                for name, process in workers.processes.items():
                    if process.poll() is not None:
                        workers.start(name)
                time.sleep(0.5)
                with contextlib.suppress(KafkaException, KeyError):
                    parts = read_topic(kafka.bootstrap, f"{namespace}.labels").values()
                    have = sum(map(len, parts))
            check(kafka.bootstrap, namespace, night)
        finally:
            for process in workers.processes.values():
                process.kill()
                process.wait()


@pytest.mark.long
def test_state_of_another_kafka_is_not_taken(namespace: str, tmp_path: Path) -> None:
    """Kafka's data are lost and the workers' state is not: it is of topics that are no more."""
    night = Simulation("ztf", 20, 30, 12, cutouts=False)
    values = [value for value, _, _ in night.packets()]
    source = f"{namespace}-survey"
    n = len(expected(night)[0])
    kafka = LocalKafka(tmp_path / "kafka")
    workers = Workers(kafka, namespace, source, tmp_path)
    for _ in range(2):
        with kafka:
            workers.environment["NIGHTJAR_KAFKA_BOOTSTRAP_SERVERS"] = kafka.bootstrap
            publish(kafka.bootstrap, source, values)
            for span in SPANS:
                workers.start(span)
            try:
                wait_for_labels(workers, kafka.bootstrap, namespace, n, 120)
                check(kafka.bootstrap, namespace, night)
                assert set(workers.stop().values()) == {0}
            finally:
                for process in workers.processes.values():
                    process.kill()
                    process.wait()
        shutil.rmtree(kafka.data_dir)

"""The crash campaign: whatever is struck, every alert has exactly its one label afterwards.

make chaos                                      a hundred faults of any kind, half an hour
make crashes                                    each step of a commit, twenty times in each span
pytest tests/chaos -s --faults 6                a few, of kinds that wait for no session to end
pytest tests/chaos -s --faults 4 --kind clock   of these kinds alone
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from chaos import reader
from chaos.faults import FAULTS, QUICK
from chaos.house import PARTITIONS, House
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from rich.console import Console
from rich.table import Table
from streams import each_record
from working import Workers

from workers import topics
from workers.bench.night import simulated

#: From one fault to the next, in s: some strike while the last is still felt.
_PAUSE = (0.2, 3.0)
_PATIENCE_S = 300.0
#: Records that a producer may be ahead of Kafka; the client library refuses more than 100,000.
_AHEAD = 50_000
#: A campaign of so many faults has all kinds, also those that wait for a session to end.
_LONG = 20


def test_campaign(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    n, seed, rate, only = map(
        request.config.getoption, ("--faults", "--plan-seed", "--rate", "--kind")
    )
    kinds = [kind for kind in (FAULTS if n >= _LONG or only else QUICK) if only in kind]
    with House(tmp_path, simulated("elasticc", seed), seed, rate) as house:
        plan = [kinds[i % len(kinds)] for i in range(n)]
        if len(kinds) > n:
            plan = house.chance.sample(kinds, n)
        house.chance.shuffle(plan)
        until(lambda: len(house.arrived), 1, house)
        struck = []
        for number, kind in enumerate(plan, 1):
            time.sleep(house.chance.uniform(*_PAUSE))
            said = f"{len(house.arrived):,} labels, {house.published:,} packets"
            print(f"{number}/{n} {kind}: {said}", flush=True)
            struck.append((kind, FAULTS[kind](house)))
        house.hush()
        # all labels first: the reader's two processes leave a Kafka under load no time
        until(lambda: len(house.arrived), house.published, house)
        report(house, struck)
        sent = reader.alerts(house.packets())
        assert len(sent) == house.published
        found = reader.labels(house.kafka.bootstrap, house.namespace)
        order = reader.detections(house.kafka.bootstrap, house.namespace)
        again = reader.labels(house.kafka.bootstrap, replayed(house, len(sent)))
        wrong = reader.faults(sent, found, order, again)
        print(f"{len(struck)} faults, {len(sent):,} alerts; labels: {dict(wrong)}", flush=True)
        assert not +wrong, house.workers.logs()
        assert sum(map(len, found.labels.values())) == len(sent)


def replayed(house: House, n: int) -> str:
    """The campaign's own detections through the other hops, undisturbed; the namespace."""
    namespace = f"{house.namespace}-again"
    topics.ensure(house.client, topics.Namespace(namespace, ("none",)), PARTITIONS, 1)
    producer = Producer({**house.client, "enable.idempotence": True})
    source = f"{house.namespace}.detections"
    for partition, key, value in each_record(house.kafka.bootstrap, source):
        if value is not None:
            producer.produce(f"{namespace}.detections", value, key, partition)
            producer.poll(0)
            while len(producer) > _AHEAD:
                producer.poll(0.1)
    assert producer.flush(60) == 0
    workers = Workers(house.kafka, namespace, "none", house.folder)
    workers.environment = house.workers.environment | {"NIGHTJAR_NAMESPACE": namespace}
    workers.start("again", "curves,classify")
    try:
        wait_for_labels(house, namespace, n)
        assert workers.stop() == {"again": 0}
    finally:
        workers.kill("again")
    return namespace


def wait_for_labels(house: House, namespace: str, n: int) -> None:
    reader = Consumer({**house.client, "group.id": "count", "isolation.level": "read_committed"})
    topic, have = f"{namespace}.labels", 0
    reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    headway = time.monotonic()
    while have < n:
        assert time.monotonic() - headway < _PATIENCE_S, house.workers.logs()
        if some := sum(message.error() is None for message in reader.consume(5000, 0.2)):
            have, headway = have + some, time.monotonic()
    reader.close()


def until(arrived: Callable[[], int], n: int, house: House) -> None:
    """Wait for n labels, as long as there is headway."""
    have, headway = 0, time.monotonic()
    while have < n:
        assert time.monotonic() - headway < _PATIENCE_S, house.workers.logs()
        time.sleep(0.2)
        if (now := arrived()) > have:
            have, headway = now, time.monotonic()


def report(house: House, struck: list[tuple[str, float]]) -> None:
    """The times that the README keeps, before the reader looks for half an hour."""
    arrived = np.array(house.arrived)
    table = Table("fault", "times", "to the next label, p50 s", "p99 s", "most s")
    by_kind = defaultdict(list)
    for kind, at in struck:
        by_kind[kind].append(arrived[np.searchsorted(arrived, at)] - at)
    every = [s for seconds in by_kind.values() for s in seconds]
    for kind, seconds in (*sorted(by_kind.items()), ("all", every)):
        figures = np.quantile(seconds, (0.5, 0.99, 1))
        table.add_row(kind, str(len(seconds)), *(f"{figure:.2f}" for figure in figures))
    console = Console(width=100)
    console.print(table)
    console.print("workers that ended of themselves:", house.ended)

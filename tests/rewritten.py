"""A run that went well, and the same written anew with whatever faults a test plants in it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import fastavro
from commands import nightjar
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from broker import wire
from broker.packets import Shares, Simulation
from schemas import find
from workers.local_kafka import LocalKafka
from workers.whole import read_whole

SHARES = Shares(solar_system=0.02, bogus=0.02, repeated=0.05, late=0.0, corrupt=0.02)
PARTITIONS = 3
KINDS = ("ledger", "detections", "images", "labels", "dead-letters")

#: Partition, key, value, headers.
Record = tuple[int, bytes | None, bytes, list[tuple[str, bytes]]]
Topics = dict[str, list[Record]]
Said = dict[str, Any]


class Run:
    """A replay that went well, its records, and audits of what is made of them."""

    def __init__(self, kafka: LocalKafka, folder: Path) -> None:
        self.night = Simulation("ztf", 25, 60, 33, cutouts=False, shares=SHARES)
        with (folder / "night.lenpfx").open("wb") as file:
            for value, _, _ in self.night.packets():
                file.write(struct.pack("<I", len(value)) + value)
        self.kafka, self.folder, self.name = kafka, folder, f"audited-{folder.name}"
        self.settings = {"kafka_bootstrap_servers": kafka.bootstrap, "partitions": str(PARTITIONS)}
        done = self.nightjar("replay", "night.lenpfx")
        assert done.returncode == 0, done.stderr
        self.topics = read_namespace(kafka.bootstrap, self.name)
        self.planted = 0

    def plant(self, change: Callable[[Topics], None]) -> str:
        """The namespace written anew with a change; its name."""
        topics = {kind: list(records) for kind, records in self.topics.items()}
        change(topics)
        self.planted += 1
        name = f"{self.name}-{self.planted}"
        write_namespace(self.kafka.bootstrap, name, topics, PARTITIONS)
        return name

    def nightjar(self, *words: str, namespace: str | None = None) -> CompletedProcess[str]:
        """A command on this run's Kafka, by a process of its own."""
        there = namespace or self.name
        return nightjar(*words, cwd=self.folder, namespace=there, **self.settings)

    def audit(self, namespace: str, *flags: str) -> tuple[int, Said]:
        done = self.nightjar("audit", "--json", *flags, namespace=namespace)
        assert done.returncode in (0, 1), done.stderr
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def read_namespace(bootstrap: str, namespace: str) -> Topics:
    """All records of a namespace, in order within each partition."""

    def record(message: Message) -> Record:
        return message.partition(), message.key(), message.value(), message.headers() or []

    client = {"bootstrap.servers": bootstrap}
    return {
        kind: [
            record(message)
            for messages in read_whole(client, f"{namespace}.{kind}")
            for message in messages
        ]
        for kind in KINDS
    }


def write_namespace(bootstrap: str, namespace: str, topics: Topics, partitions: int) -> None:
    """The same under another name, without transactions."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    by_object = ("detections", "images", "labels")
    new = [
        NewTopic(f"{namespace}.{kind}", partitions if kind in by_object else 1, 1) for kind in KINDS
    ]
    for future in admin.create_topics(new).values():
        future.result(20)
    # without idempotence, what a new topic refuses at first comes again behind later records
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True}
    )
    for kind, records in topics.items():
        for partition, key, value, headers in records:
            producer.produce(f"{namespace}.{kind}", value, key, partition, headers=headers)
            producer.poll(0)
    assert producer.flush(30) == 0


def changed_row(value: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A row of the ledger with a change, as anybody could write it who has the schema."""
    schema = find("nightjar.Transaction")
    head = wire.head(schema)
    assert value.startswith(head)
    row = fastavro.schemaless_reader(io.BytesIO(value[len(head) :]), schema, None)
    change(row)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, row)
    return head + out.getvalue()

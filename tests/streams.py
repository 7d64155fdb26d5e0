"""Topics as a stranger reads and writes them: plain confluent-kafka and fastavro."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what others are about to do."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def known(admin: AdminClient, seconds: float = 60) -> set[str]:
    """Names of the topics; waits for a Kafka that starts (after a kill it takes some 12 s)."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return set(admin.list_topics(timeout=10).topics)
        except KafkaException:
            if time.monotonic() > deadline:
                raise


def publish(bootstrap: str, topic: str, values: list[bytes], partitions: int = 3) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    if topic not in known(admin):
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number % partitions)
        producer.poll(0)
    assert producer.flush(30) == 0


def read_topic(bootstrap: str, topic: str) -> dict[int, list[tuple[bytes, bytes]]]:
    """Key and value of each committed record by partition: plain confluent-kafka."""
    records: dict[int, list[tuple[bytes, bytes]]] = {}
    for partition, key, value in each_record(bootstrap, topic):
        some = records.setdefault(partition, [])
        if value is not None:
            some.append((key, value))
    return records


def each_record(bootstrap: str, topic: str) -> Iterator[tuple[int, bytes, Any]]:
    """Partition, key and value of each committed record; of each partition first a value None."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    try:
        metadata = reader.list_topics(topic, timeout=10).topics[topic]
        ends = {p: end(reader, TopicPartition(topic, p)) for p in metadata.partitions}
        for partition in ends:
            yield partition, b"", None
        reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in ends])
        waiting = {p for p, end in ends.items() if end > 0}
        while waiting:
            for message in reader.consume(1000, 0.2):
                assert message.error() is None
                yield message.partition(), message.key(), message.value()
            waiting = {
                p
                for p in waiting
                if reader.position([TopicPartition(topic, p)])[0].offset < ends[p]
            }
    finally:
        reader.close()


def end(reader: Consumer, partition: TopicPartition) -> int:
    """A Kafka that has just made a topic, or just started, has no leader for it at first."""
    for attempt in range(50):
        try:
            return int(reader.get_watermark_offsets(partition, timeout=10)[1])
        except KafkaException:
            if attempt == 49:
                raise
            time.sleep(0.1)
    raise AssertionError


def label(value: bytes) -> dict[str, Any]:
    (record,) = fastavro.reader(io.BytesIO(value))
    return record


def delete_group(admin: AdminClient, group: str, seconds: float = 30) -> None:
    """Have Kafka forget a group; waits for the sessions of its last members to end."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return admin.delete_consumer_groups([group])[group].result(10)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)

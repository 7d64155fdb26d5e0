"""Simulated packets published as a survey publishes: no key, each with its own time."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import NewTopic

from broker.packets import Simulation
from workers.kafka import MAX_MESSAGE_BYTES, admin
from workers.progress import Progress
from workers.settings import Settings


def publish(settings: Settings, topic: str, simulation: Simulation) -> tuple[int, Path]:
    """Publish a simulation to a topic of our cluster, made if it is not there.

    Returns
    -------
    (int, Path)
        Number of packets, and the Parquet file with the truth of each.
    """
    client = settings.kafka.client()
    _make(client, topic, settings.partitions, settings.kafka.replication)
    producer = Producer(
        {
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": 128 << 10,
            "enable.idempotence": True,
            **client,
        }
    )
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: object) -> None:
        if error is not None:
            failed.append(error)

    count = 0
    with Progress("publish", total=len(simulation), unit="packets") as progress:
        for value, published_ms, _ in simulation.packets():
            while True:
                try:
                    producer.produce(topic, value, timestamp=published_ms, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
            if failed:
                raise KafkaException(failed[0])
            count += 1
            progress.at(count)
        producer.flush()
    if failed:
        raise KafkaException(failed[0])
    truth = Path(f"{topic}.truth.parquet")
    pq.write_table(simulation.truth(), truth)
    return count, truth


def _make(client: dict[str, object], topic: str, partitions: int, replication: int) -> None:
    """Record time is the packet's own, months ago in a simulation: age throws nothing away."""
    config = {
        "retention.ms": "-1",
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
    }
    new = NewTopic(topic, partitions, replication, config=config)
    try:
        admin(client).create_topics([new])[topic].result(20)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise

"""Plain records to a topic: simulated or archived packets, published as a survey publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow.parquet as pq
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import NewTopic

from workers.errors import Failed
from workers.kafka import MAX_MESSAGE_BYTES, admin, say
from workers.progress import Progress

if TYPE_CHECKING:
    from broker.packets import Simulation
    from workers.settings import Settings

_FLUSH_S = 60


class Publisher:
    """Sends to one topic; waits where the queue is full, and leaves only when all has arrived.

    Raises
    ------
    Failed
        Kafka refused a record, or does not take what is left.
    """

    def __init__(self, client: Mapping[str, Any], topic: str) -> None:
        self.topic = topic
        self._failed: list[KafkaError] = []
        self._producer = Producer(
            {
                "linger.ms": 5,
                "batch.size": 1 << 20,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "queue.buffering.max.kbytes": 128 << 10,
                "enable.idempotence": True,
                "error_cb": say,
                "log_level": 2,
                **client,
            }
        )

    def send(self, value: bytes, key: bytes | None = None, partition: int = -1) -> None:
        while True:
            try:
                self._producer.produce(
                    self.topic, value, key, partition, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        left = self._producer.flush(_FLUSH_S)
        self._check()
        if left:
            msg = f"Kafka did not take {left} records for {self.topic} in {_FLUSH_S} s"
            raise Failed(msg)

    def _delivered(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self._failed.append(error)

    def _check(self) -> None:
        if self._failed:
            msg = f"Kafka refused a record for {self.topic}: {self._failed[0].str()}"
            raise Failed(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush()


def make_topic(client: Mapping[str, Any], topic: str, partitions: int, replication: int) -> None:
    """A topic for packets, where there is none yet; it keeps them until somebody deletes it."""
    config = {"retention.ms": "-1", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    new = NewTopic(topic, partitions, replication, config=config)
    kafka = admin(client)  # kept: the request dies with its client
    try:
        kafka.create_topics([new])[topic].result(20)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def publish(settings: Settings, topic: str, simulation: Simulation) -> tuple[int, Path]:
    """Publish a simulation to a topic of our cluster, made if it is not there.

    Returns
    -------
    (int, Path)
        Number of packets, and the Parquet file with the truth of each.
    """
    client = settings.kafka.client()
    make_topic(client, topic, settings.partitions, settings.kafka.replication)
    count = 0
    with (
        Progress("publish", total=len(simulation), unit="packets") as progress,
        Publisher(client, topic) as survey,
    ):
        for value, _, _ in simulation.packets():
            survey.send(value)
            count += 1
            progress.at(count)
    truth = Path(f"{topic}.truth.parquet")
    pq.write_table(simulation.truth(), truth)
    return count, truth

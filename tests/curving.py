"""The curves span driven by tests: workers in threads, and images compared to the bit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from streams import known, read_topic, until

from broker import wire
from broker.curves import Curves
from broker.decode import Decoder
from broker.packets import Shares, Simulation
from broker.records import Images, Packets
from broker.store import MemoryStore
from models import tree_cards
from workers import slots, topics
from workers.assembly import run
from workers.classifiers import Part
from workers.ending import Stop
from workers.kafka import patiently
from workers.local_kafka import LocalKafka
from workers.route import keyed
from workers.settings import Kafka, Settings

PARTITIONS = 4
INPUTS = tree_cards.find(Settings().classify.models[0]).inputs


class Record(NamedTuple):
    value: bytes
    key: bytes
    partition: int


def detections(objects: int, nights: int, seed: int) -> list[Record]:
    """What the decode span would publish of a small sky, in order."""
    shares = Shares(repeated=0.03, corrupt=0)
    sky = Simulation("ztf", objects, nights, seed, cutouts=False, shares=shares)
    values = [value for value, _, _ in sky.packets()]
    n = len(values)
    packets = Packets(values, "survey", np.zeros(n, np.int32), np.arange(n), np.zeros(n, np.int64))
    found, dead = Decoder().decode(packets)
    assert not dead
    columns = keyed("", found.alerts, wire.write_detections(found), PARTITIONS)
    return list(map(Record, columns.values, columns.keys, columns.partitions))


def settings(bootstrap: str, namespace: str, state_dir: Path) -> Settings:
    return Settings(
        namespace=namespace,
        partitions=PARTITIONS,
        commit_ms=20,
        state_dir=state_dir,
        kafka=Kafka(bootstrap_servers=bootstrap),
    )


class Stream:
    """A namespace with detections in it, and how far its curves group has come."""

    def __init__(self, kafka: LocalKafka, namespace: str) -> None:
        self.kafka = kafka
        self.names = topics.Namespace(namespace, ("none",))
        self.client = {"bootstrap.servers": kafka.bootstrap}
        self.pages = self.names.topic("curves")
        self.published = 0
        self._group = Consumer(self.client | {"group.id": self.names.group("curves")})
        self.make()

    def close(self) -> None:
        self._group.close()

    def make(self) -> None:
        topics.ensure(self.client, self.names, PARTITIONS, 1)

    def drop(self) -> None:
        """Delete the namespace, topics and group, once the group's last session has timed out."""
        admin = AdminClient(self.client)
        mine = [t for t in known(admin) if t.startswith(f"{self.names.name}.")]
        for future in admin.delete_topics(mine).values():
            future.result(20)
        until(lambda: not known(admin) & set(mine))
        group = self.names.group("curves")

        def gone() -> bool:
            try:
                admin.delete_consumer_groups([group])[group].result(20)
            except KafkaException as exc:
                if exc.args[0].code() != KafkaError.NON_EMPTY_GROUP:
                    raise
                return False
            return True

        until(gone)
        self.published = 0

    def publish(self, records: Sequence[Record]) -> None:
        producer = Producer(self.client)
        for record in records:
            producer.produce(
                self.names.topic("detections"), record.value, record.key, record.partition
            )
        assert producer.flush(30) == 0
        self.published += len(records)

    def committed(self) -> int:
        """How many detections the group has done with."""
        asked = [TopicPartition(self.names.topic("detections"), p) for p in range(PARTITIONS)]
        known = patiently("the group's offsets", lambda: self._group.committed(asked, 5))
        return sum(max(at.offset, 0) for at in known)

    def wait(self) -> None:
        """Until the group has done with all that was published."""
        until(lambda: self.committed() == self.published)

    def check(self) -> None:
        """Every image is there once, in order, and is what one Curves makes of the detections."""
        made = read_topic(self.kafka.bootstrap, self.names.topic("images"))
        for partition, records in read_topic(
            self.kafka.bootstrap, self.names.topic("detections")
        ).items():
            values = [value for _, value in records]
            curves = Curves(INPUTS, MemoryStore())
            wanted = curves.add(wire.read_detections(values)[0]).images
            found, faults = wire.read_images([value for _, value in made[partition]])
            assert not faults
            assert _bytes(found) == _bytes(wanted)


def _bytes(images: Images) -> list[bytes]:
    """Images as they go to Kafka, but for the time at which they were made."""
    images.images["curves_ms"] = 0
    return wire.write_images(images)


class Worker:
    """A worker of the curves span in a thread, in the first free slot of `state_dir`.

    Kafka knows it by `name`, or by its slot if that is None: one of the same name takes its place
    at once, another one only when its session has timed out.
    """

    def __init__(self, stream: Stream, state_dir: Path, name: str | None = "one") -> None:
        self.settings = settings(stream.kafka.bootstrap, stream.names.name, state_dir)
        slot = slots.take(state_dir, stream.names.name, "curves")
        self.slot = slot if name is None else replace(slot, name=f"{stream.names.name}.{name}")
        self.asked = Stop()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            with self.slot, ExitStack() as ending:
                run(self.settings, Part("curves"), self.slot, self.asked, ending)
        except BaseException as exc:
            self.failure = exc

    def stop(self) -> None:
        self.asked.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

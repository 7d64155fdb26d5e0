"""What a campaign strikes: a Kafka and workers under load, each started again when it dies."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from working import Workers

from workers.bench.cards import test_card
from workers.bench.night import Night
from workers.crew import SPANS
from workers.local_kafka import LocalKafka
from workers.publish import make_topic

PARTITIONS = 4
#: Every 50th packet comes twice, the second time on another partition.
TWICE = 50


@dataclass
class House:
    """Kafka, the workers of one namespace, a survey that never pauses, and a reader of labels."""

    folder: Path
    night: Night
    seed: int
    per_s: int
    namespace: str = "chaos"
    published: int = 0  # packets, those that come twice once
    arrived: list[float] = field(default_factory=list)  # when labels came into the reader's hands
    ended: list[str] = field(default_factory=list)  # workers that died without being struck
    _over: threading.Event = field(default_factory=threading.Event)
    _quiet: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.kafka = LocalKafka(self.folder / "kafka")
        self.lock = threading.RLock()  # on the processes
        self._numbers = iter(range(10_000))

    def __enter__(self) -> Self:
        self.kafka.start()
        make_topic(self.client, "survey", PARTITIONS, 1)
        self.workers = Workers(self.kafka, self.namespace, "survey", self.folder)
        self.workers.environment["NIGHTJAR_CLASSIFY_MODELS"] = test_card(
            "crts-rows", self.night.survey, self.folder / "cards"
        )
        for span in SPANS:
            self.start(span)
        self._threads = [
            threading.Thread(target=run) for run in (self._survey, self._watch, self._read)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._quiet.set()
        self._over.set()
        for thread in self._threads:
            thread.join()
        with self.lock:
            for process in self.workers.processes.values():
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        self.kafka.stop()

    @property
    def client(self) -> dict[str, str]:
        return {"bootstrap.servers": self.kafka.bootstrap}

    def start(self, span: str, *instead: str) -> str:
        """One more worker of a span; its name."""
        name = f"{span}-{next(self._numbers)}"
        with self.lock:
            self.workers.start(name, span, *instead)
        return name

    def of(self, span: str) -> list[str]:
        with self.lock:
            return [name for name in self.workers.processes if name.startswith(f"{span}-")]

    def kill(self, name: str) -> None:
        """kill -9; the watch starts it again."""
        self.workers.processes[name].kill()

    def leave(self, name: str) -> int:
        """Ask a worker to end, for good, and kill it where it does not; its exit code.

        As `up` does: the client library may not come back from a commit when Kafka was away.
        """
        with self.lock:
            process = self.workers.processes.pop(name)
        process.terminate()
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            self.ended.append(f"{name}: killed, as it did not end in 20 s")
            process.kill()
            return process.wait()

    def hush(self) -> None:
        """The survey ends; what it published is all there."""
        self._quiet.set()
        self._threads[0].join()

    def packets(self) -> Iterator[bytes]:
        return self.night.packets(self.published)

    def _survey(self) -> None:
        producer = Producer(
            {
                **self.client,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 600_000,
                "queue.buffering.max.messages": 10_000_000,
                "log_level": 0,
            }
        )
        began = time.monotonic()
        while not self._quiet.is_set():
            due = int((time.monotonic() - began) * self.per_s) - self.published
            for value in self.night.packets(due, self.published):
                producer.produce("survey", value, partition=self.published % PARTITIONS)
                if self.published % TWICE == 0:
                    producer.produce("survey", value, partition=(self.published + 1) % PARTITIONS)
                self.published += 1
            producer.poll(0.01)
        assert producer.flush(300) == 0

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            with self.lock:
                for name, process in self.workers.processes.items():
                    if process.poll() is not None:
                        if process.returncode != -signal.SIGKILL:
                            self.ended.append(f"{name}: {process.returncode}")
                        self.workers.start(name, name.split("-")[0])

    def _read(self) -> None:
        reader = Consumer(
            {
                **self.client,
                "group.id": "watch",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "topic.metadata.refresh.interval.ms": 2000,
                "log_level": 0,
            }
        )
        topic = f"{self.namespace}.labels"
        reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        while not self._over.is_set():
            good = [m for m in reader.consume(5000, 0.05) if m.error() is None]
            self.arrived += [time.monotonic()] * len(good)
        reader.close()


def stopped(pid: int) -> bool:
    """Whether a process stands still by a signal; not if it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def stand_still(pid: int, seconds: float) -> float:
    """Stop a process for so long; when it was stopped."""
    os.kill(pid, signal.SIGSTOP)
    at = time.monotonic()
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    return at

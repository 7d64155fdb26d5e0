"""What all stages of one run share: sizes, the night, a Kafka of their own, and its folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from workers.bench import night
from workers.bench.night import Night, Survey
from workers.kafka import admin, transactional
from workers.local_kafka import LocalKafka
from workers.outputs import Records
from workers.publish import Publisher, make_topic
from workers.settings import Settings

#: The network that the targets are of.
FIRST = "crts-rows"
#: Packets that a new Kafka is warmed with: after these its CPU an alert stays the same.
_WARM = 6000


@dataclass
class Bench:
    """One run of the bench. `alerts` and `objects` are sizes asked for, None: the stage's own.

    The first of `models` labels; some stages measure the others beside it.
    """

    settings: Settings
    seed: int = 1
    rounds: int = 3
    alerts: int | None = None
    objects: int | None = None
    survey: Survey | None = None
    files: tuple[Path, ...] = ()
    plot: Path | None = None
    light_curves: Path | None = None
    say: Callable[[str], None] = lambda words: None
    models: tuple[str, ...] = (FIRST,)
    _nights: dict[str, Night] = field(default_factory=dict)
    _topics: int = 0
    _warm: bool = False

    def __post_init__(self) -> None:
        classify = replace(self.settings.classify, models=self.models[:1])
        self.settings = replace(self.settings, classify=classify)

    @property
    def folder(self) -> Path:
        return Path(self.settings.state_dir).absolute() / "bench"

    def nights(self) -> list[Night]:
        """The nights to measure: that of the files, or a simulated one for each survey."""
        if self.files:
            if "files" not in self._nights:
                self._nights["files"] = night.from_files(self.files)
            return [self._nights["files"]]
        return [self.night(s) for s in night.SURVEYS if self.survey in (None, s)]

    def night(self, survey: Survey) -> Night:
        """The simulated night of a survey, made once for all stages."""
        if survey not in self._nights:
            self.say(f"simulating a night of {survey}")
            self._nights[survey] = night.simulated(survey, self.seed, self.alerts)
        return self._nights[survey]

    @cached_property
    def kafka(self) -> LocalKafka:
        """A Kafka in the mode for measurements (facts: C2, 1 GB), started at its first use."""
        return LocalKafka(self.folder / "kafka", mode="measure").start()

    @property
    def client(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.kafka.bootstrap}

    @property
    def kafka_pid(self) -> int:
        assert self.kafka.process is not None
        return self.kafka.process.pid

    @contextlib.contextmanager
    def topic(self, packets: Night, count: int, start: int = 0) -> Iterator[str]:
        """A topic that holds `count` packets of a night, gone again afterwards."""
        self._topics += 1
        name = f"{packets.survey}-{self._topics}"
        self.fill(name, packets, count, start)
        try:
            yield name
        finally:
            self.forget(name)

    def fill(self, topic: str, packets: Night, count: int, start: int = 0) -> int:
        """Publish packets from number `start` on, one partition after the other; how many."""
        make_topic(self.client, topic, self.settings.partitions, 1)
        sent = 0
        with Publisher(self.client, topic) as survey:
            for value in packets.packets(count, start):
                survey.send(value, partition=sent % self.settings.partitions)
                sent += 1
        return sent

    def publish(self, *records: Records) -> None:
        """Write records by one transaction: they become visible all at once."""
        producer = transactional(self.client, "bench")
        producer.init_transactions(20)
        producer.begin_transaction()
        for some in records:
            some.produce(producer)
        producer.commit_transaction(60)

    def warm_up(self) -> None:
        """Walk the whole route once, unrecorded: a Kafka that is new compiles itself for seconds
        (1.2 ms an alert over the first 10,000), and so do kernels that are not cached yet."""
        if self._warm or (self.alerts is not None and self.alerts < _WARM // 10):
            return  # so few alerts are no measurement
        from workers.bench.running import Route

        self._warm = True
        night = self.nights()[0] if self.files else self.night(self.survey or "ztf")
        count = min(_WARM, self.alerts or _WARM)
        with self.topic(night, count) as topic, Route(self, "warm", topic) as route:
            route.start("decode", "curves", "classify")
            route.wait(lambda totals: totals.done(count))

    def forget(self, *topics: str) -> None:
        """Delete topics: a stage leaves no gigabytes to the next."""
        kafka = admin(self.client)  # kept: the requests die with their client
        for gone in kafka.delete_topics(list(topics)).values():
            gone.result(20)

    def __enter__(self) -> Bench:
        shutil.rmtree(self.folder, ignore_errors=True)
        return self

    def __exit__(self, *exc: object) -> None:
        if "kafka" in self.__dict__:
            self.kafka.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

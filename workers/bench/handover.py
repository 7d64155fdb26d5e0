"""Workers replaced one after the other, and killed, under a steady stream: how long labels stop."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import fastavro
import numpy as np
from confluent_kafka import OFFSET_END, TopicPartition

from broker.clock import now_ms
from workers.bench.figures import Figure, figure, most
from workers.bench.running import WARM, Route, idle
from workers.crew import SPANS, Crew
from workers.errors import Failed
from workers.kafka import SESSION_TIMEOUT_MS, TRANSACTION_TIMEOUT_MS, consumer
from workers.publish import Publisher

if TYPE_CHECKING:
    from workers.bench.bench import Bench
    from workers.bench.night import Night

PER_S = 500
#: Of each way.
KILLS = 12
#: A worker that has stood longer is started again at once when it dies.
_STEADY_S = 10.5
_PATIENCE_S = 120.0


class Seen(NamedTuple):
    """A label in a reader's hands; `way` is its partition of the survey's topic, and of labels."""

    seen_ms: int
    published_ms: int
    way: tuple[int, int]


@dataclass
class Stream:
    """Publishes at a steady pace, and reads the labels as anybody may, each in a thread."""

    route: Route
    night: Night
    seen: list[Seen] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def _publish(self) -> None:
        assert self.route.source is not None
        with Publisher(self.route.bench.client, self.route.source) as survey:
            began = time.monotonic()
            for n, value in enumerate(self.night.packets(10**7, WARM)):
                if self._over.wait(max(began + n / PER_S - time.monotonic(), 0)):
                    return
                survey.send(value, partition=n % self.route.settings.partitions)

    def _read(self) -> None:
        reader = consumer(self.route.bench.client)
        topic, count = self.route.topic("labels"), self.route.settings.partitions
        reader.assign([TopicPartition(topic, p, OFFSET_END) for p in range(count)])
        while not self._over.is_set():
            got = [m for m in reader.consume(1000, 0.02) if m.error() is None]
            seen_ms = now_ms()
            for message in got:
                (label,) = fastavro.reader(io.BytesIO(message.value()))
                published = label["elasticcPublishTimestamp"].timestamp() * 1000
                way = label["partition"], message.partition()
                self.seen.append(Seen(seen_ms, round(published), way))
        reader.close()

    def flows(self, since_ms: int) -> bool:
        """Whether alerts that were published since then are labelled, whatever their way."""
        return len(self.first(since_ms)) == self.route.settings.partitions**2

    def first(self, since_ms: int) -> dict[tuple[int, int], int]:
        """When each way's first label came of an alert that was published since then."""
        found: dict[tuple[int, int], int] = {}
        for one in self.seen:
            if one.published_ms > since_ms:
                found.setdefault(one.way, one.seen_ms)
        return found

    def __enter__(self) -> Stream:
        self._threads = [threading.Thread(target=run) for run in (self._publish, self._read)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def measure(bench: Bench) -> list[Figure]:
    """ELAsTiCC's packets at 500 a second, as 61 kB of ZTF each would fill the disk; 8 minutes."""
    kills = bench.alerts or KILLS
    with _streaming(bench, "rolling", 1) as (stream, crews):
        calm = _pause(stream, 5)
        rolls = [_roll(stream, crews[0]) for _ in range(bench.rounds)]
    with _streaming(bench, "restart", 1) as (stream, crews):
        again = [_kill(stream, crews[0], SPANS[i % 3], True) for i in range(kills)]
    with _streaming(bench, "take-over", 2) as (stream, crews):
        taken = [_kill(stream, crews[1], SPANS[i % 3], False) for i in range(kills)]
    bound = (SESSION_TIMEOUT_MS + TRANSACTION_TIMEOUT_MS) / 1000
    p99 = [float(np.percentile(np.concatenate([r.latency_ms for r in rolls]), 99))]
    return [
        figure("all workers replaced, longest gap", [r.gap_s for r in rolls], "s", most(2)),
        figure("packet to label meanwhile, p99", p99, "ms"),
        figure("packet to label before, p99", [float(np.percentile(calm, 99))], "ms"),
        figure("the whole rolling restart", [r.took_s for r in rolls], "s"),
        figure(f"{kills} kills, same slot, p50", [float(np.percentile(again, 50))], "s"),
        figure(f"{kills} kills, same slot, p99", [float(np.percentile(again, 99))], "s"),
        figure(f"{kills} kills, taken over, p50", [float(np.percentile(taken, 50))], "s"),
        figure(
            f"{kills} kills, taken over, p99", [float(np.percentile(taken, 99))], "s", most(bound)
        ),
    ]


@contextmanager
def _streaming(bench: Bench, name: str, workers: int) -> Iterator[tuple[Stream, list[Crew]]]:
    """A steady stream through so many workers of each span."""
    night = bench.night(bench.survey or "elasticc")
    with idle(bench, name, night) as (route, _), ExitStack() as ending:
        for _ in range(workers - 1):
            route.start(*SPANS)
        stream = ending.enter_context(Stream(route, night))
        _until(lambda: stream.flows(now_ms() - 5000), "label the stream")
        yield stream, route.crews


class Roll(NamedTuple):
    """A rolling restart: the longest time without a label, each label's latency, and all of it."""

    gap_s: float
    latency_ms: list[int]
    took_s: float


def _roll(stream: Stream, crew: Crew) -> Roll:
    _pause(stream, 3)
    stream.seen.clear()
    began = now_ms()
    before = [worker.process.pid for worker in crew.workers]
    crew.renew()

    def replaced() -> bool:
        crew.watch()
        return not crew.renewing

    _until(replaced, "replace the workers")
    took = (now_ms() - began) / 1000
    latency = _pause(stream, 4)
    assert not {worker.process.pid for worker in crew.workers} & set(before)
    times = np.array([began, *(one.seen_ms for one in stream.seen)])
    return Roll(float(np.diff(times).max()) / 1000, latency, took)


def _kill(stream: Stream, crew: Crew, span: str, again: bool) -> float:
    """kill -9 of a worker: seconds until alerts published since are labelled, whatever their way.

    It is started again at once, or only when another has taken its place.
    """
    (worker,) = (worker for worker in crew.workers if worker.name == span)
    _until(lambda: time.monotonic() - worker.started > _STEADY_S, "")
    stream.seen.clear()
    killed = now_ms()
    worker.process.kill()

    def flows() -> bool:
        if again:
            crew.watch()
        return stream.flows(killed)

    _until(flows, f"go on after {span} was killed")
    took = (max(stream.first(killed).values()) - killed) / 1000
    crew.watch()
    if not again:
        since = now_ms()
        _until(lambda: time.monotonic() - worker.started > _STEADY_S, "")
        _until(lambda: stream.flows(since), "take a worker in")
    return took


def _pause(stream: Stream, seconds: float) -> list[int]:
    """Let it run for a while; the latencies of all labels that are in hand then."""
    time.sleep(seconds)
    return [one.seen_ms - one.published_ms for one in stream.seen]


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            msg = f"the workers did not {what} in {_PATIENCE_S:.0f} s"
            raise Failed(msg)
        time.sleep(0.02)

"""A stream at half of what the machine can, for long: memory, descriptors, threads and latency.

make soak                      thirty minutes, and a burst
make soak MINUTES=2 RATE=1000  shorter
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import NewTopic
from numpy.typing import NDArray
from streams import label

from workers import log
from workers.bench.bench import Bench
from workers.bench.cards import test_card
from workers.bench.night import Night, simulated
from workers.bench.processes import own_mb
from workers.bench.running import WARM, Route, Rows
from workers.crew import SPANS
from workers.kafka import admin, consumer
from workers.local_kafka import LocalKafka
from workers.publish import Publisher
from workers.settings import Settings

#: Kafka keeps what it needs: a gigabyte or two of each topic, in files that go soon.
KAFKA = {
    "log.segment.bytes": str(64 << 20),
    "log.retention.bytes": str(512 << 20),
    "log.retention.check.interval.ms": "5000",
    "log.segment.delete.delay.ms": "1000",
}
MEASURES = ("MB", "descriptors", "threads")
#: Growth within three standard errors of none is noise; so is less than this over the whole run:
#: an arena of the allocator, a connection that comes and goes.
_SIGMA = 3.0
_NOISE = {"MB": 4.0, "descriptors": 2.0, "threads": 2.0}
#: One label in so many is opened: its latency.
_OPENED = 50


@dataclass(frozen=True)
class Slope:
    """Growth of one number of one worker, over the run's last two thirds."""

    worker: str
    measure: str
    first: float
    last: float
    per_hour: float
    error: float
    grows: bool


@dataclass
class Samples:
    """What was seen every few seconds."""

    at_s: list[float] = field(default_factory=list)
    seen: list[list[tuple[float, int, int]]] = field(default_factory=list)  # (sample, worker)

    def add(self, at_s: float, pids: Sequence[int]) -> None:
        self.at_s.append(at_s)
        self.seen.append([look(pid) for pid in pids])

    def slopes(self, workers: Sequence[str]) -> list[Slope]:
        late = np.array(self.at_s) >= self.at_s[-1] / 3
        hours = np.array(self.at_s)[late] / 3600
        values = np.array(self.seen, float)[late]  # (sample, worker, measure)
        return [
            judged(worker, measure, hours, values[:, i, j])
            for i, worker in enumerate(workers)
            for j, measure in enumerate(MEASURES)
        ]


def look(pid: int) -> tuple[float, int, int]:
    """Memory of its own in MB (without files that it has mapped), descriptors, threads."""
    process = Path(f"/proc/{pid}")
    return own_mb(pid), len(os.listdir(process / "fd")), len(os.listdir(process / "task"))


def judged(
    worker: str, measure: str, hours: NDArray[np.float64], values: NDArray[np.float64]
) -> Slope:
    """A line by least squares; its error allows for samples that follow their neighbours.

    >>> hours = np.arange(100) / 100
    >>> judged("curves", "MB", hours, 500 + np.sin(9 * np.arange(100.0))).grows
    False
    >>> leak = judged("curves", "MB", hours, 500 + 30 * hours + np.sin(9 * np.arange(100.0)))
    >>> leak.grows, round(leak.per_hour)
    (True, 30)
    """
    x = hours - hours.mean()
    slope = float(x @ values / (x @ x))
    left = values - values.mean() - slope * x
    n = len(x)
    spread = left @ left
    follows = float(np.clip(left[1:] @ left[:-1] / spread, 0, 0.95)) if spread > 0 else 0.0
    error = float(np.sqrt(spread / max(n - 2, 1) / (x @ x) * (1 + follows) / (1 - follows)))
    grown = slope * float(hours[-1] - hours[0])
    grows = slope > _SIGMA * error and grown > _NOISE[measure]
    ends = max(n // 10, 1)
    first, last = float(values[:ends].mean()), float(values[-ends:].mean())
    return Slope(worker, measure, first, last, slope, error, grows)


class Survey(threading.Thread):
    """Publishes at a rate until it is told to end; says how many, and whether it kept up."""

    def __init__(self, bench: Bench, topic: str, night: Night, rate: float) -> None:
        super().__init__(name="survey")
        self._bench, self._topic, self._night, self._rate = bench, topic, night, rate
        self.sent = 0
        self.extra = 0  # packets that come at once, beyond the rate
        self.failure: BaseException | None = None
        self.over = threading.Event()

    def run(self) -> None:
        try:
            with Publisher(self._bench.client, self._topic) as survey:
                began = time.monotonic()
                while not self.over.wait(0.02):
                    due = int((time.monotonic() - began) * self._rate) + self.extra - self.sent
                    for value in self._night.packets(due, WARM + self.sent):
                        survey.send(value)
                    self.sent += due
        except BaseException as exc:
            self.failure = exc


class Labels(threading.Thread):
    """Reads labels as anybody may, and opens some: when each was seen, and its packet's age."""

    def __init__(self, route: Route) -> None:
        super().__init__(name="labels")
        self._route = route
        self.seen: list[tuple[float, float]] = []  # (s since the epoch, latency in ms)
        self.count = 0
        self.over = threading.Event()

    def run(self) -> None:
        reader = consumer(self._route.bench.client)
        topic, partitions = self._route.topic("labels"), self._route.settings.partitions
        reader.assign([TopicPartition(topic, p, OFFSET_END) for p in range(partitions)])
        while not self.over.is_set():
            good = [m for m in reader.consume(2000, 0.05) if m.error() is None]
            now = time.time()
            for message in good[::_OPENED]:
                published = label(message.value())["elasticcPublishTimestamp"].timestamp()
                self.seen.append((now, 1000 * (now - published)))
            self.count += len(good)
        reader.close()

    def latencies(self, start: float, end: float) -> tuple[float, float]:
        """p50 and p99 in ms of the labels that were seen between two times."""
        some = [ms for at, ms in self.seen if start <= at < end]
        if not some:
            return float("nan"), float("nan")
        return float(np.percentile(some, 50)), float(np.percentile(some, 99))


@dataclass
class Report:
    """What a soak found."""

    survey: str
    rate: float
    published: int
    outcomes: dict[str, int]
    slopes: list[Slope]
    latency_ms: dict[str, tuple[float, float]]  # p50, p99 of the first and the last third
    burst: int
    burst_s: float  # from its first packet to latencies as before
    most_gb: float  # on disk: Kafka and the light curves

    @property
    def good(self) -> bool:
        return not self.missing and not any(slope.grows for slope in self.slopes)

    @property
    def missing(self) -> int:
        """Packets that have no outcome, or none but that they are lost."""
        return self.published - sum(self.outcomes.values()) + self.outcomes["lost"]

    def text(self) -> str:
        lines = [f"{'':<10}{'':<12}{'first':>9}{'last':>9}{'an hour':>10}{'error':>9}"]
        lines += [
            f"{one.worker:<10}{one.measure:<12}{one.first:>9.1f}{one.last:>9.1f}"
            f"{one.per_hour:>+10.1f}{one.error:>9.1f}{'  GROWS' if one.grows else ''}"
            for one in self.slopes
        ]
        for third, (p50, p99) in self.latency_ms.items():
            lines.append(f"{third} third: packet to label seen, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        lines.append(
            f"{self.published:,} packets of {self.survey}, {self.rate:,.0f} a second and "
            f"{self.burst:,} at once: latency as before after {self.burst_s:.1f} s; "
            f"{self.missing} missing; at most {self.most_gb:.1f} GB on disk"
        )
        lines.append(", ".join(f"{n:,} {outcome}" for outcome, n in self.outcomes.items() if n))
        return "\n".join(lines)


def soak(
    folder: Path,
    minutes: float,
    rate: float,
    name: str,
    seed: int,
    burst: int,
    every_s: float,
    card: str,
) -> tuple[Report, Samples]:
    """Run a stream for so long on a Kafka and workers of its own."""
    night = simulated(name, seed)  # type: ignore[arg-type]
    settings = replace(Settings(), state_dir=folder)
    with Bench(settings, seed) as bench:
        bench.__dict__["kafka"] = LocalKafka(bench.folder / "kafka", 0, "measure", KAFKA).start()
        partitions = settings.partitions
        kafka = admin(bench.client)
        kafka.create_topics([NewTopic("survey", partitions, 1)])["survey"].result(20)
        model = test_card(card, night.survey, folder / "cards")
        with Route(bench, "soak", "survey", model) as route:
            route.start(*SPANS)
            route.wait_ready(*SPANS)
            bench.fill("survey", night, WARM)
            route.wait(lambda totals: totals.done(WARM))
            survey, labels = Survey(bench, "survey", night, rate), Labels(route)
            labels.start()
            survey.start()
            try:
                report, samples = watched(route, survey, labels, minutes, burst, every_s, folder)
            finally:
                survey.over.set()
                survey.join()
                labels.over.set()
                labels.join()
    return replace(report, survey=name, rate=rate), samples


def watched(
    route: Route,
    survey: Survey,
    labels: Labels,
    minutes: float,
    burst: int,
    every_s: float,
    folder: Path,
) -> tuple[Report, Samples]:
    pids = [route.pids()[span] for span in SPANS]
    samples, most_gb = Samples(), 0.0
    start, began = time.time(), time.monotonic()
    while (at_s := time.monotonic() - began) < 60 * minutes:
        samples.add(at_s, pids)
        if len(samples.at_s) % 6 == 1:
            most_gb = max(most_gb, gigabytes(folder))
            p50, p99 = labels.latencies(time.time() - 60, time.time())
            words = " ".join(f"{mb:.0f} MB" for mb, _, _ in samples.seen[-1])
            said = f"{survey.sent:,} sent, p50 {p50:.0f} p99 {p99:.0f} ms, {words}"
            print(f"{at_s / 60:.1f} min: {said}, {most_gb:.1f} GB", file=sys.stderr, flush=True)
        route.wait(lambda totals: time.monotonic() - began >= at_s + every_s)
        assert survey.failure is None, survey.failure
    third = (time.time() - start) / 3
    thirds = {
        "first": labels.latencies(start, start + third),
        "last": labels.latencies(start + 2 * third, start + 3 * third),
    }
    usual = max(3 * thirds["last"][0], 300.0)
    survey.extra = burst
    at_once = time.time()

    def calm(totals: Rows) -> bool:
        now = time.time()
        return bool(now - at_once > 3 and labels.latencies(now - 2, now)[1] <= usual)

    route.wait(calm)
    survey.over.set()
    survey.join()
    assert survey.failure is None, survey.failure
    route.wait(lambda totals: totals.done(WARM + survey.sent))
    slow = [at for at, ms in labels.seen if at > at_once and ms > usual]
    recovered = max(slow, default=at_once) - at_once
    outcomes = route.totals.outcomes()
    slopes = samples.slopes(SPANS)
    return Report(
        "", 0, WARM + survey.sent, outcomes, slopes, thirds, burst, recovered, most_gb
    ), samples


def gigabytes(folder: Path) -> float:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except OSError:  # Kafka has just deleted it
            continue
    return total / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=4000, help="packets a second")
    parser.add_argument("--survey", default="elasticc", choices=("ztf", "lsst", "elasticc"))
    parser.add_argument("--burst", type=int, default=40_000, help="packets at once, at the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--model", default="crts-rows", help="of the labels")
    parser.add_argument("--out", type=Path, help="a JSON file for the samples and the slopes")
    given = parser.parse_args()
    log.configure("console", "error")
    with tempfile.TemporaryDirectory(prefix="nightjar-soak-") as folder:
        report, samples = soak(
            Path(folder),
            given.minutes,
            given.rate,
            given.survey,
            given.seed,
            given.burst,
            given.every,
            given.model,
        )
    print(report.text())
    if given.out:
        given.out.write_text(json.dumps({"report": asdict(report), "samples": asdict(samples)}))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())

"""A paced stream: from a packet's Kafka time to the moment that a reader sees its label."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from confluent_kafka import OFFSET_END, TopicPartition

from broker.clock import now_ms
from workers import report
from workers.bench.figures import Figure, figure, most
from workers.bench.running import WARM, Route, idle
from workers.kafka import consumer
from workers.publish import Publisher

if TYPE_CHECKING:
    from workers.bench.bench import Bench
    from workers.bench.night import Night

PER_S = 2000
SECONDS = 20


@dataclass
class Reader:
    """Reads labels as anybody may (read_committed) and notes when each batch was in its hands."""

    route: Route
    values: list[bytes] = field(default_factory=list)
    seen_ms: list[int] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read, name="labels")

    def _read(self) -> None:
        reader = consumer(self.route.bench.client)
        topic = self.route.topic("labels")
        count = self.route.settings.partitions
        reader.assign([TopicPartition(topic, p, OFFSET_END) for p in range(count)])
        while not self._done.is_set():
            got = [m.value() for m in reader.consume(1000, 0.05) if m.error() is None]
            self.values += got
            self.seen_ms += [now_ms()] * len(got)
        reader.close()

    def __enter__(self) -> Reader:
        self._thread.start()
        time.sleep(1.0)  # it has no way to say that it stands at the end; nothing moves meanwhile
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()


def measure(bench: Bench) -> list[Figure]:
    """ZTF's packets at 2,000 a second: p50 and p99, and the median of each hop."""
    night = bench.night("ztf")
    count = bench.alerts or PER_S * SECONDS
    with idle(bench, "latency", night) as (route, topic), Reader(route) as reader:
        rate = pace(bench, topic, night, count)
        route.wait(lambda totals: totals.done(WARM + count))
        time.sleep(0.2)  # the reader's last batch
    read = report.columns(reader.values, np.array(reader.seen_ms, np.int64))
    stamps = [
        *(read.labels[name] for name in ("elasticcPublishTimestamp", "decoded_ms", "curves_ms")),
        read.labels["classified_ms"],
        read.written_ms,
    ]
    p50, p99 = np.percentile(stamps[-1] - stamps[0], (50, 99))
    hops = ("packet to detection", "detection to image", "image to name", "name to label seen")
    return [
        figure(f"{len(reader.values):,} labels of {night.survey}, paced", [rate], "packets/s"),
        figure("packet to label seen, p50", [p50], "ms", most(300)),
        figure("packet to label seen, p99", [p99], "ms", most(1000)),
        *(
            figure(f"{hop}, median", [float(np.median(after - before))], "ms")
            for hop, before, after in zip(hops, stamps, stamps[1:], strict=False)
        ),
    ]


def pace(bench: Bench, topic: str, night: Night, count: int) -> float:
    """Publish at the pace of a stream; the rate that it had, in packets/s."""
    first, *values = night.packets(count, WARM)
    with Publisher(bench.client, topic) as survey:
        survey.send(first)
        survey.flush()  # connected: a survey's producer has been for hours
        began = time.monotonic()
        for n, value in enumerate(values):
            ahead = began + n / PER_S - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            survey.send(value)  # without a key, as LSST does: the client chooses the partition
        return len(values) / (time.monotonic() - began)

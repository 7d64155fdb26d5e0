"""Consume and decode in one process, beside a bare consume loop on the same topic, in turns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from workers.bench.figures import Figure, figure, in_turns, ratio
from workers.bench.loop import one_pass

if TYPE_CHECKING:
    from workers.bench.bench import Bench

TARGETS = {"ztf": ratio(0.6), "lsst": ratio(0.45), "elasticc": ratio(0.35)}
#: Some 0.5 to 1 GB each.
COUNTS = {"ztf": 12_000, "lsst": 2_500, "elasticc": 150_000}


def measure(bench: Bench) -> list[Figure]:
    """Packets/s for each survey, and the CPU of client and Kafka a packet."""
    rows = []
    for night in bench.nights():
        count = bench.alerts or COUNTS[night.survey]
        with bench.topic(night, count) as topic:
            run = partial(one_pass, bench.client, topic, night.mean_kb * 1000)
            bare, ours = in_turns(
                bench.rounds,
                partial(run, decode=False, kafka_pid=bench.kafka_pid),
                partial(run, decode=True, kafka_pid=bench.kafka_pid),
            )
        target = TARGETS[night.survey]
        rates = [o.rate for o in ours]
        against = ("bare loop", [b.rate for b in bare])
        rows.append(figure(f"{night.survey}", rates, "packets/s", target, against))
        cpu = [o.us for o in ours]
        against = ("bare loop", [b.us for b in bare])
        rows.append(figure(f"{night.survey}, client and Kafka", cpu, "µs CPU", None, against))
    return rows

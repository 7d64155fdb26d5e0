"""The whole path: packets in Kafka to committed labels, with the CPU of every process beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from broker import wire
from workers.bench.cards import test_card
from workers.bench.figures import Figure, figure, least, most
from workers.bench.loop import Pass, one_pass
from workers.bench.running import Cost, Route
from workers.crew import SPANS
from workers.whole import read_whole

if TYPE_CHECKING:
    from workers.bench.bench import Bench
    from workers.bench.night import Night

TARGETS = {"ztf": least(5000), "elasticc": least(8000), "lsst": least(1000)}
#: The whole path may cost so many times what merely consuming costs.
MOST_CPU = 3.0
COUNTS = {"ztf": 20_000, "elasticc": 40_000, "lsst": 3_000}


def measure(bench: Bench) -> list[Figure]:
    """ZTF, LSST's deep field and ELAsTiCC, each from a backlog with all workers at once; targets
    are of the first network.
    """
    first, *others = bench.models
    rows = [row for night in bench.nights() for row in _survey(bench, night, first)]
    for model in others:
        beside = [row for night in bench.nights() for row in _survey(bench, night, model)]
        rows += [
            replace(row, name=f"{row.name}, {model}", target="", reached=None) for row in beside
        ]
    return rows


def _survey(bench: Bench, night: Night, name: str) -> Iterator[Figure]:
    """One survey: the bare loop, the route, the bare loop again, on one topic."""
    count = bench.alerts or COUNTS[night.survey]
    bench.warm_up()
    model = test_card(name, night.survey, bench.folder / "cards")
    with bench.topic(night, count) as topic:
        mean = night.mean_kb * 1000
        bare = partial(one_pass, bench.client, topic, mean, False, bench.kafka_pid)
        bare()
        before = bare()
        with Route(bench, f"route-{name}-{topic}", topic, model) as route:
            ready_ms, costs = route.work_off(count)
            rate = route.totals.rate("classify", ready_ms, count)
            steady = route.totals.steady_rate("classify")
            totals = route.totals.outcomes()
            peaks = route.peaks_mb()
            points = median_points(route)
        yield from _rows(night, (rate, steady), costs, [before, bare()])
    labelled = 100 * totals["labelled"] / max(sum(totals.values()), 1)
    yield figure(f"{night.survey}, reached the network", [labelled], "%", least(90))
    yield figure(f"{night.survey}, points an image, median", [points], "points")
    for worker, mb in peaks.items():
        yield figure(f"{night.survey}, most memory of {worker}", [mb], "MB")


def _rows(
    night: Night, rates: tuple[float, float], costs: dict[str, Cost], bare: list[Pass]
) -> Iterator[Figure]:
    rate, steady = rates
    against = ("bare loop", [sum(b.rate for b in bare) / len(bare)])
    yield figure(f"{night.survey}, whole path", [rate], "alerts/s", TARGETS[night.survey], against)
    yield figure(f"{night.survey}, from the first commit to the last", [steady], "alerts/s")
    bare_us = sum(b.us for b in bare) / len(bare)
    for name in (*SPANS, "kafka"):
        yield figure(f"{night.survey}, CPU of {name}", [costs[name].us], "µs")
    upkeep = costs["upkeep"].us
    yield figure(f"{night.survey}, of Kafka's: compilers, garbage", [upkeep], "µs")
    whole = sum(costs[name].us for name in (*SPANS, "kafka"))
    target = most(MOST_CPU * bare_us) if night.survey == "ztf" else None
    yield figure(f"{night.survey}, CPU of all", [whole], "µs", target, ("bare loop", [bare_us]))
    yield figure(f"{night.survey}, cores at work", [rate * whole / 1e6], "cores")


def median_points(route: Route) -> float:
    """Median over the images of the measurements in all their bands."""
    counts = []
    for messages in read_whole(route.bench.client, route.topic("images")):
        images, _ = wire.read_images([m.value() for m in messages])
        total = np.concatenate([[0], np.cumsum(images.blocks["n"])])
        counts.append(total[images.first_block[1:]] - total[images.first_block[:-1]])
    return float(np.median(np.concatenate(counts))) if counts else 0.0

"""The curves span: light curves grown by an alert each, in memory alone and as a worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from broker import wire
from broker.clock import now_ms
from broker.curves import Curves
from broker.records import Detections
from broker.store import MemoryStore
from models import cards
from workers.bench import growing
from workers.bench.figures import Figure, Target, figure, in_turns, least, most, thread_us
from workers.bench.processes import cpu_s
from workers.bench.running import Route, Rows
from workers.outputs import Records
from workers.route import keyed

if TYPE_CHECKING:
    from workers.bench.bench import Bench

#: Points of a light curve -> µs an alert in memory, alerts/s of the span, objects.
_SIZES = {30: (15.0, 15_000, 4000), 235: (60.0, 8_000, 1500)}
#: Alerts of each object in one turn.
_EACH = 4
_IN_MEMORY = 400


def measure(bench: Bench) -> list[Figure]:
    """30 and 235 points an object: CPU in memory; then one worker with Kafka and its store."""
    rows = []
    for points, (most_us, _, _) in _SIZES.items():
        (ours,) = in_turns(bench.rounds, turn(points, bench.seed))
        name = f"{points} points, in memory, add and commit"
        rows.append(figure(name, ours, "µs an alert", most(most_us)))
    first, *others = bench.models
    for points, (_, at_least, objects) in _SIZES.items():
        many = bench.objects or objects
        rows += _worker(bench, points, many, first, least(at_least))
        for model in others:
            rows += _worker(bench, points, many, model, None, f", {model}")
    return rows


def turn(points: int, seed: int, objects: int = _IN_MEMORY) -> Callable[[], float]:
    """One turn: µs an alert to add and commit one new point to each light curve, 4 times over."""
    inputs = cards.find("crts-shallow").inputs
    numbers = range(1, _EACH + 1)
    first = growing.alerts(objects, 0, points - _EACH // 2, seed)
    batches = list(growing.several(objects, numbers, points - _EACH // 2, seed))

    def one() -> float:
        curves = Curves(inputs, MemoryStore())
        curves.add(first)
        curves.commit()

        def add() -> None:
            for batch in batches:
                curves.add(batch)
                curves.commit()

        return thread_us(add, objects * _EACH)

    return one


def records(topic: str, detections: Detections, partitions: int) -> Records:
    """The records that the decode span writes of these alerts."""
    return keyed(topic, detections.alerts, wire.write_detections(detections), partitions)


def _worker(
    bench: Bench,
    points: int,
    objects: int,
    model: str,
    target: Target | None,
    whose: str = "",
) -> list[Figure]:
    """One curves worker; each turn's alerts become visible at once, by one transaction of ours."""
    rounds = bench.rounds + 1  # the first is not recorded
    held = points - rounds * _EACH // 2
    partitions = bench.settings.partitions
    rates, worker_us, kafka_us = [], [], []
    with Route(bench, f"curves-{points}-{model}", model=model) as route:
        topic = route.topic("detections")
        bench.publish(records(topic, growing.alerts(objects, 0, held, bench.seed), partitions))
        route.start("curves")
        there = objects
        route.wait(partial(_taken, there))
        for number in range(rounds):
            numbers = range(number * _EACH + 1, (number + 1) * _EACH + 1)
            batches = growing.several(objects, numbers, held, bench.seed)
            some = [records(topic, batch, partitions) for batch in batches]
            new = objects * len(numbers)
            pids = route.pids()
            bench.publish(*some)
            visible_ms = now_ms()
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            there += new
            route.wait(partial(_taken, there))
            used = {name: 1e6 * (cpu_s(pid) - before[name]) for name, pid in pids.items()}
            rates.append(route.totals.rate("curves", visible_ms, new))
            worker_us.append(used["curves"] / new)
            kafka_us.append(used["kafka"] / new)
        passed = route.totals.tallies["curves"]["passed"]
        assert passed == there, f"{there - passed} alerts were not new"
    name = f"{points} points, one worker{whose}"
    return [
        figure(name, rates[1:], "alerts/s", target),
        figure(f"{name}, its CPU", worker_us[1:], "µs an alert"),
        figure(f"{name}, Kafka's CPU", kafka_us[1:], "µs an alert"),
    ]


def _taken(there: int, totals: Rows) -> bool:
    return totals.decided("curves") >= there

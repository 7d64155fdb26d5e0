"""A curves worker with many light curves started again: in its own slot, and from the topic."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from broker.clock import now_ms
from workers.bench import growing
from workers.bench.curves import records
from workers.bench.figures import Figure, figure, least, most
from workers.bench.running import Route, Rows

if TYPE_CHECKING:
    from workers.bench.bench import Bench

OBJECTS = 300_000
POINTS = 30
_PART = 10_000
_NEW_ALERTS = 1000


def measure(bench: Bench) -> list[Figure]:
    """300,000 objects of 30 points (`--objects 1000000` for the whole), one worker."""
    objects = bench.objects or OBJECTS
    with Route(bench, f"restart-{objects}") as route:
        route.start("classify")
        route.start("curves")
        _fill(bench, route, objects)
        disk = sum(
            file.stat().st_blocks * 512
            for file in (bench.folder / "state" / route.name / "curves").rglob("*")
            if file.is_file()
        )
        same, _ = _again(bench, route, objects, 1)
        gone = bench.folder / "state" / route.name / "curves"
        anew, restoring = _again(bench, route, objects, 2, forget=lambda: shutil.rmtree(gone))
    return [
        figure(f"{objects:,} objects, same slot, first label", [same], "s", most(10)),
        figure("without local state, first label", [anew], "s"),
        figure("without local state, restored", [objects / restoring], "objects/s", least(50_000)),
        figure("local state, an object of 30 points", [disk / objects], "B"),
    ]


def _fill(bench: Bench, route: Route, objects: int) -> None:
    """Let the worker build all light curves, 30 points each, brought by one alert."""
    topic = route.topic("detections")
    detections = growing.alerts(objects, 0, POINTS, bench.seed)
    for begin in range(0, objects, _PART):
        end = min(begin + _PART, objects)
        part = growing.some(detections, begin, end)
        bench.publish(records(topic, part, bench.settings.partitions))
    route.wait(partial(_named, objects))


def _again(
    bench: Bench,
    route: Route,
    objects: int,
    number: int,
    forget: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Stop the worker, let alerts wait, start it: seconds to the first label, and of restoring."""
    route.stop("curves")
    forget()
    waiting = growing.some(
        growing.alerts(objects, number, POINTS, bench.seed), 0, min(_NEW_ALERTS, objects)
    )
    bench.publish(records(route.topic("detections"), waiting, bench.settings.partitions))
    before = len(route.totals.commits["classify"])
    began = now_ms()
    route.start("curves")
    route.wait(lambda totals: len(totals.commits["classify"]) > before)
    first = route.totals.commits["classify"][before][0]
    ready = route.said_ms("curves", "share")[-1]
    loaded = route.said_ms("curves", "start")[-1]
    total = objects + number * min(_NEW_ALERTS, objects)
    route.wait(partial(_named, total))
    return (first - began) / 1000, max(ready - loaded, 1) / 1000


def _named(there: int, totals: Rows) -> bool:
    return min(totals.decided("curves"), totals.decided("classify")) >= there

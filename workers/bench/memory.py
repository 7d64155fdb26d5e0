"""Memory that grows with what was named, and bytes that a light curve takes in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from broker.curves import Curves
from broker.store import MemoryStore
from models import cards
from workers.bench import growing
from workers.bench.cards import test_card
from workers.bench.figures import Figure, figure, most
from workers.bench.processes import own_mb
from workers.bench.running import Route, Rows
from workers.crew import SPANS

if TYPE_CHECKING:
    from workers.bench.bench import Bench

ALERTS = 40_000
#: Growth is judged only over a run that is long against caches and allocators that fill up.
_LONG = 500_000
#: Packets that wait for the workers at any time, at most.
_AHEAD = 20_000
_POINTS, _STORE_BYTES = 235, 8_000
_MB_PER_MILLION = 50.0


def measure(bench: Bench) -> list[Figure]:
    """A run of ELAsTiCC's packets (`--alerts 1000000` for the whole), and a store in memory."""
    return [*_growth(bench), *_stored(bench)]


def _growth(bench: Bench) -> list[Figure]:
    night = bench.night("elasticc")
    count = bench.alerts or ALERTS
    model = test_card(bench.settings.classify.models[0], night.survey, bench.folder / "cards")
    samples: list[tuple[int, list[float]]] = []
    with (
        bench.topic(night, min(_AHEAD, count)) as topic,
        Route(bench, f"memory-{topic}", topic, model) as route,
    ):
        route.start(*SPANS)
        route.wait_ready(*SPANS)
        pids = [route.pids()[span] for span in SPANS]

        def look(totals: Rows) -> None:
            done = sum(totals.outcomes().values())
            if not samples or done - samples[-1][0] >= count / 200:
                samples.append((done, [own_mb(pid) for pid in pids]))

        sent = min(_AHEAD, count)
        while True:
            route.wait(_near(sent, count), look)
            if sent == count:
                break
            more = min(_AHEAD // 2, count - sent)
            bench.fill(topic, night, more, start=sent)
            sent += more
    later = [(done, mb) for done, mb in samples if done >= count / 3]
    done = np.array([d for d, _ in later], float) / 1e6
    held = np.array([mb for _, mb in later])
    goal = most(_MB_PER_MILLION) if count >= _LONG else None
    rows = []
    for column, span in enumerate(SPANS):
        grown = float(np.polyfit(done, held[:, column], 1)[0]) if len(done) > 2 else float("nan")
        name = f"{span}, own memory grows, {count:,} alerts"
        rows.append(figure(name, [grown], "MB per million", goal))
        rows.append(figure(f"{span}, own memory at the end", [held[-1, column]], "MB"))
    return rows


def _near(sent: int, count: int) -> Callable[[Rows], bool]:
    """Whether half of what was sent last is taken; at the end, whether all is named."""

    def near(totals: Rows) -> bool:
        return (
            totals.done(count) if sent == count else totals.consumed["decode"] > sent - _AHEAD // 2
        )

    return near


def _stored(bench: Bench) -> list[Figure]:
    """Light curves of 235 points in a store in memory: its bytes, and those of their counts."""
    objects = 200
    store = MemoryStore()
    curves = Curves(cards.find("crts-shallow").inputs, store)
    for number in range(2):
        added = curves.add(growing.alerts(objects, number, _POINTS - 1, bench.seed))
        curves.commit()
    counts = int(added.images.blocks["counts"]["length"].sum()) / objects
    whole = store.nbytes / objects
    name = f"an object of {_POINTS} points"
    return [
        figure(f"{name}, stored without its counts", [whole - counts], "B", most(_STORE_BYTES)),
        figure(f"{name}, its counts (sparse)", [counts], "B"),
    ]

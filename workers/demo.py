"""The whole route shown once: a simulated sky, a real Kafka, the workers, and what came of it."""

from __future__ import annotations

import shutil
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from broker.clock import now_ms
from broker.packets import Shares, Simulation
from workers import classifiers, naming, report, topics
from workers.assembly import make
from workers.crew import Crew, spans_of
from workers.errors import Failed
from workers.follow import Follower
from workers.local_kafka import LocalKafka
from workers.progress import Progress
from workers.publish import Publisher, make_topic

if TYPE_CHECKING:
    from workers.settings import Settings

OBJECTS = 300
NIGHTS = 120
TOPIC = "ztf_demo_programid1"
#: The last packets come as a survey would send them, so that latency means something.
LIVE_PACKETS = 2000
LIVE_PER_S = 200.0
_PATIENCE_S = 120.0


def demo(settings: Settings, objects: int = OBJECTS, nights: int = NIGHTS, seed: int = 1) -> None:
    """Simulate, publish, name and sum up; under 3 minutes on two cores.

    Raises
    ------
    Failed
        An alert was left without an outcome, or the workers made no headway.
    """
    console = Console()
    folder = Path(settings.state_dir) / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    known = classifiers.of(settings)
    with LocalKafka(folder / "kafka", mode="measure") as node:
        settings = replace(settings.using(node.bootstrap).reading(TOPIC), state_dir=folder)
        client = settings.kafka.client()
        namespace = known.namespace(settings.namespace)
        make(settings, namespace)
        make_topic(client, TOPIC, settings.partitions, 1)
        simulation = Simulation(
            "ztf",
            objects,
            nights,
            seed,
            shares=Shares(solar_system=0.01, repeated=0.01, corrupt=0.001),
            # both filters twice on a good night: short periods need pairs minutes to hours apart
            visits_per_night=2,
            visited=0.27,
        )
        survey = Publisher(client, TOPIC)
        console.print(
            f"Apache Kafka on {node.bootstrap}; {objects} objects over {nights} nights of a survey"
        )
        backlog, tonight = _publish(survey, simulation)
        crew = Crew(spans_of(settings), settings.environment(), logs=folder / "logs")
        groups = topics.classifying(namespace)
        follower = Follower(client, namespace.topic("ledger"), groups)
        crew.start()
        try:
            rate = _drain(follower, crew, backlog)
            since_ms = now_ms()
            _live(survey, follower, crew, tonight, backlog)
        finally:
            crew.stop()
            totals = follower.read(0.5)
            follower.close()
        every = report.read_labels(client, namespace.topic("labels"))
        truth = simulation.truth()
        kinds = {
            o.encode(): k
            for o, k in zip(truth["object"].to_pylist(), truth["kind"].to_pylist(), strict=True)
        }
        for card, group in zip(known.models, groups, strict=False):
            read = every.of(card.classifier)
            if len(known.models) > 1:
                console.rule(f"{card.classifier}", align="left")
            console.print(report.outcomes(totals, group))
            for table in naming.names(read, kinds, card):
                console.print(table)
            console.print(report.latency(read, since_ms))
        console.print(
            f"{rate:,.0f} alerts/s from the first label to the last of the backlog, every one "
            f"committed\nlabels: topic {namespace.topic('labels')}, kept in {folder / 'kafka'}; "
            f"logs of the workers in {folder / 'logs'}\nread them again: nightjar kafka "
            f"--local-kafka.data-dir {folder / 'kafka'}, then nightjar labels"
        )
        if not totals.settled:
            msg = "the sum does not close: some alerts have no outcome yet"
            raise Failed(msg)


def _publish(survey: Publisher, simulation: Simulation) -> tuple[int, list[bytes]]:
    """Publish all but the last packets as they are made; how many, and those that were kept."""
    kept: deque[bytes] = deque()
    sent = 0
    with Progress("simulate, publish", unit="packets") as progress:
        for value, _, _ in simulation.packets():
            kept.append(value)
            if len(kept) > LIVE_PACKETS:
                survey.send(kept.popleft())
                sent += 1
                progress.at(sent)
        survey.flush()
    return sent, list(kept)


def _drain(follower: Follower, crew: Crew, packets: int) -> float:
    """Wait until the backlog is named; its rate in alerts/s between the first and last commit."""
    first: tuple[float, int] | None = None
    with Progress("name", total=packets, unit="alerts") as progress:
        headway, at = time.monotonic(), 0
        while not follower.read(0.1).done(packets):
            crew.watch()
            done = sum(follower.totals.outcomes().values())
            if done and first is None:
                first = time.monotonic(), done
            if done > at:
                headway, at = time.monotonic(), done
            elif time.monotonic() - headway > _PATIENCE_S:
                msg = f"no headway for {_PATIENCE_S:.0f} s; the workers' logs say why"
                raise Failed(msg)
            progress.at(done)
    if first is None:
        return 0.0
    began, done = first
    return (packets - done) / max(time.monotonic() - began, 1e-3)


def _live(
    survey: Publisher, follower: Follower, crew: Crew, packets: list[bytes], before: int
) -> None:
    """Publish at the pace of a stream and follow it to its end."""
    began = time.monotonic()
    with Progress("tonight", total=len(packets), unit="alerts") as progress:
        for n, value in enumerate(packets):
            ahead = began + n / LIVE_PER_S - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            survey.send(value)
            if n % 50 == 0:
                progress.at(n)
        survey.flush()
        while not follower.read(0.1).done(before + len(packets)):
            crew.watch()
        progress.at(len(packets))

"""An archive walked again: to a Parquet file in one process, or to a namespace of its own."""

from __future__ import annotations

import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from broker import archive
from broker.curves import Curves
from broker.inputs import Inputs
from broker.records import OUTCOMES, DeadLetter, Packets
from broker.store import MemoryStore
from workers import classifiers, topics
from workers.assembly import made, make
from workers.crew import Crew, spans_of
from workers.errors import Failed
from workers.follow import Follower
from workers.pages import Pages
from workers.parquet import Labelled
from workers.progress import Progress
from workers.publish import Publisher, make_topic
from workers.registry import decoder
from workers.route import Straight, final_outcomes
from workers.whole import read_whole

if TYPE_CHECKING:
    from workers.settings import Settings


@dataclass(slots=True)
class Summary:
    """What a replay did; `text` says it to people."""

    where: str
    warm_alerts: int | None
    outcomes: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def alerts(self) -> int:
        return sum(n for outcome, n in self.outcomes.items() if outcome != "notice")

    def text(self) -> str:
        parts = " + ".join(f"{n:,} {outcome}" for outcome, n in self.outcomes.items() if n)
        lines = [f"{self.alerts:,} alerts = {parts or 'nothing'}"]
        if self.dead:
            why = ", ".join(f"{n} {reason}" for reason, n in self.dead.most_common())
            lines.append(f"dead letters: {why}")
        rate = self.alerts / self.seconds if self.seconds else 0
        lines.append(f"{self.seconds:.1f} s, {rate:,.0f} alerts/s; labels in {self.where}")
        if self.warm_alerts is None:
            lines.append(
                "no --warm-up: light curves begin with the histories that these packets carry, so "
                "labels differ from those of a broker that watched before"
            )
        else:
            lines.append(f"warmed up with {self.warm_alerts:,} alerts")
        return "\n".join(lines)


def to_parquet(
    settings: Settings, sources: Sequence[str], warm_up: Sequence[str], out: Path
) -> Summary:
    """Replay to one Parquet file, in this process, without Kafka (unless a source is a topic).

    Each classifier has a row for each alert; those on trial have a file of their own, OUT.shadow.
    The file appears only when it is whole. Dead letters, if any, stand beside it with their bytes.

    Raises
    ------
    Failed
        A source that there is not; a full disk.
    """
    known = classifiers.of(settings)
    networks = [made(settings, card) for card in (*known.models, *known.shadows)]
    route = Straight(
        decoder(settings),
        Curves(known.inputs, MemoryStore()),
        [network.classify for network in networks],
    )
    summary = Summary(str(out), None)
    began = time.monotonic()
    places = {out: known.models, out.with_suffix(".shadow.parquet"): known.shadows}
    files = [Labelled(path, [c.classes for c in some]) for path, some in places.items() if some]
    written = [file for file in files for _ in file.classes]  # of each classifier in turn
    dead: list[DeadLetter] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if warm_up:
            with Progress("warm-up", unit="alerts") as progress:
                summary.warm_alerts = 0
                for packets in _packets(settings, warm_up):
                    summary.warm_alerts += route.warm_up(packets)
                    progress.at(summary.warm_alerts)
        read = False
        with Progress("replay", unit="alerts") as progress:
            for packets in _packets(settings, sources):
                read = True
                named = route.name(packets)
                dead += named.dead
                for outcome in final_outcomes(named.labels[0]).tolist():
                    summary.outcomes[OUTCOMES[outcome]] += 1
                for outcome in ("duplicate", "corrected"):
                    n = int((named.outcome == OUTCOMES.index(outcome)).sum())
                    summary.outcomes[outcome] += n
                summary.outcomes["dead"] += len(named.dead)
                for labels, file in zip(named.labels, written, strict=True):
                    file.write(labels)
                progress.at(summary.alerts)
        if not read:
            msg = f"nothing to replay in {', '.join(sources)}"
            raise Failed(msg)
        if dead:
            pq.write_table(_dead_table(dead), out.with_suffix(".dead.parquet"))
        for file in files:
            file.finish()
    except OSError as exc:
        msg = f"{out} could not be written: {exc.strerror or exc}"
        raise Failed(msg) from exc
    finally:
        for file in files:
            file.discard()
    summary.dead = Counter(letter.reason for letter in dead)
    summary.seconds = time.monotonic() - began
    return summary


def to_namespace(settings: Settings, sources: Sequence[str], warm_up: Sequence[str]) -> Summary:
    """Replay through workers of its own into the settings' namespace, which must be new.

    Raises
    ------
    Failed
        The namespace is in use; a source that there is not.
    """
    known = classifiers.of(settings)
    client = settings.kafka.client()
    name = settings.namespace
    topics.refuse_if_used(client, name)
    namespace = known.namespace(name)
    make(settings, namespace)
    summary = Summary(f"{namespace.topic('labels')} on {settings.kafka.bootstrap_servers}", None)
    if warm_up:
        summary.warm_alerts = _warm_namespace(settings, known.inputs, warm_up)
    began = time.monotonic()
    source = f"{name}.packets"
    # one partition: with more, decode could take an object's alerts in another order than time's
    make_topic(client, source, 1, settings.kafka.replication)
    crew = Crew(spans_of(settings), settings.environment(topics=[source]))
    follower = Follower(client, namespace.topic("ledger"), topics.classifying(namespace))
    sent = 0
    survey = Publisher(client, source)
    with Progress("replay", unit="packets") as progress:
        crew.start()
        try:
            for packets in _packets(settings, sources):
                for value in packets.values:
                    survey.send(value)
                sent += len(packets.values)
                crew.watch()
                progress.at(follower.read(0).consumed["decode"], sent)
            survey.flush()
            while not follower.read(0.2).done(sent):
                crew.watch()
                progress.at(follower.totals.consumed["decode"], sent)
        finally:
            crew.stop()
            follower.close()
    summary.outcomes = Counter(follower.totals.outcomes())
    summary.seconds = time.monotonic() - began
    return summary


def _warm_namespace(settings: Settings, inputs: Inputs, sources: Sequence[str]) -> int:
    """Light curves of earlier nights, written as pages of the changelog: the workers restore them
    like those of a predecessor, so no label is made of them."""
    curves = Curves(inputs, MemoryStore())
    reading = decoder(settings)
    pages = f"{settings.namespace}.curves"
    alerts = 0
    with (
        Progress("warm-up", unit="alerts") as progress,
        Pages(settings.kafka.client(), pages, settings.partitions) as changelog,
    ):
        for packets in _packets(settings, sources):
            detections, _ = reading.decode(packets)
            changelog.add(detections.alerts, curves.add(detections).pages)
            curves.commit()
            alerts += len(detections)
            progress.at(alerts)
    return alerts


def _packets(settings: Settings, sources: Sequence[str]) -> Iterator[Packets]:
    """Packets of all sources in order of time and id; a source that is no file is a topic."""
    with tempfile.TemporaryDirectory(prefix="nightjar-") as folder:
        paths = []
        for number, source in enumerate(sources):
            path = Path(source)
            if not path.exists():
                path = Path(folder) / f"{number}-{source.replace('/', '_')}.lenpfx"
                _spool(settings.kafka.client(), source, path)
            paths.append(path)
        yield from archive.read(paths)


def _spool(client: Mapping[str, Any], topic: str, path: Path) -> None:
    """A finished topic as a length-prefixed file, so that it can be read in order of time.

    Raises
    ------
    Failed
        There is neither a file nor a topic of that name.
    """
    if topic not in topics.listed(client):
        msg = f"{topic!r} is neither a file here nor a topic at {client['bootstrap.servers']}"
        raise Failed(msg)
    with path.open("wb") as file:
        for messages in read_whole(client, topic):
            for message in messages:
                value = message.value() or b""
                file.write(struct.pack("<I", len(value)) + value)


def _dead_table(dead: Sequence[DeadLetter]) -> pa.Table:
    return pa.table(
        {
            "reason": [d.reason for d in dead],
            "error": [d.error for d in dead],
            "topic": [d.topic for d in dead],
            "partition": np.array([d.partition for d in dead], np.int32),
            "offset": np.array([d.offset for d in dead], np.int64),
            "record": np.array([d.record for d in dead], np.int32),
            "value": pa.array([d.value for d in dead], pa.binary()),
        }
    )

"""Workers at work on a namespace of their own, watched from outside: ledger, CPU, memory."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workers import classifiers, topics
from workers.bench.processes import cpu_s, peak_rss_mb, upkeep_s
from workers.crew import SPANS, Crew
from workers.errors import Failed
from workers.follow import Follower, Totals

if TYPE_CHECKING:
    from workers.bench.bench import Bench
    from workers.bench.night import Night

#: Packets that an idle route has named before it is measured.
WARM = 1000
#: Kernels that are not cached yet take a minute or two to compile on a busy machine.
_PATIENCE_S = 300.0


@dataclass
class Rows(Totals):
    """The ledger's sums, and each span's transactions: (committed_ms, alerts decided).

    Alerts are counted by their outcomes: offsets also count the marks that transactions leave.
    """

    commits: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: {span: [] for span in SPANS}
    )

    def add(self, row: Mapping[str, Any]) -> None:
        Totals.add(self, row)
        decided = sum(part["count"] for part in row["tallies"])
        self.commits[row["span"]].append((row["committed_ms"], decided))

    def decided(self, span: str) -> int:
        """Alerts that a span has decided on."""
        return sum(self.tallies[span].values())

    def rate(self, span: str, since_ms: int, count: int) -> float:
        """The span's last `count` alerts, per second from `since_ms` to its last commit.

        Not from its first commit: a span that commits seldom would have done much by then.
        """
        return count / max(self.commits[span][-1][0] - since_ms, 1) * 1000

    def steady_rate(self, span: str) -> float:
        """Alerts/s from a span's first commit to its last, without those of the first."""
        (first, _), (last, _) = self.commits[span][0], self.commits[span][-1]
        taken = sum(n for _, n in self.commits[span][1:])
        return taken / (last - first) * 1000 if last > first else float("nan")


@dataclass
class Cost:
    """CPU of one process for so many alerts."""

    seconds: float
    alerts: int

    @property
    def us(self) -> float:
        return self.seconds / max(self.alerts, 1) * 1e6


@dataclass
class Route:
    """Worker processes as `up` starts them, one for each span, with state in the bench's folder."""

    bench: Bench
    name: str
    source: str | None = None
    model: str | None = None
    program: str = "workers"  # that the processes run
    crews: list[Crew] = field(default_factory=list)

    def __post_init__(self) -> None:
        bench = self.bench
        settings = bench.settings.using(bench.kafka.bootstrap).within(bench.folder / "state")
        if self.source is not None:
            settings = settings.reading(self.source)
        if self.model is not None:
            settings = replace(settings, classify=replace(settings.classify, models=(self.model,)))
        self.settings = replace(
            settings, namespace=self.name, log=replace(settings.log, format="json", level="info")
        )
        self.namespace = classifiers.of(self.settings).namespace(self.name)
        topics.ensure(bench.client, self.namespace, settings.partitions, 1)
        self.follower = Follower(bench.client, self.topic("ledger"))
        self.totals = self.follower.totals = Rows()

    def topic(self, kind: str) -> str:
        return self.namespace.topic(kind)

    def start(self, *spans: str) -> None:
        """Start one worker for each span."""
        logs = self.bench.folder / "logs" / self.name
        crew = Crew(spans, self.settings.environment(), logs, self.program)
        crew.start()
        self.crews.append(crew)

    def pids(self) -> dict[str, int]:
        """Process of each span, and Kafka's."""
        workers = {w.name: w.process.pid for crew in self.crews for w in crew.workers}
        return workers | {"kafka": self.bench.kafka_pid}

    def said_ms(self, span: str, event: str) -> list[int]:
        """When a worker's log tells of an event, in Unix ms."""
        log = self.bench.folder / "logs" / self.name / f"{span}.log"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [json.loads(line) for line in lines if f'"event": "{event}"' in line]
        return [
            round(datetime.fromisoformat(line["timestamp"]).timestamp() * 1000) for line in found
        ]

    def wait_ready(self, *spans: str) -> None:
        self._wait(lambda: all(map(self.ready, spans)), "be ready")

    def wait(
        self, done: Callable[[Rows], bool], each: Callable[[Rows], object] = lambda totals: None
    ) -> None:
        """Follow the ledger until it is `done`; `each` sees it on the way, some 20 times a second.

        Raises
        ------
        Failed
            A worker died, or there was no headway.
        """

        def arrived() -> bool:
            self.follower.read(0.05)
            each(self.totals)
            return done(self.totals)

        self._wait(arrived, "come to the end", lambda: sum(self.totals.consumed.values()))

    def work_off(self, count: int) -> tuple[int, dict[str, Cost]]:
        """Name a backlog of `count` alerts; when decode was ready (Unix ms), and what it cost.

        The network takes seconds to load: decode is started when it is, or it would have done its
        work before, with the cores to itself.
        """
        self.start("curves", "classify")
        self.wait_ready("curves", "classify")
        self.start("decode")
        costs = self.follow(lambda totals: totals.done(count))
        return self.said_ms("decode", "share")[0], costs

    def follow(self, done: Callable[[Rows], bool]) -> dict[str, Cost]:
        """Follow the ledger to the end; what each process cost from the moment it was ready.

        What a worker does before (imports, kernels, joining its group) is its start, not its work;
        Kafka's share counts from the moment that all are ready; `upkeep` is the part of it that a
        new Java process spends on compiling itself and on garbage.
        """
        begun: dict[str, float] = {}
        upkeep: list[float] = []
        kafka = self.bench.kafka_pid

        def look(totals: Rows) -> None:
            for name, pid in self.pids().items():
                ready = self.ready(name) if name in SPANS else len(begun) == len(self.pids()) - 1
                if name not in begun and ready:
                    begun[name] = cpu_s(pid)
                    if name not in SPANS:
                        upkeep.append(upkeep_s(kafka))

        self.wait(done, look)
        costs = {
            name: Cost(
                cpu_s(pid) - begun[name],
                self.totals.decided(name if name in SPANS else SPANS[0]),
            )
            for name, pid in self.pids().items()
        }
        return costs | {"upkeep": Cost(upkeep_s(kafka) - upkeep[0], costs["kafka"].alerts)}

    def ready(self, span: str) -> bool:
        """Whether a worker has its share of the partitions, and so all that it needs is loaded."""
        return bool(self.said_ms(span, "share"))

    def peaks_mb(self) -> dict[str, float]:
        return {name: peak_rss_mb(pid) for name, pid in self.pids().items()}

    def stop(self, *spans: str) -> None:
        """Stop the crews of these spans; all of them if none is named."""
        for crew in list(self.crews):
            if not spans or set(crew.spans) <= set(spans):
                crew.stop()
                self.crews.remove(crew)

    def _wait(
        self,
        arrived: Callable[[], bool],
        what: str,
        headway: Callable[[], object] = lambda: None,
    ) -> None:
        at, since = headway(), time.monotonic()
        while not arrived():
            for crew in self.crews:
                for worker in crew.workers:
                    if worker.process.poll() is not None:
                        msg = f"the {worker.name} worker died; {self._last_words(worker.name)}"
                        raise Failed(msg)
            if headway() != at:
                at, since = headway(), time.monotonic()
            elif time.monotonic() - since > _PATIENCE_S:
                words = "\n".join(
                    f"{span}: {dict(self.totals.tallies[span])}\n{self._last_words(span)}"
                    for crew in self.crews
                    for span in crew.spans
                )
                msg = f"the workers did not {what} in {_PATIENCE_S:.0f} s\n{words}"
                raise Failed(msg)
            time.sleep(0.01)

    def _last_words(self, span: str) -> str:
        log = self.bench.folder / "logs" / self.name / f"{span}.log"
        return "\n".join(log.read_text().splitlines()[-3:]) if log.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.follower.close()
        known = topics.listed(self.bench.client)
        self.bench.forget(*(name for name in known if name.startswith(f"{self.name}.")))


@contextlib.contextmanager
def idle(bench: Bench, name: str, night: Night) -> Iterator[tuple[Route, str]]:
    """A route that stands ready and warm on its topic, with nothing to do; and that topic."""
    bench.warm_up()
    with bench.topic(night, WARM) as topic, Route(bench, f"{name}-{topic}", topic) as route:
        route.start(*SPANS)
        route.wait_ready(*SPANS)
        route.wait(lambda totals: totals.done(WARM))
        yield route, topic

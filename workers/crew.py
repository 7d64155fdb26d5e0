"""Worker processes of one machine: started, started again when they die, stopped in order."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workers.log import logger
from workers.process import inheritance

if TYPE_CHECKING:
    from workers.settings import Settings

#: In the order of the route.
SPANS = ("decode", "curves", "classify")
#: A worker for the networks on trial, in a process of its own: one that fails stops nobody else.
SHADOW = "shadow"
#: A worker that dies again within this time waits longer before its next start.
_QUICK_S = 10.0
_LONGEST_PAUSE_S = 10.0


def spans_of(settings: Settings) -> tuple[str, ...]:
    """The workers that a stream needs."""
    return (*SPANS, SHADOW) if settings.classify.shadow else SPANS


@dataclass(slots=True)
class Worker:
    """One process and what is known of its deaths."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    started: float
    pause: float = 0.0
    again_at: float | None = None
    heir: subprocess.Popen[bytes] | None = None  # takes its place as soon as it is ready

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        return [self.process] if self.heir is None else [self.process, self.heir]


@dataclass(slots=True)
class Crew:
    """Runs `nightjar work SPAN` once for each of `spans`, in sessions of their own: a Ctrl-C in the
    terminal reaches only the parent, which then stops them in the order of the route.

    `logs` is a folder for their output; None leaves it on the parent's.
    """

    spans: Sequence[str]
    environment: Mapping[str, str]
    logs: Path | None = None
    program: str = "workers"  # the module that is run
    workers: list[Worker] = field(default_factory=list)
    _renewed: list[Worker] = field(default_factory=list)  # those whose turn is yet to come

    def start(self) -> None:
        for span in self.spans:
            command = [sys.executable, "-m", self.program, "work", span]
            self.workers.append(Worker(span, command, self._spawn(span, command), time.monotonic()))

    def renew(self) -> None:
        """Have each worker replaced by a new process, one after the other, by `watch`.

        The new one loads all that it needs, asks the old one to end, and takes its place: the span
        stands still for less than a second. Where a new one fails before, the old one goes on.
        """
        self._renewed = list(self.workers)

    @property
    def renewing(self) -> bool:
        return bool(self._renewed) or any(worker.heir for worker in self.workers)

    def watch(self) -> None:
        """Start again whatever has died, and go on with what `renew` asked for; call it now and
        then."""
        now = time.monotonic()
        if self._renewed and not any(worker.heir for worker in self.workers):
            worker = self._renewed.pop(0)
            command = [*worker.command, "--instead-of", str(worker.process.pid)]
            worker.heir = self._spawn(worker.name, command)
        for worker in self.workers:
            code = worker.process.poll()
            if worker.heir is not None and code is not None:
                worker.process, worker.heir = worker.heir, None
                worker.started, worker.again_at = now, None
                logger().info("worker replaced", worker=worker.name, pid=worker.process.pid)
                code = worker.process.poll()
            if worker.heir is not None and worker.heir.poll() is not None:
                logger().error(
                    "a worker's replacement ended, so those that stand go on",
                    worker=worker.name,
                    exit=worker.heir.returncode,
                )
                worker.heir = None
                self._renewed.clear()
            if code is None:
                continue
            if worker.again_at is None:
                quick = now - worker.started < _QUICK_S
                worker.pause = min(max(2 * worker.pause, 0.2), _LONGEST_PAUSE_S) if quick else 0.0
                worker.again_at = now + worker.pause
                logger().error(
                    "worker died", worker=worker.name, exit=code, again_in_s=worker.pause
                )
            if now >= worker.again_at:
                worker.process = self._spawn(worker.name, worker.command)
                worker.started, worker.again_at = now, None

    def stop(self, timeout_s: float = 8.0) -> bool:
        """SIGTERM to each in the order of the route; True if all ended by themselves in time.

        A second Ctrl-C meanwhile kills them: what was not committed is found again.
        """
        deadline = time.monotonic() + timeout_s
        clean = True
        try:
            for process in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            for worker in self.workers:
                for process in worker.processes:
                    try:
                        process.wait(max(deadline - time.monotonic(), 0.1))
                    except subprocess.TimeoutExpired:
                        logger().error("worker does not stop", worker=worker.name)
                        clean = False
        finally:
            self.kill()
        return clean

    def kill(self) -> None:
        for process in self._processes():
            if process.poll() is None:
                process.kill()
        for process in self._processes():
            process.wait()

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [process for worker in self.workers for process in worker.processes]

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        environment = {**inheritance(), **self.environment, "NIGHTJAR_CREW": "1"}
        # a worker watches this pipe: it ends when the parent is gone, however that went
        if self.logs is None:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, start_new_session=True
            )
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

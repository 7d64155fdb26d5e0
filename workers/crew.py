"""Worker processes of one machine: started, started again when they die, stopped in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.log import logger

#: In the order of the route.
SPANS = ("decode", "curves", "classify")
#: A worker that dies again within this time waits longer before its next start.
_QUICK_S = 10.0
_LONGEST_PAUSE_S = 10.0


@dataclass(slots=True)
class Worker:
    """One process and what is known of its deaths."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    started: float
    pause: float = 0.0
    again_at: float | None = None


@dataclass(slots=True)
class Crew:
    """Runs `nightjar work SPAN` once for each of `spans`, in sessions of their own: a Ctrl-C in the
    terminal reaches only the parent, which then stops them in the order of the route.

    `logs` is a folder for their output; None leaves it on the parent's.
    """

    spans: Sequence[str]
    environment: Mapping[str, str]
    logs: Path | None = None
    workers: list[Worker] = field(default_factory=list)

    def start(self) -> None:
        for span in self.spans:
            command = [sys.executable, "-m", "workers", "work", span]
            self.workers.append(Worker(span, command, self._spawn(span, command), time.monotonic()))

    def watch(self) -> None:
        """Start again whatever has died; call it now and then."""
        now = time.monotonic()
        for worker in self.workers:
            code = worker.process.poll()
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
            for worker in self.workers:
                with contextlib.suppress(ProcessLookupError):
                    worker.process.send_signal(signal.SIGTERM)
            for worker in self.workers:
                try:
                    worker.process.wait(max(deadline - time.monotonic(), 0.1))
                except subprocess.TimeoutExpired:
                    logger().error("worker does not stop", worker=worker.name)
                    clean = False
        finally:
            self.kill()
        return clean

    def kill(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
        for worker in self.workers:
            worker.process.wait()

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.environment, "NIGHTJAR_CREW": "1"}
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

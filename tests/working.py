"""Real worker processes on a namespace, started, killed and stopped by a test's hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from workers.local_kafka import LocalKafka


class Workers:
    """Real worker processes on a namespace, started again by hand."""

    def __init__(self, kafka: LocalKafka, namespace: str, source: str, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "NIGHTJAR_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "NIGHTJAR_NAMESPACE": namespace,
            "NIGHTJAR_SOURCE_TOPICS": source,
            "NIGHTJAR_STATE_DIR": str(folder / "state"),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, span: str | None = None, *instead: str) -> None:
        """Start a worker of `span`, else of `name`; `instead` of `-m workers`, another program."""
        program = instead or ("-m", "workers")
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *program, "work", span or name],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def stop(self) -> dict[str, int]:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(15) for name, process in self.processes.items()}

    def logs(self) -> str:
        return "\n".join(
            f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log"))
        )

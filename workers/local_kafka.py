"""A real Apache Kafka on loopback, from Python packages alone: no Java on the machine is used.

What a start needs is made once (`workers.kafka_files.prepare`): the jars, the marks of a formatted
folder, and a cache of loaded classes that halves the time to a ready broker.
"""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from workers import java, kafka_files
from workers.errors import Failed
from workers.guard import Guard
from workers.ports import (
    HOST,
    answers,
    describe_process,
    free_port,
    lock_owner,
    port_is_free,
    port_owner,
)

#: Ends the broker when the pipe on its standard input closes, that is, when the process that holds
#: the other end is gone, however it went. Not PR_SET_PDEATHSIG: that follows the *thread* that
#: started the child, and needs code between fork and exec in a process full of threads.
WATCH = """
import os, signal, sys, time
broker = int(sys.argv[1])
sys.stdin.buffer.read()
try:
    os.kill(broker, signal.SIGTERM)
    for _ in range(200):
        time.sleep(0.05)
        os.kill(broker, 0)
    os.kill(broker, signal.SIGKILL)
except ProcessLookupError:
    pass
"""


class LocalKafka:
    """One Kafka node of its own on loopback: a context manager.

    Parameters
    ----------
    data_dir
        Its data; made and formatted when empty, taken up again otherwise.
    port
        0 takes a free one.
    mode
        `test` or `measure`, see `workers.java.FLAGS`.
    settings
        Broker settings over `SETTINGS`.
    guard
        TLS and passwords at its door, over the same folder at every start; None lets in whoever
        is on this machine.

    The broker has a session of its own, so that Ctrl-C in the terminal does not reach it before
    the workers are done, and ends with the process that started it (not with one that was forked
    from that without exec and lives on).
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        mode: java.Mode = "test",
        settings: Mapping[str, str] | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.port = port
        self.mode: java.Mode = mode
        self.settings = dict(settings or {})
        self.guard = guard
        self.log_path = self.data_dir / "kafka.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def bootstrap(self) -> str:
        """What clients take as `bootstrap.servers`."""
        return f"{HOST}:{self.port}"

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the broker and wait until it answers.

        Raises
        ------
        Failed
            The port or the data folder is in use, or the broker stopped or did not answer in time.
        """
        home = kafka_files.prepare()
        self._claim()
        properties = kafka_files.format_folder(
            self.data_dir, home, self.port, self.settings, self.guard
        )
        command = java.java_command(home, java.FLAGS[self.mode])
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                [*command, "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=java.java_environment(),
            )
        # -I -S: nothing of the caller's environment decides what the watch imports; 15 ms.
        self._watch = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", WATCH, str(self.process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_ready(time.monotonic() + timeout_s)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, timeout_s: float = 30.0) -> None:
        """SIGTERM, wait until it has closed its files (0.2-0.5 s); SIGKILL after `timeout_s`."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a failing machine would."""
        self._end(signal.SIGKILL, 30.0)

    def wait(self) -> None:
        """Stay until the broker ends by itself, which it should not.

        Raises
        ------
        Failed
            It ended.
        """
        if self.process is not None:
            code = self.process.wait()
            msg = f"Kafka stopped with {code}; {last_words(self.log_path, self._log_start)}"
            raise Failed(msg)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _end(self, what: signal.Signals, timeout_s: float) -> None:
        process, watch = self.process, self._watch
        self.process = self._watch = None
        if process is not None:
            process.send_signal(what)  # nothing where it has ended already
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if watch is not None:
            watch.kill()
            watch.wait()
            if watch.stdin is not None:
                watch.stdin.close()

    def _claim(self) -> None:
        """See that nobody else has the data folder or the port."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"the data folder {self.data_dir} cannot be made: {error.strerror}"
            raise Failed(msg) from None
        # A broker whose parent was killed just now may still be closing its files.
        deadline = time.monotonic() + 3.0
        while (owner := lock_owner(self.data_dir / ".lock")) is not None:
            if time.monotonic() > deadline:
                msg = (
                    f"the data folder {self.data_dir} is in use by another Kafka "
                    f"({describe_process(owner)}); stop that one, or choose another folder"
                )
                raise Failed(msg)
            time.sleep(0.05)
        if self.port == 0:
            self.port = free_port()
        elif not port_is_free(self.port):
            owner = port_owner(self.port)
            who = f"is taken by {describe_process(owner)}" if owner else "is taken"
            msg = f"port {self.port} on {HOST} {who}; stop that process, or choose another port"
            raise Failed(msg)

    def _wait_ready(self, deadline: float) -> None:
        """Return once the broker answers a metadata request: then it takes work."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        admin = None
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                msg = f"Kafka stopped at start; {last_words(self.log_path, self._log_start)}"
                raise Failed(msg)
            if admin is None:
                if not answers(self.port):
                    time.sleep(0.01)
                    continue
                admin = AdminClient(
                    {"bootstrap.servers": self.bootstrap, "reconnect.backoff.ms": "20"}
                    | {"log_level": "0"}
                    | (self.guard.client(next(iter(self.guard.users))) if self.guard else {})
                )
            try:
                if admin.list_topics(timeout=1.0).brokers:
                    return
            except KafkaException:
                continue
        words = last_words(self.log_path, self._log_start)
        msg = f"Kafka did not answer on {self.bootstrap} in time; {words}"
        raise Failed(msg)


def last_words(log_path: Path, start: int = 0, lines: int = 3) -> str:
    """The last errors of the broker's log from byte `start`, and where the whole of it is."""
    text = log_path.read_bytes()[start:].decode(errors="replace").splitlines()
    trace = re.compile(r"\s+at |\s+\.\.\. ")
    telling = [
        line
        for before, line in itertools.pairwise(["", *text])
        if not trace.match(line) and (" ERROR " in line or " ERROR " in before)
    ]
    return "\n  ".join([f"the whole log is {log_path}", *(telling or text)[-lines:]])

"""A real Apache Kafka on loopback, from Python packages alone: no Java on the machine is used.

What a start needs is made once (`prepare`): the jars, an empty folder's first checkpoint, and a
cache of loaded classes that takes a start from about 2 s to 0.7 s.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from workers import java
from workers.errors import Failed
from workers.ports import (
    HOST,
    describe_process,
    free_port,
    lock_owner,
    port_is_free,
    port_owner,
)

CHECKPOINT = "bootstrap.checkpoint"
Mode = Literal["test", "measure"]
#: `test` starts in little memory and compiles little; `measure` is what a figure is taken with:
#: C1 with the serial collector costs 4-29 % of the rate and up to twice the CPU per message.
FLAGS: Mapping[Mode, tuple[str, ...]] = {
    "test": ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "measure": ("-Xmx1g",),
}
#: One node holds everything once. The cleaner stays on: at 10-20 commits a second the offsets and
#: transaction topics would grow without end. 1 partition instead of 50 for those topics: the
#: coordinators load in a tenth of the time.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(16 << 20),
    "replica.fetch.max.bytes": str(16 << 20),
    "log.cleaner.enable": "true",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
}
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
        `test` or `measure`, see `FLAGS`.
    settings
        Broker settings over `SETTINGS`.
    home, flags
        Where `prepare` put its things, and more flags for Java: for `prepare` itself.

    The broker has a session of its own, so that Ctrl-C in the terminal does not reach it before
    the workers are done, and ends with the process that started it (not with one that was forked
    from that without exec and lives on).
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        mode: Mode = "test",
        settings: Mapping[str, str] | None = None,
        home: Path | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.port = port
        self.mode: Mode = mode
        self.settings = dict(settings or {})
        self.home = home
        self.flags = flags
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
        home = self.home or prepare()
        self._claim()
        properties = self._format(home)
        command = java.java_command(home, (*FLAGS[self.mode], *self.flags))
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

    def _format(self, home: Path) -> Path:
        """Write what StorageTool would (a JVM of its own, 0.7-1.3 s), and the settings.

        `bootstrap.checkpoint` holds the feature levels: without it KIP-848 groups fail.
        """
        meta = self.data_dir / "meta.properties"
        if not meta.exists():
            checkpoint = (home / CHECKPOINT).read_bytes()
            (self.data_dir / CHECKPOINT).write_bytes(checkpoint)
            meta.write_text(
                f"version=1\ncluster.id={kafka_id()}\nnode.id=1\ndirectory.id={kafka_id()}\n"
            )
        properties = self.data_dir / "server.properties"
        write_properties(properties, self.data_dir, self.port, self.settings)
        return properties

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
                with socket.socket() as probe:
                    probe.settimeout(1.0)
                    if probe.connect_ex((HOST, self.port)) != 0:
                        time.sleep(0.01)
                        continue
                admin = AdminClient(
                    {"bootstrap.servers": self.bootstrap, "reconnect.backoff.ms": "20"}
                    | {"log_level": "0"}
                )
            try:
                if admin.list_topics(timeout=1.0).brokers:
                    return
            except KafkaException:
                continue
        msg = f"Kafka did not answer on {self.bootstrap} in time; {last_words(self.log_path, self._log_start)}"
        raise Failed(msg)


def write_properties(
    path: Path, data_dir: Path, port: int, settings: Mapping[str, str] | None = None
) -> None:
    """Write server.properties. The controller's port may change from start to start, as the
    quorum is given here (`controller.quorum.voters`) and not kept in the metadata."""
    controller = free_port()
    lines = SETTINGS | {
        "log.dirs": str(data_dir),
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        **(settings or {}),
    }
    path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))


def kafka_id() -> str:
    """A random id as Kafka writes it: 16 bytes in base64url without padding, no leading dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text


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


def prepare() -> Path:
    """Make what every start needs, where it is not there: 45 MB of jars and 15-60 s, once.

    Returns
    -------
    Path
        The folder that holds it, beside the interpreter.

    Raises
    ------
    Failed
        No network on the first use, or a jar is not the pinned one.
    """
    home = java.home()
    ready = home / "ready"
    if ready.exists():
        return home
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"Kafka's jars have no place: {home} cannot be made ({error.strerror})"
        raise Failed(msg) from None
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first starts at once: the second finds it made
        if not ready.exists():
            java.fetch(home / "jars")
            make_checkpoint(home)
            make_aot_cache(home)
            ready.touch()
    return home


def make_checkpoint(home: Path) -> None:
    """Keep what Kafka's own StorageTool writes into an empty folder: the feature levels."""
    with tempfile.TemporaryDirectory() as name:
        data, properties = Path(name) / "data", Path(name) / "server.properties"
        write_properties(properties, data, port=9092)
        command = java.java_command(home, ("-XX:TieredStopAtLevel=1",))
        command += ["kafka.tools.StorageTool", "format", "-t", kafka_id(), "-c", str(properties)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=java.java_environment()
        )
        if done.returncode != 0:
            msg = f"Kafka's StorageTool failed: {(done.stderr or done.stdout).strip()[-400:]}"
            raise Failed(msg)
        shutil.copy(data / CHECKPOINT, home / CHECKPOINT)


def make_aot_cache(home: Path) -> None:
    """Run a broker once, so that Java keeps its classes loaded and linked (JEP 514, 64 MB)."""
    fresh = home / f"{java.AOT_CACHE}.new"
    with tempfile.TemporaryDirectory() as name:
        kafka = LocalKafka(
            Path(name) / "data", home=home, flags=(f"-XX:AOTCacheOutput={fresh}",)
        ).start()
        kafka.stop(timeout_s=120.0)  # the cache is written at the exit: 5-6 s
        if not fresh.exists():
            msg = f"Java wrote no AOT cache; {last_words(kafka.log_path)}"
            raise Failed(msg)
    fresh.rename(home / java.AOT_CACHE)

"""What a local Kafka starts from: settings, the marks of a formatted folder, the AOT cache."""

from __future__ import annotations

import base64
import fcntl
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from workers import java
from workers.errors import Failed
from workers.guard import Guard, write_private
from workers.ports import HOST, answers, free_port

CHECKPOINT = "bootstrap.checkpoint"
#: One node holds everything once. The cleaner stays on: at 10-20 commits a second the offsets and
#: transaction topics would grow without end. 1 partition instead of 50 for those topics: the
#: coordinators load in a tenth of the time. Transactions that timed out are looked for each second
#: instead of each ten: so long a worker that takes another's place waits for what that one left
#: open. The node's session keeps Kafka's 9 s, though one that was killed is taken up again only
#: when its last has ended: with 3 s it put itself out 77 times in half an hour of a busy disk, as
#: its own heartbeat waits for an fsync (one of 10 s was seen; of a node that put itself out, 4.0.2
#: once gave the groups' coordinator back only at its next start: "out of sync with the underlying
#: log", then "Not coordinator"). Segments of 128 MB: after a kill the last one of each partition is
#: read back before anything goes on, and at Kafka's 1 GB that took 40 s.
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
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(16 << 20),
    "replica.fetch.max.bytes": str(16 << 20),
    "log.segment.bytes": str(128 << 20),
    "log.cleaner.enable": "true",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
}


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
        _format(home, properties)
        shutil.copy(data / CHECKPOINT, home / CHECKPOINT)


def _format(home: Path, properties: Path, guard: Guard | None = None) -> None:
    """Have Kafka's own tool mark a folder, with the users of `guard`: Kafka must know them before
    it starts, as it is one of them. Their passwords go through a file of arguments."""
    java_, *flags = java.java_command(home, ("-XX:TieredStopAtLevel=1",))
    words = [*flags, "kafka.tools.StorageTool", "format", "-t", kafka_id(), "-c", str(properties)]
    words += guard.enrolled() if guard else []
    with tempfile.TemporaryDirectory() as name:
        arguments = Path(name) / "arguments"
        write_private(arguments, "".join(f"{_quoted(word)}\n" for word in words))
        done = subprocess.run(
            [java_, f"@{arguments}"],
            capture_output=True,
            text=True,
            check=False,
            env=java.java_environment(),
        )
    if done.returncode != 0:
        msg = f"Kafka's StorageTool failed: {(done.stderr or done.stdout).strip()[-400:]}"
        raise Failed(msg)


def _quoted(word: str) -> str:
    """As Java's launcher reads it in a file of arguments."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def make_aot_cache(home: Path) -> None:
    """Run a broker once, so that Java keeps its classes loaded and linked (JEP 514, 64 MB)."""
    fresh = home / f"{java.AOT_CACHE}.new"
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        properties = format_folder(folder, home, port)
        command = java.java_command(home, (*java.FLAGS["test"], f"-XX:AOTCacheOutput={fresh}"))
        with (folder / "kafka.log").open("w+b") as log:
            broker = subprocess.Popen(
                [*command, "kafka.Kafka", str(properties)],
                stdout=log,
                stderr=log,
                env=java.java_environment(),
            )
            deadline = time.monotonic() + 60.0
            while not answers(port) and time.monotonic() < deadline and broker.poll() is None:
                time.sleep(0.1)
            broker.terminate()
            broker.wait(120)  # the cache is written at the exit: 5-6 s
            if not fresh.exists():
                log.seek(0)
                msg = f"Java made no AOT cache: {log.read().decode(errors='replace')[-400:]}"
                raise Failed(msg)
    fresh.rename(home / java.AOT_CACHE)


def format_folder(
    data_dir: Path,
    home: Path,
    port: int,
    settings: Mapping[str, str] | None = None,
    guard: Guard | None = None,
) -> Path:
    """Write what StorageTool would (a JVM of its own, 0.7-1.3 s), and server.properties.

    `bootstrap.checkpoint` holds the feature levels: without it KIP-848 groups fail. With a guard it
    holds the users as well, so there the tool itself must write it.
    """
    meta = data_dir / "meta.properties"
    properties = data_dir / "server.properties"
    write_properties(properties, data_dir, port, settings, guard)
    if not meta.exists() and guard is not None:
        _format(home, properties, guard)
    elif not meta.exists():
        shutil.copy(home / CHECKPOINT, data_dir / CHECKPOINT)
        meta.write_text(
            f"version=1\ncluster.id={kafka_id()}\nnode.id=1\ndirectory.id={kafka_id()}\n"
        )
    return properties


def write_properties(
    path: Path,
    data_dir: Path,
    port: int,
    settings: Mapping[str, str] | None = None,
    guard: Guard | None = None,
) -> None:
    """Write server.properties. The controller's port may change from start to start, as the
    quorum is given here (`controller.quorum.voters`) and not kept in the metadata."""
    controller = free_port()
    door = "SASL_SSL" if guard else "PLAINTEXT"
    lines = SETTINGS | {
        "log.dirs": str(data_dir),
        "listeners": f"{door}://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        **(guard.broker(port) if guard else {}),
        **(settings or {}),
    }
    write_private(path, "".join(f"{key}={value}\n" for key, value in lines.items()))


def kafka_id() -> str:
    """A random id as Kafka writes it: 16 bytes in base64url without padding, no leading dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text

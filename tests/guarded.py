"""The whole route behind TLS and passwords, on a night in which packets say what they please."""

from __future__ import annotations

import io
import ipaddress
import os
import re
import time
import urllib.request
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import fastavro
from commands import Standing, nightjar
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from broker.packets import Shares, Simulation
from workers.follow import Follower
from workers.guard import Guard
from workers.local_kafka import LocalKafka
from workers.whole import read_whole

TOPIC = "survey-alerts"
#: Passwords with what parts words elsewhere; the second reaches us by an environment variable.
OURS, THEIRS = "on us: 50%,x=y;\\z", "Their5ecret,too"
VARIABLE = "SURVEY_PASSWORD"
#: Names that an object may have (printable ASCII without a blank or #), and others.
TAKEN = ("../../../x", "<script>alert(1)</script>", "$(reboot)", "'/etc/passwd'", '{a="b"}')
REFUSED = ("two\nlines", "nul\0nul", "\x1b[2J\x1b]0;owned\x07", "x" * 10_000, "\u202egnp.exe", " ")


class House:
    """`nightjar up` on a guarded Kafka: ours as one user, the survey's cluster as another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guard = Guard.make(folder / "guard", {"nightjar": OURS, "survey": THEIRS})
        self.password = folder / "password"
        self.password.write_text(OURS + "\n")
        self.password.chmod(0o600)
        self.kafka = LocalKafka(folder / "kafka", guard=self.guard)
        shares = Shares(solar_system=0.02, corrupt=0.02)
        night = Simulation("ztf", 10, 40, 1, cutouts=False, shares=shares)
        packets = [value for value, _, _ in night.packets()]
        self.hostile = [_saying(value, i) for i, value in enumerate(_sane())]
        self.values = [*packets, *self.hostile]
        self.standing: Standing

    def __enter__(self) -> House:
        self.kafka.start()
        self.settings = {
            "kafka_bootstrap_servers": self.kafka.bootstrap,
            "kafka_security": self.security("nightjar", f"file:{self.password}"),
            "source_bootstrap_servers": self.kafka.bootstrap,
            "source_security": self.security("survey", f"env:{VARIABLE}"),
            "source_topics": TOPIC,
        }
        self._publish()
        self.standing = Standing("up", cwd=self.folder, log_level="debug", **self.settings)
        return self

    def __exit__(self, *exc: object) -> None:
        if hasattr(self, "standing"):
            self.standing.__exit__()
        self.kafka.stop()

    def security(self, user: str, password: str) -> str:
        said = self.guard.client(user) | {"sasl.password": password}
        return ",".join(f"{name}={value}" for name, value in said.items())

    def nightjar(self, *words: str, **other: str) -> CompletedProcess[str]:
        return nightjar(*words, cwd=self.folder, **(self.settings | other))

    def wait(self) -> None:
        """Until every alert has its outcome."""
        deadline = time.monotonic() + 120
        follower = Follower(self.client, "nightjar.ledger")
        try:
            while not follower.read(0.2).done(len(self.values)):
                assert time.monotonic() < deadline, self.standing.output.read_text()
        finally:
            follower.close()

    @property
    def client(self) -> dict[str, str]:
        return {"bootstrap.servers": self.kafka.bootstrap, **self.guard.client("nightjar")}

    def workers(self) -> list[int]:
        """Process ids of the workers that `up` started."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            if parent == self.standing.process.pid:
                found.append(int(stat.parent.name))
        return found

    def pages(self) -> list[str]:
        """What each worker serves under /metrics."""
        places = re.findall(r"at=(http://\S+)", self.standing.output.read_text())
        pages = []
        for place in places:
            with urllib.request.urlopen(place, timeout=5) as page:
                assert page.headers["Content-Type"].startswith("text/plain")
                pages.append(page.read().decode())
        return pages

    def records(self) -> dict[str, list[bytes]]:
        """Whatever stands in the topics of the namespace: values, keys, headers."""
        kafka = AdminClient(self.client)
        found: dict[str, list[bytes]] = {}
        for topic in kafka.list_topics(timeout=10).topics:
            if topic.startswith("nightjar."):
                some = found.setdefault(topic, [])
                for message in (m for messages in read_whole(self.client, topic) for m in messages):
                    some += [message.value() or b"", message.key() or b""]
                    some += [text for _, text in message.headers() or ()]
        return found

    def _publish(self) -> None:
        client = {"bootstrap.servers": self.kafka.bootstrap, **self.guard.client("survey")}
        kafka = AdminClient(client)  # kept: the request dies with its client
        kafka.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(20)
        producer = Producer({**client, "linger.ms": 5})
        for number, value in enumerate(self.values):
            producer.produce(TOPIC, value, partition=number % 2)
        assert producer.flush(30) == 0


def _sane() -> list[bytes]:
    """A good packet for each hostile word, and one more."""
    night = Simulation("ztf", 30, 30, 2, cutouts=False, shares=Shares(0, 0, 0, 0, 0))
    values = [value for value, _, _ in night.packets()]
    return values[: len(TAKEN) + len(REFUSED) + 1]


def _saying(value: bytes, number: int) -> bytes:
    """The packet with a hostile word wherever it has a string; the last has it in its schema."""
    words = [*TAKEN, *REFUSED]
    reader = fastavro.reader(io.BytesIO(value))
    (alert,) = reader
    schema: Any = reader.writer_schema
    if number < len(words):
        alert["candid"] += number + 1
        alert["candidate"]["candid"] = alert["candid"]
        alert["objectId"] = words[number]
        alert["publisher"] = words[number]
        alert["candidate"]["programpi"] = words[number]
        alert["candidate"]["rbversion"] = words[number]
    out = io.BytesIO()
    fastavro.writer(out, schema, [alert])
    if number < len(words):
        return out.getvalue()
    # a type that an error repeats, and as long as the word it replaces
    return out.getvalue().replace(b'"double"', b'"\\u001b"', 1)


def listening(pid: int) -> set[str]:
    """Addresses on which a process takes connections, as the kernel tells."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(link))
        except OSError:  # closed meanwhile
            continue
    found = set()
    for table, words in (("tcp", 1), ("tcp6", 4)):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            field = row.split()
            if field[3] == "0A" and f"socket:[{field[9]}]" in sockets:  # 0A: LISTEN
                found.add(_address(field[1].partition(":")[0], words))
    return found


def _address(text: str, words: int) -> str:
    """The kernel writes each word of four bytes in the machine's order."""
    raw = b"".join(bytes.fromhex(text[8 * i : 8 * i + 8])[::-1] for i in range(words))
    address = ipaddress.ip_address(raw)
    return str(getattr(address, "ipv4_mapped", None) or address)

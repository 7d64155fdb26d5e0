"""More than the workers can take, and a Kafka that stands still: nothing grows, nobody leaves."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from commands import Standing
from streams import publish, until
from test_up import command_line

from workers.bench.night import Night, simulated
from workers.bench.processes import own_mb
from workers.follow import Follower
from workers.ports import free_port

BURST = 6000
#: A worker may hold 32 MB that are fetched ahead, 64 MB of a transaction and what it makes of them.
MOST_MB = 300.0


def scraped(up: Standing, metric: str) -> float:
    """The sum of a metric over all workers."""
    total = 0.0
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)/metrics", up.output.read_text()):
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            found = re.search(rf"^nightjar_{metric} ([0-9.e+]+)$", answer.read().decode(), re.M)
        assert found is not None
        total += float(found[1])
    return total


def processes(folder: Path, words: bytes) -> list[int]:
    """Those that `up` started with these words in their command, by the folder they work in."""
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if words in (line := command_line(process))
        and (str(folder).encode() in line or works_in(process, folder))
    ]


def works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:  # it has ended meanwhile
        return False


@pytest.mark.long
def test_a_burst_while_kafka_stands_still_now_and_then(tmp_path: Path) -> None:
    """Memory stays bounded, nobody is put out of a group, and labels are prompt again at once."""
    port = str(free_port())
    bootstrap = f"127.0.0.1:{port}"
    night = simulated("elasticc", 5, 1500)
    with Standing("up", cwd=tmp_path, local_kafka_port=port) as up:
        up.wait_for("publish packets here")
        follower = Follower({"bootstrap.servers": bootstrap}, "nightjar.ledger")
        sent = send(bootstrap, night, 0, 300)
        until(lambda: follower.read(0.1).done(sent), 180)
        workers = processes(tmp_path, b"workers\0work")
        assert len(workers) == 3
        rebalances = scraped(up, "rebalances_total")
        before = [own_mb(pid) for pid in workers]
        (kafka,) = processes(tmp_path, b"kafka.Kafka")

        sent = send(bootstrap, night, sent, BURST)
        most = before
        for _ in range(3):
            os.kill(kafka, signal.SIGSTOP)
            time.sleep(2.5)
            most = [max(m, own_mb(pid)) for m, pid in zip(most, workers, strict=True)]
            os.kill(kafka, signal.SIGCONT)
            follower.read(0.5)
        until(lambda: follower.read(0.1).done(sent), 120)
        most = [max(m, own_mb(pid)) for m, pid in zip(most, workers, strict=True)]
        assert all(m - b < MOST_MB for m, b in zip(most, before, strict=True)), (before, most)

        began = time.monotonic()
        sent = send(bootstrap, night, sent, 50)
        until(lambda: follower.read(0.05).done(sent), 30)
        assert time.monotonic() - began < 5
        assert scraped(up, "rebalances_total") == rebalances
        assert scraped(up, "fenced_total") == 0
        assert follower.totals.received == sent
        assert follower.totals.outcomes()["dead"] <= sent * 0.01
        follower.close()
        assert up.interrupt()[0] == 0


def send(bootstrap: str, night: Night, start: int, count: int) -> int:
    """Publish packets, all at once; how many there are now."""
    publish(bootstrap, "alerts", list(night.packets(count, start)), 4)
    return start + count

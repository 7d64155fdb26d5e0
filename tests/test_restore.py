"""Light curves stand where their group does, whatever became of the store beside the worker."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pytest
from confluent_kafka import Producer
from curving import INPUTS, PARTITIONS, Record, Stream, Worker, detections
from streams import until

from broker import wire
from broker.curves import Curves
from broker.store import MemoryStore
from workers import kafka as kafka_clients
from workers import restore, slots, standing
from workers.counting import RestoreMetrics
from workers.errors import Failed
from workers.intake import Rebalanced
from workers.kafka import transactional
from workers.local_kafka import LocalKafka
from workers.restore import Changelog
from workers.standing import Standing
from workers.state import DiskStore


@pytest.fixture(scope="module")
def night() -> list[Record]:
    return detections(40, 60, 7)


@pytest.fixture
def stream(kafka: LocalKafka, namespace: str) -> Iterator[Stream]:
    stream = Stream(kafka, namespace)
    yield stream
    stream.close()


@pytest.fixture
def short_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that left is missed after the least time that Kafka allows."""
    monkeypatch.setattr(kafka_clients, "SESSION_TIMEOUT_MS", 6000)


def standings(folder: Path) -> list[Standing]:
    """Where the stores of a slot stand, its worker gone."""
    found = []
    for partition in range(PARTITIONS):
        store = DiskStore(folder / str(partition))
        stands = Standing.read(store.note)
        assert stands is not None
        found.append(stands)
        store.close()
    return found


def said(log: str, event: str, name: str) -> list[int]:
    """The values of `name` in the lines of an event."""
    return [
        int(found[1])
        for line in log.splitlines()
        if f"] {event} " in line and (found := re.search(rf"\b{name}=(\d+)", line))
    ]


def test_whatever_became_of_the_store(
    stream: Stream,
    night: list[Record],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One piece of the night after the other, and before each another harm to what was kept."""
    spans = tmp_path / stream.names.name / "curves"
    pieces = [night[i::8] for i in range(8)]

    def run() -> str:
        """The log of a worker that goes on with the next piece."""
        capsys.readouterr()
        with Worker(stream, tmp_path):
            stream.publish(pieces.pop())
            stream.wait()
        return capsys.readouterr().err

    def note(**changes: object) -> None:
        for partition in range(PARTITIONS):
            store = DiskStore(spans / "0" / str(partition))
            found = Standing.read(store.note)
            assert found is not None
            store.put({}, note=replace(found, **changes).note())
            store.close()

    run()

    log = run()  # nothing became of it
    assert log.count("store stands") == PARTITIONS
    assert "restored" not in log

    with slots.take(tmp_path, stream.names.name, "curves"):
        for partition in range(PARTITIONS):
            shutil.move(spans / "0" / str(partition), spans / "1" / str(partition))
        log = run()
    assert log.count("store stands") == PARTITIONS

    shutil.rmtree(spans)
    log = run()
    assert log.count("restored") == PARTITIONS
    assert "discarded" not in log

    monkeypatch.setattr(standing, "_BOOT_ID", tmp_path / "boot_id")
    (tmp_path / "boot_id").write_text("another")
    log = run()
    assert log.count("the machine was started anew") == log.count("restored") == PARTITIONS

    note(offset=10_000)
    log = run()
    assert log.count("it stands at 10000, beyond the committed") == PARTITIONS

    note(pages_from=10_000)
    log = run()
    assert log.count("it has read pages to 10000, and they end at") == PARTITIONS

    note(form="0.0")
    log = run()
    assert log.count("it has format 0.0") == log.count("restored") == PARTITIONS

    stream.check()


def test_taken_over_and_back(
    stream: Stream,
    night: list[Record],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that is behind is given the pages since those that it has, and no others."""
    told: dict[int, int] = {}
    tell = Changelog.told
    monkeypatch.setattr(Changelog, "told", lambda log: told.update(tell(log)) or tell(log))
    pieces = [night[i::8] for i in range(8)]
    began: list[list[int]] = []
    kept: list[list[int]] = []
    for folder in ("a", "b", "a", "b"):
        told.clear()
        with Worker(stream, tmp_path / folder):
            stream.publish(pieces.pop())
            stream.wait()
            until(lambda: len(told) == PARTITIONS and all(told.values()))
            stream.publish(pieces.pop())
            stream.wait()
        began.append(said(capsys.readouterr().err, "restores", "pages_from"))
        stands = standings(tmp_path / folder / stream.names.name / "curves" / "0")
        assert sum(s.offset for s in stands) == stream.published
        kept.append([s.pages_from for s in stands])
    assert began == [[0] * PARTITIONS, [0] * PARTITIONS, kept[0], kept[1]]
    assert all(kept[0])
    stream.check()


def test_a_namespace_made_anew_under_its_old_name(
    stream: Stream,
    night: list[Record],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    short_sessions: None,
) -> None:
    with Worker(stream, tmp_path):
        stream.publish(night[:300])
        stream.wait()
    stream.drop()
    stream.make()
    capsys.readouterr()
    with Worker(stream, tmp_path):
        stream.publish(night[300:700])
        stream.wait()
    log = capsys.readouterr().err
    assert log.count("the curves topic is another one under the same name") == PARTITIONS
    stream.check()


def test_a_store_that_another_wrote_into_ends_the_worker(
    stream: Stream, night: list[Record], tmp_path: Path
) -> None:
    """What was committed then is not in the store; the next start has it from the changelog."""
    slot = tmp_path / stream.names.name / "curves" / "0"
    code = (
        "import sys; from pathlib import Path; from workers.state import DiskStore\n"
        "for partition in sys.argv[2:]:\n"
        "    DiskStore(Path(sys.argv[1], partition)).put({b'ztf:nobody': b''})\n"
    )
    worker = Worker(stream, tmp_path)
    stream.publish(night[:300])
    stream.wait()
    every = map(str, range(PARTITIONS))
    subprocess.run([sys.executable, "-c", code, str(slot), *every], check=True)
    stream.publish(night[300:600])
    worker.thread.join(20)
    with pytest.raises(Failed, match="another process wrote into it"):
        worker.stop()
    assert sum(s.offset for s in standings(slot)) == 300
    with Worker(stream, tmp_path):
        stream.publish(night[600:])
        stream.wait()
    stream.check()


KILLS = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from curving import settings
from workers import work
from workers.state import DiskStore

class Kills(list):
    def __iter__(self):
        os.kill(os.getpid(), signal.SIGKILL)

put = DiskStore.put
left = 3

def put_or_die(self, items, gone=(), note=None):
    global left
    left -= bool(items)
    if left == 0 and {when!r} == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, items, Kills() if left == 0 else gone, note)

DiskStore.put = put_or_die
work.work(settings({bootstrap!r}, {namespace!r}, Path({state_dir!r})), ["curves"])
"""


def test_killed_between_the_commit_and_the_store(
    stream: Stream, night: list[Record], tmp_path: Path
) -> None:
    """kill -9 at the door of a put, and then within one, its values written."""
    for when, some in ("before", night[:400]), ("within", night[400:800]):
        code = KILLS.format(
            tests=str(Path(__file__).parent),
            when=when,
            bootstrap=stream.kafka.bootstrap,
            namespace=stream.names.name,
            state_dir=str(tmp_path),
        )
        stream.publish(some)
        killed = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
        assert killed.returncode == -signal.SIGKILL
        stands = standings(tmp_path / stream.names.name / "curves" / "0")
        assert sum(s.offset for s in stands) < stream.committed()
    with Worker(stream, tmp_path, name=None):
        stream.publish(night[800:])
        stream.wait()
    stream.check()


class Heard(RestoreMetrics):
    """Hears what a reading says of itself."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def remaining(self, partition: int, records: int) -> None:
        self.heard.append(records)


@dataclass
class Pages:
    """Light curves of partition 0, and the changelog's pages of each."""

    made: Curves
    of: dict[bytes, list[tuple[bytes, bytes]]]

    def found_in(self, curves: Curves) -> set[bytes]:
        """Objects that `curves` has, to the last point."""
        return {
            key
            for key in self.of
            if curves.points(key).tobytes() == self.made.points(key).tobytes()
        }


@pytest.fixture(scope="module")
def pages(night: list[Record]) -> Pages:
    made = Curves(INPUTS, MemoryStore())
    added = made.add(wire.read_detections([r.value for r in night if r.partition == 0])[0])
    of: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for key, value in added.pages:
        of.setdefault(key.partition(b"#")[0], []).append((key, value))
    return Pages(made, of)


@pytest.mark.parametrize("end", ["aborted", "committed"])
def test_a_hung_transaction_hides_nothing(
    stream: Stream, pages: Pages, tmp_path: Path, end: str
) -> None:
    """Pages of three writers: one that is done, one that hangs, one that commits behind it."""
    heard = Heard()
    changelog = Changelog(stream.client, stream.pages, PARTITIONS, lambda: False, heard)
    writers = [transactional(stream.client, f"{stream.names.name}.{i}") for i in range(3)]
    objects = list(pages.of)
    for i, writer in enumerate(writers):
        writer.init_transactions(30)
        writer.begin_transaction()
        for key, value in chain(*(pages.of[name] for name in objects[i::3])):
            writer.produce(stream.pages, value, key, 0)
        assert writer.flush(30) == 0
        if i != 1:
            writer.commit_transaction(30)
    store = DiskStore(tmp_path / "store")
    curves = Curves(INPUTS, store)
    reading = threading.Thread(target=changelog.bring, args=(0, 1, curves, store, lambda: None))
    reading.start()
    until(lambda: len(heard.heard) > 20)
    assert len(set(heard.heard[-10:])) == 1  # it waits, at the hung one's first page
    assert heard.heard[-1] >= sum(len(pages.of[name]) for name in objects[1::3] + objects[2::3])
    if end == "committed":
        writers[1].commit_transaction(30)
    else:
        writers[1].abort_transaction(30)
    reading.join(20)
    assert heard.heard[-1] == 0
    wanted = objects if end == "committed" else objects[0::3] + objects[2::3]
    assert pages.found_in(curves) == set(wanted)
    store.close()


def test_a_reading_that_ends_midway_goes_on_there(
    stream: Stream,
    pages: Pages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(restore, "_PUT", 5)
    monkeypatch.setattr(restore, "_CONSUME", 5)
    producer = Producer(stream.client)
    for key, value in chain(*pages.of.values()):
        producer.produce(stream.pages, value, key, 0)
    assert producer.flush(30) == 0
    heard = Heard()
    changelog = Changelog(stream.client, stream.pages, PARTITIONS, lambda: False, heard)

    def breathe() -> None:
        if heard.heard and heard.heard[-1] < 8:
            raise Rebalanced

    store = DiskStore(tmp_path / "store")
    curves = Curves(INPUTS, store)
    with pytest.raises(Rebalanced):
        changelog.bring(0, 1, curves, store, breathe)
    heard.heard.clear()
    store.close()
    store = DiskStore(tmp_path / "store")
    curves = Curves(INPUTS, store)
    changelog.bring(0, 1, curves, store, lambda: None)
    assert heard.heard[0] < 8
    assert pages.found_in(curves) == set(pages.of)
    store.close()


def test_from_one_worker_to_four_to_two_under_load(
    stream: Stream, night: list[Record], tmp_path: Path, short_sessions: None
) -> None:
    slots_there = tmp_path / stream.names.name / "curves"
    pieces = [night[i : i + 10] for i in range(0, len(night), 10)]

    def each_has_a_share() -> bool:
        stream.publish(pieces.pop(0))
        return all(any(slots_there.glob(f"{n}/[0-9]")) for n in range(4))

    with ExitStack() as two, ExitStack() as others:
        two.enter_context(Worker(stream, tmp_path, "0"))
        stream.publish(list(chain(*(pieces.pop(0) for _ in range(20)))))
        stream.wait()
        two.enter_context(Worker(stream, tmp_path, "1"))
        for name in "23":
            others.enter_context(Worker(stream, tmp_path, name))
        until(each_has_a_share)
        for piece in (pieces.pop(0) for _ in range(len(pieces) // 2)):
            stream.publish(piece)
        others.close()
        while pieces:
            stream.publish(pieces.pop(0))
        stream.wait()
    stream.check()

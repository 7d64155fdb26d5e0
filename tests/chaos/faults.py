"""The faults of a campaign: each strikes a house that is at work, and returns when it struck."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chaos.house import House, stand_still, stopped
from chaos.struck import STEPS
from confluent_kafka.admin import AdminClient
from streams import delete_group

from workers.crew import SPANS
from workers.kafka import SESSION_TIMEOUT_MS

#: Longer than the group waits for a silent member: another has its share by then.
_BEYOND_THE_SESSION_S = SESSION_TIMEOUT_MS / 1000 + 3
_MOST_WORKERS = 4
#: A worker that is to be struck at a step comes to it within this time, or never.
_PATIENCE_S = 30.0
_STRUCK = Path(__file__).parent / "struck.py"

Fault = Callable[[House], float]


def kill(span: str, house: House) -> float:
    house.kill(house.chance.choice(house.of(span)))
    return time.monotonic()


def kill_kafka(house: House) -> float:
    house.kafka.kill()
    at = time.monotonic()
    time.sleep(house.chance.uniform(0, 2))
    house.kafka.start()
    return at


def kafka_stands_still(least_s: float, most_s: float, house: House) -> float:
    assert house.kafka.process is not None
    return stand_still(house.kafka.process.pid, house.chance.uniform(least_s, most_s))


def zombie(span: str, house: House) -> float:
    """A worker stands still until another has its share, and then goes on."""
    if len(house.of(span)) == 1:
        house.start(span)
    name = house.chance.choice(house.of(span))
    return stand_still(house.workers.processes[name].pid, _BEYOND_THE_SESSION_S)


def more(span: str, house: House) -> float:
    if len(house.of(span)) < _MOST_WORKERS:
        house.start(span)
    return time.monotonic()


def fewer(span: str, house: House) -> float:
    at = time.monotonic()
    names = house.of(span)
    if len(names) > 1:
        house.leave(house.chance.choice(names))
    return at


def state_deleted(house: House) -> float:
    """The disk of the light curves' workers is another one."""
    with house.lock:
        for name in house.of("curves"):
            house.kill(name)
            house.workers.processes[name].wait()
        shutil.rmtree(house.folder / "state" / house.namespace / "curves", ignore_errors=True)
    return time.monotonic()


def disk_full(house: House) -> float:
    """The light curves' disk is another one, and has no room for a worker's once they grow."""
    with house.lock:
        house.leave(name := house.chance.choice(house.of("curves")))
        state_deleted(house)
        house.workers.start(name, "curves", str(_STRUCK), "disk", "0", "0")
        process = house.workers.processes[name]
    at = time.monotonic()
    await_blow(process)
    return at


def struck(span: str, step: str, blow: signal.Signals, house: House) -> float:
    """A worker is killed, or stands still beyond its session, between two steps of a commit."""
    process = strike(span, step, blow, house)
    at = time.monotonic()
    if stopped(process.pid):
        time.sleep(_BEYOND_THE_SESSION_S)
        process.send_signal(signal.SIGCONT)
    return at


def strike(span: str, step: str, blow: signal.Signals, house: House) -> subprocess.Popen[bytes]:
    """Put a worker in another's place that is struck at one of its commits; wait until it is."""
    chance = house.chance
    with house.lock:
        name = chance.choice(house.of(span))
        house.leave(name)
        house.workers.start(name, span, str(_STRUCK), step, str(chance.randint(1, 20)), str(blow))
        process = house.workers.processes[name]
    await_blow(process)
    return process


def await_blow(process: subprocess.Popen[bytes]) -> None:
    """Wait until a worker is struck; one that never is, is killed."""
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and not stopped(process.pid):
        if time.monotonic() > deadline:  # its share of the partitions may be none
            process.kill()
            break
        time.sleep(0.05)


def second_crash(span: str, house: House) -> float:
    """The new owner dies too, while the transaction of the first, a zombie, is still open."""
    if len(house.of(span)) == 1:
        house.start(span)
    first = strike(span, "after the offsets", signal.SIGSTOP, house)
    at = time.monotonic()
    time.sleep(_BEYOND_THE_SESSION_S)
    for name in house.of(span):
        if house.workers.processes[name] is not first:
            house.kill(name)
    time.sleep(house.chance.uniform(0, 3))
    if stopped(first.pid):
        first.send_signal(signal.SIGCONT)
    return at


def clock_jumps(span: str, house: House) -> float:
    """From now on one worker's wall clock jumps by hours, until it is struck by something else."""
    with house.lock:
        name = house.chance.choice(house.of(span))
        house.leave(name)
        house.workers.start(name, span, str(_STRUCK), "clock", "0", "0")
    return time.monotonic()


def offsets_forgotten(span: str, house: House) -> float:
    """All workers of a span leave, and Kafka forgets their group; as many come back."""
    at = time.monotonic()
    names = house.of(span)
    for name in names:
        house.leave(name)
    admin = AdminClient(house.client)
    deadline = time.monotonic() + _PATIENCE_S
    groups: list[str] = []
    # Kafka may load them yet; there is none if nobody has come back since the last was forgotten
    while not groups and time.monotonic() < deadline:
        groups = [name for name in _groups(admin) if name.startswith(f"{house.namespace}.{span}")]
        time.sleep(0.05)
    for group in groups:
        delete_group(admin, group, 60)
    for _ in names:
        house.start(span)
    return at


def _groups(admin: AdminClient) -> list[str]:
    return [g.group_id for g in admin.list_consumer_groups(request_timeout=30).result(30).valid]


def _all() -> dict[str, Fault]:
    found: dict[str, Fault] = {
        "kill -9 Kafka": kill_kafka,
        "Kafka stands still": partial(kafka_stands_still, 2, 8),
        "Kafka unreachable for a minute": partial(kafka_stands_still, 60, 60),
        "state deleted": state_deleted,
        "disk full": disk_full,
    }
    for span in SPANS:
        found[f"kill -9 {span}"] = partial(kill, span)
        found[f"zombie {span}"] = partial(zombie, span)
        found[f"one more {span}"] = partial(more, span)
        found[f"one fewer {span}"] = partial(fewer, span)
        found[f"second crash {span}"] = partial(second_crash, span)
        found[f"clock jumps {span}"] = partial(clock_jumps, span)
        found[f"offsets forgotten {span}"] = partial(offsets_forgotten, span)
        for step in STEPS:
            if span == "curves" or step != "after the store":
                found[f"{span} killed {step}"] = partial(struck, span, step, signal.SIGKILL)
                if step in ("before begin", "after a record", "after the offsets", STEPS[-2]):
                    found[f"{span} stopped {step}"] = partial(struck, span, step, signal.SIGSTOP)
    return found


FAULTS = _all()
#: Those of the short campaign: none of them waits for a session to end.
_SLOW = ("zombie", "stopped", "still", "minute", "second", "forgotten")
QUICK = [name for name in FAULTS if not any(word in name for word in _SLOW)]

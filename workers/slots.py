"""A worker's place: the first free slot directory, held by a file lock while the process lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from workers.errors import Failed
from workers.kafka import Stopped

#: Longer than a worker takes to finish its batch, or to end itself when it hangs in a commit.
_INHERIT_S = 40.0


@dataclass(slots=True)
class Slot:
    """`folder` is this worker's alone; `name` is what Kafka knows it by, and is the same after a
    restart, so that the worker is taken back at once and its predecessor's transaction is ended."""

    folder: Path
    name: str
    _lock: IO[str] = field(repr=False)

    def release(self) -> None:
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def take(state_dir: Path, namespace: str, span: str) -> Slot:
    """The first slot of a span on this machine that no living process holds.

    Raises
    ------
    OSError
        The state directory cannot be written.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        slot = _slot(state_dir, namespace, span, number)
        if slot is not None:
            return slot
        number += 1


def numbers_of(pid: int, state_dir: Path, namespace: str, spans: Sequence[str]) -> dict[str, int]:
    """The slot that the living process `pid` holds, for each span.

    Raises
    ------
    Failed
        It holds none for one of them.
    """
    held = {}
    for span in spans:
        for lock in (state_dir / namespace / span).glob("*/lock"):
            if lock.read_text().strip() == str(pid) and not _free(lock):
                held[span] = int(lock.parent.name)
                break
        else:
            msg = (
                f"process {pid} is no {span} worker of namespace {namespace!r} with its state "
                f"under {state_dir}: nothing was stopped"
            )
            raise Failed(msg)
    return held


def inherit(
    state_dir: Path, namespace: str, span: str, number: int, stop: Callable[[], bool]
) -> Slot:
    """A slot whose holder was asked to end, the moment that it lets go.

    Raises
    ------
    Failed
        It does not end.
    Stopped
        This worker is to stop as well.
    """
    deadline = time.monotonic() + _INHERIT_S
    while (slot := _slot(state_dir, namespace, span, number)) is None:
        if stop():
            raise Stopped
        if time.monotonic() > deadline:
            msg = f"the {span} worker in slot {number} does not end; kill it, and start again"
            raise Failed(msg)
        time.sleep(0.01)
    return slot


def wait_gone(pid: int) -> None:
    """Return when a process has ended, or after as long as `inherit` would wait.

    Raises
    ------
    ProcessLookupError
        It has ended.
    """
    deadline = time.monotonic() + _INHERIT_S
    while time.monotonic() < deadline:
        os.kill(pid, 0)
        time.sleep(0.01)


def _slot(state_dir: Path, namespace: str, span: str, number: int) -> Slot | None:
    """This slot, unless a living process holds it."""
    folder = state_dir / namespace / span / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return Slot(folder, f"{namespace}.{span.replace('/', '.')}.{_place(state_dir)}.{number}", lock)


def _free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _place(state_dir: Path) -> str:
    """A name for this state directory, so that slot 0 of two machines are two members."""
    file = state_dir / "place"
    if not file.exists():
        name = uuid.uuid4().hex[:8]
        new = state_dir / f"place.{name}"  # threads of one process may stand here at once
        new.write_text(name)
        with contextlib.suppress(FileExistsError):  # another worker was first: its name holds
            os.link(new, file)
        new.unlink()
    return file.read_text()

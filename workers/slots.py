"""A worker's place: the first free slot directory, held by a file lock while the process lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self


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
    place = _place(state_dir)
    number = 0
    while True:
        folder = state_dir / namespace / span / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            number += 1
            continue
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return Slot(folder, f"{namespace}.{span}.{place}.{number}", lock)


def _place(state_dir: Path) -> str:
    """A name for this state directory, so that slot 0 of two machines are two members."""
    file = state_dir / "place"
    if not file.exists():
        new = state_dir / f"place.{os.getpid()}"
        new.write_text(uuid.uuid4().hex[:8])
        with contextlib.suppress(FileExistsError):  # another worker was first: its name holds
            os.link(new, file)
        new.unlink()
    return file.read_text()

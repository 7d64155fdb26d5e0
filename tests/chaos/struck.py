"""A worker that is struck: `struck.py STEP NTH SIGNAL work SPAN`.

By a signal between two steps of a commit; by a wall clock that jumps, if STEP is `clock` (the clock
of Python alone: that of Kafka's client library goes on); by a disk that has no room for a store
that grows, if STEP is `disk`.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from typing import Any

from confluent_kafka import Producer

STEPS = (
    "before begin",
    "after begin",
    "after a record",
    "before the offsets",
    "after the offsets",
    "after the commit",
    "after the store",
)


class Blow:
    """A signal to this very process, when it comes to a step for the nth time."""

    def __init__(self, step: str, nth: int, signal: int) -> None:
        self.step, self.left, self.signal = step, nth, signal

    def at(self, step: str) -> None:
        if step == self.step:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.signal)


def jump() -> None:
    """Let the wall clock stand an hour before or after its time, another each second."""
    true, steady = time.time_ns, time.monotonic

    def jumping() -> int:
        return true() + random.Random(int(steady())).choice((-3600, 0, 3600)) * 10**9

    time.time_ns = jumping
    time.time = lambda: jumping() / 1e9


def fill() -> None:
    """Let the system refuse whatever would make a file larger than a store is at first."""
    from workers.state import _FIRST_BYTES

    resource.setrlimit(resource.RLIMIT_FSIZE, (_FIRST_BYTES, resource.RLIM_INFINITY))


def main() -> None:
    {"clock": jump, "disk": fill}.get(sys.argv[1], lambda: None)()
    from workers import cli, kafka, state

    blow = Blow(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

    class Struck(Producer):
        def begin_transaction(self) -> None:
            blow.at("before begin")
            super().begin_transaction()
            blow.at("after begin")

        def produce(self, *record: Any, **more: Any) -> None:
            super().produce(*record, **more)
            blow.at("after a record")

        def send_offsets_to_transaction(self, *offsets: Any) -> None:
            blow.at("before the offsets")
            super().send_offsets_to_transaction(*offsets)
            blow.at("after the offsets")

        def commit_transaction(self, *seconds: float) -> None:
            super().commit_transaction(*seconds)
            blow.at("after the commit")

    put = state.DiskStore.put

    def struck_put(store: state.DiskStore, *items: Any, **more: Any) -> None:
        put(store, *items, **more)
        blow.at("after the store")

    kafka.Producer = Struck  # type: ignore[misc]
    state.DiskStore.put = struck_put  # type: ignore[method-assign]
    sys.exit(cli.run(sys.argv[4:]))


if __name__ == "__main__":
    main()

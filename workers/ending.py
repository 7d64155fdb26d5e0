"""What ends a worker: a signal, the death of its parent, a commit that never comes back."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time

from workers.counting import SpanMetrics
from workers.kafka import TRANSACTION_TIMEOUT_MS
from workers.log import logger

#: Longer than a commit may take to give up by itself.
_STUCK_S = TRANSACTION_TIMEOUT_MS / 1000 + 15


class Stop:
    """Becomes true once, by a signal or by a failure of a neighbour thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)


def on_signals(stop: Stop) -> None:
    """SIGTERM and SIGINT set it; the second of them ends the process at once."""

    def asked(number: int, frame: object) -> None:
        if stop():  # the second time: at once; what was not committed is found again
            os._exit(1)
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)


def with_parent(stop: Stop) -> None:
    """A crew's worker has a pipe as standard input; its end means that the parent is gone."""
    if "NIGHTJAR_CREW" not in os.environ:
        return

    def wait() -> None:
        select.select([sys.stdin.fileno()], [], [])
        stop.set()

    threading.Thread(target=wait, name="parent", daemon=True).start()


def if_stuck(metrics: SpanMetrics) -> None:
    """End the process if a transaction stays open long after Kafka must have aborted it.

    librdkafka was seen never to come back from send_offsets_to_transaction after Kafka had been
    killed, whatever time-out it was given. Nothing is lost: a new start finds the committed place.
    """

    def watch() -> None:
        while metrics.open_s() < _STUCK_S:
            time.sleep(1.0)
        logger().error("stuck in a commit; ends, to be started again", open_s=metrics.open_s())
        os._exit(1)

    threading.Thread(target=watch, name="stuck", daemon=True).start()

"""What a worker process does: takes a slot, joins its groups, walks its part of the route."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from workers import classifiers, ending, metrics, slots, warm
from workers.admission import enter
from workers.assembly import make, network_of, run
from workers.classifiers import Part
from workers.errors import Failed
from workers.kafka import Stopped, never
from workers.log import logger
from workers.span import Fenced

if TYPE_CHECKING:
    from workers.settings import Settings

#: Before a fenced worker begins anew; twice as long each time, until it has got on for a while.
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


def work(settings: Settings, spans: Sequence[str], instead_of: int | None = None) -> None:
    """Run spans, each in a thread of its own, until SIGTERM or SIGINT; a second one kills.

    Each classifier has a thread, too: with a group, transactions and ledger rows of its own.

    Parameters
    ----------
    instead_of
        Process of a worker with the same spans: it is asked to end when all is loaded here, and its
        slots are taken over.

    Raises
    ------
    Misused
        A span that there is not; two networks of one name.
    Failed
        The namespace is made otherwise than this worker needs; there is no such process.
    """
    parts = classifiers.parts(settings, tuple(spans))
    slot_of = _taken_over(settings, parts, instead_of) if instead_of is not None else {}
    stop = ending.Stop()
    ending.on_signals(stop)
    ending.with_parent(stop)
    failures: list[BaseException] = []

    def one(part: Part) -> None:
        try:
            _keep_running(settings, part, stop, slot_of.get(part.name))
        except Stopped:
            pass
        except BaseException as exc:
            failures.append(exc)
        finally:
            stop.set()

    threads = [threading.Thread(target=one, args=(part,), name=part.name) for part in parts]
    with metrics.serve(settings.metrics.host, settings.metrics.port) as server:
        logger().info("metrics", at=f"http://{settings.metrics.host}:{server.port}/metrics")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for exc in failures:
        raise exc


def _taken_over(settings: Settings, parts: Sequence[Part], pid: int) -> dict[str, int]:
    """Load all that is slow, then ask the process `pid` to end; its slots by part."""
    from workers import route  # noqa: F401

    names = [part.name for part in parts]
    place = Path(settings.state_dir), settings.namespace, names
    numbers = slots.numbers_of(pid, *place)
    known = classifiers.of(settings)
    enter(settings.kafka.client(), "kafka.security", never)
    make(settings, known.namespace(settings.namespace))
    for part in parts:
        if part.span == "decode":
            warm.packets()
        else:
            network = None if part.card is None else network_of(settings, part.card).classify
            warm.walk(known.inputs, network)
    # What stands now stands to the end: the collector need not walk torch and Numba again while
    # the span stands still (a third of a second).
    gc.collect()
    gc.freeze()
    logger().info("takes over", spans=",".join(names), pid=pid)
    with contextlib.suppress(Failed, ProcessLookupError):  # it has ended by itself meanwhile
        slots.numbers_of(pid, *place)
        os.kill(pid, signal.SIGTERM)
        if settings.metrics.port:
            slots.wait_gone(pid)  # both cannot serve metrics there
    return numbers


def _keep_running(settings: Settings, part: Part, stop: ending.Stop, number: int | None) -> None:
    """Run a span; begin anew, with new clients, where Kafka has dropped the old ones.

    The slot's lock says that no other worker of this machine has its name, so whoever was fenced
    was fenced by its own past: a Kafka that was killed while the worker joined or committed. But
    where the state directory was deleted, another may have that name now, so a slot is taken anew.
    `number` is of the slot that a predecessor is giving up, if there is one.
    """
    pause = _PAUSE_S
    place = Path(settings.state_dir), settings.namespace, part.name
    while not stop():
        began = time.monotonic()
        try:
            with (
                _slot(place, number, stop) as slot,
                ExitStack() as closing,
            ):
                made, number = number is not None, None
                run(settings, part, slot, stop, closing, made)
        except Fenced as exc:
            if time.monotonic() - began > _LONGEST_PAUSE_S:  # it had got on
                pause = _PAUSE_S
            logger().error("begins anew", span=part.name, error=str(exc), in_s=pause)
            stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        # The clients of the last time, five threads each, go only so: they refer to themselves in
        # a circle, and `run` has told the collector to leave alone what stood then.
        if not stop():
            gc.unfreeze()
            gc.collect()


def _slot(place: tuple[Path, str, str], number: int | None, stop: ending.Stop) -> slots.Slot:
    return slots.take(*place) if number is None else slots.inherit(*place, number, stop)

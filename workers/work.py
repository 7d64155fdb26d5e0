"""What a worker process does: takes a slot, joins its groups, walks its part of the route."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from workers import metrics, slots, topics, warm
from workers.admission import enter
from workers.counting import AlertMetrics, RestoreMetrics, SpanMetrics, say_build
from workers.crew import SPANS
from workers.errors import Failed, Misused
from workers.fixed import Fixed
from workers.intake import Intake
from workers.kafka import (
    PACKETS,
    TRANSACTION_TIMEOUT_MS,
    Stopped,
    admin,
    consumer,
    member,
    never,
    transactional,
)
from workers.log import logger
from workers.sources import Sources
from workers.span import Fenced, Span, Stage

if TYPE_CHECKING:
    from models.cards import Card
    from models.classifier import Classifier
    from workers.route import CurvesStage
    from workers.settings import Classify, Settings

#: Records per consume() call; packets and large images are cut further by their bytes.
_LIMIT = 500
#: Each label is a whole file with the same header; the rest are numbers that hardly shrink.
_COMPRESSION = {"decode": "none", "curves": "none", "classify": "lz4"}
_networks: dict[Classify, Classifier] = {}
#: Before a fenced worker begins anew; twice as long each time, until it has got on for a while.
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
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


def work(settings: Settings, spans: Sequence[str], instead_of: int | None = None) -> None:
    """Run spans, each in a thread of its own, until SIGTERM or SIGINT; a second one kills.

    Parameters
    ----------
    instead_of
        Process of a worker with the same spans: it is asked to end when all is loaded here, and its
        slots are taken over.

    Raises
    ------
    Misused
        A span that there is not.
    Failed
        The namespace is made otherwise than this worker needs; there is no such process.
    """
    for span in spans:
        if span not in SPANS:
            msg = f"no span {span!r}; there are {', '.join(SPANS)}"
            raise Misused(msg)
    slot_of = _taken_over(settings, spans, instead_of) if instead_of is not None else {}
    stop = Stop()
    _on_signals(stop)
    _end_with_parent(stop)
    failures: list[BaseException] = []

    def one(span: str) -> None:
        try:
            _keep_running(settings, span, stop, slot_of.get(span))
        except Stopped:
            pass
        except BaseException as exc:
            failures.append(exc)
        finally:
            stop.set()

    threads = [threading.Thread(target=one, args=(span,), name=span) for span in spans]
    with metrics.serve(settings.metrics.host, settings.metrics.port) as server:
        logger().info("metrics", at=f"http://{settings.metrics.host}:{server.port}/metrics")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for exc in failures:
        raise exc


def _taken_over(settings: Settings, spans: Sequence[str], pid: int) -> dict[str, int]:
    """Load all that is slow, then ask the process `pid` to end; its slots by span."""
    from workers import route  # noqa: F401

    place = Path(settings.state_dir), settings.namespace, spans
    numbers = slots.numbers_of(pid, *place)
    namespace = topics.Namespace(settings.namespace, _card(settings).name)
    copies = settings.kafka.replication
    enter(settings.kafka.client(), "kafka.security", never)
    topics.ensure(settings.kafka.client(), namespace, settings.partitions, copies)
    for span in spans:
        if span == "decode":
            warm.packets()
        else:
            warm.walk(_card(settings), _network(settings).classify if span == "classify" else None)
    logger().info("takes over", spans=",".join(spans), pid=pid)
    with contextlib.suppress(Failed, ProcessLookupError):  # it has ended by itself meanwhile
        slots.numbers_of(pid, *place)
        os.kill(pid, signal.SIGTERM)
        if settings.metrics.port:
            slots.wait_gone(pid)  # both cannot serve metrics there
    return numbers


def _keep_running(settings: Settings, span: str, stop: Stop, number: int | None) -> None:
    """Run a span; begin anew, with new clients, where Kafka has dropped the old ones.

    The slot's lock says that no other worker of this machine has its name, so whoever was fenced
    was fenced by its own past: a Kafka that was killed while the worker joined or committed. But
    where the state directory was deleted, another may have that name now, so a slot is taken anew.
    `number` is of the slot that a predecessor is giving up, if there is one.
    """
    pause = _PAUSE_S
    place = Path(settings.state_dir), settings.namespace, span
    while not stop():
        began = time.monotonic()
        try:
            with (
                _slot(place, number, stop) as slot,
                ExitStack() as ending,
            ):
                made, number = number is not None, None
                run(settings, span, slot, stop, ending, made)
        except Fenced as exc:
            if time.monotonic() - began > _LONGEST_PAUSE_S:  # it had got on
                pause = _PAUSE_S
            logger().error("begins anew", span=span, error=str(exc), in_s=pause)
            stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _slot(place: tuple[Path, str, str], number: int | None, stop: Stop) -> slots.Slot:
    return slots.take(*place) if number is None else slots.inherit(*place, number, stop)


def run(
    settings: Settings,
    span: str,
    slot: slots.Slot,
    stop: Stop,
    ending: ExitStack,
    made: bool = False,
) -> None:
    """Run one span to its end; `made` says that its namespace has been looked at already."""
    client = settings.kafka.client()
    card = _card(settings)
    namespace = topics.Namespace(settings.namespace, card.name)
    logger().info("start", span=span, worker=slot.name, kafka=settings.kafka.bootstrap_servers)
    partitions = settings.partitions
    if not made:
        enter(client, "kafka.security", stop)
        topics.ensure(client, namespace, partitions, settings.kafka.replication, stop)
    alerts = AlertMetrics()
    stage: Stage
    looks = [Fixed(namespace, admin(client), partitions).look]
    first: Callable[[str, int], int] | None = None
    ours = member(client, namespace.group(span), slot.name)
    if span == "decode":
        stage = _decode(settings, namespace, partitions, alerts)
        source = settings.source_client()
        enter(source, "source.security", stop)
        fetcher = consumer(source, **PACKETS)
        sources = Sources(settings, namespace, admin(client), admin(source), stop)
        first = sources.first
        looks.append(sources.look)
        read: dict[str, str] = {}
    else:
        topic = namespace.topic("detections" if span == "curves" else "images")
        if span == "curves":
            stage = curves = _curves(settings, namespace, partitions, alerts, card, stop, slot)
            ending.callback(curves.close)
            looks.append(curves.look)
        else:
            stage = _classify(settings, namespace, partitions, alerts)
        fetcher = ours
        read = {topic: topic}
    limit = settings.classify.max_batch if span == "classify" else _LIMIT
    intake = Intake(ours, fetcher, stop, stage.ready, limit, first)
    if read:
        intake.subscribe(read)
    measured = SpanMetrics(span)
    _end_if_stuck(measured)
    # What stands now stands to the end: the collector need not walk torch and Numba again and
    # again (5 % of the classify span).
    gc.collect()
    gc.freeze()
    Span(
        stage=stage,
        intake=intake,
        producer=transactional(client, slot.name, _COMPRESSION[span]),
        ledger_topic=namespace.topic("ledger"),
        dead_topic=namespace.topic("dead-letters"),
        worker=slot.name,
        group=namespace.group(span),
        commit_s=settings.commit_ms / 1000,
        stop=stop,
        metrics=measured,
        looks=looks,
    ).run()


def _card(settings: Settings) -> Card:
    from models import cards

    return cards.find(settings.classify.model)


def _decode(
    settings: Settings, namespace: topics.Namespace, partitions: int, m: AlertMetrics
) -> Stage:
    from workers.registry import decoder
    from workers.route import DecodeStage

    survey = None if settings.source.survey == "auto" else settings.source.survey
    return DecodeStage(
        decoder(settings),
        survey,
        namespace.topic("detections"),
        namespace.topic("dead-letters"),
        partitions,
        m,
    )


def _curves(
    settings: Settings,
    namespace: topics.Namespace,
    partitions: int,
    m: AlertMetrics,
    card: Card,
    stop: Stop,
    slot: slots.Slot,
) -> CurvesStage:
    from workers.restore import Changelog
    from workers.route import CurvesStage

    client, pages = settings.kafka.client(), namespace.topic("curves")
    return CurvesStage(
        card.inputs,
        namespace.topic("images"),
        Changelog(client, pages, partitions, stop, RestoreMetrics()),
        namespace.topic("dead-letters"),
        slot.folder,
        m,
    )


def _classify(
    settings: Settings,
    namespace: topics.Namespace,
    partitions: int,
    m: AlertMetrics,
) -> Stage:
    from workers.route import ClassifyStage

    classifier = _network(settings)
    return ClassifyStage(
        classifier.classify,
        namespace.topic("labels"),
        namespace.topic("dead-letters"),
        partitions,
        m,
        namespace.group("classify"),
    )


def _network(settings: Settings) -> Classifier:
    """The classifier, made once for a process."""
    from models.classifier import Classifier

    if settings.classify in _networks:
        return _networks[settings.classify]
    card = _card(settings)

    def lost(words: str) -> None:
        logger().error("the GPU is lost; labelling goes on on the CPU", error=words)
        say_build(card.name, "cpu")

    classifier = _networks[settings.classify] = Classifier(
        card, settings.classify.device, settings.classify.max_batch, on_device_lost=lost
    )
    logger().info(
        "network", model=card.name, device=classifier.device, precision=classifier.precision
    )
    say_build(card.name, classifier.device)
    return classifier


def _end_if_stuck(metrics: SpanMetrics) -> None:
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


def _on_signals(stop: Stop) -> None:
    def asked(number: int, frame: object) -> None:
        if stop():  # the second time: at once; what was not committed is found again
            os._exit(1)
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)


def _end_with_parent(stop: Stop) -> None:
    """A crew's worker has a pipe as standard input; its end means that the parent is gone."""
    if "NIGHTJAR_CREW" not in os.environ:
        return

    def wait() -> None:
        select.select([sys.stdin.fileno()], [], [])
        stop.set()

    threading.Thread(target=wait, name="parent", daemon=True).start()

"""One span put together: its stage, where its records come from, where its outputs go."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from workers import ending, slots, topics
from workers.admission import enter
from workers.counting import AlertMetrics, RestoreMetrics, SpanMetrics, say_build
from workers.fixed import Fixed
from workers.intake import Intake
from workers.kafka import PACKETS, admin, consumer, member, transactional
from workers.log import logger
from workers.offsets import Group, of_late
from workers.sources import Sources
from workers.span import Span, Stage

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


def run(
    settings: Settings,
    span: str,
    slot: slots.Slot,
    stop: ending.Stop,
    closing: ExitStack,
    made: bool = False,
) -> None:
    """Run one span to its end; `made` says that its namespace has been looked at already."""
    client = settings.kafka.client()
    card = card_of(settings)
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
    group = namespace.group(span)
    ours = member(client, group, slot.name)
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
            closing.callback(curves.close)
            looks.append(curves.look)
        else:
            stage = _classify(settings, namespace, partitions, alerts)
        fetcher = ours
        read = {topic: topic}
    limit = settings.classify.max_batch if span == "classify" else _LIMIT
    books = partial(of_late, client, Group(group, namespace.topic("ledger")), stop)
    intake = Intake(ours, fetcher, stop, stage.ready, limit, first, books)
    if read:
        intake.subscribe(read)
    measured = SpanMetrics(span)
    ending.if_stuck(measured)
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
        group=group,
        commit_s=settings.commit_ms / 1000,
        stop=stop,
        metrics=measured,
        looks=looks,
    ).run()


def card_of(settings: Settings) -> Card:
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
    stop: ending.Stop,
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

    classifier = network_of(settings)
    return ClassifyStage(
        classifier.classify,
        namespace.topic("labels"),
        namespace.topic("dead-letters"),
        partitions,
        m,
        namespace.group("classify"),
    )


def network_of(settings: Settings) -> Classifier:
    """The classifier, made once for a process."""
    from models.classifier import Classifier

    if settings.classify in _networks:
        return _networks[settings.classify]
    card = card_of(settings)

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

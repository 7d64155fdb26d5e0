"""One span put together: its stage, where its records come from, where its outputs go."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from workers import classifiers, ending, slots, topics
from workers.admission import enter
from workers.classifiers import Part
from workers.counting import AlertMetrics, RestoreMetrics, SpanMetrics, say_build
from workers.fixed import Fixed
from workers.intake import Intake
from workers.kafka import PACKETS, admin, consumer, member, never, transactional
from workers.log import logger
from workers.offsets import Group, of_late
from workers.sources import Sources
from workers.span import Span, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from broker.inputs import Inputs
    from models.classifier import Classifier
    from models.tree import Tree
    from models.tree_cards import AnyCard
    from workers.route import CurvesStage
    from workers.settings import Classify, Settings

#: Records per consume() call; packets and large images are cut further by their bytes.
_LIMIT = 500
#: Each label is a whole file with the same header; the rest are numbers that hardly shrink.
_COMPRESSION = {"decode": "none", "curves": "none", "classify": "lz4"}
#: By the file of their weights, or of the tree.
_networks: dict[tuple[Path, Classify], Classifier | Tree] = {}
_making = threading.Lock()


def run(
    settings: Settings,
    part: Part,
    slot: slots.Slot,
    stop: ending.Stop,
    closing: ExitStack,
    made: bool = False,
) -> None:
    """Run one span to its end; `made` says that its namespace has been looked at already."""
    client, span, card = settings.kafka.client(), part.span, part.card
    known = classifiers.of(settings)
    namespace = known.namespace(settings.namespace)
    logger().info("start", span=part.name, worker=slot.name, kafka=settings.kafka.bootstrap_servers)
    partitions = settings.partitions
    if not made:
        enter(client, "kafka.security", stop)
        make(settings, namespace, stop)
    group = namespace.group(span, None if card is None else card.name)
    alerts = AlertMetrics()
    stage: Stage
    looks = [Fixed(namespace, admin(client), partitions).look]
    first: Callable[[str, int], int] | None = None
    identity: Callable[[str], str] | None = None
    ours = member(client, group, slot.name)
    if span == "decode":
        stage = _decode(settings, namespace, partitions, alerts)
        source = settings.source_client()
        enter(source, "source.security", stop)
        fetcher = consumer(source, **PACKETS)
        sources = Sources(settings, namespace, admin(client), admin(source), stop)
        first, identity = sources.first, sources.identity
        looks.append(sources.look)
        read: dict[str, str] = {}
    else:
        topic = namespace.topic("detections" if span == "curves" else "images")
        if span == "curves":
            inputs = known.inputs
            stage = curves = _curves(settings, namespace, partitions, alerts, inputs, stop, slot)
            closing.callback(curves.close)
            looks.append(curves.look)
        else:
            stage = _classify(settings, namespace, partitions, alerts, part, group)
        fetcher = ours
        read = {topic: topic}
    limit = settings.classify.max_batch if span == "classify" else _LIMIT
    books = partial(of_late, client, Group(group, namespace.topic("ledger")), stop)
    intake = Intake(ours, fetcher, stop, stage.ready, limit, first, books, identity)
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


def make(settings: Settings, namespace: topics.Namespace, stop: Callable[[], bool] = never) -> None:
    """Make what is missing of a namespace, as the settings want it."""
    topics.ensure(
        settings.kafka.client(),
        namespace,
        settings.partitions,
        settings.kafka.replication,
        stop,
        start=settings.classify.start,
    )


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
    inputs: Inputs,
    stop: ending.Stop,
    slot: slots.Slot,
) -> CurvesStage:
    from workers.restore import Changelog
    from workers.route import CurvesStage

    client, pages = settings.kafka.client(), namespace.topic("curves")
    return CurvesStage(
        inputs,
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
    part: Part,
    group: str,
) -> Stage:
    from workers.route import ClassifyStage

    assert part.card is not None
    return ClassifyStage(
        network_of(settings, part.card).classify,
        namespace.topic(topics.SHADOW if part.shadow else "labels"),
        namespace.topic("dead-letters"),
        partitions,
        m,
        group,
    )


def network_of(settings: Settings, card: AnyCard) -> Classifier | Tree:
    """The classifier of a card, made once for a process."""
    key = card.weights, settings.classify
    if key in _networks:
        return _networks[key]

    def lost(words: str) -> None:
        logger().error("the GPU is lost; labelling goes on on the CPU", error=words)
        say_build(card.name, "cpu")

    with _making:
        classifier = _networks[key] = made(settings, card, lost)
    logger().info(
        "network", model=card.name, device=classifier.device, precision=classifier.precision
    )
    say_build(card.name, classifier.device)
    return classifier


def made(
    settings: Settings, card: AnyCard, lost: Callable[[str], None] = lambda words: None
) -> Classifier | Tree:
    """A card's classifier as the settings want it; `lost` is told of a GPU that fails."""
    from models.classifier import Classifier
    from models.tree import Tree
    from models.tree_cards import TreeCard

    wanted, priors = settings.classify, classifiers.priors(settings, card)
    networks = {
        name: Classifier(
            network,
            wanted.device,
            wanted.max_batch,
            precision=wanted.precision,
            prior=priors[name],
            on_device_lost=lost,
        )
        for name, network in classifiers.networks(card).items()
    }
    return Tree(card, networks) if isinstance(card, TreeCard) else networks[card.name]

"""The whole route on one machine, staying up: Kafka (ours unless one is given) and the workers."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workers import classifiers
from workers.admission import enter
from workers.assembly import make
from workers.crew import Crew, spans_of
from workers.follow import Follower
from workers.kafka import Stopped
from workers.local_kafka import LocalKafka
from workers.log import logger
from workers.publish import make_topic
from workers.topics import classifying

if TYPE_CHECKING:
    from workers.settings import Settings

_STATUS_EVERY_S = 10.0
#: How long a survey's cluster has to refuse us before the workers start.
_SURVEY_S = 10.0


@contextlib.contextmanager
def kafka(settings: Settings) -> Iterator[tuple[str, Callable[[], None]]]:
    """The cluster to use: the one that the settings name, else a local one while it is needed.

    With its address comes what to call now and then: it starts a local Kafka again that has died.
    """
    if settings.kafka.bootstrap_servers:
        yield settings.kafka.bootstrap_servers, lambda: None
        return
    local = settings.local_kafka
    with LocalKafka(Path(local.data_dir), local.port, mode=local.mode) as node:

        def tend() -> None:
            if node.process is not None and node.process.poll() is not None:
                logger().error("Kafka died; starting it again", log=str(node.log_path))
                node.kill()  # what is left of it: its watch
                node.start()

        yield node.bootstrap, tend


def up(settings: Settings) -> None:
    """Run until Ctrl-C; then stop the workers in the order of the route, and Kafka last.

    A second Ctrl-C kills: nothing is lost, as what was not committed is found again. SIGUSR1
    replaces the workers one after the other by new processes.
    """
    asked: list[float] = []

    def stop(number: int, frame: object) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            crew.kill()
            os._exit(1)

    known = classifiers.of(settings)  # a wrong name is said before anything starts
    with kafka(settings) as (bootstrap, tend):
        settings = settings.using(bootstrap)
        client = settings.kafka.client()
        enter(client, "kafka.security")
        if settings.source.bootstrap_servers:
            until = time.monotonic() + _SURVEY_S
            with contextlib.suppress(Stopped):  # one that is away is the decode span's to wait for
                enter(settings.source_client(), "source.security", lambda: time.monotonic() > until)
        if not settings.source.topics:
            make_topic(client, "alerts", settings.partitions, settings.kafka.replication)
            settings = settings.reading("alerts")
            logger().info("publish packets here", kafka=bootstrap, topic="alerts")
        crew = Crew(spans_of(settings), settings.environment())
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGUSR1, lambda number, frame: crew.renew())
        namespace = known.namespace(settings.namespace)
        make(settings, namespace, lambda: bool(asked))
        follower = Follower(client, namespace.topic("ledger"), classifying(namespace))
        crew.start()
        try:
            said = time.monotonic()
            while not asked:
                totals = follower.read(0.25)
                crew.watch()
                tend()
                if time.monotonic() - said >= _STATUS_EVERY_S:
                    said = time.monotonic()
                    logger().info("so far", received=totals.received, **totals.outcomes())
        finally:
            follower.read(0)
            clean = crew.stop()
            totals = follower.read(0.5)
            follower.close()
            logger().info(
                "stopped" if clean else "stopped by force; nothing is lost",
                received=totals.received,
                **totals.outcomes(),
            )

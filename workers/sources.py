"""Which of the survey's topics are read: those named, and the last nights of a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from broker.clock import now_ms
from workers import topics
from workers.counts import Counts
from workers.intake import Intake
from workers.log import logger
from workers.offsets import Group, first_of_survey

if TYPE_CHECKING:
    from workers.settings import Settings

#: In a topic's name: the UTC date of its night, as ZTF has it in ztf_20260310_programid1.
DATE = "{date}"
_LOOK_S = 2.0
_TIMEOUT_S = 5
#: A topic is gone when so many looks in a row did not find it.
_GONE = 3


def night(pattern: str, now_ms: int, ago: int) -> str:
    """The topic of a night.

    >>> night("ztf_{date}_programid1", 1_773_100_800_000, 1)
    'ztf_20260309_programid1'
    """
    date = datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(days=ago)
    return pattern.replace(DATE, f"{date:%Y%m%d}")


class Sources:
    """Keeps the decode span subscribed to the twins of the survey's topics that there are.

    A topic that the survey has yet to make is waited for, aloud. One that appears, or grows by
    some partitions, while a worker runs is read from its beginning. One that the survey deletes is
    left; what of it was not read is lost, in the ledger. Of a pattern the last nights are read, by
    their names, and older ones to their ends; the twins of nights twice as old are deleted, and the
    group's offsets with them.

    Parameters
    ----------
    settings
        Of the worker.
    namespace
        That reads.
    ours, survey
        The two clusters.
    stop
        Ends waiting.
    clock
        Unix time in ms.
    """

    def __init__(
        self,
        settings: Settings,
        namespace: topics.Namespace,
        ours: AdminClient,
        survey: AdminClient,
        stop: Callable[[], bool],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._settings, self._namespace = settings, namespace
        self._ours, self._survey, self._stop, self._clock = ours, survey, stop, clock
        self._counts = Counts(survey, _LOOK_S)
        self._looked = False
        self._read: dict[str, int] = {}  # topics that are subscribed to -> partitions
        self._missed: dict[str, int] = {}  # topics that were -> looks that did not find them
        self._stood: set[tuple[str, int]] = set()  # partitions that were there from the first
        self._said: set[str] = set()
        self._cleaned = ""  # the date

    def look(self, intake: Intake) -> None:
        """Once a second, with nothing in hand."""
        names = list(dict.fromkeys([*self._names(), *self._read]))
        if not self._looked:
            self._looked = True
            counts: dict[str, int] | None = self._counts.wait("survey's Kafka", names, self._stop)
            self._stand(counts or {})
        else:
            counts = self._counts.told(names)
        if counts is None:
            return
        left = []
        for topic in self._read:
            if self._gone(topic, counts):
                if lost := intake.give_up(topic):  # it is left when that is in the ledger
                    logger().error("gone before it was read", topic=topic, lost=lost)
                    return
            elif topic in self._names() or intake.unread(topic):
                continue
            logger().info("left", topic=topic)
            left.append(topic)
        new = {topic: n for topic, n in counts.items() if n > self._read.get(topic, 0)}
        for topic, n in new.items():
            replication = self._settings.kafka.replication
            topics.twin(self._ours, self._namespace, topic, n, replication, self._stop)
        self._read = {t: n for t, n in (self._read | new).items() if t not in left}
        if new or left:
            intake.subscribe({self._namespace.twin(topic): topic for topic in self._read})
        self._wait_aloud(counts)
        self._clean()

    def first(self, topic: str, partition: int) -> int:
        """Where a partition begins that the group has never held.

        What came up while the stream was read is read from its beginning, whatever `source.start`
        says: that is for what stood there before.
        """
        start = self._settings.source.start if (topic, partition) in self._stood else "earliest"
        group = Group(self._namespace.group("decode"), self._namespace.topic("ledger"))
        client = self._settings.kafka.client()
        return first_of_survey(client, group, self._survey, start, self._stop, topic, partition)

    def identity(self, topic: str) -> str:
        """The id that the survey's Kafka gave a topic when it was made; empty if it says none."""
        try:
            told = self._survey.describe_topics(
                TopicCollection([topic]), request_timeout=_TIMEOUT_S
            )
            return str(told[topic].result(_TIMEOUT_S + 1).topic_id)
        except (KafkaException, TimeoutError):
            return ""

    def _names(self) -> list[str]:
        every = (name for topic in self._settings.source.topics for name in self._of(topic))
        return list(dict.fromkeys(every))

    def _of(self, wanted: str) -> list[str]:
        """The topics that a setting stands for, the youngest night first."""
        if DATE not in wanted:
            return [wanted]
        now_ms = self._clock()
        return [night(wanted, now_ms, ago) for ago in range(self._settings.source.nights)]

    def _stand(self, counts: dict[str, int]) -> None:
        """Note what is there before anything is read; a night after the first is new."""
        twins = topics.every(self._ours, self._stop)
        for wanted in self._settings.source.topics:
            before = any(self._date(wanted, twin) for twin in twins)
            for topic in self._of(wanted):
                twin = self._namespace.twin(topic)
                if before and twin not in twins:
                    continue
                n = counts.get(topic, 0)
                self._stood.update((topic, p) for p in range(min(n, twins.get(twin, n))))

    def _gone(self, topic: str, counts: dict[str, int]) -> bool:
        """Whether the survey has deleted a topic."""
        missed = self._missed.get(topic, 0) + 1 if counts.get(topic) == 0 else 0
        self._missed[topic] = missed
        return missed >= _GONE

    def _wait_aloud(self, counts: dict[str, int]) -> None:
        for wanted in self._settings.source.topics:
            if wanted not in self._said and not any(map(counts.get, self._of(wanted))):
                self._said.add(wanted)
                source, ours = self._settings.source, self._settings.kafka
                logger().warning(
                    "no such topic at the survey's Kafka yet; waiting for it",
                    topic=wanted,
                    kafka=source.bootstrap_servers or ours.bootstrap_servers,
                )

    def _clean(self) -> None:
        """Once a day: delete the twins of nights that are twice as old as those that are read."""
        now_ms = self._clock()
        today = night(DATE, now_ms, 0)
        if today == self._cleaned:
            return
        self._cleaned = today
        oldest = night(DATE, now_ms, 2 * self._settings.source.nights)
        old = [
            twin
            for twin in topics.every(self._ours, self._stop)
            for wanted in self._settings.source.topics
            if (date := self._date(wanted, twin)) is not None and date < oldest
        ]
        if old:
            for twin in old:
                topics.delete(self._settings.kafka.client(), twin)
            logger().info("twins of old nights deleted", topics=old)

    def _date(self, wanted: str, twin: str) -> str | None:
        """The date of a night's twin; None if it is none of this pattern."""
        before, found, behind = self._namespace.twin(wanted).partition(DATE)
        pattern = f"{re.escape(before)}([0-9]{{8}}){re.escape(behind)}"
        match = re.fullmatch(pattern, twin) if found else None
        return match and match[1]

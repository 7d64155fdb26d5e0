"""How many partitions topics have, asked again and again without waiting for the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from workers.kafka import patiently
from workers.log import logger

_TIMEOUT_S = 5


class Counts:
    """Asks a cluster for topics by their names, at most once in `every_s`.

    Never for all that there are: a survey's Kafka goes on naming nights that are long gone, and a
    large one takes seconds to tell all.
    """

    def __init__(self, kafka: AdminClient, every_s: float) -> None:
        self._kafka, self._every_s = kafka, every_s
        self._asked: dict[str, Future[Any]] = {}
        self._at = -every_s
        self._said: set[str] = set()

    def told(self, names: Sequence[str]) -> dict[str, int] | None:
        """What was answered since the last call; and the next question, where it is time for it.

        Partitions by topic, 0 where there is no such topic; one of which Kafka could not say is
        left out. None while there is no answer.
        """
        if not self._asked:
            if names and time.monotonic() - self._at >= self._every_s:
                self._ask(names)
            return None
        if not all(answer.done() for answer in self._asked.values()):
            return None
        asked, self._asked = self._asked, {}
        counts = {name: self._count(name, answer) for name, answer in asked.items()}
        return {name: n for name, n in counts.items() if n is not None}

    def wait(self, what: str, names: Sequence[str], stop: Callable[[], bool]) -> dict[str, int]:
        """The same at once, however long Kafka is away."""
        if not names:
            return {}

        def ask() -> dict[str, int]:
            self._ask(names)
            for answer in self._asked.values():
                error = answer.exception(_TIMEOUT_S + 1)
                if isinstance(error, KafkaException) and error.args[0].code() in _AWAY:
                    raise error
            return self.told(names) or {}

        return patiently(what, ask, stop)

    def _ask(self, names: Sequence[str]) -> None:
        self._at = time.monotonic()
        self._asked = self._kafka.describe_topics(
            TopicCollection(list(names)), request_timeout=_TIMEOUT_S
        )

    def _count(self, name: str, answer: Future[Any]) -> int | None:
        error = answer.exception()
        if error is None:
            return len(answer.result().partitions)
        told = error.args[0]
        if isinstance(told, KafkaError) and told.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return 0
        if name not in self._said:
            self._said.add(name)
            logger().warning("Kafka does not say how a topic stands", topic=name, error=str(error))
        return None


_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._RESOLVE,
    KafkaError.REQUEST_TIMED_OUT,
}

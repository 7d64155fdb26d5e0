"""What a stage made of the records in hand: columns of records for each topic, and the sums."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from broker.clock import now_ms
from broker.origins import origin
from broker.records import OUTCOMES, DeadLetter
from workers.ledger import Tallies

_DEAD, _NOTICE = OUTCOMES.index("dead"), OUTCOMES.index("notice")
_PRODUCE_TIMEOUT_S = 30.0

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Records:
    """Records for one topic, column by column; of letters alone, each with its headers."""

    topic: str
    values: Sequence[bytes]
    keys: Sequence[bytes]
    partitions: Sequence[int]

    def produce(self, producer: Producer) -> None:
        """Hand all to the producer; waits where its queue is full.

        Raises
        ------
        KafkaException
            The queue stays full.
        """
        topic = self.topic
        for value, key, partition in zip(self.values, self.keys, self.partitions, strict=True):
            try:
                producer.produce(topic, value, key, partition)
            except BufferError:
                _patiently(producer, partial(producer.produce, topic, value, key, partition))


@dataclass(frozen=True, slots=True)
class Letters:
    """Records of the dead-letter topic: the untouched bytes, and why in the headers."""

    topic: str
    dead: Sequence[DeadLetter]
    died_ms: int

    @property
    def partitions(self) -> list[int]:
        return [-1] * len(self.dead)  # Kafka's choice

    def produce(self, producer: Producer) -> None:
        """Hand all to the producer; waits where its queue is full.

        Raises
        ------
        KafkaException
            The queue stays full.
        """
        for letter in self.dead:
            said = {
                "reason": letter.reason,
                "error": letter.error,
                "topic": letter.topic,
                "partition": str(letter.partition),
                "offset": str(letter.offset),
                "record": str(letter.record),
                "published_ms": str(letter.published_ms),
                "died_ms": str(self.died_ms),
                "attempts": "1",
            }
            headers = [(name, text.encode()) for name, text in said.items()]
            produce = partial(producer.produce, self.topic, letter.value, headers=headers)
            _patiently(producer, produce)


def _patiently(producer: Producer, produce: Callable[[], None]) -> None:
    """Produce, giving the network time while the queue is full."""
    deadline = time.monotonic() + _PRODUCE_TIMEOUT_S
    while True:
        try:
            produce()
        except BufferError:
            if time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
            producer.poll(0.05)
        else:
            return


@dataclass(slots=True)
class Outputs:
    """All that one transaction writes beside its ledger row, and what follows its commit."""

    records: list[Records | Letters] = field(default_factory=list)
    tallies: Tallies = field(default_factory=Tallies)
    #: called after the commit, with the commit's time in Unix ms: what counters to raise
    afterwards: list[Callable[[int], None]] = field(default_factory=list)

    def bury(self, topic: str, dead: Sequence[DeadLetter]) -> None:
        """Letters for `topic`, and their outcome: by the survey's topic where that is known.

        A record of ours that does not tell its alert is counted by our own topic, with hash 0; so
        is a packet, by the survey's, as no later hop knows of it.
        """
        if dead:
            self.records.append(Letters(topic, dead, now_ms()))
        for letter in dead:
            if (of := letter.origin) is None:
                self.tallies.one(letter.topic, letter.partition, _DEAD, 1, 0)
            else:
                outcome = _NOTICE if of.notice else _DEAD
                self.tallies.one(of.topic, of.partition, outcome, 1, of.hash)

    def written(self) -> Counter[tuple[str, int]]:
        """How many records go to each (topic, partition)."""
        counts: Counter[tuple[str, int]] = Counter()
        for records in self.records:
            for partition, count in Counter(records.partitions).items():
                counts[records.topic, partition] += count
        return counts


def letter_of(message: Message, reason: str, error: str) -> DeadLetter:
    """The letter for a record of our own that a hop could not take."""
    value = message.value() or b""
    return DeadLetter(
        value,
        reason,
        error,
        message.topic(),
        message.partition(),
        message.offset(),
        0,
        message.timestamp()[1],
        origin(value),
    )

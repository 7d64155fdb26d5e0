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
from broker.records import DeadLetter
from workers.counting import buried
from workers.kafka import MAX_MESSAGE_BYTES
from workers.ledger import Tallies

_PRODUCE_TIMEOUT_S = 30.0
#: What of a letter's bytes is kept: its headers take some hundred more, and a record that a topic
#: refuses for its size must not be refused again as a letter.
LETTER_BYTES = MAX_MESSAGE_BYTES - (64 << 10)
_ERROR_LETTERS = 1000
#: Of a letter's headers; those without this header are of the first version, too.
LETTER_VERSION = "1"
#: Headers of a record that was put back.
_ATTEMPTS, _ONLY = "attempts", "only"


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
    """Records of the dead-letter topic: the untouched bytes, and why in the headers.

    Of bytes beyond `room` the first are kept; the header `bytes` says how many there were.
    """

    topic: str
    dead: Sequence[DeadLetter]
    died_ms: int
    span: str
    group: str
    room: int

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
                "version": LETTER_VERSION,
                "reason": letter.reason,
                "error": letter.error[:_ERROR_LETTERS],
                "span": self.span,
                "group": self.group,
                "topic": letter.topic,
                "partition": str(letter.partition),
                "offset": str(letter.offset),
                "record": str(letter.record),
                "published_ms": str(letter.published_ms),
                "died_ms": str(self.died_ms),
                "attempts": str(letter.attempts),
                "bytes": str(len(letter.value)),
            }
            # A schema may name its fields by half of a surrogate pair, and an error repeat that.
            headers = [(name, text.encode(errors="replace")) for name, text in said.items()]
            value = letter.value[: self.room]
            produce = partial(producer.produce, self.topic, value, letter.key, headers=headers)
            _patiently(producer, produce)


@dataclass(frozen=True, slots=True)
class Again:
    """A record put back where a hop takes it from, after it died there `attempts` times.

    `group` is the only one that takes it; others of the topic had it before.
    """

    topic: str
    value: bytes
    key: bytes | None
    partition: int
    attempts: int
    group: str

    @property
    def partitions(self) -> list[int]:
        return [self.partition]

    def produce(self, producer: Producer) -> None:
        """Hand it to the producer; waits where its queue is full.

        Raises
        ------
        KafkaException
            The queue stays full.
        """
        headers = [(_ATTEMPTS, str(self.attempts).encode()), (_ONLY, self.group.encode())]
        produce = partial(
            producer.produce, self.topic, self.value, self.key, self.partition, headers=headers
        )
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

    span: str = ""
    group: str = ""
    records: list[Records | Letters | Again] = field(default_factory=list)
    tallies: Tallies = field(default_factory=Tallies)
    #: called after the commit, with the commit's time in Unix ms: what counters to raise
    afterwards: list[Callable[[int], None]] = field(default_factory=list)

    def bury(self, topic: str, dead: Sequence[DeadLetter], room: int = LETTER_BYTES) -> None:
        """Letters for `topic`, and their outcome: by the survey's topic where that is known.

        A record of ours that does not tell its alert is counted by our own topic, with hash 0; so
        is a packet, by the survey's, as no later hop knows of it.
        """
        if dead:
            letters = Letters(topic, dead, now_ms(), self.span, self.group, room)
            self.records.append(letters)
            self.afterwards.append(partial(buried, [letter.reason for letter in dead]))
        for letter in dead:
            self.tallies.record(letter.origin, (letter.topic, letter.partition), "dead")

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
        message.key(),
        1 + _deaths(message),
    )


def _deaths(message: Message) -> int:
    """How often a record that was put back had died before."""
    said = dict(message.headers() or ()).get(_ATTEMPTS) or b""
    return int(said) if said.isdigit() else 0


def is_for(message: Message, group: str) -> bool:
    """Whether a record is for this group: one that was put back is for that which buried it."""
    headers = message.headers()
    return not headers or dict(headers).get(_ONLY, b"") in (b"", group.encode())

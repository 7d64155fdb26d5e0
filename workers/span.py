"""One hop of the route as a process lives it: consume, compute, commit, and again.

The order of a commit, on which everything hangs:

1. the group's metadata is read, once, before the batch's first record
2. records are consumed and their outputs computed, so a slow stage never holds a transaction open
3. begin; outputs, changelog pages, dead letters and the ledger's row are produced
4. the source's offsets are sent with that metadata; commit
5. the state beside the worker is written, counters rise

Whatever fails before the commit leaves nothing; whatever fails after it is found again from the
committed offsets.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from broker.clock import now_ms
from broker.records import OUTCOMES, DeadLetter
from workers import ledger
from workers.counting import SpanMetrics
from workers.intake import Intake, Rebalanced
from workers.kafka import TRANSACTION_TIMEOUT_MS, Stopped, is_fatal, patiently
from workers.ledger import Tallies
from workers.log import logger

#: A transaction is committed early when this much is waiting: memory stays bounded in a backlog.
_HEAVY_RECORDS = 20_000
_HEAVY_BYTES = 64 << 20
_PRODUCE_TIMEOUT_S = 30.0
#: Whatever stood open, the coordinator has aborted it by then.
_PATIENCE_S = TRANSACTION_TIMEOUT_MS / 1000 + 5
_LOST = OUTCOMES.index("lost")
_DEAD = OUTCOMES.index("dead")


class Fenced(Exception):
    """This worker's place in its group or its transaction is gone; only a new start can go on."""


@dataclass(slots=True)
class Record:
    """One record to write. `partition` -1 leaves it to Kafka."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int = -1
    headers: list[tuple[str, bytes]] | None = None


@dataclass(slots=True)
class Outputs:
    """What a stage made of the records in hand."""

    records: list[Record] = field(default_factory=list)
    tallies: Tallies = field(default_factory=Tallies)
    #: called after the commit, with the commit's time in Unix ms: what counters to raise
    afterwards: list[Callable[[int], None]] = field(default_factory=list)


class Stage(Protocol):
    """What a span does with records; it knows no transaction."""

    span: str

    def ready(self, topic: str, partition: int, offset: int, breathe: Callable[[], None]) -> None:
        """Stand ready for `partition` from `offset` on."""

    def take(self, messages: list[Message], outputs: Outputs) -> None:
        """Compute what the messages give; state is changed in a staged copy only."""

    def keep(self, offsets: Mapping[int, int]) -> None:
        """The batch was committed; the next record of each partition is at `offsets`."""

    def drop(self) -> None:
        """The batch was not committed: forget the staged copy."""


def letters(topic: str, dead: list[DeadLetter], died_ms: int) -> Iterator[Record]:
    """Records of the dead-letter topic: the untouched bytes, and why in the headers."""
    for letter in dead:
        headers = {
            "reason": letter.reason,
            "error": letter.error,
            "topic": letter.topic,
            "partition": str(letter.partition),
            "offset": str(letter.offset),
            "record": str(letter.record),
            "published_ms": str(letter.published_ms),
            "died_ms": str(died_ms),
            "attempts": "1",
        }
        yield Record(topic, letter.value, headers=[(k, v.encode()) for k, v in headers.items()])


@dataclass(slots=True)
class Span:
    """Runs one stage between an intake and a transactional producer until it is asked to stop."""

    stage: Stage
    intake: Intake
    producer: Producer
    ledger_topic: str
    dead_topic: str
    worker: str
    commit_s: float
    stop: Callable[[], bool]
    metrics: SpanMetrics
    between: Callable[[Intake], None] = lambda intake: None  # once a second, with nothing in hand
    _outputs: Outputs = field(default_factory=Outputs)
    _records: int = 0
    _bytes: int = 0
    _since: float = 0.0
    _checked: float = 0.0

    def run(self) -> None:
        """Work until asked to stop; then finish the batch in hand and say how far it got.

        Raises
        ------
        Fenced
            Another worker has this one's name: start anew.
        """
        patiently(
            "the transaction coordinator", lambda: self.producer.init_transactions(10), self.stop
        )
        try:
            while not self.stop():
                self._turn()
            if self._records:
                self._commit()
        except Rebalanced:
            self._abandon("rebalance")
        except Stopped:
            self._abandon("stopped")
        except KafkaException as exc:
            if is_fatal(exc.args[0]):
                raise Fenced(exc.args[0].str()) from exc
            raise
        finally:
            self.metrics.ended()
            self.intake.close()
        logger().info("stopped", span=self.stage.span, at=self.intake.standing())

    def _turn(self) -> None:
        try:
            if self.intake.unsettled:
                raise Rebalanced
            if not self._records:
                self._rest()
                self.intake.hold()
            wait = self.commit_s if not self._records else self._left()
            messages = self.intake.consume(max(wait, 0.001))
            if messages:
                self._take(messages)
            if self.intake.lost or (self._records and self._due()):
                self._commit()
        except Rebalanced:
            self._abandon("rebalance")
            self.intake.settle()

    def _take(self, messages: list[Message]) -> None:
        if not self._records:
            self._since = time.monotonic()
        try:
            with self.metrics.stage.time():
                self.stage.take(messages, self._outputs)
        except KafkaException:
            raise
        except Exception as exc:  # whatever a record may do to a kernel: find that record
            self._isolate(messages, exc)
            return
        if self.intake.careful:
            self.intake.careful *= 2
            self._since = 0.0  # commit at once, so that the next failure takes nothing along
            if self.intake.careful >= self.intake.limit:
                self.intake.careful = 0
        self._records += len(messages)
        self._bytes += sum(map(len, messages))
        self.metrics.batch_size.observe(len(messages))

    def _isolate(self, messages: list[Message], exc: Exception) -> None:
        """Halve the batch until the record that a stage cannot take stands alone, and bury it.

        Its neighbours are taken again from the source, in batches of their own.
        """
        if len(messages) > 1 or self._records:
            logger().error("stage failed", span=self.stage.span, error=repr(exc), exc_info=exc)
            self._abandon(None)
            self.intake.careful = max(len(messages) // 2, 1)
            return
        message = messages[0]
        origin = (message.topic(), message.partition())
        letter = DeadLetter(
            message.value() or b"",
            "stage_failed",
            f"{self.stage.span}: {exc!r}",
            *origin,
            message.offset(),
            0,
            message.timestamp()[1],
        )
        logger().error(
            "dead letter", span=self.stage.span, error=repr(exc), offset=message.offset()
        )
        self.stage.drop()
        self._clear()
        self._outputs.records.extend(letters(self.dead_topic, [letter], now_ms()))
        self._outputs.tallies.one(*origin, _DEAD, 1, 0)
        self._records, self._since = 1, 0.0

    def _left(self) -> float:
        return self._since + self.commit_s - time.monotonic()

    def _due(self) -> bool:
        heavy = self._records >= _HEAVY_RECORDS or self._bytes >= _HEAVY_BYTES
        return heavy or self._left() <= 0

    def _commit(self) -> None:
        """Steps 3 to 5 of the order above."""
        outputs = self._outputs
        for gone in self.intake.lost:
            outputs.tallies.one(gone.topic, gone.partition, _LOST, gone.end - gone.start, 0)
        self.metrics.began()
        try:
            self.producer.begin_transaction()
            written: Counter[tuple[str, int]] = Counter()
            for record in outputs.records:
                self._produce(record)
                written[record.topic, record.partition] += 1
            committed_ms = now_ms()
            inputs = self.intake.ranges()
            row = ledger.row(
                self.stage.span, self.worker, committed_ms, inputs, written, outputs.tallies
            )
            self._produce(Record(self.ledger_topic, row))
            offsets = self.intake.offsets()
            if offsets:
                self._insist(
                    lambda: self.producer.send_offsets_to_transaction(
                        offsets, self.intake.group, 10
                    )
                )
            self._insist(lambda: self.producer.commit_transaction(10))
        except KafkaException as exc:
            self._undo(exc)
            return
        self.intake.advance()
        self.stage.keep(self.intake.standing_by_partition())
        self.metrics.committed()
        for call in outputs.afterwards:
            call(committed_ms)
        logger().debug("commit", span=self.stage.span, records=self._records)
        self._clear()

    def _produce(self, record: Record) -> None:
        deadline = time.monotonic() + _PRODUCE_TIMEOUT_S
        while True:
            try:
                if record.headers is None:
                    self.producer.produce(record.topic, record.value, record.key, record.partition)
                else:
                    self.producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        record.partition,
                        headers=record.headers,
                    )
            except BufferError:  # the queue is full: give the network time
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
                self.producer.poll(0.05)
            else:
                return

    def _insist(self, call: Callable[[], object]) -> None:
        """Call again while Kafka says that trying again is right, and while it may still help.

        Raises
        ------
        Fenced
            It did not help in time. (Seen where Kafka was killed while this worker joined: the
            member was fenced, and its offsets were refused as if trying again could help.)
        """
        said = False
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                call()
            except KafkaException as exc:
                error = exc.args[0]
                if not error.retriable() or error.txn_requires_abort() or is_fatal(error):
                    raise
                if time.monotonic() > deadline:
                    raise Fenced(error.str()) from exc
                if not said:
                    logger().warning("commit waits", span=self.stage.span, error=error.str())
                    said = True
                time.sleep(0.1)
            else:
                return

    def _undo(self, exc: KafkaException) -> None:
        error = exc.args[0]
        self.metrics.aborted(error.name())
        if is_fatal(error) or error.code() in _FENCED:
            self.metrics.fenced.inc()
            raise Fenced(error.str()) from exc
        logger().warning("abort", span=self.stage.span, error=error.str())
        try:
            self._insist(lambda: self.producer.abort_transaction(10))
        except KafkaException as abort:
            if is_fatal(abort.args[0]):
                raise Fenced(str(abort)) from abort
            raise
        self._abandon(None)

    def _abandon(self, why: str | None) -> None:
        """Drop what is in hand: outputs, staged state, the place in the source."""
        if why == "rebalance":
            self.metrics.rebalances.inc()
        self.stage.drop()
        self._clear()
        self.intake.rewind()

    def _clear(self) -> None:
        self._outputs = Outputs()
        self._records = self._bytes = 0

    def _rest(self) -> None:
        """Once a second, with nothing in hand: lags, and whatever the span has to look after."""
        now = time.monotonic()
        if now - self._checked >= 1.0:
            self._checked = now
            self.metrics.lags(self.intake.lag(), self.intake.taken_ms)
            self.between(self.intake)


_FENCED = {
    KafkaError._FENCED,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}

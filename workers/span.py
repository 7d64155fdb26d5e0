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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from broker.clock import now_ms
from broker.records import OUTCOMES
from workers import ledger
from workers.breath import Breath
from workers.counting import SpanMetrics
from workers.errors import Failed
from workers.intake import Intake, Rebalanced
from workers.kafka import TRANSACTION_TIMEOUT_MS, Stopped, is_fatal, patiently
from workers.log import logger
from workers.outputs import Outputs
from workers.refusals import Refusals

#: A transaction is committed early when this much is waiting: memory stays bounded in a backlog.
_HEAVY_RECORDS = 20_000
_HEAVY_BYTES = 64 << 20
#: Records or bytes that a stage takes at once: each call costs it a millisecond, whatever it is
#: given, and more than this gains nothing.
BATCH_RECORDS = 2000
BATCH_BYTES = 16 << 20
#: Commits take at most this share of the time: where each is slow, they come less often, but not
#: less often than this.
_COMMIT_SHARE = 0.33
_LONGEST_INTERVAL_S = 1.0
#: A stage that computes for longer does not hold up its group: others may join or leave meanwhile.
_LONG_S = 3.0
#: What the span before committed arrives at once; so long is waited for the rest of it.
_GATHER_S = 0.01
#: Whatever stood open, the coordinator has aborted it by then.
_PATIENCE_S = TRANSACTION_TIMEOUT_MS / 1000 + 5
_LOST = OUTCOMES.index("lost")


class Fenced(Exception):
    """This worker's place in its group or its transaction is gone; only a new start can go on."""


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


@dataclass(slots=True)
class Span:
    """Runs one stage between an intake and a transactional producer until it is asked to stop."""

    stage: Stage
    intake: Intake
    producer: Producer
    ledger_topic: str
    dead_topic: str
    worker: str
    group: str
    commit_s: float  # from one commit to the next, at least
    stop: Callable[[], bool]
    metrics: SpanMetrics
    looks: Sequence[Callable[[Intake], None]] = ()  # once a second, with nothing in hand
    _outputs: Outputs = field(init=False)
    _alone: Message | None = None  # the record in hand, if it is the only one
    _refusals: Refusals = field(init=False)
    _waiting: list[Message] = field(default_factory=list)  # consumed, not yet given to the stage
    _waiting_bytes: int = 0
    _records: int = 0  # consumed since the last commit
    _bytes: int = 0
    _since: float = 0.0  # when the first of them came
    _committed: float = 0.0
    _commit_took: float = 0.0
    _at_once: bool = False  # commit without waiting for more
    _checked: float = 0.0
    _breath: Breath = field(init=False)

    def __post_init__(self) -> None:
        self._outputs = Outputs(self.stage.span, self.group)
        self._refusals = Refusals(self.stage.span, self.dead_topic)
        self._breath = Breath(self.intake.stay, _LONG_S)

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
            self._finish()
        except Rebalanced:
            self._abandon("rebalance")
        except Stopped:
            self._abandon("stopped")
        except KafkaException as exc:
            if is_fatal(exc.args[0]):
                raise Fenced(exc.args[0].str()) from exc
            raise
        finally:
            self._breath.end()
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
            wait = self._left() if self._records else self.commit_s
            messages = self.intake.consume(max(wait, 0.001))
            if messages:
                self._gather(messages)
            if self._waiting and (self.intake.careful or self._full()):
                self._take()
            if self.intake.lost or (self._records and self._due()):
                self._finish()
        except Rebalanced:
            self._abandon("rebalance")
            self.intake.settle()

    def _finish(self) -> None:
        """Take what waits, then commit: a commit alone would step over what was not taken."""
        if self._waiting:
            self._take()
        if self._records or self.intake.lost:
            self._commit()

    def _gather(self, messages: list[Message]) -> None:
        if not self._records:
            self._since = time.monotonic()
        size = sum(map(len, messages))
        self._waiting += messages
        self._waiting_bytes += size
        self._records += len(messages)
        self._bytes += size

    def _full(self) -> bool:
        return len(self._waiting) >= BATCH_RECORDS or self._waiting_bytes >= BATCH_BYTES

    def _take(self) -> None:
        """Give the stage what is waiting.

        Raises
        ------
        Rebalanced
            The share changed meanwhile.
        """
        messages, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self._refusals:
            messages = [message for message in messages if not self._buried(message)]
        try:
            with self._breath, self.metrics.stage.time():
                self.stage.take(messages, self._outputs)
        except _NO_RECORDS_FAULT:
            raise
        except Exception as exc:  # whatever a record may do to a kernel: find that record
            logger().error("stage failed", span=self.stage.span, error=repr(exc), exc_info=exc)
            self._isolate(messages, exc)
            self.intake.go_on()
            return
        if self._records == 1 and messages:
            self._alone = messages[0]
        if self.intake.careful:
            self.intake.careful *= 2
            self._at_once = True  # so that the next failure takes nothing along
            if self.intake.careful >= self.intake.limit:
                self.intake.careful = 0
        self.metrics.batch_size.observe(len(messages))
        self.intake.go_on()

    def _isolate(self, messages: list[Message], exc: Exception) -> None:
        """Halve the batch until the record that a stage cannot take stands alone, and bury it.

        Its neighbours are taken again from the source, in batches of their own.
        """
        if self._records > 1:
            self._halve(len(messages))
            return
        (message,) = messages
        self.stage.drop()
        self._outputs = Outputs(self.stage.span, self.group)
        self._refusals.note(message, exc)
        self._buried(message)
        self._at_once = True

    def _halve(self, n: int) -> None:
        """Drop what is in hand, and go on with half of a batch of `n` that holds a bad record."""
        self._abandon(None)
        self.intake.careful = max(min(n, self.intake.limit) // 2, 1)

    def _buried(self, message: Message) -> bool:
        """Bury a record if it was refused before; whether it was."""
        buried = self._refusals.bury(message, self._outputs)
        if buried and self._records == 1:
            self._alone = message
        return buried

    def _left(self) -> float:
        """Seconds until what is in hand is due; after a pause, that is soon after it came."""
        slow = min(self._commit_took / _COMMIT_SHARE, _LONGEST_INTERVAL_S)
        due = max(self._since + _GATHER_S, self._committed + max(self.commit_s, slow))
        return due - time.monotonic()

    def _due(self) -> bool:
        heavy = self._records >= _HEAVY_RECORDS or self._bytes >= _HEAVY_BYTES
        return self._at_once or heavy or self._left() <= 0

    def _commit(self) -> None:
        """Steps 3 to 5 of the order above."""
        outputs = self._outputs
        for gone in self.intake.lost:
            outputs.tallies.one(gone.topic, gone.partition, _LOST, gone.end - gone.start, 0)
        self.metrics.began()
        try:
            self.producer.begin_transaction()
            for records in outputs.records:
                records.produce(self.producer)
            committed_ms = now_ms()
            row = ledger.row(
                self.stage.span,
                self.worker,
                self.group,
                committed_ms,
                self.intake.ranges(),
                outputs.written(),
                outputs.tallies,
            )
            self.producer.produce(self.ledger_topic, row)
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
        self._commit_took = (self._commit_took + self.metrics.committed()) / 2
        self._committed = time.monotonic()
        for call in outputs.afterwards:
            call(committed_ms)
        self._refusals.forget(self.intake.standing())
        logger().debug("commit", span=self.stage.span, records=self._records)
        self._clear()

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
        if error.code() not in _RECORDS_FAULT:
            self._abandon(None)
        elif self._alone is None:
            self._halve(self._records)
        else:  # taken anew, as the client needs a moment after an abort
            self._refusals.note(self._alone, exc)
            self._halve(1)

    def _abandon(self, why: str | None) -> None:
        """Drop what is in hand: outputs, staged state, the place in the source."""
        if why == "rebalance":
            self.metrics.rebalances.inc()
        self.stage.drop()
        self._clear()
        self.intake.rewind()

    def _clear(self) -> None:
        self._outputs = Outputs(self.stage.span, self.group)
        self._alone = None
        self._waiting = []
        self._waiting_bytes = self._records = self._bytes = 0
        self._at_once = False

    def _rest(self) -> None:
        """Once a second, with nothing in hand: lags, and whatever the span has to look after."""
        now = time.monotonic()
        if now - self._checked >= 1.0:
            self._checked = now
            self.metrics.lags(self.group, self.intake.lag(), self.intake.taken_ms)
            self.intake.look()
            for look in self.looks:
                look(self.intake)


#: Errors that say nothing of a record: Kafka is away, a disk or the memory is full. The worker
#: ends, and takes the same records when it is started again.
_NO_RECORDS_FAULT = (KafkaException, Failed, OSError, MemoryError)
#: What Kafka says of a record that it will never take.
_RECORDS_FAULT = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
}
_FENCED = {
    KafkaError._FENCED,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}

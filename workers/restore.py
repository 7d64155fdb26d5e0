"""Light curves made to stand where their group does, from the changelog where the store is behind.

The end of a reading is asked of the partition's leader regardless of open transactions: an
end-of-file event or a watermark under read_committed both stop at the last stable offset, and so
miss what another worker committed after a transaction that hangs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from broker.curves import Curves
from workers.counting import RestoreMetrics
from workers.errors import Failed
from workers.kafka import Stopped, admin, consumer, is_fatal, patiently
from workers.log import logger
from workers.offsets import learn_leaders, offset_at
from workers.standing import NOWHERE, Standing, boot_id, fault
from workers.state import DiskStore

_SAY_EVERY_S = 2.0
_TIMEOUT_S = 10
#: Pages that go into the store in one transaction.
_PUT = 8000
#: Of a consume() call: 4 MB stay in cache; and what the last, incomplete call of a reading waits.
_CONSUME, _WAIT_S = 2000, 0.05

Ends = dict[TopicPartition, Future[Any]]


@dataclass
class Changelog:
    """The `curves` topic of a namespace with `partitions` partitions."""

    client: Mapping[str, Any]
    topic: str
    partitions: int
    stop: Callable[[], bool]
    metrics: RestoreMetrics
    _asked: Ends = field(default_factory=dict)

    def bring(
        self,
        partition: int,
        offset: int,
        curves: Curves,
        store: DiskStore,
        breathe: Callable[[], None],
    ) -> Standing:
        """Bring a partition's light curves, kept in `store`, to where the group has committed.

        The store serves as it is if it stands there; one that is behind is given the pages that
        may be newer; one that cannot serve is discarded. What was read when this ends midway is
        not read again.
        """
        first, end = self.bounds(partition)
        there = Standing(offset, end, self._topic_id(), self.partitions, boot_id())
        found = Standing.read(store.note)
        why = fault(found, there)
        if found is None or why is not None:
            if store.note or len(store):
                logger().warning("store discarded", partition=partition, why=why)
            store.clear()
            found = replace(there, offset=NOWHERE, pages_from=first)
        if found.offset == offset:
            logger().info("store stands", partition=partition, at=offset, light_curves=len(curves))
            return found
        logger().info("restores", partition=partition, pages_from=found.pages_from, to=end)
        reading = replace(found, offset=NOWHERE, pages_from=max(found.pages_from, first))
        for position in self._restore(partition, reading.pages_from, end, curves, breathe):
            store.put({}, note=replace(reading, pages_from=position).note())
        store.put({}, note=there.note())
        return there

    def ask(self, partitions: Iterable[int]) -> None:
        """Ask how far the topic has come, without waiting; with no transaction open."""
        at = [TopicPartition(self.topic, partition) for partition in partitions]
        if at and all(answer.done() for answer in self._asked.values()):
            with contextlib.suppress(KafkaException):  # the next answer tells
                learn_leaders(self._kafka, (a.exception() for a in self._asked.values()))
            self._asked = self._kafka.list_offsets(
                dict.fromkeys(at, OffsetSpec.latest()),
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=_TIMEOUT_S,
            )

    def told(self) -> dict[int, int]:
        """What has been answered to the last `ask`."""
        done = {at.partition: a for at, a in self._asked.items() if a.done()}
        return {p: int(a.result().offset) for p, a in done.items() if a.exception() is None}

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset of a partition, and the end that it has now."""
        first, end = (
            offset_at(self._kafka, which, self.topic, partition, self.stop)
            for which in ("earliest", "latest")
        )
        return first, end

    def read(
        self, partition: int, first: int, end: int, each: Callable[[int], object]
    ) -> Iterator[tuple[int, list[Message]]]:
        """Yield the committed records from `first` to `end`, and the offset before which that is
        all; `each` is told of such an offset many times a second."""
        if first >= end:
            return
        reader = consumer(self.client, **{"enable.partition.eof": False})
        at = TopicPartition(self.topic, partition, first)
        try:
            reader.assign([at])
            done = first
            while done < end:
                records: list[Message] = []
                while done < end and len(records) < _PUT:
                    if self.stop():
                        raise Stopped
                    each(done)
                    records += _good(reader.consume(_CONSUME, _WAIT_S))
                    # steps over markers and aborted records, which no message tells of
                    done = max(done, reader.position([at])[0].offset)
                yield done, records
        finally:
            reader.close()

    def _restore(
        self, partition: int, first: int, end: int, curves: Curves, breathe: Callable[[], None]
    ) -> Iterator[int]:
        """Give `curves` the pages from `first` to `end`; each offset up to which it has them."""
        if first >= end:
            return
        progress = _Progress(partition, first, end, self.metrics)

        def each(done: int) -> None:
            progress.read(done)
            breathe()

        for done, pages in self.read(partition, first, end, each):
            try:
                curves.restore([m.key() for m in pages], [m.value() for m in pages])
            except ValueError as exc:
                msg = f"{exc}; if a newer Nightjar wrote it, use that one for this namespace"
                raise Failed(msg) from exc
            progress.read(done)
            progress.put(len(pages))
            yield done
        progress.done()

    def _topic_id(self) -> str:
        def ask() -> str:
            asked = TopicCollection([self.topic])
            told = self._kafka.describe_topics(asked, request_timeout=_TIMEOUT_S)
            return str(told[self.topic].result(_TIMEOUT_S).topic_id)

        return patiently(f"the id of {self.topic}", ask, self.stop)

    @cached_property
    def _kafka(self) -> AdminClient:
        return admin(self.client)


def _good(messages: list[Message]) -> list[Message]:
    """The records among them.

    Raises
    ------
    KafkaException
        An error that does not pass by itself: the topic no longer has what is being read.
    """
    for message in messages:
        error = message.error()
        if error is not None and (is_fatal(error) or error.code() == KafkaError._AUTO_OFFSET_RESET):
            raise KafkaException(error)
    return [message for message in messages if message.error() is None]


class _Progress:
    """How far a reading has come, for the metric and, every two seconds, for the log."""

    def __init__(self, partition: int, first: int, end: int, metrics: RestoreMetrics) -> None:
        self._partition, self._first, self._end, self._metrics = partition, first, end, metrics
        self._pages = 0
        self._began = self._said = time.monotonic()

    def read(self, done: int) -> None:
        """Nothing is left before offset `done`."""
        self._metrics.remaining(self._partition, max(self._end - done, 0))
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        per_offset = (now - self._began) / max(done - self._first, 1)
        left = per_offset * (self._end - done) if done > self._first else None
        self._log("restore", left_s=left)

    def put(self, pages: int) -> None:
        """So many more pages are in the store."""
        self._pages += pages

    def done(self) -> None:
        self._log("restored")

    def _log(self, event: str, **more: float | None) -> None:
        seconds = time.monotonic() - self._began
        logger().info(
            event,
            partition=self._partition,
            pages=self._pages,
            seconds=round(seconds, 2),
            pages_per_s=round(self._pages / max(seconds, 1e-3)),
            **{name: value if value is None else round(value, 1) for name, value in more.items()},
        )

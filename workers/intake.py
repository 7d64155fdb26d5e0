"""Where a span's records come from: a group's share of some topics, held and given back as one.

Our own topics are read by the group's member itself. A survey's topic stands on a cluster where
we may only read: there the member holds the empty twins on our cluster (assigned, paused, never
fetched), a second consumer fetches the packets, and the twins' offsets are committed inside our
transactions, so that a worker that has lost its share is fenced in either case.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from workers.errors import Failed
from workers.kafka import QUEUE_BYTES, is_fatal, patiently
from workers.log import logger

#: Bytes per consume() call that stay in cache (facts: 1 to 4 MB; 500 packets of 70 kB cost 5 times
#: more each).
_BYTES_PER_CALL = 2 << 20

#: A partition that stands still this long is compared with what Kafka has of it.
_STILL_S = 5.0

Place = tuple[str, int]


class Rebalanced(Exception):
    """The share changed: what is in hand belongs to the past and must be dropped."""


class OffsetsGone(Failed):
    """The group has no offset for a partition that it should have."""


@dataclass(frozen=True, slots=True)
class Range:
    """Half-open range of offsets of one partition, and how many records were read in it."""

    topic: str
    partition: int
    start: int
    end: int
    records: int = 0


@dataclass(slots=True)
class Intake:
    """`ready(topic, partition, offset, breathe)` is called for each partition before its first
    record, outside the group's callbacks; it calls `breathe` now and then, so that the member
    stays alive while it works; `breathe` ends it (Rebalanced) when the share has changed.
    `first(topic, partition)` says where a partition begins that the group has never held; where it
    is None, such a partition is an error. `taken(places)` says how far the group came by its own
    books, which Kafka's may be behind. `identity(topic)` is what Kafka calls a topic that is read
    besides its name, and is committed with each offset: one that was made anew under the name is
    told by it.
    """

    member: Consumer
    fetcher: Consumer
    stop: Callable[[], bool]
    ready: Callable[[str, int, int, Callable[[], None]], None]
    limit: int
    first: Callable[[str, int], int] | None = None
    taken: Callable[[Collection[Place]], Mapping[Place, int]] = lambda places: {}
    identity: Callable[[str], str] | None = None
    careful: int = 0  # a smaller limit, while a record that a stage cannot take is looked for
    source: dict[str, str] = field(default_factory=dict)  # subscribed topic -> where it is read
    lost: list[Range] = field(default_factory=list)
    taken_ms: dict[Place, int] = field(default_factory=dict)  # time of the last record taken
    group: Any = None  # metadata of the generation that the batch in hand belongs to
    _share: list[TopicPartition] = field(default_factory=list)
    _changed: bool = False
    _base: dict[Place, int] = field(default_factory=dict)  # committed
    _still: set[Place] = field(default_factory=set)  # of these nothing is fetched
    _identities: dict[str, str] = field(default_factory=dict)  # of topics
    _next: dict[Place, int] = field(default_factory=dict)  # consumed
    _records: Counter[Place] = field(default_factory=Counter)  # of them
    _ends: dict[Place, int] = field(default_factory=dict)  # as last known
    _mean_bytes: float = 0.0
    _paused: bool = False  # by stay()
    _end: KafkaException | None = None  # the member's
    _looked: float = 0.0
    _passed: int = 0  # bytes that came out of the fetcher's queue; finding it empty is a queue full
    _stood: dict[Place, tuple[int, int]] = field(default_factory=dict)  # since when, see look()

    def subscribe(self, topics: dict[str, str]) -> None:
        """Ask the group for a share of `topics` (each with the topic that it is read from)."""
        self.source |= topics  # those before are in the share until the group has met again
        if not topics:
            self.member.unsubscribe()
            return
        self.member.subscribe(
            list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def consume(self, wait_s: float) -> list[Message]:
        """The next records, at most `wait_s` late; in order within a partition.

        Raises
        ------
        Rebalanced
            The share changed; nothing is returned, what was in hand must be dropped.
        """
        limit = self.careful or self.limit
        if self._mean_bytes:
            limit = max(1, min(limit, int(_BYTES_PER_CALL / self._mean_bytes)))
        if self.fetcher is not self.member:
            self._breathe()
        got = self.fetcher.consume(limit, wait_s) if not self._changed else []
        if not got:
            self._passed += QUEUE_BYTES
        records = []
        size = 0
        for message in got:
            error = message.error()
            if error is None:
                records.append(message)
                size += len(message)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                # what we stand at is no longer there: settle() finds out what was lost
                self._changed = True
            else:
                _refuse_fatal(error)
                logger().debug("consume", error=error.str())
        if self._changed:  # only now: a member's end may come with the loss of its share, and once
            raise Rebalanced
        if records:
            self._passed += size
            mean = size / len(records)
            self._mean_bytes = mean if not self._mean_bytes else 0.9 * self._mean_bytes + 0.1 * mean
            for message in records:
                place = message.topic(), message.partition()
                self._next[place] = message.offset() + 1
                self._records[place] += 1
            self.taken_ms[place] = message.timestamp()[1]
        return records

    def stay(self) -> None:
        """Keep the member in its group, by another thread than the one that consumes and while
        that one does something else for long.

        Otherwise the group would put it out after max.poll.interval.ms, and would until then wait
        for it with every change. Its partitions are paused first: nothing may be handed out here.
        """
        if not self._paused and self.fetcher is self.member and not self._changed:
            self.member.pause(self._share)
            self._paused = True
        told = self.member.poll(0)
        if told is None:
            return
        error = told.error()
        if error is None:  # a record after all: it is found again
            self._changed = True
        elif is_fatal(error):
            self._end = KafkaException(error)

    def go_on(self) -> None:
        """After what took long: fetch again, from where this batch has come to.

        Raises
        ------
        Rebalanced
            The share changed meanwhile: what is in hand must be dropped.
        """
        if self._end is not None:
            raise self._end
        if self._changed:
            raise Rebalanced
        if self._paused:
            self._stand()

    def hold(self) -> None:
        """Read the group's metadata, before a batch's first record and never again for it.

        Read afresh at commit, a worker that slept through a rebalance would have its commit
        accepted: 20 doubled records in the experiment that found it.
        """
        self.group = self.member.consumer_group_metadata()

    def ranges(self) -> list[Range]:
        """What the batch in hand consumed, by the topics that were read."""
        return [
            Range(*place, self._base[place], offset, self._records[place])
            for place, offset in self._next.items()
        ]

    def offsets(self) -> list[TopicPartition]:
        """What the transaction commits: offsets of the topics that the group holds."""
        held = {read: name for name, read in self.source.items()}
        return [
            TopicPartition(held[topic], partition, offset, self._identities.get(topic, ""))
            for (topic, partition), offset in self._next.items()
        ]

    def advance(self) -> None:
        """The batch in hand was committed."""
        self._base.update(self._next)
        self._next.clear()
        self._records.clear()
        self.lost.clear()

    def rewind(self) -> None:
        """The batch in hand was dropped: stand where it began."""
        self._next.clear()
        self._records.clear()
        if self.lost:  # what was lost was in the batch too: find it again
            self._changed = True
        if not self._changed:
            self._stand()

    def settle(self) -> None:
        """After a change of the share: find where each partition stands, make it ready, go on."""
        while self._changed:
            self._changed = False
            self._next.clear()
            self._records.clear()
            self._base.clear()
            self._still.clear()
            self.lost.clear()
            if self.fetcher is not self.member:
                self.fetcher.unassign()
            if not self._share:
                return
            # a time-out here means that a predecessor's transaction is still open
            known = patiently("the group's offsets", lambda: _good(self._committed()), self.stop)
            books = self.taken([self._place(held) for held in known])
            read = {self.source[held.topic] for held in known}
            self._identities = {t: self.identity(t) if self.identity else "" for t in read}
            for held in known:
                self._begin(self._place(held), held, books)
            for topic, partition in list(self._base):
                offset = self._base[topic, partition]
                try:
                    self.ready(topic, partition, offset, self._breathe_in_share)
                except Rebalanced:
                    break
        if self._share:
            self._stand()
            logger().info("share", partitions=[f"{t}[{p}]" for t, p in self._base])

    @property
    def unsettled(self) -> bool:
        return self._changed

    def standing(self) -> dict[str, int]:
        """The committed place in each partition, to be read by people."""
        return {
            f"{topic}[{partition}]": offset for (topic, partition), offset in self._base.items()
        }

    def standing_by_partition(self) -> dict[int, int]:
        """The same by partition number alone, for spans that read one topic."""
        return {partition: offset for (_, partition), offset in self._base.items()}

    def lag(self) -> dict[Place, int]:
        """Records that stand after what was consumed, as far as the last fetches told."""
        lags = {}
        for topic, partition in self._base:
            _, high = self.fetcher.get_watermark_offsets(
                TopicPartition(topic, partition), cached=True
            )
            if high >= 0:
                self._ends[topic, partition] = high
                at = self._next.get((topic, partition), self._base[topic, partition])
                lags[topic, partition] = max(high - at, 0)
        return lags

    def look(self) -> None:
        """With nothing in hand, now and then: stand anew where records wait that never come.

        Seen once in some hundred joins: the client library has its share, but of one partition it
        fetches nothing, without an error, for minutes. (By resuming what was assigned, probably,
        which `_stand` has not done since.) Its own lag says 0 then, so Kafka is asked.
        In a backlog a partition may wait behind others, but not longer than all that the queue can
        hold.
        """
        now = time.monotonic()
        if now - self._looked < _STILL_S or self._changed or not self._base:
            return
        self._looked = now
        for at in self.fetcher.position(self._fetched()):
            place = at.topic, at.partition
            # a position steps over markers and aborted records; at first there is none
            offset = max(at.offset, self._base[place])
            before, passed = self._stood.get(place, (-1, 0))
            if before != offset:
                self._stood[place] = offset, self._passed
                continue
            if self._passed - passed < QUEUE_BYTES:
                continue
            try:
                _, end = self.fetcher.get_watermark_offsets(at, timeout=5)
            except KafkaException:
                continue  # Kafka is away: not the consumer's fault
            if end > offset:
                logger().warning("stands anew", topic=at.topic, partition=at.partition, at=offset)
                self._stand()
                return

    def unread(self, topic: str) -> int:
        """Records of a topic's share that were not consumed yet, as its Kafka says now."""
        return sum(end - start for _, start, end in self._left(topic))

    def give_up(self, topic: str) -> int:
        """Note as lost what of a topic that is gone was never read; how many records that were.

        They are of the batch that is about to begin. Kafka has nothing to say of the topic any
        more: its end is where the last fetch told.
        """
        for place, start, end in self._left(topic):
            self.lost.append(Range(*place, start, end))
            self._next[place] = end
        return sum(gone.end - gone.start for gone in self.lost if gone.topic == topic)

    def _left(self, topic: str) -> list[tuple[Place, int, int]]:
        left = []
        for place, base in self._base.items():
            if place[0] == topic:
                end = self._ends.get(place, base)
                try:  # of a topic that is being deleted Kafka may say that it is empty
                    _, now = self.fetcher.get_watermark_offsets(TopicPartition(*place), timeout=5)
                    end = max(end, now)
                except KafkaException:
                    pass
                start = self._next.get(place, base)
                if end > start:
                    left.append((place, start, end))
        return left

    def close(self) -> None:
        if self.fetcher is not self.member:
            self.fetcher.close()
        # A share that the group has given and nobody has heard of is taken now: taken within
        # close() it may be waited for without end, interpreter and all (librdkafka's issue 4884).
        self.member.poll(0)
        self.member.close()

    def _committed(self) -> list[TopicPartition]:
        self._breathe()
        asked = [TopicPartition(t.topic, t.partition) for t in self._share]
        return list(self.member.committed(asked, 5))

    def _place(self, held: TopicPartition) -> Place:
        """Where a partition that the group holds is read."""
        return self.source[held.topic], held.partition

    def _begin(self, place: Place, held: TopicPartition, books: Mapping[Place, int]) -> None:
        """Set where a partition stands; what the source no longer has of it is lost."""
        if held.offset < 0:
            held.offset = self._never_held(place, held)
        if (taken := books.get(place, 0)) > held.offset:
            logger().error(
                "Kafka has forgotten how far the group came: goes on where the ledger ends",
                topic=place[0],
                partition=place[1],
                committed=held.offset,
                at=taken,
            )
            held.offset = taken
        at = TopicPartition(*place)
        first, end = patiently(f"{place[0]}[{place[1]}]", lambda: self._kept(at), self.stop)
        self._base[place] = held.offset
        if self.first is not None and (self._another(held) or held.offset > end >= 0):
            # asked for records, it would send us back here without end, or skip the first ones
            self._still.add(place)
            logger().error(
                "the survey's topic is not the one that was read: it was made anew under its name, "
                "and can be read in another namespace",
                topic=place[0],
                partition=place[1],
                read_to=held.offset,
                end=end,
            )
        elif first > held.offset:
            logger().error("lost", topic=place[0], partition=place[1], start=held.offset, end=first)
            self.lost.append(Range(*place, held.offset, first))
            self._next[place] = first

    def _another(self, held: TopicPartition) -> bool:
        """Whether an offset was committed of another topic of that name."""
        now = self._identities[self.source[held.topic]]
        return bool(held.metadata and now) and held.metadata != now

    def _kept(self, at: TopicPartition) -> tuple[int, int]:
        """The first offset that a partition still has, and its end; of a topic that the survey has
        deleted, 0 and -1.

        Such a one stays in the share, still, until `Sources` leaves it: to wait for it here would
        hold up all others.
        """
        try:
            first, end = self.fetcher.get_watermark_offsets(at, timeout=5)
        except KafkaException as exc:
            if self.first is not None and exc.args[0].code() in _NO_SUCH:
                logger().warning(
                    "not at the survey's Kafka", topic=at.topic, partition=at.partition
                )
                return 0, -1
            raise
        return first, end

    def _never_held(self, place: Place, held: TopicPartition) -> int:
        """The first offset of a survey topic that is new to the group, committed at once: a crash
        before the first transaction must not move it."""
        if self.first is None:
            msg = (
                f"the group has no offset for {held.topic}[{held.partition}]: it was deleted, or "
                "the partition was added, or the namespace was made only in part. Going on from a "
                "guess could skip or repeat alerts; set the offset by hand or start another "
                "namespace"
            )
            raise OffsetsGone(msg)
        offset = self.first(*place)
        new = [TopicPartition(held.topic, held.partition, offset, self._identities[place[0]])]
        self.member.commit(offsets=new, asynchronous=False)
        logger().info("new to the group", topic=place[0], partition=place[1], first=offset)
        return offset

    def _stand(self) -> None:
        at = self._fetched()
        self._stood.clear()
        # Resumed while they are assigned, partitions were fetched a second late in one of three
        # tries, and once never: the client library's thread of that broker slept on.
        self.fetcher.unassign()
        self.fetcher.resume(at)
        self.fetcher.assign(at)
        self._paused = False

    def _fetched(self) -> list[TopicPartition]:
        """Where each partition stands, but for those that stand still."""
        return [
            TopicPartition(*place, self._next.get(place, offset))
            for place, offset in self._base.items()
            if place not in self._still
        ]

    def _breathe(self) -> None:
        """Serve the group's callbacks; the member has no record, but it may have died."""
        told = self.member.poll(0)
        if told is not None:
            _refuse_fatal(told.error())

    def _breathe_in_share(self) -> None:
        """The same while a partition is made ready: nobody may need it by now."""
        self._breathe()
        if self._changed:
            raise Rebalanced

    def _assigned(self, member: Consumer, share: Sequence[TopicPartition]) -> None:
        self._share = list(share)
        self._changed = True
        member.assign(self._share)
        member.pause(self._share)

    def _revoked(self, member: Consumer, share: Sequence[TopicPartition]) -> None:
        self._share = []
        self._changed = True
        member.unassign()


_NO_SUCH = {
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


def _refuse_fatal(error: KafkaError | None) -> None:
    """Raise what says that a client is of no more use."""
    if error is not None and is_fatal(error):
        raise KafkaException(error)


def _good(offsets: list[TopicPartition]) -> list[TopicPartition]:
    for offset in offsets:
        if offset.error is not None:
            raise KafkaException(offset.error)
    return offsets

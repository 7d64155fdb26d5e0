"""A topic read from its first record to an end: the one that it had when asked, or one given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from workers.errors import Failed
from workers.kafka import consumer, is_fatal, never, patiently


def read_whole(
    client: Mapping[str, Any],
    topic: str,
    stop: Callable[[], bool] = never,
    starts: Mapping[int, int] | None = None,
    ends: Mapping[int, int] | None = None,
) -> Iterator[list[Message]]:
    """Yield the committed records of all partitions, some at a time, in order within each.

    Parameters
    ----------
    starts
        Partition to first offset: these partitions only, from there on.
    ends
        Partition to the offset to read to, instead of the end that committed records have now: an
        open transaction that stands before it is waited for.

    Raises
    ------
    Failed
        There is no such topic.
    """
    reader = consumer(client)
    try:
        known = patiently("Kafka", lambda: reader.list_topics(timeout=5), stop).topics
        if topic not in known:
            msg = f"there is no topic {topic} at {client['bootstrap.servers']}"
            raise Failed(msg)

        left, begin = {}, {}
        for partition in known[topic].partitions:
            if starts is not None and partition not in starts:
                continue
            at = TopicPartition(topic, partition)
            bounds = partial(reader.get_watermark_offsets, at, timeout=5)
            low, high = patiently(f"{topic}[{partition}]", bounds, stop)
            first = low if starts is None else max(low, starts[partition])
            end = high if ends is None else ends[partition]
            if end > first:
                left[partition], begin[partition] = end, first
        reader.assign([TopicPartition(topic, p, first) for p, first in begin.items()])
        while left and not stop():
            records = []
            for message in reader.consume(1000, 0.02):
                if message.error() is None:
                    if message.offset() < left.get(message.partition(), 0):
                        records.append(message)
                elif is_fatal(message.error()):
                    raise KafkaException(message.error())
            if records:
                yield records
            # steps over markers and aborted records, which no message tells of
            for at in reader.position([TopicPartition(topic, p) for p in left]):
                if at.offset >= left[at.partition]:
                    del left[at.partition]
    finally:
        reader.close()

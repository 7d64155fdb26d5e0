"""A topic read from its first record to the end that it had when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from workers.errors import Failed
from workers.kafka import consumer, is_fatal, patiently


def read_whole(
    client: Mapping[str, Any],
    topic: str,
    stop: Callable[[], bool] = lambda: False,
    starts: Mapping[int, int] | None = None,
) -> Iterator[list[Message]]:
    """Yield the committed records of all partitions, some at a time, in order within each.

    Parameters
    ----------
    starts
        Partition to first offset: these partitions only, from there on.

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

        ends, begin = {}, {}
        for partition in known[topic].partitions:
            if starts is not None and partition not in starts:
                continue
            at = TopicPartition(topic, partition)
            bounds = partial(reader.get_watermark_offsets, at, timeout=5)
            low, high = patiently(f"{topic}[{partition}]", bounds, stop)
            first = low if starts is None else max(low, starts[partition])
            if high > first:
                ends[partition], begin[partition] = high, first
        reader.assign([TopicPartition(topic, p, first) for p, first in begin.items()])
        while ends and not stop():
            records = []
            for message in reader.consume(1000, 0.2):
                if message.error() is None:
                    records.append(message)
                elif is_fatal(message.error()):
                    raise KafkaException(message.error())
            if records:
                yield records
            # steps over markers and aborted records, which no message tells of
            for at in reader.position([TopicPartition(topic, p) for p in ends]):
                if at.offset >= ends[at.partition]:
                    del ends[at.partition]
    finally:
        reader.close()

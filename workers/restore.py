"""Light curves back from the changelog: a partition's pages, to the end that stood when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from broker.curves import Curves
from workers.counting import RestoreMetrics
from workers.kafka import admin, consumer, is_fatal, patiently
from workers.log import logger

_SAY_EVERY_S = 2.0


def restore(
    client: Mapping[str, Any],
    topic: str,
    partition: int,
    curves: Curves,
    breathe: Callable[[], None],
    stop: Callable[[], bool],
    metrics: RestoreMetrics,
) -> None:
    """Read every page of one partition into `curves`.

    The end is asked of the partition's leader regardless of open transactions: an end-of-file
    event or a watermark under read_committed both stop at the last stable offset, and so miss
    what another worker committed after a transaction that hangs.
    """
    at = TopicPartition(topic, partition)
    kafka = admin(client)

    def ask(spec: OffsetSpec) -> int:
        request = kafka.list_offsets(
            {at: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=10
        )
        return int(request[at].result(10).offset)

    end = patiently(f"the end of {topic}[{partition}]", lambda: ask(OffsetSpec.latest()), stop)
    first = patiently(
        f"the start of {topic}[{partition}]", lambda: ask(OffsetSpec.earliest()), stop
    )
    if end <= first:
        return
    reader = consumer(client, **{"enable.partition.eof": False})
    began = said = time.monotonic()
    try:
        reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        done = first
        while done < end:
            breathe()
            messages = []
            for message in reader.consume(2000, 0.2):
                if message.error() is None:
                    messages.append(message)
                elif is_fatal(message.error()):
                    raise KafkaException(message.error())
            if messages:
                curves.restore([m.key() for m in messages], [m.value() for m in messages])
            # steps over markers and aborted records, which no message tells of
            position = reader.position([at])[0].offset
            done = max(done, position)
            metrics.remaining(partition, max(end - done, 0))
            now = time.monotonic()
            if now - said >= _SAY_EVERY_S:
                said = now
                rate = (done - first) / (now - began)
                left = round((end - done) / rate, 1) if rate else None
                logger().info(
                    "restore",
                    partition=partition,
                    pages=done - first,
                    of=end - first,
                    seconds_left=left,
                )
        logger().info(
            "restored",
            partition=partition,
            pages=end - first,
            seconds=round(time.monotonic() - began, 2),
        )
    finally:
        reader.close()

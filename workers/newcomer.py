"""A classifier that is new to a stream at work: where it begins, committed and said in the ledger.

So an audit knows of each alert before it that no label of it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from broker.clock import now_ms
from workers import ledger
from workers.intake import Range
from workers.kafka import sole, transact
from workers.log import logger
from workers.outputs import Outputs

#: Last word of the name that its row is written under; a worker's own ends in a number.
BEGIN = "begin"


def begin(
    client: Mapping[str, Any],
    group: str,
    ledger_topic: str,
    first: Mapping[tuple[str, int], int],
    reader: Consumer,
    done: Callable[[], bool],
) -> None:
    """Commit the `first` offset of each partition, by topic and number, with a row of the ledger.

    Its inputs are what stands before, of which no record was read.

    Parameters
    ----------
    reader
        Of the group, and no member of it.
    done
        Asked when no other can do it any more: whether another has done it.

    Raises
    ------
    TimeoutError
        Another worker has done it meanwhile: look again.
    KafkaException
        It was not done.
    """
    name = f"{ledger_topic.removesuffix('.ledger')}.{BEGIN}"
    before = [Range(topic, p, 0, offset) for (topic, p), offset in first.items() if offset]
    outputs = Outputs()
    row = ledger.row("classify", name, group, now_ms(), before, outputs.written(), outputs.tallies)
    places = [TopicPartition(*place, offset) for place, offset in first.items()]

    try:
        producer = sole(client, name)
        if done():
            return

        def write() -> None:
            producer.produce(ledger_topic, row)
            producer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), 10)

        transact(producer, write)
    except KafkaException as exc:
        if exc.args[0].code() in _FENCED:
            raise TimeoutError from exc
        raise
    at = {f"{topic}[{p}]": offset for (topic, p), offset in first.items()}
    logger().info("a new classifier begins here", group=group, at=at)


_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}

"""The clients' settings, each with its reason, and Kafka's errors in our words."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from workers.log import logger

MAX_MESSAGE_BYTES = 16 << 20
#: How long the group waits for a silent member; also how long a take-over takes at most.
SESSION_TIMEOUT_MS = 10_000
#: A member that does not ask for so long is put out; a busy one asks by a thread of its own.
MAX_POLL_INTERVAL_MS = 300_000
#: After this the coordinator aborts what a dead worker left open, so that readers go on.
TRANSACTION_TIMEOUT_MS = 15_000

#: What a consumer may have fetched and not handed out.
QUEUE_BYTES = 32 << 20
#: librdkafka's defaults fetch packets of 70 kB 5 to 12 times slower: its queue fills and then
#: pauses for a second. A response that stays in cache and a pause of 2 ms are the cure.
_FETCH: dict[str, Any] = {
    "fetch.queue.backoff.ms": 2,
    "fetch.wait.max.ms": 50,
    "fetch.max.bytes": 4 << 20,
    "fetch.message.max.bytes": 1 << 20,
    "queued.max.messages.kbytes": QUEUE_BYTES >> 10,
    "queued.min.messages": 1_000_000,
    "check.crcs": False,
    # a topic or partition that is new is found in seconds, not in librdkafka's 5 minutes
    "topic.metadata.refresh.interval.ms": 5000,
}

#: For survey packets: half a megabyte at once, or what 20 ms bring. Otherwise each of 2,000 packets
#: a second is fetched by itself, and Kafka has a twentieth of a core less for the workers.
PACKETS: dict[str, Any] = {"fetch.min.bytes": 1 << 19, "fetch.wait.max.ms": 20}

T = TypeVar("T")


class Stopped(Exception):
    """The worker was asked to stop while it waited."""


def consumer(client: Mapping[str, Any], **more: Any) -> Consumer:
    """A consumer without a group of its own making: it stores and commits no offsets by itself."""
    return Consumer(
        {
            **_FETCH,
            "group.id": "nightjar.reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "error_cb": say,
            "log_level": 2,
            **client,
            **more,
        }
    )


def member(client: Mapping[str, Any], group: str, instance: str) -> Consumer:
    """A static member of a group, classic protocol.

    KIP-848 with a static id refuses a worker that was killed and started again at once; the
    classic protocol takes it back in 0.2 s. The assignor is eager: every change of the group
    revokes all, so there is one path for any rebalance.
    """
    return consumer(
        client,
        **{
            "group.id": group,
            "group.instance.id": instance,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 1000,
            "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
            "partition.assignment.strategy": "range",
        },
    )


def transactional(
    client: Mapping[str, Any], transactional_id: str, compression: str = "none"
) -> Producer:
    """A producer whose records, offsets and ledger row become visible together.

    What repeats itself is compressed here: where the topic asks for it instead, the broker
    unpacks and packs each batch anew.
    """
    return Producer(
        {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            "linger.ms": 2,
            "batch.num.messages": 10_000,
            "batch.size": 1 << 20,
            "compression.type": compression,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 512 << 10,
            # commit_transaction raises if any record failed, so success reports would only queue
            "delivery.report.only.error": True,
            "error_cb": say,
            "log_level": 2,
            **client,
        }
    )


def sole(client: Mapping[str, Any], transactional_id: str) -> Producer:
    """A producer that alone has its name: what a predecessor left open is ended, and it is fenced
    if it lives, so all that it did can be read from now on.
    """
    producer = transactional(client, transactional_id)
    patiently("the transaction coordinator", lambda: producer.init_transactions(10))
    return producer


def transact(producer: Producer, write: Callable[[], None]) -> None:
    """Have all that `write` produces and sends become visible together, or nothing of it.

    Raises
    ------
    KafkaException
        Nothing became visible, unless Kafka did not answer to the commit.
    """
    producer.begin_transaction()
    try:
        write()
        deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000
        while True:
            try:
                producer.commit_transaction(10)
                return
            except KafkaException as exc:
                error = exc.args[0]
                again = error.retriable() and not error.txn_requires_abort()
                if not again or time.monotonic() > deadline:
                    raise
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(KafkaException):
            producer.abort_transaction(10)
        raise


def admin(client: Mapping[str, Any]) -> AdminClient:
    return AdminClient({"error_cb": say, "log_level": 2, **client})


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that told it is of no more use.

    A consumer tells of its own end by a message whose error has the code _FATAL but not the mark.
    """
    return bool(error.fatal() or error.code() == KafkaError._FATAL)


def never() -> bool:
    """The `stop` of whoever waits to the end: a command, which Ctrl-C ends."""
    return False


def patiently(
    what: str,
    ask: Callable[[], T],
    stop: Callable[[], bool] = never,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """`ask` until it answers, with longer pauses between the tries; says what it waits for once it
    has waited a third of a second: a topic just made takes a tenth to find its leader.

    Raises
    ------
    Stopped
        `stop` became true while waiting.
    KafkaException
        An error that waiting does not cure.
    """
    pause = 0.1
    said = False
    while True:
        if stop():
            raise Stopped
        try:
            answer = ask()
        except TimeoutError:
            error = KafkaError(KafkaError._TIMED_OUT)
        except KafkaException as exc:
            error = exc.args[0]
            if not (error.retriable() or error.code() in _WAIT_FOR) or is_fatal(error):
                raise
        else:
            if said:
                logger().info("going on", what=what)
            return answer
        if pause >= (5 if said else 0.4):
            logger().warning("waiting", what=what, error=error.str(), retry_in_s=round(pause, 1))
            said = True
        sleep(pause)
        pause = min(pause * 2, 5.0)


_WAIT_FOR = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.REQUEST_TIMED_OUT,
    # committed() on offsets that a predecessor's open transaction still holds
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    # a topic just made, or one that a survey has yet to make
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._NOENT,  # the admin client: no partition has a leader yet
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.CONCURRENT_TRANSACTIONS,
}


#: How librdkafka tells that a cluster does not let us in; it tries on all the same.
REFUSED = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_SAY_EVERY_S = 10.0
_said_at = -_SAY_EVERY_S


def say(error: KafkaError) -> None:
    """What librdkafka tells on its own: it goes on by itself unless the error is fatal.

    Each client of a process tells that Kafka is away; one line in ten seconds is enough.
    """
    global _said_at
    if is_fatal(error):
        logger().error("kafka", error=error.str())
    elif error.code() not in (KafkaError._ALL_BROKERS_DOWN, *REFUSED):
        logger().debug("kafka", error=error.str())
    elif time.monotonic() - _said_at >= _SAY_EVERY_S:
        _said_at = time.monotonic()
        if error.code() in REFUSED:
            logger().error("Kafka refuses us; trying on", error=error.str())
        else:
            logger().warning("no Kafka answers at the address given; trying on", error=error.str())

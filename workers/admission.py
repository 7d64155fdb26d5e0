"""Whether a cluster lets us in: a wrong password or certificate is said, not waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from workers.errors import Failed, Misused
from workers.kafka import REFUSED, never, patiently
from workers.security import hidden

#: A refusal that lasts so long is no matter of a cluster that is just starting.
_LASTS_S = 3.0
_WHAT_TO_DO = {
    KafkaError._AUTHENTICATION: "See that sasl.mechanism, sasl.username and sasl.password (its "
    "file or variable holds today's?) are those of a user whom the cluster knows",
    KafkaError._SSL: "See that security.protocol is what that port speaks and that "
    "ssl.ca.location is the certificate of who signed the cluster's",
}


def enter(client: Mapping[str, Any], setting: str, stop: Callable[[], bool] = never) -> None:
    """Return once the cluster answers such a client; a cluster that is away is waited for.

    librdkafka takes a refusal for a failure that may pass and tries on for ever; it tells of it
    only in a callback.

    Raises
    ------
    Failed
        It refuses us.
    Misused
        No client can be made of these properties.
    Stopped
        `stop` became true while waiting.
    """
    if client.keys() == {"bootstrap.servers"}:
        return  # without TLS and password there is nothing to refuse
    told: list[KafkaError] = []
    quick = {"reconnect.backoff.max.ms": 300, "error_cb": told.append, "log_level": 0}
    try:
        door = AdminClient({**quick, **client})
    except (KafkaException, TypeError, ValueError) as exc:
        said = exc.args[0].str() if isinstance(exc, KafkaException) else str(exc)
        msg = f"{setting}: {hidden(said, client)}"
        raise Misused(msg) from None

    def knock() -> None:
        try:
            door.list_topics(timeout=1)
        except KafkaException:
            door.poll(0)
            if not any(error.code() in REFUSED for error in told):
                raise
            told.clear()
            until = time.monotonic() + _LASTS_S
            while time.monotonic() < until and not stop():
                door.poll(0.2)
            codes = {error.code() for error in told}
            if codes.isdisjoint(REFUSED) or KafkaError._TRANSPORT in codes:
                raise  # it is away, or starting
            last = [error for error in told if error.code() in REFUSED][-1]
            raise Failed(_refusal(last, client, setting)) from None

    patiently(f"Kafka at {client['bootstrap.servers']}", knock, stop)


def _refusal(error: KafkaError, client: Mapping[str, Any], setting: str) -> str:
    return (
        f"Kafka at {client['bootstrap.servers']} refuses us: {hidden(error.str(), client)}. "
        f"{_WHAT_TO_DO[error.code()]} ({setting})"
    )

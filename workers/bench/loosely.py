"""A worker without transactions, for the bench alone: `python -m workers.bench.loosely work SPAN`.

It delivers at least once: an idempotent producer, flushed before the offsets are committed, so a
crash repeats records. What is between it and a worker as it is, transactions cost.
"""

from __future__ import annotations

import sys
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from workers import assembly, cli, kafka

_OF_TRANSACTIONS = ("transactional.id", "transaction.timeout.ms")


class Loose(Producer):  # type: ignore[misc]
    """Takes the calls of a transaction, and makes none."""

    member: Consumer

    def __init__(self, settings: dict[str, Any]) -> None:
        kept = {name: value for name, value in settings.items() if name not in _OF_TRANSACTIONS}
        super().__init__({**kept, "enable.idempotence": True})
        self._offsets: list[TopicPartition] = []

    def init_transactions(self, *seconds: float) -> None:
        pass

    def begin_transaction(self) -> None:
        pass

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], *rest: Any) -> None:
        self._offsets = offsets

    def commit_transaction(self, *seconds: float) -> None:
        self.flush()
        if self._offsets:
            Loose.member.commit(offsets=self._offsets, asynchronous=False)
            self._offsets = []


def main() -> None:
    def member(*given: Any) -> Consumer:
        Loose.member = kafka.member(*given)
        return Loose.member

    kafka.Producer = Loose  # type: ignore[attr-defined]
    assembly.member = member  # type: ignore[assignment, attr-defined]
    sys.exit(cli.run(sys.argv[1:]))


if __name__ == "__main__":
    main()

"""The ledger read as it grows: how far each span has come, and whether the sum closes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from workers import ledger
from workers.errors import Failed
from workers.kafka import consumer


@dataclass(slots=True)
class Totals:
    """What the rows read so far add up to.

    `groups` are those of the classifiers whose answers are waited for; if none is named, of those
    that have answered.
    """

    groups: tuple[str, ...] = ()
    consumed: Counter[str] = field(default_factory=Counter)  # offsets, by span
    tallies: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    answers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    written: Counter[str] = field(default_factory=Counter)  # records, by topic

    def add(self, row: Mapping[str, Any]) -> None:
        span = row["span"]
        for part in row["inputs"]:
            self.consumed[span] += part["end"] - part["start"]
        for part in row["outputs"]:
            self.written[part["topic"]] += part["count"]
        for part in row["tallies"]:
            self.tallies[span][part["outcome"]] += part["count"]
            if span == "classify":
                self.answers[row["group"]][part["outcome"]] += part["count"]

    @property
    def classifiers(self) -> tuple[str, ...]:
        """Groups of classifiers, the first of them that whose answers are told."""
        return self.groups or tuple(sorted(self.answers)) or ("",)

    def outcomes(self, group: str | None = None) -> dict[str, int]:
        """Alerts by what became of them in the end, each counted once: as one classifier answered
        them, the first if none is named."""
        decode, curves = (self.tallies[span] for span in ("decode", "curves"))
        group = self.classifiers[0] if group is None else group
        classify = self.answers.get(group, Counter[str]())
        return {
            "labelled": classify["labelled"],
            "unclassified": classify["unclassified"],
            "duplicate": curves["duplicate"],
            "corrected": curves["corrected"],
            "withdrawn": classify["withdrawn"],
            "dead": decode["dead"] + curves["dead"] + classify["dead"],
            "lost": decode["lost"] + curves["lost"] + classify["lost"],
        }

    @property
    def received(self) -> int:
        """Alerts that came in: those decoded, and the packets that could not be."""
        decode = self.tallies["decode"]
        return decode["passed"] + decode["dead"] + decode["lost"]

    @property
    def settled(self) -> bool:
        """Whether every alert that was decoded has its outcome, by every classifier."""
        return all(
            self.received == sum(self.outcomes(group).values()) for group in self.classifiers
        )

    def done(self, packets: int) -> bool:
        """Whether so many packets have come in and each of their alerts has its outcome."""
        return self.consumed["decode"] >= packets and self.settled


def _read(value: bytes) -> dict[str, Any]:
    try:
        return ledger.read(value)
    except ValueError as exc:
        msg = f"the ledger cannot be followed: {exc}"
        raise Failed(msg) from exc


class Follower:
    """Reads a namespace's ledger from its beginning on.

    Parameters
    ----------
    client
        Settings of the cluster.
    topic
        The ledger's topic.
    groups
        Of the classifiers whose answers are waited for.
    """

    def __init__(self, client: Mapping[str, Any], topic: str, groups: Sequence[str] = ()) -> None:
        self.totals = Totals(tuple(groups))
        self._reader = consumer(client)
        self._reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

    def read(self, seconds: float) -> Totals:
        """Take in what has come; returns after about `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self._reader.consume(
                1000, max(min(deadline - time.monotonic(), 0.2), 0)
            ):
                if message.error() is None:
                    self.totals.add(_read(message.value()))
            if time.monotonic() >= deadline:
                return self.totals

    def close(self) -> None:
        self._reader.close()

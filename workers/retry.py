"""Dead letters given to their hop once more, each once: the ledger says which have been.

A group's offset could say "up to here", but letters are chosen: by reason, by time, by name. So a
retry is one transaction of what it puts back and of a ledger row whose inputs are these letters,
and a letter is retried if no row names it. One producer at a time has the retry's name, and
whoever takes it sees what its predecessor committed, however that ended; so no letter is put back
twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import KafkaException, Producer

from broker import wire
from broker.clock import now_ms
from broker.origins import origin
from broker.records import OUTCOMES, Packets
from workers import ledger
from workers.errors import Failed
from workers.intake import Range
from workers.kafka import admin, sole, transact
from workers.letters import Letter, Wanted, read_letters
from workers.offsets import offset_at
from workers.outputs import Again, Outputs
from workers.registry import decoder
from workers.route import keyed
from workers.topics import counts
from workers.whole import read_whole

if TYPE_CHECKING:
    from workers.settings import Settings

#: Of one transaction.
_LETTERS, _BYTES = 200, 16 << 20
#: The ledger keeps its rows 400 days: it knows of every retry of a letter that is younger.
_KNOWN_MS = 390 * 86_400_000
_DEAD, _PASSED = OUTCOMES.index("dead"), OUTCOMES.index("passed")


@dataclass(slots=True)
class Summary:
    """What became of the letters that were asked for."""

    back: Counter[str] = field(default_factory=Counter)  # put back, by span
    alerts: int = 0  # read of packets
    again: Counter[str] = field(default_factory=Counter)  # dead again, by reason
    before: int = 0  # retried before
    left: Counter[str] = field(default_factory=Counter)  # cannot be retried, by why

    @property
    def retried(self) -> int:
        return sum(self.back.values())

    def text(self) -> str:
        lines = [f"{self.retried:,} letters retried"]
        if self.retried:
            of_packets = f"; {self.alerts:,} alerts read of packets" if self.back["decode"] else ""
            lines[0] += f" ({_counts(self.back)}){of_packets}"
        if self.again:
            lines.append(f"dead again at once: {_counts(self.again)}")
        if self.before:
            lines.append(f"{self.before:,} were retried before")
        lines += [f"{n:,} left: {why}" for why, n in self.left.items()]
        return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counter.most_common())


class Retry:
    """Puts letters of a namespace back, each once.

    Parameters
    ----------
    settings
        Of the namespace; its decoder reads packets as the decode span would.
    say
        Told after each transaction, in words.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings, self._say = settings, say
        self._name = f"{settings.namespace}.retry"
        self._dead_topic = f"{settings.namespace}.dead-letters"
        source = settings.source
        self._survey = None if source.survey == "auto" else source.survey
        self._decoder = decoder(settings)
        self._partitions = counts(settings, "detections")["detections"]

    def run(self, wanted: Wanted) -> Summary:
        """Retry the letters that are wanted, there now, and were not retried yet.

        Raises
        ------
        Failed
            There is no such namespace, or another retry took this one's place.
        """
        client, summary = self._settings.kafka.client(), Summary()
        producer = sole(client, self._name)
        letters = read_letters(self._settings)
        first = next(letters, None)  # says so where there is no such topic
        if first is None:
            return summary
        done = self._retried()
        hand: list[Letter] = []
        size = 0
        for letter in _and_then(first, letters):
            if not wanted(letter):
                continue
            if (letter.partition, letter.offset) in done:
                summary.before += 1
                continue
            if why := self._hopeless(letter):
                summary.left[why] += 1
                continue
            if hand and (
                (letter.span, letter.group) != (hand[0].span, hand[0].group)
                or len(hand) == _LETTERS
                or size + len(letter.value) > _BYTES
            ):
                self._commit(producer, hand, summary)
                hand, size = [], 0
            hand.append(letter)
            size += len(letter.value)
        if hand:
            self._commit(producer, hand, summary)
        return summary

    def _hopeless(self, letter: Letter) -> str:
        """Why a letter cannot be retried; empty where it can."""
        if letter.reason == "not_public":
            return "the alert is not public, its bytes were kept back"
        if not letter.whole:
            return f"only part of the bytes was kept; the others stand in {letter.topic}"
        if now_ms() - letter.died_ms > _KNOWN_MS:
            return "older than the ledger, which may have forgotten that they were retried"
        if letter.span not in ("decode", "curves", "classify"):
            return f"of a span {letter.span!r} that there is not"
        return ""

    def _commit(self, producer: Producer, letters: list[Letter], summary: Summary) -> None:
        """One transaction: what these letters of one span give, and the row that names them."""
        span = letters[0].span
        outputs = Outputs(span, letters[0].group)
        told = Summary()
        for letter in letters:
            if span == "decode":
                self._decode(letter, outputs, told)
            else:
                self._put_back(letter, outputs)
            told.back[span] += 1
        row = ledger.row(
            span,
            self._name,
            letters[0].group or self._name,
            now_ms(),
            [Range(self._dead_topic, x.partition, x.offset, x.offset + 1, 1) for x in letters],
            outputs.written(),
            outputs.tallies,
        )

        def write() -> None:
            for records in outputs.records:
                records.produce(producer)
            producer.produce(f"{self._settings.namespace}.ledger", row)

        try:
            transact(producer, write)
        except KafkaException as exc:
            msg = (
                f"{exc.args[0].str()}, after {summary.retried:,} letters. What was retried is in "
                "the ledger: run it again for the others (one retry at a time)"
            )
            raise Failed(msg) from exc
        summary.back += told.back
        summary.alerts += told.alerts
        summary.again += told.again
        self._say(f"{summary.retried:,} letters retried")

    def _decode(self, letter: Letter, outputs: Outputs, told: Summary) -> None:
        """Read a packet here: a survey's topic can only be read. From the letter's record on, as
        those before it are alerts already."""
        packets = Packets(
            [letter.value],
            letter.topic,
            np.array([letter.source_partition], np.int32),
            np.array([letter.source_offset], np.int64),
            np.array([letter.published_ms], np.int64),
            self._survey,
        )
        detections, dead = self._decoder.decode(packets)
        chosen = np.flatnonzero(detections.alerts["record"] >= letter.record)
        alerts = detections.alerts[chosen]
        written = wire.write_detections(detections)
        values = [written[i] for i in chosen.tolist()]
        topic = f"{self._settings.namespace}.detections"
        outputs.records.append(keyed(topic, alerts, values, self._partitions))
        passed = np.full(len(alerts), _PASSED, np.uint8)
        outputs.tallies.add(alerts, passed, wire.alert_hashes(alerts))
        outputs.tallies.one(letter.topic, letter.source_partition, _DEAD, -1, 0)
        still = [
            replace(d, attempts=letter.attempts + 1) for d in dead if d.record >= letter.record
        ]
        outputs.bury(self._dead_topic, still)
        told.alerts += len(alerts)
        told.again += Counter(d.reason for d in still)

    def _put_back(self, letter: Letter, outputs: Outputs) -> None:
        """The record once more into the topic that its hop takes it from."""
        outputs.records.append(
            Again(
                letter.topic,
                letter.value,
                letter.key,
                letter.source_partition,
                letter.attempts,
                letter.group,
            )
        )
        place = letter.topic, letter.source_partition
        outputs.tallies.record(origin(letter.value), place, "dead", -1)

    def _retried(self) -> set[tuple[int, int]]:
        """Partition and offset of each letter that a ledger row says was retried.

        Read to the end that the partition's leader knows: a worker's open transaction hides what
        stands behind it until it ends, our own rows among them.
        """
        client, topic = self._settings.kafka.client(), f"{self._settings.namespace}.ledger"
        end = offset_at(admin(client), "latest", topic, 0)
        return {
            place
            for messages in read_whole(client, topic, ends={0: end})
            for message in messages
            for place in self._letters_of(ledger.read(message.value()))
        }

    def _letters_of(self, row: dict[str, Any]) -> set[tuple[int, int]]:
        if row["worker"] != self._name:
            return set()
        return {
            (part["partition"], offset)
            for part in row["inputs"]
            if part["topic"] == self._dead_topic
            for offset in range(part["start"], part["end"])
        }


def _and_then(first: Letter, others: Iterator[Letter]) -> Iterator[Letter]:
    yield first
    yield from others

"""Dead letters read back: what could not be taken, with its bytes, why, where from, how often."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from confluent_kafka import Message

from workers.errors import Failed, Misused
from workers.outputs import LETTER_VERSION
from workers.terminal import shown
from workers.times import EPOCH, utc
from workers.topics import READS
from workers.whole import read_whole

if TYPE_CHECKING:
    from workers.settings import Settings

#: Hop whose input a letter was, by what its origin's topic is to the namespace.
_HOPS = {kind: span for span, kind in READS.items()}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. Its name is partition:offset in the dead-letter topic.

    `topic`, `source_partition`, `source_offset` and `record` are where the bytes stood; `size` is
    how many they were (`value` holds less where no record of ours could hold them all).
    """

    partition: int
    offset: int
    span: str
    group: str
    reason: str
    error: str
    topic: str
    source_partition: int
    source_offset: int
    record: int
    published_ms: int
    died_ms: int
    attempts: int
    size: int
    value: bytes
    key: bytes | None

    @property
    def name(self) -> str:
        return f"{self.partition}:{self.offset}"

    @property
    def whole(self) -> bool:
        return len(self.value) == self.size

    def row(self) -> dict[str, Any]:
        """All but the bytes, as plain data: `partition` and `offset` are those of the origin."""
        said = {"letter": self.name} | {
            f.name.removeprefix("source_"): getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("partition", "offset", "value", "key")
        }
        said["bytes"] = said.pop("size")
        return said | {
            "published": utc(self.published_ms, "seconds"),
            "died": utc(self.died_ms, "seconds"),
        }

    def line(self) -> str:
        """`0:17  2026-11-21T08:41:17Z  decode truncated  ztf[3] at 1234 …`."""
        record = f" record {self.record}" if self.record else ""
        again = f"  attempts {self.attempts}" if self.attempts > 1 else ""
        died = utc(self.died_ms, "seconds")
        return shown(
            f"{self.name:>8}  {died}  {self.span} {self.reason}  {self.topic}"
            f"[{self.source_partition}] at {self.source_offset}{record}  {self.size:,} bytes"
            f"{again}  {self.error}"
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are asked for: by reasons, by the time of death, by names; None is any."""

    reasons: Collection[str] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    names: Collection[str] | None = None

    def __call__(self, letter: Letter) -> bool:
        return (
            (self.reasons is None or letter.reason in self.reasons)
            and (self.since_ms is None or letter.died_ms >= self.since_ms)
            and (self.until_ms is None or letter.died_ms < self.until_ms)
            and (self.names is None or letter.name in self.names)
        )


def read_letters(settings: Settings) -> Iterator[Letter]:
    """Yield the letters of a namespace that there are now, in order within each partition.

    Raises
    ------
    Failed
        The namespace has no dead-letter topic.
    """
    topic = f"{settings.namespace}.dead-letters"
    for messages in read_whole(settings.kafka.client(), topic):
        for message in messages:
            yield letter(message, settings.namespace)


def letter(message: Message, namespace: str) -> Letter:
    """A record of the dead-letter topic; whoever wrote it, and however long ago.

    Raises
    ------
    Failed
        A newer Nightjar wrote it.
    """
    said = {
        name: (text or b"").decode("utf-8", "replace") for name, text in message.headers() or ()
    }
    if (version := said.get("version", LETTER_VERSION)) != LETTER_VERSION:
        msg = (
            f"dead letter {message.partition()}:{message.offset()} has version {shown(version)}, "
            f"and this Nightjar reads version {LETTER_VERSION}: use the one that wrote it"
        )
        raise Failed(msg)
    value = message.value() or b""
    topic = said.get("topic", "")
    hop = _HOPS.get(topic.removeprefix(f"{namespace}."), "decode")

    def number(name: str, unsaid: int) -> int:
        text = said.get(name, "")
        return int(text) if text.removeprefix("-").isdecimal() else unsaid

    return Letter(
        message.partition(),
        message.offset(),
        said.get("span") or hop,
        said.get("group", ""),
        said.get("reason", "unknown"),
        said.get("error", ""),
        topic,
        number("partition", -1),
        number("offset", -1),
        number("record", 0),
        number("published_ms", 0),
        number("died_ms", message.timestamp()[1]),
        number("attempts", 1),
        number("bytes", len(value)),
        value,
        message.key(),
    )


def moment(text: str, now_ms: int) -> int:
    """Unix time in ms of an ISO 8601 time (UTC where it does not say) or of so long ago: 90m, 2d.

    >>> moment("2026-11-21T08:00", 0) - moment("2026-11-21", 0)
    28800000
    >>> moment("90m", 10_000_000)
    4600000

    Raises
    ------
    Misused
        It is neither.
    """
    if text[-1:] in _UNITS and text[:-1].isdecimal():
        return now_ms - 1000 * int(text[:-1]) * _UNITS[text[-1]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is no time: expected e.g. 2026-11-21T08:00 (UTC), or 90m, 12h, 2d ago"
        raise Misused(msg) from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int((when - EPOCH) / timedelta(milliseconds=1))

"""Records that are to be buried: for what they did to a stage, or what Kafka said of their outputs.

A span drops the batch that such a record broke, takes its records again, and this one alone it then
buries: what is noted here outlives the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message

from workers.errors import Failed
from workers.log import logger
from workers.outputs import LETTER_BYTES, Outputs, letter_of

_Place = tuple[str, int, int]  # topic, partition, offset


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why a record is buried, and how many of its bytes the letter may hold."""

    error: str
    room: int


@dataclass(slots=True)
class Refusals:
    """Those of one span, until its group has gone past them."""

    span: str
    dead_topic: str
    _refused: dict[_Place, _Refused] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._refused)

    def note(self, message: Message, exc: Exception) -> None:
        """A record is to be buried; if it was to be already, its letter was refused as well.

        Raises
        ------
        Failed
            Not even a letter without its bytes is taken.
        """
        place = _place(message)
        before = self._refused.get(place)
        if before is not None and before.room == 0:
            msg = (
                f"{self.dead_topic} takes no letter of {place[0]}[{place[1]}] at {place[2]}, not "
                f"even without its bytes: {exc}. See to that topic's max.message.bytes, and start "
                "again"
            )
            raise Failed(msg) from exc
        if before is None:
            error = f"{self.span}: {exc!r}"
            self._refused[place] = _Refused(error, LETTER_BYTES)
            logger().error("dead letter", span=self.span, error=error, offset=place[2])
        else:  # its bytes stand at its origin
            self._refused[place] = _Refused(before.error, 0)

    def bury(self, message: Message, outputs: Outputs) -> bool:
        """Put the letter of a record that is to be buried into the outputs; whether it was one."""
        refused = self._refused.get(_place(message))
        if refused is None:
            return False
        letter = letter_of(message, "stage_failed", refused.error)
        outputs.bury(self.dead_topic, [letter], refused.room)
        return True

    def forget(self, standing: Mapping[str, int]) -> None:
        """Forget what stands before the committed offsets, by `topic[partition]`."""
        past = [p for p in self._refused if p[2] < standing.get(f"{p[0]}[{p[1]}]", 0)]
        for place in past:
            del self._refused[place]


def _place(message: Message) -> _Place:
    return message.topic(), message.partition(), message.offset()

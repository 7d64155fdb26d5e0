"""Where a store stands in `detections` and in `curves`, and whether it can serve there."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from broker import blobs

#: Of the note below, and of the values in the store.
FORMAT = f"1.{blobs.FORMAT}"
#: `offset` of a store into which pages are being read back.
NOWHERE = -1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The same as long as the machine runs; where it cannot be known, never the same."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Standing:
    """What a store's note says.

    Its light curves are those at ``offset`` of `detections`; every page that was committed to
    `curves` before ``pages_from`` is among them. ``topic`` is the id of that topic.
    """

    offset: int
    pages_from: int
    topic: str
    partitions: int
    boot: str
    form: str = FORMAT

    def note(self) -> bytes:
        """
        >>> Standing.read(Standing(7, 3, "id", 4, "boot").note())
        Standing(offset=7, pages_from=3, topic='id', partitions=4, boot='boot', form='1.2')
        """
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, note: bytes) -> Self | None:
        """None where the note is none of ours."""
        try:
            return cls(**json.loads(note))
        except (ValueError, TypeError):
            return None


def fault(found: Standing | None, wanted: Standing) -> str | None:
    """Why a store cannot serve, None if it can.

    ``wanted`` is the place that the group has committed and the end of the `curves` topic.
    """
    if found is None:
        return "it does not say where it stands"
    if found.form != wanted.form:
        return f"it has format {found.form}, and this is {wanted.form}"
    if found.topic != wanted.topic:
        return "the curves topic is another one under the same name"
    if found.partitions != wanted.partitions:
        return f"it is one of {found.partitions} partitions, and there are {wanted.partitions}"
    if found.boot != wanted.boot:
        return "the machine was started anew since, and what it had not yet written is gone"
    if found.offset > wanted.offset:
        return f"it stands at {found.offset}, beyond the committed {wanted.offset}"
    if found.pages_from > wanted.pages_from:
        return f"it has read pages to {found.pages_from}, and they end at {wanted.pages_from}"
    return None

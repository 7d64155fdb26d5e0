"""`nightjar dead`: letters listed, shown, exported, retried."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workers.errors import Failed, Misused
from workers.letters import Letter, Wanted, read_letters
from workers.show import json_line
from workers.terminal import shown

if TYPE_CHECKING:
    from workers.settings import Settings

#: What each deed takes: the least and the most names.
_NAMES = {"ls": (0, 0), "show": (1, 1), "export": (1, 1), "retry": (0, 1 << 30)}


def dead(
    settings: Settings,
    what: Literal["ls", "show", "retry", "export"],
    names: Sequence[str],
    wanted: Wanted,
    json: bool,
) -> int | None:
    """Do it, and print; the exit code is 1 where a retry left letters or made new ones."""
    least, most = _NAMES[what]
    if not least <= len(names) <= most:
        expected = "no names" if not most else "a folder" if what == "export" else "one letter"
        msg = f"dead {what}: expected {expected}, got {len(names)} names"
        raise Misused(msg)
    if what == "retry":
        from workers.retry import Retry

        summary = Retry(settings, lambda words: print(words, file=sys.stderr, flush=True)).run(
            wanted
        )
        print(summary.text())
        return 1 if summary.left or summary.again else None
    found = (letter for letter in read_letters(settings) if wanted(letter))
    if what == "export":
        print(f"{export(found, Path(names[0])):,} letters in {names[0]}")
        return None
    none = True
    for letter in found:
        none = False
        if what == "show":
            print("\n".join(describe(letter, settings.source.public_only)))
        else:
            print(json_line(letter.row()) if json else letter.line())
    if none and what == "show":
        msg = f"there is no such letter as {names[0]}; `nightjar dead ls` prints them all"
        raise Failed(msg)
    if none and not json:
        print("no dead letters" if wanted == Wanted() else "no dead letters of this kind")
    return None


def describe(letter: Letter, public_only: bool) -> Iterator[str]:
    """Lines for people: the headers, what can be read of the bytes, and how these begin."""
    for name, value in letter.row().items():
        yield shown(f"{name:18}{value}")
    if not letter.whole:
        yield f"only the first {len(letter.value):,} bytes were kept"
    yield from map(shown, _read(letter, public_only))
    for at in range(0, min(len(letter.value), 128), 16):
        some = letter.value[at : at + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in some)
        yield f"{at:08x}  {some.hex(' '):47}  {text}"


def _read(letter: Letter, public_only: bool) -> Iterator[str]:
    """What of the bytes can be read today, in a line each."""
    from broker import inspection, wire
    from broker.origins import origin
    from workers.show import alert_line

    if letter.span == "decode":
        for said in inspection.inspect_values([(letter.name, letter.value)], public_only):
            yield f"reads as: {alert_line(said)}"
        return
    of = origin(letter.value)
    if of is not None:
        yield f"made from: {of.topic}[{of.partition}]"
    if letter.span == "curves":
        detections, faults = wire.read_detections([letter.value])
        for i in range(len(detections)):
            yield f"reads as: {alert_line(inspection.as_dict(detections, i))}"
    else:
        images, faults = wire.read_images([letter.value])
        for row in images.images:
            yield f"reads as: image of {row['object'].decode()}  {row['alert_id']}"
    for fault in faults:
        yield f"does not read: {fault.error}"


def export(letters: Iterator[Letter], folder: Path) -> int:
    """Write each letter's untouched bytes to a file, and `letters.csv` beside them.

    Files are named by the letters' places, never by anything that a packet says.

    Raises
    ------
    Failed
        The folder holds an export already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "letters.csv"
    if listed.exists():
        msg = f"{folder} holds an export already ({listed.name}); name another folder"
        raise Failed(msg)
    count = 0
    with listed.open("w", newline="") as out:
        table: csv.DictWriter[str] | None = None
        for found in letters:
            file = folder / f"{found.partition}-{found.offset}.bin"
            file.write_bytes(found.value)
            row = {"file": file.name, **found.row()}
            if table is None:
                table = csv.DictWriter(out, list(row))
                table.writeheader()
            table.writerow({name: shown(str(value)) for name, value in row.items()})
            count += 1
    return count

"""The commands of an operator: dead letters, offsets, namespaces, light curves carried."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from workers.commands.beginning import begun, entered, located
from workers.errors import Misused
from workers.process import set_kernel_cache
from workers.settings import Settings


def dead(
    what: Literal["ls", "show", "retry", "export"],
    *names: str,
    reason: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=False)] = (),
    since: str | None = None,
    until: str | None = None,
    json: bool = False,
    settings: Settings | None = None,
) -> int | None:
    """Dead letters: ls them, show one, export their bytes, retry them.

    Parameters
    ----------
    what
        ls: a line for each letter. show LETTER: headers, and what can be read of the bytes.
        export DIR: the bytes as files, and a table. retry [LETTER...]: to their hop again, once.
    names
        Letters by partition:offset of the dead-letter topic, as ls prints them; or DIR.
    reason
        Only letters of this reason; may be repeated.
    since
        Only letters that died then or later: 2026-11-21T08:00 (UTC), or 90m, 12h, 2d ago.
    until
        Only letters that died before then.
    json
        For ls: JSON lines.
    """
    set_kernel_cache()
    from broker.clock import now_ms
    from workers.dead import dead as run
    from workers.letters import Wanted, moment

    given = entered(begun(settings))
    wanted = Wanted(
        reason or None,
        moment(since, now_ms()) if since else None,
        moment(until, now_ms()) if until else None,
        names if what in ("show", "retry") and names else None,
    )
    return run(given, what, names, wanted, json)


def skip(
    topic: str,
    partition: int,
    start: int,
    end: int,
    *,
    yes: bool = False,
    model: str | None = None,
    settings: Settings | None = None,
) -> None:
    """Move a stopped span past offsets that it cannot take; it stands in the ledger.

    Parameters
    ----------
    topic
        The survey's topic, or our detections or images.
    partition
        Of the topic.
    start
        FROM: the offset at which the span's group stands.
    end
        TO: the offset at which it is to go on.
    yes
        It is meant: alerts between are lost.
    model
        Of images: the classifier that cannot take them, where there are several.
    """
    from workers.skip import skip as move

    given = entered(begun(settings))
    print(move(given, topic, partition, start, end, yes, model))


def namespaces(
    what: Literal["ls", "drop"],
    *names: str,
    yes: bool = False,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Namespaces: ls what each holds and who works there, drop one whole.

    Parameters
    ----------
    what
        ls: a line for each. drop NAME: delete its topics, groups and state on this machine, for
        ever; not while workers live in it, and never a survey's topics.
    names
        For drop: its name.
    yes
        It is meant; otherwise its name is to be typed again.
    json
        For ls: JSON lines.
    """
    from workers.drop import drop
    from workers.namespaces import find, text
    from workers.show import json_line

    if len(names) != (what == "drop"):
        msg = f"namespaces {what}: expected {'one name' if what == 'drop' else 'no names'}"
        raise Misused(msg)
    given = entered(begun(settings))
    if what == "ls":
        found = find(given)
        print("\n".join(json_line(one.row()) for one in found) if json else text(found))
        return

    def confirmed(words: str) -> bool:
        if yes:
            return True
        print(f"{words}\nType its name to drop it for ever: ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip() == names[0]

    print(drop(given, names[0], confirmed))


def curves(
    what: Literal["export", "import"],
    file: Path,
    *,
    take_up: bool = False,
    settings: Settings | None = None,
) -> None:
    """Light curves to a file, or from a file into a new namespace.

    Parameters
    ----------
    what
        export: those of the namespace, whose workers may go on. import: into a namespace that is
        not in use, of any number of partitions; its workers restore them like a predecessor's.
    file
        A Parquet file; for an export also a folder, then the name is made.
    take_up
        For an import: begin to read the survey's topics where the file says, and not at
        --source.start.
    """
    set_kernel_cache()
    given = located(begun(settings))
    if what == "export":
        from workers.carry.export import export

        file, held = export(given, file)
        print(f"{held.text()} of namespace {held.namespace} in {file}")
    else:
        from workers.carry.bring import bring

        held = bring(given, file, take_up)
        print(f"{held.text()} of namespace {held.namespace} in namespace {given.namespace}")
    for topic, places in held.survey.items():
        at = ", ".join(f"[{partition}] at {offset}" for partition, offset in places.items())
        print(f"the survey's {topic} is to be taken up: {at}")

"""Light curves out of a file into a new namespace, whose workers then restore them.

While it goes on a topic `{namespace}.import` stands, which says of what file it is and how far it
has come: workers refuse the namespace, and the same command goes on after a kill.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from broker import wire
from broker.packing import PAGE
from workers import classifiers, topics
from workers.carry.curve_file import Contents, Group, Reader
from workers.carry.taken_up import take_up
from workers.errors import Failed
from workers.kafka import never
from workers.pages import Pages
from workers.progress import Progress
from workers.publish import Publisher
from workers.whole import read_whole

if TYPE_CHECKING:
    from workers.settings import Settings

#: Of what stands in the topic `{namespace}.import`.
MARK_VERSION = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """Which file is being imported, and how many of its row groups are in the changelog."""

    sha256: str
    groups: int = 0
    version: int = MARK_VERSION


def bring(settings: Settings, path: Path, taken_up: bool) -> Contents:
    """Write a file's light curves into the settings' namespace, which must be new.

    Nothing is written before the whole file is verified, and no worker takes the namespace before
    all of it is there. Ended midway, the same command with the same file goes on.

    Raises
    ------
    Failed
        The file is not whole; the namespace is in use; the survey cannot be taken up.
    """
    file = Reader(path)
    with Progress("verify", file.contents.points, "points") as progress:
        for points in file.verify():
            progress.at(points)
    client = settings.kafka.client()
    name = settings.namespace
    done = _begun(client, settings, file)
    space = classifiers.of(settings).namespace(name)
    topics.ensure(
        client, space, settings.partitions, settings.kafka.replication, never, importing=True
    )
    mark = Publisher(client, topics.import_mark(name))
    points = 0
    with (
        Progress("import", file.contents.points, "points") as progress,
        Pages(client, space.topic("curves"), settings.partitions) as changelog,
    ):
        for number in range(file.groups):
            group = file.read(number)
            points += len(group.points)
            if number >= done:
                changelog.add(group.objects, _pages(group))
                changelog.flush()
                _note(mark, Mark(file.sha256, number + 1))
            progress.at(points)
    if taken_up:
        take_up(settings, space, file.contents)
    topics.delete(client, topics.import_mark(name))
    return file.contents


def _begun(client: Mapping[str, Any], settings: Settings, file: Reader) -> int:
    """Row groups that an earlier try has written; marks the namespace if there was none."""
    name = settings.namespace
    mark = topics.import_mark(name)
    if mark not in topics.listed(client):
        topics.refuse_if_used(client, name, never)
        topics.make(client, mark, settings.kafka.replication)
        _note(Publisher(client, mark), Mark(file.sha256))
        return 0
    marks = [_read(mark, m.value()) for some in read_whole(client, mark) for m in some]
    if any(found.sha256 != file.sha256 for found in marks):
        msg = (
            f"namespace {name!r} holds part of another file of light curves: import that one again "
            "to finish, or choose another --namespace"
        )
        raise Failed(msg)
    if not marks:  # killed before it said anything, and so before anything else
        _note(Publisher(client, mark), Mark(file.sha256))
    return max((found.groups for found in marks), default=0)


def _note(mark: Publisher, found: Mark) -> None:
    said = {"version": found.version, "sha256": found.sha256, "groups": found.groups}
    mark.send(json.dumps(said).encode())
    mark.flush()


def _read(topic: str, value: bytes | None) -> Mark:
    try:
        said = json.loads(value or b"")
        if said["version"] == MARK_VERSION:
            return Mark(**said)
    except (ValueError, TypeError, KeyError):
        pass
    msg = (
        f"what stands in {topic} was not written by this version of Nightjar: finish the import "
        "with the one that began it, or choose another --namespace"
    )
    raise Failed(msg)


def _pages(group: Group) -> list[tuple[bytes, bytes]]:
    """Keys and values as the curves span writes them."""
    sizes = np.diff(group.first)
    n_pages = -(-sizes // PAGE)
    of = np.repeat(np.arange(len(sizes)), n_pages)
    number = np.arange(len(of)) - np.repeat(np.cumsum(n_pages) - n_pages, n_pages)
    first = np.append(group.first[of] + number * PAGE, len(group.points))
    names = wire.keys(group.objects)
    keys = [b"%b#%d" % (names[i], n) for i, n in zip(of.tolist(), number.tolist(), strict=True)]
    return list(zip(keys, wire.write_pages(group.points, first), strict=True))

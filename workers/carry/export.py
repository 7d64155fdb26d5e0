"""Light curves out of a namespace's changelog into a file, while its workers may go on."""

from __future__ import annotations

import contextlib
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import Message

from broker import wire
from broker.clock import now_ms
from broker.packing import PAGE
from broker.records import SURVEYS
from workers import topics
from workers.carry.curve_file import OBJECT, Contents, Group, Writer
from workers.carry.taken_up import standing
from workers.counting import RestoreMetrics
from workers.errors import Failed
from workers.kafka import never
from workers.progress import Progress
from workers.restore import Changelog

if TYPE_CHECKING:
    from workers.settings import Settings

#: Pages that are sorted in memory at once, some 2 kB each; and files that they are dealt to. More
#: than this product of a partition's pages take more memory.
_SORTED = 20_000
_MOST_HEAPS = 500
_HEAD = struct.Struct("<II")


def export(settings: Settings, to: Path) -> tuple[Path, Contents]:
    """Write the light curves of a namespace to a file, or into a folder, under a name of its own.

    Memory is bounded: pages are dealt to heaps on disk by their objects, beside the file, and each
    heap is sorted by itself. So each light curve is in the file once, however often its pages were
    written.

    Raises
    ------
    Failed
        There is no such namespace; a light curve of which a page is missing; a full disk.
    """
    client = settings.kafka.client()
    name = settings.namespace
    partitions = topics.counts(settings, "curves")["curves"]
    known = topics.listed(client)
    if topics.import_mark(name) in known:
        raise Failed(topics.half_imported(name))
    if to.is_dir():
        to = to / f"{name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.curves.parquet"
    contents = Contents(name, partitions, now_ms(), standing(client, name, known))
    changelog = Changelog(client, f"{name}.curves", partitions, never, RestoreMetrics())
    try:
        bounds = {p: changelog.bounds(p) for p in range(partitions)}
        total = sum(end - first for first, end in bounds.values())
        before = 0
        with Progress("export", total, "records") as progress, Writer(to, contents) as file:
            for partition, (first, end) in bounds.items():

                def each(done: int, first: int = first, before: int = before) -> None:
                    progress.at(before + done - first)

                reading = changelog.read(partition, first, end, each)
                for pages in _sorted(reading, end - first, to.absolute().parent):
                    file.write(_group(pages))
                before += end - first
                progress.at(before)
    except OSError as exc:
        msg = f"{to} could not be written: {exc.strerror or exc}"
        raise Failed(msg) from exc
    return to, contents


def _sorted(
    reading: Iterator[tuple[int, list[Message]]], records: int, folder: Path
) -> Iterator[dict[bytes, bytes]]:
    """The last value of each page, by key; some objects with all their pages at a time."""
    n = min(max(-(-records // _SORTED), 1), _MOST_HEAPS)
    with (
        tempfile.TemporaryDirectory(prefix=".nightjar-", dir=folder) as place,
        contextlib.ExitStack() as files,
    ):
        heaps = [files.enter_context(Path(place, str(i)).open("w+b")) for i in range(n)]
        for _, messages in reading:
            for message in messages:
                key, value = message.key(), message.value() or b""
                heap = heaps[zlib.crc32(key.rpartition(b"#")[0]) % n]
                heap.write(_HEAD.pack(len(key), len(value)) + key + value)
        for heap in heaps:
            pages = _read_heap(heap)
            if pages:
                yield pages


def _read_heap(heap: IO[bytes]) -> dict[bytes, bytes]:
    heap.seek(0)
    pages = {}
    while head := heap.read(_HEAD.size):
        key_length, length = _HEAD.unpack(head)
        key = heap.read(key_length)
        pages[key] = heap.read(length)
    heap.truncate(0)
    return pages


def _group(pages: Mapping[bytes, bytes]) -> Group:
    """Light curves in the order of their names, whatever the order in which their pages came."""
    by_object: dict[bytes, list[int]] = {}
    for key in pages:
        name, _, number = key.rpartition(b"#")
        by_object.setdefault(name, []).append(int(number))
    names = sorted(by_object)
    keys = [b"%b#%d" % (name, number) for name in names for number in sorted(by_object[name])]
    points, at, faults = wire.read_pages([pages[key] for key in keys])
    if faults:
        fault = faults[0]
        msg = (
            f"page {keys[fault.index]!r} of the changelog cannot be read: {fault.error}. A newer "
            "Nightjar may have written it: export with that one"
        )
        raise Failed(msg)
    held = np.array([len(by_object[name]) for name in names])
    begins = np.concatenate([[0], np.cumsum(held)])
    first = at[begins]
    _refuse_gaps(names, by_object, np.diff(first), held)
    return Group(_objects(names), points, first)


def _refuse_gaps(
    names: list[bytes], by_object: Mapping[bytes, list[int]], n_points: Any, held: Any
) -> None:
    """Each object has the pages 0 to its last, and as many points as fill them."""
    last = np.array([max(by_object[name]) for name in names])
    wrong = np.flatnonzero((last + 1 != held) | (-(-n_points // PAGE) != held))
    if len(wrong):
        msg = (
            f"the changelog does not hold every page of the light curve {names[wrong[0]]!r} and of "
            f"{len(wrong) - 1} others: records were deleted from it. Nothing was exported"
        )
        raise Failed(msg)


def _objects(names: list[bytes]) -> Any:
    found = np.zeros(len(names), OBJECT)
    parts = [name.partition(b":") for name in names]
    found["survey"] = [SURVEYS.index(survey.decode()) for survey, _, _ in parts]
    found["object"] = [name for _, _, name in parts]
    return found

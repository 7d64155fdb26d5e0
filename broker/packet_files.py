"""Files that hold packets, and where in them each packet stands."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LENGTH_PREFIXED = ".lenpfx"  #: little-endian u4 length, then so many bytes of packet; repeated
TARS = (".tar.gz", ".tgz", ".tar")
ONE_PACKET = (".avro", ".bin")


class BrokenFile(Exception):
    """A file that ends too early or is not what its name says."""


@dataclass(frozen=True, slots=True)
class Item:
    """A packet, what to call it, and where its bytes stand in the file itself, if they do."""

    name: str
    value: bytes
    at: int | None


def files(source: Path) -> Iterator[Path]:
    """The files of packets under a folder, sorted; or the one file that was named.

    Raises
    ------
    FileNotFoundError
    """
    if not source.exists():
        msg = f"no such file or folder: {source}"
        raise FileNotFoundError(msg)
    if not source.is_dir():
        yield source
        return
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            if name.endswith((*TARS, *ONE_PACKET, LENGTH_PREFIXED)):
                yield Path(folder, name)


def packets(file: Path) -> Iterator[Item]:
    """The packets of one file, in its order, with little more than one in memory.

    Raises
    ------
    BrokenFile
        A tar that ends too early, after the packets that could be read.
    """
    if file.name.endswith(TARS):
        yield from _tar(file)
    elif file.suffix == LENGTH_PREFIXED:
        yield from _length_prefixed(file)
    else:
        yield Item(str(file), file.read_bytes(), 0)


def _length_prefixed(file: Path) -> Iterator[Item]:
    with file.open("rb") as stream:
        at = number = 0
        while head := stream.read(4):
            # What is left of a file that ends too early goes on as a packet, to be a dead letter.
            length = int.from_bytes(head, "little")
            value = stream.read(length) if len(head) == 4 else head
            at += 4 if len(head) == 4 else 0
            yield Item(f"{file}:{number}", value, at)
            at += len(value)
            number += 1


def _tar(file: Path) -> Iterator[Item]:
    zipped = not file.name.endswith(".tar")
    number = 0
    try:
        with (
            gzip.open(file) if zipped else file.open("rb") as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # a night has 500,000 of them
                content: IO[bytes] | None = tar.extractfile(member) if member.isreg() else None
                if content is not None and not Path(member.name).name.startswith("."):
                    place = None if zipped else member.offset_data
                    yield Item(f"{file}:{member.name}", content.read(), place)
                    number += 1
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{file} is broken after {number} packets ({error}); it may have to be fetched again"
        raise BrokenFile(msg) from error

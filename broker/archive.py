"""An archive's packets in the order in which the sky sent them: by time, then by alert id.

Two passes: the first learns when each packet was observed and where it stands, the second reads in
that order. Kept in memory are 48 bytes per packet; the members of a compressed tar, which cannot be
reached out of order, are laid down in a spool file for as long as the reading lasts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from broker import packet_files
from broker.decode import Decoder
from broker.records import Packets
from broker.surveys.survey import unix_ms

#: Where a packet stands. A packet without a time has -inf, so that broken ones come out first.
PLACE = np.dtype(
    [
        ("mjd_tai", "f8"),
        ("alert_id", "i8"),
        ("at", "i8"),
        ("length", "i8"),
        ("offset", "i8"),
        ("source", "i4"),
        ("file", "i4"),
    ]
)
OPEN_FILES = 32


def read(
    sources: Sequence[Path],
    batch: int = 256,
    batch_bytes: int = 32 << 20,
    spool: Path | None = None,
) -> Iterator[Packets]:
    """All packets of `sources` in order of (mjd_tai, alert_id), broken ones first as they stand.

    Parameters
    ----------
    sources
        Folders, ``.avro`` and ``.bin`` files (a packet each), ``.tar.gz`` of such, ``.lenpfx``.
    batch, batch_bytes
        A batch ends when it has so many packets, or at least so many bytes.
    spool
        Folder for the contents of compressed tars, about 35 GB for a ZTF night; default: the
        system's folder for temporary files.

    Yields
    ------
    Packets
        Of one source each: topic its name, partition 0, offset the packet's number in the source,
        published_ms the time of observation (0 if unknown), as an archive keeps no other.

    Raises
    ------
    FileNotFoundError, broker.packet_files.BrokenFile
        Before anything is yielded.
    """
    with TemporaryDirectory(prefix="nightjar-", dir=spool) as folder:
        index = _Index(Path(folder) / "spool")
        for source in sources:
            index.add(source, batch)
        yield from _in_order(index, batch, batch_bytes)


class _Index:
    """First pass: the places of all packets."""

    def __init__(self, spool: Path) -> None:
        self.files: list[Path] = [spool]
        self.topics: list[str] = []
        self._places: list[NDArray[np.void]] = []
        self._decoder = Decoder(public_only=False)

    @property
    def places(self) -> NDArray[np.void]:
        return np.concatenate([np.zeros(0, PLACE), *self._places])

    def add(self, source: Path, batch: int) -> None:
        self.topics.append(source.resolve().name)
        offset = 0
        values: list[bytes] = []
        rows: list[tuple[int, int]] = []  # file, at
        with self.files[0].open("ab") as spool:
            for file in packet_files.files(source):
                self.files.append(file)
                for item in packet_files.packets(file):
                    if item.at is None:
                        rows.append((0, spool.tell()))
                        spool.write(item.value)
                    else:
                        rows.append((len(self.files) - 1, item.at))
                    values.append(item.value)
                    if len(values) >= batch:
                        offset += self._note(values, rows, offset)
                        values, rows = [], []
        self._note(values, rows, offset)

    def _note(self, values: list[bytes], rows: list[tuple[int, int]], offset: int) -> int:
        n = len(values)
        places = np.zeros(n, PLACE)
        places["mjd_tai"] = -np.inf
        zeros = np.zeros(n, np.int64)
        packets = Packets(values, "", zeros.astype(np.int32), np.arange(n), zeros)
        alerts = self._decoder.decode(packets)[0].alerts
        # Of a packet with several alerts the earliest counts: written last, it stays.
        alerts = alerts[np.lexsort((alerts["alert_id"], alerts["mjd_tai"]))[::-1]]
        for name in ("mjd_tai", "alert_id"):
            places[name][alerts["offset"]] = alerts[name]
        places["length"] = [len(value) for value in values]
        places["offset"] = offset + np.arange(n)
        places["source"] = len(self.topics) - 1
        if rows:
            places["file"], places["at"] = np.array(rows).T
        self._places.append(places)
        return n


@dataclass(slots=True)
class _Files:
    """Reads at any place of many files, of which few are open at a time."""

    paths: list[Path]
    opened: dict[int, int]  # file -> descriptor, the one opened first in front

    def read(self, file: int, at: int, length: int) -> bytes:
        if file not in self.opened:
            if len(self.opened) >= OPEN_FILES:
                os.close(self.opened.pop(next(iter(self.opened))))
            self.opened[file] = os.open(self.paths[file], os.O_RDONLY)
        return os.pread(self.opened[file], length, at)

    def close(self) -> None:
        for descriptor in self.opened.values():
            os.close(descriptor)
        self.opened.clear()


def _in_order(index: _Index, batch: int, batch_bytes: int) -> Iterator[Packets]:
    """Second pass."""
    places = index.places
    places = places[np.lexsort((places["alert_id"], places["mjd_tai"]))]
    files = _Files(index.files, {})
    try:
        begin = 0
        while begin < len(places):
            end = begin + _batch(places[begin : begin + batch], batch_bytes)
            part = places[begin:end]
            yield Packets(
                [files.read(*row) for row in part[["file", "at", "length"]].tolist()],
                index.topics[part["source"][0]],
                np.zeros(len(part), np.int32),
                part["offset"].copy(),
                unix_ms(part["mjd_tai"]),
            )
            begin = end
    finally:
        files.close()


def _batch(places: NDArray[np.void], most_bytes: int) -> int:
    """How many of the places make a batch: of one source, and not more bytes than asked for."""
    other = np.flatnonzero(places["source"] != places["source"][0])
    full = np.flatnonzero(np.cumsum(places["length"]) >= most_bytes)
    return int(min([len(places), *other[:1], *(full[:1] + 1)]))

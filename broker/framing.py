"""Packets as they come over the wire, sorted by the schema of the Avro data that they hold.

Three framings: Avro's object container (ZTF; the schema travels in it), Confluent's magic byte and
big-endian schema id (LSST, ELAsTiCC), and ELAsTiCC's bare datum, which only its topic can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.avro import PAYLOAD
from broker.bytewise import varint
from broker.containers import MAGIC, SYNC_BYTES, Header, Unreadable, read_header
from broker.memory import load_i8

ID_BYTES = 5  #: Confluent: 0, then the id, big-endian
ELASTICC_ID = 91
ELASTICC_PREFIX = b"\x00" + ELASTICC_ID.to_bytes(4, "big")
MAX_HEADERS = 256  #: kept; a survey has some ten, a flood of broken ones must not fill the memory
HEADER_KEY_BYTES = 64  #: by so many first bytes headers are looked up, then compared whole


class Framed(NamedTuple):
    """Packets that hold one datum each, of one schema: value[start:end] of packets `packet`.

    ``schema`` is the JSON text that came in the packets, or the id that their sender gave.
    """

    schema: bytes | int
    packet: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


class Sorted(NamedTuple):
    """A batch of packets: those of one datum; containers that have to be opened block by block
    (broker.containers.blocks), because they are packed or hold more; those refused.
    """

    framed: list[Framed]
    containers: list[tuple[int, Header]]
    refused: list[tuple[int, Unreadable]]


class Framing:
    """Takes packets apart; remembers containers' headers, because ZTF sends 23 kB of the same one
    with each alert. They are known by all their bytes: several schemas share one version string.
    """

    def __init__(self) -> None:
        self._headers: dict[bytes, list[Header]] = {}
        self._kept = 0

    def sort(self, values: Sequence[bytes], survey: str | None = None) -> Sorted:
        """Sort packets by their schema; little else looks at each in Python."""
        found = Sorted([], [], [])
        head = values[0][:ID_BYTES] if values else b""
        if _is_id(head, survey) and all(map(methodcaller("startswith", head), values)):
            found.framed.append(_of_one_schema(values, range(len(values)), head))
            return found
        by_header: dict[Header, list[int]] = {}
        by_head: dict[bytes, list[int]] = {}
        bare: list[int] = []
        for i, value in enumerate(values):
            if value.startswith(MAGIC):
                try:
                    by_header.setdefault(self._header(value), []).append(i)
                except Unreadable as error:
                    found.refused.append((i, error))
            elif survey == "elasticc" and not value.startswith(ELASTICC_PREFIX):
                bare.append(i)
            else:
                by_head.setdefault(value[:ID_BYTES], []).append(i)
        for header, packets in by_header.items():
            _sort_containers(values, header, packets, found)
        for head, packets in by_head.items():
            if _is_id(head):
                found.framed.append(_of_one_schema(values, packets, head))
            else:
                found.refused.extend((i, _not_avro(values[i])) for i in packets)
        strange = {i for i in bare if not values[i] or _is_page(values[i])}
        found.refused.extend((i, _not_avro(values[i])) for i in strange)
        if bare:
            packets = [i for i in bare if i not in strange]
            found.framed.append(_framed(values, packets, ELASTICC_ID, 0))
        return found

    def _header(self, value: bytes) -> Header:
        for header in self._headers.get(value[:HEADER_KEY_BYTES], ()):
            if value.startswith(header.head):
                return header
        header = read_header(value)
        if self._kept >= MAX_HEADERS:
            self._headers.clear()
            self._kept = 0
        self._headers.setdefault(value[:HEADER_KEY_BYTES], []).append(header)
        self._kept += 1
        return header


def _sort_containers(
    values: Sequence[bytes], header: Header, packets: list[int], found: Sorted
) -> None:
    framed = _framed(values, packets, header.schema, len(header.head) + SYNC_BYTES)
    if header.codec == "null":
        address = np.fromiter((id(values[i]) for i in packets), np.int64) + PAYLOAD
        _one_record(address, framed.start, framed.end)
        simple = framed.end >= 0
        found.framed.append(Framed(header.schema, *(column[simple] for column in framed[1:])))
        packets = framed.packet[~simple].tolist()
    found.containers.extend((i, header) for i in packets)


@njit(cache=True, nogil=True)
def _one_record(
    address: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> None:
    """Find the one record of containers whose header ends at `start`, and whose bytes at `end`.

    Writes its bounds there; an `end` of -1 says that this container is not as simple as that.
    """
    for i in range(len(address)):
        at, stop = address[i] + start[i], address[i] + end[i]
        end[i] = -1
        count, body = varint(at, stop)
        if body < 0 or count != 1:
            continue
        length, body = varint(body, stop)
        if body < 0 or length < 1 or length != stop - body - SYNC_BYTES:
            continue
        sync = at - SYNC_BYTES
        behind = stop - SYNC_BYTES
        if load_i8(sync) == load_i8(behind) and load_i8(sync + 8) == load_i8(behind + 8):
            start[i] = body - address[i]
            end[i] = behind - address[i]


def _is_id(head: bytes, survey: str | None = None) -> bool:
    if survey == "elasticc":  # its bare data may begin with anything
        return head == ELASTICC_PREFIX
    return len(head) == ID_BYTES and head.startswith(b"\x00")


def _of_one_schema(values: Sequence[bytes], packets: Sequence[int], head: bytes) -> Framed:
    return _framed(values, packets, int.from_bytes(head[1:], "big"), ID_BYTES)


def _framed(
    values: Sequence[bytes], packets: Sequence[int], schema: bytes | int, start: int
) -> Framed:
    n = len(packets)
    some = values if n == len(values) else [values[i] for i in packets]
    end = np.fromiter(map(len, some), np.int64, n)
    return Framed(schema, np.array(packets, np.int64), np.full(n, start, np.int64), end)


def _is_page(value: bytes) -> bool:
    start = value[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml"))


def _not_avro(value: bytes) -> Unreadable:
    if _is_page(value):
        return Unreadable("html", "a web page, not a packet")
    if value.startswith(b"\x00"):
        return Unreadable("truncated", "the packet ends within its schema id")
    return Unreadable("not_avro", f"starts with {value[:8]!r}" if value else "no bytes at all")

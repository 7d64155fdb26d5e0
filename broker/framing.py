"""Packets as they come over the wire, taken apart into the Avro data that they hold.

Three framings: Avro's object container (ZTF; the schema travels in it), Confluent's magic byte and
big-endian schema id (LSST, ELAsTiCC), and ELAsTiCC's bare datum, which only its topic can tell.
Nothing is believed before it is checked: lengths, sync markers, checksums, sizes after unpacking.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cramjam
import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import avro
from broker.interpreter import varint as read_varint
from broker.memory import load_i8

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
ID_BYTES = 5  #: Confluent: 0, then the id, big-endian
ELASTICC_ID = 91
ELASTICC_PREFIX = b"\x00" + ELASTICC_ID.to_bytes(4, "big")
CODECS = ("null", "deflate", "snappy")
#: What a block may grow to: a packet of 600 kB is large, and gzipped cutouts hardly shrink again.
MAX_BLOCK_BYTES = 64 << 20
MAX_RATIO = 100
FREE_BYTES = 1 << 20  #: the ratio is not asked of small blocks: nulls shrink well
MAX_HEADERS = 256  #: kept; a survey has some ten, a flood of broken ones must not fill the memory
HEADER_KEY_BYTES = 64  #: by so many first bytes headers are looked up, then compared whole


class Unreadable(Exception):
    """A packet that cannot be taken apart: `reason` is a word of broker.decode.REASONS."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """The head of a container up to its sync marker: these very bytes, and what they say."""

    head: bytes
    schema: bytes
    codec: str


class Block(NamedTuple):
    """`count` data, one behind the other, at value[start:end]."""

    schema: bytes
    value: bytes
    start: int
    end: int
    count: int


class Framed(NamedTuple):
    """Packets that hold one datum each, of one schema: value[start:end] of packets `packet`.

    ``schema`` is the JSON text that came in the packets, or the id that their sender gave.
    """

    schema: bytes | int
    packet: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


class Sorted(NamedTuple):
    """A batch of packets: those of one datum, containers to open with `blocks`, those refused."""

    framed: list[Framed]
    containers: list[int]
    refused: list[tuple[int, Unreadable]]


class Framing:
    """Takes packets apart; remembers containers' headers, because ZTF sends 23 kB of the same one
    with each alert. They are known by all their bytes: several schemas share one version string.
    """

    def __init__(self) -> None:
        self._headers: dict[bytes, list[Header]] = {}
        self._kept = 0

    def sort(self, values: Sequence[bytes], survey: str | None = None) -> Sorted:
        """Sort packets by their schema. The usual ones cost no step of Python each but this."""
        found = Sorted([], [], [])
        by_head: dict[bytes, list[int]] = {}
        by_header: dict[Header, list[int]] = {}
        bare: list[int] = []
        for i, value in enumerate(values):
            if value.startswith(MAGIC):
                try:
                    by_header.setdefault(self._header(value), []).append(i)
                except Unreadable as error:
                    found.refused.append((i, error))
            else:
                by_head.setdefault(value[:ID_BYTES], []).append(i)
        for head, packets in by_head.items():
            if survey == "elasticc" and head != ELASTICC_PREFIX:
                bare += packets
            elif head.startswith(b"\x00") and len(head) == ID_BYTES:
                number = int.from_bytes(head[1:], "big")
                found.framed.append(_framed(values, packets, number, ID_BYTES))
            else:
                found.refused.extend((i, _not_avro(values[i])) for i in packets)
        pages = {i for i in bare if not values[i] or _is_page(values[i])}
        found.refused.extend((i, _not_avro(values[i])) for i in pages)
        bare = sorted(set(bare) - pages)
        if bare:
            found.framed.append(_framed(values, bare, ELASTICC_ID, 0))
        for header, packets in by_header.items():
            if header.codec != "null":
                found.containers.extend(packets)
                continue
            framed = _framed(values, packets, header.schema, len(header.head) + SYNC_BYTES)
            address = np.fromiter((id(values[i]) for i in packets), np.int64) + avro.PAYLOAD
            _one_record(address, framed.start, framed.end)
            plain = framed.end >= 0
            found.containers.extend(framed.packet[~plain].tolist())
            found.framed.append(
                Framed(header.schema, *(column[plain] for column in framed[1:]))
            )
        return found

    def blocks(self, value: bytes) -> Iterator[Block]:
        """The blocks of one container, in order.

        Raises
        ------
        Unreadable
            After the blocks that could be read, if there is something behind them that cannot.
        """
        header = self._header(value)
        at = len(header.head) + SYNC_BYTES
        sync = value[at - SYNC_BYTES : at]
        size = len(value)
        if at >= size:
            raise Unreadable("truncated", "the container ends before its first record")
        while at < size:
            count, at = varint(value, at)
            length, at = varint(value, at)
            end = at + length
            if count < 0 or length < count:  # a record of ours has at least one byte
                raise Unreadable("corrupt", f"a block of {count} records in {length} bytes")
            if end + SYNC_BYTES > size:
                raise Unreadable("truncated", f"a block of {length} bytes, {size - at} are there")
            if value[end : end + SYNC_BYTES] != sync:
                raise Unreadable("corrupt", "a block that does not end with the sync marker")
            if header.codec == "null":
                yield Block(header.schema, value, at, end, count)
            else:
                plain = unpack(value[at:end], header.codec)
                if len(plain) < count:
                    raise Unreadable("corrupt", f"a block of {count} records in {len(plain)} bytes")
                yield Block(header.schema, plain, 0, len(plain), count)
            at = end + SYNC_BYTES

    def _header(self, value: bytes) -> Header:
        alike = self._headers.get(value[:HEADER_KEY_BYTES], ())
        for header in alike:
            if value.startswith(header.head):
                return header
        header = read_header(value)
        if self._kept >= MAX_HEADERS:
            self._headers.clear()
            self._kept = 0
        self._headers.setdefault(value[:HEADER_KEY_BYTES], []).append(header)
        self._kept += 1
        return header


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
        count, body = read_varint(at, stop)
        if body < 0 or count != 1:
            continue
        length, body = read_varint(body, stop)
        if body < 0 or length < 1 or length != stop - body - SYNC_BYTES:
            continue
        sync = at - SYNC_BYTES
        behind = stop - SYNC_BYTES
        if load_i8(sync) == load_i8(behind) and load_i8(sync + 8) == load_i8(behind + 8):
            start[i] = body - address[i]
            end[i] = behind - address[i]


def _framed(values: Sequence[bytes], packets: list[int], schema: bytes | int, start: int) -> Framed:
    n = len(packets)
    end = np.fromiter((len(values[i]) for i in packets), np.int64, n)
    return Framed(schema, np.array(packets, np.int64), np.full(n, start, np.int64), end)


def read_header(value: bytes) -> Header:
    """The header of a container (Avro 1.12 specification, "Object Container Files")."""
    meta: dict[bytes, bytes] = {}
    count, at = varint(value, len(MAGIC))
    while count:
        if count < 0:
            _, at = varint(value, at)  # the size in bytes of this part of the map
        for _ in range(abs(count)):
            key, at = _sized(value, at)
            meta[key], at = _sized(value, at)
        count, at = varint(value, at)
    if len(value) < at + SYNC_BYTES:
        raise Unreadable("truncated", "the container ends within its header")
    if b"avro.schema" not in meta:
        raise Unreadable("corrupt", "a container without a schema")
    codec = meta.get(b"avro.codec", b"null").decode("utf-8", "replace")
    if codec not in CODECS:
        raise Unreadable("unsupported_codec", f"codec {codec!r}; known: {', '.join(CODECS)}")
    return Header(value[:at], meta[b"avro.schema"], codec)


def unpack(block: bytes, codec: str) -> bytes:
    """A block's bytes before compression, refused beyond MAX_BLOCK_BYTES or MAX_RATIO."""
    limit = min(MAX_BLOCK_BYTES, max(FREE_BYTES, MAX_RATIO * len(block)))
    if codec == "snappy":
        return _unsnap(block, limit)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflate.decompress(block, limit)
    except zlib.error as error:
        raise Unreadable("corrupt", f"deflate: {error}") from error
    if inflate.unconsumed_tail:
        raise Unreadable("corrupt", f"{len(block)} bytes that unpack to more than {limit}")
    if not inflate.eof:
        raise Unreadable("corrupt", "deflate: the block ends too early")
    return plain


def _unsnap(block: bytes, limit: int) -> bytes:
    length = shift = 0
    for byte in block[:5]:
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if length > limit:
        raise Unreadable("corrupt", f"{len(block)} bytes that unpack to {length}, limit {limit}")
    try:
        plain = bytes(cramjam.snappy.decompress_raw(block[:-4]))
    except cramjam.DecompressionError as error:
        raise Unreadable("corrupt", f"snappy: {error}") from error
    if zlib.crc32(plain) != int.from_bytes(block[-4:], "big"):
        raise Unreadable("corrupt", "snappy: the checksum does not fit")
    return plain


def varint(value: bytes, at: int) -> tuple[int, int]:
    """The zigzag number at `at`, and the place behind it."""
    bits = shift = 0
    for byte in value[at : at + 10]:
        at += 1
        bits |= (byte & 127) << shift
        if byte < 128:
            return (bits >> 1) ^ -(bits & 1), at
        shift += 7
    if shift == 70:
        raise Unreadable("corrupt", "a number of more than 64 bits")
    raise Unreadable("truncated", "the packet ends within a number")


def _sized(value: bytes, at: int) -> tuple[bytes, int]:
    length, at = varint(value, at)
    if length < 0:
        raise Unreadable("corrupt", "a negative length in the container's header")
    if length > len(value) - at:
        raise Unreadable("truncated", "the container ends within its header")
    return value[at : at + length], at + length


def _is_page(value: bytes) -> bool:
    start = value[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml"))


def _not_avro(value: bytes) -> Unreadable:
    if _is_page(value):
        return Unreadable("html", "a web page, not a packet")
    return Unreadable("not_avro", f"starts with {value[:8]!r}" if value else "no bytes at all")

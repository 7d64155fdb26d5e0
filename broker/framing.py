"""Packets as they come over the wire, taken apart into the Avro data that they hold.

Three framings: Avro's object container (ZTF; the schema travels in it), Confluent's magic byte and
big-endian schema id (LSST, ELAsTiCC), and ELAsTiCC's bare datum, which only its topic can tell.
Nothing is believed before it is checked: lengths, sync markers, checksums, sizes after unpacking.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cramjam

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
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
    """`count` data, one behind the other, at value[start:end].

    ``schema`` is the JSON text that came in the packet, or the id that its sender gave.
    """

    schema: bytes | int
    value: bytes
    start: int
    end: int
    count: int


class Framing:
    """Takes packets apart; remembers containers' headers, because ZTF sends 23 kB of the same one
    with each alert. They are known by all their bytes: several schemas share one version string.
    """

    def __init__(self) -> None:
        self._headers: dict[bytes, list[Header]] = {}
        self._kept = 0

    def blocks(self, value: bytes, survey: str | None = None) -> Iterator[Block]:
        """The blocks of one packet, in order.

        Raises
        ------
        Unreadable
            After the blocks that could be read, if there is something behind them that cannot.
        """
        if value.startswith(MAGIC):
            yield from self._container(value)
        elif survey == "elasticc" and not value.startswith(ELASTICC_PREFIX):
            if not value or value.isspace() or _is_page(value):
                raise _not_avro(value)
            yield Block(ELASTICC_ID, value, 0, len(value), 1)
        elif value.startswith(b"\x00"):
            if len(value) < 5:
                raise Unreadable("truncated", f"{len(value)} bytes, not even a schema id")
            yield Block(int.from_bytes(value[1:5], "big"), value, 5, len(value), 1)
        else:
            raise _not_avro(value)

    def _container(self, value: bytes) -> Iterator[Block]:
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

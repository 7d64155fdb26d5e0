"""Avro's object containers, opened: header, blocks, codecs; nothing is believed unchecked.

Source: Avro 1.12 specification, "Object Container Files".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import cramjam

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
CODECS = ("null", "deflate", "snappy")
#: What all blocks of a packet may unpack to: FREE_BYTES, and so many for each byte that came.
#: Alerts without cutouts shrink to a sixth in an archive's blocks, alone to a third; gzipped
#: cutouts, two thirds of a packet, hardly at all. A bomb of 64 kB then costs 1 MB, as 15 packets.
MAX_RATIO = 12
FREE_BYTES = 256 << 10
#: A header of ZTF takes 23 to 28 kB; each that is new costs a compilation, and is kept.
MAX_HEADER_BYTES = 128 << 10
MAX_ENTRIES = 64  #: of a header; surveys write two or three
#: A block has a record of a few hundred bytes at least; each costs 20 us whatever is in it.
LEAST_BLOCK_BYTES = 256
FREE_BLOCKS = 16


class Unreadable(Exception):
    """A packet that cannot be taken apart: `reason` is a word of broker.decode.REASONS."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error


def refuse(reason: str, error: str) -> NoReturn:
    """Raise Unreadable."""
    raise Unreadable(reason, error)


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """The head of a container up to its sync marker: these very bytes, and what they say."""

    head: bytes
    schema: bytes
    codec: str


class Block(NamedTuple):
    """`records` data, one behind the other, at value[start:end]."""

    value: bytes
    start: int
    end: int
    records: int


def read_header(value: bytes) -> Header:
    """The header of a container.

    Raises
    ------
    Unreadable
        truncated, corrupt or unsupported_codec.
    """
    meta: dict[bytes, bytes] = {}
    value = value[: MAX_HEADER_BYTES + SYNC_BYTES]
    cut = len(value) == MAX_HEADER_BYTES + SYNC_BYTES
    count, at = varint(value, len(MAGIC))
    entries = 0
    try:
        while count:
            if count < 0:
                _, at = varint(value, at)  # the size in bytes of this part of the map
            entries += abs(count)
            if entries > MAX_ENTRIES:
                refuse("corrupt", f"a header of {entries} entries; {MAX_ENTRIES} are allowed")
            for _ in range(abs(count)):
                key, at = _sized(value, at)
                meta[key], at = _sized(value, at)
            count, at = varint(value, at)
        if len(value) < at + SYNC_BYTES:
            refuse("truncated", "the container ends within its header")
    except Unreadable as error:
        if cut and error.reason == "truncated":
            refuse("corrupt", f"a header of more than {MAX_HEADER_BYTES} bytes")
        raise
    if b"avro.schema" not in meta:
        refuse("corrupt", "a container without a schema")
    codec = meta.get(b"avro.codec", b"null").decode("utf-8", "replace")
    if codec not in CODECS:
        refuse("unsupported_codec", f"codec {codec[:40]!r}; known: {', '.join(CODECS)}")
    return Header(value[:at], meta[b"avro.schema"], codec)


def blocks(value: bytes, header: Header) -> Iterator[Block]:
    """The blocks of a container that has this header, in order, unpacked.

    Raises
    ------
    Unreadable
        After the blocks that could be read, if there is something behind them that cannot.
    """
    at = len(header.head) + SYNC_BYTES
    sync = value[at - SYNC_BYTES : at]
    if at >= len(value):
        refuse("truncated", "the container ends before its first record")
    left = FREE_BYTES + MAX_RATIO * len(value)
    most_blocks = FREE_BLOCKS + len(value) // LEAST_BLOCK_BYTES
    while at < len(value):
        if most_blocks == 0:
            refuse("corrupt", f"blocks of less than {LEAST_BLOCK_BYTES} bytes on average")
        most_blocks -= 1
        records, at = varint(value, at)
        length, at = varint(value, at)
        end = at + length
        if records < 1 or length < records:  # a record of ours has at least one byte
            refuse("corrupt", f"a block of {records} records in {length} bytes")
        if end + SYNC_BYTES > len(value):
            refuse("truncated", f"a block of {length} bytes, {len(value) - at} are there")
        if value[end : end + SYNC_BYTES] != sync:
            refuse("corrupt", "a block that does not end with the sync marker")
        if header.codec == "null":
            yield Block(value, at, end, records)
        else:
            plain = unpack(value[at:end], header.codec, left)
            left -= len(plain)
            if len(plain) < records:
                refuse("corrupt", f"a block of {records} records in {len(plain)} bytes")
            yield Block(plain, 0, len(plain), records)
        at = end + SYNC_BYTES


def unpack(block: bytes, codec: str, limit: int) -> bytes:
    """A block's bytes before compression, refused beyond `limit` bytes."""
    if codec == "snappy":
        return _unsnap(block, limit)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflate.decompress(block, max(limit, 1))  # 0 would be no limit
    except zlib.error as error:
        refuse("corrupt", f"deflate: {error}")
    if inflate.unconsumed_tail:
        refuse("corrupt", f"{len(block)} bytes that unpack to more than {limit}")
    if not inflate.eof:
        refuse("corrupt", "deflate: the block ends too early")
    return plain


def _unsnap(block: bytes, limit: int) -> bytes:
    length = shift = 0
    for byte in block[:5]:
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if length > limit:
        refuse("corrupt", f"{len(block)} bytes that unpack to {length}, limit {limit}")
    try:
        plain = bytes(cramjam.snappy.decompress_raw(block[:-4]))
    except cramjam.DecompressionError as error:
        refuse("corrupt", f"snappy: {error}")
    if zlib.crc32(plain) != int.from_bytes(block[-4:], "big"):
        refuse("corrupt", "snappy: the checksum does not fit")
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
        refuse("corrupt", "a number of more than 64 bits")
    refuse("truncated", "the packet ends within a number")


def _sized(value: bytes, at: int) -> tuple[bytes, int]:
    length, at = varint(value, at)
    if length < 0:
        refuse("corrupt", "a negative length in the container's header")
    if length > len(value) - at:
        refuse("truncated", "the container ends within its header")
    return value[at : at + length], at + length

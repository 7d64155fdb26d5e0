"""Framings and containers: what is taken apart, and what is refused and why."""

from __future__ import annotations

import io
import zlib
from typing import Any

import cramjam
import fastavro
import numpy as np
import pytest

from broker.containers import (
    FREE_BYTES,
    MAGIC,
    MAX_HEADER_BYTES,
    MAX_RATIO,
    Unreadable,
    blocks,
    read_header,
    unpack,
    varint,
)
from broker.framing import ELASTICC_ID, MAX_HEADERS, Framing

SCHEMA = {"type": "record", "name": "x", "fields": [{"name": "a", "type": "string"}]}
SYNC = bytes(range(16))


def container(
    words: list[str], codec: str = "null", interval: int = 16000, **metadata: str
) -> bytes:
    """A container as fastavro writes it, a record for each word."""
    stream = io.BytesIO()
    fastavro.writer(
        stream,
        SCHEMA,
        [{"a": word} for word in words],
        codec,
        sync_interval=interval,
        metadata=metadata or None,
        sync_marker=SYNC,
    )
    return stream.getvalue()


def opened(value: bytes) -> list[tuple[bytes, int]]:
    return [(b.value[b.start : b.end], b.records) for b in blocks(value, read_header(value))]


def refusal(value: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        opened(value)
    return caught.value.reason


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_blocks_of_every_codec_come_out_whole(codec: str) -> None:
    words = ["one", "two" * 100, "three"]
    whole = b"".join(bytes(varint_of(len(w))) + w.encode() for w in words)
    assert opened(container(words, codec)) == [(whole, 3)]
    parts = opened(container(words, codec, interval=1))
    assert [records for _, records in parts] == [1, 1, 1]
    assert b"".join(body for body, _ in parts) == whole


def varint_of(n: int) -> list[int]:
    zigzag = (n << 1) ^ (n >> 63)
    out = []
    while zigzag > 127:
        out.append(zigzag & 127 | 128)
        zigzag >>= 7
    return [*out, zigzag]


@pytest.mark.parametrize("n", [0, 1, -1, 63, 64, -65, 1 << 40, -(1 << 62)])
def test_zigzag_numbers(n: int) -> None:
    assert varint(b"xx" + bytes(varint_of(n)) + b"y", 2) == (n, 2 + len(varint_of(n)))


def test_a_number_without_an_end_is_refused() -> None:
    for value, reason in (
        (b"\x80" * 9, "truncated"),
        (b"\xff" * 12, "corrupt"),
        (b"", "truncated"),
    ):
        with pytest.raises(Unreadable) as caught:
            varint(value, 0)
        assert caught.value.reason == reason


def test_every_byte_less_is_said_to_be_truncated() -> None:
    for codec in ("null", "deflate", "snappy"):
        value = container(["word"], codec)
        for length in range(len(MAGIC), len(value)):
            assert refusal(value[:length]) == "truncated"


def test_sync_marker_and_checksum_are_checked() -> None:
    for codec in ("null", "deflate", "snappy"):
        value = bytearray(container(["word"], codec))
        value[-1] ^= 1
        assert refusal(bytes(value)) == "corrupt"
    value = bytearray(container(["word"], "snappy"))
    value[-17] ^= 1  # the last byte of the checksum
    assert refusal(bytes(value)) == "corrupt"


def test_what_follows_a_good_block_does_not_take_it_back() -> None:
    value = container(["one", "two"], interval=1)[:-1]
    found = blocks(value, read_header(value))
    assert next(found).records == 1
    with pytest.raises(Unreadable):
        next(found)


def test_a_codec_that_is_not_known_is_named() -> None:
    value = container(["word"]).replace(b"\x08null", b"\x08zstd")
    with pytest.raises(Unreadable, match="zstd") as caught:
        read_header(value)
    assert caught.value.reason == "unsupported_codec"


def test_blocks_that_swell_are_refused_before_they_fill_the_memory() -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(bytes(50 * FREE_BYTES)) + squeeze.flush()
    with pytest.raises(Unreadable, match="more than"):
        unpack(bomb, "deflate", 10 * FREE_BYTES)
    plain = bytes(50 * FREE_BYTES)
    snapped = bytes(cramjam.snappy.compress_raw(plain)) + zlib.crc32(plain).to_bytes(4, "big")
    assert unpack(snapped, "snappy", len(plain)) == plain  # snappy cannot shrink more than 21 to 1
    with pytest.raises(Unreadable, match="limit"):
        unpack(snapped, "snappy", len(plain) - 1)
    lie = bytes([0xFF, 0xFF, 0xFF, 0xFF, 0x0F]) + snapped[4:]
    with pytest.raises(Unreadable, match="limit"):
        unpack(lie, "snappy", len(plain))


def test_a_block_that_claims_more_records_than_bytes_is_refused() -> None:
    value = container(["word"])
    head = read_header(value).head
    lie = head + SYNC + bytes(varint_of(1 << 50)) + value[len(head) + 17 :]
    assert refusal(lie) == "corrupt"


def test_headers_are_told_apart_by_all_their_bytes() -> None:
    framing = Framing()
    one = container(["a"], note="x" * 300 + "1")
    other = container(["b"], note="x" * 300 + "2")
    longer = container(["c"], note="x" * 300 + "12")
    found = framing.sort([one, other, one, longer])
    assert sorted(f.packet.tolist() for f in found.framed) == [[0, 2], [1], [3]]
    for i in range(2 * MAX_HEADERS):
        framing.sort([container(["a"], note=str(i))])
    assert framing._kept <= MAX_HEADERS


def test_one_datum_is_found_in_each_framing() -> None:
    values = [
        container(["word"]),
        b"\x00\x00\x00\x03\x84LSST",
        b"\x00\x00\x00\x00\x5bELASTICC",
        container(["one", "two"]),
        container(["word"], "snappy"),
    ]
    found = Framing().sort(values)
    whole: dict[Any, bytes] = {
        f.schema: b"|".join(
            values[p][s:e] for p, s, e in zip(f.packet, f.start, f.end, strict=True)
        )
        for f in found.framed
    }
    text = read_header(values[0]).schema
    assert whole == {text: b"\x08word", 900: b"LSST", ELASTICC_ID: b"ELASTICC"}
    assert sorted(i for i, _ in found.containers) == [3, 4]
    assert found.refused == []


def test_bare_data_are_elasticc_only_where_the_topic_says_so() -> None:
    values = [b"\x02bare", b"\x00\x00\x00\x00\x5bprefixed", b"", b"<html>no such alert</html>"]
    found = Framing().sort(values, "elasticc")
    places = {
        (f.schema, p, s) for f in found.framed for p, s in zip(f.packet, f.start, strict=True)
    }
    assert places == {(91, 0, 0), (91, 1, 5)}
    assert sorted((i, why.reason) for i, why in found.refused) == [(2, "not_avro"), (3, "html")]
    assert len(Framing().sort(values).refused) == 3


def test_what_is_no_packet_is_refused_by_what_it_is() -> None:
    values = [b"", b"\x00\x00", b" \n<!DOCTYPE html>", b"<HTML>", b"hello", b"Obj\x01", b"Obj"]
    reasons = [why.reason for _, why in sorted(Framing().sort(values).refused, key=lambda r: r[0])]
    assert reasons == ["not_avro", "truncated", "html", "html", "not_avro", "truncated", "not_avro"]


def test_bounds_stay_inside_the_packet_whatever_it_says() -> None:
    random = np.random.default_rng(3)
    value = np.frombuffer(container(["word" * 20]), np.uint8)
    framing = Framing()
    for _ in range(3000):
        spoiled = value[: random.integers(4, len(value) + 1)].copy()
        spoiled[random.integers(4, len(spoiled) + 1, 3) - 1] = random.integers(0, 256, 3)
        for framed in framing.sort([spoiled.tobytes()]).framed:
            assert (framed.start <= framed.end).all()
            assert (framed.end <= len(spoiled)).all()


def test_a_packet_of_many_small_bombs_unpacks_to_little() -> None:
    """Each block alone would pass: the limit is the packet's."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(bytes(FREE_BYTES)) + squeeze.flush()
    head = read_header(container(["word"], "deflate")).head
    one = bytes(varint_of(1)) + bytes(varint_of(len(bomb))) + bomb + SYNC
    value = head + SYNC + 50 * one
    found = blocks(value, read_header(value))
    most = (FREE_BYTES + MAX_RATIO * len(value)) // FREE_BYTES
    for _ in range(most):
        assert len(next(found).value) == FREE_BYTES
    with pytest.raises(Unreadable, match="more than"):
        next(found)


def test_a_packet_of_empty_or_countless_blocks_is_refused_at_once() -> None:
    head = read_header(container(["word"])).head + SYNC
    for one in (b"\0\0" + SYNC, b"\2\2\0" + SYNC):
        value = head + 20_000 * one
        with pytest.raises(Unreadable, match="block"):
            list(blocks(value, read_header(value)))
    few = head + 10 * (b"\2\2\0" + SYNC)
    assert len(list(blocks(few, read_header(few)))) == 10


def test_a_header_that_swells_is_refused() -> None:
    value = container(["word"], note="x" * MAX_HEADER_BYTES)
    with pytest.raises(Unreadable, match="header of more than") as caught:
        read_header(value)
    assert caught.value.reason == "corrupt"
    entries = b"Obj\x01" + bytes(varint_of(100_000)) + bytes(200_000)
    with pytest.raises(Unreadable, match="entries"):
        read_header(entries)
    assert refusal(container(["word"], note="x" * 1000)[:900]) == "truncated"

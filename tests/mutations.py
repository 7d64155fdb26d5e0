"""Rubbish from good packets, by a seed: what broken senders, disks and enemies make of them."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam

import schemas
from broker import packet_files
from broker.containers import MAGIC, SYNC_BYTES, Unreadable, read_header, varint
from broker.encoding import long
from broker.packets import Shares, Simulation

#: A packet that was made to grow beyond this is not taken: its cost is compared with a good one's.
MOST_BYTES = 256 << 10

#: A place in a datum: what stands there, where, and how many bytes it takes.
Place = tuple[str, int, int]

LIES = (-1, -2, 0, 1, 2, 3, 63, 64, 127, 1 << 14, 1 << 20, 1 << 31, -(1 << 31), 1 << 40)
LIES += ((1 << 62) - 1, 1 << 62, (1 << 63) - 1, -(1 << 63), -(1 << 62))
FLOATS = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e300, -1e300, 5e-324, 1e18, -999.0)
BYTES = (0, 1, 2, 3, 4, 127, 128, 254, 255)


@dataclass(frozen=True, slots=True)
class Good:
    """A good packet: its bytes, its one datum at [start, end), and the places in the datum."""

    value: bytes
    start: int
    end: int
    places: list[Place]
    sync: bytes = b""  # of a container

    @property
    def head(self) -> bytes:
        return self.value[: self.start]

    def framed(self, datum: bytes, records: int = 1) -> bytes:
        """The packet with another datum, its container's block as long as that."""
        if not self.sync:
            return self.head + datum
        before = read_header(self.value).head + self.sync
        return b"".join((before, long(records), long(len(datum)), datum, self.sync))


def good(value: bytes) -> Good:
    """Take a packet of the simulator, or a real one of one datum, apart."""
    if value.startswith(MAGIC):
        header = read_header(value)
        at = len(header.head) + SYNC_BYTES
        sync = value[at - SYNC_BYTES : at]
        _, at = varint(value, at)
        length, at = varint(value, at)
        return Good(value, at, at + length, places(json.loads(header.schema), value, at), sync)
    number = int.from_bytes(value[1:5], "big")
    schema = schemas.find("elasticc/91" if number == 91 else f"lsst/{number}")
    return Good(value, 5, len(value), places(schema, value, 5))


def places(schema: Any, value: bytes, at: int) -> list[Place]:
    """Every number, length, count and branch of the datum at `at`."""
    found: list[Place] = []
    named: dict[str, Any] = {}

    def walk(kind: Any, at: int) -> int:
        if isinstance(kind, str) and kind in named:
            kind = named[kind]
        if isinstance(kind, list):
            branch, end = varint(value, at)
            found.append(("branch", at, end - at))
            return walk(kind[branch], end)
        if isinstance(kind, dict):
            if "name" in kind:
                named[kind["name"]] = kind
                space, name = kind.get("namespace"), kind["name"]
                named[f"{space}.{name}" if space else name] = kind
                named[name.rpartition(".")[2]] = kind
            if kind["type"] == "record":
                for field in kind["fields"]:
                    at = walk(field["type"], at)
                return at
            if kind["type"] == "array":
                while True:
                    count, end = varint(value, at)
                    found.append(("count", at, end - at))
                    at = end
                    if count == 0:
                        return at
                    if count < 0:
                        _, at = varint(value, at)
                    for _ in range(abs(count)):
                        at = walk(kind["items"], at)
            if kind["type"] == "fixed":
                return at + int(kind["size"])
            return walk("int" if kind["type"] == "enum" else kind["type"], at)
        if kind in ("float", "double", "boolean", "null"):
            size = {"float": 4, "double": 8, "boolean": 1, "null": 0}[kind]
            if size:
                found.append((kind, at, size))
            return at + size
        number, end = varint(value, at)
        found.append(("number" if kind in ("int", "long") else "length", at, end - at))
        return end if kind in ("int", "long") else end + number

    walk(schema, at)
    return found


def simulated(seed: int, n: int = 60) -> list[Good]:
    """Some packets of each survey that is simulated, one in ten of ZTF's with its cutouts."""
    shares = Shares(corrupt=0.0)
    out = []
    for survey, cutouts, some in (("ztf", False, n), ("ztf", True, n // 10), ("lsst", False, n)):
        simulation = Simulation(survey, 12, 60, seed, cutouts=cutouts, shares=shares)
        values = [value for value, _, _ in simulation.packets()]
        out += [good(value) for value in random.Random(seed).sample(values, some)]
    return out


def real(folder: Path, seed: int, n: int = 60) -> list[Good]:
    """Some of the real packets under a folder that hold one datum each, n of each survey."""
    values: dict[bytes, list[bytes]] = {}
    for file in packet_files.files(folder):
        for item in packet_files.packets(file):
            if item.value.startswith((MAGIC, b"\0")):
                values.setdefault(item.value[:5], []).append(item.value)
    out = []
    for some in values.values():
        for value in random.Random(seed).sample(some, min(len(some), n)):
            with contextlib.suppress(LookupError, Unreadable):  # of a schema not shipped
                out.append(good(value))
    return out


class Mutator:
    """Mutated packets, one after the other; the same seed gives the same.

    Parameters
    ----------
    packets : what they are made from.
    seed : of everything.
    schemas_too : one packet in so many has a schema of its own, which costs a compilation; 0: none.
    """

    def __init__(self, packets: list[Good], seed: int, schemas_too: int = 50) -> None:
        self._packets = packets
        self._framed = [p for p in packets if p.sync]
        self._chance = random.Random(seed)
        self._schemas_too = schemas_too
        self._ways: list[Callable[[Good], bytes]] = [
            self.bits,
            self.bits,
            self.bytes,
            self.truncation,
            self.splice,
            self.lie,
            self.lie,
            self.lie,
            self.value,
            self.value,
            self.value,
            self.whole,
        ]

    def __call__(self) -> tuple[str, bytes]:
        """What was done, and the packet."""
        while True:
            way, value = self._one()
            if len(value) <= MOST_BYTES:
                return way, value

    def _one(self) -> tuple[str, bytes]:
        chance = self._chance
        if self._framed and chance.random() < 0.1:
            way: Callable[[Good], bytes] = chance.choice((self.block, self.codec, self.bomb))
            if self._schemas_too and chance.randrange(self._schemas_too) == 0:
                way = self.schema
            return way.__name__, way(chance.choice(self._framed))
        way = chance.choice(self._ways)
        return way.__name__, way(chance.choice(self._packets))

    def bits(self, packet: Good) -> bytes:
        """Some bits turned, in the datum; seldom anywhere."""
        value = bytearray(packet.value)
        start = 0 if self._schemas_too and self._chance.randrange(200) == 0 else packet.start
        for _ in range(self._chance.choice((1, 1, 1, 2, 4, 16))):
            at = self._chance.randrange(start, len(value))
            value[at] ^= 1 << self._chance.randrange(8)
        return bytes(value)

    def bytes(self, packet: Good) -> bytes:
        """Some bytes replaced by such as stand for something."""
        value = bytearray(packet.value)
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            value[self._chance.randrange(packet.start, len(value))] = self._chance.choice(BYTES)
        return bytes(value)

    def truncation(self, packet: Good) -> bytes:
        if packet.sync and self._chance.random() < 0.5:  # the container is whole, its datum is not
            datum = packet.value[packet.start : self._chance.randint(packet.start, packet.end)]
            return packet.framed(datum)
        return packet.value[: self._chance.randrange(len(packet.value))]

    def splice(self, packet: Good) -> bytes:
        """Parts of a datum doubled, left out, or taken from another packet of the kind."""
        chance = self._chance
        others = [p for p in self._packets if p.head[:5] == packet.head[:5]]
        other = chance.choice(others)
        a = chance.choice(packet.places)[1]
        b = chance.choice(packet.places)[1]
        source, c = chance.choice(((packet, b), (other, chance.choice(other.places)[1])))
        datum = packet.value[packet.start : a] + source.value[c : source.end]
        return packet.framed(datum)

    def lie(self, packet: Good) -> bytes:
        """A length, a count or a branch that is none; the container around it is right."""
        kind = self._chance.choice(("length", "count", "branch", "number"))
        return self._replaced(packet, kind, self._long)

    def value(self, packet: Good) -> bytes:
        """Numbers that no instrument gave, in a packet that can be read."""
        kind = self._chance.choice(("float", "double", "number"))
        return self._replaced(packet, kind, self._long if kind == "number" else self._real)

    def whole(self, packet: Good) -> bytes:
        """Anything at all."""
        chance = self._chance
        size = chance.choice((0, 1, 4, 5, 6, 100, 5000))
        return chance.choice((b"", packet.head, MAGIC, b"\0")) + chance.randbytes(size)

    def block(self, packet: Good) -> bytes:
        """A container whose block says other numbers of records or bytes, or many blocks."""
        chance, datum = self._chance, packet.value[packet.start : packet.end]
        before = read_header(packet.value).head + packet.sync
        records, length = chance.choice((*LIES, 1)), chance.choice((*LIES, len(datum)))
        one = b"".join((long(1), long(len(datum)), datum, packet.sync))
        if chance.random() < 0.2:
            empty = long(0) + long(0) + packet.sync
            return before + empty * chance.choice((1, 100, len(packet.value) // 18))
        if chance.random() < 0.3:
            return before + one * chance.randint(2, 4) + chance.choice((b"", one[:-1], b"\0"))
        return b"".join((before, long(records), long(length), datum, packet.sync))

    def codec(self, packet: Good) -> bytes:
        """A compressed container, its block broken or not."""
        chance = self._chance
        codec = chance.choice(("deflate", "snappy", "null", "zstandard", "x" * 1000))
        block = bytearray(_packed(packet.value[packet.start : packet.end], codec))
        for _ in range(chance.choice((0, 1, 3))):
            block[chance.randrange(len(block))] = chance.choice(BYTES)
        return _container(packet, codec, [(1, bytes(block))])

    def bomb(self, packet: Good) -> bytes:
        """Few bytes that unpack to many, in one block or in hundreds."""
        chance = self._chance
        size = chance.choice((1 << 20, 5 << 20, 30 << 20))
        if chance.random() < 0.3:
            return _container(packet, "snappy", [(1, _snappy_that_lies(1 << 31, chance))])
        codec = chance.choice(("deflate", "snappy"))
        key = codec, size
        if key not in _BOMBS:
            _BOMBS[key] = _packed(bytes(size), codec)
        block = chance.choice((1, 1000)), _BOMBS[key]
        return _container(packet, codec, [block] * chance.choice((1, 50)))

    def schema(self, packet: Good) -> bytes:
        """A container whose writer's schema says something else."""
        chance = self._chance
        text = json.loads(read_header(packet.value).schema)
        fields = text["fields"]
        for _ in range(chance.randint(1, 3)):
            inner = chance.choice([fields, *(f["type"]["fields"] for f in fields if _is_record(f))])
            field = chance.choice(inner)
            way = chance.randrange(8)
            if way == 0:
                inner.remove(field)
            elif way == 1:
                field["type"] = chance.choice(("int", "string", "bytes", "double", "null", "ztf"))
            elif way == 2:
                field["type"] = ["null", field["type"], "string", {"type": "map", "values": "int"}]
            elif way == 3:
                field["type"] = {"type": "array", "items": field["type"]}
            elif way == 4:
                size = chance.choice((0, -1, 1 << 30, 1 << 40, "8", None))
                field["type"] = {"type": "fixed", "name": "f", "size": size}
            elif way == 5:
                field["name"] = chance.choice(("", "\ud800", "a.b", 5, None, "candid"))
            elif way == 6:
                field["type"] = "DEEP"
            else:
                chance.shuffle(inner)
        n = chance.choice((10, 63, 64, 70, 2000, 9000))
        deep = '{"type": "array", "items": ' * n + '"int"' + "}" * n
        said = json.dumps(text).replace('"DEEP"', deep).encode()
        return _container(packet, "null", [(1, packet.value[packet.start : packet.end])], said)

    def _replaced(self, packet: Good, kind: str, other: Callable[[str], bytes]) -> bytes:
        some = [p for p in packet.places if p[0] == kind] or packet.places
        datum, end = bytearray(), packet.start
        chosen = self._chance.sample(some, min(len(some), self._chance.choice((1, 1, 2, 5))))
        for what, at, size in sorted(chosen, key=lambda place: place[1]):
            datum += packet.value[end:at] + other(what)
            end = at + size
        return packet.framed(bytes(datum) + packet.value[end : packet.end])

    def _long(self, kind: str) -> bytes:
        if self._chance.random() < 0.1:
            return bytes([255] * self._chance.randint(1, 12))
        if self._chance.random() < 0.7:
            return long(self._chance.choice(LIES) + self._chance.choice((0, 0, 1)))
        return long(self._chance.randint(-300, 300))

    def _real(self, kind: str) -> bytes:
        number = self._chance.choice(FLOATS)
        if kind == "float":
            clipped = max(min(number, 3e38), -3e38) if abs(number) < float("inf") else number
            return struct.pack("<f", clipped)
        if kind == "double":
            return struct.pack("<d", number)
        return b"\x03"


_BOMBS: dict[tuple[str, int], bytes] = {}


def _is_record(field: Any) -> bool:
    return isinstance(field["type"], dict) and field["type"].get("type") == "record"


def _packed(block: bytes, codec: str) -> bytes:
    if codec == "deflate":
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return squeeze.compress(block) + squeeze.flush()
    if codec == "snappy":
        return bytes(cramjam.snappy.compress_raw(block)) + zlib.crc32(block).to_bytes(4, "big")
    return block


def _snappy_that_lies(size: int, chance: random.Random) -> bytes:
    rest, out = size, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out) + chance.randbytes(100)


def _container(
    packet: Good, codec: str, blocks: list[tuple[int, bytes]], schema: bytes | None = None
) -> bytes:
    text = read_header(packet.value).schema if schema is None else schema
    meta = [(b"avro.schema", text), (b"avro.codec", codec.encode())]
    words = b"".join(long(len(part)) + part for pair in meta for part in pair)
    out = [MAGIC, long(len(meta)), words, b"\0", packet.sync]
    for records, block in blocks:
        out += [long(records), long(len(block)), block, packet.sync]
    return b"".join(out)

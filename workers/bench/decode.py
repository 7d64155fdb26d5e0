"""Survey packets to columns: µs of one core a packet, beside fastavro with its schema cached."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import fastavro

import schemas
from broker.decode import Decoder
from workers.bench.figures import Figure, Target, figure, in_turns, most, thread_us

if TYPE_CHECKING:
    from workers.bench.bench import Bench
    from workers.bench.night import Night

TARGETS = {"ztf": most(15), "lsst": most(150), "elasticc": most(3.5)}
#: Packets in one turn, of ours and of fastavro's.
_COUNTS = {"ztf": (1000, 100), "lsst": (200, 6), "elasticc": (6000, 300)}


def measure(bench: Bench) -> list[Figure]:
    """µs a packet for each survey, in batches as the decode span takes them."""
    rows = []
    for night in bench.nights():
        ours, theirs = in_turns(2 * bench.rounds, *turns(night))
        target: Target = TARGETS[night.survey]
        name = f"{night.survey}, {night.mean_kb:.1f} kB"
        rows.append(figure(name, ours, "µs", target, ("fastavro", theirs)))
    return rows


def turns(night: Night) -> tuple[Callable[[], float], Callable[[], float]]:
    """One turn of ours and one of fastavro's: µs a packet."""
    many, few = _COUNTS[night.survey]
    decoder = Decoder()
    batches = night.batches(many)
    packets = sum(len(batch.values) for batch in batches)
    some = [parts for value in night.packets(few) if (parts := _parts(value)) is not None]

    def ours() -> None:
        for batch in batches:
            decoder.decode(batch)

    def theirs() -> None:
        for schema, body in some:
            fastavro.schemaless_reader(io.BytesIO(body), schema, None)

    return lambda: thread_us(ours, packets), lambda: thread_us(theirs, len(some))


def _parts(value: bytes) -> tuple[Any, bytes] | None:
    """A packet's schema, parsed, and its record; None if it is spoilt."""
    try:
        if value[:1] == b"\x00":  # Confluent's framing
            return _framed(int.from_bytes(value[1:5], "big")), value[5:]
        sync = value[-16:]
        at = value.index(sync) + 16
        schema = _contained(value[: at - 16])
        for _ in range(2):  # the count and the size of the block
            while value[at] & 0x80:
                at += 1
            at += 1
        body = value[at:-16]
        fastavro.schemaless_reader(io.BytesIO(body), schema, None)
    except Exception:  # whatever fastavro makes of a spoilt packet
        return None
    return schema, body


@cache
def _framed(number: int) -> Any:
    name = "elasticc/91" if number == 91 else f"lsst/{number}"
    return fastavro.parse_schema(schemas.find(name))


@cache
def _contained(header: bytes) -> Any:
    metadata = fastavro.reader(io.BytesIO(header + bytes(16))).metadata
    return fastavro.parse_schema(json.loads(metadata["avro.schema"]))

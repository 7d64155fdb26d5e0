"""Packets to detections: the first stage. What cannot be decoded is a dead letter, never a stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import schemas
from broker import avro
from broker.clock import now_ms
from broker.containers import Block, Unreadable, blocks
from broker.framing import Framing
from broker.merging import Part, before, merge
from broker.programs import Program, Programs, program
from broker.records import ALERT, POINT, DeadLetter, Detections, Packets
from broker.surveys.survey import BAD_TIME, GOOD, MISSING_FIELD, NOT_PUBLIC

#: Every reason that a dead letter of this stage can have.
REASONS = (
    "not_avro",
    "html",
    "truncated",
    "unknown_schema",
    "schema_mismatch",
    "unsupported_codec",
    "corrupt",
    "missing_field",
    "not_public",
)
_FAULTS = {
    MISSING_FIELD: ("missing_field", "the alert names no object, or none as objects are named"),
    NOT_PUBLIC: ("not_public", "the alert is of a programme that is not public; bytes kept back"),
    BAD_TIME: ("corrupt", "the alert has no time that could be one"),
}


#: Blocks unpacked at a time: a batch of bombs is read in parts.
MAX_UNPACKED = 64 << 20
#: Points of one packet: each is paired with each of its band, so 8192 take 0.3 s or more. The
#: largest real packet seen has 2,238 (LSST's deep field, 600 kB), and histories still grow.
MAX_POINTS = 8192

_Failure = tuple[int, int, str, str]  # packet, record, reason, error


class _Chunk(NamedTuple):
    """Records to be read by one program: values[i][start[i]:end[i]]."""

    values: Sequence[bytes]
    packet: NDArray[np.int64]
    record: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


class Decoder:
    """Reads packets of all surveys. Records of one schema in a batch are read in one go.

    Parameters
    ----------
    public_only
        Drop rows, and dead-letter alerts, of programmes that are not public (ZTF 2 and 3).
    clock
        Unix time in ms; gives ``decoded_ms``.
    registry
        Writer's schema of an LSST schema id that is not shipped; may raise anything.
    cache
        Folder that keeps what the registry gave.
    """

    def __init__(
        self,
        public_only: bool = True,
        clock: Callable[[], int] = now_ms,
        registry: Callable[[int], dict[str, Any]] | None = None,
        cache: Path | None = None,
    ) -> None:
        self._public_only = public_only
        self._clock = clock
        self._framing = Framing()
        self._programs = Programs(registry, cache, clock)

    def warm_up(self) -> None:
        """Compile every kernel now, so that the first packet does not wait for it."""
        for name in ("ztf/402", "lsst/1101", "elasticc/91"):
            found = program(name.split("/")[0], schemas.find(name))
            found.survey.read(found.reader.read([b""]), True)
            found.reader.split(b"", 1)

    def decode(self, packets: Packets) -> tuple[Detections, list[DeadLetter]]:
        """Alerts in order of packet and record, and a letter for each record that is none.

        The letter of record k (but for reason ``not_public``) stands for all of its packet from k
        on; the records before it are among the detections. A letter ``not_public`` stands for that
        record alone, and no letter of its packet holds bytes, because they would reach a topic.
        """
        found = self._framing.sort(packets.values, packets.survey)
        chunks: dict[Program, list[_Chunk]] = {}
        failed = [(i, 0, why.reason, why.error) for i, why in found.refused]
        for framed in found.framed:
            try:
                reading = self._programs.find(framed.schema, packets.survey)
            except Unreadable as why:
                failed += ((i, 0, why.reason, why.error) for i in framed.packet.tolist())
                continue
            values = packets.values
            if len(framed.packet) < len(values):
                values = [values[i] for i in framed.packet.tolist()]
            record = np.zeros(len(values), np.int64)
            chunk = _Chunk(values, framed.packet, record, framed.start, framed.end)
            chunks.setdefault(reading, []).append(chunk)
        parts: list[Part] = []
        unpacked = 0
        for i, header in found.containers:
            passed = 0
            try:
                reading = self._programs.find(header.schema, packets.survey)
                for block in blocks(packets.values[i], header):
                    chunk = _records(reading, block, i, passed)
                    chunks.setdefault(reading, []).append(chunk)
                    passed += block.records
                    if header.codec != "null":
                        unpacked += len(block.value)
                    if unpacked > MAX_UNPACKED:
                        parts += self._read_all(chunks, failed)
                        unpacked = 0
            except Unreadable as why:
                failed.append((i, passed, why.reason, why.error))
        parts += self._read_all(chunks, failed)
        failed, parts = _cut(failed, parts)
        private = {packet for packet, _, reason, _ in failed if reason == "not_public"}
        letters = [_letter(packets, failure, failure[0] in private) for failure in failed]
        return self._detections(parts, packets), letters

    def _read_all(self, chunks: dict[Program, list[_Chunk]], failed: list[_Failure]) -> list[Part]:
        """Read all chunks, which are gone then."""
        read = [self._read(program, _joined(some), failed) for program, some in chunks.items()]
        chunks.clear()
        return read

    def _read(self, program: Program, chunk: _Chunk, failed: list[_Failure]) -> Part:
        rows = program.reader.read(chunk.values, chunk.start, chunk.end)
        packet, record = chunk.packet, chunk.record
        for i in np.flatnonzero(rows.status < 0).tolist():
            code = int(rows.status[i])
            reason = "truncated" if code == avro.TRUNCATED else "corrupt"
            failed.append((int(packet[i]), int(record[i]), reason, avro.explain(code)))
        packet, record = packet[rows.status >= 0], record[rows.status >= 0]
        read = program.survey.read(rows, self._public_only)
        good = read.fault == GOOD
        for i in np.flatnonzero(~good).tolist():
            reason, error = _FAULTS[int(read.fault[i])]
            failed.append((int(packet[i]), int(record[i]), reason, error))
        points = np.diff(read.first)
        for i in np.flatnonzero(points > MAX_POINTS).tolist():  # taken out by `_cut`
            error = f"{points[i]} points in a packet; {MAX_POINTS} are allowed"
            failed.append((int(packet[i]), int(record[i]), "corrupt", error))
        if good.all():
            return Part(packet, record, read.alerts, read.points, read.first)
        first = np.append(read.first[:-1][good], read.first[-1])  # a faulty record has no points
        return Part(packet[good], record[good], read.alerts[good], read.points, first)

    def _detections(self, parts: Sequence[Part], packets: Packets) -> Detections:
        if not parts:
            return Detections(np.zeros(0, ALERT), np.zeros(0, POINT), np.zeros(1, np.int64))
        part = merge(parts)
        alerts = part.alerts
        alerts["topic"] = packets.topic.encode()[: ALERT["topic"].itemsize]
        alerts["partition"] = packets.partition[part.packet]
        alerts["offset"] = packets.offset[part.packet]
        alerts["record"] = part.record
        alerts["published_ms"] = packets.published_ms[part.packet]
        alerts["decoded_ms"] = self._clock()
        return Detections(alerts, part.points, part.first)


def _records(reading: Program, block: Block, packet: int, record: int) -> _Chunk:
    """The records of a block, `record` the number of the first. One that cannot be passed gets the
    rest of the block: reading it then says what is wrong.
    """
    bounds = np.array([block.start, block.end])
    if block.records > 1:
        bounds = reading.reader.split(block.value[: block.end], block.records, block.start)
    n = len(bounds) - 1 if block.records else 0
    packets, records = np.full(n, packet, np.int64), np.arange(record, record + n)
    return _Chunk([block.value] * n, packets, records, bounds[:n], bounds[1 : n + 1])


def _joined(chunks: list[_Chunk]) -> _Chunk:
    """The chunks of one program as one, in order of packet and record."""
    if len(chunks) == 1:
        return chunks[0]
    columns = [np.concatenate([chunk[c] for chunk in chunks]) for c in range(1, 5)]
    order = np.lexsort((columns[1], columns[0]))
    values = [value for chunk in chunks for value in chunk.values]
    return _Chunk([values[i] for i in order.tolist()], *(column[order] for column in columns))


def _cut(failed: list[_Failure], parts: list[Part]) -> tuple[list[_Failure], list[Part]]:
    """Sort the failures, and end each packet at its first one that is not `not_public`."""
    if not failed:
        return failed, parts
    failed.sort()
    cut: dict[int, int] = {}
    for packet, record, reason, _ in failed:
        if reason != "not_public":
            cut.setdefault(packet, record)
    failed = [f for f in failed if f[1] <= cut.get(f[0], f[1])]
    return failed, [before(part, cut) for part in parts]


def _letter(packets: Packets, failure: _Failure, private: bool) -> DeadLetter:
    packet, record, reason, error = failure
    return DeadLetter(
        b"" if private else packets.values[packet],
        reason,
        error,
        packets.topic,
        int(packets.partition[packet]),
        int(packets.offset[packet]),
        record,
        int(packets.published_ms[packet]),
    )

"""Packets to detections: the first stage. What cannot be decoded is a dead letter, never a stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import schemas
from broker import avro
from broker.framing import Framing, Unreadable
from broker.record_bounds import record_bounds
from broker.records import ALERT, POINT, DeadLetter, Detections, Packets
from broker.surveys import SURVEYS, Survey, survey_of
from broker.surveys.survey import BAD_TIME, GOOD, MISSING_FIELD, NOT_PUBLIC
from broker.writer_schemas import WriterSchemas

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
    MISSING_FIELD: ("missing_field", "the alert names no object or has no id"),
    NOT_PUBLIC: ("not_public", "the alert is of a programme that is not public; bytes kept back"),
    BAD_TIME: ("corrupt", "the alert has no time that could be one"),
}
MAX_PROGRAMS = 256  #: kept; beyond, all are forgotten: only broken or hostile packets get there


def unix_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """How to read the packets of one writer's schema."""

    survey: Survey
    reader: avro.Reader
    skipper: avro.Reader  # finds where a record ends, for blocks that hold several


_Failure = tuple[int, int, str, str]  # packet, record, reason, error


class _Chunk(NamedTuple):
    """Records to be read by one program: values[i][start[i]:end[i]]."""

    values: list[bytes]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    packet: NDArray[np.int64]
    record: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Part:
    """What came of one group: alerts of (packet, record), and their points."""

    packet: NDArray[np.int64]
    record: NDArray[np.int64]
    alerts: NDArray[np.void]
    points: NDArray[np.void]
    first: NDArray[np.int64]


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
        clock: Callable[[], int] = unix_ms,
        registry: Callable[[int], dict[str, Any]] | None = None,
        cache: Path | None = None,
    ) -> None:
        self._public_only = public_only
        self._clock = clock
        self._framing = Framing()
        self._schemas = WriterSchemas(registry, cache, clock)
        self._programs: dict[bytes | int, Program | Unreadable] = {}

    def warm_up(self) -> None:
        """Compile every kernel now, so that the first packet does not wait for it."""
        for name in ("ztf/402", "lsst/1101", "elasticc/91"):
            program = self._compile(name.split("/")[0], schemas.find(name))
            program.survey.read(program.reader.read([]), True)
        record_bounds(program.skipper, b"", 0, 0, 1)

    def decode(self, packets: Packets) -> tuple[Detections, list[DeadLetter]]:
        """Alerts in order of packet and record, and a letter for each record that is none.

        The letter of record k (but for reason ``not_public``) stands for all of its packet from k
        on; the records before it are among the detections. A letter ``not_public`` stands for that
        record alone and holds no bytes, because they would reach a topic.
        """
        sort = self._framing.sort(packets.values, packets.survey)
        chunks: dict[Program, list[_Chunk]] = {}
        failed: list[_Failure] = [(i, 0, why.reason, why.error) for i, why in sort.refused]
        for framed in sort.framed:
            try:
                program = self._program(framed.schema, packets.survey)
            except Unreadable as why:
                failed += ((i, 0, why.reason, why.error) for i in framed.packet.tolist())
                continue
            values = [packets.values[i] for i in framed.packet.tolist()]
            record = np.zeros(len(values), np.int64)
            chunk = _Chunk(values, framed.start, framed.end, framed.packet, record)
            chunks.setdefault(program, []).append(chunk)
        for i in sort.containers:
            self._open(i, packets, chunks, failed)
        parts = [self._read(program, _joined(chunk), failed) for program, chunk in chunks.items()]
        failed, parts = _cut(failed, parts)
        detections = self._merge(parts, packets)
        return detections, [_letter(packets, *failure) for failure in failed]

    def _open(
        self,
        packet: int,
        packets: Packets,
        chunks: dict[Program, list[_Chunk]],
        failed: list[_Failure],
    ) -> None:
        """The records of a container of several records or blocks, or of compressed ones."""
        record = 0
        try:
            for block in self._framing.blocks(packets.values[packet]):
                program = self._program(block.schema, packets.survey)
                start, end = block.start, block.end
                bounds = record_bounds(program.skipper, block.value, start, end, block.count)
                n = len(bounds)
                chunks.setdefault(program, []).append(
                    _Chunk(
                        [block.value] * n,
                        bounds[:, 0],
                        bounds[:, 1],
                        np.full(n, packet, np.int64),
                        np.arange(record, record + n),
                    )
                )
                record += n
                if n < block.count:  # the last of them is broken, and hides where the next begins
                    break
        except Unreadable as why:
            failed.append((packet, record, why.reason, why.error))

    def _program(self, key: bytes | int, survey: str | None) -> Program:
        found = self._programs.get(key)
        if found is None:
            if len(self._programs) >= MAX_PROGRAMS:
                self._programs.clear()
            if isinstance(key, int):
                found = self._compile(*self._schemas.find(key))
            else:
                try:
                    found = self._compile(*_told_by(key))
                except Unreadable as error:
                    found = error
            self._programs[key] = found
        if isinstance(found, Unreadable):
            raise Unreadable(found.reason, found.error)
        if survey is not None and found.survey.name != survey:
            msg = f"a packet of {found.survey.name} in a topic of {survey}"
            raise Unreadable("schema_mismatch", msg)
        return found

    def _compile(self, survey: str, schema: Any) -> Program:
        tables, needs = SURVEYS[survey].tables, SURVEYS[survey].needs
        try:
            reader = avro.Reader(schema, tables)
            skipper = avro.Reader(schema, {})
        except (avro.SchemaError, RecursionError) as error:
            raise Unreadable("schema_mismatch", f"the writer's schema: {error}") from error
        for path, missing in reader.missing.items():
            lacking = set(needs[path]) & set(missing)
            if lacking and (path == "" or len(missing) < len(tables[path].fields)):
                names = sorted(tables[path].fields[name] for name in lacking)
                msg = f"the writer's schema lacks {', '.join(names)} in {path or 'the alert'}"
                raise Unreadable("missing_field", msg)
        return Program(SURVEYS[survey], reader, skipper)

    def _read(
        self, program: Program, chunk: _Chunk, failed: list[_Failure]
    ) -> _Part:
        rows = program.reader.read(chunk.values, chunk.start, chunk.end)
        packet, record = chunk.packet, chunk.record
        for i in np.flatnonzero(rows.status < 0).tolist():
            code = int(rows.status[i])
            reason = "truncated" if code == avro.TRUNCATED else "corrupt"
            failed.append((int(packet[i]), int(record[i]), reason, avro.explain(code)))
        packet, record = packet[rows.status >= 0], record[rows.status >= 0]
        read = program.survey.read(rows, self._public_only)
        for i in np.flatnonzero(read.fault != GOOD).tolist():
            failed.append((int(packet[i]), int(record[i]), *_FAULTS[int(read.fault[i])]))
        good = read.fault == GOOD
        if good.all():
            return _Part(packet, record, read.alerts, read.points, read.first)
        first = np.append(read.first[:-1][good], read.first[-1])  # a faulty record has no points
        return _Part(packet[good], record[good], read.alerts[good], read.points, first)

    def _merge(self, parts: Sequence[_Part], packets: Packets) -> Detections:
        """One batch out of the programs' parts, in order of packet and record."""
        if not parts:
            return Detections(np.zeros(0, ALERT), np.zeros(0, POINT), np.zeros(1, np.int64))
        part = parts[0] if len(parts) == 1 else _interleave(parts)
        alerts = part.alerts
        alerts["topic"] = packets.topic.encode()[: ALERT["topic"].itemsize]
        alerts["partition"] = packets.partition[part.packet]
        alerts["offset"] = packets.offset[part.packet]
        alerts["record"] = part.record
        alerts["published_ms"] = packets.published_ms[part.packet]
        alerts["decoded_ms"] = self._clock()
        return Detections(alerts, part.points, part.first)


def _told_by(text: bytes) -> tuple[str, Any]:
    """Survey and schema of a container, from the schema's text in its header."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("corrupt", f"the container's schema is not JSON: {error}") from error
    survey = survey_of(schema)
    if survey is None:
        raise Unreadable("unknown_schema", "the container's schema is of no survey known here")
    return survey.name, schema


def _joined(chunks: list[_Chunk]) -> _Chunk:
    """The chunks of one program as one, in order of packet and record."""
    if len(chunks) == 1:
        return chunks[0]
    columns = [np.concatenate([chunk[c] for chunk in chunks]) for c in range(1, 5)]
    order = np.lexsort((columns[3], columns[2]))
    values = [value for chunk in chunks for value in chunk.values]
    return _Chunk([values[i] for i in order.tolist()], *(column[order] for column in columns))


def _cut(failed: list[_Failure], parts: list[_Part]) -> tuple[list[_Failure], list[_Part]]:
    """Sort the failures, and end each packet at its first one that is not `not_public`."""
    if not failed:
        return failed, parts
    failed.sort()
    cut: dict[int, int] = {}
    for packet, record, reason, _ in failed:
        if reason != "not_public":
            cut.setdefault(packet, record)
    failed = [f for f in failed if f[1] <= cut.get(f[0], f[1])]
    return failed, [_before(part, cut) for part in parts]


def _before(part: _Part, cut: dict[int, int]) -> _Part:
    ends = np.array([cut.get(p, 1 << 62) for p in part.packet.tolist()], np.int64)
    keep = np.flatnonzero(part.record < ends)
    return part if len(keep) == len(ends) else _take(part, keep)


def _take(part: _Part, order: NDArray[np.int64]) -> _Part:
    """The alerts `order` of a part, with their points, in that order."""
    count = np.diff(part.first)[order]
    first = np.zeros(len(order) + 1, np.int64)
    np.cumsum(count, out=first[1:])
    index = np.arange(first[-1]) + np.repeat(part.first[order] - first[:-1], count)
    alerts, points = _words(part.alerts)[order], _words(part.points)[index]
    return _Part(
        part.packet[order],
        part.record[order],
        alerts.view(ALERT)[:, 0],
        points.view(POINT)[:, 0],
        first,
    )


def _words(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """(n, words) the rows as numbers: NumPy moves those ten times as fast as rows of many fields."""
    return rows.view(np.int64).reshape(len(rows), rows.itemsize // 8)


def _interleave(parts: Sequence[_Part]) -> _Part:
    ends = np.cumsum([0, *(len(p.points) for p in parts)])
    firsts = [p.first[:-1] + end for p, end in zip(parts, ends, strict=False)]
    whole = _Part(
        np.concatenate([p.packet for p in parts]),
        np.concatenate([p.record for p in parts]),
        np.concatenate([_words(p.alerts) for p in parts]).view(ALERT)[:, 0],
        np.concatenate([_words(p.points) for p in parts]).view(POINT)[:, 0],
        np.concatenate([*firsts, ends[-1:]]),
    )
    return _take(whole, np.lexsort((whole.record, whole.packet)))


def _letter(packets: Packets, packet: int, record: int, reason: str, error: str) -> DeadLetter:
    return DeadLetter(
        b"" if reason == "not_public" else packets.values[packet],
        reason,
        error,
        packets.topic,
        int(packets.partition[packet]),
        int(packets.offset[packet]),
        record,
        int(packets.published_ms[packet]),
    )

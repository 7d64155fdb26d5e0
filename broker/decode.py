"""Packets to detections: the first stage. What cannot be decoded is a dead letter, never a stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import schemas
from broker import avro
from broker.framing import Block, Framing, Unreadable
from broker.record_ends import record_ends
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


@dataclass(frozen=True, slots=True)
class _Group:
    """The records of a batch that one program reads, in order: [start, end) of values."""

    values: list[bytes]
    start: list[int]
    end: list[int]
    packet: list[int]
    record: list[int]

    def add(self, value: bytes, start: int, end: int, packet: int, record: int) -> None:
        self.values.append(value)
        self.start.append(start)
        self.end.append(end)
        self.packet.append(packet)
        self.record.append(record)


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
        record_ends(program.skipper, b"", 0, 0, 1)

    def decode(self, packets: Packets) -> tuple[Detections, list[DeadLetter]]:
        """Alerts in order of packet and record, and a letter for each record that is none.

        The letter of record k (but for reason ``not_public``) stands for all of its packet from k
        on; the records before it are among the detections. A letter ``not_public`` stands for that
        record alone and holds no bytes, because they would reach a topic.
        """
        groups: dict[Program, _Group] = {}
        failed: list[tuple[int, int, str, str]] = []  # packet, record, reason, error
        for i, value in enumerate(packets.values):
            record = 0
            try:
                for block in self._framing.blocks(value, packets.survey):
                    program = self._program(block.schema, packets.survey)
                    if program not in groups:
                        groups[program] = _Group([], [], [], [], [])
                    group = groups[program]
                    if block.count == 1:
                        group.add(block.value, block.start, block.end, i, record)
                        record += 1
                    else:
                        for start, end in _records(program, block):
                            group.add(block.value, start, end, i, record)
                            record += 1
            except Unreadable as error:
                failed.append((i, record, error.reason, error.error))
        parts = [self._read(program, group, failed) for program, group in groups.items()]
        failed, parts = _cut(failed, parts)
        detections = self._merge(parts, packets)
        return detections, [_letter(packets, *fault) for fault in failed]

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
        self, program: Program, group: _Group, failed: list[tuple[int, int, str, str]]
    ) -> _Part:
        rows = program.reader.read(
            group.values, np.array(group.start, np.int64), np.array(group.end, np.int64)
        )
        packet, record = np.array(group.packet, np.int64), np.array(group.record, np.int64)
        for i in np.flatnonzero(rows.status < 0).tolist():
            code = rows.status[i]
            reason = "truncated" if code == avro.TRUNCATED else "corrupt"
            failed.append((group.packet[i], group.record[i], reason, avro.explain(code)))
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


def _records(program: Program, block: Block) -> list[tuple[int, int]]:
    """[start, end) of each record of a block that holds several; where one cannot be passed, it
    gets the rest of the block, so that reading it says what is wrong."""
    ends = record_ends(program.skipper, block.value, block.start, block.end, block.count)
    starts = [block.start, *ends[:-1]]
    if len(ends) == block.count:
        ends[-1] = block.end
    return list(zip(starts, ends, strict=True))


def _cut(
    failed: list[tuple[int, int, str, str]], parts: list[_Part]
) -> tuple[list[tuple[int, int, str, str]], list[_Part]]:
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
    return _Part(
        part.packet[order], part.record[order], part.alerts[order], part.points[index], first
    )


def _interleave(parts: Sequence[_Part]) -> _Part:
    ends = np.cumsum([0, *(len(p.points) for p in parts)])
    firsts = [p.first[:-1] + end for p, end in zip(parts, ends, strict=False)]
    whole = _Part(
        np.concatenate([p.packet for p in parts]),
        np.concatenate([p.record for p in parts]),
        np.concatenate([p.alerts for p in parts]),
        np.concatenate([p.points for p in parts]),
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

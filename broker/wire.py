"""Our own records as bytes: Avro single-object encoding, read by the schema that wrote them.

A value is C3 01, the CRC-64-AVRO fingerprint of the writer's schema (little-endian), and the body
(Avro 1.12 specification, "Single-object encoding"). Schemas of earlier days stand beside today's as
``nightjar.<Name>.v<n>.avsc`` and are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from fastavro.schema import fingerprint, to_parsing_canonical_form
from numpy.typing import NDArray

from broker.avro import TRUNCATED, Reader, Rows, Table, explain
from broker.avro_writer import NO_BYTES, Writer
from broker.hashes import alert_hashes, keys, partitions
from broker.records import ALERT, BLOCK, IMAGE, POINT, PRESENCE, SPAN, Detections, Images
from schemas import FOLDER, find

__all__ = [
    "Fault",
    "alert_hashes",
    "keys",
    "page_heads",
    "partitions",
    "read_detections",
    "read_images",
    "read_pages",
    "versions",
    "write_detections",
    "write_images",
    "write_page",
    "write_pages",
]

MARKER = b"\xc3\x01"
HEAD = 10  #: bytes of marker and fingerprint


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that cannot be read: its place among the values, why (not_avro, unknown_schema,
    truncated or corrupt), and in words.
    """

    index: int
    reason: str
    error: str


def head(schema: Any) -> bytes:
    """(10 bytes) what stands before each value that `schema` wrote."""
    canonical = to_parsing_canonical_form(schema)
    return MARKER + bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))


def versions(name: str) -> dict[bytes, Any]:
    """Head -> schema of each version of a record of ours, today's first."""
    earlier = sorted(p.name.removesuffix(".avsc") for p in FOLDER.glob(f"{name}.v*.avsc"))
    return {head(schema): schema for schema in map(find, (name, *earlier))}


class _Record:
    """One of our schemas and the tables that its values are."""

    def __init__(self, name: str, tables: Mapping[str, np.dtype[Any]]) -> None:
        self.name = name
        self.tables = {path: Table(dtype, _columns(dtype)) for path, dtype in tables.items()}

    @cached_property
    def writer(self) -> Writer:
        schema = find(self.name)
        return Writer(schema, self.tables, before=head(schema))

    @cached_property
    def readers(self) -> dict[bytes, Reader]:
        """Head -> the reader of what that schema wrote; today's is the first."""
        return {start: Reader(schema, self.tables) for start, schema in versions(self.name).items()}

    def write(
        self,
        rows: Mapping[str, NDArray[np.void]],
        first: Mapping[str, NDArray[np.int64]],
        heap: NDArray[np.uint8] = NO_BYTES,
    ) -> list[bytes]:
        return self.writer.write(rows, first, heap)

    def read(self, values: Sequence[bytes]) -> tuple[Rows, list[Fault]]:
        """The rows of all values that can be read, in their order, and the others' faults."""
        parts, faults, begin = [], [], 0
        for start, run in groupby(values, key=lambda v: v[:HEAD]):
            some = list(run)
            reader = self.readers.get(start)
            if reader is None:
                reason, error = _unknown(start, self.name)
                faults += [Fault(begin + i, reason, error) for i in range(len(some))]
            else:
                part = reader.read(some, np.full(len(some), HEAD, np.int64))
                parts.append(part)
                for i in np.flatnonzero(part.status < 0).tolist():
                    reason = "truncated" if part.status[i] == TRUNCATED else "corrupt"
                    error = f"not a {self.name}: {explain(part.status[i])}"
                    faults.append(Fault(begin + i, reason, error))
            begin += len(some)
        if len(parts) == 1:
            return parts[0], faults
        return _joined(parts or [next(iter(self.readers.values())).read([])]), faults


def _columns(dtype: np.dtype[Any]) -> dict[str, str]:
    """Fields of the Avro record by the dtype's: they have the same names."""
    names: list[str] = []
    for name in dtype.names or ():
        part = dtype[name]
        if part == SPAN or part.kind in "iufS":
            names.append(name)
        else:  # a struct; padding has no names
            names += [f"{name}.{inner}" for inner in part.names or ()]
    return {name: name for name in names}


def _unknown(start: bytes, name: str) -> tuple[str, str]:
    """Reason and error for a value that starts with no head of ours."""
    if not start.startswith(MARKER):
        return "not_avro", f"starts with {start[:2].hex() or 'nothing'}, not with {MARKER.hex()}"
    if len(start) < HEAD:
        return "truncated", "ends within the fingerprint"
    return "unknown_schema", f"fingerprint {start[2:].hex()} is that of no shipped {name}"


def _joined(parts: Sequence[Rows]) -> Rows:
    """Rows of several reads as one; `status` is that of the values in their order."""
    heaps = np.cumsum([0] + [len(p.heap) for p in parts])
    rows = {}
    for path in parts[0].rows:
        for part, base in zip(parts, heaps[:-1], strict=True):
            for name in part.rows[path].dtype.names or ():
                if part.rows[path].dtype[name] == SPAN:
                    part.rows[path][name]["start"] += base
        rows[path] = np.concatenate([p.rows[path] for p in parts])
    first = {}
    for path in parts[0].first:
        counts = np.concatenate([np.diff(p.first[path]) for p in parts])
        first[path] = np.concatenate([[0], np.cumsum(counts)])
    status = np.concatenate([p.status for p in parts])
    status[status >= 0] = np.arange(np.count_nonzero(status >= 0))
    return Rows(rows, first, status, np.concatenate([p.heap for p in parts]))


_DETECTION = _Record("nightjar.Detection", {"": ALERT, "points": POINT})
_IMAGE = _Record("nightjar.Image", {"": IMAGE, "presences": PRESENCE, "blocks": BLOCK})
_PAGE = _Record("nightjar.Page", {"points": POINT})


def write_detections(detections: Detections) -> list[bytes]:
    """One value per alert, with its points."""
    return _DETECTION.write(
        {"": detections.alerts, "points": detections.points}, {"points": detections.first}
    )


def read_detections(values: Sequence[bytes]) -> tuple[Detections, list[Fault]]:
    """The alerts of the values that can be read, in their order, and the others' faults."""
    found, faults = _DETECTION.read(values)
    return Detections(found.rows[""], found.rows["points"], found.first["points"]), faults


def write_images(images: Images) -> list[bytes]:
    """One value per image, with its presences and blocks."""
    return _IMAGE.write(
        {"": images.images, "presences": images.presences, "blocks": images.blocks},
        {"presences": images.first_presence, "blocks": images.first_block},
        images.heap,
    )


def read_images(values: Sequence[bytes]) -> tuple[Images, list[Fault]]:
    """The images of the values that can be read, in their order, and the others' faults."""
    found, faults = _IMAGE.read(values)
    rows, first = found.rows, found.first
    images = Images(
        rows[""],
        rows["presences"],
        first["presences"],
        rows["blocks"],
        first["blocks"],
        found.heap,
    )
    return images, faults


def write_pages(points: NDArray[np.void], first: NDArray[np.int64]) -> list[bytes]:
    """Pages of light curves: page i holds points first[i]:first[i + 1] (POINT)."""
    return _PAGE.write({"points": points}, {"points": first})


def write_page(points: NDArray[np.void]) -> bytes:
    """One page of a light curve; for many, `write_pages` costs far less."""
    return write_pages(points, np.array([0, len(points)], np.int64))[0]


def page_heads() -> frozenset[bytes]:
    """What a page may start with."""
    return frozenset(_PAGE.readers)


def read_pages(
    values: Sequence[bytes],
) -> tuple[NDArray[np.void], NDArray[np.int64], list[Fault]]:
    """Points of the pages that can be read, where each page's begin, and the others' faults.

    Page i of those that can be read holds points first[i]:first[i + 1].
    """
    found, faults = _PAGE.read(values)
    return found.rows["points"], found.first["points"], faults

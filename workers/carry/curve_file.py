"""The file of light curves: a Parquet table of points, and what it says of itself in its footer.

A row is a point (`broker.records.POINT`, columns of the same names) with its survey and object. The
rows of an object stand together, in one row group, in the order in which the points came: page k of
the changelog is points 32 k to 32 k + 31. Missing numbers are NaN, as on the wire.

The footer's metadata holds `nightjar.curves`, a JSON object (`Contents`), and
`nightjar.curves.sha256`: of the surveys, objects and points as they are read back, row group by row
group, and of that JSON. It is compared with what a reader decodes, so it holds whatever harmed the
file, and the reader too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker.records import ALERT, BANDS, KINDS, POINT, SURVEYS
from workers.errors import Failed

VERSION = 1
OBJECT = np.dtype([("survey", "u1"), ("object", ALERT["object"])])
_ITSELF, _SHA256 = b"nightjar.curves", b"nightjar.curves.sha256"
_WORDS = {"kind": KINDS, "band": BANDS}
_MAGIC = b"PAR1"
_WRONG_SUM = "its checksum is wrong"
#: How a file that is harmed may fail on its way to our columns.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError)


@dataclass
class Contents:
    """What a file says of itself.

    ``survey`` is where the survey is to be taken up: topic, then partition, then the first offset
    of which an alert may be missing here.
    """

    namespace: str
    partitions: int
    exported_ms: int
    survey: dict[str, dict[str, int]] = field(default_factory=dict)
    objects: int = 0
    points: int = 0
    version: int = VERSION

    def text(self) -> str:
        return f"{self.objects:,} light curves, {self.points:,} points"


@dataclass(frozen=True, slots=True)
class Group:
    """Light curves of one row group: object i has points first[i]:first[i + 1]."""

    objects: NDArray[np.void]  # (object,) OBJECT
    points: NDArray[np.void]  # (point,) POINT
    first: NDArray[np.int64]  # (object + 1,)

    def hash_into(self, digest: Any) -> None:
        digest.update(np.array([len(self.objects), len(self.points)]).tobytes())
        for part in (self.objects, self.first, self.points):
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)


class Writer:
    """Writes groups to a file that appears under its name only when it is whole."""

    def __init__(self, path: Path, contents: Contents) -> None:
        self._path, self._contents = path, contents
        self._partial = path.with_name(f".{path.name}.part")
        self._digest = hashlib.sha256()
        self._file = pq.ParquetWriter(
            self._partial, _SCHEMA, compression="zstd", write_page_checksum=True
        )

    def write(self, group: Group) -> None:
        group.hash_into(self._digest)
        self._contents.objects += len(group.objects)
        self._contents.points += len(group.points)
        self._file.write_table(_table(group), row_group_size=max(len(group.points), 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                itself = json.dumps(asdict(self._contents)).encode()
                self._digest.update(itself)
                said = {_ITSELF: itself, _SHA256: self._digest.hexdigest()}
                self._file.add_key_value_metadata(said)
                self._file.close()
                with self._partial.open("rb") as written:
                    os.fsync(written.fileno())
                os.replace(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)


class Reader:
    """Reads a file; nothing of it is to be trusted before `verify` has come to its end.

    Raises
    ------
    Failed
        It is none of ours, cut off, damaged, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            starts = file.read(4)
            size = path.stat().st_size
            file.seek(max(size - 4, 0))
            ends = file.read(4)
        if starts != _MAGIC:
            raise _stranger(path)
        if ends != _MAGIC or size < 3 * len(_MAGIC):
            raise _cut_off(path)
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            said = self._file.metadata.metadata or {}
            self._sha256: str = said.get(_SHA256, b"").decode("ascii")
            self._itself = said.get(_ITSELF, b"")
        except _UNREADABLE as exc:
            raise _damaged(self._path, exc) from exc
        if not self._itself:
            raise _stranger(path)
        self.contents = self._read_contents()

    @property
    def groups(self) -> int:
        return int(self._file.num_row_groups)

    @property
    def sha256(self) -> str:
        """What names its contents; two files with the same one hold the same."""
        return self._sha256

    def read(self, number: int) -> Group:
        """Light curves of row group `number`."""
        try:
            return _group(self._file.read_row_group(number))
        except _UNREADABLE as exc:
            raise _damaged(self._path, exc) from exc

    def verify(self) -> Iterator[int]:
        """Read everything and compare; yields how many points are read so far."""
        digest = hashlib.sha256()
        objects = points = 0
        for number in range(self.groups):
            group = self.read(number)
            group.hash_into(digest)
            objects += len(group.objects)
            points += len(group.points)
            yield points
        digest.update(self._itself)
        counted = (objects, points) == (self.contents.objects, self.contents.points)
        if digest.hexdigest() != self._sha256 or not counted:
            raise _damaged(self._path, _WRONG_SUM)

    def _read_contents(self) -> Contents:
        try:
            said = json.loads(self._itself)
            version = int(said["version"])
        except (ValueError, KeyError, TypeError) as exc:
            raise _damaged(self._path, exc) from exc
        if version != VERSION:
            raise _another_version(self._path, version)
        try:
            return Contents(**said)
        except TypeError as exc:
            raise _damaged(self._path, exc) from exc


def _stranger(path: Path) -> Failed:
    return Failed(f"{path} is no file of light curves: name one that `curves export` has written")


def _cut_off(path: Path) -> Failed:
    return Failed(f"{path} is cut off: copy it again, or export again")


def _damaged(path: Path, why: object) -> Failed:
    return Failed(f"{path} is damaged ({why}): copy it again, or export again")


def _another_version(path: Path, version: int) -> Failed:
    return Failed(
        f"{path} has version {version} of the file of light curves, and this Nightjar reads "
        f"version {VERSION}: use the Nightjar that wrote it, or a newer one"
    )


def _arrow_type(name: str, kind: np.dtype[Any]) -> pa.DataType:
    return pa.dictionary(pa.int8(), pa.string()) if name in _WORDS else pa.from_numpy_dtype(kind)


_COLUMNS = [name for name in POINT.names or () if POINT[name].kind != "V"]
_SCHEMA = pa.schema(
    [
        pa.field("survey", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("object", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        *(pa.field(name, _arrow_type(name, POINT[name]), nullable=False) for name in _COLUMNS),
    ]
)


def _words(codes: NDArray[Any], words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), list(words))


def _table(group: Group) -> pa.Table:
    """A row for each point."""
    of = np.repeat(np.arange(len(group.objects), dtype=np.int32), np.diff(group.first))
    names = [name.decode() for name in group.objects["object"].tolist()]
    columns = [
        _words(group.objects["survey"][of], SURVEYS),
        pa.DictionaryArray.from_arrays(pa.array(of), pa.array(names, pa.string())),
    ]
    for name in _COLUMNS:
        column = np.ascontiguousarray(group.points[name])
        columns.append(_words(column, _WORDS[name]) if name in _WORDS else pa.array(column))
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _codes(column: pa.ChunkedArray, words: tuple[str, ...]) -> NDArray[np.uint8]:
    """Our numbers of the words in a column.

    Raises
    ------
    KeyError
        A word that is none of ours.
    """
    array = column.combine_chunks()
    number = {word: i for i, word in enumerate(words)}
    ours = np.array([number[word] for word in array.dictionary.to_pylist()], np.uint8)
    codes: NDArray[np.uint8] = ours[array.indices.to_numpy()] if len(ours) else np.zeros(0, "u1")
    return codes


def _group(table: pa.Table) -> Group:
    points = np.zeros(len(table), POINT)
    for name in _COLUMNS:
        column = table.column(name)
        points[name] = _codes(column, _WORDS[name]) if name in _WORDS else column.to_numpy()
    objects = table.column("object").combine_chunks()
    survey = _codes(table.column("survey"), SURVEYS)
    of = objects.indices.to_numpy()
    begins = np.flatnonzero((np.diff(of, prepend=-1) != 0) | (np.diff(survey, prepend=0) != 0))
    found = np.zeros(len(begins), OBJECT)
    names = np.array([name.encode() for name in objects.dictionary.to_pylist()], OBJECT["object"])
    found["object"] = names[of[begins]] if len(begins) else b""
    found["survey"] = survey[begins]
    return Group(found, points, np.append(begins, len(points)).astype(np.int64))

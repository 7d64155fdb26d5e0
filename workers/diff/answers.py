"""One classifier's answers as columns, from labels on a topic or from a replay's Parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Message
from numpy.typing import NDArray

from broker.avro import Reader, Table
from broker.framing import Framing
from broker.identities import name_hashes
from broker.records import ALERT, KINDS, REASONS, SURVEYS
from workers.labels import classifier_of

#: Who is answered, and what about it does not depend on the classes.
ANSWER = np.dtype(
    [
        ("alert_id", "i8"),
        ("object", ALERT["object"]),
        ("survey", "u1"),
        ("reason", "u1"),
        ("detections", "i4"),  # in the light curve
        ("points_hash", "i8"),
        ("weights_hash", "S64"),
        ("classifier", "S128"),
    ]
)
_CLASS = np.dtype([("name", "S32"), ("probability", "f4")])
_PRESENCE = np.dtype([("kind", "u1"), ("n", "i4")])
_FIELDS = {name: name for name in ANSWER.names or () if name != "detections"} | {
    "alert_id": "alertId",
    "classifier": "classifierName",
}
_DETECTION = KINDS.index("detection")
_WITHDRAWN = REASONS.index("withdrawn")


@dataclass(frozen=True, slots=True)
class Answers:
    """Rows of ANSWER, and their probabilities (row, class), NaN where there is a reason."""

    rows: NDArray[np.void]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, chosen: Any) -> Answers:
        return Answers(self.rows[chosen], self.classes, self.probabilities[chosen])

    def among(self, classes: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities over other classes (row, class): 0 of those that it does not know."""
        wide = np.zeros((len(self), len(classes)))
        for i, name in enumerate(self.classes):
            wide[:, classes.index(name)] = self.probabilities[:, i]
        wide[np.isnan(self.probabilities).any(axis=1)] = np.nan
        return wide

    def last(self) -> tuple[NDArray[np.uint64], Answers, int]:
        """Of each alert its last answer, by a hash of survey, object and id; how many had more.

        A withdrawal takes an alert back, and says nothing of it.
        """
        kept = self.only(self.rows["reason"] != _WITHDRAWN)
        hashes = name_hashes(kept.rows)
        found, behind = np.unique(hashes[::-1], return_index=True)
        return found, kept.only(len(hashes) - 1 - behind), len(hashes) - len(found)


@dataclass(slots=True)
class Collected:
    """Answers as they come, and the names of all classifiers that were met on the way.

    `wanted` is a classifier's name, with its version or without; "" is whichever there is.
    """

    wanted: str
    met: set[str] = field(default_factory=set)
    _framing: Framing = field(default_factory=Framing)

    def of_topic(self, chunks: Iterable[list[Message]]) -> Answers:
        """The answers among the labels of a topic, of whatever version of their schema."""
        parts = [part for messages in chunks for part in self._read(messages)]
        return _joined(parts)

    def of_table(self, rows: pa.Table) -> Answers:
        """The answers in a table as `nightjar replay --out` writes it."""
        answers = np.zeros(len(rows), ANSWER)
        for name in ANSWER.names or ():
            if name == "survey":
                answers[name] = [SURVEYS.index(s) for s in rows[name].to_pylist()]
            elif name == "reason":
                answers[name] = [REASONS.index(r) for r in rows[name].to_pylist()]
            elif name == "detections":
                answers[name] = rows["n_detection"].to_numpy()
            elif ANSWER[name].kind == "S":
                answers[name] = [text.encode() for text in rows[name].to_pylist()]
            else:
                answers[name] = rows[name].to_numpy()
        chosen = self._chosen(answers["classifier"])
        its = rows.filter(pa.array(chosen))
        known = [n for n in its.column_names if n.startswith("p_") and its[n].null_count < len(its)]
        table = np.full((len(its), len(known)), np.nan, np.float32)
        for i, name in enumerate(known):
            table[:, i] = its[name].to_numpy()
        return Answers(answers[chosen], tuple(n.removeprefix("p_") for n in known), table)

    def fits(self, name: str) -> bool:
        """Whether a label's classifier is the one that is wanted."""
        return self.wanted in ("", name, classifier_of(name))

    def _read(self, messages: list[Message]) -> Iterator[Answers]:
        values = [message.value() or b"" for message in messages]
        for framed in self._framing.sort(values).framed:
            if isinstance(framed.schema, int):
                continue
            some = [values[i] for i in framed.packet.tolist()]
            read = _reader(framed.schema).read(some, framed.start, framed.end)
            rows, of_kind = read.rows[""], read.rows["presences"]
            owner = np.repeat(np.arange(len(rows)), np.diff(read.first["presences"]))
            np.add.at(rows["detections"], owner, of_kind["n"] * (of_kind["kind"] == _DETECTION))
            yield self._columns(rows, read.rows["classes"], read.first["classes"])

    def _columns(
        self, rows: NDArray[np.void], classes: NDArray[np.void], first: NDArray[np.int64]
    ) -> Answers:
        names, which = np.unique(classes["name"], return_inverse=True)
        owner = np.repeat(np.arange(len(rows)), np.diff(first))
        table = np.full((len(rows), len(names)), np.nan, np.float32)
        table[np.diff(first) > 0] = 0
        table[owner, which] = classes["probability"]
        chosen = self._chosen(rows["classifier"])
        known = (table[chosen] > 0).any(axis=0)
        its = tuple(n.decode() for n in names[known].tolist())
        return Answers(rows[chosen], its, table[chosen][:, known])

    def _chosen(self, names: NDArray[np.bytes_]) -> NDArray[np.bool_]:
        found, which = np.unique(names, return_inverse=True)
        words = [name.decode() for name in found.tolist()]
        self.met.update(words)
        return np.array([self.fits(word) for word in words], bool)[which]


@cache
def _reader(schema: bytes) -> Reader:
    tables = {
        "": Table(ANSWER, _FIELDS),
        "classes": Table(_CLASS, {"name": "name", "probability": "probability"}),
        "presences": Table(_PRESENCE, {"kind": "kind", "n": "n"}),
    }
    return Reader(json.loads(schema), tables)


def _joined(parts: Sequence[Answers]) -> Answers:
    """One behind the other, over all of their classes."""
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    if not parts:
        return Answers(np.zeros(0, ANSWER), classes, np.zeros((0, 0), np.float32))
    tables = [part.among(classes).astype(np.float32) for part in parts]
    return Answers(np.concatenate([p.rows for p in parts]), classes, np.concatenate(tables))

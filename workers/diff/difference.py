"""Two classifiers' answers to the same alerts, held against each other and added up."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.records import REASONS, SURVEYS
from workers.diff.answers import Answers

#: Probabilities of one network in another precision lie up to 0.009 apart (models.forward).
TOLERANCE = 0.01
_NAMED = REASONS.index("none")

F8 = NDArray[np.float64]


@dataclass(slots=True)
class Agreement:
    """How much alike the answers to some alerts are that both have named."""

    alerts: int = 0
    same: int = 0
    apart: float = 0.0  # sum over alerts of the mean absolute difference of a probability
    divergence: float = 0.0  # sum over alerts

    def add(self, same: NDArray[np.bool_], apart: F8, divergence: F8) -> None:
        self.alerts += len(same)
        self.same += int(same.sum())
        self.apart += float(apart.sum())
        self.divergence += float(divergence.sum())

    def row(self) -> dict[str, Any]:
        n = max(self.alerts, 1)
        return {
            "alerts": self.alerts,
            "agreement": self.same / n if self.alerts else None,
            "mean_absolute_difference": self.apart / n if self.alerts else None,
            "mean_jensen_shannon_bits": self.divergence / n if self.alerts else None,
        }


@dataclass(slots=True)
class Most:
    """The most different of some alerts, and how many there were."""

    room: int
    count: int = 0
    _told: int = 0
    _heap: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)

    def add(self, found: Iterable[tuple[float, dict[str, Any]]]) -> None:
        for divergence, alert in found:
            self._told += 1  # of equal ones the first that came
            heapq.heappush(self._heap, (divergence, -self._told, alert))
            if len(self._heap) > self.room:
                heapq.heappop(self._heap)

    def rows(self) -> list[dict[str, Any]]:
        """From the most different on."""
        return [alert for _, _, alert in sorted(self._heap, key=lambda one: one[:2], reverse=True)]


@dataclass(slots=True)
class Difference:
    """What is known of two sides so far.

    Attributes
    ----------
    matrix
        How often the first said this and the second that: a class, or a reason for none.
    broken
        Alerts with equal points and weights, and other labels: what must not be.
    other_points
        Alerts of which the two saw other points: packets in another order, or another night.
    """

    most: int
    tolerance: float = TOLERANCE
    both: int = 0
    only: list[int] = field(default_factory=lambda: [0, 0])
    repeated: list[int] = field(default_factory=lambda: [0, 0])
    matrix: Counter[tuple[str, str]] = field(default_factory=Counter)
    named: Agreement = field(default_factory=Agreement)
    equal_points: Agreement = field(default_factory=Agreement)
    different: Most = field(init=False)
    broken: Most = field(init=False)
    other_points: Most = field(init=False)

    def __post_init__(self) -> None:
        self.different, self.broken, self.other_points = (Most(self.most) for _ in range(3))

    def add(self, first: Answers, second: Answers) -> None:
        """Take in the answers of both, of the same objects."""
        sides = [one.last() for one in (first, second)]
        hashes, at_first, at_second = np.intersect1d(
            sides[0][0], sides[1][0], assume_unique=True, return_indices=True
        )
        for i, (found, _, more) in enumerate(sides):
            self.only[i] += len(found) - len(hashes)
            self.repeated[i] += more
        self.both += len(hashes)
        a, b = sides[0][1].only(at_first), sides[1][1].only(at_second)
        classes = tuple(sorted({*a.classes, *b.classes})) or ("none",)
        p, q = a.among(classes), b.among(classes)
        said = [_said(one, table, classes) for one, table in ((a, p), (b, q))]
        for pair, n in zip(
            *np.unique(np.stack(said, axis=1), axis=0, return_counts=True), strict=True
        ):
            self.matrix[str(pair[0]), str(pair[1])] += int(n)
        equal = a.rows["points_hash"] == b.rows["points_hash"]
        both = (a.rows["reason"] == _NAMED) & (b.rows["reason"] == _NAMED)
        far = np.zeros(len(a))  # 1 where one has a name and the other has none
        far[said[0] != said[1]] = 1.0
        divergence = jensen_shannon(p[both], q[both])
        far[both] = divergence
        apart = np.abs(p[both] - q[both])
        same = said[0][both] == said[1][both]
        self.named.add(same, apart.mean(axis=1), divergence)
        of = equal[both]
        self.equal_points.add(same[of], apart[of].mean(axis=1), divergence[of])
        other = said[0] != said[1]
        other[both] |= apart.max(axis=1, initial=0.0) > self.tolerance
        alike = equal & (a.rows["weights_hash"] == b.rows["weights_hash"])
        told = _Told(a, b, p, q, said, classes, equal)
        for most, chosen in (
            (self.different, other),
            (self.broken, alike & other),
            (self.other_points, ~equal),
        ):
            most.count += int(chosen.sum())
            which = np.flatnonzero(chosen)
            which = which[np.argsort(-far[which], kind="stable")[: self.most]]
            most.add((float(far[i]), told.alert(i, float(far[i]))) for i in which.tolist())


@dataclass(frozen=True, slots=True)
class _Told:
    first: Answers
    second: Answers
    p: F8
    q: F8
    said: list[NDArray[np.str_]]
    classes: tuple[str, ...]
    equal: NDArray[np.bool_]

    def alert(self, i: int, far: float) -> dict[str, Any]:
        """One alert as plain data, with what both said of it."""
        row = self.first.rows[i]
        return {
            "survey": SURVEYS[row["survey"]],
            "object": row["object"].decode(),
            "alert_id": int(row["alert_id"]),
            "jensen_shannon_bits": far,
            "equal_points": bool(self.equal[i]),
            "first": {"said": str(self.said[0][i]), "classes": self._classes(self.p[i])},
            "second": {"said": str(self.said[1][i]), "classes": self._classes(self.q[i])},
        }

    def _classes(self, p: F8) -> dict[str, float]:
        order = np.argsort(-p, kind="stable")
        return {self.classes[k]: round(float(p[k]), 4) for k in order.tolist() if p[k] > 0}


def _said(answers: Answers, p: F8, classes: tuple[str, ...]) -> NDArray[np.str_]:
    """(row,) the likeliest class, or the reason for none in brackets."""
    reason = answers.rows["reason"]
    words = np.array([f"({word})" for word in REASONS])[reason]
    best = np.array(classes)[np.nan_to_num(p, nan=-1.0).argmax(axis=1)]
    found: NDArray[np.str_] = np.where(reason == _NAMED, best, words)
    return found


def jensen_shannon(p: F8, q: F8) -> F8:
    """Jensen-Shannon divergence of rows of probabilities, in bits: 0 equal, 1 nothing in common.

    Lin 1991, IEEE Trans. Inf. Theory 37, 145.

    >>> jensen_shannon(np.array([[1.0, 0], [0.5, 0.5]]), np.array([[0, 1.0], [0.5, 0.5]])).tolist()
    [1.0, 0.0]
    """
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(r > 0, r * np.log2(r / middle), 0.0).sum(axis=1) for r in (p, q)]
    found: F8 = (parts[0] + parts[1]) / 2
    return found

"""How right, and how honest, the labels of a classifier are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from broker.records import REASONS, SURVEYS
from broker.taxonomy import TREE, lineage
from models import metrics, prior, tree_cards
from models.tree_cards import assumed, roots
from workers.diff.answers import Answers
from workers.diff.sides import side
from workers.errors import Failed
from workers.labels import classifier_of
from workers.naming import STEPS
from workers.score import truth as truths
from workers.terminal import columns, shown_lines

if TYPE_CHECKING:
    from workers.settings import Settings

_NAMED = REASONS.index("none")


@dataclass(frozen=True, slots=True)
class Row:
    """Labels of light curves of `least` to `most` detections (most 0: and more).

    ``known`` of them are of objects whose kind the classifier has a name for, ``named`` of these
    have one; the figures are of these, each label counting once. Shares are of 1, see
    `models.metrics.Metrics`; `said` is the mean probability of the name, which of honest labels
    equals `accuracy`; `ece_restated` is the calibration error once probabilities are restated for
    the proportions that the classes have here.
    """

    least: int
    most: int
    known: int
    named: int
    accuracy: float = np.nan
    balanced: float = np.nan
    said: float = np.nan
    ece: float = np.nan
    log_loss: float = np.nan
    log_loss_gain: float = np.nan
    ece_restated: float = np.nan


@dataclass(frozen=True, slots=True)
class Score:
    """All that is known of one classifier: all labels, by detections, and by true class.

    ``others`` tells of kinds that it has no name for: how many labels, and how many were named.
    """

    classifier: str
    whole: Row
    by_detections: tuple[Row, ...]
    recall: Mapping[str, tuple[int, float]]
    others: Mapping[str, tuple[int, int]]

    def row(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self)


def score(settings: Settings, truth: Path, said: str) -> Score:
    """Hold a side's labels, as `nightjar diff` takes it, against a file of `truth.read`.

    Raises
    ------
    Failed
        There is no such side or file, or none of its labels is of an object that the file tells.
    """
    kinds = truths.read(truth)
    one = side(settings, said)
    answers = one.read(settings, None)
    one.check()
    names = sorted(filter(one.collected.fits, one.collected.met))
    if not any(o in kinds for o in np.unique(answers.rows["object"]).tolist()):
        msg = f"{truth} tells of none of the {len(answers):,} labels' objects of {said}"
        raise Failed(msg)
    try:
        card = tree_cards.find(classifier_of(names[0]))
    except LookupError:  # one that does not ship
        card = None
    if card is None:
        return of(answers, kinds, ", ".join(names))
    given = {survey: assumed(card, survey) for survey in SURVEYS}
    return of(answers, kinds, ", ".join(names), given, roots(card))


def of(
    answers: Answers,
    kinds: Mapping[bytes, str],
    classifier: str,
    given: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    grows: Mapping[str, str] = MappingProxyType({}),
) -> Score:
    """Hold answers against kinds of objects, by their names.

    `given` are the shares of classes for which answers of each survey are given; of a tree's
    answers `grows` tells from which class at the root each class grows.
    """
    _, answers, _ = answers.last()
    kind = np.array([kinds.get(o, "") for o in answers.rows["object"].tolist()], np.str_)
    place = _places(kind, answers, grows)
    named = answers.rows["reason"] == _NAMED
    known, n = place >= 0, answers.rows["detections"]
    restated = np.full_like(answers.probabilities, np.nan)
    for survey, shares in given.items():
        some = named & known & (answers.rows["survey"] == SURVEYS.index(survey))
        if some.any() and shares:
            here = _shares_here(kind[some], answers.classes, grows)
            restated[some] = prior.restated(
                answers.probabilities[some],
                np.array([shares.get(c, 1.0) for c in answers.classes]),
                here,
            )
    rows = [
        _row(answers, restated, place, known & (n >= a) & (n < b), a, b - 1 if b < STEPS[-1] else 0)
        for a, b in itertools.pairwise(STEPS)
    ]
    recall, others = {}, {}
    right = answers.probabilities.argmax(axis=1) == place if len(answers) else known
    for c, name in enumerate(answers.classes):
        some = named & (place == c)
        if some.any():
            recall[name] = int(some.sum()), float(right[some].mean())
    for name in sorted(set(kind[~known & (kind != "")].tolist())):
        some = kind == name
        others[name] = int(some.sum()), int((some & named).sum())
    whole = _row(answers, restated, place, known, 1, 0)
    return Score(classifier, whole, tuple(rows), recall, others)


def _shares_here(
    kind: NDArray[np.str_], classes: Sequence[str], grows: Mapping[str, str]
) -> NDArray[np.float64]:
    """Share (class,) of labels whose object's kind a class is, or lies in."""
    shares = np.zeros(len(classes))
    for name, count in Counter(kind.tolist()).items():
        shares[_path(name, classes, grows)] += count / len(kind)
    return shares


def _path(name: str, classes: Sequence[str], grows: Mapping[str, str]) -> list[int]:
    """Which of the classes a kind is or lies in, the deepest last."""
    if name not in TREE:
        return []
    nodes = dict.fromkeys((*reversed(lineage(name)[1:]), grows.get(name, name), name))
    return [classes.index(node) for node in nodes if node in classes]


def _places(
    kind: NDArray[np.str_], answers: Answers, grows: Mapping[str, str]
) -> NDArray[np.int64]:
    """What would have been right to say (row,): the kind, or where the answer does not go so far
    down the tree what it lies in; -1 where it has no name for that.
    """
    place = np.full(len(answers), -1)
    there = answers.rows["reason"] == _NAMED
    for name in set(kind.tolist()):
        some = kind == name
        for c in _path(name, answers.classes, grows):
            said = np.nan_to_num(answers.probabilities[:, c]) > 0
            place[some & (said | ~there | (place < 0))] = c
    return place


def _row(
    answers: Answers,
    restated: NDArray[np.float32],
    place: NDArray[np.int64],
    some: NDArray[np.bool_],
    least: int,
    most: int,
) -> Row:
    named = some & (answers.rows["reason"] == _NAMED)
    counts = {"known": int(some.sum()), "named": int(named.sum())}
    if not named.any():
        return Row(least, most, **counts)
    p = answers.probabilities[named]
    m = metrics.measure(p, place[named])
    told = named & np.isfinite(restated).all(axis=1)
    return Row(
        least,
        most,
        **counts,
        accuracy=m.accuracy,
        balanced=m.balanced_accuracy,
        said=float(p.max(axis=1).mean()),
        ece=m.ece,
        log_loss=m.log_loss,
        log_loss_gain=m.log_loss_gain,
        ece_restated=metrics.measure(restated[told], place[told]).ece if told.any() else np.nan,
    )


def text(found: Score) -> str:
    """The tables, as they are printed."""
    head = ("detections", "labels", "named", "right", "balanced", "said", "ECE", "ECE restated",
            "log loss gain")  # fmt: skip
    rows: list[Sequence[str]] = [head]
    for row in (*found.by_detections, found.whole):
        span = f"{row.least}-{row.most}" if row.most else f"{row.least}+"
        shares = (row.accuracy, row.balanced, row.said, row.ece, row.ece_restated)
        rows.append(
            (
                "all" if row is found.whole else span,
                f"{row.known:,}",
                f"{row.named:,}",
                *("" if np.isnan(share) else f"{share:.1%}" for share in shares),
                "" if np.isnan(row.log_loss_gain) else f"{row.log_loss_gain:+.3f}",
            )
        )
    lines = [f"{found.classifier}, labels of objects whose kind it has a name for", *columns(rows)]
    lines.append(
        "said: mean probability of the name; restated: for the proportions of the classes here"
    )
    if found.recall:
        recall = [(name, f"{n:,}", f"{share:.1%}") for name, (n, share) in found.recall.items()]
        lines += ["", *columns([("truth", "named", "right"), *recall])]
    if found.others:
        others = [(name, f"{n:,}", f"{named:,}") for name, (n, named) in found.others.items()]
        lines += ["", *columns([("it has no name for", "labels", "named"), *others])]
    return shown_lines("\n".join(lines))

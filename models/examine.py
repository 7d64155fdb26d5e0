"""A network held against a file of labelled light curves: of whom it is asked, what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models import bands, catalogue, evaluate, metrics, seen, splits
from models.cards import Card
from models.curve_files import LABELS, CurveFile
from models.fusion import CRTS
from models.metrics import Metrics
from models.transients import sets
from models.transients.naming import Transients

Split = Literal["unseen", "test", "all"]
#: Whose light curves a file with these class numbers holds, where a network asks.
_SURVEYS = {"crts-south": CRTS, "crts-north": CRTS}
#: Points that curves are cut to; 0 is the whole curve.
POINTS = (0, *evaluate.LENGTHS)


class Namer(Protocol):
    """Names the objects of one file from their first points."""

    @property
    def placed(self) -> int:
        """Objects for which it counts where on the sky they are."""

    def __call__(self, n: NDArray[np.int64], ladder: bool = True) -> NDArray[np.float32]:
        """Probabilities (object, class) from the first n (object,) points of each object.

        A row of NaN where the network has nothing to say of so few. With `ladder` periodograms are
        those of the stream; without, they are of all n points.
        """


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of the objects that have `points` points (0: of all, from whole curves).

    ``named`` of ``objects`` had enough points in a band; the figures are of these.
    """

    points: int
    objects: int
    named: int
    metrics: Metrics | None


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that `nightjar evaluate` prints.

    ``used`` says which objects count and why; ``tau`` how readily rare classes were named;
    ``unknown`` how many of each class, by its name in the file's numbers, the network does not
    know; ``placed`` for how many of those that count it counts where on the sky they are.
    """

    file: str
    labels: str
    model: str
    classes: tuple[str, ...]
    used: str
    tau: float
    unknown: Mapping[str, int]
    placed: int
    answers: tuple[Answer, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the figures of whole curves at the top, those of first points under `points`.

        NaN stands where a class has no objects.
        """
        by_points = {a.points: self._figures(a) for a in self.answers}
        return {
            "file": self.file,
            "labels": self.labels,
            "model": self.model,
            "classes": list(self.classes),
            "used": self.used,
            "tau": self.tau,
            "unknown": dict(self.unknown),
            "placed": self.placed,
            **by_points.pop(0),
            "points": {str(points): figures for points, figures in by_points.items()},
        }

    def _figures(self, answer: Answer) -> dict[str, Any]:
        counts = {"objects": answer.objects, "named": answer.named}
        if answer.metrics is None:
            return counts
        m = answer.metrics
        return counts | {
            "accuracy": m.accuracy,
            "balanced_accuracy": m.balanced_accuracy,
            "macro_f1": m.macro_f1,
            "ece": m.ece,
            "matthews": m.matthews,
            "log_loss": m.log_loss,
            "log_loss_gain": m.log_loss_gain,
            "recall": dict(zip(self.classes, m.recall.tolist(), strict=True)),
            "precision": dict(zip(self.classes, m.precision.tolist(), strict=True)),
            "auc": dict(zip(self.classes, m.auc.tolist(), strict=True)),
            "confusion": m.confusion.astype(int).tolist(),
        }


def examine(
    card: Card,
    file: CurveFile,
    labels: str,
    split: Split = "unseen",
    device: str = "auto",
    tau: float = 0.0,
) -> Examination:
    """Hold a network against the objects of a file whose class it knows.

    Parameters
    ----------
    labels : str
        Whose class numbers the file holds, a key of `curve_files.LABELS`.
    split : {"unseen", "test", "all"}
        Which objects count: those whose light curves training did not use; those with
        crc32(id) % 5 == 1; or all.
    tau : float
        How readily rare classes are named, see `metrics.adjusted`; 0 leaves probabilities honest.

    Raises
    ------
    ValueError
        No object is left, the network cannot eat what the file holds, or its card does not state
        the class proportions that a `tau` needs.
    """
    if tau and "proportions" not in card.training:
        msg = f"{card.name}.toml does not state the class proportions that its probabilities assume"
        raise ValueError(msg)
    label = catalogue.known(file, labels, card.classes)
    if (label < 0).all():
        theirs, ours = ", ".join(_unknown(card, file, labels)), ", ".join(card.classes)
        msg = f"{file.path}: no object to evaluate {card.name} on: it tells {ours}, not {theirs}"
        raise ValueError(msg)
    chosen, used = _choose(card, file, label, split)
    if not len(chosen):
        msg = f"{file.path}: no object to evaluate {card.name} on: {used}"
        raise ValueError(msg)
    part, label = file.take(chosen), label[chosen]
    namer = _namers(card)(card, part, device, _SURVEYS.get(labels, ""))
    points = np.diff(part.off)
    answers = []
    for length in POINTS:
        objects = np.flatnonzero(points >= length)
        if not len(objects):
            continue
        p = namer(np.minimum(points, length or points), ladder=length > 0)[objects]
        if tau:
            share = np.array(card.training["proportions"])
            p = metrics.adjusted(p, share, tau).astype(np.float32)
        named = np.isfinite(p).all(axis=1)
        result = metrics.measure(p[named], label[objects[named]]) if named.any() else None
        answers.append(Answer(length, len(objects), int(named.sum()), result))
    return Examination(
        str(file.path),
        labels,
        card.classifier,
        card.classes,
        used,
        tau,
        _unknown(card, file, labels),
        namer.placed,
        tuple(answers),
    )


def best_known(cards: Sequence[Card], file: CurveFile, labels: str) -> Card:
    """Of the cards that can eat a file the one that knows most of its classes, then most of its
    objects; of equal ones one of the survey that the file's name tells, then that which was right
    most often on its own test split.

    Raises
    ------
    ValueError
        None knows a class of the file.
    """
    origin = _origin(file)
    marks = []
    for card in cards:
        eats = not file.flux if card.channel.photometry == "total" else origin is not None
        label = catalogue.known(file, labels, card.classes)
        known = label[(label >= 0) & eats]
        home = origin is not None and card.channel.survey == origin.survey
        right = next((m["accuracy"] for m in card.measured), 0.0)
        marks.append((len(np.unique(known)), len(known), home, right, card))
    best = max(marks, key=itemgetter(0, 1, 2, 3))
    if not best[0]:
        classes = ", ".join(_count(file, labels, np.ones(len(file), np.bool_)))
        msg = f"{file.path}: no shipped network knows a class of it ({classes})"
        raise ValueError(msg)
    return best[-1]


def _origin(file: CurveFile) -> sets.Origin | None:
    """Whose difference fluxes a file of that name holds, if it tells."""
    try:
        return sets.by_name(file.path)
    except LookupError:
        return None


def _choose(
    card: Card, file: CurveFile, label: NDArray[np.int64], split: Split
) -> tuple[NDArray[np.int64], str]:
    known = label >= 0
    fingerprints = seen.read(card)
    trained = np.isin(file.fingerprints, [] if fingerprints is None else fingerprints) & known
    if split == "all":
        chosen = known
        told = "not known" if fingerprints is None else f"{trained.sum():,}"
        words = f"all; seen in training: {told}"
    elif split == "test":
        chosen = known & splits.test(file.split)
        words = "with crc32(id) % 5 == 1"
    elif fingerprints is None:
        chosen = known & splits.test(file.split)
        words = "with crc32(id) % 5 == 1, as the card does not tell what training saw"
    else:
        chosen = known & ~trained
        words = f"that training did not see; it saw {trained.sum():,} of this file"
    return np.flatnonzero(chosen), f"{chosen.sum():,} of {len(file):,} objects: {words}"


def _unknown(card: Card, file: CurveFile, labels: str) -> dict[str, int]:
    return _count(file, labels, catalogue.known(file, labels, card.classes) < 0)


def _count(file: CurveFile, labels: str, which: NDArray[np.bool_]) -> dict[str, int]:
    numbers, counts = np.unique(file.lab[which], return_counts=True)
    names = LABELS[labels]
    pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
    return {names.get(number, f"number {number}"): count for number, count in pairs}


#: Who feeds a network of this photometry from a file, on a device, told whose light curves these
#: are; of fluxes the file's name tells it.
NAMERS: Mapping[str, Callable[[Card, CurveFile, str, str], Namer]] = {
    "total": bands.stars,
    "asinh": lambda card, file, device, _: Transients(card, file, device),
}


def _namers(card: Card) -> Callable[[Card, CurveFile, str, str], Namer]:
    photometry = card.inputs.channels[0].photometry
    if photometry not in NAMERS:
        msg = f"{card.name}: networks of {photometry} photometry are not evaluated from files"
        raise ValueError(msg)
    return NAMERS[photometry]

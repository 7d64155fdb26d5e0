"""How well probabilities name objects: what is right, of which class, and whether they are honest.

NumPy only. Objects may carry weights, where a sample does not hold the sky's proportions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Bins of the top probability for the calibration error.
BINS = 15
#: Logarithms see no probability below this, the step of a float32 at 1: one sure error costs 16.
LEAST = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well probabilities name objects; shares are of 1, logarithms natural.

    A class without objects has no recall (NaN) and does not enter a mean over the classes.

    Attributes
    ----------
    objects
        How many there were.
    confusion
        (class, class) f8: objects, or their weights, by true class (row) and name (column).
    log_loss
        Mean of -log p of the true class.
    log_loss_gain
        By how much that is better than always answering with these objects' own class
        proportions. Not above 0: the probabilities say nothing, however well calibrated.
    ece
        Expected calibration error: mean distance of the top probability from the share that is
        right, over 15 equal bins (Naeini et al. 2015).
    auc
        (class,) f8: area under the ROC curve, the class against the rest; ties count half.
    """

    objects: int
    confusion: Floats
    log_loss: float
    log_loss_gain: float
    ece: float
    auc: Floats

    @property
    def accuracy(self) -> float:
        return float(self.confusion.trace() / self.confusion.sum())

    @property
    def recall(self) -> Floats:
        """(class,) f8: of the objects of each class, the share that is named so."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=1))

    @property
    def precision(self) -> Floats:
        """(class,) f8: of the objects named so, the share that is; NaN where none is."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def f1(self) -> Floats:
        """(class,) f8: harmonic mean of recall and precision; NaN for a class without objects."""
        true, named = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return np.where(true > 0, _shares(2 * self.confusion.diagonal(), true + named), np.nan)

    @property
    def balanced_accuracy(self) -> float:
        """Recall averaged over the classes."""
        return float(np.nanmean(self.recall))

    @property
    def macro_f1(self) -> float:
        return float(np.nanmean(self.f1))

    @property
    def matthews(self) -> float:
        """Matthews' coefficient, for any number of classes (Gorodkin 2004); 0 if all are one."""
        true, named = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        total = self.confusion.sum()
        among_true, among_named = total**2 - true @ true, total**2 - named @ named
        if min(among_true, among_named) <= 1e-12 * total**2:
            return 0.0
        covered = self.confusion.trace() * total - true @ named
        return float(covered / np.sqrt(among_true) / np.sqrt(among_named))


def measure(
    probabilities: NDArray[np.floating],
    label: NDArray[np.integer],
    weight: Floats | None = None,
) -> Metrics:
    """Compare probabilities with the truth.

    Parameters
    ----------
    probabilities : (object, class)
        Each row adds to 1. The name is the likeliest class, the first of equal ones.
    label : (object,)
        True classes, 0 to the number of classes - 1.
    weight : (object,) f8
        How many objects of the sky each stands for; 1 if None.

    Raises
    ------
    ValueError
        No object, a label that is no class, or rows that are no probabilities.
    """
    classes = probabilities.shape[1]
    if len(label) != len(probabilities) or not len(label):
        msg = f"{len(label)} labels for {len(probabilities)} rows: expected as many, at least one"
        raise ValueError(msg)
    if label.min() < 0 or label.max() >= classes:
        msg = f"labels {label.min()} to {label.max()}: expected 0 to {classes - 1}"
        raise ValueError(msg)
    p = probabilities.astype(np.float64)
    if not (np.abs(p.sum(axis=1) - 1) < 1e-3).all() or p.min() < 0:
        msg = "a row is no probability distribution: expected shares that add to 1"
        raise ValueError(msg)
    w = np.ones(len(label)) if weight is None else weight.astype(np.float64)
    named, top = p.argmax(axis=1), p.max(axis=1)
    cells = np.bincount(label * classes + named, w, classes * classes)
    confusion: Floats = cells.astype(np.float64).reshape(classes, classes)
    bins = np.minimum((top * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(bins, w * (top - (named == label)), BINS)
    log_loss = float(-w @ _log(p[np.arange(len(p)), label]) / w.sum())
    prior = confusion.sum(axis=1) / w.sum()
    return Metrics(
        objects=len(label),
        confusion=confusion,
        log_loss=log_loss,
        log_loss_gain=float(-prior @ _log(prior)) - log_loss,
        ece=float(np.abs(gap).sum() / w.sum()),
        auc=np.array([auc(p[:, c], label == c, w) for c in range(classes)]),
    )


def adjusted(p: NDArray[np.floating], proportions: Floats, tau: float) -> Floats:
    """Probabilities by proportions^tau, made to add to 1 again: rare classes come more readily.

    Parameters
    ----------
    p : (object, class)
        NaN stays NaN.
    proportions : (class,) f8
        Those that the probabilities assume.
    tau : float
        0 changes nothing; with 1 all classes count as equally common.
    """
    log_p = np.log(np.maximum(p, 1e-12)) - tau * np.log(np.maximum(proportions, 1e-12))
    result: Floats = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    result /= result.sum(axis=1, keepdims=True)
    return result


def auc(
    score: NDArray[np.floating], truth: NDArray[np.bool_], weight: Floats | None = None
) -> float:
    """Probability that a true object has the higher score than another one; ties count half.

    Parameters
    ----------
    score : (object,)
    truth : (object,) bool
    weight : (object,) f8
        1 if None.

    Returns
    -------
    float
        NaN where one of the two sides has no object.
    """
    w = np.ones(len(score)) if weight is None else weight
    _, place = np.unique(score, return_inverse=True)
    true, other = np.bincount(place, w * truth), np.bincount(place, w * ~truth)
    pairs = true.sum() * other.sum()
    return float(true @ (np.cumsum(other) - other / 2) / pairs) if pairs > 0 else float("nan")


def bootstrap(
    figure: Callable[[NDArray[np.int64]], float],
    objects: int,
    share: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """An interval that holds `share` of what a figure would be for other objects of the kind.

    Parameters
    ----------
    figure : callable
        Told which of the objects were drawn (with replacement, as many as there are).
    objects : int
        How many there are.
    share, draws, seed
        Percentiles (1 - share) / 2 and (1 + share) / 2 of so many draws; NaN are left out.

    Examples
    --------
    >>> right = np.array([True] * 80 + [False] * 20)
    >>> low, high = bootstrap(lambda drawn: right[drawn].mean(), 100)
    >>> round(low, 2), round(high, 2)
    (0.72, 0.88)
    """
    draw = np.random.default_rng(seed)
    figures = [figure(draw.integers(0, objects, objects)) for _ in range(draws)]
    low, high = np.nanpercentile(figures, [50 - 50 * share, 50 + 50 * share])
    return float(low), float(high)


def _log(p: Floats) -> Floats:
    result: Floats = np.log(np.maximum(p, LEAST))
    return result


def _shares(part: Floats, whole: Floats) -> Floats:
    result: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return result

"""How well a network does on objects that it never saw, by number of points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker.grids import GRIDS
from models import forward, metrics
from models.catalogue import Catalogue

#: Lengths of curves at which accuracy is quoted.
LENGTHS = (5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class Score:
    """How well probabilities name objects.

    ``points`` is the length that the curves were cut to (0: not cut), ``nightly`` whether they had
    one point a night. Shares are of 1: accuracy; recall averaged over the classes; expected
    calibration error of the top probability, in 15 equal bins.
    """

    points: int
    nightly: bool
    objects: int
    accuracy: float
    balanced: float
    ece: float


def score(
    probabilities: NDArray[np.float32],
    label: NDArray[np.int64],
    points: int = 0,
    nightly: bool = False,
) -> Score:
    """Compare probabilities (object, class) with true classes (object,)."""
    result = metrics.measure(probabilities, label)
    return Score(
        points=points,
        nightly=nightly,
        objects=result.objects,
        accuracy=result.accuracy,
        balanced=result.balanced_accuracy,
        ece=result.ece,
    )


def predict(
    network: forward.Forward,
    curves: Catalogue,
    objects: NDArray[np.int64],
    n: NDArray[np.int64],
    grid: str = "fiducial",
    batch: int = 256,
) -> NDArray[np.float32]:
    """Probabilities (object, class) of objects (object,) from the first n (object,) points."""
    result = []
    for begin in range(0, len(objects), batch):
        part = slice(begin, begin + batch)
        counts = curves.cut(objects[part], n[part]).counts(GRIDS[grid])
        result.append(np.exp(network(counts, n[part].astype(np.int32))))
    return np.concatenate(result)


def scores(network: forward.Forward, curves: Catalogue, grid: str = "fiducial") -> Iterator[Score]:
    """Scores on the test objects: whole curves first, then their first points, then one a night."""
    for nightly, these in ((False, curves), (True, curves.nightly())):
        for points in (0, *LENGTHS):
            objects = these.test[these.n[these.test] >= max(points, 2)]
            if len(objects) < 1000 and len(objects) < len(these.test):
                continue  # too few curves are that long
            n = np.minimum(these.n[objects], points or np.iinfo(np.int64).max)
            probabilities = predict(network, these, objects, n, grid)
            yield score(probabilities, these.label[objects], points, nightly)

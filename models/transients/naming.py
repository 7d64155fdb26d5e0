"""Networks of transients asked of files of light curves, as the stream would ask them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models import catalogue, forward, splits
from models.cards import Card
from models.curve_files import CurveFile
from models.evaluate import LENGTHS, Score, score
from models.transients import inputs, sets
from models.transients.curves import Curves
from models.transients.examples import DAYS
from models.transients.fit import probabilities
from models.transients.network import read


class Transients:
    """Names the objects of a file in several bands from their first points.

    Raises
    ------
    LookupError
        The file's name does not tell its bands and unit.
    ValueError
        It has none of the network's bands, or another quantity than its name tells.
    """

    placed = 0  # such networks do not ask where an object is

    def __init__(self, card: Card, file: CurveFile, device: str) -> None:
        origin, self.channel = sets.by_name(file.path), card.channel
        if not set(origin.bands) & set(self.channel.bands):
            msg = f"{file.path}: {card.name} eats bands {self.channel.bands}; it has {origin.bands}"
            raise ValueError(msg)
        self.card, self.curves = card, sets.of(file, origin)
        self.net = read(card)
        self.net.to(forward.choose_device(device))

    def __call__(self, n: NDArray[np.int64], ladder: bool = True) -> NDArray[np.float32]:
        """Probabilities (object, class) from the first n (object,) points; see `models.examine`."""
        return self._named(self.curves.first_points(n))

    def after(self, days: float) -> NDArray[np.float32]:
        """Probabilities (object, class) so many days after the first detection."""
        return self._named(self.curves.until(days))

    def _named(self, curves: Curves) -> NDArray[np.float32]:
        """NaN where there are too few points of the network's, or none that would alert."""
        curves = curves.entering(self.channel)
        some = np.flatnonzero((curves.n >= self.card.min_points) & curves.detected)
        result = np.full((len(curves), len(self.card.classes)), np.nan, np.float32)
        if len(some):
            result[some] = probabilities(self.net, inputs.make(curves.take(some), self.net.eye))
        return result


def scores(card: Card, file: CurveFile, device: str) -> Iterator[Score]:
    """Scores on a file's test objects: whole, by their first points, by days."""
    label = catalogue.known(file, "transients", card.classes)
    test = np.flatnonzero((label >= 0) & splits.test(file.split))
    file, label = file.take(test), label[test]
    namer, n = Transients(card, file, device), np.diff(file.off)
    for points in (0, *LENGTHS):
        p = namer(np.minimum(n, points or n))
        some = np.flatnonzero((n >= points) & np.isfinite(p).all(axis=1))
        if len(some):
            yield score(p[some], label[some], points)
    for days in DAYS:
        p = namer.after(days)
        some = np.flatnonzero(np.isfinite(p).all(axis=1))
        if len(some):
            yield score(p[some], label[some], days=days)

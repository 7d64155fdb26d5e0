"""Networks of one band's magnitudes asked of files of stars, as the stream would ask them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models import catalogue, evaluate, forward, population
from models.cards import Card
from models.curve_files import CurveFile
from models.forward import LEAST_P, Forward
from models.fusion import PLACES


class Stars:
    """Networks of total magnitudes: bands are named one by one and fused, as in the stream.

    Parameters
    ----------
    network : Forward
        Ready for the survey whose light curves the file holds, or is made alike to.
    file : CurveFile
    min_points : int
        A band with fewer is not fed.
    """

    def __init__(self, network: Forward, file: CurveFile, min_points: int = 2) -> None:
        self.network, self.file, self.min_points = network, file, min_points
        any_label = np.zeros(len(file), np.int64)
        self.bands = {b: catalogue.of(file.band(b), any_label) for b in np.unique(file.b).tolist()}

    @property
    def placed(self) -> int:
        """Stars for which it counts where on the sky they are."""
        counts = self.network.fusion.place[PLACES.index(self.network.survey)].any()
        return int(population.known(self.file.sky).sum()) if counts else 0

    def __call__(self, n: NDArray[np.int64], ladder: bool = True) -> NDArray[np.float32]:
        return self.fused(*self.each_band(n, ladder))

    def each_band(
        self, n: NDArray[np.int64], ladder: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
        """What is said of each band of the objects' first n (object,) points.

        Returns
        -------
        log_p : (row, class) f4
        in_band : (row,) i4
            Points behind each row.
        first_row : (object + 1,) i8
            Rows of object i are first_row[i]:first_row[i + 1].
        """
        inside = np.arange(len(self.file.t)) < np.repeat(self.file.off[:-1] + n, self._points)
        of = np.repeat(np.arange(len(n)), self._points)
        none = np.empty((0, self.network.fusion.classes), np.float32)
        objects, in_band, log_p = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [none]
        for band, curves in self.bands.items():
            here = np.bincount(of[inside & (self.file.b == band)], minlength=len(n))
            rows = np.flatnonzero(here >= self.min_points)
            if len(rows):
                parts = evaluate.eaten(self.network.channel, curves, rows, here[rows], ladder)
                log_p += [self.network.whole(*each)[:, :-1] for each in parts]
                objects.append(rows)
                in_band.append(here[rows])
        row = np.argsort(np.concatenate(objects), kind="stable")
        first_row = np.searchsorted(np.concatenate(objects)[row], np.arange(len(n) + 1))
        said = np.maximum(np.concatenate(log_p)[row], np.log(LEAST_P))
        return said, np.concatenate(in_band)[row].astype(np.int32), first_row

    def fused(
        self, log_p: NDArray[np.float32], in_band: NDArray[np.int32], first_row: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Probabilities (object, class) of what `each_band` says; NaN where it says nothing."""
        place = np.full(len(first_row) - 1, PLACES.index(self.network.survey), np.uint8)
        return self.network.fusion(log_p, in_band, first_row, place, self.file.sky)

    @property
    def _points(self) -> NDArray[np.int64]:
        return np.diff(self.file.off)


def stars(card: Card, file: CurveFile, device: str, survey: str = "") -> Stars:
    """A card's network asked of the stars of a file.

    Raises
    ------
    ValueError
        The file holds fluxes.
    """
    if file.flux:
        msg = f"{file.path}: {card.name} eats total magnitudes (m); it holds fluxes (f)"
        raise ValueError(msg)
    network = forward.prepare(card, device, shapes=(256,), survey=survey)
    return Stars(network, file, card.min_points)

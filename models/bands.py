"""Networks of one band's magnitudes asked of files of stars, as the stream would ask them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker.records import SURVEYS
from models import catalogue, evaluate, forward
from models.cards import Card
from models.curve_files import CurveFile
from models.forward import Forward


class Stars:
    """Networks of total magnitudes: bands are named one by one and fused, as in the stream.

    Parameters
    ----------
    network : Forward
    file : CurveFile
    min_points : int
        A band with fewer is not fed.
    survey : str
        Of `broker.records.SURVEYS` if it is one of these whose alerts the file tells, or is made
        alike to.
    """

    def __init__(
        self, network: Forward, file: CurveFile, min_points: int = 2, survey: str = ""
    ) -> None:
        self.network, self.file, self.min_points = network, file, min_points
        self.survey = SURVEYS.index(survey) if survey else len(SURVEYS)
        any_label = np.zeros(len(file), np.int64)
        self.bands = {b: catalogue.of(file.band(b), any_label) for b in np.unique(file.b).tolist()}

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
        classes = self.network.fusion.shift.shape[2]
        objects, in_band, p = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [_none(classes)]
        for band, curves in self.bands.items():
            here = np.bincount(of[inside & (self.file.b == band)], minlength=len(n))
            rows = np.flatnonzero(here >= self.min_points)
            if len(rows):
                p.append(evaluate.predict(self.network, curves, rows, here[rows], ladder))
                objects.append(rows)
                in_band.append(here[rows])
        row = np.argsort(np.concatenate(objects), kind="stable")
        first_row = np.searchsorted(np.concatenate(objects)[row], np.arange(len(n) + 1))
        log_p = np.log(np.maximum(np.concatenate(p)[row], np.float32(1e-30)))
        return log_p, np.concatenate(in_band)[row].astype(np.int32), first_row

    def fused(
        self, log_p: NDArray[np.float32], in_band: NDArray[np.int32], first_row: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Probabilities (object, class) of what `each_band` says; NaN where it says nothing."""
        survey = np.full(len(first_row) - 1, self.survey, np.uint8)
        return self.network.fusion(log_p, in_band, first_row, survey)

    @property
    def _points(self) -> NDArray[np.int64]:
        return np.diff(self.file.off)


def _none(classes: int) -> NDArray[np.float32]:
    return np.empty((0, classes), np.float32)


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
    network = forward.prepare(card, device, shapes=(256,))
    return Stars(network, file, card.min_points, survey)

"""What an object's bands say, and its place, becomes one answer, honest in each survey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray
from torch import nn

from broker.records import SURVEYS
from models.population import Population, commoner

if TYPE_CHECKING:
    from models.calibration import Calibration

#: A band's weight stops growing here: more points do not make its network more certain.
MOST_WEIGHT = 50
#: Catalina's light curves, which no alerts tell of.
CRTS = "crts"
#: Whose light curves an answer may be for; of "" it is not known.
PLACES = (*SURVEYS, "", CRTS)
#: Simulated alerts, and whose they are made after.
_OF = {"elasticc": "lsst"}


@dataclass(frozen=True, slots=True)
class Fusion:
    """A mean over bands, then a factor and a shift of the logits for each survey.

    A mean is as sure as one band, however many agree; how much surer they are together depends on
    the survey's bands, cadence and noise, and on the number of points. So does what its place on
    the sky has to say. Without surveys it is the mean alone.

    Attributes
    ----------
    log_points : (knot,) f4
        Logarithms of the numbers of points, rising, between which all is linear.
    factor : (survey, knot) f4
    shift : (survey, knot, class) f4
        Surveys as in PLACES.
    place : (survey, knot) f4
        Factor of what `population` says.
    population : (term, class) f4
        See `models.population.commoner`.
    """

    log_points: NDArray[np.float32]
    factor: NDArray[np.float32]
    shift: NDArray[np.float32]
    place: NDArray[np.float32]
    population: NDArray[np.float32]

    @property
    def classes(self) -> int:
        return int(self.shift.shape[2])

    def __call__(
        self,
        log_p: NDArray[np.float32],
        n: NDArray[np.int32],
        first_row: NDArray[np.int64],
        survey: NDArray[np.uint8],
        sky: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Fuse the bands of images, see `fuse`; `survey` (image,) u1 as in PLACES, `sky`
        (image, 2) f8 right ascension and declination in degrees (NaN, or None: not known).
        """
        fitted = self.log_points, self.factor, self.shift, self.place
        if sky is None:
            said = np.zeros((len(survey), self.classes), np.float32)
        else:
            said = commoner(sky, self.population)
        found: NDArray[np.float32] = fuse(log_p, n, first_row, survey, said, *fitted)
        return found


def of(fitted: nn.ModuleDict, population: Population) -> Fusion:
    """The fusion by the `Calibration` of each survey; elsewhere the mean is left as it is."""
    classes = population.weight.shape[1]
    by_survey = {name: cast("Calibration", calibration) for name, calibration in fitted.items()}
    knots = next((c.log_points.numpy() for c in by_survey.values()), np.zeros(1, np.float32))
    factor = np.ones((len(PLACES), len(knots)), np.float32)
    shift = np.zeros((len(PLACES), len(knots), classes), np.float32)
    place = np.zeros((len(PLACES), len(knots)), np.float32)
    for row, survey in enumerate(PLACES):
        calibration = by_survey.get(_OF.get(survey, survey))
        if calibration is not None:
            factor[row] = calibration.factor.numpy()[:, 0]
            shift[row] = calibration.shift.numpy()
            place[row] = calibration.place.numpy()[:, 0]
    return Fusion(knots, factor, shift, place, population.weight.numpy())


@njit(cache=True, nogil=True)
def fuse(
    log_p: NDArray[np.float32],
    n: NDArray[np.int32],
    first_row: NDArray[np.int64],
    survey: NDArray[np.uint8],
    said: NDArray[np.float32],
    log_points: NDArray[np.float32],
    factor: NDArray[np.float32],
    shift: NDArray[np.float32],
    place: NDArray[np.float32],
) -> NDArray[np.float32]:
    """One object's bands become one answer: the mean of log p weighted by min(n, 50), made honest,
    and what is said of its place.

    Parameters
    ----------
    log_p : (row, class) f4
    n : (row,) i4
        Measurements behind each row.
    first_row : (image + 1,) i8
    survey : (image,) u1
        Row of `factor`, `shift` and `place`.
    said : (image, class) f4
        Of its place.
    log_points, factor, shift, place
        See `Fusion`; below the first and above the last number of points they are that one's.

    Returns
    -------
    (image, class) f4
        Probabilities that add to 1; NaN for an image without rows.
    """
    classes = log_p.shape[1]
    images = len(first_row) - 1
    probabilities = np.full((images, classes), np.nan, np.float32)
    mean = np.empty(classes, np.float64)
    for i in range(images):
        if first_row[i] == first_row[i + 1]:
            continue
        mean[:] = 0.0
        weight = points = 0.0
        for row in range(first_row[i], first_row[i + 1]):
            w = float(min(n[row], MOST_WEIGHT))
            weight += w
            points += n[row]
            for c in range(classes):
                mean[c] += w * log_p[row, c]
        log_n = np.log(points)
        at = 0
        while at < len(log_points) - 2 and log_n > log_points[at + 1]:
            at += 1
        above = min(at + 1, len(log_points) - 1)
        step = float(log_points[above]) - log_points[at]
        part = min(max((log_n - log_points[at]) / step, 0.0), 1.0) if step > 0 else 0.0
        s = survey[i]
        times = factor[s, at] + part * (float(factor[s, above]) - factor[s, at])
        stands = place[s, at] + part * (float(place[s, above]) - place[s, at])
        for c in range(classes):
            more = shift[s, at, c] + part * (float(shift[s, above, c]) - shift[s, at, c])
            more += stands * said[i, c]
            mean[c] = mean[c] / weight * times + more
        mean -= mean.max()
        total = 0.0
        for c in range(classes):
            mean[c] = np.exp(mean[c])
            total += mean[c]
        for c in range(classes):
            probabilities[i, c] = mean[c] / total
    return probabilities


@njit(cache=True, nogil=True)
def weigh(
    novelty: NDArray[np.float32], n: NDArray[np.int32], first_row: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Most measurements of a band, and the mean of the bands' novelty weighted by min(n, 50).

    Parameters
    ----------
    novelty : (row,) f4
    n : (row,) i4
        Measurements behind each row.
    first_row : (image + 1,) i8

    Returns
    -------
    most : (image,) i4
        0 for an image without rows.
    mean : (image,) f4
        NaN for an image without rows.
    """
    images = len(first_row) - 1
    most = np.zeros(images, np.int32)
    mean = np.full(images, np.nan, np.float32)
    for i in range(images):
        total = 0.0
        weight = 0.0
        for row in range(first_row[i], first_row[i + 1]):
            w = float(min(n[row], MOST_WEIGHT))
            most[i] = max(most[i], n[row])
            weight += w
            total += w * novelty[row]
        if weight > 0:
            mean[i] = total / weight
    return most, mean

"""What a survey saw of the simulated sky, and which of it the history of one alert holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from broker.cadence import Survey
from broker.imaging import REFERENCE, SIGHTING, glimpse, take_reference, watch
from broker.sky import KINDS, OBJECT, njy

GLIMPSED = (KINDS.index("solar_system"), KINDS.index("bogus"))


@dataclass(frozen=True, slots=True)
class Observed:
    """Objects and their sightings, in order of object and time.

    Those of object o are rows first[o]:first[o+1]: one an exposure (and twins); an object of the
    last kinds (moving, bogus) has one sighting only.
    """

    survey: Survey
    sky: NDArray[np.void]  # (object,) OBJECT
    references: NDArray[np.void]  # (object, band) REFERENCE
    exposures: NDArray[np.void]  # (exposure,) EXPOSURE, in order of time
    sightings: NDArray[np.void]  # (sighting,) SIGHTING
    first: NDArray[np.int64]  # (object + 1,)
    names: list[str]  # (object,)
    mjd: NDArray[np.float64] = field(init=False)  # (sighting,) mid-exposure, TAI
    of_area: tuple[NDArray[np.int64], ...] = field(init=False)  # exposures of each area

    def __post_init__(self) -> None:
        areas = self.exposures["area"]
        put = object.__setattr__
        put(self, "mjd", self.exposures["mjd_tai"][self.sightings["exposure"]])
        number = int(areas.max(initial=-1)) + 1
        put(self, "of_area", tuple(np.flatnonzero(areas == a) for a in range(number)))

    def lag(self, draw: int) -> float:
        """How old (days) a row must be to stand in an alert's history already.

        One alert in 64 misses a whole night more, as 16 of 1,095 real ZTF packets did.
        """
        short, long = self.survey.lag_days
        return short + (long - short) * (draw % 1000) / 1000 + float(draw >> 58 == 0)

    def glimpsed(self, o: int) -> bool:
        """Whether the object is on one exposure only (it moves, or it is not real)."""
        return int(self.sky["kind"][o]) in GLIMPSED

    def rows_before(self, k: int, lag: float) -> range:
        """Sightings that the history of sighting `k` reaches: found or not, twins too."""
        o = self.sightings["object"][k]
        start, end = int(self.first[o]), int(self.first[o + 1])
        times, now = self.mjd[start:end], self.mjd[k]
        low = np.searchsorted(times, now - self.survey.history_days)
        return range(start + int(low), start + int(np.searchsorted(times, now - lag, "right")))

    def exposures_before(self, k: int, lag: float) -> NDArray[np.int64]:
        """Exposures of the area of sighting `k` that its history reaches."""
        area = self.of_area[int(self.exposures["area"][self.sightings["exposure"][k]])]
        times, now = self.exposures["mjd_tai"][area], self.mjd[k]
        low, high = np.searchsorted(times, (now - self.survey.history_days, now - lag))
        return area[low:high]

    def born(self, o: int) -> int:
        """First sighting after the object's first detection: forced photometry begins there."""
        start, end = int(self.first[o]), int(self.first[o + 1])
        found = self.sightings["id"][start:end] > 0
        return start + int(found.argmax()) + 1 if found.any() else end

    def twin(self, k: int) -> bool:
        """Whether the sighting is the second extraction of its exposure."""
        return bool(self.sightings["twin"][k])

    def detections_until(self, k: int) -> NDArray[np.int64]:
        """Rows of the object's detections up to and with sighting `k`."""
        start = int(self.first[self.sightings["object"][k]])
        return start + np.flatnonzero(self.sightings["id"][start : k + 1])

    def exposures_until(self, exposure: int) -> int:
        """How often the area was exposed, up to and with `exposure`."""
        area = self.of_area[int(self.exposures["area"][exposure])]
        return int(np.searchsorted(area, exposure, "right"))


def look(
    survey: Survey,
    sky: NDArray[np.void],
    exposures: NDArray[np.void],
    start_mjd: float,
    extra: tuple[float, float],
    rng: np.random.Generator,
) -> Observed:
    """Take the references, watch every object of `sky`, and add what is seen only once.

    `extra` are the shares of solar-system and of bogus alerts among all alerts. Areas and
    positions of the objects are set here; names and ids of detections stay for the survey's rules.
    """
    areas = int(exposures["area"].max(initial=0)) + 1
    of_area = [np.flatnonzero(exposures["area"] == a) for a in range(areas)]
    centres = np.stack([rng.uniform(20, 340, areas), rng.uniform(-10, 60, areas)], axis=1)
    sky["area"] = rng.integers(areas, size=len(sky))
    references, parts = [], []
    for number, source in enumerate(sky):
        reference = take_reference(survey, source, start_mjd, rng)
        index = of_area[source["area"]]
        _settle(source, centres, rng)
        seen = watch(survey, exposures[index], source, reference, rng)
        seen["object"], seen["exposure"] = number, index[seen["exposure"]]
        references.append(reference)
        parts.append(seen)
    public = np.flatnonzero(exposures["private"] == 0)
    alerts = sum(int((p["id"] > 0).sum()) for p in parts)
    more = np.rint(alerts * np.array(extra) / (1 - sum(extra))).astype(int)
    once = np.zeros(int(more.sum()) if len(public) else 0, OBJECT)
    once["kind"] = np.repeat(GLIMPSED, more)[: len(once)]
    for number, source in enumerate(once, len(sky)):
        exposure = int(rng.choice(public))
        source["area"], source["seed"] = exposures["area"][exposure], rng.integers(1 << 40)
        reference = _beside(survey, source, rng)
        _settle(source, centres, rng)
        seen = glimpse(survey, exposures[exposure], source, rng)
        seen["object"], seen["exposure"] = number, exposure
        references.append(reference)
        parts.append(seen)
    lengths = [len(p) for p in parts]
    return Observed(
        survey=survey,
        sky=np.concatenate([sky, once]),
        references=np.stack(references) if references else np.zeros((0, 6), REFERENCE),
        exposures=exposures,
        sightings=np.concatenate([np.zeros(0, SIGHTING), *parts]),
        first=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        names=[""] * len(parts),
    )


def _settle(source: np.void, centres: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Put the object somewhere in its area, which is 0.85 degrees wide as a ZTF quadrant."""
    ra, dec = centres[source["area"]]
    source["dec"] = dec + rng.uniform(-0.42, 0.42)
    source["ra"] = ra + rng.uniform(-0.42, 0.42) / np.cos(np.radians(source["dec"]))


def _beside(survey: Survey, source: np.void, rng: np.random.Generator) -> NDArray[np.void]:
    """Reference at a place where there is no object: a bright star near most artefacts, or none."""
    source["magnitude"] = source["period"] = source["amplitude"] = np.nan
    source["host"], source["distance"], source["stellar"] = np.nan, 99.0, 0.5
    if source["kind"] == GLIMPSED[1] and rng.random() < 0.7:
        source["host"] = rng.uniform(13, 17) + survey.fainter
        source["distance"], source["stellar"] = rng.exponential(4), 0.98
    reference = np.zeros(6, REFERENCE)
    reference["frames"] = 20
    reference["magnitude"] = np.round(source["host"], 3)
    reference["magnitude_error"] = np.where(np.isfinite(source["host"]), 0.01, np.nan)
    if source["distance"] < 1.4:
        source["host"] = reference["magnitude"]
        reference["flux"] = njy(reference["magnitude"])
    return reference


def rank(group: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number the members of each group from 0, in order of place: (n,) → (n,).

    >>> rank(np.array([5, 7, 5, 5]))
    array([0, 0, 1, 2])
    """
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    out = np.empty(len(group), np.int64)
    out[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return out

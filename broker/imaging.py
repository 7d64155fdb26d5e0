"""Difference imaging: true flux minus a reference, with noise; found is what has 5 sigma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker import barycentre
from broker.cadence import Survey
from broker.shapes import Floats
from broker.sky import KINDS, host_flux, njy, true_flux

DETECTION_SIGMA = 5.0

#: One object on one exposure. Fluxes in nJy; `difference` as measured at the found place,
#: `forced` at the object's place; `id` is the survey's number of the detection, 0 where nothing
#: was found. `twin` > 0: the exposure's second extraction of the same light.
SIGHTING = np.dtype(
    [
        ("object", "i4"),
        ("exposure", "i4"),
        ("true", "f8"),
        ("difference", "f8"),
        ("error", "f8"),
        ("forced", "f8"),
        ("forced_error", "f8"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("id", "i8"),
        ("reliability", "f4"),
        ("twin", "u1"),
    ]
)

#: The reference image at one object's place in one band: flux (nJy) as subtracted, and magnitude
#: and error of the nearest source in it (NaN: none).
REFERENCE = np.dtype(
    [
        ("flux", "f8"),
        ("error", "f8"),
        ("magnitude", "f8"),
        ("magnitude_error", "f8"),
        ("frames", "i4"),
    ]
)


def take_reference(
    survey: Survey, source: np.void, start_mjd: float, rng: np.random.Generator
) -> NDArray[np.void]:
    """Reference fluxes of one object per band, (6,) REFERENCE: trimmed means of several epochs.

    The epochs lie in the two years before the simulation, each with its own noise. Magnitudes are
    rounded as the survey publishes them and the flux follows the rounded one, so that reference
    plus difference gives back the total.
    """
    out = np.zeros(6, REFERENCE)
    out["magnitude"] = out["magnitude_error"] = np.nan
    for band in range(6):
        if not survey.depth[band]:
            continue
        row = out[band]
        row["frames"] = frames = int(rng.integers(15, 41))
        epochs = start_mjd - rng.uniform(60, 700, frames)
        true = true_flux(source, epochs, band)
        error = noise(survey, true, survey.depth[band] - 0.2)
        # Reference images are outlier-trimmed averages (Masci et al. 2019), so they show an
        # eclipsing star out of eclipse.
        row["flux"] = np.sort(true + rng.normal(0, error))[frames // 5 : -(frames // 5)].mean()
        row["error"] = np.sqrt((error**2).sum()) / frames
        near = row["flux"] if source["distance"] < 1.4 else float(njy(source["host"][band]))
        if near > 5 * row["error"]:
            row["magnitude"] = np.round(31.4 - 2.5 * np.log10(near), 3)
            relative = 1.0857 * row["error"] / near
            row["magnitude_error"] = np.round(np.hypot(relative, 0.005), 3)
            if source["distance"] < 1.4:
                row["flux"] = njy(row["magnitude"])
    return out


def noise(survey: Survey, total: Floats | float, limit: Floats | float) -> Floats:
    """One-sigma error (nJy) of a flux measured where the total flux is `total` (nJy)."""
    sky = njy(limit) / 5
    photons = np.clip(total, 0, None) / survey.electrons_per_njy
    return np.sqrt(sky**2 + photons + (survey.floor * total) ** 2)


def watch(
    survey: Survey,
    exposures: NDArray[np.void],
    source: np.void,
    reference: NDArray[np.void],
    rng: np.random.Generator,
) -> NDArray[np.void]:
    """Measure one object on all the `exposures` of its area: (n,) SIGHTING in order of time.

    A sighting is a detection (`id` set to 1, the survey's numbers come later) only where
    |difference| >= 5 sigma. Twins (the same light extracted twice) follow their sighting.
    `exposure` counts the given exposures.
    """
    seen = np.zeros(len(exposures), SIGHTING)
    seen["exposure"] = np.arange(len(exposures))
    # The sky's clocks are barycentric.
    mjd = exposures["mjd_tai"]
    mjd = mjd + barycentre.delays(mjd, float(source["ra"]), float(source["dec"]))
    for band in np.unique(exposures["band"]):
        here = exposures["band"] == band
        seen["true"][here] = true_flux(source, mjd[here], int(band))
    subtracted = reference["flux"][exposures["band"]]
    seen["error"] = noise(survey, seen["true"], exposures["limit"])
    seen["difference"] = seen["true"] - subtracted + rng.normal(0, seen["error"])
    seen["forced_error"] = seen["error"]
    seen["forced"] = seen["difference"] + rng.normal(0, 0.25 * seen["error"])
    found = np.abs(seen["difference"]) >= DETECTION_SIGMA * seen["error"]
    seen["id"] = found
    return _place(_double(seen, survey.double, rng), source, rng)


def glimpse(
    survey: Survey, exposure: np.void, source: np.void, rng: np.random.Generator
) -> NDArray[np.void]:
    """Draw one detection of something that is on one exposure only: (1,) SIGHTING."""
    seen = np.zeros(1, SIGHTING)
    seen["id"] = 1
    base = host_flux(source, int(exposure["band"]))
    # Few bright ones, many near the limit, as counts of asteroids and artefacts go.
    snr = DETECTION_SIGMA * (1 - rng.random()) ** -0.7
    bogus = KINDS[source["kind"]] == "bogus"
    sign = -1 if bogus and rng.random() < 0.4 else 1
    seen["true"] = base if bogus else base + snr * noise(survey, base, exposure["limit"])
    seen["error"] = noise(survey, seen["true"], exposure["limit"])
    seen["difference"] = sign * max(snr, DETECTION_SIGMA) * seen["error"]
    seen["forced"], seen["forced_error"] = seen["difference"], seen["error"]
    return _place(seen, source, rng)


def _double(seen: NDArray[np.void], share: float, rng: np.random.Generator) -> NDArray[np.void]:
    """Extract a share of the detections twice, within 0.13 mag, as real pairs are."""
    twice = np.flatnonzero((seen["id"] > 0) & (rng.random(len(seen)) < share))
    if not len(twice):
        return seen
    twins = seen[twice].copy()
    change = 10 ** (0.4 * np.abs(rng.uniform(-0.12, 0.12, len(twins))))  # only brighter: stays >= 5
    twins["difference"] *= change
    twins["twin"] = 1
    return np.insert(seen, twice + 1, twins)


def _place(seen: NDArray[np.void], source: np.void, rng: np.random.Generator) -> NDArray[np.void]:
    """Give each sighting the place where it was found, and how real it looks."""
    snr = np.abs(seen["difference"] / seen["error"])
    scatter = np.clip(0.5 / np.maximum(snr, 1), 0.02, 0.12) / 3600
    stretch = np.cos(np.radians(source["dec"]))
    seen["ra"] = source["ra"] + rng.normal(0, scatter) / stretch
    seen["dec"] = source["dec"] + rng.normal(0, scatter)
    real = rng.beta(6 + np.clip(snr / 4, 0, 20), 1.2)
    fake = rng.beta(1.5, 8, len(seen))
    seen["reliability"] = fake if KINDS[source["kind"]] == "bogus" else real
    return seen

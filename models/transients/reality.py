"""Real sources, and a survey simulated from real ones, that no gate was trained on: what it says.

They stand in their own times, so that these may tell them apart; the shares found are of the
named class, not of what the gate calls others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker.grids import MICRODAYS
from broker.records import BANDS, DETECTION
from models import curve_files
from models.transients import gate, inputs, sets
from models.transients.curves import DETECTION_SIGMA, Curves, from_points
from models.transients.fit import probabilities
from models.transients.groups import CLASSES
from models.transients.network import TransientNet

#: Class numbers of the sets -> the gate's class; blazars are active nuclei. TDEs have none.
NAMES = {
    **dict.fromkeys((1, 2, 3, 4, 5, 15), "supernova"),
    6: "TDE",
    7: "AGN",
    14: "AGN",
    8: "CV",
    17: "periodic",
}
#: Sets of each survey. Catalina's magnitudes, which include the host, are taken for r.
SETS = {"ztf": ("ztf_bts", "tde_ztf", "crts_transients"), "lsst": ("mallorn",)}
#: BTS's supernovae train, so of this set the others are asked.
TRAINED = {"ztf_bts": (1, 2, 3, 4, 5)}
ALERTS, FEWEST = (3, 5, 10, 30, 0), 5
#: Share of the points that are brighter than what the reference holds, where magnitudes are of
#: all light.
QUIET = 0.75


@dataclass(frozen=True, slots=True)
class Found:
    """Of one kind of a set, after so many alerts: how many objects, and what they are called.

    ``named`` (class,) f8 shares.
    """

    kind: str
    name: str
    alerts: int
    objects: int
    named: NDArray[np.float64]

    @property
    def right(self) -> float:
        """Share that is called by its class; NaN of a class without a name."""
        return float(self.named[CLASSES.index(self.name)]) if self.name in CLASSES else np.nan


def read(folder: Path, name: str) -> Curves:
    """The points of a set that would have alerted, of objects that have three."""
    if name != "crts_transients":
        return gate.alerting(sets.read(folder, name))
    file = curve_files.read(folder / f"{name}.npz")
    magnitude, error = file.value.astype(np.float64), file.e.astype(np.float64)
    flux, flux_error = sets.to_njy(magnitude, error, "magnitude")
    own = [flux[a:b] for a, b in zip(file.off[:-1], file.off[1:], strict=True)]
    quiet = np.array([np.quantile(these, 1 - QUIET) for these in own])
    change = flux - np.repeat(quiet, np.diff(file.off))
    band = np.full(len(flux), BANDS.index("r"), np.uint8)
    curves = from_points(file.t, band, change, flux_error, file.off, file.split, file.lab)
    curves = curves.rows(np.abs(curves.flux) >= DETECTION_SIGMA * curves.error)
    curves = _nightly(curves)
    return curves.take(np.flatnonzero(curves.n >= 3))


def _nightly(curves: Curves) -> Curves:
    """The first point of each night: Catalina takes four in half an hour."""
    owner = np.repeat(np.arange(len(curves)), curves.n)
    new = np.ones(len(owner), np.bool_)
    new[1:] = (np.diff(curves.time) > MICRODAYS // 2) | (np.diff(owner) > 0)
    return replace(curves, kind=np.full_like(curves.kind, DETECTION)).rows(new)


def ask(net: TransientNet, folder: Path, name: str) -> Iterator[Found]:
    """What a gate calls each kind of a set, by number of alerts (0: all)."""
    bands = [BANDS.index(band) for band in net.eye.bands]
    curves = read(folder, name)
    curves = curves.rows(np.isin(curves.band, bands))
    for number, class_ in NAMES.items():
        if number in TRAINED.get(name, ()):
            continue
        these = curves.take(np.flatnonzero(curves.label == number))
        for alerts in ALERTS:
            some = these.take(np.flatnonzero(these.n >= max(alerts, 3)))
            if len(some) >= FEWEST:
                some = some.first_points(alerts) if alerts else some
                p = probabilities(net, inputs.make(some, net.eye))
                named = np.bincount(p.argmax(axis=1), minlength=len(CLASSES)) / len(some)
                yield Found(sets.CLASSES[number], class_, alerts, len(some), named)

"""The labelled sets of the paper's study: one survey's stars of the seven classes, as images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from broker.grids import GRIDS
from models import catalogue, curve_files, intensity
from models.catalogue import SEVEN, Catalogue

#: Stars of each of the SEVEN in the northern survey (Mahabal et al. 2017, table I).
NORTH_STARS = (30743, 4683, 2420, 5469, 502, 1522, 512)
#: Fewer points make no image (section III of the paper).
LEAST_POINTS = 20


@dataclass(slots=True)
class Stars:
    """One survey's stars; `weight` (class,) is how many stars of the survey one here stands for."""

    name: str
    curves: Catalogue
    weight: NDArray[np.float64]
    _images: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def label(self) -> NDArray[np.int64]:
        return self.curves.label

    def images(self, grid: str = "fiducial") -> torch.Tensor:
        """Grey levels (object, 1, n_dm, n_dt) u1 of all stars, made once."""
        if grid not in self._images:
            made = []
            for begin in range(0, len(self.curves), 2048):
                objects = np.arange(begin, min(begin + 2048, len(self.curves)))
                n = self.curves.n[objects]
                counts = self.curves.cut(objects, n).counts(GRIDS[grid])
                levels = intensity.paper(
                    torch.from_numpy(counts),
                    torch.from_numpy(n.astype(np.int32)),
                    GRIDS[grid].shape,
                )
                made.append(levels.to(torch.uint8))
            self._images[grid] = torch.cat(made)
        return self._images[grid]


def south(folder: Path, most: int = 0) -> Stars:
    """CRTS-S: all stars that the catalogue has, so each stands for itself."""
    curves = read(folder / "crts_south.npz", "crts-south", most)
    return Stars("CRTS-S", curves, np.ones(len(SEVEN)))


def north(folder: Path, most: int = 0) -> Stars:
    """CRTS-N: a part of the survey with its classes capped; weights give the survey's proportions.

    Weights have the mean 1 over the stars that are here.
    """
    curves = read(folder / "crts_north.npz", "crts-north", most)
    here = np.bincount(curves.label, minlength=len(SEVEN))
    weight = np.array(NORTH_STARS) / np.maximum(here, 1)
    return Stars("CRTS-N", curves, weight * here.sum() / (weight @ here))


def read(path: Path, labels: str, most: int = 0) -> Catalogue:
    """The stars of the seven classes with 20 points and more; at most `most` of each if not 0."""
    file = curve_files.read(path)
    label = catalogue.known(file, labels, SEVEN)
    label[np.diff(file.off) < LEAST_POINTS] = -1
    if most:
        for c in range(len(SEVEN)):
            label[np.flatnonzero(label == c)[most:]] = -1
    return catalogue.of(file, label)


def bands(path: Path, names: str) -> dict[str, Stars]:
    """Stars of the seven classes in a set of several bands: one set for each of the bands named.

    Band numbers of the set are those of "ugriz".
    """
    file = curve_files.read(path)
    label = catalogue.known(file, "transients", SEVEN)
    result = {}
    for name in names:
        band = file.band("ugriz".index(name))
        enough = np.where(np.diff(band.off) < LEAST_POINTS, -1, label)
        if (enough >= 0).any():
            result[name] = Stars(f"SDSS {name}", catalogue.of(band, enough), np.ones(len(SEVEN)))
    return result


def constant(path: Path, most: int = 0) -> torch.Tensor:
    """Images (object, 1, n_dm, n_dt) u1 of stars that do not vary: MANTRA's (Neira et al. 2020)."""
    file = curve_files.read(path)
    enough = np.flatnonzero((np.diff(file.off) >= LEAST_POINTS) & (file.lab == 0))
    label = np.full(len(file), -1)
    label[enough[: most or None]] = 0
    return Stars("constant", catalogue.of(file, label), np.ones(len(SEVEN))).images()

"""`nightjar study paper`: the parts that reproduce Mahabal et al. 2017 (arXiv:1709.06257)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import metrics
from models.catalogue import SEVEN
from models.studies import features, forest, paper_networks, parts, robust_pca, sets, training
from models.studies.paper_numbers import NUMBERS
from models.studies.parts import Result, Say
from models.studies.sets import Stars

ALL = tuple(range(len(SEVEN)))
#: All pairs of the seven, in the order of the paper's tables.
PAIRS = tuple(itertools.combinations((SEVEN.index(name) for name in NUMBERS.values()), 2))
#: Stars of each class that make the background of all (section V.D).
PSEUDO = 500


@dataclass
class Study:
    """What all parts share: the sets, how long to train, the seed.

    Attributes
    ----------
    data : Path
        Folder of the light curves.
    steps : int
        Steps of a network of seven classes; half as many for one of a pair.
    most : int
        Stars of each class that are taken; 0: all.
    """

    data: Path
    steps: int = 3000
    most: int = 0
    trees: int = 100
    seed: int = 0
    device: str = "cpu"
    say: Say = field(default=lambda _: None)

    @property
    def settings(self) -> dict[str, Any]:
        """What results depend on."""
        words = {"steps": self.steps, "most": self.most, "trees": self.trees, "seed": self.seed}
        sizes = [(self.data / name).stat().st_size for name in ("crts_south.npz", "crts_north.npz")]
        return words | {"device": self.device, "bytes": sizes}

    @cached_property
    def south(self) -> Stars:
        return sets.south(self.data, self.most)

    @cached_property
    def north(self) -> Stars:
        return sets.north(self.data, self.most)

    @cached_property
    def sdss(self) -> dict[str, Stars]:
        """RR Lyrae of Stripe 82, band by band; none where the file is not there."""
        path = self.data / "s82_rrlyrae.npz"
        return sets.bands(path, "griz") if path.is_file() else {}

    def stars(self, survey: str) -> Stars:
        return self.south if survey == "south" else self.north

    def recipe(self, images: int, share: float = 1.0) -> training.Recipe:
        epochs = min(training.epochs_for(images, int(share * self.steps)), 100)
        return training.Recipe(epochs, seed=self.seed, device=self.device)

    def parts(self) -> dict[str, Callable[[], Result]]:
        """All parts, the most wanted first."""
        both = ("south", "north")
        todo: dict[str, Callable[[], Result]] = {}
        for survey in both:
            todo[f"seven/{survey}/shallow"] = partial(self.seven, survey, "shallow")
        for survey in both:
            todo[f"forest/{survey}"] = partial(self.forest, survey)
            todo[f"images/{survey}"] = partial(self.images, survey)
        todo |= self._pairs("north", "shallow")
        for grid in ("new1", "new2", "new3"):
            todo[f"grid/south/{grid}"] = partial(self.seven, "south", "shallow", grid)
        for way in ("per class", "pseudo-cadence", "maximum", "true"):
            todo[f"background/south/{way}"] = partial(self.background, "south", way)
        for rows in (2, 4, 6):
            todo[f"blank/south/{rows}"] = partial(self.blank, "south", rows)
        for survey in ("north", "south"):
            todo[f"seven/{survey}/deep"] = partial(self.seven, survey, "deep")
        for grid in ("new1", "new2", "new3"):
            todo[f"grid/north/{grid}"] = partial(self.seven, "north", "shallow", grid)
        for way in ("per class", "pseudo-cadence", "maximum", "true"):
            todo[f"background/north/{way}"] = partial(self.background, "north", way)
        todo |= self._pairs("south", "shallow")
        todo |= self._pairs("north", "deep")
        todo |= self._pairs("south", "deep")
        return todo

    def _pairs(self, survey: str, network: str) -> dict[str, Callable[[], Result]]:
        return {
            f"pair/{survey}/{network}/{SEVEN[a]}-{SEVEN[b]}": partial(
                self.pair, survey, network, (a, b)
            )
            for a, b in PAIRS
        }

    def run(self, folder: Path, only: Iterable[str] = ()) -> dict[str, Result]:
        """All results, of this run and of those before it."""
        return parts.run(self.parts(), folder, self.settings, only, self.say)

    # Parts.

    def seven(self, survey: str, network: str, grid: str = "fiducial") -> Result:
        """All classes: tested at home, in the other survey, and in other bands."""
        home = self.stars(survey)
        images = home.images(grid)
        recipe = self.recipe(len(home.curves.training))
        names, trained = paper_networks.train(network, home, images, recipe, ALL, self.say)
        result = self._training(recipe, trained)
        away = self.stars("north" if survey == "south" else "south")
        result["tests"] = {
            home.name: self._test(names, home, images),
            away.name: self._test(names, away, away.images(grid), whole=True),
        }
        for band, stars in self.sdss.items():
            result["tests"][f"SDSS {band}"] = self._test(
                names, stars, stars.images(grid), whole=True
            )
        return result

    def pair(self, survey: str, network: str, pair: tuple[int, int]) -> Result:
        """Two classes: tested at home and in the other survey."""
        home = self.stars(survey)
        images = home.images()
        objects = len(paper_networks.chosen(home, home.curves.training, pair))
        recipe = self.recipe(objects, 0.5)
        names, trained = paper_networks.train(network, home, images, recipe, pair)
        result = self._training(recipe, trained)
        away = self.stars("north" if survey == "south" else "south")
        result["tests"] = {
            home.name: self._test(names, home, images),
            away.name: self._test(names, away, away.images(), whole=True),
        }
        return result

    def forest(self, survey: str) -> Result:
        """A random forest on 18 features, for all classes and for each pair."""
        home = self.stars(survey)
        table = features.measure(home.curves)
        curves = home.curves
        learn = np.concatenate([curves.training, curves.validation])
        result: Result = {}
        for classes in (ALL, *PAIRS):
            rows = paper_networks.chosen(home, learn, classes)
            test = paper_networks.chosen(home, curves.test, classes)
            places = np.searchsorted(np.sort(classes), home.label)
            ordered = np.sort(classes)
            grown = forest.grow(table[rows], places[rows], len(classes), self.trees, self.seed)
            p = grown.probabilities(table[test]) * home.weight[ordered] + 1e-9
            p /= p.sum(axis=1, keepdims=True)
            m = metrics.measure(p, places[test], home.weight[home.label[test]])
            name = "seven" if classes == ALL else "-".join(SEVEN[c] for c in ordered)
            result[name] = parts.figures(m) | {"classes": [SEVEN[c] for c in ordered]}
        return result

    def images(self, survey: str) -> Result:
        """Median, composite and background of each class's images."""
        home = self.stars(survey)
        images = home.images()[:, 0].numpy()
        result: Result = {"median": {}, "composite": {}, "background": {}}
        for c, name in enumerate(SEVEN):
            mine = images[self._learning(home, c)]
            result["median"][name] = np.median(mine, axis=0).tolist()
            result["composite"][name] = mine.mean(axis=0).round(3).tolist()
            result["background"][name] = robust_pca.background(mine).round(3).tolist()
        return result

    def background(self, survey: str, way: str) -> Result:
        """Seven classes once a background was taken off all images, found in one of four ways."""
        home = self.stars(survey)
        images = home.images().float()
        if way == "per class":
            # With the class known in testing too, as the paper does: no classifier has that.
            for c in ALL:
                found = robust_pca.background(images[self._learning(home, c), 0].numpy())
                images[home.label == c, 0] -= torch.from_numpy(found).float()
        else:
            if way == "true":
                stars = sets.constant(self.data / "crts_nontransients.npz", self.most)
                found = robust_pca.background(stars[:, 0].numpy())
            else:
                rows = np.concatenate([self._learning(home, c, way) for c in ALL])
                found = robust_pca.background(images[rows, 0].numpy())
            images -= torch.from_numpy(found).float()
        return self._changed(home, images)

    def blank(self, survey: str, rows: int) -> Result:
        """Seven classes without the rows of least magnitude difference."""
        home = self.stars(survey)
        images = home.images().clone()
        middle = images.shape[2] // 2
        images[:, :, middle - rows // 2 : middle + rows // 2] = 0
        return self._changed(home, images)

    # What the parts share.

    def _changed(self, home: Stars, images: torch.Tensor) -> Result:
        recipe = self.recipe(len(home.curves.training))
        names, trained = paper_networks.train("shallow", home, images, recipe, ALL, self.say)
        result = self._training(recipe, trained)
        return result | {"tests": {home.name: self._test(names, home, images)}}

    def _learning(self, home: Stars, c: int, way: str = "") -> NDArray[np.int64]:
        """Training objects of a class; 500 at most for the pseudo-cadence."""
        rows = paper_networks.chosen(home, home.curves.training, (c,))
        return rows[:PSEUDO] if way == "pseudo-cadence" else rows

    def _test(
        self, names: paper_networks.Names, stars: Stars, images: torch.Tensor, whole: bool = False
    ) -> Result:
        """Held against the test objects, or the whole of a survey that training never saw."""
        objects = np.arange(len(stars.curves)) if whole else stars.curves.test
        rows = paper_networks.chosen(stars, objects, names.classes)
        m = names.measure(images[rows], stars.label[rows], stars.weight)
        return parts.figures(m) | {"classes": [SEVEN[c] for c in names.classes]}

    @staticmethod
    def _training(recipe: training.Recipe, trained: training.Trained) -> Result:
        of_epochs = {"judged": trained.judged, "watched": trained.watched}
        return {"epochs": recipe.epochs, "epoch": trained.epoch, **of_epochs}

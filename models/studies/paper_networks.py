"""The two networks of Mahabal et al. 2017, and their training on a survey's stars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models import metrics
from models.metrics import Metrics
from models.network import ShallowCNN
from models.studies import training
from models.studies.sets import Stars
from models.studies.training import Recipe

Say = Callable[[str], None]


class DeepCNN(nn.Sequential):
    """The deep network of the paper's listing 1; no convolution is padded, as in Lasagne.

    It needs 22 x 22 pixels: on the grids with fewer time differences nothing would be left.
    Its products are of bfloat16, with channels last: a step takes 155 ms on one core, not 287.
    """

    def __init__(self, grid: tuple[int, int], classes: int) -> None:
        left = [((n - 2) // 2) - 8 for n in grid]
        if min(left) < 1:
            msg = f"the deep network needs 20 x 20 pixels, the grid has {grid[0]} x {grid[1]}"
            raise ValueError(msg)
        super().__init__(
            nn.Conv2d(1, 64, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Dropout(0.1),
            nn.Conv2d(64, 128, 5),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 256, 5),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(256 * left[0] * left[1], 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(512, 512),
            nn.ReLU(inplace=True),
            nn.Linear(512, classes),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (image, class) f4 of intensities (image, 1, n_dm, n_dt) f4."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16):
            for layer in self:
                images = layer(images)
        return images.float()


NETWORKS: dict[str, Callable[[tuple[int, int], int], nn.Module]] = {
    "shallow": ShallowCNN,
    "deep": DeepCNN,
}


@dataclass(frozen=True, slots=True)
class Names:
    """A trained network, for some classes of the seven, in its own survey's proportions.

    ``weight`` (class,) is what the classes were short of in training: probabilities are multiplied
    by it, and add to 1 again.
    """

    net: nn.Module
    classes: tuple[int, ...]
    weight: NDArray[np.float64]
    device: str

    def probabilities(self, images: torch.Tensor) -> NDArray[np.float64]:
        p = training.probabilities(self.net, images, self.device) * self.weight
        shares: NDArray[np.float64] = p / p.sum(axis=1, keepdims=True)
        return shares

    def measure(
        self, images: torch.Tensor, label: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> Metrics:
        """Held against objects of its classes; `weight` (of the seven) is their survey's."""
        of = _places(self.classes)[label]
        return metrics.measure(self.probabilities(images), of, weight[label])


def train(
    network: str,
    stars: Stars,
    images: torch.Tensor,
    recipe: Recipe,
    classes: tuple[int, ...] = tuple(range(7)),
    say: Say = lambda _: None,
) -> tuple[Names, training.Trained]:
    """Train on the training objects of some classes; validation objects choose the epoch.

    The mark of an epoch is the mean of accuracy and balanced accuracy, in the survey's proportions.
    What is watched beside are accuracy and balanced accuracy of the test objects.

    Parameters
    ----------
    network : {"shallow", "deep"}
    images : (object, 1, n_dm, n_dt)
        Of all objects of `stars`.
    """
    learn = chosen(stars, stars.curves.training, classes)
    judges = chosen(stars, stars.curves.validation, classes)
    test = chosen(stars, stars.curves.test, classes)
    weight = stars.weight[list(classes)]

    def figures(net: nn.Module, objects: NDArray[np.int64]) -> list[float]:
        names = Names(net, classes, weight, recipe.device)
        m = names.measure(images[objects], stars.label[objects], stars.weight)
        return [m.accuracy, m.balanced_accuracy]

    def mark(net: nn.Module) -> float:
        return sum(figures(net, judges)) / 2

    build = partial(NETWORKS[network], (images.shape[2], images.shape[3]), len(classes))
    label = _places(classes)[stars.label[learn]]
    judge = mark if len(judges) else None
    watch = partial(figures, objects=test) if len(test) else None
    trained = training.fit(build, images[learn], label, recipe, judge, say, watch)
    return Names(trained.net, classes, weight, recipe.device), trained


def chosen(stars: Stars, objects: NDArray[np.int64], classes: tuple[int, ...]) -> NDArray[np.int64]:
    """Those of the objects that are of some classes."""
    return objects[np.isin(stars.label[objects], classes)]


def _places(classes: tuple[int, ...]) -> NDArray[np.int64]:
    places = np.full(7, -1)
    places[list(classes)] = np.arange(len(classes))
    return places

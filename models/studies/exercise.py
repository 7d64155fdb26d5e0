"""`nightjar study exercise`: two toy classes, their DMDT images, a small CNN, and its mistakes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from broker.grids import GRIDS, Grid
from models import figures, metrics
from models.metrics import Metrics
from models.reports import Section, Table
from models.studies import exercise_sky, training
from models.studies.exercise_sky import CLASSES, Toys

GRID = GRIDS["exercise"]
STEP = 1e-3
BATCH = 32

Build = Callable[[Grid], nn.Module]
Say = Callable[[str], None]


class SmallCNN(nn.Sequential):
    """Two convolutions, a pooling, a linear head: (image, 1, n_dm, n_dt) to (image, 2)."""

    def __init__(self, grid: Grid) -> None:
        n_dm, n_dt = grid.shape
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (image, 32, n_dm // 2, n_dt // 2)
            nn.Flatten(),
            nn.Linear(32 * (n_dm // 2) * (n_dt // 2), 2),
        )


class AveragedCNN(nn.Sequential):
    """The same with its pooling over the whole image: what is left is how much, not where."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 2),
        )


class Logistic(nn.Sequential):
    """Logistic regression on the pixels."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(nn.Flatten(), nn.Linear(grid.cells, 2))


@dataclass(frozen=True, slots=True)
class Run:
    """A network trained on four fifths of some stars, and what it says of the last fifth."""

    net: nn.Module
    test: Toys
    images: NDArray[np.float32]
    probabilities: NDArray[np.float64]

    @property
    def metrics(self) -> Metrics:
        return metrics.measure(self.probabilities, self.test.label)

    @property
    def right(self) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.test.label
        return right


def halved(grid: Grid) -> Grid:
    """Half as many bins over the same range: 12 dm x 11 dt, evenly in dm and in log dt."""
    n_dm, n_dt = (bins // 2 for bins in grid.shape)
    dm = np.linspace(grid.dm_edges[0], grid.dm_edges[-1], n_dm + 1)
    dt = np.geomspace(grid.dt_edges[0], grid.dt_edges[-1], n_dt + 1)
    return Grid("halved", np.ceil(dm).astype(np.int32), np.ceil(dt - 1e-6).astype(np.int64))


def train(
    build: Build,
    toys: Toys,
    random: np.random.Generator,
    epochs: int,
    grid: Grid = GRID,
    step: float = STEP,
) -> Run:
    """Train on a random four fifths, by Adam; what it says of the rest."""
    images = toys.images(grid)
    order = random.permutation(len(toys))
    learn, test = np.split(order, [len(order) * 4 // 5])
    recipe = training.Recipe(epochs, step, BATCH, int(random.integers(1 << 31)))
    trained = training.fit(partial(build, grid), _tensor(images[learn]), toys.label[learn], recipe)
    p = training.probabilities(trained.net, _tensor(images[test]))
    return Run(trained.net, toys.take(test), images[test], p)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it: stars of each kind, epochs, skies behind a figure, noises."""

    each: int = 400
    epochs: int = 20
    repeats: int = 3
    noises: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5)


#: Small enough to see in seconds that all of it works.
QUICK = Size(100, 4, 1, (0.25, 2.5))


def study(seed: int = 0, size: Size | None = None, say: Say = lambda _: None) -> list[Section]:
    """All that the exercise asks for; `seed` is that of the stars, the splits and the networks."""
    size = size or Size()
    random = np.random.default_rng(seed)
    say("the exercise's own run")
    first = train(SmallCNN, exercise_sky.draw(size.each, random), random, size.epochs)
    sections = [_own(first, size), _examples(first)]
    say("other grids, other networks")
    sections.append(_variants(random, size))
    say("noise")
    sections.append(_noise(random, size))
    say("where the errors lie")
    sections.append(_errors(first, random, 5 * size.each))
    return sections


def _own(run: Run, size: Size) -> Section:
    m = run.metrics
    rows = [
        (name, f"{m.confusion[i].sum():.0f}", *(f"{k:.0f}" for k in m.confusion[i]),
         _percent(m.recall[i]), _percent(m.precision[i]))
        for i, name in enumerate(CLASSES)
    ]  # fmt: skip
    error = np.sqrt(m.accuracy * (1 - m.accuracy) / m.objects)
    return Section(
        "The exercise",
        [
            f"{5 * m.objects} light curves of 60 points, noise 0.25 mag; images of 24 dm x 23 dt "
            f"bins, each divided by its fullest bin; {size.epochs} epochs of Adam at {STEP:g}, "
            f"{BATCH} images in a batch; four fifths train, a fifth tests.",
            f"Accuracy on the {m.objects} test curves: {_percent(m.accuracy)} +- "
            f"{_percent(float(error))} (binomial).",
        ],
        [Table("Confusion", ("true", "curves", *CLASSES, "recall", "precision"), rows)],
        [[figures.confusion(m.confusion, CLASSES, "Named by the CNN")]],
    )


def _examples(run: Run) -> Section:
    section = Section(
        "Three right, three wrong",
        ["Light curve beside image; the surest of each kind of mistake first."],
    )
    sure = run.probabilities.max(axis=1)
    chosen = []
    for right in (True, False):
        these = np.flatnonzero(run.right == right)
        if right:  # both kinds, and one that was not easy
            easy = [these[run.test.label[these] == k][:1] for k in (0, 1)]
            chosen += [*np.concatenate(easy), these[np.argmin(sure[these])]]
        else:
            chosen += list(these[np.argsort(-sure[these])][:3])
    rows = []
    for i in chosen:
        toy = run.test
        truth, named = (CLASSES[k] for k in (toy.label[i], run.probabilities[i].argmax()))
        verdict = "right" if run.right[i] else "WRONG"
        rows.append((verdict, truth, named, f"{sure[i]:.2f}", f"{toy.period[i]:.2f}",
                     f"{toy.amplitude[i]:.2f}"))  # fmt: skip
        title = f"{verdict}: {truth}, P {toy.period[i]:.2f} d, {toy.amplitude[i]:.2f} mag"
        section.figures.append(
            [
                figures.curve(toy.time[i], toy.magnitude[i], title, bright_above=False),
                figures.image(run.images[i], GRID, f"named {named} ({sure[i]:.2f})"),
            ]
        )
    head = ("verdict", "true", "named", "probability", "period [d]", "amplitude")
    section.tables.append(Table("Examples", head, rows))
    return section


def _variants(random: np.random.Generator, size: Size) -> Section:
    n = size.epochs
    cases: list[tuple[str, Build, Grid, int, float]] = [
        ("CNN, 24 x 23", SmallCNN, GRID, n, STEP),
        ("CNN, halved to 12 x 11", SmallCNN, halved(GRID), n, STEP),
        ("CNN, 6 x 5", SmallCNN, halved(halved(GRID)), n, STEP),
        ("CNN, pooled over the whole image", AveragedCNN, GRID, n, STEP),
        ("the same, five times the epochs", AveragedCNN, GRID, 5 * n, STEP),
        ("logistic regression on pixels", Logistic, GRID, n, 10 * STEP),
    ]
    skies = [exercise_sky.draw(size.each, random) for _ in range(size.repeats)]
    seeds = random.integers(1 << 31, size=size.repeats)  # the same stars and splits for each case
    rows = []
    for name, build, grid, epochs, step in cases:
        accuracy = [
            train(build, sky, np.random.default_rng(s), epochs, grid, step).metrics.accuracy
            for sky, s in zip(skies, seeds, strict=True)
        ]
        rows.append((name, *_spread(accuracy)))
    return Section(
        "Halved grid, logistic regression",
        [
            f"Mean and spread of {size.repeats} skies, the same ones for each row.",
            "What can tell the classes apart is how magnitude differences are distributed: a "
            "sine spends its time at the extremes, a binary near its top. With 60 points in 30 "
            "days no bin of time differences resolves a period. So a coarser grid loses little "
            "while its bins are narrower than the swings, and a weighted sum of pixels may do. "
            "Pooled over the whole image, a CNN forgets where a pixel lies, which is its meaning.",
        ],
        [Table("Accuracy", ("network", "mean", "spread"), rows)],
    )


def _noise(random: np.random.Generator, size: Size) -> Section:
    rows, own, other = [], [], []
    usual = [exercise_sky.draw(size.each, random) for _ in range(size.repeats)]
    nets = [train(SmallCNN, sky, random, size.epochs).net for sky in usual]
    for noise in size.noises:
        skies = [exercise_sky.draw(size.each, random, noise) for _ in range(size.repeats)]
        anew = [train(SmallCNN, sky, random, size.epochs).metrics.accuracy for sky in skies]
        kept = [_accuracy(net, sky) for net, sky in zip(nets, skies, strict=True)]
        own.append(float(np.mean(anew)))
        other.append(float(np.mean(kept)))
        rows.append((f"{noise:.2f}", *_spread(anew), *_spread(kept)))
    lost = [noise for noise, share in zip(size.noises, own, strict=True) if share < 0.75]
    words = f"below 75 % from {lost[0]:g} mag on" if lost else "above 75 % at all of these"
    return Section(
        "Noise",
        [
            f"Trained and tested at each noise, the CNN is {words} (the swings are 0.6 to 1.2 mag, "
            "the eclipses 0.2 to 1). Noise moves pairs to other bins, so one that was trained at "
            "0.25 mag meets other images at any other noise.",
        ],
        [
            Table(
                "Accuracy by noise",
                ("noise [mag]", "trained at it", "spread", "trained at 0.25", "spread"),
                rows,
            )
        ],
        [
            [
                figures.lines(
                    size.noises,
                    {"trained at this noise": own, "trained at 0.25 mag": other},
                    "When the classifier breaks down",
                    "noise [mag]",
                    "accuracy",
                )
            ]
        ],
    )


def _errors(run: Run, random: np.random.Generator, each: int) -> Section:
    """Of many new stars, the share named wrong by period and by amplitude, for each class."""
    toys = exercise_sky.draw(each, random)
    p = training.probabilities(run.net, _tensor(toys.images(GRID)))
    wrong = p.argmax(axis=1) != toys.label
    section = Section(
        "Where the errors cluster",
        [f"{2 * each:,} new curves named by the network of the first section: {wrong.mean():.1%} "
         "wrong."],
    )  # fmt: skip
    shown = []
    for what, values, edges in (
        ("period [d]", toys.period, np.linspace(0.2, 1.5, 14)),
        ("amplitude [mag]", toys.amplitude, np.linspace(0.3, 1.0, 8)),
    ):
        shares = {}
        for k, name in enumerate(CLASSES):
            here = toys.label == k
            every = np.histogram(values[here], edges)[0]
            bad = np.histogram(values[here & wrong], edges)[0]
            shares[name] = np.where(every > 0, bad / np.maximum(every, 1), np.nan)
        rows = [
            (f"{low:.2f} - {high:.2f}", *(_percent(shares[name][i]) for name in CLASSES))
            for i, (low, high) in enumerate(itertools.pairwise(edges))
        ]
        section.tables.append(Table(f"Named wrong, by {what}", (what, *CLASSES), rows))
        title = f"Share named wrong, by {what}"
        shown.append(figures.bars(edges, shares, title, what, "share"))
    section.figures.append(shown)
    return section


def _accuracy(net: nn.Module, toys: Toys) -> float:
    p = training.probabilities(net, _tensor(toys.images(GRID)))
    return metrics.measure(p, toys.label).accuracy


def _tensor(images: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(images).unsqueeze(1)  # (image, 1, n_dm, n_dt)


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{100 * share:.1f} %"


def _spread(shares: list[float]) -> tuple[str, str]:
    spread = float(np.std(shares, ddof=1)) if len(shares) > 1 else np.nan
    return _percent(float(np.mean(shares))), _percent(spread)

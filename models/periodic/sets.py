"""The stars that train a network of periodic variables, and those that calibrate it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from broker.inputs import Channel
from broker.periodogram import rungs
from models import catalogue
from models.catalogue import SEVEN, Catalogue
from models.periodic import examples
from models.periodic.examples import Drawn, Examples
from models.periodic.network import KNOTS

#: Two thousand stars alone say no better than to 1 % how right a network is.
STRETCHES = 4
#: Of each epoch's stars so many come so; of few points are those too short for a periodogram.
SHARES = {
    "whole": 0.30,
    "thinned": 0.25,
    "cut": 0.19,
    "cut, one point a night": 0.07,
    "of few points": 0.14,
    "of few points, one a night": 0.05,
}


@dataclass(frozen=True, slots=True)
class Sets:
    """Training stars: of the first kinds of SHARES one or more examples of every star; examples of
    few points are made anew in each epoch, of ``few``, as they cost next to nothing.

    ``label`` (star,) i8. ``odds`` (star, class) f4: logarithm of how much commoner a class is in
    the star's survey than in the one whose proportions are wanted.
    """

    channel: Channel
    kinds: tuple[tuple[Examples, ...], ...]
    few: tuple[Catalogue, ...]
    label: torch.Tensor
    odds: torch.Tensor

    def epoch(
        self, draw: np.random.Generator, batch: int
    ) -> Iterator[tuple[Examples, torch.Tensor]]:
        """Every star once, in random order: examples of a batch, and which stars these are."""
        order = draw.permutation(len(self.label))
        kind = draw.choice(len(SHARES), len(order), p=tuple(SHARES.values()))
        number = draw.integers(0, 1 << 30, len(order))
        row = order.copy()
        kinds = list(self.kinds)
        for curves in self.few:
            mine = np.flatnonzero(kind == len(kinds))
            row[mine] = np.arange(len(mine))
            drawn = examples.few(curves.cut(order[mine], curves.n[order[mine]]), draw)
            kinds.append((examples.make(drawn, self.channel),) if len(mine) else ())
        for begin in range(0, len(order), batch):
            part = slice(begin, begin + batch)
            parts, which = [], []
            for k, copies in enumerate(kinds):
                for c, copy in enumerate(copies):
                    mine = (kind[part] == k) & (number[part] % len(copies) == c)
                    parts.append(copy.take(torch.from_numpy(row[part][mine])))
                    which.append(torch.from_numpy(order[part][mine]))
            yield examples.join(parts), torch.cat(which)


def training(
    surveys: Sequence[Catalogue],
    copies: int,
    channel: Channel,
    seed: int,
    say: Callable[[str], None],
) -> Sets:
    """Examples of the training stars of several surveys; the first has the proportions wanted.

    `copies` are thinned and so many cut; half as many are cut with one point a night. Periodograms
    take most of the time.
    """
    curves = catalogue.together([c.cut(c.training, c.n[c.training]) for c in surveys])
    nightly = curves.nightly()

    def made(words: str, drawn: Drawn) -> Examples:
        start = time.perf_counter()

        def progress(done: int) -> None:
            if done % 5000 == 0 or done == len(curves):
                rate = done / (time.perf_counter() - start)
                say(f"inputs, {words}: {done:,} of {len(curves):,} stars, {rate:,.0f}/s")

        return examples.make(drawn, channel, progress)

    whole = made("whole", (curves, curves.n))
    kinds: tuple[list[Examples], ...] = ([whole], [], [], [])
    for c in range(copies):
        draw = np.random.default_rng([seed, c])
        kinds[1].append(made(f"thinned {c + 1}", examples.thinned(curves, draw)))
        kinds[2].append(made(f"cut {c + 1}", examples.cut(curves, draw)))
        if c % 2 == 0:
            kinds[3].append(made(f"one a night {c + 1}", examples.cut(nightly, draw)))
    share = [np.log(proportions(c.label[c.training])) for c in surveys]
    odds = np.repeat([s - share[0] for s in share], [len(c.training) for c in surveys], axis=0)
    return Sets(
        channel,
        tuple(tuple(several) for several in kinds),
        (curves, nightly),
        torch.from_numpy(curves.label),
        torch.from_numpy(odds.astype(np.float32)),
    )


@dataclass(frozen=True, slots=True)
class Validation:
    """Stars that training does not see: whole, and so many successive points as each of KNOTS.

    ``whole`` has periodograms of all points; ``cut`` those of the ladder, as a stream does, of
    STRETCHES stretches a star (where it has as many points; else again of the first).
    ``label`` (star,) i8 of each of these sets, ``sky`` (star, 2) f8 as `Catalogue` has it.
    ``weight`` (class,) f4 is how much commoner a class is among the training stars: two thousand
    tell its share no better than to 1 %.
    """

    whole: Examples
    cut: tuple[Examples, ...]
    label: torch.Tensor
    weight: torch.Tensor
    sky: NDArray[np.float64]


def validation(curves: Catalogue, channel: Channel) -> Validation:
    """The validation stars of the survey whose proportions are wanted."""
    objects = curves.validation
    n = curves.n[objects]
    whole = examples.make((curves.cut(objects, n), n), channel)
    cut = [
        part
        for points in KNOTS[:-1]
        for part in stretches(curves, objects, points, STRETCHES, channel)
    ]
    all_points = examples.make((curves.cut(objects, n), rungs(n)), channel)
    cut += STRETCHES * [all_points]  # each knot has as many
    label = curves.label[objects]
    weight = proportions(curves.label[curves.training]) / proportions(label)
    known = torch.from_numpy(label), torch.from_numpy(weight.astype(np.float32))
    return Validation(whole, tuple(cut), *known, curves.sky[objects])


def stretches(
    curves: Catalogue, objects: NDArray[np.int64], points: int, many: int, channel: Channel
) -> Iterator[Examples]:
    """Of each object (object,) so many successive points, with periodograms of the ladder: those
    from its first on, then the next, `many` times; again the first, or all, where it has no more.
    """
    n = curves.n[objects]
    length = np.minimum(n, points)
    for skip in points * np.arange(many):
        part = curves.cut(objects, length, np.where(skip + length <= n, skip, 0))
        yield examples.make((part, rungs(length)), channel)


def proportions(label: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class (class,) among labels, of one star more of each."""
    stars = np.bincount(label, minlength=len(SEVEN)) + 1.0
    result: NDArray[np.float64] = stars / stars.sum()
    return result

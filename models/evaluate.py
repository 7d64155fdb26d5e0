"""How well a network does on objects that it never saw, by number of points."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker import beside
from broker.grids import GRIDS
from broker.inputs import Channel
from broker.periodogram import rungs
from models import forward, metrics
from models.cards import Card
from models.catalogue import Catalogue
from models.fusion import CRTS

#: Lengths of curves at which accuracy is quoted.
LENGTHS = (5, 10, 20, 50, 100)
#: Objects that a network is asked of at once.
_BATCH = 256

#: Counts (object, cell) i4, measurements (object,) i4, and what the channel has beside images.
Eaten = tuple[NDArray[np.int32], NDArray[np.int32], beside.Beside | None]


@dataclass(frozen=True, slots=True)
class Score:
    """How well probabilities name objects.

    ``survey`` is "survey" for light curves as they were measured, or whose alerts they were made
    alike ("ztf-like", `models.periodic.alike`); ``points`` is the length that the curves were cut
    to (0: not cut), or ``days`` how many days after the first detection (0: not cut); ``nightly``
    whether they had one point a night; ``ladder`` whether a periodogram was of the ladder's points,
    as in the stream, and not of all. Shares are of 1: accuracy; recall, F1 and area under the ROC
    curve averaged over the classes; expected calibration error of the top probability, in 15 equal
    bins. Logarithms are natural, see `metrics.Metrics`.
    """

    points: int
    nightly: bool
    ladder: bool
    objects: int
    accuracy: float
    balanced: float
    ece: float
    log_loss: float
    log_loss_gain: float
    survey: str = "survey"
    days: int = 0
    macro_f1: float = np.nan
    auc: float = np.nan


def score(
    probabilities: NDArray[np.float32],
    label: NDArray[np.int64],
    points: int = 0,
    nightly: bool = False,
    ladder: bool = True,
    survey: str = "survey",
    days: int = 0,
) -> Score:
    """Compare probabilities (object, class) with true classes (object,)."""
    result = metrics.measure(probabilities, label)
    areas = result.auc[np.isfinite(result.auc)]
    return Score(
        points=points,
        nightly=nightly,
        ladder=ladder,
        objects=result.objects,
        accuracy=result.accuracy,
        balanced=result.balanced_accuracy,
        ece=result.ece,
        log_loss=result.log_loss,
        log_loss_gain=result.log_loss_gain,
        survey=survey,
        days=days,
        macro_f1=result.macro_f1,
        auc=float(areas.mean()) if len(areas) else np.nan,
    )


def predict(
    network: forward.Forward,
    curves: Catalogue,
    objects: NDArray[np.int64],
    n: NDArray[np.int64],
    ladder: bool = True,
) -> NDArray[np.float32]:
    """Probabilities (object, class) of objects (object,) from the first n (object,) points.

    With `ladder` the periodogram of a network that eats one is that of the stream; without, it is
    of all n points.
    """
    parts = eaten(network.channel, curves, objects, n, ladder)
    sky = np.split(curves.sky[objects], range(_BATCH, len(objects), _BATCH))
    each = zip(parts, sky, strict=True)
    return np.concatenate([np.exp(network(*part, places)) for part, places in each])


def eaten(
    channel: Channel,
    curves: Catalogue,
    objects: NDArray[np.int64],
    n: NDArray[np.int64],
    ladder: bool = True,
) -> Iterator[Eaten]:
    """What a network of this channel eats of them, batch by batch."""

    def made(begin: int) -> Eaten:
        part = slice(begin, begin + _BATCH)
        these = curves.cut(objects[part], n[part])
        rows = these.time, these.magnitude, these.error, these.first
        points = rungs(these.n) if ladder else these.n
        more = beside.many(*rows, points, channel) if channel.numbers else None
        return these.counts(GRIDS[channel.grid]), these.n.astype(np.int32), more

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the kernels let other threads run
        yield from pool.map(made, range(0, len(objects), _BATCH))


def scores(card: Card, curves: Catalogue, device: str) -> Iterator[Score]:
    """Scores on Catalina's test objects: whole curves first, then their first points; then with one
    point a night, which are no light curves of Catalina.

    A network that eats periodograms is asked of whole curves twice: with that of all points, then
    of the ladder's.
    """
    for nightly, these in ((False, curves), (True, curves.nightly())):
        network = forward.prepare(card, device, (_BATCH,), survey="" if nightly else CRTS)
        for points in (0, *LENGTHS):
            objects = these.test[these.n[these.test] >= max(points, 2)]
            if len(objects) < 1000 and len(objects) < len(these.test):
                continue  # too few curves are that long
            n = np.minimum(these.n[objects], points or np.iinfo(np.int64).max)
            whole = network.channel.periodogram and not points
            for ladder in (False, True) if whole else (True,):
                probabilities = predict(network, these, objects, n, ladder)
                yield score(probabilities, these.label[objects], points, nightly, ladder)

"""What each survey makes of the same stars: its last layers, and their calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from broker import cadence
from broker.inputs import Channel
from models import catalogue, forward, splits
from models.bands import Stars as Namer
from models.calibration import Calibration
from models.catalogue import SEVEN, Catalogue
from models.fusion import CRTS
from models.periodic import alike
from models.periodic.fit import heard
from models.periodic.last_layer import LastLayer
from models.periodic.network import CHANNEL, KNOTS, LAYERS, Periodic
from models.periodic.sets import Validation, proportions, stretches
from models.population import Population
from models.stars import Stars

#: Stretches of each star that last layers learn from.
_STRETCHES = 2
#: How far the calibration of one band may go: twenty thousand stars told the classes' shares better
#: than the two thousand of validation, which tell how much was remembered.
_SPREAD = 0.05


def fit(
    net: Periodic,
    surveys: Sequence[Catalogue],
    stars: Stars,
    validation: Validation,
    seed: int,
    device: str,
    say: Callable[[str], None],
) -> None:
    """Catalina's last layers, where in the Galaxy its classes are, and for each survey the
    calibration of what all bands of a star together say; `surveys` are Catalina's two, the southern
    first.

    Only Catalina has last layers: those that learned from stars made alike to ZTF's alerts and
    LSST's were better by six points on other stars made so, and worse on the simulated sky.
    """
    catalina(net, CHANNEL, surveys, validation, device, say)
    _calibrate_together(net, stars, validation.weight, seed, device)


def catalina(
    net: Periodic,
    channel: Channel,
    surveys: Sequence[Catalogue],
    validation: Validation,
    device: str,
    say: Callable[[str], None],
) -> None:
    """Learn Catalina's last layers from the training stars of the south, from both surveys' where
    in the Galaxy the classes are, and calibrate what these say by validation stars of the south;
    `channel` is what the network eats.
    """
    net.to(device)
    _learn(net, channel, surveys[0], device, say)
    net.population = settled(surveys)
    _calibrate(net, validation, device)


def settled(surveys: Sequence[Catalogue]) -> Population:
    """Where in the Galaxy the classes are, learned from the training stars of some surveys."""
    labels = [c.label[c.training] for c in surveys]
    share = [np.log(proportions(label)) for label in labels]
    odds = np.repeat(share, [len(label) for label in labels], axis=0).astype(np.float32)
    known = torch.from_numpy(np.concatenate(labels)), torch.from_numpy(odds)
    population = Population(len(SEVEN))
    population.fit(np.concatenate([c.sky[c.training] for c in surveys]), *known)
    return population


def _learn(
    net: Periodic, channel: Channel, south: Catalogue, device: str, say: Callable[[str], None]
) -> None:
    """Of as few points as LAYERS has before its last, a network remembers hardly one of the stars
    that it was trained on. Of whole curves it does: these keep the layer of all surveys.
    """
    layer = net.by_survey[CRTS]
    assert isinstance(layer, LastLayer)
    for points in LAYERS[:-1]:
        long = south.training[south.n[south.training] >= points]
        say(f"last layer for {points} points, from {len(long):,} stars")
        if not len(long):
            continue
        parts = stretches(south, long, points, _STRETCHES, channel)
        hidden, logits, _ = zip(*(heard(net, these, device) for these in parts), strict=True)
        label = torch.from_numpy(south.label[long]).repeat(_STRETCHES)
        layer.fit(points, torch.cat(hidden), torch.cat(logits), label)


def _calibrate(net: Periodic, validation: Validation, device: str) -> None:
    """Of Catalina, one band: by the stretches that calibrate the answer for any survey."""
    lengths = (validation.whole, *validation.cut)
    hidden, logits, log_n = (
        torch.cat(each) for each in zip(*(heard(net, x, device) for x in lengths), strict=True)
    )
    label = validation.label.repeat(len(lengths))
    net.cpu()
    logits += net.by_survey[CRTS](hidden, log_n)
    assert net.population is not None
    said = net.population(np.tile(validation.sky, (len(lengths), 1)))
    _fused(net, CRTS).fit(logits, log_n, label, validation.weight, _SPREAD, said)


def _calibrate_together(
    net: Periodic, stars: Stars, weight: torch.Tensor, seed: int, device: str
) -> None:
    """Of alerts, all bands of a star, after so many points as KNOTS has, and of all."""
    which = np.flatnonzero(splits.validation(stars.split))
    for survey in cadence.SURVEYS:
        file = alike.alike(stars, which, survey, seed + 2)
        label, points = catalogue.known(file, "crts-south", SEVEN), np.diff(file.off)
        namer = Namer(forward.ready(net, CHANNEL, device, survey=survey), file)
        logits, log_n, truth = [], [], []
        for knot in (*KNOTS[:-1], 0):
            n = np.minimum(points, knot or points)
            each = _, in_band, first_row = namer.each_band(n)
            fed = np.bincount(np.repeat(np.arange(len(n)), np.diff(first_row)), in_band, len(n))
            some = np.flatnonzero((label >= 0) & (points >= knot) & (fed > 0))
            logits.append(np.log(np.maximum(namer.fused(*each)[some], forward.LEAST_P)))
            log_n.append(np.log(fed[some]))
            truth.append(label[some])
        _fused(net.cpu(), survey).fit(
            torch.from_numpy(np.concatenate(logits)),
            torch.from_numpy(np.concatenate(log_n).astype(np.float32)),
            torch.from_numpy(np.concatenate(truth)),
            weight,
        )


def _fused(net: Periodic, survey: str) -> Calibration:
    calibration = net.fused[survey]
    assert isinstance(calibration, Calibration)
    return calibration

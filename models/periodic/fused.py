"""How far the bands of a star together may be trusted, in each survey's alerts: fitted."""

from __future__ import annotations

import numpy as np
import torch

from broker import cadence
from models import catalogue, forward, splits
from models.bands import Stars as Namer
from models.calibration import Calibration
from models.catalogue import SEVEN
from models.periodic import alike
from models.periodic.network import CHANNEL, KNOTS, Periodic
from models.stars import Stars


def fit(net: Periodic, stars: Stars, weight: torch.Tensor, seed: int, device: str) -> None:
    """Calibrate what is said of all bands of a star, by validation stars as each survey's alerts
    tell of them after so many points as KNOTS has, and of all; `weight` as in `sets.Validation`.
    """
    network = forward.ready(net, CHANNEL, device)
    which = np.flatnonzero(splits.validation(stars.split))
    for survey in cadence.SURVEYS:
        file = alike.alike(stars, which, survey, seed + 2)
        label, points = catalogue.known(file, "crts-south", SEVEN), np.diff(file.off)
        namer = Namer(network, file)
        logits, log_n, truth = [], [], []
        for knot in (*KNOTS[:-1], 0):
            n = np.minimum(points, knot or points)
            each = _, in_band, first_row = namer.each_band(n)
            fed = np.bincount(np.repeat(np.arange(len(n)), np.diff(first_row)), in_band, len(n))
            some = np.flatnonzero((label >= 0) & (points >= knot) & (fed > 0))
            logits.append(np.log(np.maximum(namer.fused(*each)[some], 1e-30)))
            log_n.append(np.log(fed[some]))
            truth.append(label[some])
        calibration = net.fused[survey]
        assert isinstance(calibration, Calibration)
        calibration.fit(
            torch.from_numpy(np.concatenate(logits)),
            torch.from_numpy(np.concatenate(log_n).astype(np.float32)),
            torch.from_numpy(np.concatenate(truth)),
            weight,
        )
    net.cpu()

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import cards, catalogue, forward
from models.evaluate import predict, score
from models.fusion import CRTS


def test_scores_by_hand() -> None:
    p = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.4, 0.6, 0.0], [0.9, 0.05, 0.05]], np.float32)
    result = score(p, np.array([0, 0, 1, 1]), points=5, nightly=True)
    assert (result.points, result.nightly, result.objects) == (5, True, 4)
    assert result.accuracy == 0.75
    assert result.balanced == 0.75  # (1 + 1/2) / 2: the third class has no object
    assert result.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert result.auc == (0.625 + 0.5) / 2  # of four pairs two in order, one equal
    # bins: {.9 right, .9 wrong}: |1.8 - 1|, {.8 right}: .2, {.6 right}: .4
    assert result.ece == pytest.approx((0.8 + 0.2 + 0.4) / 4)


def test_probability_one_falls_in_the_last_bin() -> None:
    assert score(np.array([[1.0, 0.0]], np.float32), np.array([0])).ece == 0


STARS = [card for card in cards.shipped() if card.channel.photometry == "total"]


@pytest.mark.parametrize("card", STARS, ids=lambda card: card.name)
def test_a_shipped_network_names_stars_it_never_saw(shared_data: Path, card: cards.Card) -> None:
    curves = catalogue.read(shared_data / "lightcurves")
    network = forward.prepare(card, "cpu", (256,), survey=CRTS)
    objects = curves.test
    assert len(objects) == 7354
    if card.channel.periodogram:  # it takes its time
        objects = objects[::8]
    p = predict(network, curves, objects, curves.n[objects], ladder=False)
    whole = score(p, curves.label[objects])
    assert whole.accuracy >= 0.73
    assert whole.balanced >= 0.55
    assert whole.ece <= 0.05
    written = next(m for m in card.measured if m["points"] == 0 and not m["nightly"])
    assert whole.accuracy == pytest.approx(
        written["accuracy"], abs=0.035 if card.channel.periodogram else 0.001
    )

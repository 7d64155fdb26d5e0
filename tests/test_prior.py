"""Probabilities restated for other proportions of the classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import cards
from models.prior import proportions, restated

CARD = cards.find("crts-rows")


@pytest.mark.parametrize("card", cards.shipped(), ids=lambda card: card.name)
def test_a_shipped_card_says_what_its_probabilities_assume(card: cards.Card) -> None:
    assert len(card.assumes) == len(card.classes)
    assert proportions(card, {}).sum() == pytest.approx(1)


def test_restated_as_if_the_stream_had_been_drawn_so() -> None:
    """Bayes' rule by counting: draws of a class and of what is seen, in either proportion."""
    draw = np.random.default_rng(2)
    seen = draw.dirichlet(np.ones(4), 3)  # (class, what is seen)
    assumed, prior = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    joint = assumed[:, None] * seen
    p = (joint / joint.sum(axis=0)).T.astype(np.float32)
    wanted = prior[:, None] * seen
    wanted = (wanted / wanted.sum(axis=0)).T
    np.testing.assert_allclose(restated(p, assumed, prior), wanted, rtol=1e-5)
    np.testing.assert_allclose(restated(p, assumed, assumed), p, rtol=1e-6)


def test_a_prior_is_of_all_classes() -> None:
    assert proportions(CARD, {})[0] == pytest.approx(0.51, abs=0.01)
    np.testing.assert_allclose(proportions(CARD, dict.fromkeys(CARD.classes, 2.0)), 1 / 7)
    with pytest.raises(ValueError, match=r"crts-rows speaks of EW; expected each of EW, EA, RRab"):
        proportions(CARD, {"EW": 1.0})
    with pytest.raises(ValueError, match="expected shares above 0"):
        proportions(CARD, dict.fromkeys(CARD.classes, 0.0))
    silent = replace(CARD, training={})
    with pytest.raises(ValueError, match="does not state the proportions"):
        proportions(silent, dict.fromkeys(CARD.classes, 1.0))

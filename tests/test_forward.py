from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import cards, catalogue, evaluate, forward
from models.cards import Card
from models.evaluate import predict

SHIPPED = [card for card in cards.shipped() if card.channel.photometry == "total"]


def agree(exact: np.ndarray, other: np.ndarray) -> None:
    """A setting, or another machine, must not change what a star is called."""
    assert (exact.argmax(1) == other.argmax(1)).mean() >= 0.999
    assert 0 < np.abs(exact - other).max() <= 0.01


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.name)
def test_bf16_names_the_test_stars_as_fp32_does(shared_data: Path, card: Card) -> None:
    torch.set_num_threads(1)
    curves = catalogue.read(shared_data / "lightcurves")
    eaten = list(evaluate.eaten(card.channel, curves, curves.test, curves.n[curves.test]))
    networks = (forward.prepare(card, "cpu", (256,), p) for p in ("fp32", "bf16"))
    agree(*(np.concatenate([np.exp(network(*each)) for each in eaten]) for network in networks))


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
def test_compiled_bf16_names_the_test_stars_as_fp32_does(shared_data: Path) -> None:
    torch.set_num_threads(1)
    card = cards.find("crts-rows")
    curves = catalogue.read(shared_data / "lightcurves")
    plain = forward.prepare(card, "cpu", (256,), "fp32")
    net = forward.load_network(card)
    compiled = replace(plain, run=forward.compiled(forward.mode(net, "cpu", torch.bfloat16)))
    objects = curves.test[: len(curves.test) // 256 * 256]  # a shape more is a compilation more
    agree(*(predict(f, curves, objects, curves.n[objects]) for f in (plain, compiled)))


def test_weights_that_the_card_does_not_describe_are_refused() -> None:
    with pytest.raises(ValueError, match="sha256 differs"):
        forward.load_network(replace(SHIPPED[0], weights_sha256="0" * 64))

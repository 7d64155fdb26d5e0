from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import cards, catalogue, forward
from models.cards import Card
from models.evaluate import predict

SHIPPED = [card for card in cards.shipped() if card.channel.photometry == "total"]


def agree(exact: np.ndarray, other: np.ndarray) -> None:
    """What may be chosen here or on any machine must not change what a star is called."""
    assert (exact.argmax(1) == other.argmax(1)).mean() >= 0.999
    assert 0 < np.abs(exact - other).max() <= 0.01


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.name)
def test_bf16_names_the_test_stars_as_fp32_does(shared_data: Path, card: Card) -> None:
    torch.set_num_threads(1)
    curves = catalogue.read(shared_data / "lightcurves")
    objects = curves.test[:: 8 if card.channel.periodogram else 1]  # a periodogram takes its time
    agree(
        *(
            predict(forward.prepare(card, "cpu", (256,), p), curves, objects, curves.n[objects])
            for p in ("fp32", "bf16")
        )
    )


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
def test_compiled_bf16_names_the_test_stars_as_fp32_does(shared_data: Path) -> None:
    """What a CPU with AMX may choose: tried on any."""
    torch.set_num_threads(1)
    card = cards.find("crts-rows")
    curves = catalogue.read(shared_data / "lightcurves")
    plain = forward.prepare(card, "cpu", (256,), "fp32")
    net = forward.load_network(card)
    compiled = replace(plain, run=forward.compiled(forward.mode(net, "cpu", torch.bfloat16)))
    objects = curves.test[: len(curves.test) // 256 * 256]  # a shape more is a compilation more
    agree(*(predict(f, curves, objects, curves.n[objects]) for f in (plain, compiled)))


def test_the_fastest_that_agrees_is_chosen() -> None:
    seconds = {"fp32": 1.0, "bf16": 0.5, "bf16 compiled": 0.2, "fp32 compiled": 0.6}
    agree = dict.fromkeys(seconds, 0.001)
    assert forward.choose(seconds, agree) == "bf16 compiled"
    assert forward.choose(seconds, agree | {"bf16 compiled": 0.011}) == "bf16"
    assert forward.choose(seconds, agree | {"bf16 compiled": 0.2, "bf16": 0.02}) == "fp32 compiled"
    assert forward.choose(seconds, agree | {"bf16 compiled": float("nan")}) == "bf16"
    assert forward.choose({"fp32": 1.0, "bf16": 0.9}, {"fp32": 0.0, "bf16": 0.0}) == "fp32"
    assert forward.choose({"bf16": 1.0}, {"bf16": 0.0}) == "bf16"


def test_a_mode_that_answers_otherwise_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it is."""
    plain = forward.mode

    def mode(net, device, dtype):
        if dtype == torch.float32:
            return plain(net, device, dtype)
        return lambda levels: torch.zeros(len(levels), 7 + 1).log_softmax(1)

    monkeypatch.setattr(forward, "mode", mode)
    chosen = forward.prepare(cards.find("crts-rows"), "cpu", (16,))
    assert chosen.images_per_s["bf16"] > chosen.images_per_s["fp32"]
    assert chosen.differs["bf16"] > forward.MOST_DIFFERENCE
    assert chosen.precision == "fp32"


def test_weights_that_the_card_does_not_describe_are_refused() -> None:
    with pytest.raises(ValueError, match="sha256 differs"):
        forward.load_network(replace(SHIPPED[0], weights_sha256="0" * 64))

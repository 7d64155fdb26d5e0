"""What runs on a GPU: on a real one where there is one, and everywhere on one that is none but
keeps its tensors apart from the CPU's (`two_sides`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from test_classifier import images
from test_periodic_training import NAME, skies, train_on_little
from test_studies import NUMBERS, stars
from test_train import sky
from test_transient_training import EYE, SMALL, known, supernovae
from two_sides import TwoSides

from broker.beside import Beside
from broker.folds import LEVELS, PHASES
from broker.grids import GRIDS
from models import cards, curve_files, examine, forward, train
from models.cards import Card
from models.classifier import Classifier
from models.studies import run
from models.transients import fit, inputs

ROWS = 64


@pytest.fixture(params=["real", "told apart"])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch finds a GPU."""
    if request.param == "real":
        if not torch.cuda.is_available():
            pytest.skip("no GPU here: PyTorch finds no CUDA device")
        yield
        return
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with TwoSides():
        yield


def eaten(card: Card) -> tuple[np.ndarray, np.ndarray, Beside | None]:
    """Counts, points and what stands beside them, of any stars."""
    draw, channel = np.random.default_rng(0), card.channel
    n = np.linspace(5, 300, ROWS).astype(np.int32)
    cells = max(1, len(channel.bands)) * GRIDS[channel.grid].cells
    counts = draw.multinomial(n * (n - 1) // 2, draw.dirichlet(np.full(cells, 0.1), ROWS))
    width = channel.numbers + channel.together
    numbers = 1 + draw.normal(size=(ROWS, width)).astype(np.float32)
    folds = draw.integers(0, 90, (ROWS, channel.folds, PHASES, LEVELS)).astype(np.uint8)
    return counts.astype(np.int32), n, Beside(numbers, folds) if width else None


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("card", cards.shipped(), ids=lambda card: card.name)
def test_a_shipped_network_says_what_it_says_on_the_cpu(card: Card) -> None:
    here, there = (forward.prepare(card, device, (16, ROWS)) for device in ("cpu", "auto"))
    assert (here.device, there.device) == ("cpu", "cuda")
    said, heard = (network.whole(*eaten(card)) for network in (here, there))
    np.testing.assert_allclose(np.exp(heard[:, :-1]), np.exp(said[:, :-1]), atol=2e-3)
    np.testing.assert_allclose(heard[:, -1], said[:, -1], atol=0.02)  # shares; NaN where none is


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stream_is_labelled_there(precision: forward.Precision) -> None:
    card = cards.find("crts-rows")
    batch = images(card, [[30 + i] for i in range(40)])
    here, there = (
        Classifier(card, device, 64, precision=precision).classify(batch)
        for device in ("cpu", "cuda")
    )
    assert "device=cuda" in there.params
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=0.01)
    assert np.isfinite(there.novelty).all()


@pytest.mark.usefixtures("gpu")
def test_networks_of_images_learn_there(tmp_path: Path) -> None:
    sky(tmp_path)
    card = train.train(tmp_path, tmp_path / "a", "crts-rows", 40, 1, "auto")
    assert card.training["device"] == "cuda"
    assert card.measured[0]["accuracy"] > 0.9


@pytest.mark.usefixtures("gpu")
def test_those_that_see_the_period_learn_there_and_go_on_after_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skies(tmp_path)
    train_on_little(monkeypatch)

    def stop(epoch: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(tmp_path, tmp_path / "a", NAME, 16, 1, "auto", stop)
    card = train.train(tmp_path, tmp_path / "a", NAME, 16, 1, "auto")
    assert card.training["device"] == "cuda"
    assert card.measured[0]["accuracy"] > 0.9
    file = curve_files.read(tmp_path / "crts_south.npz")
    here, there = (
        examine.examine(card, file, "crts-south", device=device).answers[0].metrics
        for device in ("cpu", "auto")
    )
    assert there.log_loss == pytest.approx(here.log_loss, abs=1e-3)


@pytest.mark.usefixtures("gpu")
def test_those_of_transients_learn_there() -> None:
    net = fit.fit(known(supernovae()), EYE, SMALL, 0, "cuda")
    these = inputs.make(supernovae(64, seed=3), EYE)
    here = fit.probabilities(net, these)
    there = fit.probabilities(net.to("cuda"), these)
    np.testing.assert_allclose(there, here, atol=1e-4)
    assert (here[:, :2].argmax(1) == np.arange(64) % 2).mean() > 0.9


@pytest.mark.usefixtures("gpu")
@pytest.mark.filterwarnings("ignore:CUDA is not available")  # nor is it, for autocast
def test_studies_run_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skies(tmp_path)
    train_on_little(monkeypatch)
    only = ["shipped", "given", "north"]
    _, told = run.periodic(tmp_path, tmp_path / "a", only, True, 0, "cuda", lambda _: None)
    assert len(told[0].tables[0].rows) == len(only)
    for survey, numbers in NUMBERS.items():
        stars(tmp_path / f"crts_{survey}.npz", numbers)
    stars(tmp_path / "crts_nontransients.npz", (0,), 30)
    only = ["seven/south/*", "transfer/*"]
    _, told = run.paper(tmp_path, tmp_path / "b", only, True, None, 0, "cuda", lambda _: None)
    assert told

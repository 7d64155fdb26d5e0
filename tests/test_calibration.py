"""Calibration says what is so: truths drawn from known odds, words too sure of them."""

from __future__ import annotations

import pytest
import torch

from models import metrics
from models.calibration import Calibration

POINTS = (2, 20, 200)
SKY = torch.tensor([1.0, 0.0, -1.5])  #: classes that training showed equally often


def drawn(n: int, factor: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, log n and truths of stars whose odds are exp(factor logits + SKY)."""
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4000, 3, generator=draw)
    odds = (factor * logits + SKY).softmax(1)
    label = torch.multinomial(odds, 1, generator=draw).squeeze(1)
    return logits, torch.full((4000,), float(n)).log(), label


def stars(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """After few points the words are twice as sure as they should be."""
    parts = [drawn(n, f, seed + n) for n, f in ((2, 0.5), (20, 0.75), (200, 1.0))]
    logits, log_n, label = (torch.cat(several) for several in zip(*parts, strict=True))
    return logits, log_n, label


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    calibration = Calibration(POINTS, 3)
    calibration.fit(*stars(0))
    return calibration


def test_factor_and_shifts_are_found_at_each_number_of_points(fitted: Calibration) -> None:
    assert fitted.factor.squeeze(1).tolist() == pytest.approx([0.5, 0.75, 1.0], abs=0.05)
    for shift in fitted.shift:  # only differences count
        assert (shift - shift[0]).tolist() == pytest.approx(SKY - SKY[0], abs=0.2)


@pytest.mark.parametrize(("n", "factor"), [(2, 0.5), (6, 0.62), (63, 0.875), (200, 1.0)])
def test_probabilities_of_other_stars_are_honest_also_between(
    fitted: Calibration, n: int, factor: float
) -> None:
    logits, log_n, label = drawn(n, factor, seed=77)
    before = metrics.measure(logits.softmax(1).numpy(), label.numpy())
    after = metrics.measure(fitted(logits, log_n).softmax(1).numpy(), label.numpy())
    assert after.ece < 0.025 < before.ece
    assert after.log_loss < before.log_loss


def test_how_much_places_say_beside_the_points_is_found() -> None:
    """After two points the words know nothing of the place, after 200 they know it all."""
    draw = torch.Generator().manual_seed(4)
    logits, log_n, _ = stars(6)
    commoner = torch.randn(logits.shape, generator=draw)
    worth = (log_n < 5).float()[:, None]
    label = torch.multinomial((logits + worth * commoner).softmax(1), 1, generator=draw).squeeze(1)
    calibration = Calibration(POINTS, 3, placed=True)
    calibration.fit(logits, log_n, label, commoner=commoner)
    assert calibration.place.squeeze(1).tolist() == pytest.approx([1, 1, 0], abs=0.1)
    assert calibration.factor.squeeze(1).tolist() == pytest.approx([1, 1, 1], abs=0.1)
    found = calibration(logits, log_n, commoner)
    assert not torch.equal(found, calibration(logits, log_n))
    assert "place" in calibration.state_dict()
    assert "place" not in Calibration(POINTS, 3).state_dict()  # weights of before stay readable


def test_what_was_not_fitted_is_left_as_it_was() -> None:
    logits, log_n, _ = stars(1)
    assert torch.equal(Calibration(POINTS, 3)(logits, log_n), logits)
    some = log_n == log_n.min()
    calibration = Calibration(POINTS, 3)
    calibration.fit(*(part[some] for part in stars(1)))
    assert calibration.factor[1:].tolist() == [[1.0], [1.0]]


def test_stars_that_are_all_named_right_make_nothing_certain() -> None:
    calibration = Calibration(POINTS, 3)
    logits = 4 * torch.eye(3)
    calibration.fit(logits, torch.full((3,), 2.0).log(), torch.arange(3))
    assert 1 < calibration.factor[0].item() < 10

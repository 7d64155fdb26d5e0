"""A last layer for each number of points: truths drawn from odds that depend on it."""

from __future__ import annotations

import pytest
import torch

from models import metrics
from models.periodic.last_layer import LastLayer

POINTS = (2, 20, 200)
FEATURES, CLASSES = 6, 3
#: What a feature means for each class: of 2 points the contrary of what it means of 20.
MEANT = {2: -1.5, 20: 1.5}
WEIGHT = torch.eye(CLASSES, FEATURES)


def drawn(points: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the layer eats, what is said without it, truths."""
    draw = torch.Generator().manual_seed(seed)
    hidden = 3 + 2 * torch.randn(4000, FEATURES, generator=draw)
    odds = MEANT[points] * hidden @ WEIGHT.T
    label = torch.multinomial(odds.softmax(1), 1, generator=draw).squeeze(1)
    return hidden, 0.5 * hidden @ WEIGHT.T, label


@pytest.fixture(scope="module")
def fitted() -> LastLayer:
    layer = LastLayer(POINTS, FEATURES, CLASSES)
    for points in MEANT:
        layer.fit(points, *drawn(points, seed=points))
    return layer


@pytest.mark.parametrize("points", [2, 20])
def test_what_is_right_at_a_number_of_points_is_found(fitted: LastLayer, points: int) -> None:
    hidden, logits, label = drawn(points, seed=77)
    log_n = torch.full((len(hidden),), points).log()
    right = MEANT[points] * hidden @ WEIGHT.T
    found = metrics.measure((logits + fitted(hidden, log_n)).softmax(1).numpy(), label.numpy())
    best = metrics.measure(right.softmax(1).numpy(), label.numpy())
    assert found.log_loss == pytest.approx(best.log_loss, abs=0.01)
    assert metrics.measure(logits.softmax(1).numpy(), label.numpy()).log_loss > best.log_loss + 0.1


@pytest.mark.parametrize(("n", "part"), [(1, 0.0), (2, 0.0), (6, 0.477), (20, 1.0)])
def test_between_two_numbers_it_is_linear_in_the_logarithm(
    fitted: LastLayer, n: int, part: float
) -> None:
    hidden, _, _ = drawn(2, seed=5)
    two, twenty = (fitted(hidden, torch.full((len(hidden),), k).log()) for k in MEANT)
    found = fitted(hidden, torch.full((len(hidden),), n).log())
    torch.testing.assert_close(found, two + part * (twenty - two), rtol=1e-3, atol=1e-2)


def test_nothing_is_added_where_it_was_not_fitted(fitted: LastLayer) -> None:
    hidden, _, _ = drawn(2, seed=5)
    for n in (200, 1000):
        assert not fitted(hidden, torch.full((len(hidden),), n).log()).any()
    assert not LastLayer(POINTS, FEATURES, CLASSES)(hidden, torch.zeros(len(hidden))).any()


def test_objects_of_several_numbers_of_points_do_not_see_each_other(fitted: LastLayer) -> None:
    hidden, _, _ = drawn(2, seed=5)
    log_n = torch.tensor([1, 2, 7, 20, 90, 999]).log()
    alone = torch.cat([fitted(hidden[i : i + 1], log_n[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(fitted(hidden[:6], log_n), alone)

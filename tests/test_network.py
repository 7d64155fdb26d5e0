from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from models import network

GRID = (22, 23)


def test_the_shallow_network_is_the_papers() -> None:
    net = network.build("shallow", GRID, 7)
    weights = [tuple(p.shape) for p in net.parameters() if p.dim() > 1]
    assert weights == [(32, 1, 3, 3), (128, 32 * 20 * 21), (128, 128), (7, 128)]
    dropouts = [m.p for m in net.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts == [0.1, 0.25]
    assert net(torch.zeros(2, 1, 22, 23)).shape == (2, 7)


@pytest.mark.parametrize("name", network.NETWORKS)
def test_the_last_layer_stays_in_fp32(name: str) -> None:
    torch.manual_seed(1)
    net = network.build(name, GRID, 7).eval()
    counts = torch.randint(0, 9, (4, 22 * 23), dtype=torch.int32)
    levels = net.levels(counts, torch.full((4,), 60), GRID)
    exact = net(levels)
    net.body.to(torch.bfloat16)
    coarse = net(levels)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    assert torch.allclose(coarse, exact, atol=0.02 * exact.abs().max().item())


def test_along_rows_is_a_convolution_within_each_image() -> None:
    torch.manual_seed(2)
    images = torch.randn(3, 6, 5)  # (image, row, width)
    images[:, -1] = 0  # the empty row
    weight, bias = torch.randn(3, 5, 4), torch.randn(1, 4)
    result = network.along_rows(images.flatten(0, 1), weight, bias).view(3, 6, 4)
    expected = functional.conv1d(
        images[:, :-1].transpose(1, 2), weight.permute(2, 1, 0), bias[0], padding=1
    )
    assert torch.allclose(result[:, :-1], expected.transpose(1, 2), atol=1e-5)


def test_an_image_in_the_row_net_does_not_see_its_neighbours() -> None:
    torch.manual_seed(3)
    net = network.build("rows", GRID, 7).eval()
    levels = functional.pad(torch.rand(5, 23, 44), (0, 0, 0, 1))
    alone = torch.cat([net(one) for one in levels.split(1)])
    assert torch.allclose(net(levels), alone, atol=1e-6)


def test_standard_pixels_have_mean_zero_and_deviation_one() -> None:
    torch.manual_seed(4)
    seen = 3 + 2 * torch.rand(200, 4, 5)
    seen[:, 1, 2] = 0  # always empty
    standard = network.Standard((4, 5))
    standard.learn(seen)
    made = standard(seen)
    assert made.mean(0).abs().max() < 1e-5
    filled = torch.ones(4, 5, dtype=torch.bool)
    filled[1, 2] = False
    assert torch.allclose(made.std(0)[filled], torch.ones(19), atol=1e-4)
    assert not made[:, 1, 2].any()
    assert standard(torch.full((1, 4, 5), 100.0)).max() == 6


def test_an_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'deeper'; there are: rows, shallow"):
        network.build("deeper", GRID, 7)

from __future__ import annotations

import pytest
import torch

from models import network


def test_the_shallow_network_is_the_papers() -> None:
    net = network.build("shallow", (22, 23), 7)
    weights = [tuple(p.shape) for p in net.parameters() if p.dim() > 1]
    assert weights == [(32, 1, 3, 3), (128, 32 * 20 * 21), (128, 128), (7, 128)]
    dropouts = [m.p for m in net.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts == [0.1, 0.25]
    assert net(torch.zeros(2, 1, 22, 23)).shape == (2, 7)


def test_the_last_layer_stays_in_fp32() -> None:
    net = network.build("shallow", (22, 23), 7).eval()
    levels = torch.randint(0, 256, (4, 1, 22, 23)).float()
    exact = net(levels)
    network.cast_body(net, torch.bfloat16)
    coarse = net(levels.bfloat16())
    assert coarse.dtype == torch.float32
    assert torch.allclose(coarse, exact, atol=0.02 * exact.abs().max().item())


def test_an_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'deeper'; there is: shallow"):
        network.build("deeper", (22, 23), 7)

from __future__ import annotations

import numpy as np
import pytest
import torch

from broker.beside import Beside
from broker.folds import LEVELS, PHASES
from broker.grids import GRIDS
from models import forward
from models.fusion import CRTS, PLACES
from models.periodic.network import CHANNEL, LAYERS, Eaten, Periodic

N_DM, N_DT = GRIDS[CHANNEL.grid].shape


def eaten(n: list[int], seed: int = 0) -> Eaten:
    draw = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 9, (len(n), N_DM * N_DT), generator=draw, dtype=torch.int32)
    numbers = torch.randn(len(n), CHANNEL.numbers, generator=draw)
    numbers[:, 0] = torch.tensor(n).log()
    numbers[:, len(CHANNEL.scalars)] = torch.tensor(n).log() * (torch.tensor(n) >= 16)
    folds = torch.randint(0, 90, (len(n), 2, PHASES, LEVELS), generator=draw).to(torch.uint8)
    return Periodic.levels(counts, torch.tensor(n), (N_DM, N_DT)), numbers, folds


def network() -> Periodic:
    torch.manual_seed(1)
    net = Periodic(CHANNEL, 7).eval()
    net.learn(eaten([100] * 40))
    return net


def test_the_last_layer_and_the_calibration_stay_in_fp32() -> None:
    net, some = network(), eaten([5, 60, 200])
    exact = net(some)
    net.body.to(torch.bfloat16)
    coarse = net(some)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    assert torch.allclose(coarse, exact, atol=0.03 * exact.abs().max().item())


def test_a_star_does_not_see_its_neighbours_in_the_batch() -> None:
    net, some = network(), eaten([5, 60, 200])
    alone = torch.cat([net(tuple(part[i : i + 1] for part in some)) for i in range(3)])
    assert torch.allclose(net(some), alone, atol=1e-5)


def test_without_a_periodogram_what_stands_in_its_place_is_nothing() -> None:
    net = network()
    levels, numbers, folds = eaten([8, 8])
    other = numbers.clone()
    other[:, len(CHANNEL.scalars) + 1 :] = 7.0
    # In two batches: rows of one may differ in their last bit, though all is alike.
    assert torch.equal(net((levels, numbers, folds)), net((levels, other, folds)))


def test_calibration_knows_how_many_points_there_are() -> None:
    net, some = network(), eaten([2, 5, 235])
    raw = net.raw(some)
    assert torch.equal(net(some), raw)
    net.calibration.factor[0] = 3
    assert torch.equal(net(some), raw * torch.tensor([3, 1, 1]).unsqueeze(1))


def test_whose_light_curve_it_is_decides_the_last_layer() -> None:
    net = network()
    net.by_survey["crts"].bias[LAYERS.index(3), 3] = 2.0
    n = np.int32([3, 60, 3, 60])
    draw = np.random.default_rng(0)
    counts = draw.integers(0, 9, (4, N_DM * N_DT), dtype=np.int32)
    numbers = draw.normal(size=(4, CHANNEL.numbers)).astype(np.float32)
    numbers[:, 0] = np.log(n)
    some = counts, n, Beside(numbers, np.zeros((4, 2, PHASES, LEVELS), np.uint8))
    told = {s: forward.ready(net, CHANNEL, "cpu", (4,), survey=s) for s in PLACES}
    found = {survey: ready.whole(*some)[:, :7] for survey, ready in told.items()}
    for_any = found[""]
    for survey in ("ztf", "lsst", "elasticc"):
        np.testing.assert_array_equal(found[survey], for_any)
    np.testing.assert_array_equal(found[CRTS][1::2], for_any[1::2])
    odds = np.exp(found[CRTS] - for_any)[::2]
    np.testing.assert_allclose(odds[:, 3] / odds[:, 0], np.exp(2), rtol=1e-5)
    np.testing.assert_array_equal(told[""](*some), for_any)
    np.testing.assert_allclose(told[CRTS](*some), found[CRTS], atol=1e-5)


@pytest.mark.parametrize("turn", [1, 5])
def test_folds_are_read_round_and_round(turn: int) -> None:
    branch = network().body.folds
    rows = eaten([90])[2].float().transpose(1, 2).flatten(2)  # (image, phase, fold and level)
    nowhere = torch.zeros_like(branch.place)
    plain = branch.along(rows, branch.token, nowhere)
    turned = branch.along(rows.roll(turn, 1), branch.token, nowhere)
    assert torch.allclose(plain.roll(turn, 1), turned, atol=1e-5)
    assert (plain - plain.roll(turn, 1)).abs().max() > 1e-2


def test_rows_of_time_difference_have_ends() -> None:
    branch = network().body.image
    rows = torch.zeros(1, len(branch.place), branch.token.shape[0])
    rows[0, -1] = 1.0
    tokens = branch.along(rows, branch.token, torch.zeros_like(branch.place))[0]
    _, own, after = branch.token.sum(0).view(3, -1)
    assert torch.allclose(tokens[-1], own, atol=1e-5)
    assert torch.allclose(tokens[-2], after, atol=1e-5)
    assert not tokens[:-2].any()

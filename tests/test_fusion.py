from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from broker.records import SURVEYS
from models import fusion
from models.calibration import Calibration
from models.population import Population

ELSEWHERE = len(SURVEYS)
MEAN = fusion.of(nn.ModuleDict(), Population(4))


def anywhere(images: int) -> np.ndarray:
    return np.full(images, ELSEWHERE, np.uint8)


def fitted() -> nn.ModuleDict:
    """Of ZTF's objects: sharper the more points there are, and the last class is rarer."""
    calibration = Calibration((2, 8, 32), 3)
    calibration.factor[:, 0] = torch.tensor([0.5, 1.0, 2.0])
    calibration.shift[1:, 2] = -1.0
    return nn.ModuleDict({"ztf": calibration, "lsst": Calibration((2, 8, 32), 3)})


def test_bands_are_fused_by_the_weighted_mean_of_log_p() -> None:
    draw = np.random.default_rng(2)
    p = draw.dirichlet(np.ones(4), 5)
    log_p = np.log(p).astype(np.float32)
    n = np.array([10, 200, 50, 7, 9], np.int32)
    fused = MEAN(log_p, n, np.array([0, 3, 3, 4, 5]), anywhere(4))
    weight = np.array([10, 50, 50])
    first = np.exp((weight[:, None] * log_p[:3]).sum(0) / weight.sum())
    assert fused.dtype == np.float32
    assert np.allclose(fused[0], first / first.sum(), rtol=1e-6)
    assert np.isnan(fused[1]).all()
    assert np.allclose(fused[2:], p[3:], rtol=1e-5)


def test_certain_answers_do_not_underflow() -> None:
    log_p = np.array([[-2000.0, -1000.0, -1001.0]], np.float32)
    mean = fusion.of(nn.ModuleDict(), Population(3))
    fused = mean(log_p, np.array([9], np.int32), np.array([0, 1]), anywhere(1))
    assert np.allclose(fused[0], [0, 0.7310586, 0.2689414])


@pytest.mark.parametrize("points", [2, 5, 8, 20, 32, 400])
def test_a_survey_s_answers_are_calibrated_by_the_points_of_all_bands(points: int) -> None:
    modules = fitted()
    calibration = modules["ztf"]
    log_p = np.log(np.random.default_rng(points).dirichlet(np.ones(3), 2)).astype(np.float32)
    n = np.array([points // 2, points - points // 2], np.int32)
    place = np.array([SURVEYS.index("ztf")], np.uint8)
    fuse = fusion.of(modules, Population(3))
    found = fuse(log_p, n, np.array([0, 2]), place)
    mean = np.average(log_p, axis=0, weights=np.minimum(n, fusion.MOST_WEIGHT)).astype(np.float32)
    wanted = calibration(torch.from_numpy(mean[None]), torch.tensor([points]).log()).softmax(1)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)


def test_each_survey_has_its_own_and_elasticc_that_of_lsst() -> None:
    modules = fitted()
    modules["lsst"].factor[:] = 3.0
    fuse = fusion.of(modules, Population(3))
    log_p = np.log(np.full((4, 3), [0.5, 0.3, 0.2])).astype(np.float32)
    surveys = np.array([SURVEYS.index(name) for name in ("ztf", "lsst", "elasticc")], np.uint8)
    n, first_row = np.full(4, 32, np.int32), np.arange(5)
    ztf, lsst, elasticc, other = fuse(log_p, n, first_row, np.append(surveys, ELSEWHERE))
    assert ztf[2] < lsst[2]
    assert (lsst == elasticc).all()
    assert np.allclose(lsst, np.array([125, 27, 8]) / 160, rtol=1e-5)
    assert np.allclose(other, [0.5, 0.3, 0.2])


@pytest.mark.parametrize("points", [2, 5, 32])
def test_a_place_counts_where_its_survey_has_learned_so(points: int) -> None:
    population = Population(3)
    population.weight[:] = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    modules = nn.ModuleDict({s: Calibration((2, 8, 32), 3, s == "ztf") for s in ("ztf", "lsst")})
    modules["ztf"].place[:, 0] = torch.tensor([1.0, 0.5, 0.0])
    log_p = np.log(np.full((3, 3), [0.5, 0.3, 0.2])).astype(np.float32)
    surveys = np.array([SURVEYS.index(s) for s in ("ztf", "ztf", "lsst")], np.uint8)
    sky = np.array([[279.2, 38.8], [np.nan, np.nan], [279.2, 38.8]])
    n = np.full(3, points, np.int32)
    found = fusion.of(modules, population)(log_p, n, np.arange(4), surveys, sky)
    log_n = torch.tensor([points]).log()
    said = modules["ztf"](torch.from_numpy(log_p[:1]), log_n, population(sky[:1])).softmax(1)
    np.testing.assert_allclose(found[0], said[0].numpy(), rtol=1e-5)
    assert (points == 32) == np.allclose(found[0], [0.5, 0.3, 0.2])
    np.testing.assert_allclose(found[1:], [[0.5, 0.3, 0.2]] * 2, rtol=1e-5)


def test_novelty_is_the_weighted_mean_and_the_longest_band_counts() -> None:
    score = np.float32([0.2, 0.9, 0.4])
    most, mean = fusion.weigh(score, np.int32([90, 30, 7]), np.array([0, 2, 2, 3]))
    assert most.tolist() == [90, 0, 7]
    assert mean[0] == pytest.approx((50 * 0.2 + 30 * 0.9) / 80)
    assert np.isnan(mean[1])
    assert mean[2] == np.float32(0.4)

"""What the stream tells a network of transients is what training saw, to the bit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from twin import alert, batch, point

from broker import sparse
from broker.curves import Curves
from broker.grids import GRIDS
from broker.inputs import Channel, Inputs
from broker.records import BANDS, SURVEYS, Images
from broker.store import MemoryStore
from models import cards, forward
from models.cards import Card
from models.classifier import Classifier
from models.transients import curves as transients
from models.transients import fit, inputs
from models.transients.curves import Curves as Transients
from models.transients.inputs import Eye
from models.transients.network import TransientNet

CHANNEL = Channel("transient", "asinh", ("detection",), survey="ztf", bands="rg")
EYE = Eye("ztf", "rg")
#: Beside one of total magnitudes, and one of the same points in other bands.
INPUTS = Inputs(
    (
        Channel("fiducial", "total", ("detection",), scalars=("log_n",)),
        CHANNEL,
        Channel("transient", "asinh", ("detection",), survey="lsst", bands="i"),
    )
)
N = 60


def supernova(seed: int) -> NDArray[np.void]:
    """Points of g, r and i that rise and fall, some below the reference, some at one time."""
    draw = np.random.default_rng(seed)
    days = np.sort(draw.uniform(0, 90, N))
    days[20], bands = days[21], draw.integers(3, size=N)
    bands[20], bands[21] = 0, 1
    flux = 9000 * np.exp(-(((days - 30) / 15) ** 2)) + draw.normal(0, 400, N)
    points = np.stack(
        [
            point(
                id=i + 1,
                exposure=i + 1,
                mjd_tai=60000 + days[i],
                flux_njy=flux[i],
                flux_err_njy=draw.uniform(200, 500),
                band=BANDS.index("gri"[bands[i]]),
            )
            for i in range(N)
        ]
    )
    points["flux_njy"][7], points["flux_err_njy"][11], points["flux_err_njy"][13] = (
        np.nan,
        0,
        np.inf,
    )
    return points


def as_training_has_them(points: NDArray[np.void], eye: Eye) -> Transients:
    """The points of one object that a network may see."""
    good = np.isfinite(points["flux_njy"]) & (points["flux_err_njy"] > 0)
    good &= np.isfinite(points["flux_err_njy"]) & (eye.slot[points["band"]] >= 0)
    points = points[good]
    return transients.from_points(
        points["mjd_tai"],
        points["band"],
        points["flux_njy"].astype(np.float64),
        points["flux_err_njy"].astype(np.float64),
        np.array([0, len(points)]),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
    )


def expected(points: NDArray[np.void], eye: Eye) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Counts (band, cell) and course and numbers of some points, as training makes them."""
    made = inputs.make(as_training_has_them(points, eye), eye)
    counts = made.images.numpy()[0].reshape(len(eye.bands), -1)
    return counts, np.concatenate([made.course.numpy().ravel(), made.numbers.numpy().ravel()])


def found(images: Images, i: int, channel: Channel) -> tuple[NDArray, NDArray]:
    """The same of an image of the stream."""
    counts = np.zeros((len(channel.bands), GRIDS[channel.grid].cells), np.int32)
    numbers = np.zeros(channel.together, np.float32)
    for block in images.blocks[images.first_block[i] : images.first_block[i + 1]]:
        if block["channel"] != channel.hash:
            continue
        start, length = block["scalars"]
        if BANDS[block["band"]] == "unknown":
            numbers = images.heap[start : start + length].view(np.float32)
            assert block["counts"]["length"] == 0
        else:
            assert length == 0
            start, length = block["counts"]
            at = images.heap.ctypes.data + start
            sparse.unpack(at, at + length, counts[channel.bands.index(BANDS[block["band"]])])
    return counts, numbers


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
@pytest.mark.parametrize("order", ["as seen", "late"])
def test_an_image_tells_of_all_bands_what_training_saw(order: str, survey: str) -> None:
    """To the networks of its own survey; others would be told in vain."""
    points = supernova(1)
    arrive = np.arange(N) if order == "as seen" else np.random.default_rng(2).permutation(N)
    curves = Curves(INPUTS, MemoryStore())
    known = np.zeros(N, np.bool_)
    for part in np.array_split(arrive, 9):
        images = curves.add(batch(*(alert(points[i], survey=survey) for i in part))).images
        curves.commit()
        for k, i in enumerate(part):
            known[i] = True
            until = known & (points["mjd_tai"] <= points["mjd_tai"][i])
            for channel in INPUTS.channels[1:]:
                if (channel.survey == "ztf") != (survey == "ztf"):
                    assert not (images.blocks["channel"] == channel.hash).any()
                    continue
                eye = Eye(channel.survey, channel.bands)
                counts, numbers = expected(points[until], eye)
                here, there = found(images, k, channel)
                np.testing.assert_array_equal(here, counts)
                assert there.tobytes() == numbers.tobytes()


@pytest.fixture
def card(tmp_path: Path) -> Card:
    """A network of transients that was never trained."""
    torch.manual_seed(0)
    net = TransientNet(EYE, 3, 64)
    some = transients.join([as_training_has_them(supernova(seed), EYE) for seed in range(9)])
    net.learn(inputs.make(some, EYE))
    weights = save(net.state_dict())
    (tmp_path / "blank.safetensors").write_bytes(weights)
    return replace(
        cards.find("crts-rows"),
        network="transient",
        classes=("SN Ia", "SN II", "SLSN"),
        class_ids=(2222, 2224, 2242),
        inputs=Inputs((CHANNEL,)),
        domain={"ztf": ()},
        min_points=2,
        weights=tmp_path / "blank.safetensors",
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )


def test_a_label_of_the_stream_is_what_training_would_say(card: Card) -> None:
    points = supernova(1)
    images = Curves(INPUTS, MemoryStore()).add(batch(*map(alert, points))).images
    images.images["survey"] = SURVEYS.index("ztf")
    labels = Classifier(card, "cpu", 64).classify(images)
    net = forward.load_network(card).net
    for i in range(N):
        curve = as_training_has_them(points[: i + 1], EYE)
        if len(curve.time) < 2:
            assert np.isnan(labels.probabilities[i]).all()
        else:
            p = fit.probabilities(net, inputs.make(curve, EYE))[0]
            np.testing.assert_allclose(labels.probabilities[i], p, atol=1e-5)
    assert (np.nanstd(labels.probabilities, 0) > 0.003).all()  # it does not say one thing of all


def test_an_image_that_lacks_what_the_card_declares_is_refused(card: Card) -> None:
    images = Curves(INPUTS, MemoryStore()).add(batch(*map(alert, supernova(1)[:4]))).images
    images.images["survey"] = SURVEYS.index("ztf")
    blocks = images.blocks
    blocks["scalars"]["length"][blocks["channel"] == CHANNEL.hash] -= 4
    with pytest.raises(ValueError, match=r"image \d has \d+ bytes beside its counts, not \d+"):
        Classifier(card, "cpu", 16).classify(images)

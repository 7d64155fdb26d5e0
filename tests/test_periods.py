"""What stands beside an image in the stream is what training saw, whatever the store remembers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from test_periodogram import nights
from twin import alert, batch, point

from broker import beside, dmdt
from broker.barycentre import delays
from broker.beside import Beside
from broker.curves import Added, Curves
from broker.grids import GRIDS
from broker.inputs import Channel, Inputs
from broker.periodogram import rungs
from broker.records import SURVEYS
from broker.store import MemoryStore
from models import forward
from models.cards import Card
from models.classifier import Classifier
from models.crts import declare
from models.periodic.network import CHANNEL, Periodic
from workers.state import DiskStore

#: Beside one without a periodogram, and one that shares it but shows no fold.
INPUTS = Inputs(
    (
        Channel("fiducial", "total", ("detection",), scalars=("log_n",)),
        CHANNEL,
        replace(CHANNEL, folds=0, scalars=()),
    )
)
N = 40
TIME = nights(N, 3)
FLUX = 10 ** (-0.4 * (15.0 + 0.3 * np.sin(TIME / 1e5) - 31.4)).astype(np.float32)
ERROR = np.linspace(0.01, 0.05, N).astype(np.float32)


def seen(i: int, **more: object) -> np.void:
    where = {"id": i + 1, "exposure": i + 1, "mjd_tai": 60000 + TIME[i] / 1e6}
    flux = {"total_flux_njy": FLUX[i], "total_flux_err_njy": FLUX[i] * ERROR[i]}
    return point(**where | flux | more)


def alerts(some: Sequence[int]) -> list[object]:
    return [alert(seen(i)) for i in some]


def expected(n: int) -> Beside:
    """What CHANNEL has beside the image of the first n points, as training makes it; alerts are
    at right ascension 0, declination 0, and periods those that the Sun would see.
    """
    time = np.rint((60000 + TIME[:n] / 1e6) * 1e6).astype(np.int64)
    magnitude = np.rint((31.4 - 2.5 * np.log10(FLUX[:n].astype(float))) * 1e4).astype(np.int32)
    error = 2.5 / np.log(10) * (FLUX[:n] * ERROR[:n]).astype(float) / FLUX[:n].astype(float)
    there = time + np.rint(delays(time / 1e6, 0.0, 0.0) * 1e6).astype(np.int64)
    more = np.array([0, n]), rungs(np.array([n])), CHANNEL
    here = beside.many(time, magnitude, error, *more)
    barycentric = beside.many(there, magnitude, error, *more)
    scalars = len(CHANNEL.scalars)
    numbers = np.concatenate([here.numbers[:, :scalars], barycentric.numbers[:, scalars:]], axis=1)
    return Beside(numbers, barycentric.folds)


def stands(added: Added, channel: Channel) -> list[bytes]:
    """Of each image, what stands beside the counts of a channel."""
    images = added.images
    spans = images.blocks["scalars"][images.blocks["channel"] == channel.hash]
    return [images.heap[start : start + length].tobytes() for start, length in spans]


def test_an_image_has_beside_it_what_training_saw() -> None:
    curves = Curves(INPUTS, MemoryStore())
    added = [curves.add(batch(*alerts([i]))) for i in range(N)]
    for i, one in enumerate(added):
        made = expected(i + 1)
        scalars, measured = np.split(made.numbers[0], [len(CHANNEL.scalars)])
        assert measured.any() == (i + 1 >= 16)
        if measured.any():
            assert stands(one, CHANNEL) == [made.numbers.tobytes() + made.folds.tobytes()]
            assert stands(one, INPUTS.channels[2]) == [measured.tobytes()]
        else:
            assert stands(one, CHANNEL) == [scalars.tobytes()]
            assert stands(one, INPUTS.channels[2]) == [b""]


@pytest.mark.parametrize("disk", [False, True])
def test_a_periodogram_is_made_at_a_rung_and_kept_until_the_next(
    disk: bool, tmp_path: Path
) -> None:
    store = DiskStore(tmp_path) if disk else MemoryStore()
    curves = Curves(Inputs((CHANNEL,)), store)
    made = []
    for i in range(N):
        before = curves.searched
        curves.add(batch(*alerts([i])))
        curves.commit()
        if curves.searched > before:
            made.append(i + 1)
    assert made == [16, 24, 32, 40]
    assert len(curves) == 1
    again = Curves(Inputs((CHANNEL,)), store)  # another process finds it in the store
    again.add(batch(alert(seen(0, id=99, exposure=99, mjd_tai=62999.0))))
    assert again.searched == 0


def test_batches_aborts_and_losses_change_no_bit() -> None:
    whole = [Curves(INPUTS, MemoryStore(), clock=lambda: 7).add(batch(*alerts(range(N))))]
    store = MemoryStore()
    curves = Curves(INPUTS, store, clock=lambda: 7)
    parts, pages = list[Added](), dict[bytes, bytes]()
    for begin, end in ((0, 15), (15, 17), (17, 30), (30, N)):
        part = batch(*alerts(range(begin, end)))
        curves.add(part)
        curves.discard()  # the transaction was aborted
        parts.append(curves.add(part))
        pages |= dict(parts[-1].pages)
        curves.commit()
        if begin == 15:  # the disk was lost: the changelog has the points, not the periodogram
            curves = Curves(INPUTS, MemoryStore(), clock=lambda: 7)
            curves.restore(list(pages), list(pages.values()))
    for channel in INPUTS.channels:
        told = [beside for part in parts for beside in stands(part, channel)]
        assert told == stands(whole[0], channel)


def test_a_late_alert_has_the_periodogram_of_its_own_time() -> None:
    curves = Curves(INPUTS, MemoryStore())
    curves.add(batch(*alerts([*range(20), *range(21, N)])))
    curves.commit()
    late = curves.add(batch(*alerts([20])))
    made = expected(21)
    assert stands(late, CHANNEL) == [made.numbers.tobytes() + made.folds.tobytes()]
    searched = curves.searched
    curves.add(batch(alert(seen(0, id=99, exposure=99, mjd_tai=62999.0))))
    assert curves.searched > searched  # the first 40 points are others now


def test_what_another_search_left_in_the_store_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    curves = Curves(Inputs((CHANNEL,)), store)
    curves.add(batch(*alerts(range(20))))
    curves.commit()
    monkeypatch.setattr("broker.periods._HEAD", b"tomorrow")
    again = Curves(Inputs((CHANNEL,)), store)
    again.add(batch(alert(seen(20))))
    assert again.searched == 1


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    """A periodic network that was never trained."""
    path = tmp_path_factory.mktemp("card") / "blank.toml"
    torch.manual_seed(0)
    weights = save(Periodic(CHANNEL, 7).state_dict())
    path.with_suffix(".safetensors").write_bytes(weights)
    hashed = hashlib.sha256(weights).hexdigest()
    return replace(declare(path, "periodic", CHANNEL, min_points=2), weights_sha256=hashed)


def of_star(added: Added) -> Added:
    """Of a star with its own light under the alert, which is in the network's domain."""
    images = added.images.images
    images["survey"] = SURVEYS.index("ztf")
    images["context"] = np.nan
    images["context"]["distnr"], images["context"]["sgscore1"] = 0.2, 0.9
    return added


def test_a_label_of_the_stream_is_what_a_file_would_get(card: Card) -> None:
    added = of_star(Curves(INPUTS, MemoryStore()).add(batch(*alerts(range(N)))))
    labels = Classifier(card, "cpu").classify(added.images)
    network = forward.prepare(card, "cpu", (16,), "fp32")
    assert np.isnan(labels.probabilities[0]).all()  # of one point
    for n in (2, 15, 16, N):
        time = np.rint(60000e6 + TIME[:n]).astype(np.int64)
        magnitude = np.rint((31.4 - 2.5 * np.log10(FLUX[:n].astype(float))) * 1e4).astype("i4")
        counts = dmdt.count(time, magnitude, np.array([0, n]), GRIDS[CHANNEL.grid])
        log_p = network(counts.reshape(1, -1), np.array([n], np.int32), expected(n))
        np.testing.assert_allclose(labels.probabilities[n - 1], np.exp(log_p[0]), atol=1e-5)


def test_an_image_that_lacks_what_the_card_declares_is_refused(card: Card) -> None:
    added = of_star(Curves(INPUTS, MemoryStore()).add(batch(*alerts(range(4)))))
    blocks = added.images.blocks
    blocks["scalars"]["length"][blocks["channel"] == CHANNEL.hash] -= 4
    with pytest.raises(ValueError, match=r"image 1 has \d+ bytes beside its counts, not \d+"):
        Classifier(card, "cpu", 16).classify(added.images)

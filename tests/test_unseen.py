"""The score of what training never saw: even for known objects, higher for others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import cards, catalogue, curve_files, evaluate, forward, splits, unseen
from models.catalogue import SEVEN, Catalogue
from models.metrics import auc
from models.unseen import Typical

CLASSES, WIDTH = 3, 6


def known(objects: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Hidden layer, logits, points and class of so many objects: the last class has none."""
    draw = np.random.default_rng(seed)
    n = draw.integers(2, 200, objects)
    label = draw.integers(0, CLASSES - 1, objects)
    mixed = draw.normal(size=(objects, WIDTH)) @ np.random.default_rng(0).normal(size=(6, 6))
    hidden = mixed * np.sqrt(n)[:, None] / 5 + 9 * label[:, None]  # clearer with more points
    logits = draw.normal(size=(objects, CLASSES)) + np.log2(n)[:, None]
    parts = hidden.astype(np.float32), logits.astype(np.float32), n, label
    return tuple(torch.from_numpy(part) for part in parts)


@pytest.fixture(scope="module")
def typical() -> Typical:
    made = Typical(WIDTH, CLASSES, octaves=7)
    hidden, _, _, label = known(20_000, 1)
    made.learn(hidden, label)
    hidden, logits, n, _ = known(20_000, 2)
    made.settle(hidden, logits, n)
    return made


def test_even_for_known_objects_of_any_length_and_high_for_others(typical: Typical) -> None:
    hidden, logits, n, _ = known(5000, 3)
    score = typical(hidden, logits, n)
    for some in (n < 8, n >= 100, n > 0):
        share = np.quantile(score[some], [0.1, 0.5, 0.9])
        np.testing.assert_allclose(share, [0.1, 0.5, 0.9], atol=0.06)
    far = hidden + 20 * torch.tensor([1.0, -1, 1, -1, 1, -1])
    assert typical(far, logits, n).median() > 0.9
    assert typical(hidden, logits - 4, n).median() > 0.75  # of no class is it sure
    few = torch.full_like(n, 3)
    assert typical(hidden[n > 100], logits[n > 100] - 5, few[n > 100]).median() > 0.9


def test_the_distance_is_that_to_the_nearest_class(typical: Typical) -> None:
    """A class of which no object is known is never near."""
    hidden = known(50, 4)[0]
    off = hidden[:, None] - typical.centre[:2]  # (object, class, width)
    wanted = torch.einsum("ocw,wv,ocv->oc", off, typical.inverse, off).amin(1)
    torch.testing.assert_close(typical.strangeness()(hidden, None), wanted, rtol=1e-3, atol=1e-3)
    assert not torch.isfinite(typical.centre[2]).any()


def test_what_was_learned_is_the_file_that_the_card_tells_of(
    typical: Typical, tmp_path: Path
) -> None:
    card = replace(cards.find("crts-rows"), weights=tmp_path / "a.safetensors")
    hashed = unseen.write(typical, card)
    read = unseen.read(replace(card, training={"typical_sha256": hashed}))
    assert read is not None
    hidden, logits, n, _ = known(50, 5)
    assert torch.equal(read(hidden, logits, n), typical(hidden, logits, n))
    with pytest.raises(ValueError, match=r"a\.typical is not the file .* \(sha256 differs\)"):
        unseen.read(replace(card, training={"typical_sha256": "0" * 64}))
    assert unseen.read(replace(card, training={})) is None


KINDS = ("stars of other classes", "transients")
#: Area under the curve, unseen above known.
LEAST = {
    ("crts-rows", 20): (0.52, 0.69),
    ("crts-rows", 100): (0.58, 0.71),
    ("crts-shallow", 20): (0.53, 0.6),
    ("crts-shallow", 100): (0.6, 0.69),
    ("crts-periodic", 20): (0.57, 0.56),
    ("crts-periodic", 100): (0.59, 0.83),
}


@pytest.fixture(scope="module")
def sky(shared_data: Path) -> tuple[Catalogue, ...]:
    """Test stars of the seven classes; Blazhko and delta Scuti stars and Cepheids; and active
    nuclei, dwarf novae, flares, supernovae. 300 of each at most.
    """
    folder = shared_data / "lightcurves"
    south = curve_files.read(folder / "crts_south.npz")
    strange = curve_files.read(folder / "crts_transients.npz")
    label = catalogue.known(south, "crts-south", SEVEN)
    test = np.flatnonzero(splits.test(south.split) & (label >= 0))
    parts = (
        south.take(test[:: len(test) // 300]),
        south.take(np.flatnonzero(label < 0)[::3]),
        strange.take(np.flatnonzero(np.isin(strange.lab, [7, 8, 13, 14, 15]))),
    )
    return tuple(catalogue.of(part, np.zeros(len(part), np.int64)) for part in parts)


@pytest.mark.parametrize("name", ["crts-rows", "crts-shallow", "crts-periodic"])
def test_it_rises_on_classes_that_training_never_saw(sky: tuple[Catalogue, ...], name: str) -> None:
    torch.set_num_threads(1)
    network = forward.prepare(cards.find(name), "cpu", (256,), "fp32")
    for points in (20, 100):
        scores = []
        for curves in sky:
            objects = np.flatnonzero(curves.n >= points)
            n = np.full(len(objects), points)
            parts = evaluate.eaten(network.channel, curves, objects, n)
            scores.append(np.concatenate([network.whole(*each)[:, -1] for each in parts]))
        test, *others = scores
        for kind, least, score in zip(KINDS, LEAST[name, points], others, strict=True):
            unknown = np.repeat([False, True], [len(test), len(score)])
            found = auc(np.append(test, score), unknown)
            print(f"{name}, {points} points, {len(score)} {kind}: AUC {found:.3f}")
            assert found > least

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from broker import sparse
from broker.grids import GRIDS
from broker.records import BLOCK, IMAGE, PRESENCE, REASONS, SURVEYS, Images
from models import feed, forward, network, unseen
from models.cards import Card
from models.classifier import Classifier, device_batches
from models.crts import declare
from models.images import CHANNEL

GRID = GRIDS["fiducial"]


@pytest.fixture(scope="module", params=list(network.NETWORKS))
def card(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Card:
    """A shipped network's card with weights that were never trained."""
    path = tmp_path_factory.mktemp("card") / "blank.toml"
    torch.manual_seed(0)
    net = network.build(request.param, GRID.shape, 7)
    weights = save(net.state_dict())
    path.with_suffix(".safetensors").write_bytes(weights)
    hashed = hashlib.sha256(weights).hexdigest()
    return replace(declare(path, request.param, CHANNEL, min_points=5), weights_sha256=hashed)


def images(card: Card, bands: list[list[int]], seed: int = 0, inside: bool = True) -> Images:
    """Images of ZTF alerts: per image the measurements of each of its bands."""
    draw = np.random.default_rng(seed)
    rows = np.zeros(len(bands), IMAGE)
    rows["survey"] = SURVEYS.index("ztf")
    rows["context"] = np.nan
    rows["context"]["distnr"] = 0.2 if inside else 3.0
    rows["context"]["sgscore1"] = 0.9
    first = np.concatenate([[0], np.cumsum([len(b) for b in bands])]).astype(np.int64)
    blocks = np.zeros(first[-1], BLOCK)
    blocks["channel"] = card.channel.hash
    blocks["n"] = [n for image in bands for n in image]
    heap = np.zeros(int(first[-1]) * GRID.cells * sparse.MOST_BYTES_A_CELL, np.uint8)
    at = 0
    for block in blocks:
        pairs = int(block["n"]) * (int(block["n"]) - 1) // 2
        cells = draw.integers(0, GRID.cells, pairs)
        counts = np.bincount(cells, minlength=GRID.cells).astype(np.int32)
        end = sparse.pack(counts, heap.ctypes.data + at) - heap.ctypes.data
        block["counts"] = (at, end - at)
        at = end
    none = np.zeros(len(bands) + 1, np.int64)
    return Images(rows, np.zeros(0, PRESENCE), none, blocks, first, heap)


def expected(card: Card, batch: Images) -> np.ndarray:
    """One image after the other, in float64, from the definition."""
    net = forward.load_network(card).double()
    answers = []
    for i in range(len(batch)):
        total = np.zeros(7)
        weights = 0
        for block in batch.blocks[batch.first_block[i] : batch.first_block[i + 1]]:
            if block["n"] < card.min_points:
                continue
            counts = np.zeros(GRID.cells, np.int32)
            begin = batch.heap.ctypes.data + int(block["counts"]["start"])
            sparse.unpack(begin, begin + int(block["counts"]["length"]), counts)
            n = torch.tensor([int(block["n"])])
            levels = net.levels(torch.from_numpy(counts[None]), n, GRID.shape)
            log_p = net(levels.double()).log_softmax(1)
            weight = min(int(block["n"]), 50)
            total += weight * log_p[0].detach().numpy()
            weights += weight
        p = np.exp(total / weights)
        answers.append(p / p.sum())
    return np.array(answers)


def test_probabilities_are_those_of_the_definition(card: Card) -> None:
    draw = np.random.default_rng(5)
    batch = images(card, [[*draw.integers(3, 90, 3).tolist(), 30] for _ in range(90)])
    labels = Classifier(card, "cpu", clock=lambda: 77).classify(batch)
    assert (labels.reason == REASONS.index("none")).all()
    assert np.allclose(labels.probabilities, expected(card, batch), rtol=2e-4)
    assert np.allclose(labels.probabilities.sum(1), 1, atol=1e-6)
    assert labels.classified_ms == 77
    assert labels.classifier == "blank 1"
    assert labels.class_ids == (2325, 2325, 2323, 2323, 2323, 2321, 2326)
    assert labels.weights_hash == card.weights_sha256
    assert "grid=fiducial" in labels.params
    assert "precision=fp32" in labels.params
    assert "device=cpu" in labels.params


def test_what_is_not_named_says_why_and_has_no_probabilities(card: Card) -> None:
    batch = images(card, [[9], [4], [], [9], [9]])
    batch.images["context"]["sgscore1"][3] = 0.1
    batch.images["reason"][4] = REASONS.index("solar_system")
    labels = Classifier(card, "cpu", 64).classify(batch)
    words = [REASONS[r] for r in labels.reason]
    assert words == ["none", "too_few_points", "no_photometry", "out_of_domain", "solar_system"]
    assert np.isnan(labels.probabilities[1:]).all()
    assert np.isfinite(labels.probabilities[0]).all()
    assert batch.images["reason"].tolist() == [0, 0, 0, 0, REASONS.index("solar_system")]


def test_probabilities_are_restated_for_other_proportions(card: Card) -> None:
    batch = images(card, [[9], [30, 12], [3]])
    even = replace(card, training={"proportions": [1 / 7] * 7})
    plain = Classifier(even, "cpu").classify(batch)
    prior = dict(zip(reversed(card.classes), range(7, 0, -1), strict=True))
    labels = Classifier(even, "cpu", prior=prior).classify(batch)
    wanted = plain.probabilities * np.arange(1, 8)
    wanted /= wanted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(labels.probabilities, wanted, rtol=1e-5)
    assert np.isnan(labels.probabilities[2]).all()
    assert " assumes=EW:0.03571,EA:0.07143," in labels.params
    assert " assumes=EW:0.1429,EA:0.1429," in plain.params
    silent = Classifier(card, "cpu").classify(batch)
    assert " assumes=unknown " in silent.params


def test_where_so_few_points_were_worth_nothing_there_is_no_name(card: Card) -> None:
    """Decided by the band with most points; how strange the image is it tells all the same."""
    measured = ({"points": 10, "log_loss_gain": -0.1}, {"points": 20, "log_loss_gain": 0.1})
    batch = images(card, [[19], [20], [12, 25], [4]])
    labels = Classifier(replace(card, measured=measured), "cpu", 64).classify(batch)
    assert [REASONS[r] for r in labels.reason] == ["no_gain", "none", "none", "too_few_points"]
    assert np.isnan(labels.probabilities[[0, 3]]).all()
    plain = Classifier(card, "cpu", 64).classify(batch)
    assert [REASONS[r] for r in plain.reason] == ["none", "none", "none", "too_few_points"]
    assert np.array_equal(labels.probabilities[1:3], plain.probabilities[1:3])


def test_each_answer_tells_how_strange_its_image_is(card: Card) -> None:
    """The mean over its bands, also of an answer that is none."""
    draw = np.random.default_rng(3)
    batch = images(card, [[9], [30, 12], [3], *([int(n)] for n in draw.integers(5, 60, 300))])
    counts = np.zeros((len(batch.blocks), GRID.cells), np.int32)
    spans = batch.blocks["counts"]
    feed.scatter(np.arange(len(counts)), spans["start"], spans["length"], batch.heap, counts)
    n = batch.blocks["n"].astype(np.int32)
    net = forward.load_network(card)
    hidden, logits = forward.last_layer(net, card.channel, counts, n)
    typical = unseen.Typical(hidden.shape[1], 7, 3)
    typical.learn(hidden, torch.arange(len(n)) % 7)
    typical.settle(hidden, logits, torch.from_numpy(n))
    hashed = unseen.write(typical, card)
    with_it = replace(
        card,
        training={"typical_sha256": hashed},
        measured=({"points": 10, "log_loss_gain": 0.0}, {"points": 11, "log_loss_gain": 0.1}),
    )
    labels = Classifier(with_it, "cpu").classify(batch)
    score = typical(hidden, logits, torch.from_numpy(n)).numpy()
    assert labels.novelty is not None
    assert REASONS[labels.reason[0]] == "no_gain"
    assert np.isnan(labels.novelty[2])
    np.testing.assert_allclose(labels.novelty[0], score[0], atol=0.01)
    wanted = (30 * score[1] + 12 * score[2]) / 42
    np.testing.assert_allclose(labels.novelty[1], wanted, atol=0.01)
    np.testing.assert_allclose(labels.novelty[3:], score[4:], atol=0.01)
    assert score.std() > 0.2
    without = Classifier(card, "cpu").classify(batch)
    assert without.novelty is not None
    assert np.isnan(without.novelty).all()


def test_no_images_and_none_to_feed(card: Card) -> None:
    classifier = Classifier(card, "cpu", 16)
    assert len(classifier.classify(images(card, []))) == 0
    assert classifier.classify(images(card, [[2]])).probabilities.shape == (1, 7)


def test_an_answer_has_the_same_bits_whatever_its_neighbours(card: Card) -> None:
    """On this backend also whatever the padded shape, as the shapes begin at 16."""
    classifier = Classifier(card, "cpu")
    lengths = np.random.default_rng(6).integers(5, 60, 300)
    batch = images(card, [[int(n)] for n in lengths])
    whole = classifier.classify(batch).probabilities
    for rows in ([0, 299], list(range(40, 60)), list(range(100, 160)), list(range(299, -1, -1))):
        part = Images(
            batch.images[rows],
            batch.presences,
            np.zeros(len(rows) + 1, np.int64),
            batch.blocks[rows],
            np.arange(len(rows) + 1),
            batch.heap,
        )
        assert np.array_equal(classifier.classify(part).probabilities, whole[rows])


@pytest.mark.parametrize("rows", [0, 1, 16, 17, 47, 48, 64, 191, 192, 256, 257, 1000])
@pytest.mark.parametrize("shapes", [(16,), (16, 64), (16, 64, 256)])
def test_device_batches_cover_all_rows_once(rows: int, shapes: tuple[int, ...]) -> None:
    cut = list(device_batches(rows, shapes))
    assert [r for begin, end, _ in cut for r in range(begin, end)] == list(range(rows))
    for begin, end, shape in cut:
        assert shape in shapes
        assert end - begin <= shape
        assert shape == 16 or end - begin >= 0.75 * shape


def test_a_lost_device_is_said_aloud_and_labelling_goes_on(card: Card) -> None:
    class LostLater:
        device, precision = "cuda", "bf16"

        def __init__(self, ready: forward.Forward) -> None:
            self.ready, self.fed = ready, 0

        def whole(self, counts: np.ndarray, n: np.ndarray, beside: None) -> np.ndarray:
            self.fed += 1
            if self.fed > 1:
                msg = "CUDA error: unspecified launch failure"
                raise RuntimeError(msg)
            return self.ready.whole(counts, n, beside)

    def prepare(card, device, *args):
        ready = forward.prepare(card, "cpu", *args)
        return ready if device == "cpu" else LostLater(ready)

    lost: list[str] = []
    classifier = Classifier(card, "cuda", 16, on_device_lost=lost.append, prepare=prepare)
    batch = images(card, [[9 + i] for i in range(40)])
    labels = classifier.classify(batch)
    assert len(lost) == 1
    assert "cuda failed" in lost[0]
    assert "unspecified launch failure" in lost[0]
    assert classifier.device == "cpu"
    whole = Classifier(card, "cpu", 16).classify(batch)
    assert np.array_equal(labels.probabilities, whole.probabilities)
    classifier.classify(batch)
    assert len(lost) == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("broken", RuntimeError),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", MemoryError),
    ],
)
def test_an_error_on_the_cpu_is_not_hidden(card: Card, words: str, error: type[Exception]) -> None:
    """A lack of memory is no image's fault: it must not look like one."""

    def fails(levels):
        raise RuntimeError(words)

    classifier = Classifier(
        card,
        "cpu",
        16,
        prepare=lambda *args: replace(forward.prepare(*args), run=fails),
    )
    with pytest.raises(error, match=words):
        classifier.classify(images(card, [[9]]))


def test_counts_beyond_the_grid_are_refused_with_the_image(card: Card) -> None:
    batch = images(card, [[9], [9], [9]])
    batch.blocks["counts"]["length"][1] -= 1
    with pytest.raises(ValueError, match="image 1 do not fit the grid 'fiducial'"):
        Classifier(card, "cpu", 16).classify(batch)


def test_wrong_settings_say_what_was_expected(card: Card) -> None:
    with pytest.raises(ValueError, match=r"max_batch 100: expected one of \(16, 64, 256\)"):
        Classifier(card, "cpu", 100)
    with pytest.raises(ValueError, match="expected auto, cpu, cuda or cuda:N"):
        Classifier(card, "tpu")
    with pytest.raises(ValueError, match=r"PyTorch finds \d+ CUDA devices"):
        Classifier(card, "cuda:99")


def test_weights_that_the_card_does_not_describe_are_refused(card: Card) -> None:
    with pytest.raises(ValueError, match="sha256 differs"):
        Classifier(replace(card, weights_sha256="0" * 64), "cpu")


def test_fp32_unless_asked_otherwise_on_any_machine(card: Card) -> None:
    """A replay elsewhere, or a second worker, would differ in its bits."""
    assert Classifier(card, "cpu", 16).precision == "fp32"
    coarse = Classifier(card, "cpu", 16, precision="bf16")
    assert "precision=bf16" in coarse.classify(images(card, [[9]])).params

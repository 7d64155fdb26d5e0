"""The studies: their parts by hand, and each of them small, as a process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import nightjar

from broker.grids import GRIDS
from models import catalogue, curve_files
from models.catalogue import SEVEN
from models.studies import (
    exercise,
    exercise_sky,
    paper_networks,
    paper_numbers,
    sets,
    training,
)

#: Class numbers of the seven, by catalogue.
NUMBERS = {"south": (5, 6, 1, 2, 3, 7, 8), "north": (1, 2, 4, 5, 6, 8, 13)}


def stars(path: Path, numbers: tuple[int, ...], each: int = 15, bands: int = 1) -> None:
    """Sines whose amplitude tells their class, with 24 to 40 points."""
    draw = np.random.default_rng(len(str(path.name)))
    lab = np.repeat(numbers, each)
    n = draw.integers(24, 40, len(lab)) * bands
    t = [54_000 + np.sort(draw.uniform(0, 900, k)) for k in n]
    m = [
        15 + 0.05 * 2 ** (i // each) * np.sin(t[i] * 11) + draw.normal(0, 0.02, k)
        for i, k in enumerate(n)
    ]
    np.savez(
        path,
        t=np.concatenate(t),
        m=np.concatenate(m).astype(np.float32),
        e=np.full(n.sum(), 0.02, np.float32),
        b=np.concatenate([np.arange(k) % bands for k in n]).astype(np.uint8),
        off=np.concatenate([[0], np.cumsum(n)]),
        ids=np.arange(len(lab)),
        lab=lab,
    )


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sky")
    for survey, numbers in NUMBERS.items():
        stars(folder / f"crts_{survey}.npz", numbers)
    stars(folder / "crts_nontransients.npz", (0,), 30)
    stars(folder / "s82_rrlyrae.npz", (10, 11), 6, bands=5)
    return folder


def test_the_deep_network_is_the_papers() -> None:
    deep = paper_networks.DeepCNN(GRIDS["fiducial"].shape, 7)
    shapes = [tuple(p.shape) for p in deep.parameters() if p.dim() > 1]
    assert shapes == [
        (64, 1, 3, 3),
        (128, 64, 5, 5),
        (256, 128, 5, 5),
        (512, 256 * 2 * 2),
        (512, 512),
        (7, 512),
    ]
    assert deep(torch.zeros(2, 1, 22, 23)).shape == (2, 7)
    with pytest.raises(ValueError, match="needs 20 x 20 pixels, the grid has 22 x 15"):
        paper_networks.DeepCNN(GRIDS["new3"].shape, 7)


def test_the_judge_chooses_the_epoch() -> None:
    images, label = torch.rand(40, 1, 24, 23), np.arange(40) % 2
    marks = iter([0.1, 0.7, 0.7, 0.3])
    nets = []

    def judge(net: torch.nn.Module) -> float:
        nets.append({k: v.clone() for k, v in net.state_dict().items()})
        return next(marks)

    grid = GRIDS["exercise"]
    recipe = training.Recipe(4, 1e-2, 16)
    trained = training.fit(lambda: exercise.SmallCNN(grid), images, label, recipe, judge)
    assert trained.epoch == 3
    assert trained.judged == [0.1, 0.7, 0.7, 0.3]
    for name, weight in trained.net.state_dict().items():
        assert torch.equal(weight, nets[2][name])


def test_the_norths_weights_are_its_proportions(sky: Path) -> None:
    north, south = sets.north(sky), sets.south(sky)
    assert (south.weight == 1).all()
    here = np.bincount(north.label, north.weight[north.label])
    assert here / here.sum() == pytest.approx(np.array(sets.NORTH_STARS) / sum(sets.NORTH_STARS))
    assert north.weight[north.label].mean() == pytest.approx(1)
    assert [SEVEN[c] for c in north.label[::15]] == list(SEVEN)


def test_images_are_the_papers(sky: Path) -> None:
    stars = sets.south(sky)
    images = stars.images()
    assert images.shape == (105, 1, 22, 23)
    n = int(stars.curves.n[3])
    counts = stars.curves.counts(GRIDS["fiducial"])[3]
    expected = np.floor(255 * counts / (n * (n - 1) / 2) + 0.99999)
    assert images[3].flatten().tolist() == expected.tolist()


def test_one_set_for_each_band(sky: Path) -> None:
    bands = sets.bands(sky / "s82_rrlyrae.npz", "gr")
    assert set(bands) == {"g", "r"}
    file = curve_files.read(sky / "s82_rrlyrae.npz")
    g = catalogue.of(file.band(1), catalogue.known(file, "transients", SEVEN))
    assert bands["g"].curves.time.tolist() == g.time.tolist()
    assert set(bands["g"].label.tolist()) == {2, 3}


def test_the_toys_are_the_exercises() -> None:
    toys = exercise_sky.draw(300, np.random.default_rng(0), noise=0)
    sine, dips = (toys.take(toys.label == k) for k in (0, 1))
    assert toys.time.shape == (600, 60)
    assert toys.time.min() >= 0
    assert toys.time.max() <= 30
    assert 0.2 <= sine.period.min() < sine.period.max() <= 1.0
    assert 0.4 <= dips.period.min() < dips.period.max() <= 1.5
    assert np.abs(sine.magnitude).max(axis=1) == pytest.approx(sine.amplitude, rel=0.05)
    assert dips.magnitude.max() == pytest.approx(0, abs=1e-6)
    phase = dips.time / dips.period[:, None] % 1
    assert np.median(dips.magnitude[(phase > 0.25) & (phase < 0.4)]) == pytest.approx(0, abs=0.02)
    assert np.median(dips.magnitude[phase < 0.02]) < -0.6
    images = toys.images(exercise.GRID)
    assert images.shape == (600, 24, 23)
    assert (images.max(axis=(1, 2)) == 1).all()
    half = exercise.halved(exercise.GRID)
    assert half.shape == (12, 11)
    np.testing.assert_array_equal(half.dm_edges, exercise.GRID.dm_edges[::2])
    assert half.dt_edges[[0, -1]].tolist() == [10_000, 30_000_000]


def test_the_papers_numbers_have_all_pairs() -> None:
    assert len(paper_numbers.PAIRS) == len(paper_numbers.TRANSFER_PAIRS) == 21
    assert list(paper_numbers.NUMBERS.values()) == list(SEVEN)


def test_the_exercise_as_a_command(tmp_path: Path) -> None:
    done = nightjar("study", "exercise", "--quick", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("Three right, three wrong", "12 x 11", "logistic regression", "2.50", "cluster"):
        assert words in done.stdout, words
    text = (tmp_path / "study" / "exercise.html").read_text()
    assert text.count('Plotly.newPlot("figure') == 1 + 2 * 6 + 1 + 2


def test_the_paper_as_a_command(sky: Path, tmp_path: Path) -> None:
    words = ("study", "paper", "--data", str(sky), "--quick")
    done = nightjar(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = sorted(p.name for p in (tmp_path / "study" / "quick").iterdir())
    assert "seven.north.deep.json" in kept
    assert "background.south.true.json" in kept
    seven = json.loads((tmp_path / "study" / "quick" / "seven.north.shallow.json").read_text())
    assert {"CRTS-N", "CRTS-S", "SDSS g", "SDSS r"} <= set(seven["result"]["tests"])
    for words_in in ("table II", "table III", "table IV", "table V", "83.3", "99.1", "69.5"):
        assert words_in in done.stdout, words_in
    assert "seven/south/shallow" in done.stderr
    again = nightjar(*words, "seven/*", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""  # nothing is computed twice

    for name in ("paper", "transients"):
        done = nightjar("study", name, cwd=tmp_path)
        assert done.returncode == 2
        assert "expected --data" in done.stderr

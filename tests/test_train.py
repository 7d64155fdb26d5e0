from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from commands import nightjar

from models import cards, forward, images, train
from models.catalogue import CLASSES
from models.training import Epoch
from workers.commands import making


def sky(folder: Path, objects: int = 420, seed: int = 3) -> None:
    """Stars whose class is told by amplitude: an easy catalogue."""
    draw = np.random.default_rng(seed)
    numbers = list(CLASSES)
    lab = np.arange(objects) % 2 * 3  # EW or RRc, by place in CLASSES
    t, m, lengths = [], [], []
    for i in range(objects):
        n = int(draw.integers(30, 60))
        time = np.sort(draw.uniform(0, 300, n))
        t.append(54_000 + time)
        m.append(15 + (2.0 if lab[i] else 0.05) * np.sin(time * 11) + draw.normal(0, 0.02, n))
        lengths.append(n)
    np.savez(
        folder / "crts_south.npz",
        t=np.concatenate(t),
        m=np.concatenate(m),
        off=np.concatenate([[0], np.cumsum(lengths)]),
        ids=np.arange(objects),
        lab=np.array([numbers[k] for k in lab]),
        period=np.full(objects, 2 * np.pi / 11),
    )


@pytest.mark.parametrize(("name", "epochs"), [("crts-rows", 40), ("crts-shallow", 15)])
def test_training_learns_writes_a_card_and_repeats(tmp_path: Path, name: str, epochs: int) -> None:
    """An epoch is few steps here, and the mean of the weights moves slowly."""
    sky(tmp_path)
    told: list[Epoch] = []
    card = train.train(tmp_path, tmp_path / "a", name, epochs, 1, "cpu", told.append)
    assert [e.number for e in told] == list(range(1, epochs + 1))
    assert told[-1].validation_accuracy > 0.8
    assert told[-1].validation_loss < told[0].validation_loss
    assert card.measured[0]["accuracy"] > 0.9

    read = cards.read(tmp_path / "a" / f"{name}.toml")
    assert read.weights_sha256 == card.weights_sha256
    assert read.inputs == card.inputs
    assert read.domain == card.domain
    assert read.training["best_epoch"] == max(e.number for e in told if e.best)

    again = train.train(tmp_path, tmp_path / "b", name, 2, 1, "cpu")
    twin = train.train(tmp_path, tmp_path / "c", name, 2, 1, "cpu")
    other = train.train(tmp_path, tmp_path / "d", name, 2, 2, "cpu")
    assert again.weights_sha256 == twin.weights_sha256 != other.weights_sha256
    share = np.array(again.training["proportions"])  # of one star more of each
    np.testing.assert_allclose(share[[0, 3]], 0.5, atol=0.1)
    assert ((share > 0) & (share < 0.6)).all()
    assert again.files[1].read_bytes() == twin.files[1].read_bytes()


def test_what_is_typical_is_learned_without_training(tmp_path: Path) -> None:
    """To the same bytes as with it, and the weights stay."""
    sky(tmp_path)
    card = train.train(tmp_path, tmp_path / "a", "crts-rows", 1, 1, "cpu")
    path, typical = tmp_path / "a" / "crts-rows.toml", card.files[1].read_bytes()
    card.files[1].unlink()
    path.write_text(cards.dump(replace(card, training={"note": "kept"})))
    done = nightjar("train", str(tmp_path), "--out", "a", "--seed", "1", "--typical", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    read = cards.read(path)
    assert read.training == {"note": "kept", "typical_sha256": card.training["typical_sha256"]}
    assert read.files[1].read_bytes() == typical
    forward.load_network(read)


def test_a_network_without_a_recipe_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="there are: crts-rows, crts-shallow, crts-periodic"):
        train.train(tmp_path, tmp_path, "crts-deep")


def test_the_command_knows_every_network() -> None:
    assert get_args(get_type_hints(making.train)["name"]) == tuple(train.NETWORKS)


def test_the_step_warms_up_and_falls_to_nothing() -> None:
    rows, shallow = images.ROWS, images.SHALLOW
    assert [rows.factor(done) for done in (0, 0.04, 0.08, 0.54)] == pytest.approx([0, 0.5, 1, 0.5])
    assert rows.factor(1) == pytest.approx(0)
    assert {shallow.factor(done) for done in (0, 0.5, 1)} == {1.0}

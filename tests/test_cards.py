from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from broker.records import SURVEYS
from broker.taxonomy import DESC, IDS
from models import cards

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("card", cards.shipped(), ids=lambda card: card.name)
def test_a_shipped_card_is_whole(card: cards.Card) -> None:
    assert hashlib.sha256(card.weights.read_bytes()).hexdigest() == card.weights_sha256
    assert card.class_ids == tuple(IDS[name] for name in card.classes)
    assert set(card.class_ids) <= set(DESC)
    assert card.measured[0]["points"] == 0
    assert card.training["seed"] == 0
    assert card.conditional_on
    assert set(card.domain) <= set(SURVEYS)
    assert card.domain
    assert all(file.stat().st_size < 150_000 for file in card.files[1:])
    assert len(card.files) == (1 if card.network == "transient" else 2)
    assert cards.find(card.name) == card


def test_the_papers_network_is_shipped() -> None:
    card = cards.find("crts-shallow")
    assert card.classifier == "crts-shallow 1"
    assert card.classes == ("EW", "EA", "RRab", "RRc", "RRd", "rotating", "LPV")
    assert (card.channel.grid, card.channel.photometry) == ("fiducial", "total")
    assert card.channel.kinds == ("detection", "forced")
    assert card.min_points == 5
    assert card.measured[0]["accuracy"] >= 0.745


def test_the_streams_network_names_better_than_the_papers() -> None:
    """Of the same input; where curves are short and sparse, within the error of the sample."""
    ours, paper = cards.find("crts-rows"), cards.find("crts-shallow")
    assert ours.inputs == paper.inputs
    assert ours.classes == paper.classes
    for mine, theirs in zip(ours.measured, paper.measured, strict=True):
        for key in ("points", "nightly", "objects"):
            assert mine[key] == theirs[key]
        assert mine["accuracy"] > theirs["accuracy"] - 0.01
        assert mine["ece"] < 0.03
    assert ours.measured[0]["accuracy"] > paper.measured[0]["accuracy"] + 0.02
    assert ours.measured[0]["balanced"] > paper.measured[0]["balanced"] + 0.02


def test_cards_are_read_without_torch() -> None:
    code = (
        "import sys; from models import cards; cards.find('crts-shallow'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    card = cards.find("crts-shallow")
    path = tmp_path / "twin.toml"
    strange = 'a "quoted" \\ word'
    path.write_text(cards.dump(replace(card, conditional_on=strange)))
    read = cards.read(path)
    assert read.name == "twin"
    assert read.weights == tmp_path / "twin.safetensors"
    assert replace(read, name=card.name, weights=card.weights) == replace(
        card, conditional_on=strange
    )


def test_a_card_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "twin.toml"
    path.write_text(cards.dump(cards.find("crts-shallow")))
    assert cards.find(str(path)).name == "twin"


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(
        LookupError, match="'crts-deep'; there are: crts-periodic, crts-rows, crts-shallow"
    ):
        cards.find("crts-deep")


@pytest.mark.parametrize(
    ("gains", "begin"),
    [
        ([(5, 0.1), (10, 0.2)], 0),
        ([(5, -0.1), (10, 0.2)], 10),
        ([(5, 0.1), (10, 0.0), (20, 0.2)], 20),  # what stands below is not trusted either
        ([(5, 0.1), (5, -0.1), (10, 0.2)], 10),  # of another survey
        ([(5, -0.1), (10, -0.2)], 11),
        ([(0, -0.1), (5, 0.1)], 0),  # whole curves are of no number
        ([(5, None), (10, None)], 0),  # measured before gains were
    ],
)
def test_a_network_says_something_from_where_it_gained(
    gains: list[tuple[int, float | None]], begin: int
) -> None:
    measured = [
        {"points": points} | ({} if gain is None else {"log_loss_gain": gain})
        for points, gain in gains
    ]
    assert replace(cards.find("crts-rows"), measured=measured).says_from == begin


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('version = "1"\n', "", "lacks 'version'"),
        ('grid = "fiducial"', 'grid = "fidducial"', "no grid is called 'fidducial'"),
        ("min_points = 5", "min_points = 1", "at least two points"),
        ('field = "distnr"', 'field = "dist"', "asks for 'dist'"),
        ("below = 1.4", "under = 1.4", "under"),
        (
            "proportions = [0.5",
            "proportions = [0.7",
            "training.proportions are shares, one of each",
        ),
    ],
)
def test_a_broken_card_says_what_is_wrong(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = cards.dump(cards.find("crts-shallow"))
    assert old in text
    path = tmp_path / "broken.toml"
    path.write_text(text.replace(old, new))
    tomllib.loads(path.read_text())
    with pytest.raises(ValueError, match=words) as error:
        cards.read(path)
    assert "broken.toml" in str(error.value)

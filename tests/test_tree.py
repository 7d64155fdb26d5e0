"""A tree of the networks that ship labels as one: what a class has, its branch shares out."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fastavro
import numpy as np
import pytest
from numpy.typing import NDArray

from broker import wire
from broker.curves import Curves
from broker.decode import Decoder
from broker.inputs import Inputs
from broker.labels import write_labels
from broker.packets import Shares, Simulation
from broker.records import REASONS, SURVEYS, Images, Labels, Packets
from broker.store import MemoryStore
from broker.taxonomy import NOT_CLASSIFIED
from models import cards, tree_cards
from models.cards import Card
from models.prior import proportions, restated
from models.tree import Tree
from models.tree_cards import Limb, TreeCard
from workers import classifiers
from workers.assembly import made
from workers.errors import Misused
from workers.settings import Classify, Settings

ROOT = Path(__file__).parents[1]
MIX = {"RRab": 0.3, "EW": 0.2, "SN Ia": 0.2, "SN II": 0.1, "AGN": 0.1, "CV": 0.1}


def shipped() -> TreeCard:
    card = tree_cards.find("sky")
    assert isinstance(card, TreeCard)
    return card


SKY = shipped()
#: A limb, one of its classes that branches, and the network which that goes on to.
LIMB = SKY.limbs["ztf"]
CLASS, BRANCH = next(iter(LIMB.branches.items()))


def labelling(card: Card | TreeCard, *prior: str) -> object:
    """A card's classifier with a prior, as `classify.prior` gives it."""
    settings = Settings(classify=Classify(models=(card.name,), prior=prior, device="cpu"))
    return made(settings, card)


def tree(card: TreeCard = SKY, *prior: str) -> Tree:
    found = labelling(card, *prior)
    assert isinstance(found, Tree)
    return found


def alone(card: Card, images: Images, *prior: str) -> Labels:
    """What one of the networks says by itself."""
    assumed = [f"{card.name}.{name}={share}" for name, share in SKY.prior.items()]
    prior = prior or (tuple(assumed) if set(SKY.prior) == set(card.classes) else ())
    return labelling(card, *prior).classify(images)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def images() -> Images:
    """Two surveys' alerts in one batch, in turn, moving and bogus ones among them."""
    shares = Shares(0.03, 0.03, 0, 0, 0)
    nights = [
        [value for value, _, _ in Simulation(survey, *sizes, 5, False, shares, mix=MIX).packets()]
        for survey, sizes in (("ztf", (40, 50)), ("lsst", (30, 30)))
    ]
    values = [value for pair in zip(*nights, strict=False) for value in pair]
    place = np.zeros(len(values), np.int32), np.arange(len(values)), np.zeros(len(values), np.int64)
    detections, dead = Decoder().decode(Packets(values, "night", *place))
    assert not dead
    found = Curves(SKY.inputs, MemoryStore()).add(detections).images
    assert Counter(found.images["survey"].tolist()).keys() == {0, 1}
    return found


@pytest.fixture(scope="module")
def labels(images: Images) -> Labels:
    return tree().classify(images)


@pytest.fixture(scope="module")
def said(images: Images) -> dict[str, Labels]:
    """Of each network alone."""
    return {card.name: alone(card, images) for card in SKY.networks}


def part(images: Images, rows: list[int]) -> Images:
    """Some of the images, in this order."""
    first = images.first_block
    blocks = [images.blocks[first[i] : first[i + 1]] for i in rows]
    ends = np.cumsum([0, *map(len, blocks)])
    none = np.zeros(len(rows) + 1, np.int64)
    every = np.concatenate(blocks) if blocks else images.blocks[:0]
    return Images(images.images[rows], images.presences, none, every, ends, images.heap)


def named(labels: Labels, row: int) -> dict[str, float]:
    return dict(zip(labels.classes, labels.probabilities[row].tolist(), strict=True))


def expected(card: TreeCard, said: dict[str, Labels], survey: str, row: int) -> dict[str, float]:
    """One alert after the other, by names, from the definition."""
    limb, found = card.limbs[survey], dict.fromkeys(card.classes, 0.0)
    for name, share in named(said[limb.root.name], row).items():
        branch = limb.branches.get(name)
        if branch is None or said[branch.name].reason[row]:
            found[name] += share
        else:
            for leaf, p in named(said[branch.name], row).items():
                found[leaf] += share * p
    return found


def test_leaves_have_products_and_what_nobody_shares_out_stays(
    images: Images, labels: Labels, said: dict[str, Labels]
) -> None:
    met: Counter[tuple[str, str, bool]] = Counter()
    for row in np.flatnonzero(labels.reason == 0).tolist():
        survey = SURVEYS[images.images["survey"][row]]
        wanted = expected(SKY, said, survey, row)
        assert named(labels, row) == pytest.approx(wanted, abs=1e-6)
        for name, branch in SKY.limbs[survey].branches.items():
            spoke = said[branch.name].reason[row] == 0
            met[survey, branch.name, bool(spoke)] += 1
            assert (named(labels, row)[name] == 0) == spoke
    seen = ("ztf", "lsst")
    some = {(survey, c.name) for survey in seen for c in SKY.limbs[survey].branches.values()}
    assert {(survey, name) for survey, name, spoke in met if spoke} == some
    assert {(survey, name) for survey, name, spoke in met if not spoke} == some
    rows = labels.probabilities[labels.reason == 0]
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    assert labels.classes[: len(SKY.root.classes)] == SKY.root.classes
    assert len(set(labels.classes)) == len(labels.classes) == labels.probabilities.shape[1]


def test_the_root_says_why_there_is_no_name(
    images: Images, labels: Labels, said: dict[str, Labels]
) -> None:
    reasons = set()
    for row, survey in enumerate(images.images["survey"].tolist()):
        root = said[SKY.limbs[SURVEYS[survey]].root.name]
        assert labels.reason[row] == root.reason[row]
        assert np.isnan(labels.probabilities[row]).all() == (root.reason[row] > 0)
        reasons.add(REASONS[labels.reason[row]])
    assert reasons >= {"none", "too_few_points", "solar_system"}


def test_a_branch_alone_makes_no_name(images: Images, said: dict[str, Labels]) -> None:
    """Where the root has too few points, or cannot see any, what a branch knows is not told."""
    limb = replace(LIMB, root=replace(LIMB.root, min_points=12))
    card = replace(SKY, limbs={"ztf": limb})
    labels = tree(card).classify(images)
    of_ztf = images.images["survey"] == SURVEYS.index("ztf")
    few = labels.reason == REASONS.index("too_few_points")
    assert (few & of_ztf & (said[BRANCH.name].reason == 0)).any()
    assert np.isnan(labels.probabilities[few]).all()
    # Not the tree's survey.
    others = labels.reason[~of_ztf & (images.images["reason"] == 0)]
    assert len(others)
    assert (others == REASONS.index("out_of_domain")).all()
    blind = part(images, np.flatnonzero(of_ztf).tolist())
    blind.blocks["n"][blind.blocks["channel"] == LIMB.root.channel.hash] = 0
    labels = tree().classify(blind)
    assert (alone(BRANCH, blind).reason == 0).any()
    open_ = labels.reason[blind.images["reason"] == 0]
    assert (open_ == REASONS.index("no_photometry")).all()


def test_what_is_taken_back_or_moves_is_not_looked_at(images: Images) -> None:
    given = part(images, list(range(60)))
    given.images["reason"][::3] = REASONS.index("withdrawn")
    given.images["reason"][1::3] = REASONS.index("solar_system")
    before = given.images["reason"].tolist()
    labels = tree().classify(given)
    assert (labels.reason[::3] == REASONS.index("withdrawn")).all()
    assert (labels.reason[1::3] == REASONS.index("solar_system")).all()
    assert np.isnan(labels.probabilities[::3]).all()
    assert (labels.reason[2::3] == 0).any()
    assert given.images["reason"].tolist() == before


def test_a_branch_without_gain_leaves_its_share(images: Images, labels: Labels) -> None:
    """All of it, and then the name is the class at the root."""
    silent = replace(BRANCH, measured=({"points": 10_000, "log_loss_gain": -0.1},))
    limb = replace(LIMB, branches={**LIMB.branches, CLASS: silent})
    without = tree(replace(SKY, limbs={"ztf": limb})).classify(images)
    rows = (images.images["survey"] == 0) & (labels.reason == 0)
    assert rows.sum() > 100
    column = labels.classes.index
    leaves = [column(name) for name in BRANCH.classes]
    shared = labels.probabilities[:, [column(CLASS), *leaves]].sum(axis=1)
    stayed = without.probabilities[:, without.classes.index(CLASS)]
    np.testing.assert_allclose(stayed[rows], shared[rows], atol=1e-6)
    leaves = [without.classes.index(name) for name in BRANCH.classes]
    assert not without.probabilities[rows][:, leaves].any()


def test_novelty_is_that_of_the_network_that_names(
    images: Images, labels: Labels, said: dict[str, Labels]
) -> None:
    assert labels.novelty is not None
    known = 0
    for row, survey in enumerate(images.images["survey"].tolist()):
        limb = SKY.limbs[SURVEYS[survey]]
        says = said[limb.root.name]
        if says.reason[row] == 0:
            first = limb.branches.get(says.classes[says.probabilities[row].argmax()])
            if first is not None and said[first.name].reason[row] == 0:
                says = said[first.name]
        assert says.novelty is not None
        np.testing.assert_array_equal(labels.novelty[row], says.novelty[row])
        known += bool(np.isfinite(labels.novelty[row]))
    assert known > 100


def test_an_answer_has_the_same_bits_whatever_its_neighbours(
    images: Images, labels: Labels
) -> None:
    classifier, n = tree(), len(images)
    mine = [np.flatnonzero(images.images["survey"] == k).tolist() for k in (0, 1)]
    for rows in ([0], mine[0][:20], mine[1][:70], list(range(n - 1, -1, -1)), []):
        found = classifier.classify(part(images, rows))
        assert np.array_equal(found.probabilities, labels.probabilities[rows], equal_nan=True)
        assert np.array_equal(found.novelty, labels.novelty[rows], equal_nan=True)  # type: ignore
        assert np.array_equal(found.reason, labels.reason[rows])
        assert (found.params, found.classes) == (labels.params, labels.classes)


def test_through_the_wire_and_again_the_labels_are_the_same(images: Images, labels: Labels) -> None:
    read, _ = wire.read_images(wire.write_images(images))
    again = replace(tree().classify(read), classified_ms=labels.classified_ms)
    assert write_labels(again) == write_labels(labels)


def test_descs_list_names_all_and_children_add_up(
    labels: Labels, said: dict[str, Labels], images: Images
) -> None:
    """Whether a branch spoke or not, a class and what grows from it have its share together."""
    roots = tree_cards.roots(SKY)
    assert set(roots) == set(SKY.classes)
    assert set(roots.values()) == set(SKY.root.classes)
    for row, value in enumerate(write_labels(labels)):
        (label,) = fastavro.reader(io.BytesIO(value))
        desc = {c["classId"]: c["probability"] for c in label["classifications"]}
        if label["reason"] != "none":
            assert desc == {NOT_CLASSIFIED: 1.0}
            continue
        assert label["conditional_on"] == SKY.root.conditional_on
        assert sum(desc.values()) == pytest.approx(1, abs=1e-6)
        assert set(desc) == set(SKY.class_ids)
        ours = {c["name"]: c["probability"] for c in label["classes"]}
        for number, p in desc.items():
            own = sum(ours[n] for n, i in SKY.ids.items() if i == number)
            assert p == pytest.approx(own, abs=1e-6)
        root = named(said[SKY.limbs[label["survey"]].root.name], row)
        for name, share in root.items():
            below = sum(ours[n] for n, of in roots.items() if of == name)
            assert below == pytest.approx(share, abs=1e-6)
            ids = {SKY.ids[n] for n, of in roots.items() if of == name}
            if not ids & {SKY.ids[n] for n, of in roots.items() if of != name}:
                assert sum(desc[i] for i in ids) == pytest.approx(share, abs=1e-6)


def test_a_prior_is_of_the_root_or_of_a_network(
    images: Images, labels: Labels, said: dict[str, Labels]
) -> None:
    shares = {name: k + 1.0 for k, name in enumerate(SKY.root.classes)}
    words = [f"sky.{name}={share}" for name, share in shares.items()]
    inner = {name: k + 1.0 for k, name in enumerate(BRANCH.classes)}
    words += [f"{BRANCH.name}.{name}={share}" for name, share in inner.items()]
    found = tree(SKY, *words).classify(images)
    other = dict(said)
    for card, its in ((BRANCH, inner), *((limb.root, shares) for limb in SKY.limbs.values())):
        assumed = {} if card is BRANCH else SKY.prior
        given = proportions(card, assumed), proportions(card, its)
        p = restated(said[card.name].probabilities, *given)
        other[card.name] = replace(said[card.name], probabilities=p)
    for row in np.flatnonzero(found.reason == 0).tolist():
        wanted = expected(SKY, other, SURVEYS[images.images["survey"][row]], row)
        assert named(found, row) == pytest.approx(wanted, abs=1e-5)
    both = (found.reason == 0) & (labels.reason == 0)
    assert np.abs(found.probabilities - labels.probabilities)[both].max() > 0.1
    total = sum(shares.values())
    at_root = ",".join(f"{name}:{share / total:.4g}" for name, share in shares.items())
    assert f" assumes={at_root} " in found.params
    total = sum(inner.values())
    assert f" {BRANCH.name}.assumes={BRANCH.classes[0]}:{1 / total:.4g}," in found.params
    # The root's own name goes before the tree's, and is of one survey.
    backward = dict(zip(SKY.root.classes, reversed(shares.values()), strict=True))
    more = [*words, *(f"{LIMB.root.name}.{name}={p}" for name, p in backward.items())]
    two = tree(SKY, *more).classify(images)
    assert f" ztf.assumes={LIMB.root.classes[0]}:" in two.params
    assert f" lsst.assumes={at_root} " in two.params
    of_ztf = images.images["survey"] == 0
    changed = (two.probabilities != found.probabilities).any(axis=1) & both
    assert changed[of_ztf & both].any()
    assert not changed[~of_ztf].any()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sky.EW=1",), r"sky takes one of the classes at its root: .* expected each of {root}"),
        (("sky.{first}=1",), r"speaks of {first}; expected each of {root}"),
        (("crts-rows.EW=1",), r"is of no network here; there are sky, gate-ztf, crts-periodic, "),
        (("crts-periodic.{first}=1",), "crts-periodic speaks of {first}; expected each of EW"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused(words: tuple[str, ...], told: str) -> None:
    names = {"first": SKY.root.classes[0], "root": ", ".join(SKY.root.classes)}
    words = tuple(word.format(**names) for word in words)
    with pytest.raises(Misused, match=told.format(**names)):
        classifiers.of(Settings(classify=Classify(("sky",), prior=words)))


def test_the_card_tells_by_what_it_labels(labels: Labels, tmp_path: Path) -> None:
    assert labels.classifier == "sky 1"
    assert labels.weights_hash == SKY.weights_sha256
    assert labels.grid_hash == str(SKY.inputs.hash)
    assert labels.params.startswith("network=tree ztf=gate-ztf(")
    assert labels.params.endswith(" device=cpu precision=fp32")
    every = [c for c in cards.shipped() if c.name in {n.name for n in SKY.networks}]
    assert len(every) == len(SKY.networks) == 5
    assert Inputs.union(c.inputs for c in every) == SKY.inputs
    assert tree_cards.find("sky") in tree_cards.shipped()
    assert {c.name for c in tree_cards.shipped()} - {c.name for c in cards.shipped()} == {"sky"}
    # Another network's weights, or another word in the file: another hash.
    limb = replace(LIMB, root=replace(LIMB.root, weights_sha256="0" * 64))
    assert replace(SKY, limbs={**SKY.limbs, "ztf": limb}).weights_sha256 != SKY.weights_sha256
    path = tmp_path / "sky.toml"
    shutil.copyfile(SKY.weights, path)
    assert tree_cards.read(path).weights_sha256 == SKY.weights_sha256
    path.write_text(path.read_text() + "# changed\n")
    assert tree_cards.read(path).weights_sha256 != SKY.weights_sha256
    code = (
        "import sys; from models import tree_cards; tree_cards.find('sky'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_network_is_named_by_its_path_from_the_trees_file(tmp_path: Path) -> None:
    own = replace(BRANCH, version="7")
    (tmp_path / "own.toml").write_text(cards.dump(own))
    for file in BRANCH.files:
        shutil.copyfile(file, tmp_path / f"own{file.suffix}")
    text = SKY.weights.read_text().replace(f'"{BRANCH.name}"', '"own.toml"')
    (tmp_path / "mine.toml").write_text(text)
    card = tree_cards.find(str(tmp_path / "mine.toml"))
    assert isinstance(card, TreeCard)
    assert card.limbs["ztf"].branches[CLASS].classifier == "own 7"
    assert card.classifier == "mine 1"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('version = "1"\n', "", "the card lacks 'version'"),
        ('root = "gate-ztf"\n', "", "the card lacks 'root'"),
        ('"gate-ztf"', '"gate-sdss"', "no network is called 'gate-sdss'; there are: crts-periodic"),
        ('"gate-ztf"', '"sky"', "sky.toml: a tree of networks; expected the card of one"),
        (
            f"{CLASS} = ",
            "star = ",
            "branches off 'star', which is no class of gate-ztf; there are: ",
        ),
        ('"gate-ztf"', '"gate-lsst"', "ztf: gate-lsst says nothing of it, only of lsst"),
        ('"transients-ztf"', '"transients-lsst"', "transients-lsst says nothing of it, only of"),
        ("[ztf]", "[sdss]", "'sdss' is no survey; there are: ztf, lsst, elasticc"),
        ('licence = "MIT"', 'licence = "MIT"\nword = 3', "'word' is no survey"),
        ('root = "gate-ztf"\nbranches', 'root = "crts-periodic"\nbranches', "is no class of crts"),
    ],
)
def test_a_wrong_card_says_what_is_wrong(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = SKY.weights.read_text()
    assert old in text
    path = tmp_path / "broken.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=told) as error:
        tree_cards.read(path)
    assert "broken.toml" in str(error.value)


def test_roots_and_ids_must_agree() -> None:
    lsst = SKY.limbs["lsst"]
    for root in (
        replace(lsst.root, classes=("star", *lsst.root.classes[1:])),
        replace(lsst.root, conditional_on="a star"),
    ):
        with pytest.raises(ValueError, match="the roots differ: gate-ztf names"):
            tree_cards._agree({**SKY.limbs, "lsst": Limb(root, {})})
    other = replace(BRANCH, class_ids=(1000, *BRANCH.class_ids[1:]))
    limb = Limb(lsst.root, {CLASS: other})
    with pytest.raises(ValueError, match=f"{BRANCH.classes[0]!r} is .* to {BRANCH.name} and 1000"):
        tree_cards._agree({"ztf": LIMB, "lsst": limb})
    with pytest.raises(ValueError, match="a tree of no survey"):
        tree_cards._agree({})


def test_a_name_of_two_branches_has_both_shares(images: Images) -> None:
    """Two classes that go on to one network: each leaf has what both give it."""
    limb = Limb(LIMB.root, dict.fromkeys(LIMB.root.classes, BRANCH))
    labels = tree(replace(SKY, limbs={"ztf": limb})).classify(images)
    spoke = (labels.reason == 0) & (alone(BRANCH, images).reason == 0)
    alike: NDArray[np.float32] = alone(BRANCH, images).probabilities[spoke]
    columns = [labels.classes.index(name) for name in BRANCH.classes]
    np.testing.assert_allclose(labels.probabilities[spoke][:, columns], alike, atol=1e-6)
    assert spoke.any()


def test_networks_are_asked_only_what_counts(images: Images, labels: Labels) -> None:
    """A root of its own survey, a branch of what the root named: the rest would be in vain."""
    asked: dict[str, set[int]] = {}

    class Watched:
        def __init__(self, card: Card) -> None:
            self.card, self.network = card, tree()._of[card.name]
            self.assumes, self.device = self.network.assumes, self.network.device
            self.precision = self.network.precision

        def classify(self, some: Images) -> Labels:
            open_ = np.flatnonzero(some.images["reason"] == 0).tolist()
            asked.setdefault(self.card.name, set()).update(open_)
            return self.network.classify(some)

    watched = {card.name: Watched(card) for card in SKY.networks}
    found = Tree(SKY, watched).classify(images)  # type: ignore[arg-type]
    assert np.array_equal(found.probabilities, labels.probabilities, equal_nan=True)
    for survey in ("ztf", "lsst"):
        limb, here = SKY.limbs[survey], images.images["survey"] == SURVEYS.index(survey)
        of_root = here & (images.images["reason"] == 0)
        assert asked[limb.root.name] == set(np.flatnonzero(of_root).tolist())
        named_here = set(np.flatnonzero(here & (labels.reason == 0)).tolist())
        for branch in limb.branches.values():
            assert asked[branch.name] >= named_here
            assert not asked[branch.name] & set(np.flatnonzero(labels.reason).tolist())

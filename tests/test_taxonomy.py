"""The tree of kinds: DESC's numbers, and children that add up to their parents on every card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import nightjar

from broker.taxonomy import DESC, IDS, NOT_CLASSIFIED, RESIDUAL, TREE, below, lineage, read
from models import tree_cards
from workers import cli
from workers.labels import Wanted, share


def test_every_kind_we_name_has_an_id_of_the_taxonomy() -> None:
    assert set(IDS.values()) <= set(DESC)
    assert DESC[RESIDUAL] == "Residual"
    assert DESC[NOT_CLASSIFIED] == "NotClassified"


def test_every_class_has_its_parents() -> None:
    """Each digit is one level: 2222 lies in 2220, 2200 and 2000."""
    for number, name in DESC.items():
        above = {TREE[node].id for node in lineage(name)}
        assert 0 in above
        if number >= 1000:
            assert {number // 10 * 10, number // 100 * 100, number // 1000 * 1000} <= above


@pytest.mark.parametrize("card", tree_cards.shipped(), ids=lambda card: card.name)
def test_children_add_up_on_every_card(card: tree_cards.AnyCard) -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(len(card.classes))).tolist()
    said = dict(zip(card.classes, p, strict=True))
    label = {"classes": [{"name": name, "probability": said[name]} for name in said]}
    for name, number in zip(card.classes, card.class_ids, strict=True):
        assert DESC[number] in lineage(name)[:2]
    assert share(label, below("Meta")) == pytest.approx(1)
    for node in TREE:
        children = [share(label, below(n)) for n in TREE if TREE[n].parent == node]
        if children:  # and no class of a network lies in another
            assert sum(children) == pytest.approx(share(label, below(node)))
            assert node not in said


def test_labels_are_asked_for_by_a_class_or_by_what_it_lies_in() -> None:
    row = {"survey": "ztf", "classifierName": "a 1"} | {
        "classes": [
            {"name": n, "probability": p} for n, p in (("RRab", 0.5), ("RRc", 0.3), ("EW", 0.2))
        ]
    }
    assert Wanted("RRab", 0.5)(row)
    assert not Wanted("RRab", 0.6)(row)
    assert Wanted("RR Lyrae", 0.75)(row)
    assert not Wanted("RR Lyrae", 0.85)(row)
    assert Wanted("Periodic", 0.99)(row)
    assert not Wanted("EB", 0.1)(row)  # the likeliest is no binary
    three = [{"name": n, "probability": p} for n, p in (("RRab", 0.3), ("RRc", 0.25), ("EW", 0.45))]
    assert Wanted("RR Lyrae", 0.5)(row | {"classes": three})  # more than half
    assert not Wanted("RRab")(row | {"classes": three})
    with pytest.raises(LookupError, match="no class is called 'RR'"):
        Wanted("RR")


def test_what_a_tree_of_networks_shares_out_lies_in_the_class_that_has_it() -> None:
    branches = tree_cards.branches()
    card = tree_cards.find("sky")
    assert isinstance(card, tree_cards.TreeCard)
    assert set(branches) == {name for limb in card.limbs.values() for name in limb.branches}
    for name, leaves in branches.items():
        classes = [{"name": leaf, "probability": 0.95 / len(leaves)} for leaf in sorted(leaves)]
        other = next(n for n in card.root.classes if n != name)
        row = {"survey": "ztf", "classifierName": "sky 1"}
        row |= {"classes": [*classes, {"name": name, "probability": 0}]}
        row["classes"].append({"name": other, "probability": 0.05})
        assert Wanted(name, 0.94, branches=branches)(row)
        assert not Wanted(name, 0.96, branches=branches)(row)
        assert not Wanted(name, 0.1)(row)
        assert not Wanted(other, branches=branches)(row)


def test_a_broken_tree_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tree.toml"
    root = '{id = 0, name = "Meta"}'
    for classes, words in (
        (f'{root}, {{id = 1, name = "Meta", parent = 0}}', "'Meta' .1. is there twice"),
        (f'{root}, {{id = 0, name = "Other", parent = 0}}', "'Other' .0. is there twice"),
        (f'{root}, {{id = 1, name = "Star", parent = 7}}', "parent 7 of 'Star'"),
    ):
        file.write_text(f'version = "1"\nclasses = [{classes}]\nkinds = []\n')
        with pytest.raises(ValueError, match=words):
            read(file)


def test_the_command_prints_the_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = nightjar("taxonomy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "    2323 RR Lyrae" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == ["RRab"]]
    assert "crts-rows" in line
    assert cli.run(["taxonomy", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["RRab"]["lineage"][1:3] == ["RR Lyrae", "Periodic"]
    assert rows["RR Lyrae"]["id"] == 2323
    assert rows["EW"]["desc_id"] == 2325
    assert "crts-rows" in rows["EW"]["models"]

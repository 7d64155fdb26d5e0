"""Names against truth: what is right of a kind that the model has, or only what it lies in."""

from __future__ import annotations

import doctest
import io

import numpy as np
from rich.console import Console

from broker.records import REASONS
from models import tree_cards
from workers import naming, report


def read(rows: list[tuple[bytes, str, int]]) -> report.Read:
    """Labels of objects: a name, or a reason, after so many detections."""
    labels = np.zeros(len(rows), report._LABEL)
    labels["object"] = [name for name, _, _ in rows]
    labels["reason"] = [REASONS.index(w) if w in REASONS else 0 for _, w, _ in rows]
    said = np.array(["" if w in REASONS else w for _, w, _ in rows], "S24")
    return report.Read(labels, np.zeros(len(rows), np.int64), said, np.array([n for *_, n in rows]))


def lines(model: str, rows: list[tuple[str, str, int]]) -> tuple[dict[str, list[str]], str]:
    """The cells of each row of both tables by its first, and all that is printed."""
    truth = {f"o{i}".encode(): kind for i, (kind, _, _) in enumerate(rows)}
    given = read([(f"o{i}".encode(), word, n) for i, (_, word, n) in enumerate(rows)])
    console = Console(width=80, record=True, file=io.StringIO())
    for table in naming.names(given, truth, tree_cards.find(model)):
        console.print(table)
    text = console.export_text()
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[1:] for row in cells if row and row[0]}, text


def test_of_one_network_the_kind_itself_is_right() -> None:
    rows = [("EW", "EW", 3), ("EW", "EA", 4), ("EW", "EW", 30), ("SN Ia", "EW", 30)]
    found, text = lines("crts-rows", [*rows, ("RRab", "too_few_points", 1)])
    assert found["EW"] == ["50%", "", "", "100%", "", "", "3"]
    assert found["all"] == found["EW"]
    assert found["SN Ia"] == ["1", "named EW 1"]
    assert "RRab" not in found  # nothing was named
    assert "root" not in text
    assert "*" not in text


def test_of_a_tree_the_root_has_a_column_and_what_has_no_class_is_marked() -> None:
    """Whatever the classes of the root: a class without a kind of its own is right for what lies
    in it, and so is what grows from it."""
    card = tree_cards.find("sky")
    assert isinstance(card, tree_cards.TreeCard)
    ids = dict(zip(card.classes, card.class_ids, strict=True))
    root = tree_cards.roots(card)
    star, nova = root["EW"], root["SN Ia"]
    rows = [("EW", "EW", 3), ("EW", "EA", 4), ("EW", star, 30), ("EW", nova, 30)]
    rows += [("SN Ia", "SN Ia", 6), ("SN Ia", "SN II", 6), ("SN Ia", "EW", 6)]
    kinds = [k for k in ("AGN", "CV", "microlensing") if k not in ids]
    coarse = {k: c for k in kinds if (c := naming.right_class(k, ids)) is not None}
    for kind, right in coarse.items():
        wrong = next(n for n in card.root.classes if n != right)
        leaf = next(n for n, of in root.items() if of == right)
        rows += [(kind, right, 1), (kind, wrong, 1), (kind, leaf, 1), (kind, leaf, 1)]
    found, text = lines("sky", [*rows, ("bogus", "too_few_points", 1)])
    assert found["EW"] == ["50%", "", "", "0%", "", "", "75%", "4"]
    assert found["SN Ia"] == ["", "33%", "", "", "", "", "67%", "3"]
    for kind, right in coarse.items():
        assert found[f"{kind} *"] == ["75%", "", "", "", "", "", "75%", "4"]
        assert f"{right} (" in text
    assert found["bogus"] == ["1", "too_few_points 1"]
    assert found["all"][-1] == str(len(rows))


def test_the_class_that_stands_alone_for_what_a_kind_lies_in() -> None:
    assert doctest.testmod(naming).failed == 0
    two = {"EW": 2325, "EA": 2325, "variable": 2300}
    assert naming.right_class("EW", two) == "EW"
    assert naming.right_class("EB", two) == "variable"  # neither is all of them
    assert naming.right_class("EB", {"EW": 2325}) == "EW"
    assert naming.right_class("bogus", two) is None

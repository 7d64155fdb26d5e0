"""Names held against the truth of a simulated sky: which share of a kind's labels is right."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from broker.records import REASONS
from broker.taxonomy import TREE, lineage
from models.tree_cards import AnyCard, TreeCard, roots
from workers.report import Read

#: Numbers of detections between which the names are held against the truth.
STEPS = (1, 5, 10, 20, 50, 100, 1_000_000)


def right_class(kind: str, ids: Mapping[str, int]) -> str | None:
    """Of classes with their ids in the taxonomy the one that names a kind, None where none does.

    It is the kind itself; else the one that stands alone for the nearest class that the kind lies
    in.

    >>> ids = {"EW": 2325, "variable": 2300}
    >>> right_class("EW", ids), right_class("AGN", ids), right_class("CV", ids)
    ('EW', 'variable', None)
    """
    if kind in ids:
        return kind
    for node in lineage(kind) if kind in TREE else ():
        found = [name for name, number in ids.items() if number == TREE[node].id]
        if len(found) == 1:
            return found[0]
    return None


def names(read: Read, truth: Mapping[bytes, str], card: AnyCard) -> list[Table]:
    """Labels against truth by number of detections, for the kinds that the model knows, and apart
    what it said of the others.

    Where the model has no class of a kind but one that this lies in, that one is right, and so is
    all that grows from it in a tree. A tree has a column for its root: whether the name grows from
    the class there that the right one grows from.
    """
    ids = dict(zip(card.classes, card.class_ids, strict=True))
    kind = np.array([truth.get(o, "?") for o in read.labels["object"].tolist()])
    name = np.char.decode(read.name, "ascii")
    named = read.labels["reason"] == REASONS.index("none")
    wanted = {k: right for k in sorted(set(kind.tolist())) if (right := right_class(k, ids))}
    root = roots(card)
    its = np.array([root.get(n, "") for n in name.tolist()])
    meant = np.array([root.get(wanted.get(k, ""), "?") for k in kind.tolist()])
    own = np.array([k in ids for k in kind.tolist()])
    rooted, good = its == meant, np.where(own, name == kind, its == meant)
    return [
        _right(read.detections, kind, named, good, rooted, wanted, card),
        _others(read, kind, name, named, wanted),
    ]


def _right(
    detections: NDArray[np.int64],
    kind: NDArray[np.str_],
    named: NDArray[np.bool_],
    good: NDArray[np.bool_],
    rooted: NDArray[np.bool_],
    wanted: Mapping[str, str],
    card: AnyCard,
) -> Table:
    """A row for each kind: which share of its labels was right."""
    tree = isinstance(card, TreeCard)
    told = ["n: labels; the networks saw real objects only, never these simulated ones"]
    if tree:
        told.append("root: share whose branch is right, whatever the class")
    coarse = {k: right for k, right in wanted.items() if k not in card.classes}
    if coarse:
        words = (
            f"{right} ({', '.join(k for k in coarse if coarse[k] == right)})"
            for right in dict.fromkeys(coarse.values())
        )
        told.append(f"*: the model has no such class; right is {', '.join(words)}")
    out = Table(
        title="Right names among the labelled, by detections in the light curve",
        title_justify="left",
        caption="\n".join(told),
        caption_justify="left",
    )
    out.add_column("truth")
    edges = list(itertools.pairwise(STEPS))
    for low, high in edges:
        out.add_column(f"{low}-{high - 1}" if high < 1_000_000 else f"{low}+", justify="right")
    for head in ("root", "n") if tree else ("n",):
        out.add_column(head, justify="right")
    known = [*(k for k in card.classes if k in wanted), *coarse]
    for of in (*known, None):
        chosen = named & (np.isin(kind, known) if of is None else kind == of)
        if not chosen.any():
            continue
        if of is None:
            out.add_section()
        cells = []
        for low, high in edges:
            some = chosen & (detections >= low) & (detections < high)
            cells.append(f"{good[some].mean():.0%}" if some.any() else "")
        if tree:
            cells.append(f"{rooted[chosen].mean():.0%}")
        title = "all" if of is None else f"{of} *" if of in coarse else of
        out.add_row(title, *cells, f"{chosen.sum():,}", style="bold" if of is None else "")
    return out


def _others(
    read: Read,
    kind: NDArray[np.str_],
    name: NDArray[np.str_],
    named: NDArray[np.bool_],
    wanted: Mapping[str, str],
) -> Table:
    """What was said of the kinds that the model has no word for."""
    out = Table(title="Not in the model", title_justify="left")
    out.add_column("truth")
    out.add_column("labels", justify="right")
    out.add_column("what was said")
    for of in sorted(set(kind.tolist()) - set(wanted)):
        chosen = kind == of
        said: dict[str, int] = {}
        for word, reason, is_named in zip(
            name[chosen], read.labels["reason"][chosen].tolist(), named[chosen], strict=True
        ):
            key = f"named {word}" if is_named else REASONS[reason]
            said[key] = said.get(key, 0) + 1
        ordered = sorted(said.items(), key=lambda item: -item[1])
        out.add_row(of, f"{chosen.sum():,}", ", ".join(f"{word} {n:,}" for word, n in ordered[:4]))
    return out

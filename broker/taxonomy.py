"""Kinds of objects as a tree, from taxonomy.toml: DESC's classes by their numbers, ours below."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Node:
    """A class of DESC's (with an `id`), or a kind that we name; the root has no `parent`."""

    name: str
    parent: str | None
    id: int | None = None


def read(path: Path) -> tuple[dict[str, Node], dict[str, int]]:
    """Nodes by name, parents before their children; our kinds with the number of DESC's class.

    A kind may be DESC's class itself, by the same name.

    Raises
    ------
    ValueError
        Two have one name or one number, or a parent is not there before.
    """
    table = tomllib.loads(path.read_text())
    nodes: dict[str, Node] = {}
    names: dict[int, str] = {}
    kinds = {row["name"]: row["parent"] for row in table["kinds"]}
    for row in (*table["classes"], *table["kinds"]):
        name, number = row["name"], row.get("id")
        if number is None and name == names.get(row["parent"]):
            continue
        if name in nodes or number in names:
            msg = f"{path}: {name!r} ({number}) is there twice"
            raise ValueError(msg)
        if "parent" in row and row["parent"] not in names:
            msg = f"{path}: the parent {row['parent']} of {name!r} is not there before it"
            raise ValueError(msg)
        nodes[name] = Node(name, names[row["parent"]] if "parent" in row else None, number)
        if number is not None:
            names[number] = name
    return nodes, kinds


#: All nodes; and our kinds of objects, of networks and of the simulated sky, with DESC's numbers.
TREE, IDS = read(Path(__file__).with_suffix(".toml"))
#: DESC's names by their numbers.
DESC: Mapping[int, str] = {n.id: n.name for n in TREE.values() if n.id is not None}
OTHER = 100  #: Meta/Other
RESIDUAL = 200  #: Meta/Residual: what is left when a classifier speaks of less than everything
NOT_CLASSIFIED = 300  #: Meta/NotClassified


def lineage(name: str) -> tuple[str, ...]:
    """A node and what it lies in, up to the root.

    >>> lineage("RRab")
    ('RRab', 'RR Lyrae', 'Periodic', 'Recurring', 'Variable', 'Meta')

    Raises
    ------
    LookupError
        There is no such node.
    """
    if name not in TREE:
        msg = f"no class is called {name!r}; `nightjar taxonomy` prints those that there are"
        raise LookupError(msg)
    found = [name]
    while (parent := TREE[found[-1]].parent) is not None:
        found.append(parent)
    return tuple(found)


def below(name: str) -> frozenset[str]:
    """A node and all that lies in it.

    Raises
    ------
    LookupError
        There is no such node.
    """
    lineage(name)
    return frozenset(node for node in TREE if name in lineage(node))

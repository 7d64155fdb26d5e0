"""A random forest: trees on random samples and features, Gini's impurity, in few kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Features are sorted into so many quantiles: a split at any of these edges.
BINS = 128


class Tree(NamedTuple):
    """Node 0 is the root; a node without feature (-1) is a leaf.

    ``feature`` (node,) i8, ``bin`` (node,) i8 the first bin that goes right, ``child`` (node,) i8
    the left child (the right one follows it), ``share`` (node, class) f8.
    """

    feature: NDArray[np.int64]
    bin: NDArray[np.int64]
    child: NDArray[np.int64]
    share: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees and the edges (feature, BINS - 1) between the bins of each feature."""

    edges: NDArray[np.float64]
    trees: list[Tree]

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of the trees' shares: (object, class) f8 for features (object, feature)."""
        bins = binned(features, self.edges)
        total = np.zeros((len(features), self.trees[0].share.shape[1]))
        for tree in self.trees:
            _add(bins, *tree, total)
        return total / len(self.trees)


def grow(
    features: NDArray[np.float64],
    label: NDArray[np.int64],
    classes: int,
    trees: int = 100,
    seed: int = 0,
) -> Forest:
    """Grow a forest (Breiman 2001): each tree sees as many objects, drawn with replacement.

    Each node tries the root of the number of features; leaves are pure or cannot be split.

    Parameters
    ----------
    features : (object, feature) f8
        Finite.
    label : (object,) i8
        0 to classes - 1.
    """
    edges = np.quantile(features, np.linspace(0, 1, BINS + 1)[1:-1], axis=0).T.copy()
    bins = binned(features, edges)
    tries = max(1, round(features.shape[1] ** 0.5))
    label = label.astype(np.int64)
    grown = []
    for k in range(trees):
        nodes, *arrays = _grow(bins, label, classes, tries, 1000 * seed + k)
        grown.append(Tree(*(array[:nodes].copy() for array in arrays)))
    return Forest(edges, grown)


def binned(features: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Which bin each value falls in: (object, feature) u1."""
    columns = [np.searchsorted(e, c, "right") for e, c in zip(edges, features.T, strict=True)]
    return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.uint8))


@njit(cache=True, nogil=True)
def _grow(
    bins: NDArray[np.uint8], label: NDArray[np.int64], classes: int, tries: int, seed: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """How many nodes a tree has, and the arrays of Tree, longer than that."""
    np.random.seed(seed)  # noqa: NPY002 - Numba's own generator, of this thread
    n, width = bins.shape
    rows = np.empty(n, np.int64)
    for r in range(n):
        rows[r] = np.random.randint(0, n)  # noqa: NPY002
    most = 2 * n + 1
    feature, split = np.full(most, -1, np.int64), np.zeros(most, np.int64)
    child, share = np.zeros(most, np.int64), np.zeros((most, classes))
    begin, end = np.zeros(most, np.int64), np.zeros(most, np.int64)
    order = np.arange(width)
    table, left = np.zeros((BINS, classes)), np.zeros(classes)
    end[0], nodes, node = n, 1, 0
    while node < nodes:  # breadth first: children are numbered as they are made
        low, high = begin[node], end[node]
        for r in range(low, high):
            share[node, label[rows[r]]] += 1
        size = high - low
        best, best_feature, best_bin, tried = 0.0, -1, 0, 0
        for k in range(width):
            if tried == tries or share[node].max() == size:  # enough, or pure
                break
            swap = np.random.randint(k, width)  # noqa: NPY002
            order[k], order[swap] = order[swap], order[k]
            gain, where = _best_split(
                bins, rows, low, high, order[k], label, share[node], table, left
            )
            tried += where > 0  # a feature that is constant here is no try
            if gain > best:
                best, best_feature, best_bin = gain, order[k], where
        for c in range(classes):
            share[node, c] /= size
        if best_feature >= 0:
            middle = low
            for r in range(low, high):
                if bins[rows[r], best_feature] < best_bin:
                    rows[r], rows[middle] = rows[middle], rows[r]
                    middle += 1
            feature[node], split[node], child[node] = best_feature, best_bin, nodes
            begin[nodes], end[nodes] = low, middle
            begin[nodes + 1], end[nodes + 1] = middle, high
            nodes += 2
        node += 1
    return nodes, feature, split, child, share


@njit(cache=True, nogil=True)
def _best_split(
    bins: NDArray[np.uint8],
    rows: NDArray[np.int64],
    low: int,
    high: int,
    feature: int,
    label: NDArray[np.int64],
    whole: NDArray[np.float64],
    table: NDArray[np.float64],
    left: NDArray[np.float64],
) -> tuple[float, int]:
    """By how much the best split lowers Gini's impurity (times objects), and its bin; 0: none."""
    classes = len(whole)
    least, most = BINS, 0
    table[:] = 0
    left[:] = 0
    for r in range(low, high):
        b: int = bins[rows[r], feature]
        table[b, label[rows[r]]] += 1
        least, most = min(least, b), max(most, b)
    before = 0.0
    for c in range(classes):
        before += whole[c] * whole[c] / (high - low)
    best, where = -1.0, 0
    for edge in range(least + 1, most + 1):
        n_left = lefts = rights = 0.0
        for c in range(classes):
            left[c] += table[edge - 1, c]
            n_left += left[c]
            lefts += left[c] * left[c]
            rights += (whole[c] - left[c]) ** 2
        gain = lefts / n_left + rights / (high - low - n_left) - before
        if gain > best:
            best, where = gain, edge
    return best, where


@njit(cache=True, nogil=True)
def _add(
    bins: NDArray[np.uint8],
    feature: NDArray[np.int64],
    split: NDArray[np.int64],
    child: NDArray[np.int64],
    share: NDArray[np.float64],
    total: NDArray[np.float64],
) -> None:
    for i in range(len(bins)):
        node = 0
        while feature[node] >= 0:
            node = child[node] + (bins[i, feature[node]] >= split[node])
        for c in range(total.shape[1]):
            total[i, c] += share[node, c]

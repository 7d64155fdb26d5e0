"""What Mahabal et al. 2017 (arXiv:1709.06257) measured, for the reports to stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: Pairs of the paper's class numbers, as its tables name their rows, by our names.
NUMBERS: Mapping[int, str] = {
    1: "EW",
    2: "EA",
    4: "RRab",
    5: "RRc",
    6: "RRd",
    8: "rotating",
    13: "LPV",
}


class Pair(NamedTuple):
    """A row of table II (CRTS-N): recalls of the two classes in percent; F1 and MCC of the deep."""

    shallow: tuple[float, float]
    deep: tuple[float, float]
    deep_f1: tuple[float, float]
    deep_mcc: float
    forest: tuple[float, float]


#: Accuracy of seven classes in percent (table II).
SEVEN_SHALLOW, SEVEN_DEEP, SEVEN_FOREST = 83.3, 83.2, 82.8

PAIRS: Mapping[tuple[int, int], Pair] = {
    (1, 2): Pair((97, 76), (98, 77.2), (0.97, 0.81), 0.79, (97, 82)),
    (1, 4): Pair((99, 67), (98.7, 66.3), (0.98, 0.72), 0.71, (99, 63)),
    (1, 5): Pair((97, 57), (96.5, 54.4), (0.94, 0.63), 0.58, (97, 54)),
    (1, 6): Pair((99, 35), (99.7, 31), (0.99, 0.41), 0.44, (99, 31)),
    (1, 8): Pair((99, 23), (99.6, 20), (0.98, 0.31), 0.37, (99, 0)),
    (1, 13): Pair((100, 86), (99.9, 88.9), (0.99, 0.93), 0.93, (99, 79)),
    (2, 4): Pair((97, 96), (97.9, 97.8), (0.98, 0.97), 0.95, (98, 97)),
    (2, 5): Pair((96, 99), (97.3, 99.4), (0.98, 0.98), 0.97, (98, 99)),
    (2, 6): Pair((99, 98), (99.6, 97.7), (1, 0.97), 0.97, (99, 96)),
    (2, 8): Pair((97, 92), (98.2, 89.7), (0.98, 0.92), 0.89, (97, 92)),
    (2, 13): Pair((100, 96), (100, 99), (1, 1), 0.99, (99, 96)),
    (4, 5): Pair((7, 88), (58.6, 94.3), (0.69, 0.88), 0.59, (66, 95)),
    (4, 6): Pair((93, 71), (93.1, 73.3), (0.94, 0.7), 0.64, (94, 55)),
    (4, 8): Pair((92, 91), (95.1, 84.9), (0.93, 0.88), 0.81, (93, 88)),
    (4, 13): Pair((98, 94), (98.9, 93.5), (0.99, 0.94), 0.93, (98, 84)),
    (5, 6): Pair((99, 9), (97.6, 12.37), (0.95, 0.18), 0.15, (99, 21)),
    (5, 8): Pair((96, 77), (96.1, 74.5), (0.94, 0.76), 0.70, (94, 77)),
    (5, 13): Pair((100, 88), (99.8, 96.8), (1, 0.97), 0.97, (99, 89)),
    (6, 8): Pair((83, 93), (77.5, 90.7), (0.74, 0.92), 0.66, (76, 96)),
    (6, 13): Pair((100, 97), (98.9, 98.1), (0.98, 0.99), 0.97, (96, 91)),
    (8, 13): Pair((98, 97), (99.3, 93), (0.99, 0.95), 0.94, (98, 91)),
}

#: Accuracy of seven classes by grid, percent (table III).
GRIDS: Mapping[str, float] = {"fiducial": 83.0, "new1": 84.5, "new2": 84.3, "new3": 82.7}

#: Trained north, tested south (table V): accuracy of seven classes, recalls of pairs.
TRANSFER: Mapping[str, float] = {"shallow": 69.5, "deep": 69.9}
TRANSFER_PAIRS: Mapping[tuple[int, int], tuple[tuple[float, float], tuple[float, float]]] = {
    (1, 2): ((98, 70), (98, 69)),
    (1, 4): ((99, 49), (98, 52)),
    (1, 5): ((99, 23), (97, 37)),
    (1, 6): ((99, 13), (99, 13)),
    (1, 8): ((99, 3), (99, 4)),
    (1, 13): ((99, 82), (99, 82)),
    (2, 4): ((96, 97), (95, 98)),
    (2, 5): ((96, 98), (95, 99)),
    (2, 6): ((99, 92), (99, 96)),
    (2, 8): ((97, 81), (97, 76)),
    (2, 13): ((99, 95), (99, 96)),
    (4, 5): ((69, 90), (66, 90)),
    (4, 6): ((88, 72), (94, 53)),
    (4, 8): ((82, 86), (92, 62)),
    (4, 13): ((92, 93), (95, 93)),
    (5, 6): ((99, 1), (97, 6)),
    (5, 8): ((96, 51), (96, 44)),
    (5, 13): ((99, 84), (99, 91)),
    (6, 8): ((67, 89), (75, 88)),
    (6, 13): ((96, 94), (94, 95)),
    (8, 13): ((98, 91), (98, 90)),
}

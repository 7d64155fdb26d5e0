"""Two classifiers of a stream, or one of two streams, compared alert by alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.diff.difference import Difference
from workers.diff.sides import pairs, side
from workers.errors import Misused
from workers.progress import Progress

if TYPE_CHECKING:
    from workers.settings import Settings


@dataclass(frozen=True, slots=True)
class Result:
    """The sides as they were asked for, the classifiers that were met, and their difference."""

    asked: tuple[str, str]
    classifiers: tuple[list[str], list[str]]
    difference: Difference

    @property
    def good(self) -> bool:
        """Whether equal points and equal weights gave equal labels everywhere."""
        return self.difference.broken.count == 0

    def row(self) -> dict[str, Any]:
        """All of it as plain data."""
        found = self.difference
        return {
            "first": {"asked": self.asked[0], "classifiers": self.classifiers[0]},
            "second": {"asked": self.asked[1], "classifiers": self.classifiers[1]},
            "both": found.both,
            "only_first": found.only[0],
            "only_second": found.only[1],
            "answered_again": {"first": found.repeated[0], "second": found.repeated[1]},
            "named": found.named.row(),
            "equal_points": found.equal_points.row(),
            "tolerance": found.tolerance,
            "matrix": [
                {"first": a, "second": b, "alerts": n}
                for (a, b), n in sorted(found.matrix.items(), key=lambda one: -one[1])
            ],
            "different": {"alerts": found.different.count, "most": found.different.rows()},
            "other_points": {"alerts": found.other_points.count, "most": found.other_points.rows()},
            "broken": {"alerts": found.broken.count, "most": found.broken.rows()},
        }


def diff(settings: Settings, first: str, second: str, most: int, tolerance: float) -> Result:
    """Compare what two sides said of the alerts that both have answered.

    Parameters
    ----------
    first, second
        [NAMESPACE:]CLASSIFIER, or FILE.parquet[:CLASSIFIER].
    most
        Of how many alerts, the most different first, both answers are told.
    tolerance
        Probabilities that lie no further apart are the same.

    Raises
    ------
    Misused
        Both are the same.
    Failed
        There is no such side.
    """
    if first == second:
        msg = f"diff: {first!r} twice; expected two classifiers, e.g. crts-rows crts-shallow"
        raise Misused(msg)
    one, other = side(settings, first), side(settings, second)
    found = Difference(most, tolerance)
    with Progress("compare", unit="alerts") as progress:
        for answers in pairs(settings, one, other):
            found.add(*answers)
            progress.at(found.both)
    met = []
    for some in (one, other):
        some.check()
        met.append(sorted(filter(some.collected.fits, some.collected.met)))
    return Result((first, second), (met[0], met[1]), found)

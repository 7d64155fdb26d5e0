"""A figure beside its comparison: what was measured in turns, its ratio, and its target."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure, or its ratio to the comparison, must reach."""

    sign: Literal["<=", ">="]
    bound: float
    of: Literal["value", "ratio"] = "value"

    def __str__(self) -> str:
        return f"{self.sign} {number(self.bound)}{' x' if self.of == 'ratio' else ''}"


def most(bound: float) -> Target:
    return Target("<=", bound)


def least(bound: float) -> Target:
    return Target(">=", bound)


def ratio(bound: float) -> Target:
    """At least so many times as good as the comparison."""
    return Target(">=", bound, "ratio")


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `value` is the median of `rounds` turns, `low` and `high` their range.

    `ratio` says how many times better than the comparison it is: comparison over value, or, where
    more is better (a rate, a share), value over comparison; the median over the turns.
    """

    name: str
    value: float
    low: float
    high: float
    rounds: int
    unit: str
    comparator: str | None = None
    comparator_value: float | None = None
    ratio: float | None = None
    target: str = ""
    reached: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: a number that is none (a rate of one commit) is null."""
        return {k: None if v != v else v for k, v in asdict(self).items()}


def figure(
    name: str,
    values: Sequence[float],
    unit: str,
    target: Target | None = None,
    against: tuple[str, Sequence[float]] | None = None,
) -> Figure:
    """A row from the values of its turns and, turn by turn, those of what it is compared with.

    >>> figure("read", [2.0, 1.0, 4.0], "µs", most(3), ("other", [20.0, 20.0, 20.0])).ratio
    10.0
    >>> figure("read", [5.0], "packets/s", ratio(0.6), ("loop", [10.0])).reached
    False
    """
    values = [float(v) for v in values]
    value = statistics.median(values)
    label, compared = against or (None, ())
    better = None
    if compared:
        more = unit.endswith("/s") or unit == "%"
        pairs = zip(values, compared, strict=True)
        better = float(statistics.median(v / c if more else c / v for v, c in pairs))
    reached = None
    if target is not None:
        held = value if target.of == "value" else better
        if held is not None and held == held:  # a rate of one commit is no number
            reached = bool(held <= target.bound if target.sign == "<=" else held >= target.bound)
    return Figure(
        name,
        value,
        min(values),
        max(values),
        len(values),
        unit,
        label,
        float(statistics.median(compared)) if compared else None,
        better,
        str(target) if target else "",
        reached,
    )


def in_turns(rounds: int, *runs: Callable[[], T]) -> list[list[T]]:
    """Run each in turn, `rounds` times over, after one pass of each that is not recorded.

    The machine's mood (other work, clock, caches) then weighs on all alike.
    """
    for run in runs:
        run()
    results: list[list[T]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, result in zip(runs, results, strict=True):
            result.append(run())
    return results


def thread_us(call: Callable[[], object], items: int) -> float:
    """CPU time of this thread for one of the items that `call` works on, in µs."""
    began = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - began) / 1000 / items


def number(value: float) -> str:
    """Three digits that tell, thousands parted.

    >>> number(12345.6), number(12.345), number(0.01234)
    ('12,346', '12.3', '0.0123')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows: Sequence[Figure]) -> str:
    """Rows as lines of text, at most 130 characters wide."""
    lines = []
    for row in rows:
        span = f" ({number(row.low)}-{number(row.high)})" if row.rounds > 1 else ""
        value = f"{number(row.value)}{span} {row.unit}"
        beside = better = ""
        if row.comparator is not None and row.comparator_value is not None:
            beside = f"{row.comparator} {number(row.comparator_value)}"
        if row.ratio is not None:
            better = f"{number(row.ratio)} x"
        mark = {True: "reached", False: "MISSED", None: ""}[row.reached]
        lines.append(
            f"  {row.name:<38.38} {value:<34.34} {beside:<23.23} {better:>7.7} "
            f"{row.target:>9} {mark}".rstrip()
        )
    return "\n".join(lines)

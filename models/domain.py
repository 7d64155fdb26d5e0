"""Where a network may speak: plain rules on what the survey says of the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.records import CONTEXT, SURVEYS


@dataclass(frozen=True, slots=True)
class Rule:
    """``above < context[field] / scale < below``, both strict; a missing number fails it.

    ``times`` names another scalar of the context that the bounds are multiplied by, as in
    "templateFlux above 5 templateFluxErr".
    """

    field: str
    above: float = -np.inf
    below: float = np.inf
    times: str | None = None

    def __post_init__(self) -> None:
        for name in (self.field, self.times):
            if name is not None and name not in CONTEXT:
                msg = f"a domain rule asks for {name!r}; alerts carry: {', '.join(CONTEXT)}"
                raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """The rule as a table of a card, without what it leaves open."""
        return {
            name: getattr(self, name)
            for name, default in (
                ("field", ""),
                ("above", -np.inf),
                ("below", np.inf),
                ("times", None),
            )
            if getattr(self, name) != default
        }

    def holds(self, context: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether each row of contexts (alert,) obeys the rule: (alert,) bool."""
        value = context[self.field]
        scale = context[self.times] if self.times else 1.0
        # A NaN compares false; rubbish may hold scalars that no product has room for.
        with np.errstate(over="ignore", invalid="ignore"):
            above = value > self.above * scale if np.isfinite(self.above) else ~np.isnan(value)
            below = value < self.below * scale if np.isfinite(self.below) else ~np.isnan(value)
        inside: NDArray[np.bool_] = above & below
        return inside


@dataclass(frozen=True, slots=True)
class Unless:
    """Holds where not all of these rules do: also where a number is missing."""

    rules: tuple[Rule | Unless, ...]

    def to_dict(self) -> dict[str, Any]:
        """The rules as an array of tables of a card."""
        return {"unless": [rule.to_dict() for rule in self.rules]}

    def holds(self, context: NDArray[np.void]) -> NDArray[np.bool_]:
        """Whether it holds for each row of contexts (alert,): (alert,) bool."""
        all_hold = np.ones(len(context), np.bool_)
        for rule in self.rules:
            all_hold &= rule.holds(context)
        return ~all_hold


Domain = Mapping[str, Sequence[Rule | Unless]]


def _rule(table: Mapping[str, Any]) -> Rule | Unless:
    if "unless" in table:
        return Unless(tuple(_rule(rule) for rule in table["unless"]))
    return Rule(**table)


def read(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Domain:
    """Rules per survey from a card's ``[[domain.ztf]]`` tables.

    Raises
    ------
    ValueError
        A survey or a scalar that does not exist.
    """
    for survey in tables:
        if survey not in SURVEYS:
            msg = f"domain of {survey!r}: surveys are {', '.join(SURVEYS)}"
            raise ValueError(msg)
    return {survey: tuple(_rule(rule) for rule in rules) for survey, rules in tables.items()}


def inside(domain: Domain, alerts: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether each alert lies in the domain: all rules of its survey hold.

    Parameters
    ----------
    domain : mapping
        Rules per survey. A survey that is not named is outside as a whole; one with no rules is
        inside as a whole.
    alerts : (alert,) ALERT or IMAGE
        Alerts with their context.

    Returns
    -------
    (alert,) bool
    """
    result = np.zeros(len(alerts), np.bool_)
    for survey, rules in domain.items():
        of_survey = alerts["survey"] == SURVEYS.index(survey)
        for rule in rules:
            of_survey &= rule.holds(alerts["context"])
        result |= of_survey
    return result

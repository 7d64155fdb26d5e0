from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from broker.records import IMAGE, SURVEYS
from models import cards, domain
from models.domain import Rule, Unless

RULES = {
    "ztf": (Rule("distnr", below=1.4), Rule("sgscore1", above=0.5)),
    "lsst": (
        Rule("templateFlux", above=5.0, times="templateFluxErr"),
        Rule("extendedness", below=0.5),
    ),
}


def alert(survey: str, **context: float) -> np.ndarray:
    row = np.zeros(1, IMAGE)
    row["context"] = np.nan
    row["survey"] = SURVEYS.index(survey)
    for name, value in context.items():
        row["context"][name] = value
    return row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (alert("ztf", distnr=0.3, sgscore1=0.9), True),
        (alert("ztf", distnr=1.4, sgscore1=0.9), False),
        (alert("ztf", distnr=0.3, sgscore1=0.5), False),
        (alert("ztf", distnr=0.3), False),
        (alert("ztf", sgscore1=0.9), False),
        (alert("lsst", templateFlux=501, templateFluxErr=100, extendedness=0.1), True),
        (alert("lsst", templateFlux=500, templateFluxErr=100, extendedness=0.1), False),
        (alert("lsst", templateFlux=900, templateFluxErr=100, extendedness=0.5), False),
        (alert("lsst", templateFlux=900, extendedness=0.1), False),
        (alert("lsst", distnr=0.3, sgscore1=0.9), False),
        (alert("elasticc", distnr=0.3, sgscore1=0.9), False),
    ],
)
def test_a_survey_is_judged_by_its_own_rules(row: np.ndarray, expected: bool) -> None:
    assert domain.inside(RULES, row).tolist() == [expected]


def test_rows_of_several_surveys_do_not_mix() -> None:
    rows = np.concatenate(
        [
            alert("lsst", templateFlux=900, templateFluxErr=100, extendedness=0.1),
            alert("elasticc"),
            alert("ztf", distnr=0.3, sgscore1=0.9),
        ]
    )
    assert domain.inside(RULES, rows).tolist() == [True, False, True]


def test_a_rule_without_bounds_still_asks_for_the_number() -> None:
    rows = np.concatenate([alert("ztf", rb=0.1), alert("ztf")])
    assert domain.inside({"ztf": (Rule("rb"),)}, rows).tolist() == [True, False]


def test_what_is_not_in_one_domain_may_be_another() -> None:
    others = {"ztf": (Unless(RULES["ztf"]),)}
    rows = np.concatenate(
        [
            alert("ztf", distnr=0.3, sgscore1=0.9),
            alert("ztf", distnr=0.3, sgscore1=0.1),
            alert("ztf", sgscore1=0.9),
            alert("lsst", templateFlux=1, templateFluxErr=100),
        ]
    )
    assert domain.inside(others, rows).tolist() == [False, True, True, False]
    assert domain.inside(RULES, rows).tolist() == [True, False, False, False]


def test_rules_survive_the_card() -> None:
    rules = RULES | {"elasticc": (Rule("rb"), Unless(RULES["lsst"]))}
    card = replace(cards.find("crts-rows"), domain=rules)
    tables = tomllib.loads(cards.dump(card))["domain"]
    assert tables["ztf"][0] == {"field": "distnr", "below": 1.4}
    assert domain.read(tables) == rules


def test_unknown_surveys_and_scalars_are_refused() -> None:
    with pytest.raises(ValueError, match="'ztff': surveys are ztf, lsst, elasticc"):
        domain.read({"ztff": []})
    with pytest.raises(ValueError, match="'distance'; alerts carry: jdstarthist"):
        Rule("distance")

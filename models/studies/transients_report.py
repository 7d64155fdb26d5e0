"""The study of transients as a report: what was measured beside what others reached."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models import figures
from models.reports import Section, Table
from models.studies.parts import Result
from models.transients.figures import DAYS, TAU
from models.transients.groups import CLASSES

TITLE = "Supernovae named from difference flux"
Results = Mapping[str, Result]


def sections(results: Results) -> list[Section]:
    """What there is; parts that have not been run are left out."""
    made = (_challenge, _survey, _gates, _reality, _elsewhere)
    return [section for make in made if (section := make(results)) is not None]


def _challenge(results: Results) -> Section | None:
    if "snpcc" not in results:
        return None
    result = results["snpcc"]
    rows = [
        (name, when, *(f"{100 * r[k]:.1f}" for k in ("accuracy", "macro_f1")), f"{r['auc']:.4f}")
        for name, key in (("all types", "test"), ("spectroscopic types", "spectroscopic"))
        for when, r in ((_when(days), result[key][str(days)]) for days in DAYS)
    ]
    return Section(
        "The supernova photometric classification challenge (SNPCC)",
        [
            "Ia, II (with IIn), Ib/c; no redshift. One network learned from three quarters of all "
            "objects and is asked of a fifth that it did not see; the other, as in the challenge, "
            f"from the {result['learned']:,} objects with a spectroscopic type, the nearest and "
            "brightest, and is asked of all others.",
        ],
        [Table("SNPCC", ("trained on", "seen", "accuracy %", "F1 %", "AUC of Ia"), rows)],
    )


def _survey(results: Results) -> Section | None:
    if "bts" not in results:
        return None
    result = results["bts"]
    plain, even = result["0.0"], result[str(TAU)]
    rows = [
        (name, f"{r['macro_f1']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}", f"{r['accuracy']:.3f}")
        for name, r in (("as they are", plain), (f"by (class proportion) ** -{TAU}", even))
    ]
    classes = result["classes"]
    by_class = [
        (c, *("" if r["f1"][i] is None else f"{r['f1'][i]:.2f}" for r in (plain, even)))
        for i, c in enumerate(classes)
    ]
    return Section(
        "ZTF's Bright Transient Survey, out of fold",
        [
            f"{plain['objects']:,} supernovae, each named by a network that did not see its fifth, "
            "from g and r of whole curves; 95 % intervals by bootstrap over the objects. For "
            "comparison: Superphot+ reports 0.61 on a larger sample with cleaner cuts (de Soto et "
            "al. 2024).",
        ],
        [
            Table("All classes", ("probabilities", "F1", "95 %", "accuracy"), rows),
            Table("F1 of each", ("class", "as they are", "weighted"), by_class),
        ],
        [[figures.confusion(np.array(even["confusion"]), classes, "Weighted")]],
    )


def _gates(results: Results) -> Section | None:
    areas, each = [], []
    for survey in ("ztf", "lsst"):
        result = results.get(f"gate/{survey}", {})
        for name in (name for name in ("seeing", "blind") if name in result):
            there = [result[name].get(n) for n in _ALERTS]
            areas.append((survey, name, *("" if f is None else f"{f['auc']:.3f}" for f in there)))
            worst = ("" if f is None else f"{f['hardest']:.3f}" for f in there)
            areas.append((survey, f"{name}, worst pair of classes", *worst))
        each += [
            (survey, n, *(f"{100 * r:.0f}" for r in (*f["recall"], f["giants"], f["ece"])))
            for n in _ALERTS
            if (f := result.get("seeing", {}).get(n))
        ]
    if not areas:
        return None
    return Section(
        "Periodic, nucleus, CV, supernova",
        [
            "In the place of each test supernova, at its times, in its bands and with its errors, "
            "a source of every other class: area under the ROC curve after so many alerts of what "
            "recurs (periodic stars, nuclei) against transients, and of the two classes that are "
            "told apart worst. The blind gate is trained alike, but to it all fluxes are equal: "
            "what it reaches above 0.5 the times and errors alone would give away.",
        ],
        [
            Table("Gates", ("survey", "gate", *(f"{n} alerts" for n in _ALERTS)), areas),
            Table(
                "Share of each class that is named so, %; of red giants what counts as recurring; "
                "calibration error, %",
                ("survey", "alerts", *CLASSES, "red giants", "error"),
                each,
            ),
        ],
    )


def _reality(results: Results) -> Section | None:
    rows = []
    for survey in ("ztf", "lsst"):
        real = results.get(f"gate/{survey}/real", {})
        for name, found in ((name, real[name]) for name in real if name != "seconds"):
            kinds = {f["kind"]: f["name"] for f in found}
            for kind, class_ in kinds.items():
                after = {str(f["alerts"]): f for f in found if f["kind"] == kind}
                shares = (
                    f"{_percents(f['named'])} of {f['objects']}" if (f := after.get(n)) else ""
                    for n in (*_ALERTS, "0")
                )
                rows.append((f"gate-{survey}", name, kind, class_, *shares))
    if not rows:
        return None
    return Section(
        "Gates asked of real sources",
        [
            "None of these trained a gate; MALLORN is simulated from real ones. Shares that are "
            f"called {', '.join(CLASSES)}, of so many objects that have so many alerts.",
        ],
        [
            Table(
                "Called, %",
                ("gate", "set", "kind", "class", *(f"{n} alerts" for n in _ALERTS), "all"),
                rows,
            )
        ],
    )


def _elsewhere(results: Results) -> Section | None:
    named, odd = [], []
    for name, result in results.items():
        if "unseen" not in result:
            continue
        if "named" in result:
            r = result["named"]
            named.append((name, r["objects"], f"{r['accuracy']:.3f}", f"{r['macro_f1']:.3f}"))
        odd += [
            (name, kind, f["objects"], f"{f['auc']:.3f}") for kind, f in result["unseen"].items()
        ]
    if not named and not odd:
        return None
    return Section(
        "Other surveys, and kinds that training never saw",
        [
            "Names by the shipped networks of sets that trained none of them (MALLORN is simulated "
            "from events of ZTF, some of which are BTS's); and how often an object of a kind "
            "without a name is found odder than a known supernova of the test split (area under "
            "the ROC curve of the distance in the last layer).",
        ],
        [
            Table("Named", ("set", "objects", "accuracy", "F1"), named),
            Table("Odder than the known", ("set", "kind", "objects", "AUC"), odd),
        ],
    )


def _percents(shares: NDArray[np.float64]) -> str:
    """Shares in whole percents, one after the other.

    >>> _percents(np.array([0.5, 0.126, 0.374]))
    '50 13 37'
    """
    return " ".join(f"{100 * share:.0f}" for share in shares)


_ALERTS = ("3", "5", "10", "30")


def _when(days: float | None) -> str:
    return "whole" if days is None else f"{days:g} days"

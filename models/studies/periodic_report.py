"""The study of periodic stars as a report: the network of the stream, others, other skies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from models import figures
from models.evaluate import LENGTHS
from models.reports import Section, Table
from models.studies.parts import Result
from models.studies.periodic import BANDS

TITLE = "Periodic stars named by their own period"
Results = Mapping[str, Result]

_NETWORKS = {
    "shipped": "of the stream",
    "nowhere": "of the stream, not told where",
    "any": "of the stream, for any survey",
    "given": "given mean magnitude and error",
    "north": "trained on CRTS-N alone",
}


def sections(results: Results) -> list[Section]:
    """What there is; parts that have not been run are left out."""
    made = (_networks, _place, _bands)
    return [section for make in made if (section := make(results)) is not None]


def _networks(results: Results) -> Section | None:
    there = {name: words for name, words in _NETWORKS.items() if name in results}
    if not there:
        return None

    def by_length(title: str, shown: Callable[[Result], str]) -> Table:
        head = ("network", "whole", *(f"{n} points" for n in LENGTHS))
        found = {n: [results[n].get(str(points)) for points in (0, *LENGTHS)] for n in there}
        rows = [(there[n], *(shown(r) if r else "" for r in found[n])) for n in there]
        return Table(title, head, rows)

    classes = results[next(iter(there))]["classes"]
    recalls = [
        (name, *(_percent(results[key]["0"]["recall"][i]) for key in there))
        for i, name in enumerate(classes)
    ]
    return Section(
        "Test stars of CRTS-S",
        [
            "No network here is given a period. That of the stream is not told either how bright a "
            "star is and how exactly it was measured, as this is the survey's; the one that is "
            "given both gains what leaving them out costs. These two have Catalina's last layers, "
            "and are told where on the sky a star is. "
            "That of the north has never seen the southern survey, and has but the layer that is "
            "for any; it takes the classes to be as common as they are in the whole northern one. "
            "(Mahabal et al. 2017 reached 69.5 % from north to south.)",
        ],
        [
            by_length("Accuracy / recall averaged over the classes, %", _shares),
            by_length("Expected calibration error, %", lambda result: _percent(result["ece"])),
            Table("Recall of each class, whole, %", ("class", *there.values()), recalls),
        ],
        [
            [
                figures.confusion(np.array(results[name]["0"]["confusion"]), classes, words)
                for name, words in there.items()
            ]
        ],
    )


def _place(results: Results) -> Section | None:
    if "place" not in results:
        return None
    names = {"": "nothing but the classes' shares", "crts-south": "CRTS-S", "crts-north": "CRTS-N"}
    losses = results["place"]
    rows = [
        (words, *(f"{losses[asked][of]:.3f}" for of in names))
        for asked, words in names.items()
        if asked
    ]
    return Section(
        "What a place says alone",
        [
            "Where in the Galaxy a star is, two numbers: the cosine of the angle to its centre and "
            "|sin b|. Either survey of Catalina teaches of the other's part of the sky.",
        ],
        [Table("Log loss on test stars", ("asked of", *names.values()), rows)],
    )


def _bands(results: Results) -> Section | None:
    rows = [
        (name, r["objects"], f"{r['points']:g}", _percent(r["recall"][2]), _percent(r["recall"][3]))
        for name in BANDS
        if (r := results.get(f"band/{name}"))
    ]
    if not rows:
        return None
    return Section(
        "RR Lyrae of SDSS Stripe 82, each band by itself",
        ["Another telescope, and bands that training never saw (Sesar et al. 2010)."],
        [Table("Recall, %", ("band", "stars", "points (median)", "RRab", "RRc"), rows)],
    )


def _shares(result: Result) -> str:
    return f"{_percent(result['accuracy'])} / {_percent(result['balanced'])}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"

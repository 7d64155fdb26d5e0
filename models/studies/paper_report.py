"""The paper's study as a report: each table beside the paper's own numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from broker.grids import GRIDS
from models import figures
from models.catalogue import SEVEN
from models.reports import Figure, Section, Table
from models.studies import paper_numbers as paper
from models.studies.parts import Result

Results = Mapping[str, Result]

SURVEYS = {"south": "CRTS-S", "north": "CRTS-N"}
OTHER = {"south": "north", "north": "south"}
TITLE = "Deep-learnt classification of light curves (Mahabal et al. 2017), reproduced"
WEIGHTED = (
    "CRTS-N is here a quarter of the survey, its classes capped near 1,600 stars: each star is "
    "weighted by how many of its class the survey has (table I), probabilities likewise, so that "
    "accuracies are those of the survey's proportions. Few EW carry most of the weight there, "
    "so its figures are less certain than the number of test stars suggests."
)


def sections(results: Results) -> list[Section]:
    """What there is; parts that have not been run are left out."""
    made = (_seven, _pairs, _grids, _background, _images, _transfer)
    return [section for make in made if (section := make(results)) is not None]


def _seven(results: Results) -> Section | None:
    rows, shown = [], []
    published = {
        "shallow": paper.SEVEN_SHALLOW,
        "deep": paper.SEVEN_DEEP,
        "forest": paper.SEVEN_FOREST,
    }
    for survey, name in SURVEYS.items():
        for network in published:
            result = _seven_of(results, survey, network)
            if result is None:
                continue
            theirs = f"{published[network]}" if survey == "north" else ""
            rows.append((f"{name} {network}", theirs, *_five(result), result["objects"]))
            title = f"{name}, {network}"
            shown.append(figures.confusion(np.array(result["confusion"]), SEVEN, title))
            watched = (results.get(f"seven/{survey}/{network}") or {}).get("watched")
            if watched:
                best = [_percent(share) for share in max(watched)]
                rows.append((f"{title}, epoch best on these stars", "", *best, "", "", "", ""))
    if not rows:
        return None
    return Section(
        "Seven classes (table II, figures 6 and 7)",
        [
            "Fiducial grid of 22 dm x 23 dt bins (the paper's 23 x 24 counts edges), intensity "
            "floor(255 n/p + 0.99999), Adam at 0.0002 in batches of 128; test stars are those "
            "with crc32(id) % 5 == 1, a tenth of the others chooses the epoch. The paper trains "
            "300 and 500 epochs without choosing; here the networks overfit after some twenty. "
            "What they have at the epoch that is best on the test stars themselves, which no fair "
            "test may choose, stands below each.",
            WEIGHTED,
            "Why CRTS-N is lower than the paper's: training sees a twentieth of its EW, and two "
            "thirds of what is counted are EW.",
            "Why CRTS-S is lower than the paper's CRTS-N: two thirds of the northern stars are EW, "
            "the class that is easiest to be right about; in the south half are. RRd are one or "
            "two in a hundred in both, and a network that weighs no class hardly ever names one.",
        ],
        [Table("Percent; MCC Matthews' coefficient", ("", "paper", *_FIVE, "stars"), rows)],
        _by_two(shown),
    )


def _seven_of(results: Results, survey: str, network: str) -> Result | None:
    if network == "forest":
        return (results.get(f"forest/{survey}") or {}).get("seven")
    part = results.get(f"seven/{survey}/{network}")
    return part["tests"][SURVEYS[survey]] if part else None


def _pairs(results: Results) -> Section | None:
    tables = []
    for survey, name in SURVEYS.items():
        rows = []
        for numbers, theirs in paper.PAIRS.items():
            a, b = (paper.NUMBERS[k] for k in numbers)
            ours = {k: _pair_of(results, survey, k, a, b) for k in ("shallow", "deep", "forest")}
            if not any(ours.values()):
                continue
            rows.append(
                (
                    f"{a} / {b}",
                    _slash(theirs.shallow),
                    _recalls(ours["shallow"]),
                    _slash(theirs.deep),
                    _recalls(ours["deep"]),
                    _slash(theirs.deep_f1),
                    _shares(ours["deep"], "f1"),
                    theirs.deep_mcc,
                    _number(ours["deep"], "matthews"),
                    _slash(theirs.forest),
                    _recalls(ours["forest"]),
                )
            )
        if rows:
            head = ["", "shallow (paper)", "shallow", "deep (paper)", "deep", "F1 (paper)", "F1"]
            head += ["MCC (paper)", "MCC", "forest (paper)", "forest"]
            title = f"{name}: recalls of the two classes in percent; the paper's are CRTS-N"
            tables.append(Table(title, head, rows))
            if any(_pair_of(results, survey, "shallow", *row[0].split(" / ")) for row in rows):
                tables.append(_more_of_pairs(results, survey, name))
    if not tables:
        return None
    words = [
        "A network for each pair of classes, as long as it takes to see 1,500 batches (100 epochs "
        "at most). Where one class is forty times as common as the other (EW against "
        "RRd) the rare one's recall hangs on where the cut lies rather than on the images: MCC "
        "says more there. The paper's 7 / 88 for RRab / RRc (shallow) is likely a misprint of "
        "67 or so: its deep network and its forest have 59 and 66.",
    ]
    return Section("All pairs of classes (table II)", words, tables)


def _more_of_pairs(results: Results, survey: str, name: str) -> Table:
    rows = []
    for a, b in itertools.combinations(paper.NUMBERS.values(), 2):
        for network in ("shallow", "forest"):
            r = _pair_of(results, survey, network, a, b)
            if r:
                f1, mcc = _shares(r, "f1"), _number(r, "matthews")
                rows.append((f"{a} / {b}", network, _percent(r["accuracy"]), f1, mcc))
    return Table(f"{name}: the same pairs further", ("", "by", "accuracy", "F1", "MCC"), rows)


def _pair_of(results: Results, survey: str, network: str, a: str, b: str) -> Result | None:
    if network == "forest":
        return (results.get(f"forest/{survey}") or {}).get(f"{a}-{b}")
    part = results.get(f"pair/{survey}/{network}/{a}-{b}")
    return part["tests"][SURVEYS[survey]] if part else None


def _grids(results: Results) -> Section | None:
    rows = []
    for grid, theirs in paper.GRIDS.items():
        n_dm, n_dt = GRIDS[grid].shape
        cells = [f"{grid}, {n_dm} x {n_dt}", theirs]
        there = False
        for survey, name in SURVEYS.items():
            part = "seven/{}/shallow" if grid == "fiducial" else "grid/{}/" + grid
            result = results.get(part.format(survey))
            there |= result is not None and grid != "fiducial"
            cells += _five(result["tests"][name])[:2] if result else ["", ""]
        if there or grid == "fiducial":
            rows.append(cells)
    if len(rows) < 2:
        return None
    head = ("grid, dm x dt", "paper", "CRTS-S", "balanced", "CRTS-N", "balanced")
    words = [
        "The shallow network. The deep one needs 20 x 20 pixels and cannot eat the two grids of "
        "15 time differences, so the paper's average must be the shallow one's.",
    ]
    return Section("Other grids (table III)", words, [Table("Percent", head, rows)])


def _background(results: Results) -> Section | None:
    ways = [
        ("none", "seven/{}/shallow", "83.3"),
        ("per class (its class told)", "background/{}/per class", "99.1"),
        ("pseudo-cadence: 500 of each class", "background/{}/pseudo-cadence", "83.2"),
        ("maximum: all training stars", "background/{}/maximum", "83.1"),
        ("true: stars that do not vary", "background/{}/true", "not made"),
        ("2 middle rows blank", "blank/{}/2", "not printed"),
        ("4 middle rows blank", "blank/{}/4", "not printed"),
        ("6 middle rows blank", "blank/{}/6", "75.3"),
    ]
    rows = []
    for way, part, theirs in ways:
        cells: list[object] = [way, theirs]
        for survey, name in SURVEYS.items():
            result = results.get(part.format(survey))
            cells += _five(result["tests"][name])[:2] if result else ["", ""]
        rows.append(cells)
    if not any(any(row[2:]) for row in rows[1:]):
        return None
    head = ("background", "paper", "CRTS-S", "balanced", "CRTS-N", "balanced")
    return Section(
        "Background subtraction (table IV)",
        [
            "Images as columns of a matrix; robust PCA (alternating projections, rank 1) parts it "
            "into one common image in various strengths and what is sparse; its greatest "
            "strength is taken off every image before training and testing. Per class, the "
            "class of a test star is told by what was taken off: that row is the answer given "
            "away, as the paper says itself, and no classifier.",
            "One image taken off all alike changes what enters the first layer by a constant, "
            "which the network can undo: the paper gains nothing by it. The rows of least dm hold "
            "the noise, and the small amplitudes with it.",
        ],
        [Table("Accuracy and balanced accuracy, percent", head, rows)],
    )


def _images(results: Results) -> Section | None:
    section = Section(
        "Images of the classes (figures 3, 4 and 5)",
        [
            "Composite: the mean of all training images of a class; median: pixel by pixel; "
            "background: the low-rank part of robust PCA at its strongest. dt to the right, "
            "dm upwards (later minus earlier), grey levels.",
        ],
    )
    grid = GRIDS["fiducial"]
    for survey, name in SURVEYS.items():
        result = results.get(f"images/{survey}")
        if not result:
            continue
        for star in SEVEN:
            section.figures.append(
                [
                    figures.pixels(np.array(result[kind][star]), grid, f"{name} {star}: {kind}")
                    for kind in ("composite", "median", "background")
                ]
            )
    return section if section.figures else None


def _transfer(results: Results) -> Section | None:
    rows = []
    for survey, name in SURVEYS.items():
        for network in ("shallow", "deep"):
            part = results.get(f"seven/{survey}/{network}")
            if not part:
                continue
            for other, result in part["tests"].items():
                if other == name:
                    continue
                known = (survey, other) == ("north", "CRTS-S")
                published = str(paper.TRANSFER[network]) if known else ""
                lyrae = [None if x is None else 100 * x for x in result["recall"][2:4]]
                rows.append(
                    (f"{name} to {other}, {network}", published, *_five(result)[:3],
                     _slash(lyrae), result["objects"])
                )  # fmt: skip
    if not rows:
        return None
    head = ["", "paper", "accuracy", "balanced", "F1", "RRab / RRc recall", "stars"]
    tables = [Table("Trained in one survey, tested in another, percent", head, rows)]
    pairs = []
    for numbers, (shallow, deep) in paper.TRANSFER_PAIRS.items():
        a, b = (paper.NUMBERS[k] for k in numbers)
        cells: list[object] = [f"{a} / {b}"]
        for theirs, network in ((shallow, "shallow"), (deep, "deep")):
            part = results.get(f"pair/north/{network}/{a}-{b}")
            cells += [_slash(theirs), _recalls(part["tests"]["CRTS-S"] if part else None)]
        back = results.get(f"pair/south/shallow/{a}-{b}")
        cells.append(_recalls(back["tests"]["CRTS-N"] if back else None))
        if any(cells[2::2]):
            pairs.append(cells)
    if pairs:
        head = ["", "N to S (paper)", "shallow", "N to S (paper)", "deep", "S to N, shallow"]
        tables.append(Table("Recalls of pairs, percent", head, pairs))
    return Section(
        "Transfer (table V)",
        [
            "All stars of the other survey are tested, as none was in training. North to south, "
            "probabilities keep the north's proportions, as the paper's do; southern curves "
            "have fewer points (a median of 235 against 302).",
            "The paper's third survey, PTF (66.5 and 66.0), is not at hand. Stripe 82's RR Lyrae "
            "(SDSS, band by band, 374 stars of two classes only) stand in its place: 60 points "
            "or so over years, none within one night, so the fast half of the image is empty.",
        ],
        tables,
    )


_FIVE = ("accuracy", "balanced", "F1", "MCC", "ECE")


def _five(result: Result) -> list[str]:
    shares = [_percent(result[k]) for k in ("accuracy", "balanced")]
    numbers = [f"{result[k]:.3f}" for k in ("macro_f1", "matthews")]
    return [*shares, *numbers, _percent(result["ece"])]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _recalls(result: Result | None) -> str:
    return "" if result is None else _slash([100 * (x or 0.0) for x in result["recall"]])


def _shares(result: Result | None, key: str) -> str:
    return "" if result is None else " / ".join(f"{x or 0.0:.2f}" for x in result[key])


def _number(result: Result | None, key: str) -> str:
    return "" if result is None else f"{result[key]:.2f}"


def _slash(values: Any) -> str:
    return " / ".join("-" if v is None else f"{v:.3g}" for v in values)


def _by_two(shown: Sequence[Figure]) -> list[Sequence[Figure]]:
    return [shown[i : i + 2] for i in range(0, len(shown), 2)]

"""The studies from beginning to end: what to say, in sections of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from models.reports import Section

Say = Callable[[str], None]
Study = tuple[str, list[Section]]


def exercise(seed: int, quick: bool, say: Say) -> Study:
    """The exercise on toy stars: its title and sections."""
    from models.studies import exercise as study

    torch.set_num_threads(1)
    size = study.QUICK if quick else study.Size()
    return "DMDT: from irregular light curves to images", study.study(seed, size, say)


def paper(
    data: Path,
    out: Path,
    only: Iterable[str],
    quick: bool,
    steps: int | None,
    seed: int,
    device: str,
    say: Say,
) -> Study:
    """The paper on the Catalina surveys: its title and sections; results are kept under `out`.

    Interrupted, it tells of what was done till then; the next run goes on there.

    Raises
    ------
    FileNotFoundError, ValueError
        The folder of light curves lacks one, or one is of another layout.
    """
    from models.studies import paper_report
    from models.studies.paper import Study as Paper

    torch.set_num_threads(1)
    study = Paper(data, seed=seed, device=device, say=say)
    if quick:
        study = Paper(data, steps=6, most=40, trees=3, seed=seed, device=device, say=say)
        only = tuple(only) or QUICK
    if steps is not None:
        study.steps = steps
    folder = out / ("quick" if quick else "parts")
    try:
        results = study.run(folder, only)
    except KeyboardInterrupt:
        results = study.run(folder, [""])  # none but those that are kept
        say(f"interrupted: {len(results)} of {len(study.parts())} parts are done and kept")
    return paper_report.TITLE, paper_report.sections(results)


def transients(
    data: Path, out: Path, only: Iterable[str], quick: bool, seed: int, device: str, say: Say
) -> Study:
    """Supernovae where the easy test says too much: its title and sections; results are kept.

    Raises
    ------
    FileNotFoundError, ValueError
        The folder of light curves lacks one, or one is of another layout.
    """
    from models.studies import transients_report, tried
    from models.studies.transients import Study as Transients

    torch.set_num_threads(1)
    study = Transients(data, seed, 1 if quick else None, device, say)
    results = study.run(out / ("quick" if quick else "parts"), only)
    told = [*transients_report.sections(results), tried.section(tried.TRANSIENTS)]
    return transients_report.TITLE, told


def periodic(
    data: Path, out: Path, only: Iterable[str], quick: bool, seed: int, device: str, say: Say
) -> Study:
    """The network of periodic stars beside others, and elsewhere: its title and sections.

    Raises
    ------
    FileNotFoundError, ValueError
        The folder of light curves lacks one, or one is of another layout.
    """
    from models.studies import periodic_report, tried
    from models.studies.periodic import Study as Periodic

    torch.set_num_threads(1)
    study = Periodic(data, seed, quick, device, say)
    results = study.run(out / ("quick" if quick else "parts"), only)
    told = [*periodic_report.sections(results), tried.section(tried.PERIODIC)]
    return periodic_report.TITLE, told


#: One part of each kind.
QUICK = (
    "seven/*",
    "forest/south",
    "images/south",
    "pair/north/shallow/EW-EA",
    "pair/south/deep/RRab-RRc",
    "grid/south/*",
    "background/south/*",
    "blank/south/6",
)

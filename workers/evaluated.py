"""What `nightjar evaluate` and `nightjar study` found, in words and tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from workers.terminal import shown

if TYPE_CHECKING:
    from models.examine import Answer, Examination
    from models.reports import Section


def show(result: Examination, told: str) -> None:
    """Print it; `told` says what told whose class numbers the file holds."""
    print(shown(f"{result.file}: class numbers of {result.labels}, {told}"))
    print(shown(f"{result.model} on {result.used}"))
    if result.placed:
        print(f"where they are on the sky counts, and is known of {result.placed:,}")
    if result.tau:
        print(f"probabilities divided by class proportions to the power {result.tau:g}")
    if result.unknown:
        words = ", ".join(f"{n:,} {name}" for name, n in result.unknown.items())
        print(shown(f"left out, as {result.model} does not know their class: {words}"))
    for table in (figures(result), recalls(result)):
        Console().print(table)


def show_section(section: Section) -> None:
    """Print a section of a report, but for its figures."""
    console = Console()
    console.rule(section.title, align="left")
    for words in section.words:
        console.print(words, markup=False, highlight=False)
    for told in section.tables:
        table = Table(title=told.title, title_justify="left")
        for i, head in enumerate(told.head):
            table.add_column(head, justify="right" if i else "left")
        for row in told.rows:
            table.add_row(*map(str, row))
        console.print(table)


def figures(result: Examination) -> Table:
    out = Table(
        title="By the first points of each object that has as many",
        title_justify="left",
        caption="named: with points enough in a band, of transients also a detection; gain: of the "
        "log loss over always answering the class proportions",
        caption_justify="left",
    )
    for head in ("points", "objects", "named", "accuracy", "balanced", "F1", "ECE", "gain"):
        out.add_column(head, justify="right")
    for a in result.answers:
        row = [_points(a), f"{a.objects:,}", f"{a.named:,}"]
        if a.metrics is not None:
            m = a.metrics
            row += [_percent(m.accuracy), _percent(m.balanced_accuracy), f"{m.macro_f1:.3f}"]
            row += [_percent(m.ece), f"{m.log_loss_gain:.3f}"]
        out.add_row(*row)
    return out


def recalls(result: Examination) -> Table:
    out = Table(title="Of each class, so many are named right", title_justify="left")
    out.add_column("points", justify="right")
    for name in result.classes:
        out.add_column(name, justify="right")
    for a in result.answers:
        shares = [math.nan] * len(result.classes) if a.metrics is None else a.metrics.recall
        out.add_row(_points(a), *map(_percent, shares))
    last = result.answers[0].metrics
    if last is not None:
        out.add_section()
        out.add_row("objects", *(f"{n:,.0f}" for n in last.confusion.sum(axis=1)))
    return out


def _points(answer: Answer) -> str:
    return str(answer.points) if answer.points else "all"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f} %"

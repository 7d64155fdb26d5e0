"""An audit's report for people: the table of what became of the alerts, then each fault."""

from __future__ import annotations

from collections.abc import Sequence

from workers.audit.books import BEFORE, OUTCOMES
from workers.audit.faults import where
from workers.audit.report import Line, Report
from workers.terminal import shown

#: Faults that are printed one by one; --json has all.
_MOST = 200
#: The outcomes stand between these; `before` only where a classifier is younger than the stream.
_HEADS = ("survey partition", "classifier", "received"), ("under way", "missing", "doubled")


def text(report: Report) -> str:
    """The whole report, as it is printed."""
    books = report.books
    alerts = sum({line.cell: line.received for line in report.lines}.values())
    took = sum(report.seconds.values())
    parts = [
        f"namespace {report.namespace}: {books.rows:,} transactions, {alerts:,} alerts, "
        f"{report.labels:,} labels, in {took:.1f} s"
    ]
    if report.lines:
        parts.append(_table(report.lines))
    if (deep := report.deep) is not None:
        parts.append(
            f"alert by alert: {deep.alerts:,} detections, {deep.matched:,} labels of them, "
            f"{deep.repeats:,} that came again, {deep.notices:,} notices, "
            f"{deep.under_way:,} under way"
            + (f", {deep.expired:,} labels of detections that expired" if deep.expired else "")
        )
    parts += report.notes
    parts += [f"{fault.what.upper()}: {shown(fault.words)}" for fault in report.faults[:_MOST]]
    if len(report.faults) > _MOST:
        parts.append(f"and {len(report.faults) - _MOST:,} more: --json has all")
    parts.append(_verdict(report))
    return "\n".join(parts)


def _verdict(report: Report) -> str:
    if report.faults:
        several = "faults" if len(report.faults) > 1 else "fault"
        by = " --deep names each alert." if report.deep is None else ""
        return f"{len(report.faults):,} {several}: the sum does not close.{by}"
    waits = sum(line.under_way for line in report.lines)
    if waits:
        return f"Nothing is missing or doubled; {waits:,} alerts are under way."
    return "Nothing is missing, nothing is doubled: every alert has its one outcome."


def _table(lines: Sequence[Line]) -> str:
    late = any(line.outcomes[BEFORE] for line in lines)
    outcomes = (*OUTCOMES, BEFORE) if late else OUTCOMES
    rows = []
    for classifier in dict.fromkeys(line.classifier for line in lines):
        its = [line for line in lines if line.classifier == classifier]
        numbers = [_numbers(line, outcomes) for line in its]
        places = [shown(where(line.cell)) for line in its]
        rows += [(a, classifier or "-", b) for a, b in zip(places, numbers, strict=True)]
        if len(its) > 1:
            rows.append(("all", classifier, tuple(map(sum, zip(*numbers, strict=True)))))
    words = [
        (*_HEADS[0], *outcomes, *_HEADS[1]),
        *((a, b, *(f"{n:,}" for n in numbers)) for a, b, numbers in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*words, strict=True)]
    return "\n".join(
        "  ".join(
            word.ljust(width) if i < 2 else word.rjust(width)
            for i, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in words
    )


def _numbers(line: Line, outcomes: Sequence[str]) -> tuple[int, ...]:
    said = (line.outcomes[outcome] for outcome in outcomes)
    return (line.received, *said, line.under_way, line.missing, line.doubled)

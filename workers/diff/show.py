"""A comparison for people: how often they agree, who says what, and where they differ most."""

from __future__ import annotations

from typing import Any

from workers.diff.diff import Result
from workers.diff.difference import Agreement
from workers.terminal import columns, shown


def text(result: Result) -> str:
    """The whole comparison, as it is printed."""
    found = result.difference
    lines = [
        f"{which} {asked}: {', '.join(met)}"
        for which, asked, met in zip(
            ("first ", "second"), result.asked, result.classifiers, strict=True
        )
    ]
    lines.append(
        f"{found.both:,} alerts answered by both, {found.only[0]:,} by the first alone, "
        f"{found.only[1]:,} by the second alone"
    )
    lines.append(f"named by both: {_agreement(found.named)}")
    if found.other_points.count:
        lines.append(f"of them, from equal points: {_agreement(found.equal_points)}")
    if found.matrix:
        lines += ["", *_matrix(found.matrix)]
    if found.different.count:
        lines += ["", f"{found.different.count:,} differ; the most different:"]
        lines += [_alert(alert) for alert in found.different.rows()]
    if found.other_points.count:
        lines += ["", f"{found.other_points.count:,} were answered from other points:"]
        lines += [_alert(alert) for alert in found.other_points.rows()]
    if found.broken.count:
        n = found.broken.count
        lines += ["", f"{n:,} HAVE EQUAL POINTS AND WEIGHTS, AND OTHER LABELS:"]
        lines += [_alert(alert) for alert in found.broken.rows()]
    return "\n".join(map(shown, lines))


def _agreement(found: Agreement) -> str:
    if not found.alerts:
        return "none"
    n = found.alerts
    return (
        f"{n:,}; the same name {found.same / n:.2%}, a probability differs by "
        f"{found.apart / n:.4f}, Jensen-Shannon divergence {found.divergence / n:.4f} bit (means)"
    )


def _matrix(matrix: Any) -> list[str]:
    """What the first said in rows, what the second said in columns."""
    down, across = (sorted({pair[i] for pair in matrix}, key=_last) for i in (0, 1))
    heads = ["first \\ second", *across]
    rows = [[one, *(f"{matrix[one, two]:,}" for two in across)] for one in down]
    return columns([heads, *rows])


def _last(word: str) -> tuple[bool, str]:
    """Reasons stand behind the classes."""
    return word.startswith("("), word


def _alert(alert: dict[str, Any]) -> str:
    def side(which: str) -> str:
        said, classes = alert[which]["said"], alert[which]["classes"]
        return f"{said} {classes[said]:.2f}" if said in classes else str(said)

    points = "" if alert["equal_points"] else ", from other points"
    return (
        f"  {alert['survey']} {alert['object']}  alert {alert['alert_id']}: {side('first')} / "
        f"{side('second')}  ({alert['jensen_shannon_bits']:.3f} bit{points})"
    )

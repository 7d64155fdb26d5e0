"""The commands that say what became of alerts."""

from __future__ import annotations

from pathlib import Path

from workers.commands.beginning import begun, entered
from workers.process import set_kernel_cache
from workers.settings import Settings


def audit(
    *, deep: bool = False, json: bool = False, settings: Settings | None = None
) -> int | None:
    """Prove that every alert has its outcome: from the ledger and the labels alone.

    Parameters
    ----------
    deep
        Match every single alert with its label, and name those that have none or two.
    json
        One JSON object instead of the table.
    """
    set_kernel_cache()
    from workers.audit.audit import audit as prove
    from workers.audit.show import text
    from workers.show import json_line

    report = prove(entered(begun(settings)), deep)
    print(json_line(report.row()) if json else text(report))
    return None if report.good else 1


def trace(
    name: str,
    *,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Tell what became of one alert, or of all alerts of one object.

    Parameters
    ----------
    name
        An alert's id, or an object's: ZTF18aaiscil, or with its survey ztf:ZTF18aaiscil.
    json
        One JSON object for each alert instead of the lines for people.
    """
    set_kernel_cache()
    from workers.show import json_line
    from workers.trace.show import said
    from workers.trace.trace import trace as follow

    for alert in follow(entered(begun(settings)), name):
        print(json_line(alert) if json else said(alert))


def diff(
    first: str,
    second: str,
    *,
    most: int = 10,
    tolerance: float = 0.01,
    json: bool = False,
    settings: Settings | None = None,
) -> int | None:
    """Show where two classifiers disagree, or one in two namespaces: alert by alert.

    Exit code 1 where equal points and equal weights gave other labels.

    Parameters
    ----------
    first
        A classifier, crts-rows; of another namespace, again:crts-rows; or a file that replay --out
        wrote, labels.parquet, or labels.parquet:crts-rows where it holds several.
    second
        The other.
    most
        How many alerts are told of, the most different first.
    tolerance
        Probabilities that lie no further apart are the same.
    json
        One JSON object instead of the table.
    """
    set_kernel_cache()
    from workers.diff.diff import diff as compare
    from workers.diff.show import text
    from workers.show import json_line

    given = begun(settings)
    files = all(".parquet" in side for side in (first, second))
    result = compare(given if files else entered(given), first, second, most, tolerance)
    print(json_line(result.row()) if json else text(result))
    return None if result.good else 1


def score(
    truth: Path,
    said: str,
    *,
    json: bool = False,
    settings: Settings | None = None,
) -> None:
    """Hold labels against a table of what the objects are: how right, how honest.

    Each label counts once, of a light curve as long as it was then.

    Parameters
    ----------
    truth
        A Parquet or CSV file with columns object and kind (or class, or type), in words that
        `nightjar taxonomy` prints: truth.parquet of `nightjar simulate`, or a catalogue's.
    said
        A classifier, crts-periodic; of another namespace, again:crts-periodic; or a file that
        replay --out wrote, labels.parquet, or labels.parquet:crts-periodic where it holds several.
    json
        One JSON object instead of the tables.
    """
    set_kernel_cache()
    from workers.score.score import score as hold
    from workers.score.score import text
    from workers.show import json_line

    given = begun(settings)
    found = hold(given if ".parquet" in said else entered(given), truth, said)
    print(json_line(found.row()) if json else text(found))

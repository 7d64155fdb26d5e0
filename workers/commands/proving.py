"""The commands that say what became of alerts."""

from __future__ import annotations

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

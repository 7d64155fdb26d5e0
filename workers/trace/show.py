"""An alert's way in lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from workers.terminal import shown
from workers.trace.hops import Found


def said(alert: Found) -> str:
    """The lines of one alert: its packet, each hop, what came of it."""
    at = alert["origin"]
    lines = [
        f"{alert['survey']} {alert['object']}  alert {alert['alert_id']}: {alert['outcome']}"
        + (f" ({alert['why']})" if alert["why"] else ""),
        f"  packet    {at['topic']}[{at['partition']}] offset {at['offset']} record "
        f"{at['record']}, published {alert['published']}",
    ]
    if (place := alert["detection"]) is not None:
        lines.append(f"  decode    {_where(place)}, {alert['decoded']}")
        kinds = Counter(point["kind"] for point in alert["points_added"])
        added = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "no points"
        image = alert["image"]
        to = f"{_where(image)}, {image['made']}: " if image is not None else "no image: "
        lines.append(
            f"  curves    {to}{alert['curves']}, {added} added, {alert['points']} in it now"
        )
    for label in alert["labels"]:
        likeliest = [f"{name} {p:.2f}" for name, p in list(label["classes"].items())[:3]]
        names = ", ".join(likeliest) if label["reason"] == "none" else label["reason"]
        lines.append(
            f"  classify  {_where(label)}, {label['classified']}: {names} by {label['classifier']} "
            f"(weights {label['weights_hash'][:12]})"
        )
    lines += [
        f"  dead      {_where(letter)}, {letter['died']}: {letter['reason']} at {letter['hop']}: "
        f"{letter['error']}"
        for letter in alert["dead"]
    ]
    return "\n".join(map(shown, lines))


def _where(place: Mapping[str, Any]) -> str:
    return f"{place['topic']}[{place['partition']}] offset {place['offset']}"

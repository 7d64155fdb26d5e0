"""One line for people, or one JSON object, for what the commands print."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workers.labels import best
from workers.terminal import shown

if TYPE_CHECKING:
    from models.training import Epoch


def json_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON: NaN is null, times are ISO 8601."""
    return json.dumps(_plain(record), separators=(",", ":"), allow_nan=False)


def label_line(label: Mapping[str, Any]) -> str:
    """`ztf ZTF18aaiscil 2458… r 17.42 | RRab 0.93, RRc 0.04 | 31 points`."""
    name, _ = best(dict(label))
    likeliest = sorted(label["classes"], key=lambda c: -c["probability"])[:3]
    names = ", ".join(f"{c['name']} {c['probability']:.2f}" for c in likeliest)
    points = sum(p["n"] for p in label["presences"] if p["kind"] == "detection")
    magnitude = label["magnitude"]
    return shown(
        f"{label['mjd_tai']:.5f}  {label['survey']} {label['object']}  {label['alertId']}  "
        f"{label['ra']:.5f} {label['dec']:+.5f}  {label['band']} "
        f"{'--' if math.isnan(magnitude) else f'{magnitude:.2f}'}  {points} points  "
        f"{names if name is not None else 'not named: ' + label['reason']}  "
        f"{label['classifierName']}"
    )


def alert_line(alert: Mapping[str, Any]) -> str:
    """`ztf ZTF18aaiscil 2458…  r  31 detection, 4 limit`, or what is wrong with the file."""
    if "error" in alert:
        return shown(f"{alert['file']}: {alert['reason']}: {alert['error']}")
    kinds = Counter(point["kind"] for point in alert["points"])
    points = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    return shown(
        f"{alert['mjd_tai']:.5f}  {alert['survey']} {alert['object_id']}  {alert['alert_id']}  "
        f"{alert['ra']:.5f} {alert['dec']:+.5f}  {alert['band']}  {points}"
    )


def epoch_line(epoch: Epoch) -> str:
    """How training stands after an epoch."""
    left = epoch.seconds / epoch.number * (epoch.of - epoch.number)
    return (
        f"epoch {epoch.number} of {epoch.of}  validation loss {epoch.validation_loss:.4f}  "
        f"accuracy {epoch.validation_accuracy:.4f}{' *' if epoch.best else '  '}  "
        f"{epoch.seconds:.0f} s, {left:.0f} s left"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, datetime) else value

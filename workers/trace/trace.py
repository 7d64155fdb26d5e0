"""What became of one alert: its packet, each hop with its time, the points it added, its labels.

Read from the topics alone: an object keeps its partition from detections to labels, so where the
object is known one partition of each is read. What the light curve made of an alert is found by
giving the object's detections to the same light curves again.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.records import ALERT, SURVEYS
from workers.errors import Failed
from workers.progress import Progress
from workers.settings import Settings
from workers.trace.hops import Found, detected, images, letters, told
from workers.trace.topics import Topics


def trace(settings: Settings, name: str) -> list[Found]:
    """The alerts that `name` names, in order of the detections.

    Parameters
    ----------
    name
        An alert's id; an object's, with its survey before a colon or without.

    Raises
    ------
    Failed
        No such alert or object, or no such namespace.
    """
    with Progress("trace", unit="records") as progress:
        topics = Topics(settings, progress)
        key, alert_id = None, None
        for candidate in _keys(name):
            if any(topics.has(kind, candidate) for kind in ("detections", *topics.labels)):
                key = candidate
                break
        if key is None and name.removeprefix("-").isdecimal() and -(1 << 63) <= int(name) < 1 << 63:
            alert_id = int(name)
            key = topics.key_of(alert_id)
        if key is None:
            msg = (
                f"no alert or object {name!r} in namespace {settings.namespace!r}: looked through "
                f"{progress.done:,} records of its detections and labels. An object is given as "
                "its survey names it (ZTF18aaiscil, or ztf:ZTF18aaiscil), an alert by its id "
                "(candid, diaSourceId); what could not be decoded has neither, see its dead letter"
            )
            raise Failed(msg)
        alerts = _alerts(settings, topics, key)
    return [a for a in alerts if alert_id is None or a["alert_id"] == alert_id]


def _keys(name: str) -> list[bytes]:
    """What an object of this name may be called in the topics."""
    survey, colon, _ = name.partition(":")
    names = [name] if colon and survey in SURVEYS else [f"{s}:{name}" for s in SURVEYS]
    found = [n.encode("utf-8", "replace") for n in names]
    return [n for n in found if len(n.partition(b":")[2]) <= ALERT["object"].itemsize]


def _alerts(settings: Settings, topics: Topics, key: bytes) -> list[Found]:
    """All alerts of an object; those whose detections have expired by their labels alone."""
    labels = [told(message) for kind in topics.labels for message in topics.of(kind, key)]
    dead = letters(settings, topics)
    made = dict(images(topics, key))
    alerts = detected(settings, topics, key)
    for number, alert in enumerate(alerts):
        own = alert.pop("hash")
        alert["image"] = made.get(own)
        alert["dead"] = dead.get(own, [])
        alert["labels"] = [
            label
            for label in labels
            if label["alert_id"] == alert["alert_id"]
            and (label["origin"] == alert["origin"] or label["withdraws"])
        ]
        _decide(alert, alerts[:number])
    known = {alert["alert_id"] for alert in alerts}
    alone: dict[int, list[Found]] = {}
    for label in labels:
        if label["alert_id"] not in known:
            alone.setdefault(label["alert_id"], []).append(label)
    return [_expired(key, alert_id, some) for alert_id, some in alone.items()] + alerts


def _decide(alert: Found, earlier: Sequence[Found]) -> None:
    """The outcome, in a word and in words: by what stands in the topics."""
    own = [label for label in alert["labels"] if label["origin"] == alert["origin"]]
    first = next((a for a in earlier if a["alert_id"] == alert["alert_id"]), None)
    if own:
        reasons = {label["reason"] for label in own}
        word = "labelled" if "none" in reasons else "unclassified"
        alert["outcome"] = "withdrawn" if reasons == {"withdrawn"} else word
        alert["why"] = "" if word == "labelled" else ", ".join(sorted(reasons))
    elif alert["dead"]:
        letter = alert["dead"][-1]
        alert["outcome"] = "dead"
        alert["why"] = f"{letter['reason']} at {letter['hop']}: {letter['error']}"
    elif alert["image"] is not None:
        alert["outcome"], alert["why"] = "under way", "its image waits for a classifier"
    elif alert["curves"] in ("duplicate", "corrected"):
        alert["outcome"] = alert["curves"]
        alert["why"] = "the same alert came before"
        if first is not None:
            alert["of"] = first["origin"]
            at = first["origin"]
            alert["why"] = (
                f"the same alert came before, from {at['topic']}[{at['partition']}] offset "
                f"{at['offset']} record {at['record']}, and has the label"
            )
    else:
        alert["outcome"], alert["why"] = "under way", "its detection waits for curves"


def _expired(key: bytes, alert_id: int, labels: Sequence[Found]) -> Found:
    """An alert of which only labels are left."""
    first = labels[0]
    survey, _, name = key.decode().partition(":")
    named = any(label["reason"] == "none" for label in labels)
    return {
        "survey": survey,
        "object": name,
        "alert_id": alert_id,
        "origin": first["origin"],
        "published": first["published"],
        "decoded": first["decoded"],
        "detection": None,
        "labels": list(labels),
        "dead": [],
        "outcome": "labelled" if named else "unclassified",
        "why": "its detection has expired: what its points were is not told any more",
    }

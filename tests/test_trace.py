"""`nightjar trace` on a real run: an alert's way is told, and so is why it has no label."""

from __future__ import annotations

import json

from rewritten import Run, Said, Topics
from streams import label

from broker import wire


def traced(audited: Run, name: str, namespace: str | None = None) -> list[Said]:
    done = audited.nightjar("trace", name, "--json", namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def some_object(audited: Run) -> tuple[str, list[Said]]:
    """The object with the most labels, and these."""
    labels = [label(value) for _, _, value, _ in audited.topics["labels"]]
    names = [row["object"] for row in labels]
    name = max(sorted(set(names)), key=names.count)
    return name, [row for row in labels if row["object"] == name]


def test_an_object_and_each_of_its_alerts(audited: Run) -> None:
    name, labels = some_object(audited)
    found = traced(audited, name)
    answered = [alert for alert in found if alert["labels"]]
    assert [a["alert_id"] for a in answered] == [row["alertId"] for row in labels]
    values = [v for _, key, v, _ in audited.topics["detections"] if key == f"ztf:{name}".encode()]
    detections, _ = wire.read_detections(values)
    assert [a["alert_id"] for a in found] == detections.alerts["alert_id"].tolist()
    seen: set[tuple[int, int, float]] = set()
    for i, alert in enumerate(found):
        points = detections.points[detections.first[i] : detections.first[i + 1]]
        here = {(int(p["exposure"]), int(p["kind"]), float(p["mjd_tai"])) for p in points}
        assert len(alert["points_added"]) == len(here - seen)
        seen |= here
        assert alert["points"] == len(seen)
    for alert, row in zip(answered, labels, strict=True):
        (answer,) = alert["labels"]
        assert alert["outcome"] == ("labelled" if row["reason"] == "none" else "unclassified")
        assert (answer["classifier"], answer["weights_hash"]) == (
            row["classifierName"],
            row["weights_hash"],
        )
        assert alert["origin"]["topic"] == f"{audited.name}.packets"
        assert alert["detection"]["topic"] == f"{audited.name}.detections"
        assert alert["image"]["topic"] == f"{audited.name}.images"
        times = [alert["published"], alert["decoded"], alert["image"]["made"], answer["classified"]]
        assert times == sorted(times)


def test_people_get_a_line_for_each_hop(audited: Run) -> None:
    name, labels = some_object(audited)
    row = labels[-1]
    done = audited.nightjar("trace", f"ztf:{name}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (at,) = (
        i for i, x in enumerate(lines) if x.startswith(f"ztf {name}  alert {row['alertId']}: ")
    )
    hops = lines[at + 1 : at + 5]
    assert [line.split()[0] for line in hops] == ["packet", "decode", "curves", "classify"]
    assert f"offset {row['offset']} record {row['record']}" in hops[0]
    assert row["classifierName"] in hops[-1]


def test_a_duplicate_names_the_first(audited: Run) -> None:
    truth = audited.night.truth().to_pydict()
    which = truth["deed"].index("repeated")
    first, again = traced(audited, str(truth["alert_id"][which]))
    assert (first["outcome"] in ("labelled", "unclassified"), again["outcome"]) == (
        True,
        "duplicate",
    )
    assert again["of"] == first["origin"] != again["origin"]
    assert again["labels"] == again["points_added"] == []


def test_a_dead_alert_tells_why_and_one_under_way_where_it_waits(audited: Run) -> None:
    _, labels = some_object(audited)
    row = labels[-1]
    places = {}

    def bury(topics: Topics) -> None:
        for kind in ("images", "labels"):
            topics[kind].remove(places[kind])
        headers = {
            "reason": "stage_failed",
            "span": "curves",
            "error": "curves: a kernel refuses this",
            "topic": f"{audited.name}.detections",
            "partition": "0",
            "offset": "1",
            "died_ms": "1795250477123",
        }
        said = [(name, text.encode()) for name, text in headers.items()]
        topics["dead-letters"].append((0, None, places["detections"][2], said))

    for record in audited.topics["detections"]:
        if wire.read_detections([record[2]])[0].alerts["alert_id"][0] == row["alertId"]:
            places["detections"] = record
    for record in audited.topics["images"]:
        if wire.read_images([record[2]])[0].images["alert_id"][0] == row["alertId"]:
            places["images"] = record
    for record in audited.topics["labels"]:
        if label(record[2])["alertId"] == row["alertId"]:
            places["labels"] = record
    (alert,) = traced(audited, str(row["alertId"]), audited.plant(bury))
    assert (alert["outcome"], alert["labels"], alert["image"]) == ("dead", [], None)
    assert alert["why"] == "stage_failed at curves: curves: a kernel refuses this"
    assert alert["dead"][0]["died"] == "2026-11-21T08:41:17.123Z"

    late = audited.plant(lambda topics: topics["labels"].remove(places["labels"]))
    (alert,) = traced(audited, str(row["alertId"]), late)
    assert (alert["outcome"], alert["why"]) == ("under way", "its image waits for a classifier")


def test_an_unknown_name_is_told(audited: Run) -> None:
    for name in ("ztf:ZTF99unknown", "-3"):  # an object's name, and one that may be an alert's
        done = audited.nightjar("trace", "--", name)
        assert done.returncode == 1, (name, done.stderr)
        assert f"no alert or object {name!r} in namespace" in done.stderr

"""Dead letters on a real Kafka: seen, exported, retried once, and the operator's last resort."""

from __future__ import annotations

import csv
import json
import resource
import signal
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import NIGHTJAR, Standing, environment, nightjar
from mutations import Mutator, simulated
from streams import label, publish, read_topic, until
from test_span import totals

from broker import wire
from broker.decode import Decoder
from broker.packets import HTML, Shares, Simulation
from broker.records import Detections, Packets
from workers import topics
from workers.local_kafka import LocalKafka
from workers.settings import Settings


class Place:
    """A namespace, its survey's topic, and the commands run on it."""

    def __init__(self, kafka: LocalKafka, namespace: str, folder: Path) -> None:
        self.kafka, self.namespace, self.folder = kafka, namespace, folder
        self.survey = f"{namespace}-survey"
        self.names = topics.Namespace(namespace, Settings().classify.models)
        self.settings = {
            "kafka_bootstrap_servers": kafka.bootstrap,
            "namespace": namespace,
            "source_topics": self.survey,
            "state_dir": str(folder / "state"),
        }

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return nightjar(*words, cwd=self.folder, **{**self.settings, **more})

    def work(self, spans: str, **more: str) -> Standing:
        folder = self.folder / spans
        folder.mkdir(exist_ok=True)
        return Standing("work", spans, cwd=folder, **{**self.settings, **more})

    def letters(self, *words: str) -> list[dict[str, Any]]:
        done = self.run("dead", "ls", "--json", *words)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def labels(self) -> list[int]:
        return [row["alertId"] for row in labels_of(self)]

    def sum(self) -> tuple[int, dict[str, int]]:
        found = totals(self.kafka, self.names)
        return found.received, {name: n for name, n in found.outcomes().items() if n}


@pytest.fixture
def place(kafka: LocalKafka, namespace: str, tmp_path: Path) -> Place:
    return Place(kafka, namespace, tmp_path)


def night(n: int, seed: int = 21) -> tuple[list[bytes], list[int]]:
    """Packets and the ids of their alerts, each once."""
    simulation = Simulation(
        "ztf", 30, 60, seed, cutouts=False, shares=Shares(corrupt=0, repeated=0)
    )
    values = [value for value, _, _ in simulation.packets()][:n]
    return values, simulation.truth()["alert_id"].to_pylist()[:n]


def test_after_a_fix_each_letter_gives_its_label_once(place: Place) -> None:
    """Decode is told the wrong survey; then letters are retried, and the retry is killed."""
    values, ids = night(900)
    publish(place.kafka.bootstrap, place.survey, [*values, HTML, HTML], 2)
    with place.work("decode", source_survey="lsst") as wrong:
        wrong.wait_for("share")
        until(lambda: len(read_dead(place)) == 902, 60)
        assert wrong.interrupt()[0] == 0
    # what there is
    assert Counter(row["reason"] for row in place.letters()) == {
        "schema_mismatch": 900,
        "html": 2,
    }
    assert place.letters("--until", "1h") == []
    (page, other) = place.letters("--reason", "html", "--since", "1h")
    assert (page["topic"], page["attempts"], page["bytes"]) == (place.survey, 1, len(HTML))
    assert {page["offset"] for page in (page, other)} == {450}
    done = place.run("dead", "show", page["letter"])
    assert done.returncode == 0, done.stderr
    assert "a web page, not a packet" in done.stdout
    assert "<!DOCTYPE html>." in done.stdout
    # its bytes, untouched
    done = place.run("dead", "export", "out")
    assert done.returncode == 0, done.stderr
    table = (place.folder / "out" / "letters.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    kept = [(place.folder / "out" / row["file"]).read_bytes() for row in rows]
    assert sorted(kept) == sorted([*values, HTML, HTML])
    # retried, and killed while at it: at its first and at its second transaction
    for words in ("200 letters retried", "400 letters retried"):
        retry = subprocess.Popen(
            [*NIGHTJAR, "dead", "retry", "--reason", "schema_mismatch"],
            cwd=place.folder,
            env=environment(**place.settings),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert retry.stderr is not None
        for line in retry.stderr:
            if words in line:
                retry.send_signal(signal.SIGKILL)
        retry.wait()
        retry.stderr.close()
    done = place.run("dead", "retry", "--reason", "schema_mismatch")
    assert done.returncode == 0, done.stdout + done.stderr
    again = place.run("dead", "retry", "--reason", "schema_mismatch")
    assert again.returncode == 0
    assert "0 letters retried" in again.stdout
    assert "900 were retried before" in again.stdout
    # what no fix helps is dead once more, and says so
    done = place.run("dead", "retry", page["letter"])
    assert done.returncode == 1
    assert "dead again at once: 1 html" in done.stdout
    (second,) = (row for row in place.letters("--reason", "html") if row["attempts"] == 2)
    assert second["offset"] == page["offset"]
    with place.work("curves,classify") as rest:
        rest.wait_for("share")
        until(lambda: len(place.labels()) >= 900, 120)
        until(lambda: place.sum()[0] == sum(place.sum()[1].values()) == 902, 30)
        assert sorted(place.labels()) == sorted(ids)
        assert place.sum()[1]["dead"] == 2
        assert rest.interrupt()[0] == 0
    skipping(place, values)


def read_dead(place: Place) -> list[bytes]:
    try:
        parts = read_topic(place.kafka.bootstrap, place.names.topic("dead-letters"))
    except KeyError:
        return []
    return [value for part in parts.values() for _, value in part]


def skipping(place: Place, values: list[bytes]) -> None:
    """Decode's group stands at 451 of both partitions."""
    publish(place.kafka.bootstrap, place.survey, [HTML] * 40, 2)

    def skip(partition: int, start: int, end: int, *words: str) -> tuple[int, str]:
        done = place.run("skip", place.survey, str(partition), str(start), str(end), *words)
        return done.returncode, done.stdout + done.stderr

    code, said = skip(0, 451, 461)
    assert code == 2
    assert "--yes" in said
    for start, end, why in ((450, 461, "stands at offset 451"), (451, 472, "ends at offset 471")):
        code, said = skip(0, start, end, "--yes")
        assert code == 1
        assert why in said
    code, said = skip(0, 451, 461, "--yes")
    assert code == 0, said
    assert "10 lost" in said
    with place.work("decode") as again:
        again.wait_for("share")
        until(lambda: len(read_dead(place)) == 902 + 1 + 30, 60)
        code, said = skip(0, 471, 472, "--yes")
        assert code == 1
        assert "stop every worker" in said
        until(lambda: place.sum()[1]["lost"] == 10)
        received, outcomes = place.sum()
        assert received == sum(outcomes.values()) == 902 + 40
        assert again.interrupt()[0] == 0
    audited = place.run("audit", "--deep")
    assert audited.returncode == 0, audited.stdout


def test_rubbish_and_records_that_break_a_stage_take_nobody_along(place: Place) -> None:
    """Mutated packets among good ones; then a point without time, and counts that fit no grid."""
    values, ids = night(300)
    mutate = Mutator(simulated(5, 20), 9, schemas_too=0)
    rubbish = [mutate()[1] for _ in range(400)]
    mixed = [value for pair in zip(values, rubbish, strict=False) for value in pair] + rubbish[300:]
    publish(place.kafka.bootstrap, place.survey, mixed, 2)
    with place.work("decode") as decode, place.work("curves,classify") as rest:
        rest.wait_for("share")

        def settled(packets: int) -> bool:
            found = totals(place.kafka, place.names)
            return found.done(packets)

        until(lambda: settled(700), 120)
        rows = labels_of(place)
        assert len(rows) == len({(row["object"], row["alertId"]) for row in rows})
        assert set(ids) <= {row["alertId"] for row in rows}
        dead = len(read_dead(place))
        assert dead == place.sum()[1]["dead"] > 100

        # a point without time in the middle of a hundred detections of another sky
        detections = decoded(night(101, 22)[0])
        detections.points["mjd_tai"][detections.first[57] + 2] = np.nan
        bad = wire.write_detections(detections)
        before = Counter(row["alertId"] for row in rows)
        publish(place.kafka.bootstrap, place.names.topic("detections"), bad, 4)
        until(lambda: len(read_dead(place)) == dead + 1, 60)
        until(lambda: len(labels_of(place)) == len(rows) + 100, 60)
        added = Counter(row["alertId"] for row in labels_of(place)) - before
        others = detections.alerts["alert_id"].tolist()
        gone = others.pop(57)
        assert added == Counter(others)
        assert gone not in added

        # counts that fit no grid in the middle of a hundred images that were labelled before
        named = next(row for row in labels_of(place) if row["reason"] == "none")
        images = [
            value
            for part in read_topic(place.kafka.bootstrap, place.names.topic("images")).values()
            for _, value in part
        ]
        broken, _ = wire.read_images(images)
        which = broken.images["alert_id"].tolist().index(named["alertId"])
        one, _ = wire.read_images([images[which]])
        broken = replace(one, heap=np.full_like(one.heap, 0xFF))
        some = [*images[:50], *wire.write_images(broken), *images[50:100]]
        so_far = len(labels_of(place))
        publish(place.kafka.bootstrap, place.names.topic("images"), some, 4)
        until(lambda: len(read_dead(place)) == dead + 2, 60)
        until(lambda: len(labels_of(place)) == so_far + 100, 60)

        curves, classify = place.letters("--reason", "stage_failed")
        assert (curves["span"], classify["span"]) == ("curves", "classify")
        assert "a time that is none" in curves["error"]
        assert "do not fit the grid" in classify["error"]
        assert read_dead(place).count(bad[57]) == 1
        assert str(gone) in place.run("dead", "show", curves["letter"]).stdout

        # no fix was made: they die again, and that is the second time
        done = place.run("dead", "retry", curves["letter"], classify["letter"])
        assert done.returncode == 0, done.stdout + done.stderr
        until(lambda: len(read_dead(place)) == dead + 4, 60)
        twice = [row for row in place.letters() if row["attempts"] == 2]
        assert Counter(row["span"] for row in twice) == {"curves": 1, "classify": 1}
        assert [row["bytes"] for row in twice] == [
            next(r["bytes"] for r in (curves, classify) if r["span"] == row["span"])
            for row in twice
        ]
        assert len(labels_of(place)) == so_far + 100
        assert rest.interrupt()[0] == 0
        assert decode.interrupt()[0] == 0


def labels_of(place: Place) -> list[dict[str, Any]]:
    parts = read_topic(place.kafka.bootstrap, place.names.topic("labels")).values()
    return [label(value) for part in parts for _, value in part]


def decoded(values: list[bytes]) -> Detections:
    n = len(values)
    zeros = np.zeros(n, np.int32)
    packets = Packets(values, "other", zeros, np.arange(n), np.zeros(n, np.int64))
    detections, dead = Decoder().decode(packets)
    assert not dead
    return detections


def test_a_full_disk_makes_no_letters(place: Place) -> None:
    """A limit on file sizes stands for it: the worker ends, and goes on where there is room."""
    client = {"bootstrap.servers": place.kafka.bootstrap}
    topics.ensure(client, place.names, 4, 1)
    one = decoded(night(1)[0])
    n = 2000
    alerts, points = np.repeat(one.alerts, n), np.tile(one.points, n)
    alerts["object"] = [b"ZTF%07d" % i for i in range(n)]
    alerts["alert_id"] += np.arange(n)
    values = wire.write_detections(Detections(alerts, points, np.arange(n + 1) * len(one.points)))
    with place.work("curves") as full:
        full.wait_for("share")
        resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (5 << 20, 5 << 20))
        publish(place.kafka.bootstrap, place.names.topic("detections"), values, 1)
        assert full.process.wait(60) == 1
        assert "Make room" in full.output.read_text()
    assert read_dead(place) == []
    with place.work("curves") as roomy:
        roomy.wait_for("restored")
        images = place.names.topic("images")
        until(lambda: sum(map(len, read_topic(place.kafka.bootstrap, images).values())) >= n, 60)
        assert roomy.interrupt()[0] == 0
    written = [v for part in read_topic(place.kafka.bootstrap, images).values() for _, v in part]
    found, faults = wire.read_images(written)
    assert not faults
    assert sorted(found.images["alert_id"].tolist()) == alerts["alert_id"].tolist()
    assert read_dead(place) == []

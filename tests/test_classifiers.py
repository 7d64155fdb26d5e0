"""Several classifiers on one stream: each alert has one label of each, whatever becomes of one."""

from __future__ import annotations

import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient
from streams import delete_group, label, publish, read_topic, until

from broker.inputs import Inputs
from broker.packets import Shares, Simulation
from broker.records import Images, Labels
from models import cards
from models.cards import Card
from workers import assembly, classifiers, ending, topics, work
from workers.audit.audit import audit
from workers.audit.report import Report
from workers.crew import spans_of
from workers.diff.diff import diff
from workers.errors import Misused
from workers.follow import Follower
from workers.kafka import Stopped
from workers.letters import Wanted
from workers.local_kafka import LocalKafka
from workers.retry import Retry
from workers.settings import Classify, Kafka, Settings, Source
from workers.skip import skip
from workers.trace.trace import trace


def another(folder: Path, name: str, version: str, refuse_flags: int = 8) -> str:
    """The shipped network under another name and version; with other flags, of other inputs."""
    shipped = cards.find("crts-rows")
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    channel = replace(shipped.channel, refuse_flags=refuse_flags)
    path.write_text(cards.dump(replace(shipped, version=version, inputs=Inputs((channel,)))))
    for part in shipped.files:
        shutil.copyfile(part, path.with_suffix(part.suffix))
    return str(path)


class Fragile:
    """A network that a fault keeps from some alerts, until that is fixed."""

    def __init__(self, settings: Settings, card: Card) -> None:
        self.network, self.refused = assembly.network_of(settings, card), set[int]()
        assembly._networks[card.weights, settings.classify] = self  # type: ignore[assignment]

    def classify(self, images: Images) -> Labels:
        if self.refused & set(images.images["alert_id"].tolist()):
            msg = "a fault that will be fixed"
            raise ValueError(msg)
        return self.network.classify(images)


class Stream:
    """A survey's topic, a namespace, and parts of workers in threads of this process."""

    def __init__(
        self,
        kafka: LocalKafka,
        namespace: str,
        folder: Path,
        classify: Classify | None = None,
    ) -> None:
        self.kafka, self.name = kafka, namespace
        self.survey = f"{namespace}-survey"
        self.settings = Settings(
            namespace=namespace,
            partitions=2,
            state_dir=folder / "state",
            kafka=Kafka(bootstrap_servers=kafka.bootstrap),
            source=Source(topics=(self.survey,)),
            classify=classify or Classify(models=("crts-rows",)),
        )
        assembly.make(self.settings, classifiers.of(self.settings).namespace(namespace))
        self.ledger = Follower(self.settings.kafka.client(), f"{namespace}.ledger")
        self.stop_ = ending.Stop()
        self.threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []

    def start(self, *words: str) -> None:
        for part in classifiers.parts(self.settings, words):
            self.threads.append(threading.Thread(target=self._run, args=(part,), name=part.name))
            self.threads[-1].start()

    def stop(self) -> None:
        self.stop_.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()
        self.stop_, self.threads = ending.Stop(), []
        assert not self.failures

    def _run(self, part: classifiers.Part) -> None:
        try:
            work._keep_running(self.settings, part, self.stop_, None)
        except Stopped:
            pass
        except BaseException as failure:
            self.failures.append(failure)
            raise

    def labels(self, kind: str = "labels") -> dict[str, list[dict[str, Any]]]:
        """What any reader finds on a topic, by classifier."""
        found: dict[str, list[dict[str, Any]]] = {}
        try:
            parts = read_topic(self.kafka.bootstrap, f"{self.name}.{kind}").values()
        except KeyError:
            return found
        for row in (label(value) for part in parts for _, value in part):
            found.setdefault(row["classifierName"], []).append(row)
        return found

    def wait_for(self, classifier: str, labels: int, dead: int = 0) -> None:
        """Until the ledger says that a classifier has come so far."""
        group = f"{self.name}.classify.{classifier}"

        def come() -> bool:
            said = self.ledger.read(0.05).answers[group]
            return (said["labelled"] + said["unclassified"], said["dead"]) == (labels, dead)

        until(come, 120)

    def closed(self) -> Report:
        """What the audit says, once it has come to rest."""
        report = audit(self.settings, True)
        assert not report.faults, [fault.words for fault in report.faults]
        return report


@pytest.fixture
def stream(kafka: LocalKafka, namespace: str, tmp_path: Path) -> Iterator[Stream]:
    running = Stream(kafka, namespace, tmp_path)
    yield running
    running.stop_.set()
    for thread in running.threads:
        thread.join(30)
    running.ledger.close()


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return sorted(row["alertId"] for row in rows)


def outcomes(report: Report) -> dict[str, Counter[str]]:
    """By classifier; what is 0 is left out."""
    found: dict[str, Counter[str]] = {}
    for line in report.lines:
        row = {**line.outcomes, "received": line.received, "under way": line.under_way}
        found.setdefault(line.classifier, Counter()).update({k: n for k, n in row.items() if n})
    return found


def test_one_label_of_each(stream: Stream, tmp_path: Path) -> None:
    """One from the first, one that comes later and fails at some, one on trial that is made to skip
    some, and one that is given what is still kept."""
    night = Simulation("ztf", 14, 50, 8, cutouts=False, shares=Shares(0.02, 0.02, 0.05, 0, 0))
    values = [value for value, _, _ in night.packets()]
    every = night.truth()["alert_id"].to_pylist()
    half = len(values) // 2
    early, late = every[:half], every[half:]
    publish(stream.kafka.bootstrap, stream.survey, values[:half], 2)
    stream.start("decode", "curves")
    images = f"{stream.name}.images"
    until(lambda: stream.ledger.read(0.05).written[images] == len(set(early)), 120)
    # Kafka forgets a group in a week: the first of a stream begins with its first image even so
    kafka = AdminClient({"bootstrap.servers": stream.kafka.bootstrap})
    delete_group(kafka, f"{stream.name}.classify.crts-rows")
    stream.start("classify")
    stream.wait_for("crts-rows", len(set(early)))
    stream.stop()
    assert outcomes(stream.closed())["crts-rows"]["before"] == 0

    two, three = another(tmp_path / "c", "two", "7", 0), another(tmp_path / "c", "three", "9")
    stream.settings = replace(
        stream.settings, classify=Classify(models=("crts-rows", two), shadow=(three,))
    )
    assert spans_of(stream.settings)[-1] == "shadow"
    known = classifiers.of(stream.settings)
    assert len(known.inputs.channels) == 2  # that of two models, and the second's
    fragile = Fragile(stream.settings, known.models[1])
    new = sorted(set(late) - set(early))
    fragile.refused = set(new[5:100:20])
    publish(stream.kafka.bootstrap, stream.survey, values[half:], 2)
    with ThreadPoolExecutor(3) as workers:  # some come at once: one of them says where it begins
        list(
            workers.map(
                lambda _: assembly.make(stream.settings, known.namespace(stream.name)), "abc"
            )
        )
    stream.start("decode", "curves", "classify")
    refused = len(fragile.refused)
    stream.wait_for("crts-rows", len(set(every)))
    stream.wait_for("two", len(new) - refused, refused)
    report = stream.closed()
    assert stream.labels().keys() == {"crts-rows 1", "two 7"}
    assert ids(stream.labels()["crts-rows 1"]) == sorted(set(every))
    assert ids(stream.labels()["two 7"]) == sorted(set(new) - fragile.refused)
    said = outcomes(report)
    assert said["two"]["before"] == len(set(early)) > 0
    assert (said["two"]["dead"], said["crts-rows"]["dead"]) == (refused, 0)
    assert said["three"]["under way"] == len(new)
    assert [n for n in report.notes if "two is younger than the stream" in n]

    # retried: that classifier's alone
    fragile.refused = set()
    done = Retry(stream.settings, lambda words: None).run(Wanted())
    assert done.back == {"classify": refused}
    stream.wait_for("two", len(new))
    said = outcomes(stream.closed())
    assert ids(stream.labels()["two 7"]) == new
    assert ids(stream.labels()["crts-rows 1"]) == sorted(set(every))
    assert (said["two"]["dead"], said["crts-rows"]["dead"]) == (0, 0)
    assert Retry(stream.settings, lambda words: None).run(Wanted()).before == refused

    # skipped: the shadow's alone, which has not run yet
    begun = audit(stream.settings, False).books.begun
    start = begun[f"{stream.name}.classify.three", images, 0]
    with pytest.raises(Misused, match="--model crts-rows or two or three"):
        skip(stream.settings, images, 0, start, start + 9, True)
    told = re.search(
        r"(\d+) lost", skip(stream.settings, images, 0, start, start + 9, True, "three")
    )
    assert told is not None
    lost = int(told[1])  # some of these offsets are marks of transactions
    assert 0 < lost <= 9
    stream.start("shadow")
    stream.wait_for("three", len(new) - lost)
    stream.stop()
    said = outcomes(stream.closed())
    assert stream.labels().keys() == {"crts-rows 1", "two 7"}
    assert (said["three"]["lost"], said["two"]["lost"]) == (lost, 0)
    assert said["three"]["under way"] == 0
    shadow = {row["alertId"]: row for row in stream.labels(topics.SHADOW)["three 9"]}
    for row in stream.labels()["crts-rows 1"]:  # the same weights
        if row["alertId"] in shadow:
            its = shadow[row["alertId"]]
            assert its["points_hash"] == row["points_hash"]
            for mine, other in zip(row["classes"], its["classes"], strict=True):
                assert abs(mine["probability"] - other["probability"]) < 0.02

    # given what is still kept: every alert, once
    four = another(tmp_path / "c", "four", "1")
    with_four = Classify(models=("crts-rows", four), start="earliest")
    stream.settings = replace(stream.settings, classify=with_four)
    stream.start("classify")
    stream.wait_for("four", len(set(every)))
    stream.stop()
    assert "before" not in outcomes(stream.closed())["four"]
    alike = diff(stream.settings, "crts-rows", "four 1", 3, 0.02)
    assert alike.good
    assert alike.row()["both"] == len(set(every))
    assert alike.row()["different"]["alerts"] == 0
    assert alike.row()["named"]["agreement"] > 0.99
    other = diff(stream.settings, "two", f"{stream.name}:three", 3, 0.01).row()
    both = len(new) - lost
    assert (other["both"], other["only_first"], other["only_second"]) == (both, lost, 0)
    alert = trace(stream.settings, str(next(a for a in new if a in shadow)))[0]
    by = [row["classifier"] for row in alert["labels"]]
    assert sorted(by) == ["crts-rows 1", "four 1", "three 9", "two 7"]


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    for name in ("a card", "-x", "..", "ä"):
        settings = Settings(classify=Classify(models=(another(tmp_path / "c", name, "1"),)))
        with pytest.raises(Misused, match="a card's file is called"):
            classifiers.of(settings)
    other = another(tmp_path / "c", "crts-rows", "2")
    settings = Settings(classify=Classify(models=("crts-rows",), shadow=(other,)))
    with pytest.raises(Misused, match="name 'crts-rows' twice"):
        classifiers.of(settings)
    with pytest.raises(Misused, match="no network is on trial"):
        classifiers.parts(Settings(), ("shadow",))
    for words, said in (
        (("crts-rows.EW",), "expected NETWORK.CLASS=SHARE"),
        (("crts-rows.EW=some",), "expected NETWORK.CLASS=SHARE"),
        (("crts-shallow.EW=1",), "is of no network here; there are crts-rows"),
        (("crts-rows.EW=1",), "crts-rows speaks of EW; expected each of EW, EA, RRab"),
    ):
        with pytest.raises(Misused, match=said):
            classifiers.of(Settings(classify=Classify(("crts-rows",), prior=words)))
    assert np.all([p.span == "classify" for p in classifiers.parts(Settings(), ("classify",))])

"""Where a survey's topics are to be read on by whoever takes the light curves over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import TopicPartition

from broker import wire
from workers import topics
from workers.carry.curve_file import Contents
from workers.counting import RestoreMetrics
from workers.errors import Failed
from workers.kafka import admin, consumer, never, patiently
from workers.offsets import committed, offset_at
from workers.progress import Progress
from workers.restore import Changelog

if TYPE_CHECKING:
    from workers.settings import Settings

Places = dict[str, dict[str, int]]


def standing(client: Mapping[str, Any], name: str, known: Mapping[str, int]) -> Places:
    """By survey topic and partition, the first offset of which an alert may not be in the pages
    that stand in the changelog from now on.

    That is where decode has committed, or, where curves is behind, the first of those alerts that
    wait for it in `detections`: decode takes each partition in order. Asked in this order, and the
    changelog's end only afterwards, it holds while the workers go on.
    """
    space = topics.Namespace(name)
    twins = {topic: n for topic, n in known.items() if topic.startswith(space.twin(""))}
    survey: Places = {}
    for twin, count in sorted(twins.items()):
        stands = _committed(client, space.group("decode"), twin, count)
        survey[twin.removeprefix(space.twin(""))] = {str(p): at for p, at in stands.items()}
    detections = space.topic("detections")
    if detections not in known:
        return survey
    count = known[detections]
    taken = _committed(client, space.group("curves"), detections, count)
    waiting = Changelog(client, detections, count, never, RestoreMetrics())
    with Progress("detections that wait", unit="records") as progress:
        n = 0
        for partition in range(count):
            first, end = waiting.bounds(partition)
            first = max(first, taken.get(partition, 0))
            for _, records in waiting.read(partition, first, end, lambda done: None):
                n += len(records)
                progress.at(n)
                found, _ = wire.read_detections([m.value() or b"" for m in records])
                for row in found.alerts[["topic", "partition", "offset"]].tolist():
                    places = survey.setdefault(row[0].decode(), {})
                    at = str(row[1])
                    places[at] = min(places.get(at, row[2]), row[2])
    return survey


def take_up(settings: Settings, space: topics.Namespace, contents: Contents) -> None:
    """Have decode's group begin where the file says, on twins made for it.

    Raises
    ------
    Failed
        The survey's cluster has no such topic, or not those offsets: it is another cluster.
    """
    ours, theirs = settings.kafka.client(), settings.source_client()
    kafka, survey = admin(ours), admin(theirs)
    there = topics.listed(theirs)
    for topic, places in contents.survey.items():
        if topic not in there:
            msg = (
                f"there is no topic {topic} at {theirs['bootstrap.servers']}, where the survey is "
                "to be taken up: name the survey's cluster with --source.bootstrap-servers, or "
                "import without --take-up"
            )
            raise Failed(msg)
        replication = settings.kafka.replication
        twin = topics.twin(kafka, space, topic, there[topic], replication, never)
        for partition, offset in places.items():
            end = offset_at(survey, "latest", topic, int(partition))
            if offset > end:
                msg = (
                    f"{topic}[{partition}] ends at {end} at {theirs['bootstrap.servers']}, before "
                    f"the {offset} where it is to be taken up: this is another cluster than the "
                    "one that was read. Import without --take-up"
                )
                raise Failed(msg)
        wanted = [TopicPartition(twin, int(p), offset) for p, offset in places.items()]
        _commit(ours, space.group("decode"), wanted)


def _committed(client: Mapping[str, Any], group: str, topic: str, count: int) -> dict[int, int]:
    """Where a group stands in the partitions of a topic that it has ever held."""
    reader = consumer(client, **{"group.id": group})

    places = [(topic, p) for p in range(count)]
    try:
        known = patiently(f"the offsets of {group}", lambda: committed(reader, places))
        return {partition: offset for (_, partition), offset in known.items()}
    finally:
        reader.close()


def _commit(client: Mapping[str, Any], group: str, wanted: list[TopicPartition]) -> None:
    """Commit a group's offsets by a consumer that is no member: nobody works there yet."""
    reader = consumer(client, **{"group.id": group})
    try:
        what = f"first offsets of {group}"
        patiently(what, lambda: reader.commit(offsets=wanted, asynchronous=False))
    finally:
        reader.close()

"""The namespaces of a cluster: what stands under each name, who works there, what it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from workers.crew import SPANS
from workers.kafka import admin, patiently
from workers.offsets import offsets_at
from workers.times import utc
from workers.topics import IMPORT, KINDS, MARK, SHADOW

if TYPE_CHECKING:
    from workers.settings import Settings

_TIMEOUT_S = 10


@dataclass(slots=True)
class Namespace:
    """One namespace as it stands; `topics` are its own and its twins, with their partitions."""

    name: str
    topics: dict[str, int] = field(default_factory=dict)
    #: Group to its members' names; a worker that was stopped stays one for the session time-out.
    groups: dict[str, list[str]] = field(default_factory=dict)
    #: Records of the labels topic, and a mark for each commit.
    label_offsets: int = 0
    last_commit_ms: int | None = None
    state: Path | None = None
    nbytes: int | None = None

    @property
    def partitions(self) -> int:
        return self.topics.get(f"{self.name}.detections", 0)

    @property
    def half_dropped(self) -> bool:
        return f"{self.name}.{MARK}" in self.topics

    @property
    def twins(self) -> list[str]:
        return [topic for topic in self.topics if topic.startswith(f"{self.name}.source.")]

    def workers(self) -> dict[str, int]:
        """Living workers by span."""
        n = dict.fromkeys(SPANS, 0)
        for group, members in self.groups.items():
            n[group.removeprefix(f"{self.name}.").partition(".")[0]] += len(members)
        return n

    def row(self) -> dict[str, Any]:
        """All of it as plain data."""
        at = self.last_commit_ms
        return {
            "namespace": self.name,
            "partitions": self.partitions,
            "label_offsets": self.label_offsets,
            "last_commit": None if at is None else utc(at, "seconds"),
            "workers": self.workers(),
            "state": None if self.state is None else str(self.state),
            "bytes": self.nbytes,
            "topics": sorted(self.topics),
            "groups": sorted(self.groups),
            "half_dropped": self.half_dropped,
        }


def find(settings: Settings, name: str | None = None) -> list[Namespace]:
    """All namespaces of our cluster, by name; or one, as whatever stands under its name.

    A namespace is known by its topics: all kinds of them, or the mark of one that is being dropped.
    """
    kafka = admin(settings.kafka.client())
    there = patiently("Kafka", lambda: kafka.list_topics(timeout=5))
    counts = {t: len(said.partitions) for t, said in there.topics.items() if said.error is None}
    known = _names(counts)
    groups = _groups(kafka)
    found = []
    for one in sorted(known) if name is None else [name]:
        namespace = Namespace(one)
        namespace.topics = {t: counts[t] for t in counts if _owner(t, _topics_of, known, one)}
        ours = [group for group in groups if _owner(group, _group_of, known, one)]
        namespace.groups = {group: members(kafka, group) for group in ours}
        namespace.state = state_of(settings, one)
        found.append(namespace)
    _look_into(kafka, found)
    if (data := _local_data(settings, there.cluster_id)) is not None:
        for namespace in found:
            namespace.nbytes = sum(_nbytes(data, t, n) for t, n in namespace.topics.items())
    return found


def state_of(settings: Settings, name: str) -> Path | None:
    """The folder of a namespace's slots on this machine; None where no worker made one."""
    folder = Path(settings.state_dir) / name
    return folder if any((folder / span).is_dir() for span in SPANS) else None


def members(kafka: AdminClient, group: str) -> list[str]:
    """Names of a group's members; none where there is no such group."""

    def ask() -> list[str]:
        asked = kafka.describe_consumer_groups([group], request_timeout=_TIMEOUT_S)
        try:
            said = asked[group].result(_TIMEOUT_S + 2).members
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise
        return [str(m.group_instance_id or m.member_id) for m in said]

    return patiently(f"group {group}", ask)


def text(namespaces: Iterable[Namespace]) -> str:
    """A table: a line for each."""
    rows = [("namespace", "partitions", "label offsets", "last commit", "workers", "state", "size")]
    for one in namespaces:
        alive = ", ".join(f"{n} {span}" for span, n in one.workers().items() if n) or "-"
        at = one.last_commit_ms
        rows.append(
            (
                one.name + (" (half dropped)" if one.half_dropped else ""),
                str(one.partitions or "-"),
                f"{one.label_offsets:,}",
                "-" if at is None else utc(at, "seconds"),
                alive,
                str(one.state or "-"),
                "-" if one.nbytes is None else f"{one.nbytes / 1e6:,.1f} MB",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _names(topics: Collection[str]) -> set[str]:
    begun = {t.removesuffix(".ledger") for t in topics if t.endswith(".ledger")}
    whole = {name for name in begun if all(f"{name}.{kind}" in topics for kind in KINDS)}
    return whole | {t.removesuffix(f".{MARK}") for t in topics if t.endswith(f".{MARK}")}


def _topics_of(topic: str, name: str) -> bool:
    """Whether a topic could be of this namespace: made by its workers, or by a replay into it."""
    kind = topic.removeprefix(f"{name}.")
    return kind != topic and (
        kind in (*KINDS, SHADOW, MARK, IMPORT, "packets") or kind.startswith("source.")
    )


def _group_of(group: str, name: str) -> bool:
    span = group.removeprefix(f"{name}.")
    return span != group and (span in ("decode", "curves") or span.startswith("classify."))


def _owner(
    thing: str, could_be: Callable[[str, str], bool], known: Collection[str], name: str
) -> bool:
    """Whether `thing` is of `name`, and not of a namespace whose longer name begins with it."""
    return could_be(thing, name) and not any(
        len(other) > len(name) and could_be(thing, other) for other in known
    )


def _groups(kafka: AdminClient) -> list[str]:
    def ask() -> list[str]:
        said = kafka.list_consumer_groups(request_timeout=_TIMEOUT_S).result(_TIMEOUT_S + 2)
        return sorted(group.group_id for group in said.valid)

    return patiently("Kafka's groups", ask)


def _look_into(kafka: AdminClient, namespaces: Iterable[Namespace]) -> None:
    """How many labels, and when the last commit was: from offsets alone."""
    labels, ledgers = {}, {}
    for one in namespaces:
        for p in range(one.topics.get(f"{one.name}.labels", 0)):
            labels[TopicPartition(f"{one.name}.labels", p)] = one
        if f"{one.name}.ledger" in one.topics:
            ledgers[TopicPartition(f"{one.name}.ledger", 0)] = one
    for at, said in offsets_at(kafka, labels, OffsetSpec.latest()).items():
        labels[at].label_offsets += said.offset
    for at, said in offsets_at(kafka, ledgers, OffsetSpec.max_timestamp()).items():
        if said.offset >= 0:
            ledgers[at].last_commit_ms = said.timestamp


def _local_data(settings: Settings, cluster: str | None) -> Path | None:
    """The data folder of a local Kafka, where it is this cluster's."""
    data = Path(settings.local_kafka.data_dir)
    meta = data / "meta.properties"
    if cluster and meta.is_file() and f"cluster.id={cluster}\n" in meta.read_text():
        return data
    return None


def _nbytes(data: Path, topic: str, partitions: int) -> int:
    """Bytes that a topic takes on the disk; its indexes are files with holes."""
    files = (f for p in range(partitions) for f in data.glob(f"{topic}-{p}/*"))
    total = 0
    for file in files:
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:  # a segment that was deleted meanwhile
            continue
    return total

"""A namespace taken away whole: its topics, twins, groups, and its state on this machine.

A mark is made first and deleted last, so that no worker starts on what is half there, and a drop
that was killed is finished by another.
"""

from __future__ import annotations

import dataclasses
import fcntl
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from workers.crew import SPANS
from workers.errors import Failed, Misused
from workers.kafka import SESSION_TIMEOUT_MS, admin
from workers.namespaces import Namespace, find, members
from workers.offsets import offsets_at
from workers.topics import MARK

if TYPE_CHECKING:
    from workers.settings import Settings

_TIMEOUT_S = 20
_MADE = KafkaError.TOPIC_ALREADY_EXISTS
_NO_GROUP = KafkaError.GROUP_ID_NOT_FOUND
_NO_TOPIC = KafkaError.UNKNOWN_TOPIC_OR_PART


def drop(settings: Settings, name: str, confirmed: Callable[[str], bool]) -> str:
    """Delete all that `name` has; what was deleted.

    Parameters
    ----------
    confirmed
        Asked, with what would be deleted, whether it is meant.

    Raises
    ------
    Failed
        There is no such namespace, or workers live in it.
    Misused
        It is not meant.
    """
    settings = dataclasses.replace(settings, namespace=name)  # a name that may be one
    kafka = admin(settings.kafka.client())
    with ExitStack() as held:
        (found,) = find(settings, name)
        kept = sorted(set(found.topics) & set(settings.source.topics))
        for topic in kept:  # a survey's, whatever its name
            del found.topics[topic]
        if not found.topics and not found.groups and found.state is None:
            there = ", ".join(one.name for one in find(settings)) or "none"
            msg = f"there is no namespace {name!r} to drop; there are: {there}"
            raise Failed(msg)
        _hold_slots(found.state, held)
        _refuse_twins_with_records(kafka, found)
        _wait_for_nobody(kafka, found)
        what = (
            f"namespace {name}: {len(found.topics)} topics (up to {found.label_offsets:,} labels), "
            f"{len(found.groups)} groups, {found.state or 'no state on this machine'}"
        )
        if not confirmed(what):
            msg = f"{what}: nothing was dropped. Say --yes, or type its name, if it is meant"
            raise Misused(msg)
        mark = f"{name}.{MARK}"
        if mark not in found.topics:
            _done(kafka.create_topics([NewTopic(mark, 1, settings.kafka.replication)]), _MADE)
        if found.groups:
            _done(kafka.delete_consumer_groups(list(found.groups)), _NO_GROUP)
        topics = [topic for topic in found.topics if topic != mark]
        _delete(kafka, topics)
        if found.state is not None:
            for span in SPANS:
                shutil.rmtree(found.state / span, ignore_errors=True)
            if not any(found.state.iterdir()):
                found.state.rmdir()
        _delete(kafka, [mark])
    return f"dropped {what}"


def _hold_slots(state: Path | None, held: ExitStack) -> None:
    """Take the lock of every slot on this machine: one that is held has a living worker, even where
    Kafka has not heard of it for a while."""
    for lock in sorted(state.glob("**/lock")) if state is not None else ():
        file = held.enter_context(lock.open("a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            msg = (
                f"{lock.parent} is in use by process {file.read().strip()}, a worker that lives: "
                "stop it (Ctrl-C or SIGTERM), then drop the namespace"
            )
            raise Failed(msg) from None


def _wait_for_nobody(kafka: AdminClient, found: Namespace) -> None:
    """Return once no group has members: one that was stopped stays until its session is over."""
    deadline = time.monotonic() + SESSION_TIMEOUT_MS / 1000 + 3
    while alive := {group: m for group in found.groups if (m := members(kafka, group))}:
        if time.monotonic() > deadline:
            who = "; ".join(f"{group}: {', '.join(m)}" for group, m in alive.items())
            msg = (
                f"workers live in namespace {found.name} ({who}): stop each of them, on every "
                "machine (Ctrl-C or SIGTERM), then drop it"
            )
            raise Failed(msg)
        time.sleep(0.5)


def _refuse_twins_with_records(kafka: AdminClient, found: Namespace) -> None:
    """A twin is empty all its life: what holds records is somebody's topic."""
    places = {TopicPartition(t, p): t for t in found.twins for p in range(found.topics[t])}
    ends = offsets_at(kafka, places, OffsetSpec.latest())
    if full := {places[at] for at, end in ends.items() if end.offset > 0}:
        msg = (
            f"{', '.join(sorted(full))} holds records, so it is no twin of a survey's topic, and "
            "whose it is only you can know: delete or rename it by Kafka's own tools, then again"
        )
        raise Failed(msg)


def _delete(kafka: AdminClient, topics: list[str]) -> None:
    """Delete topics and wait until they are gone; those that are gone already are as good."""
    if topics:
        _done(kafka.delete_topics(topics, operation_timeout=_TIMEOUT_S), _NO_TOPIC)
    deadline = time.monotonic() + _TIMEOUT_S
    while left := set(topics) & set(kafka.list_topics(timeout=10).topics):
        if time.monotonic() > deadline:
            msg = f"Kafka did not delete {', '.join(sorted(left))} in {_TIMEOUT_S} s: drop it again"
            raise Failed(msg)
        time.sleep(0.1)


def _done(asked: Mapping[str, Future[Any]], as_good: int) -> None:
    """Wait for what was asked for; the error `as_good` means that it is so already."""
    for name, future in asked.items():
        try:
            future.result(_TIMEOUT_S + 2)
        except KafkaException as exc:
            code = exc.args[0].code()
            if code == KafkaError.NON_EMPTY_GROUP:
                msg = f"a worker of {name} started meanwhile: stop it, then drop again to finish it"
                raise Failed(msg) from None
            if code != as_good:
                raise

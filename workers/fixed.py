"""Watches that nobody adds partitions to a namespace's keyed topics while a worker runs."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from workers import topics
from workers.counts import Counts
from workers.intake import Intake

_LOOK_S = 10.0


class Fixed:
    """Ends the worker, loudly, when the topics' partitions are no longer those that it works by."""

    def __init__(self, namespace: topics.Namespace, kafka: AdminClient, partitions: int) -> None:
        self._namespace, self._partitions = namespace, partitions
        self._counts = Counts(kafka, _LOOK_S)

    def look(self, intake: Intake) -> None:
        """With nothing in hand, now and then.

        Raises
        ------
        WrongNamespace
            Partitions were added.
        """
        told = self._counts.told(topics.keyed(self._namespace)) or {}
        topics.check(self._namespace, {t: n for t, n in told.items() if n}, self._partitions)

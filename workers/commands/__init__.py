"""What each command of `nightjar` does; heavy parts are imported by the command that needs them."""

from workers.commands.making import bench, evaluate, study, train
from workers.commands.proving import audit, trace
from workers.commands.reading import inspect, labels, replay, simulate
from workers.commands.running import demo, kafka, up, work
from workers.commands.tending import curves, dead, namespaces, skip

__all__ = [
    "audit",
    "bench",
    "curves",
    "dead",
    "demo",
    "evaluate",
    "inspect",
    "kafka",
    "labels",
    "namespaces",
    "replay",
    "simulate",
    "skip",
    "study",
    "trace",
    "train",
    "up",
    "work",
]

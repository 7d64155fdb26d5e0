"""What each command of `nightjar` does; heavy parts are imported by the command that needs them."""

from workers.commands.making import bench, evaluate, study, train
from workers.commands.proving import audit, diff, score, trace
from workers.commands.reading import inspect, labels, replay, simulate, taxonomy
from workers.commands.running import demo, kafka, up, work
from workers.commands.tending import curves, dead, namespaces, skip

__all__ = [
    "audit",
    "bench",
    "curves",
    "dead",
    "demo",
    "diff",
    "evaluate",
    "inspect",
    "kafka",
    "labels",
    "namespaces",
    "replay",
    "score",
    "simulate",
    "skip",
    "study",
    "taxonomy",
    "trace",
    "train",
    "up",
    "work",
]

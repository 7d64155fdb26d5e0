"""The network alone: an image's cost in fp32, as the stream runs it, and in what may be faster."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from broker.curves import Curves
from broker.decode import Decoder
from broker.grids import GRIDS
from broker.store import MemoryStore
from models import cards, catalogue, feed, forward
from models.cards import Card
from models.classifier import Classifier
from workers.bench.figures import Figure, figure, in_turns, least, most

if TYPE_CHECKING:
    from workers.bench.bench import Bench

_BATCH = 256
_TIMED = 8 * _BATCH
_MOST_US = 20.0
_GPU_IMAGES_PER_S = 300_000

Counts = tuple[NDArray[np.int32], NDArray[np.int32]]  # (image, cell), (image,) measurements


def measure(bench: Bench) -> list[Figure]:
    """The CPU, and the GPU where there is one."""
    card = cards.find(bench.settings.classify.models[0])
    counts = (
        of_test_split(card, bench.light_curves) if bench.light_curves else of_night(card, bench)
    )
    Classifier(card, "cpu")  # one thread for all of torch, as the classify span has it
    devices = ["cpu"]
    if forward.choose_device("auto") != "cpu":
        devices.append("cuda")
    return [row for device in devices for row in _device(bench, card, device, counts)]


def _device(bench: Bench, card: Card, device: str, counts: Counts) -> Iterator[Figure]:
    plain = forward.prepare(card, device, (_BATCH,))
    others = {"bf16": forward.prepare(card, device, (_BATCH,), precision="bf16")}
    if shutil.which("c++") or shutil.which("g++"):
        others["bf16 compiled"] = replace(others["bf16"], run=forward.compiled(others["bf16"].run))
    some = counts[0][:_TIMED], counts[1][:_TIMED]
    turns = (turn(network, device, some) for network in (plain, *others.values()))
    exact, *faster = in_turns(2 * bench.rounds, *turns)
    goal = most(_MOST_US) if device == "cpu" else least(_GPU_IMAGES_PER_S)
    if device == "cpu":
        yield figure(f"{device}, fp32, an image", exact, "µs", goal)
    else:
        yield figure(f"{device}, fp32", _rates(exact), "images/s", goal)
    p = np.exp(log_p(plain, counts))
    for (name, network), us in zip(others.items(), faster, strict=True):
        mode = f"{device}, {name}"
        yield figure(mode, _rates(us), "images/s", None, ("fp32", _rates(exact)))
        q = np.exp(log_p(network, counts))
        same = 100 * float((p.argmax(axis=1) == q.argmax(axis=1)).mean())
        yield figure(f"{mode}, same name as fp32", [same], "%", least(99.9))
        yield figure(f"{mode}, most |dp|", [float(np.abs(p - q).max())], "", most(0.01))


def _rates(us: list[float]) -> list[float]:
    return [1e6 / each for each in us]


def turn(network: forward.Forward, device: str, counts: Counts) -> Callable[[], float]:
    """One turn: µs an image; of this thread on the CPU, of the clock on a GPU."""
    clock = time.perf_counter_ns if device == "cuda" else time.thread_time_ns

    def one() -> float:
        began = clock()
        log_p(network, counts)
        return (clock() - began) / 1000 / len(counts[1])

    return one


def log_p(network: forward.Forward, counts: Counts) -> NDArray[np.float32]:
    images, n = counts
    whole = range(0, len(n), _BATCH)
    return np.concatenate([network(images[i : i + _BATCH], n[i : i + _BATCH]) for i in whole])


def of_night(card: Card, bench: Bench) -> Counts:
    """Images of the simulated stars of ZTF that the network would be fed."""
    decoder, curves = Decoder(), Curves(card.inputs, MemoryStore())
    parts, sizes = [], []
    for packets in bench.night("ztf").batches(4000):
        images = curves.add(decoder.decode(packets)[0]).images
        curves.commit()
        blocks = np.flatnonzero(images.blocks["n"] >= card.min_points)
        counts = np.zeros((len(blocks), GRIDS[card.channel.grid].cells), np.int32)
        spans = images.blocks["counts"]
        feed.scatter(blocks, spans["start"], spans["length"], images.heap, counts)
        parts.append(counts)
        sizes.append(images.blocks["n"][blocks])
    return _whole_batches(np.concatenate(parts), np.concatenate(sizes))


def of_test_split(card: Card, folder: Path) -> Counts:
    """Images of the labelled stars that no training saw."""
    curves = catalogue.read(folder)
    chosen = curves.cut(curves.test, curves.n[curves.test])
    return _whole_batches(chosen.counts(GRIDS[card.channel.grid]), chosen.n.astype(np.int32))


def _whole_batches(counts: NDArray[np.int32], n: NDArray[np.int32]) -> Counts:
    size = len(n) // _BATCH * _BATCH
    return counts[:size], n[:size]

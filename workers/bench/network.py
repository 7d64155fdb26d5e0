"""The network alone: an image's cost in the mode that was chosen, and its answers beside fp32's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
from workers.bench.figures import Figure, figure, in_turns, least, most, ratio

if TYPE_CHECKING:
    from workers.bench.bench import Bench

_BATCH = 256
_TIMED = 8 * _BATCH
#: On a CPU without AMX a mode three times as fast as fp32 is not asked for; this cost is.
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
    chosen = forward.prepare(card, device, (_BATCH,))
    eager = forward.prepare(card, device, (_BATCH,), precision="fp32")
    some = counts[0][:_TIMED], counts[1][:_TIMED]
    ours, theirs = in_turns(2 * bench.rounds, turn(chosen, device, some), turn(eager, device, some))
    mode = f"{device}, {chosen.precision}"
    if device == "cpu":
        goal = ratio(3) if has_amx() else most(_MOST_US)
        yield figure(f"{mode}, an image", ours, "µs", goal, ("eager fp32", theirs))
    rates = [1e6 / us for us in ours]
    gpu = least(_GPU_IMAGES_PER_S) if device == "cuda" else None
    yield figure(mode, rates, "images/s", gpu, ("eager fp32", [1e6 / us for us in theirs]))
    p, q = (np.exp(log_p(network, counts)) for network in (chosen, eager))
    same = 100 * float((p.argmax(axis=1) == q.argmax(axis=1)).mean())
    yield figure(f"{mode}, same name as fp32", [same], "%", least(99.9))
    yield figure(f"{mode}, most |dp|", [float(np.abs(p - q).max())], "", most(0.01))


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


def has_amx() -> bool:
    """Whether this CPU multiplies matrices in bf16 or int8 by itself."""
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False

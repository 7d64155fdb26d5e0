"""The network alone: an image's cost in fp32, as the stream runs it, and in what may be faster."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from broker.beside import Beside
from broker.curves import Curves
from broker.decode import Decoder
from broker.records import Images
from broker.store import MemoryStore
from models import catalogue, evaluate, forward, tree_cards
from models.cards import Card
from models.classifier import Classifier
from models.tree import Tree
from models.tree_cards import AnyCard, TreeCard
from workers.bench.figures import Figure, figure, in_turns, least, most, thread_us
from workers.errors import Failed

if TYPE_CHECKING:
    from workers.bench.bench import Bench

_BATCH = 256
_TIMED = 8  # batches
#: An image, and one with the folds and numbers of its own periods beside.
_MOST_US, _MOST_PERIODIC_US = 20.0, 50.0
_GPU_IMAGES_PER_S = 300_000

#: Whole batches.
Fed = list[evaluate.Eaten]


def measure(bench: Bench) -> list[Figure]:
    """Each network, on the CPU, and on the GPU where there is one."""
    return [row for model in bench.models for row in _one(bench, tree_cards.find(model))]


def _one(bench: Bench, card: AnyCard) -> list[Figure]:
    return _tree(bench, card) if isinstance(card, TreeCard) else _network(bench, card)


def _tree(bench: Bench, card: TreeCard) -> list[Figure]:
    """What an alert costs, each network that it comes to and all that is around them."""
    tree = Tree(card, {c.name: Classifier(c, "cpu", _BATCH) for c in card.networks})
    batches = [batch for batch in of_night(card, bench) if len(batch)]
    alerts = sum(map(len, batches))

    def turn() -> float:
        return thread_us(lambda: [tree.classify(batch) for batch in batches], alerts)

    (us,) = in_turns(bench.rounds, turn)
    return [figure(f"{card.name}: cpu, fp32, an alert", us, "µs")]


def _network(bench: Bench, card: Card) -> list[Figure]:
    fed = of_test_split(card, bench.light_curves) if bench.light_curves else fed_by(card, bench)
    Classifier(card, "cpu")  # one thread for all of torch, as the classify span has it
    devices = ["cpu"]
    if forward.choose_device("auto") != "cpu":
        devices.append("cuda")
    return [row for device in devices for row in _device(bench, card, device, fed)]


def _device(bench: Bench, card: Card, device: str, fed: Fed) -> Iterator[Figure]:
    plain = forward.prepare(card, device, (_BATCH,))
    others = {"bf16": forward.prepare(card, device, (_BATCH,), precision="bf16")}
    if shutil.which("c++") or shutil.which("g++"):
        others["bf16 compiled"] = replace(others["bf16"], run=forward.compiled(others["bf16"].run))
    turns = (turn(network, device, fed[:_TIMED]) for network in (plain, *others.values()))
    exact, *faster = in_turns(2 * bench.rounds, *turns)
    bound = _MOST_PERIODIC_US if card.channel.periodogram else _MOST_US
    goal = most(bound) if device == "cpu" else least(_GPU_IMAGES_PER_S)
    if device == "cpu":
        yield figure(f"{card.name}: {device}, fp32, an image", exact, "µs", goal)
    else:
        yield figure(f"{card.name}: {device}, fp32", _rates(exact), "images/s", goal)
    p = np.exp(log_p(plain, fed))
    for (name, network), us in zip(others.items(), faster, strict=True):
        mode = f"{card.name}: {device}, {name}"
        yield figure(mode, _rates(us), "images/s", None, ("fp32", _rates(exact)))
        q = np.exp(log_p(network, fed))
        same = 100 * float((p.argmax(axis=1) == q.argmax(axis=1)).mean())
        yield figure(f"{mode}, same name as fp32", [same], "%", least(99.9))
        yield figure(f"{mode}, most |dp|", [float(np.abs(p - q).max())], "", most(0.01))


def _rates(us: list[float]) -> list[float]:
    return [1e6 / each for each in us]


def turn(network: forward.Forward, device: str, fed: Fed) -> Callable[[], float]:
    """One turn: µs an image; of this thread on the CPU, of the clock on a GPU."""
    clock = time.perf_counter_ns if device == "cuda" else time.thread_time_ns

    def one() -> float:
        began = clock()
        log_p(network, fed)
        return (clock() - began) / 1000 / (len(fed) * _BATCH)

    return one


def log_p(network: forward.Forward, fed: Fed) -> NDArray[np.float32]:
    return np.concatenate([network(*each) for each in fed])


@dataclass(frozen=True)
class Watched(forward.Forward):
    """A network that keeps what it is fed."""

    fed: Fed = field(default_factory=list)

    def whole(
        self, counts: NDArray[np.int32], n: NDArray[np.int32], beside: Beside | None = None
    ) -> NDArray[np.float32]:
        self.fed.append((counts.copy(), n, beside))
        return forward.Forward.whole(self, counts, n, beside)


def of_night(card: AnyCard, bench: Bench) -> Iterator[Images]:
    """Images of the simulated stars of ZTF."""
    decoder, curves = Decoder(), Curves(card.inputs, MemoryStore())
    for packets in bench.night("ztf").batches(4000):
        yield curves.add(decoder.decode(packets)[0]).images
        curves.commit()


def fed_by(card: Card, bench: Bench) -> Fed:
    """What the network is fed of them."""
    plain = forward.prepare(card, "cpu", (_BATCH,))
    watched = Watched(**{each.name: getattr(plain, each.name) for each in fields(plain)})
    classifier = Classifier(card, "cpu", _BATCH, prepare=lambda *_: watched)
    for images in of_night(card, bench):
        classifier.classify(images)
    return _whole_batches(watched.fed)


def of_test_split(card: Card, folder: Path) -> Fed:
    """What it is fed of the labelled stars that no training saw."""
    curves = catalogue.read(folder)
    test = curves.test
    return _whole_batches(evaluate.eaten(card.channel, curves, test, curves.n[test]))


def _whole_batches(fed: Iterable[evaluate.Eaten]) -> Fed:
    found = [each for each in fed if len(each[1]) == _BATCH and each[1].all()]
    if not found:
        msg = f"the network is not asked of {_BATCH} objects at once here: there is nothing to time"
        raise Failed(msg)
    return found

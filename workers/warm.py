"""Done once at installation: Kafka's jars and AOT cache, and every kernel compiled by using it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

from workers.process import kernel_cache, set_kernel_cache

if TYPE_CHECKING:
    from broker.inputs import Inputs
    from broker.records import Detections, Images, Labels

_CARD = "crts-rows"
_SURVEYS = ("ztf", "lsst")


def main() -> None:
    """Prepare Kafka, then walk the route with a small simulated survey.

    Half of the time goes into one kernel, that of the light curves: the others are compiled, and
    Kafka is fetched, beside it.
    """
    set_kernel_cache()
    now = kernel_cache()
    for old in now.parent.glob("*") if now.parent.is_dir() else ():
        if old != now:
            shutil.rmtree(old)  # kernels of other sources
    with ProcessPoolExecutor(2, get_context("spawn")) as beside:
        three = [beside.submit(step) for step in (_light_curves, packets, _periodograms)]
        _step("Apache Kafka", _kafka)
        _step("kernels", lambda: _walk([each.result() for each in three]))


def _step(name: str, run: Callable[[], object]) -> None:
    began = time.monotonic()
    run()
    print(f"{name}: ready after {time.monotonic() - began:.1f} s", flush=True)


def _kafka() -> None:
    from workers.kafka_files import prepare

    prepare()


def _light_curves() -> None:
    from broker.curves import Curves
    from broker.store import MemoryStore
    from models import cards

    Curves(cards.find(_CARD).inputs, MemoryStore())


def _periodograms() -> None:
    """Measure one curve's own period and what else stands beside an image."""
    import numpy as np

    from broker import beside
    from broker.inputs import Channel
    from broker.periodogram import FEWEST

    channel = Channel("fine", "total", (), scalars=("log_n",), periodogram=True, folds=1)
    time = 777_777 * np.arange(FEWEST)
    magnitude = (time % 1000).astype(np.int32)
    first, points = np.array([0, FEWEST]), np.array([FEWEST])
    beside.many(time, magnitude, np.full(FEWEST, 0.1), first, points, channel)


def packets() -> None:
    """Decode a few packets of each survey."""
    for survey in _SURVEYS:
        decoded(survey)


def decoded(survey: str) -> Detections:
    """What decode passes on of a few simulated packets, through bytes and back."""
    import numpy as np

    from broker import wire
    from broker.decode import Decoder
    from broker.packets import Simulation
    from broker.records import Packets

    values = [value for value, _, _ in Simulation(survey, 8, 60, cutouts=False).packets()]
    n = len(values)
    place = np.zeros(n, np.int32), np.arange(n, dtype=np.int64), np.zeros(n, np.int64)
    detections, _ = Decoder().decode(Packets(values, f"warm-{survey}", *place))
    detections, _ = wire.read_detections(wire.write_detections(detections))
    wire.keys(detections.alerts)
    wire.partitions(detections.alerts, 4)
    wire.alert_hashes(detections.alerts)
    return detections


def _walk(before: object) -> None:
    from models import cards
    from models.classifier import Classifier

    for card in cards.shipped():  # each has kernels of its own
        walk(card.inputs, Classifier(card, "cpu").classify)


def walk(inputs: Inputs, classify: Callable[[Images], Labels] | None) -> None:
    """Take a few simulated alerts along the route, to their labels if there is a classifier.

    Few are enough: a kernel is compiled, or read from the cache, at its first call.
    """
    from broker import wire
    from broker.curves import Curves
    from broker.labels import write_labels
    from broker.store import MemoryStore

    for survey in _SURVEYS:
        curves = Curves(inputs, MemoryStore())
        added = curves.add(decoded(survey))
        curves.commit()
        keys, pages = zip(*added.pages, strict=True)
        Curves(inputs, MemoryStore()).restore(keys, pages)
        images, _ = wire.read_images(wire.write_images(added.images))
        if classify is not None:
            write_labels(classify(images))


if __name__ == "__main__":
    from workers.errors import Failed

    try:
        main()
    except Failed as error:
        sys.exit(f"\n{error}")

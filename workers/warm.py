"""Done once at installation: Kafka's jars and AOT cache, and every kernel compiled by using it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from workers.process import kernel_cache, set_kernel_cache


def main() -> None:
    """Prepare Kafka, then walk the route with a small simulated survey."""
    _step("Apache Kafka", _kafka)
    set_kernel_cache()
    now = kernel_cache()
    for old in now.parent.glob("*") if now.parent.is_dir() else ():
        if old != now:
            shutil.rmtree(old)  # kernels of other sources
    _step("kernels", _kernels)


def _step(name: str, run: Callable[[], None]) -> None:
    began = time.monotonic()
    print(f"{name}: ", end="", flush=True)
    run()
    print(f"ready after {time.monotonic() - began:.1f} s", flush=True)


def _kafka() -> None:
    from workers.kafka_files import prepare

    prepare()


def _kernels() -> None:
    """Few objects are enough: a kernel is compiled at its first call, whatever it is given."""
    import numpy as np

    from broker import wire
    from broker.curves import Curves
    from broker.decode import Decoder
    from broker.labels import write_labels
    from broker.packets import Simulation
    from broker.records import Packets
    from broker.store import MemoryStore
    from models import cards
    from models.classifier import Classifier

    card = cards.find("crts-rows")
    classifier = Classifier(card, "cpu")
    Classifier(cards.find("crts-shallow"), "cpu")  # its image has a kernel of its own
    for survey in ("ztf", "lsst"):
        curves = Curves(card.inputs, MemoryStore())
        values = [value for value, _, _ in Simulation(survey, 8, 60, cutouts=False).packets()]
        n = len(values)
        packets = Packets(
            values,
            f"warm-{survey}",
            np.zeros(n, np.int32),
            np.arange(n, dtype=np.int64),
            np.zeros(n, np.int64),
        )
        detections, _ = Decoder().decode(packets)
        detections, _ = wire.read_detections(wire.write_detections(detections))
        added = curves.add(detections)
        curves.commit()
        keys, pages = zip(*added.pages, strict=True)
        Curves(card.inputs, MemoryStore()).restore(keys, pages)
        wire.keys(detections.alerts)
        wire.partitions(detections.alerts, 4)
        wire.alert_hashes(detections.alerts)
        images, _ = wire.read_images(wire.write_images(added.images))
        write_labels(classifier.classify(images))


if __name__ == "__main__":
    from workers.errors import Failed

    try:
        main()
    except Failed as error:
        sys.exit(f"\n{error}")

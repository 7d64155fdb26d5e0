"""Many alerts at once on an idle route: how long after the last packet the last label comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.clock import now_ms
from workers.bench.figures import Figure, figure, most
from workers.bench.running import WARM, idle

if TYPE_CHECKING:
    from workers.bench.bench import Bench

ALERTS = 10_000


def measure(bench: Bench) -> list[Figure]:
    """10,000 packets of ZTF as fast as Kafka takes them."""
    night = bench.night("ztf")
    count = bench.alerts or ALERTS
    with idle(bench, "burst", night) as (route, topic):
        began = now_ms()
        bench.fill(topic, night, count, start=WARM)
        arrived = now_ms()
        route.wait(lambda totals: totals.done(WARM + count))
        last = route.totals.commits["classify"][-1][0]
    return [
        figure(f"{count:,} packets published", [(arrived - began) / 1000], "s"),
        figure("last packet to last label", [max(last - arrived, 0) / 1000], "s", most(5)),
        figure("first packet to last label", [(last - began) / 1000], "s"),
    ]

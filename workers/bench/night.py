"""The night that everything is measured on: real packet files, or simulated ones by a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from broker import packet_files
from broker.encoding import long
from broker.packets import Shares, Simulation
from broker.records import Packets
from workers.bench.elasticc import ElasticcPackets
from workers.errors import Failed
from workers.span import BATCH_BYTES, BATCH_RECORDS

Survey = Literal["ztf", "lsst", "elasticc"]
SURVEYS: tuple[Survey, ...] = ("ztf", "lsst", "elasticc")


class _Sky(NamedTuple):
    nights: int
    visits_per_night: int
    visited: float
    alerts_each: int  # of one object, among the packets that are made


#: Stars that every survey's rules let the network speak of. ZTF: 64 kB with cutouts. LSST: a deep
#: field, 10 exposures of each visited night. ELAsTiCC: rows for 2.8 kB. So each image has about
#: 30 points (the deep field's some hundred).
_SKIES = {
    "ztf": _Sky(nights=60, visits_per_night=1, visited=0.4, alerts_each=15),
    "lsst": _Sky(nights=100, visits_per_night=6, visited=0.5, alerts_each=60),
    "elasticc": _Sky(nights=75, visits_per_night=1, visited=0.35, alerts_each=15),
}
#: Simulated packets that are really made; more are these of other objects.
_BASE = {"ztf": 4000, "lsst": 400, "elasticc": 6000}
_SHARES = Shares(solar_system=0.0, bogus=0.0, repeated=0.0, late=0.005, corrupt=0.0005)
_MIX = {"RRab": 0.5, "EW": 0.3, "RRc": 0.2}
#: From one copy of an LSST object's id to the next: as many bytes, and no id that there is.
_NEXT_ID = 10**13
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Night:
    """Packets of one survey in order of time.

    Simulated ones can be had in any number: after the first `len(base)`, the same sky comes again
    with other objects' names in it (and so other alerts, with light curves of their own).
    """

    survey: str
    base: Sequence[bytes]
    names: Sequence[str] = field(repr=False, default=())

    def packets(self, count: int, start: int = 0) -> Iterator[bytes]:
        """`count` packets from number `start` on; fewer if they are files' and there are no more.

        Copies of one moment stand together, as many objects are seen at once.
        """
        if not self.names:
            yield from self.base[start : start + count]
            return
        for number in range(start, start + count):
            copy, i = divmod(number, len(self.base))
            yield self._copied(self.base[i], self.names[i], copy)

    def batches(
        self, count: int, limit: int = BATCH_RECORDS, size: int = BATCH_BYTES
    ) -> list[Packets]:
        """Packets in batches as a worker takes them from a backlog: so many, or so many bytes."""
        batches: list[Packets] = []
        some: list[bytes] = []
        held = 0
        for value in chain(self.packets(count), (None,)):
            if some and (value is None or len(some) == limit or held + len(value) > size):
                n = len(some)
                place = np.zeros(n, np.int32), np.arange(n, dtype=np.int64), np.zeros(n, np.int64)
                batches.append(Packets(some, "bench", *place))
                some, held = [], 0
            if value is not None:
                some.append(value)
                held += len(value)
        return batches

    @property
    def mean_kb(self) -> float:
        return sum(map(len, self.base)) / len(self.base) / 1000

    def _copied(self, value: bytes, name: str, copy: int) -> bytes:
        if not copy:
            return value
        if self.survey == "ztf":  # ZTF25aaaaaaa, once in a packet: a year that never was
            year = f"{chr(97 + copy // 36)}{_DIGITS[copy % 36]}"
            return value.replace(name.encode(), f"ZTF{year}{name[5:]}".encode(), 1)
        return value.replace(long(int(name)), long(int(name) + copy * _NEXT_ID))


def simulated(survey: Survey, seed: int, most: int | None = None) -> Night:
    """The night of a survey: the last packets of some weeks, so that each holds a history.

    `most` packets are really made; None: as many as make the later ones' copies few.
    """
    sky, base = _SKIES[survey], min(_BASE[survey], most or _BASE[survey])
    simulation = Simulation(
        "ztf" if survey == "ztf" else "lsst",
        objects=max(base // sky.alerts_each, 1),
        nights=sky.nights,
        seed=seed,
        shares=_SHARES,
        visits_per_night=sky.visits_per_night,
        visited=sky.visited,
        mix=_MIX,
    )
    simulation.schedule = simulation.schedule[-base:]
    seen = simulation.observed
    rows = simulation.schedule["sighting"]
    names = [seen.names[o] for o in seen.sightings["object"][rows].tolist()]
    if survey == "elasticc":
        writer = ElasticcPackets(seen)
        plan = zip(rows.tolist(), simulation.schedule["draw"].tolist(), strict=True)
        values = [writer.packet(sighting, draw) for sighting, draw in plan]
    else:
        values = [value for value, _, _ in simulation.packets()]
    return Night(survey, values, names)


def from_files(paths: Sequence[Path]) -> Night:
    """Packets of real files, all of one survey, in the files' order.

    Raises
    ------
    Failed
        There are none, or none that can be decoded.
    """
    from broker.decode import Decoder
    from broker.records import SURVEYS as NAMES

    values = [
        item.value
        for path in paths
        for file in packet_files.files(path)
        for item in packet_files.packets(file)
    ]
    n = len(values)
    places = np.zeros(n, np.int32), np.arange(n, dtype=np.int64), np.zeros(n, np.int64)
    alerts = Decoder().decode(Packets(values, "bench", *places))[0].alerts
    if not len(alerts):
        msg = f"no packets that can be decoded in {', '.join(map(str, paths))}"
        raise Failed(msg)
    return Night(NAMES[int(alerts["survey"][0])], values)

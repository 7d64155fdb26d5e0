"""A simulated survey: packets in its own wire format, in order of publication, and their truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker import lsst_packets, ztf_frames
from broker.cadence import SURVEYS, observe
from broker.lsst_packets import LsstPackets
from broker.observed import Observed, look
from broker.records import BANDS
from broker.sky import KINDS, MIX, draw
from broker.ztf_packets import ZtfPackets

#: What was done to a packet. `repeated` marks the second copy; `late` one that is published hours
#: to days after its time; `corrupt` one that cannot be decoded.
DEEDS = ("plain", "repeated", "late", "corrupt")
PLAIN, REPEATED, LATE, CORRUPT = range(4)
HTML = b"<!DOCTYPE html>\n<html><head><title>503 Service Unavailable</title></head></html>\n"

#: One packet to be: when, of which sighting, what is done to it, and 64 random bits for the rest.
PACKET = np.dtype([("published_ms", "i8"), ("sighting", "i8"), ("deed", "u1"), ("draw", "u8")])


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of what is not a plain alert of a variable or transient, each 0 to 1.

    `solar_system` and `bogus` are shares of all alerts; of these a share `late`, `repeated` or
    `corrupt` (never two at once) is published so.
    """

    solar_system: float = 0.03
    bogus: float = 0.05
    repeated: float = 0.01
    late: float = 0.01
    corrupt: float = 0.002

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                msg = f"the share {name} is {getattr(self, name)}; it must lie from 0 to 1"
                raise ValueError(msg)
        if self.solar_system + self.bogus >= 1 or self.repeated + self.late + self.corrupt > 1:
            msg = "solar_system + bogus must stay below 1, and repeated + late + corrupt at most 1"
            raise ValueError(msg)


class Writer(Protocol):
    """Turns a sighting into a packet of one survey."""

    def packet(self, sighting: int, draw: int) -> bytes: ...


class Simulation:
    """A survey's nights over a drawn sky. The same arguments give the same bytes.

    Parameters
    ----------
    survey : "ztf" (whole Avro containers, schema 4.02) or "lsst" (Confluent framing, schema 11.1).
    objects : variable stars and transients; moving and bogus things come on top, by `shares`.
    nights : how long the survey lasts.
    seed : of everything that is random.
    cutouts : with stamps of compressed noise in real sizes (ZTF packets of 57 to 90 kB), or null.
    shares : solar-system, bogus, repeated, late and corrupt packets.
    start_mjd : first night.
    visits_per_night : rounds of two exposures in each visited night.
    mix : shares of the kinds among the objects.
    visited : share of the nights in which an area is visited, weather included; the survey's own
        if None. Fewer nights with more visits look more like CRTS, on which the networks trained.

    Raises
    ------
    ValueError
        A survey, share or kind that there is not; a number below 1.
    """

    def __init__(
        self,
        survey: str = "ztf",
        objects: int = 300,
        nights: int = 120,
        seed: int = 0,
        cutouts: bool = True,
        shares: Shares = Shares(),
        start_mjd: float = 60676.0,
        visits_per_night: int = 1,
        mix: Mapping[str, float] = MIX,
        visited: float | None = None,
    ) -> None:
        if survey not in SURVEYS:
            msg = f"no survey {survey!r} is simulated; there are: {', '.join(SURVEYS)}"
            raise ValueError(msg)
        if min(objects, nights, visits_per_night) < 1:
            msg = (
                f"objects, nights and visits must be 1 or more: {objects, nights, visits_per_night}"
            )
            raise ValueError(msg)
        self.survey, self.cutouts = survey, cutouts
        facts = SURVEYS[survey]
        if visited is not None:
            if not 0 < visited <= 1:
                msg = f"the share of nights visited is {visited}; it must lie above 0, at most 1"
                raise ValueError(msg)
            facts = replace(facts, visited=visited)
        self._seed = seed
        streams = [np.random.default_rng([seed, stream]) for stream in range(4)]
        sky = draw(objects, streams[0], start_mjd, nights, mix, facts.fainter)
        areas = int(np.clip(round(objects / 25), 1, 64))
        exposures = observe(facts, areas, nights, start_mjd, visits_per_night, streams[1])
        extra = shares.solar_system, shares.bogus
        self.observed: Observed = look(facts, sky, exposures, start_mjd, extra, streams[2])
        (ztf_frames if survey == "ztf" else lsst_packets).number(self.observed, seed)
        self.schedule: NDArray[np.void] = _schedule(self.observed, shares, streams[3])

    def __len__(self) -> int:
        return len(self.schedule)

    def packets(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield (packet, its time of publication in ms, its row in `truth`), in order of time."""
        rng = np.random.default_rng([self._seed, 4])
        writer: Writer = (ZtfPackets if self.survey == "ztf" else LsstPackets)(
            self.observed, self.cutouts, rng
        )
        for index, (published_ms, sighting, deed, bits) in enumerate(self.schedule.tolist()):
            value = writer.packet(sighting, bits)
            yield (spoil(value, bits) if deed == CORRUPT else value), published_ms, index

    def truth(self) -> pa.Table:
        """One row per packet, in order of publication: what it is of and what was done to it.

        `magnitude` is the true total AB magnitude at the time and place (null where there is no
        light), `flux_njy` the same in nJy.
        """
        seen = self.observed
        rows = seen.sightings[self.schedule["sighting"]]
        exposures = seen.exposures[rows["exposure"]]
        flux = rows["true"]
        magnitude = 31.4 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
        return pa.table(
            {
                "packet": np.arange(len(rows)),
                "survey": pa.array([self.survey] * len(rows), pa.string()),
                "object": pa.array([seen.names[o] for o in rows["object"]], pa.string()),
                "alert_id": rows["id"],
                "kind": pa.array([KINDS[k] for k in seen.sky["kind"][rows["object"]]], pa.string()),
                "deed": pa.array([DEEDS[d] for d in self.schedule["deed"]], pa.string()),
                "mjd_tai": exposures["mjd_tai"],
                "band": pa.array([BANDS[b] for b in exposures["band"]], pa.string()),
                "magnitude": pa.array(magnitude, from_pandas=True),
                "flux_njy": flux,
                "published_ms": self.schedule["published_ms"],
            }
        )

    def objects(self) -> pa.Table:
        """One row per object: what it is, where, and how it varies.

        Period (days) and amplitude (mag, about V) are null where there is none; per band of the
        survey stand mean (of a transient: peak) and reference magnitude.
        """
        seen = self.observed
        sky = seen.sky
        columns = {
            "object": pa.array(seen.names, pa.string()),
            "kind": pa.array([KINDS[k] for k in sky["kind"]], pa.string()),
            **{name: sky[name] for name in ("ra", "dec")},
            **{
                name: pa.array(sky[name], from_pandas=True)
                for name in ("period", "amplitude", "epoch")
            },
        }
        for band in np.flatnonzero(seen.survey.depth):
            name, magnitude = BANDS[band], seen.references["magnitude"][:, band]
            columns[f"magnitude_{name}"] = pa.array(sky["magnitude"][:, band], from_pandas=True)
            columns[f"reference_{name}"] = pa.array(magnitude, from_pandas=True)
        alerts = seen.sightings["object"][
            self.schedule["sighting"][self.schedule["deed"] != REPEATED]
        ]
        columns["alerts"] = np.bincount(alerts, minlength=len(sky))
        return pa.table(columns)


def _schedule(seen: Observed, shares: Shares, rng: np.random.Generator) -> NDArray[np.void]:
    """Which packets are published when: (n,) PACKET, in order of publication."""
    exposure = seen.sightings["exposure"]
    alerts = np.flatnonzero((seen.sightings["id"] > 0) & (seen.exposures["private"][exposure] == 0))
    plan = np.zeros(len(alerts), PACKET)
    plan["sighting"] = alerts
    # The alerts of one exposure leave one by one, a millisecond apart.
    place = seen.sightings["id"][alerts] % 1000
    plan["published_ms"] = seen.exposures["published_ms"][exposure[alerts]] + place
    plan["draw"] = rng.integers(0, 1 << 64, len(alerts), np.uint64)
    limits = np.cumsum([shares.corrupt, shares.late, shares.repeated])
    plan["deed"] = np.array([CORRUPT, LATE, REPEATED, PLAIN])[
        np.searchsorted(limits, rng.random(len(alerts)), "right")
    ]
    late = plan["deed"] == LATE
    plan["published_ms"][late] += rng.integers(6 * 3_600_000, 3 * 86_400_000, late.sum())
    copies = plan[plan["deed"] == REPEATED]
    plan["deed"][plan["deed"] == REPEATED] = PLAIN
    copies["published_ms"] += rng.integers(1_000, 3_600_000, len(copies))
    plan = np.concatenate([plan, copies])
    return plan[np.argsort(plan["published_ms"], kind="stable")]


def spoil(value: bytes, draw: int) -> bytes:
    """Make a packet that cannot be decoded.

    It is cut short, or an HTML error page as archives serve them, or (ZTF) its last sync marker is
    wrong, or (LSST) nobody knows its schema id.
    """
    way = draw % 3
    if way == 0:
        return value[: len(value) // 3 + draw % (len(value) // 2)]
    if way == 1:
        return HTML
    if value[0] == 0:
        return b"\x00" + (9999).to_bytes(4, "big") + value[5:]
    return value[:-1] + bytes([value[-1] ^ 0xFF])


def write(simulation: Simulation, folder: Path) -> int:
    """Write all packets into `folder`, a part per night of publication; returns their number.

    ZTF: ``YYYYMMDD/<candid>.avro`` as in the public archive (a repeated packet gets ``_2``);
    LSST: ``YYYYMMDD.lenpfx``, each packet with its length before it (4 bytes, little-endian).
    Beside them ``truth.parquet`` and ``objects.parquet``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth = simulation.truth()
    ids = truth["alert_id"].to_pylist()

    def night(packet: tuple[bytes, int, int]) -> str:
        return datetime.fromtimestamp(packet[1] / 1000, UTC).strftime("%Y%m%d")

    for date, packets in groupby(simulation.packets(), night):
        if simulation.survey == "lsst":
            with (folder / f"{date}.lenpfx").open("wb") as out:
                out.writelines(len(v).to_bytes(4, "little") + v for v, _, _ in packets)
            continue
        (folder / date).mkdir(exist_ok=True)
        for value, _, index in packets:
            again = "_2" if simulation.schedule["deed"][index] == REPEATED else ""
            (folder / date / f"{ids[index]}{again}.avro").write_bytes(value)
    pq.write_table(truth, folder / "truth.parquet")
    pq.write_table(simulation.objects(), folder / "objects.parquet")
    return len(truth)

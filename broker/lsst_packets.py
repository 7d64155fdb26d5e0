"""LSST's packets: Confluent framing and schema 11.1, made of rows that are encoded once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.cutouts import lsst_stamps
from broker.encoding import NULL, PRESENT, array, long, part, row_writer, text
from broker.observed import GLIMPSED, Observed, rank
from broker.records import BANDS
from broker.sky import KINDS
from schemas import find

SCHEMA_ID = 1101  # 100 * major + minor
FRAME = b"\x00" + SCHEMA_ID.to_bytes(4, "big")
FIRST_ID = 170_112_044_500_000_000  # of the digits that real ids have
FIRST_OBJECT = 170_028_500_000_000_000
FIRST_SOLAR = 21_163_600_000_000_000
PROCESSED_DAYS = 0.0017  # alert processing ends some 2.5 minutes after the exposure


def number(observed: Observed, seed: int) -> None:
    """Number objects (a moving one by its solar-system id) and detections."""
    for o, source in enumerate(observed.sky):
        moving = KINDS[source["kind"]] == "solar_system"
        # A stride keeps ids of neighbours apart, as the survey's are.
        number = (FIRST_SOLAR if moving else FIRST_OBJECT) + 1_000_000 * (seed % 1000) + 37 * o
        observed.names[o] = str(number)
    found = np.flatnonzero(observed.sightings["id"])
    exposure = observed.sightings["exposure"][found].astype(np.int64)
    places = rank(exposure)
    observed.sightings["id"][found] = FIRST_ID + exposure * 1_000_000 + places


def visits(observed: Observed) -> list[int]:
    """Visit number of each exposure: date of the night, and its place in the night."""
    days = np.floor(observed.exposures["mjd_tai"] - 0.5).astype(np.int64)  # noon to noon
    dates = (days - 40587).astype("M8[D]").astype(str).tolist()
    places = rank(days).tolist()
    return [int(d.replace("-", "")) * 100000 + p + 1 for d, p in zip(dates, places, strict=True)]


def _zeros(schema: Any) -> dict[str, Any]:
    """A row in which each field that may not be null has the zero of its type."""
    zero: dict[str, Any] = {"int": 0, "long": 0, "float": 0.0, "double": 0.0, "string": ""}
    return {f["name"]: zero.get(f["type"]) for f in schema["fields"] if not _nullable(f["type"])}


def _nullable(kind: Any) -> bool:
    return isinstance(kind, list) and "null" in kind


class LsstPackets:
    """Writes the packets of one simulation; a row's bytes are made once."""

    def __init__(self, observed: Observed, cutouts: bool, rng: np.random.Generator) -> None:
        schema = find("lsst/1101")
        source = part(schema, "diaSource")
        moving, orbit = part(schema, "ssSource"), part(schema, "mpc_orbits")
        self._observed = observed
        self._visits = visits(observed)
        self._write_source = row_writer(source)
        self._write_forced = row_writer(part(schema, "prvDiaForcedSources"))
        self._write_object = row_writer(part(schema, "diaObject"))
        self._write_moving, self._write_orbit = row_writer(moving), row_writer(orbit)
        self._moving, self._orbit = _zeros(moving), _zeros(orbit)
        self._plain = _zeros(source) | {
            f["name"]: False
            for f in source["fields"]
            if isinstance(f["type"], list) and "boolean" in f["type"]
        }
        self._stamps = lsst_stamps(rng) if cutouts else None
        self._rows: dict[int, bytes] = {}
        self._forced_rows: dict[int, bytes] = {}
        self._oldest = observed.first[:-1].tolist()

    def packet(self, sighting: int, draw: int) -> bytes:
        """Packet of the alert in row `sighting`; `draw` (64 random bits) is its small print."""
        seen, k = self._observed, sighting
        o = int(seen.sightings["object"][k])
        head = long(int(seen.sightings["id"][k])), PRESENT, text("wide"), PRESENT, text("lowdust")
        if KINDS[seen.sky["kind"][o]] == "solar_system":
            rest: list[bytes] = [NULL, NULL, NULL, *self._solar(o, k)]
        else:
            rest = [*self._history(o, k, draw), PRESENT, self._object(k), NULL, NULL]
        stamps = [bytes(3)]
        if self._stamps is not None:
            chosen = self._stamps[(draw >> 8) % len(self._stamps)]
            stamps = [PRESENT + text(stamp) for stamp in chosen]
        return b"".join((FRAME, *head, self._source(k), *rest, *stamps))

    def _history(self, o: int, k: int, draw: int) -> tuple[bytes, bytes]:
        """Earlier detections, and the forced rows since the first of them, this visit's too."""
        seen = self._observed
        if seen.glimpsed(o):
            return NULL, NULL
        rows = seen.rows_before(k, seen.lag(draw))
        self._forget(o, rows.start)
        found = [i for i in rows if seen.sightings["id"][i]]
        if not found:
            return NULL, NULL
        forced = [*range(max(rows.start, seen.born(o)), rows.stop), k]
        return array([self._source(i) for i in found]), array([self._force(i) for i in forced])

    def _forget(self, o: int, start: int) -> None:
        """Drop the rows of object `o` that no later packet holds (a late one makes them anew)."""
        for row in range(self._oldest[o], start):
            self._rows.pop(row, None)
            self._forced_rows.pop(row, None)
        self._oldest[o] = max(self._oldest[o], start)

    def _where(self, k: int) -> dict[str, Any]:
        """Fields of the exposure of sighting `k`, as sources and forced sources carry them."""
        e = int(self._observed.sightings["exposure"][k])
        row = self._observed.exposures[e]
        mjd = float(row["mjd_tai"])
        return {
            "visit": self._visits[e],
            "detector": int(row["area"]) % 189,
            "midpointMjdTai": mjd,
            "band": BANDS[row["band"]],
            "timeProcessedMjdTai": mjd + PROCESSED_DAYS,
        }

    def _source(self, k: int) -> bytes:
        if k not in self._rows:
            seen = self._observed
            row = seen.sightings[k]
            o, difference, error = int(row["object"]), float(row["difference"]), float(row["error"])
            band = seen.exposures["band"][row["exposure"]]
            reference, kind = seen.references[o, band], KINDS[seen.sky["kind"][o]]
            template, moving = float(reference["flux"]), kind == "solar_system"
            own, looks = int(seen.names[o]), float(row["reliability"])
            identity = {"diaObjectId": (0, None)[k % 2] if moving else own}
            identity["ssObjectId"] = own if moving else (0, None)[k % 2]
            bogus = seen.sky["kind"][o] == GLIMPSED[1]
            self._rows[k] = self._write_source(
                self._plain
                | self._where(k)
                | identity
                | {
                    "diaSourceId": int(row["id"]),
                    "parentDiaSourceId": 0,
                    "exposureTime": 30.0,
                    "ra": float(row["ra"]),
                    "raErr": 1e-05,
                    "dec": float(row["dec"]),
                    "decErr": 1e-05,
                    "x": float(k % 4000),
                    "y": float(k * 7 % 4000),
                    "apFlux": difference * 0.98,
                    "apFluxErr": error * 1.4,
                    "isNegative": difference < 0,
                    "snr": abs(difference) / error,
                    "psfFlux": difference,
                    "psfFluxErr": error,
                    "psfChi2": 1700.0,
                    "psfNdata": 1681,
                    "scienceFlux": template + difference,
                    "scienceFluxErr": error,
                    "templateFlux": template,
                    "templateFluxErr": max(float(reference["error"]), 5.0),
                    "ixx": 0.45,
                    "iyy": 0.4,
                    "ixy": 0.0,
                    "ixxPSF": 0.45,
                    "iyyPSF": 0.4,
                    "ixyPSF": 0.0,
                    "extendedness": 0.5 if bogus else 1 - float(seen.sky["stellar"][o]),
                    "reliability": looks,
                    "reliabilityVersion": "1",
                    "bboxSize": 33,
                }
            )
        return self._rows[k]

    def _force(self, k: int) -> bytes:
        if k not in self._forced_rows:
            seen = self._observed
            row = seen.sightings[k]
            o, band = int(row["object"]), seen.exposures["band"][row["exposure"]]
            self._forced_rows[k] = self._write_forced(
                self._where(k)
                | {
                    # Forced rows have ids of their own, apart from those of sources.
                    "diaForcedSourceId": FIRST_ID + int(row["exposure"]) * 1_000_000 + 500_000 + o,
                    "diaObjectId": int(seen.names[o]),
                    "ra": float(seen.sky["ra"][o]),
                    "dec": float(seen.sky["dec"][o]),
                    "psfFlux": float(row["forced"]),
                    "psfFluxErr": float(row["forced_error"]),
                    "scienceFlux": float(seen.references["flux"][o, band] + row["forced"]),
                    "scienceFluxErr": float(row["forced_error"]),
                }
            )
        return self._forced_rows[k]

    def _object(self, k: int) -> bytes:
        """The object as it stands after this alert: counts, times and means of its detections."""
        seen = self._observed
        found = seen.detections_until(k)
        rows = seen.sightings[found]
        bands, o = seen.exposures["band"][rows["exposure"]], int(rows["object"][-1])
        flux: NDArray[np.float64] = rows["difference"]
        means: dict[str, Any] = {f"{band}_psfFluxNdata": 0 for band in BANDS[:6]}
        for number in np.unique(bands):
            here = flux[bands == number]
            band = BANDS[number]
            means[f"{band}_psfFluxNdata"] = len(here)
            means[f"{band}_psfFluxMean"] = float(here.mean())
            means[f"{band}_psfFluxMin"] = float(here.min())
            means[f"{band}_psfFluxMax"] = float(here.max())
            means[f"{band}_psfFluxSigma"] = float(here.std(ddof=1)) if len(here) > 1 else None
        return self._write_object(
            means
            | {
                "diaObjectId": int(seen.names[o]),
                "validityStartMjdTai": float(seen.mjd[k]) + PROCESSED_DAYS,
                "ra": float(seen.sky["ra"][o]),
                "dec": float(seen.sky["dec"][o]),
                "firstDiaSourceMjdTai": float(seen.mjd[found[0]]),
                "lastDiaSourceMjdTai": float(seen.mjd[k]),
                "nDiaSources": len(found),
            }
        )

    def _solar(self, o: int, k: int) -> tuple[bytes, bytes, bytes, bytes]:
        """A moving object's ephemeris and orbit: identity and place only."""
        seen = self._observed
        own = int(seen.names[o])
        ids = {"diaSourceId": int(seen.sightings["id"][k]), "ssObjectId": own}
        name = f"{2000 + own % 25} N{'ABCDEFGH'[own % 8]}{own % 300}"
        names = {key: name for key in self._orbit if "designation" in key}
        place = {"designation": name, "ephOffset": 0.02}
        moving = self._write_moving(self._moving | ids | place)
        return PRESENT, moving, PRESENT, self._write_orbit(self._orbit | names)

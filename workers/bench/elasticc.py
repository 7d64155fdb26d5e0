"""Packets of ELAsTiCC's size and schema, from what a simulated LSST saw."""

from __future__ import annotations

from broker.encoding import PRESENT, array, long, part, row_writer
from broker.observed import Observed
from broker.records import BANDS
from schemas import find

FRAME = b"\x00" + (91).to_bytes(4, "big")
#: From nJy to SNANA's flux units: zero points 31.4 and 27.5.
SNANA = 10 ** (0.4 * (27.5 - 31.4))


class ElasticcPackets:
    """Writes one packet at a time; a row's bytes are made once."""

    def __init__(self, observed: Observed) -> None:
        schema = find("elasticc/91")
        self._observed = observed
        self._source = row_writer(part(schema, "diaSource"))
        self._forced = row_writer(part(schema, "prvDiaForcedSources"))
        self._object = row_writer(part(schema, "diaObject"))
        self._sources: dict[int, bytes] = {}
        self._forced_rows: dict[int, bytes] = {}

    def packet(self, sighting: int, draw: int) -> bytes:
        """Packet of the alert in row `sighting`; `draw` (64 random bits) says how late rows are."""
        seen, k = self._observed, sighting
        o = int(seen.sightings["object"][k])
        rows = seen.rows_before(k, seen.lag(draw))
        found = [self._row(i) for i in rows if seen.sightings["id"][i]]
        forced = [self._force(i) for i in range(max(rows.start, seen.born(o)), rows.stop)]
        about = {
            "diaObjectId": int(seen.names[o]),
            "simVersion": "bench",
            "ra": float(seen.sky["ra"][o]),
            "decl": float(seen.sky["dec"][o]),
            "mwebv": 0.05,
            "z_final": 0.3,
            "z_final_err": 0.02,
        }
        return b"".join(
            (
                FRAME,
                long(int(seen.sightings["id"][k])),
                self._row(k),
                array(found),
                array(forced),
                PRESENT,
                self._object(about),
            )
        )

    def _place(self, k: int) -> dict[str, object]:
        band = self._observed.exposures["band"][self._observed.sightings["exposure"][k]]
        o = int(self._observed.sightings["object"][k])
        return {
            "diaObjectId": int(self._observed.names[o]),
            "midPointTai": float(self._observed.mjd[k]),
            "filterName": "Y" if BANDS[band] == "y" else BANDS[band],
        }

    def _row(self, k: int) -> bytes:
        if k not in self._sources:
            row = self._observed.sightings[k]
            # of another place than the difference's: a transient brightens, a star does both
            flux, error = abs(float(row["difference"])), float(row["error"])
            self._sources[k] = self._source(
                self._place(k)
                | {
                    "diaSourceId": int(row["id"]),
                    "ra": float(row["ra"]),
                    "decl": float(row["dec"]),
                    "psFlux": flux * SNANA,
                    "psFluxErr": error * SNANA,
                    "snr": flux / error,
                }
            )
        return self._sources[k]

    def _force(self, k: int) -> bytes:
        if k not in self._forced_rows:
            row = self._observed.sightings[k]
            self._forced_rows[k] = self._forced(
                self._place(k)
                | {
                    "diaForcedSourceId": 10**9 + k,
                    "psFlux": abs(float(row["forced"])) * SNANA,
                    "psFluxErr": float(row["forced_error"]) * SNANA,
                }
            )
        return self._forced_rows[k]

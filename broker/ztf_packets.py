"""ZTF's packets: Avro containers of schema 4.02, put together from rows that are encoded once."""

from __future__ import annotations

from typing import Any

import numpy as np

from broker.cutouts import ztf_stamps
from broker.encoding import PRESENT, array, container_header, long, part, row_writer, text
from broker.observed import Observed
from broker.sky import KINDS, TRANSIENTS
from broker.ztf_frames import frames
from schemas import find

VERSION = "4.02"
PUBLISHER = "ZTF (www.ztf.caltech.edu)"
MISSING = -999.0
FORCED_MISSING = -99999.0
PIXEL_ARCSEC = 1.01
#: What every row of a found source carries, much the same in all of them.
LOOKS = {"chipsf": 8.5, "chinr": 0.5, "sharpnr": 0.01, "sky": 0.2, "classtar": 0.98, "sumrat": 1.0}
#: Second and third sources nearby, of no interest to anyone here.
BESIDE = {"srmag2": 21.5, "simag2": 20.9, "szmag2": 20.7, "simag3": 21.2}
BESIDE |= {"sgscore2": 0.5, "sgscore3": 0.3, "distpsnr2": 7.5, "distpsnr3": 11.0}
LOOKS |= {"aimage": 0.8, "bimage": 0.75, "aimagerat": 0.35, "bimagerat": 0.33, "elong": 1.06}


class ZtfPackets:
    """Writes the packets of one simulation; a row's bytes are made once and forgotten when old."""

    def __init__(self, observed: Observed, cutouts: bool, rng: np.random.Generator) -> None:
        schema = find("ztf/402")
        self._observed = observed
        self._frames = frames(observed)
        self._candidate = row_writer(part(schema, "candidate"))
        self._previous = row_writer(part(schema, "prv_candidates"))
        self._forced = row_writer(part(schema, "fp_hists"))
        self._header = container_header(schema, bytes(16))[:-16]  # the sync marker is each file's
        self._stamps = ztf_stamps(rng) if cutouts else None
        self._limits: dict[int, bytes] = {}
        self._rows: dict[int, bytes] = {}
        self._forced_rows: dict[int, bytes] = {}
        self._oldest = observed.first[:-1].tolist()

    def packet(self, sighting: int, draw: int) -> bytes:
        """Packet of the alert in row `sighting`; `draw` (64 random bits) is its small print."""
        sync = draw.to_bytes(8, "little") * 2
        body = self._body(sighting, draw)
        return b"".join((self._header, sync, b"\x02", long(len(body)), body, sync))

    def _body(self, k: int, draw: int) -> bytes:
        seen, o = self._observed, int(self._observed.sightings["object"][k])
        candid = int(seen.sightings["id"][k])
        name = seen.names[o]
        head = (text(VERSION), text(PUBLISHER), text(name), long(candid))
        lag = seen.lag(draw)
        if seen.glimpsed(o):
            limits = seen.exposures_before(k, lag)
            previous, forced = [self._limit(int(e)) for e in limits], []
        else:
            rows = seen.rows_before(k, lag)
            previous = [self._history(i) for i in rows]
            since = range(max(rows.start, seen.born(o)), rows.stop)
            # Newest first, and one row an exposure, as the survey gives them.
            forced = [self._force(i) for i in reversed(since) if not seen.twin(i)]
            self._forget(o, rows.start)
        candidate = self._candidate(self._alert(k))
        return b"".join((*head, candidate, array(previous), array(forced), self._cut(k, draw)))

    def _cut(self, k: int, draw: int) -> bytes:
        """Three nullable cutouts: file name and gzipped noise, or null."""
        if self._stamps is None:
            return bytes(3)
        pid = self._frames[int(self._observed.sightings["exposure"][k])]["pid"]
        start = f"candid{int(self._observed.sightings['id'][k])}_"
        names = f"{start}pid{pid}_targ_sci", f"{start}ref", f"{start}pid{pid}_targ_refmsci"
        out = []
        for i, (name, pool) in enumerate(zip(names, self._stamps, strict=True)):
            stamp = pool[(draw >> (8 * i + 8)) % len(pool)]
            out += [PRESENT, text(f"{name}.fits.gz"), long(len(stamp)), stamp]
        return b"".join(out)

    def _limit(self, exposure: int) -> bytes:
        """A row where nothing was found; it is the image's, the same for all objects on it."""
        if exposure not in self._limits:
            self._limits[exposure] = self._previous(self._frames[exposure])
        return self._limits[exposure]

    def _history(self, k: int) -> bytes:
        if not self._observed.sightings["id"][k]:
            return self._limit(int(self._observed.sightings["exposure"][k]))
        if k not in self._rows:
            row = self._source(k)
            # History goes through text: the same candid differs by up to 5e-7 mag from its alert.
            row["magpsf"], row["sigmapsf"] = round(row["magpsf"], 6), round(row["sigmapsf"], 6)
            row |= {"ssdistnr": None, "ssmagnr": None, "ssnamenr": None}
            self._rows[k] = self._previous(row)
        return self._rows[k]

    def _forget(self, o: int, start: int) -> None:
        """Drop the rows of object `o` that no later packet holds (a late one makes them anew)."""
        for row in range(self._oldest[o], start):
            self._rows.pop(row, None)
            self._forced_rows.pop(row, None)
        self._oldest[o] = max(self._oldest[o], start)

    def _source(self, k: int) -> dict[str, Any]:
        """Fields that a found source has both as alert and in history."""
        seen = self._observed
        row, frame = seen.sightings[k], self._frames[int(seen.sightings["exposure"][k])]
        o, candid = int(row["object"]), int(row["id"])
        source, reference = seen.sky[o], seen.references[o, frame["fid"]]
        flux, error = abs(float(row["difference"])), float(row["error"])
        magnitude = 31.4 - 2.5 * np.log10(flux)
        place, looks = self._nearest(o, frame["fid"]), float(row["reliability"])
        x, y = 100 + (int(source["seed"]) % 2800), 100 + (int(source["seed"]) // 2800 % 2800)
        return {
            **frame,
            **LOOKS,
            "candid": candid,
            "isdiffpos": "t" if row["difference"] > 0 else "f",
            "tblid": candid % 10000,
            "xpos": float(x),
            "ypos": float(y),
            "ra": round(float(row["ra"]), 7),
            "dec": round(float(row["dec"]), 7),
            "magpsf": float(magnitude),
            "sigmapsf": 1.0857362 * error / flux,
            "magap": float(magnitude) + 0.05,
            "sigmagap": 0.5 * error / flux,
            "magapbig": float(magnitude) + 0.05,
            "sigmagapbig": 0.6 * error / flux,
            "magdiff": 0.05,
            "fwhm": frame["seeing"],
            "seeratio": frame["seeing"] / 2.0,
            "mindtoedge": float(min(x, y)),
            "magfromlim": frame["diffmaglim"] - float(magnitude),
            "nneg": 0 if looks > 0.4 else 9,
            "nbad": 0 if looks > 0.2 else 3,
            "rb": looks,
            "ssdistnr": MISSING,
            "ssmagnr": MISSING,
            "ssnamenr": "null",
            "ranr": place["ranr"],
            "decnr": place["decnr"],
            "distnr": place["distnr"] if place["distnr"] < 0 else place["distnr"] / PIXEL_ARCSEC,
            "magnr": place["magnr"],
            "sigmagnr": place["sigmagnr"],
            "scorr": flux / error,
            "frames": int(reference["frames"]),
        }

    def _nearest(self, o: int, band: int) -> dict[str, float]:
        """The nearest source of the reference image, or the sentinels for none."""
        source, reference = self._observed.sky[o], self._observed.references[o, band]
        if not np.isfinite(reference["magnitude"]):
            none = dict.fromkeys(("distnr", "magnr", "sigmagnr"), MISSING)
            return none | {"ranr": MISSING, "decnr": MISSING}
        distance = float(source["distance"])
        return {
            "distnr": distance,
            "magnr": float(reference["magnitude"]),
            "sigmagnr": float(reference["magnitude_error"]),
            "ranr": round(float(source["ra"]), 7),
            "decnr": round(float(source["dec"]) + distance / 3600, 7),
        }

    def _alert(self, k: int) -> dict[str, Any]:
        """The candidate of an alert: a source, and all that stands in no history."""
        seen = self._observed
        row, row_id = self._source(k), int(seen.sightings["exposure"][k])
        o = int(seen.sightings["object"][k])
        source, found = seen.sky[o], seen.detections_until(k)
        looks, limit_name = row["rb"], row["pdiffimfilename"].rsplit("/", 1)[1]
        transient = KINDS[source["kind"]] in TRANSIENTS
        colour = source["host"] if transient else source["magnitude"]
        near = [float(m) if np.isfinite(m) and row["distnr"] >= 0 else MISSING for m in colour[1:5]]
        bogus = KINDS[source["kind"]] == "bogus"
        row |= {
            "pdiffimfilename": limit_name.removesuffix(".fz"),
            "ndethist": len(found),
            "ncovhist": seen.exposures_until(row_id),
            "jdstarthist": float(seen.exposures["jd_utc"][seen.sightings["exposure"][found[0]]]),
            "jdendhist": row["jd"],
            "tooflag": 0,
            "nmtchps": 12,
            "rfid": (row["field"] * 1000 + row["fid"] * 100 + row["rcid"]) * 1000 + 20,
            "jdstartref": 2458000.5,
            "jdendref": 2458400.5,
            "nframesref": row["frames"],
            "nmatches": 1500,
            "zpmed": row["magzpsci"] + 0.05,
            "clrmed": 0.65,
            "clrrms": 0.18,
            "zpclrcov": -3.3e-06,
            "dsnrms": row["scorr"] * 2,
            "ssnrms": row["scorr"] * 4,
            "dsdiff": -row["scorr"] * 2,
            "sgscore1": float(source["stellar"]) if row["distnr"] >= 0 else 0.5,
            "distpsnr1": float(source["distance"]) if row["distnr"] >= 0 else 12.0,
            **dict(zip(("sgmag1", "srmag1", "simag1", "szmag1"), near, strict=True)),
            **dict.fromkeys(("sgmag2", "sgmag3", "srmag3", "szmag3"), MISSING),
            **BESIDE,
            **{f"objectidps{i}": int(source["seed"]) * 10 + i for i in (1, 2, 3)},
            **dict.fromkeys(("neargaia", "neargaiabright"), float(source["distance"])),
            **dict.fromkeys(("maggaia", "maggaiabright"), near[1]),
            "exptime": 30.0,
            "drb": looks * 0.5 if bogus else 1 - 0.2 * (1 - looks) ** 2,
            "drbversion": "d6_m7",
        }
        if KINDS[source["kind"]] == "solar_system":
            number = int(source["seed"]) % 600000
            row |= {"ssdistnr": number % 40 / 10, "ssmagnr": round(row["magpsf"], 1)}
            row["ssnamenr"] = str(number)
        return row

    def _force(self, k: int) -> bytes:
        """A row of the forced history; one in twelve is missing, as fits fail."""
        if k not in self._forced_rows:
            seen = self._observed
            row, frame = seen.sightings[k], self._frames[int(seen.sightings["exposure"][k])]
            counts = 10 ** ((frame["magzpsci"] - 31.4) / 2.5)  # DN in a nanojansky
            failed = k * 2654435761 % 4096 < 340
            flux, error = float(row["forced"]) * counts, float(row["forced_error"]) * counts
            self._forced_rows[k] = self._forced(
                {
                    **frame,
                    **self._nearest(int(row["object"]), frame["fid"]),
                    "rfid": (frame["field"] * 1000 + frame["fid"] * 100 + frame["rcid"]) * 1000,
                    "sciinpseeing": frame["seeing"],
                    "scibckgnd": 150.0,
                    "scisigpix": 8.5,
                    "exptime": 30.0,
                    "adpctdif1": 0.06,
                    "adpctdif2": 0.06,
                    "forcediffimflux": FORCED_MISSING if failed else flux,
                    "forcediffimfluxunc": FORCED_MISSING if failed else error,
                    "procstatus": "61" if failed else "0",
                    "chinr": 0.5,
                    "sharpnr": 0.01,
                }
            )
        return self._forced_rows[k]

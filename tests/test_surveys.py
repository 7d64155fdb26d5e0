"""Each survey's points against a slow reading: fastavro, Python floats, the rules once more."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

import schemas
from broker import packet_files
from broker.decode import Decoder
from broker.records import ALERT, BANDS, CONTEXT, KINDS, POINT, SURVEYS, Detections, Packets
from broker.surveys import SURVEYS as READ_SURVEYS
from broker.surveys import survey_of
from broker.surveys.survey import tai, unix_ms

NAN = math.nan
COLUMNS = (
    "id",
    "mjd_tai",
    "exposure",
    "processed_mjd_tai",
    "flux_njy",
    "flux_err_njy",
    "total_flux_njy",
    "total_flux_err_njy",
    "reliability",
    "flags",
    "exposure_part",
    "kind",
    "band",
)


def number(value: Any) -> float:
    return NAN if value is None else float(value)


def point(**known: Any) -> dict[str, Any]:
    row = dict.fromkeys(COLUMNS, NAN) | {"id": 0, "exposure": 0, "exposure_part": 0, "flags": 0}
    return row | known


def utc_to_tai(mjd: float) -> float:
    assert mjd > 57754  # 2017: 37 s ever since
    return mjd + 37 / 86400


def ztf_total(
    row: dict[str, Any], limit: float, flux: float, flux_err: float
) -> tuple[float, float]:
    magnr, distnr, sigma = number(row["magnr"]), number(row["distnr"]), number(row["sigmagnr"])
    if not (magnr > 0 and 0 <= distnr < limit):
        return NAN, NAN
    reference = 10 ** ((31.4 - magnr) / 2.5)
    error = reference * sigma * math.log(10) / 2.5 if sigma >= 0 else NAN
    return reference + flux, math.sqrt(error**2 + flux_err**2)


def ztf_row(row: dict[str, Any], own: bool) -> dict[str, Any] | None:
    band = {1: "g", 2: "r", 3: "i"}.get(row["fid"], "unknown")
    out = point(
        mjd_tai=utc_to_tai(row["jd"] - 2400000.5 + 15 / 86400),
        exposure=row["pid"],
        exposure_part=row["fid"],
        band=BANDS.index(band),
    )
    if not own and (row["candid"] is None or row["magpsf"] is None):
        limit = number(row["diffmaglim"])
        if not limit > 0:
            return None
        return out | {"kind": 2, "flux_err_njy": 10 ** ((31.4 - limit) / 2.5) / 5}
    sign = {"t": 1, "1": 1, "f": -1, "0": -1}[row["isdiffpos"]]
    flux = sign * 10 ** ((31.4 - row["magpsf"]) / 2.5)
    error = abs(flux) * math.log(10) / 2.5 * row["sigmapsf"]
    total, total_err = ztf_total(row, 1.4, flux, error)
    rb = number(row["rb"])
    return out | {
        "id": row["candid"],
        "kind": KINDS.index("detection"),
        "flux_njy": flux,
        "flux_err_njy": error,
        "total_flux_njy": total,
        "total_flux_err_njy": total_err,
        "reliability": rb if rb >= 0 else NAN,
        "flags": 1 if own else 0,
    }


def ztf_forced(row: dict[str, Any]) -> dict[str, Any] | None:
    if row["forcediffimflux"] in (None, -99999.0) or not number(row["magzpsci"]) > 0:
        return None
    njy = 10 ** ((31.4 - row["magzpsci"]) / 2.5)
    flux, error = row["forcediffimflux"] * njy, row["forcediffimfluxunc"] * njy
    total, total_err = ztf_total(row, 1.4 * 1.01, flux, error)
    return point(
        mjd_tai=utc_to_tai(row["jd"] - 2400000.5 + 15 / 86400),
        exposure=row["pid"],
        exposure_part=row["fid"],
        band=BANDS.index("ugri"[row["fid"]]),
        kind=KINDS.index("forced"),
        flux_njy=flux,
        flux_err_njy=error,
        total_flux_njy=total,
        total_flux_err_njy=total_err,
        flags=0 if row["procstatus"] == "0" else 8,
    )


def ztf(record: dict[str, Any], public_only: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    own = record["candidate"]
    rows: list[dict[str, Any] | None] = [ztf_row(own, True)]
    history = [
        r for r in record["prv_candidates"] or () if not (public_only and r["programid"] > 1)
    ]
    forced = [r for r in record.get("fp_hists") or () if not (public_only and r["programid"] > 1)]
    rows += [ztf_row(row, False) for row in history] + [ztf_forced(row) for row in forced]
    points = [row for row in rows if row]
    names = [
        "rb",
        "drb",
        "distnr",
        "magnr",
        "sgscore1",
        "distpsnr1",
        "ssdistnr",
        "ndethist",
        "ncovhist",
        "jdstarthist",
        "programid",
    ]
    context = {name: number(own.get(name)) for name in names}
    solar = 0 <= context["ssdistnr"] < 5
    points[0]["flags"] |= 4 * solar
    alert = {
        "survey": "ztf",
        "object": record["objectId"],
        "alert_id": record["candid"],
        "source_id": own["candid"],
        "ra": own["ra"],
        "dec": own["dec"],
        "solar_system": int(solar),
        "context": {name: NAN if value <= -99 else value for name, value in context.items()},
    }
    return alert, points


def lsst_row(row: dict[str, Any], kind: str, name: str = "") -> dict[str, Any]:
    band = row["band"] if row["band"] in BANDS else "unknown"
    out = point(mjd_tai=row["midpointMjdTai"], kind=KINDS.index(kind), band=BANDS.index(band))
    if kind == "limit":
        return out | {"flux_err_njy": row["diaNoise"]}
    processed = number(row.get("timeProcessedMjdTai"))
    if row.get("time_processed"):  # schema 8.0: microseconds of Unix time, 0 is none
        processed = utc_to_tai(40587 + row["time_processed"] / 86400e6)
    flags = 8 * bool(row.get("psfFlux_flag")) + 16 * bool(row.get("centroid_flag"))
    return out | {
        "id": row[name],
        "exposure": row["visit"],
        "exposure_part": row["detector"],
        "processed_mjd_tai": processed,
        "flux_njy": number(row["psfFlux"]),
        "flux_err_njy": number(row["psfFluxErr"]),
        "total_flux_njy": number(row.get("scienceFlux")),
        "total_flux_err_njy": number(row.get("scienceFluxErr")),
        "reliability": number(row.get("reliability")),
        # The real 9.0 packet has NaN where it means null.
        "flags": flags + 2 * math.isfinite(number(row.get("timeWithdrawnMjdTai"))),
    }


def lsst(record: dict[str, Any], public_only: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    own = record["diaSource"]
    points = [lsst_row(own, "detection", "diaSourceId")]
    points += [lsst_row(r, "detection", "diaSourceId") for r in record["prvDiaSources"] or ()]
    points += [
        lsst_row(r, "forced", "diaForcedSourceId") for r in record["prvDiaForcedSources"] or ()
    ]
    points += [lsst_row(r, "limit") for r in record.get("prvDiaNondetectionLimits") or ()]
    sky = own["diaObjectId"] or (record["diaObject"] or {}).get("diaObjectId") or 0
    bodies = [own["ssObjectId"]]
    bodies += [(record.get(k) or {}).get("ssObjectId") for k in ("ssSource", "ssObject")]
    body = next((b for b in bodies if b), 0)
    solar = not sky and bool(body)
    points[0]["flags"] |= 1 + 4 * solar
    context = {
        name: number(own.get(name))
        for name in ("reliability", "extendedness", "isDipole", "templateFlux", "templateFluxErr")
    }
    for name in ("nDiaSources", "firstDiaSourceMjdTai"):
        context[name] = number((record["diaObject"] or {}).get(name))
    alert = {
        "survey": "lsst",
        "object": str(sky or body),
        "alert_id": record.get("alertId") or own["diaSourceId"],
        "source_id": own["diaSourceId"],
        "ra": own["ra"],
        "dec": own["dec"],
        "solar_system": int(solar),
        "context": context,
    }
    return alert, points


def elasticc_row(row: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    band = BANDS.index(row["filterName"].lower())
    njy = 10 ** ((31.4 - 27.5) / 2.5)
    return point(
        id=row[name],
        mjd_tai=row["midPointTai"],
        kind=KINDS.index(kind),
        band=band,
        exposure=round(row["midPointTai"] * 1e6),
        exposure_part=band,
        flux_njy=row["psFlux"] * njy,
        flux_err_njy=row["psFluxErr"] * njy,
    )


def elasticc(
    record: dict[str, Any], public_only: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    own = record["diaSource"]
    points = [elasticc_row(own, "detection", "diaSourceId") | {"flags": 1}]
    points += [elasticc_row(r, "detection", "diaSourceId") for r in record["prvDiaSources"] or ()]
    forced = record["prvDiaForcedSources"] or ()
    points += [elasticc_row(r, "forced", "diaForcedSourceId") for r in forced]
    alert = {
        "survey": "elasticc",
        "object": str(own["diaObjectId"]),
        "alert_id": record["alertId"],
        "source_id": own["diaSourceId"],
        "ra": own["ra"],
        "dec": own["decl"],
        "solar_system": 0,
        "context": {name: number(record["diaObject"][name]) for name in ("z_final", "mwebv")},
    }
    return alert, points


def records(value: bytes) -> list[dict[str, Any]]:
    """What fastavro reads of a packet; nothing if it cannot."""
    stream = io.BytesIO(value)
    if value[:1] == b"\0":
        schema = parsed(int.from_bytes(value[1:5], "big"))
        stream.seek(5)
        record = fastavro.schemaless_reader(stream, schema, None)
        assert stream.read() == b""
        return [record]  # type: ignore[list-item]
    try:
        return list(fastavro.reader(stream))  # type: ignore[arg-type]
    except (ValueError, KeyError):
        return []


PARSED: dict[int, Any] = {}


def parsed(number: int) -> Any:
    if number not in PARSED:
        name = f"elasticc/{number}" if number == 91 else f"lsst/{number}"
        PARSED[number] = fastavro.parse_schema(schemas.find(name))
    return PARSED[number]


REFERENCES = {"ztf": ztf, "lsst": lsst, "elasticc": elasticc}


def assert_same(
    detections: Detections, wanted: list[tuple[dict[str, Any], list[dict[str, Any]]]]
) -> None:
    assert len(detections) == len(wanted)
    assert np.diff(detections.first).tolist() == [len(points) for _, points in wanted]
    points = [row for _, rows in wanted for row in rows]
    for name in COLUMNS:
        column = np.array([row[name] for row in points], POINT[name])
        found = detections.points[name]
        if POINT[name].kind == "f":
            rtol = 1e-15 if name.startswith("mjd") else 2e-6 if POINT[name] == np.float32 else 1e-14
            np.testing.assert_allclose(found, column, rtol, equal_nan=True, err_msg=name)
        else:
            np.testing.assert_array_equal(found, column, name)
    alerts = detections.alerts
    assert [SURVEYS[s] for s in alerts["survey"]] == [a["survey"] for a, _ in wanted]
    assert [o.decode() for o in alerts["object"]] == [a["object"] for a, _ in wanted]
    for name in ("alert_id", "source_id", "ra", "dec", "solar_system"):
        column = np.array([a[name] for a, _ in wanted], ALERT[name])
        np.testing.assert_array_equal(alerts[name], column, name)
    for name in CONTEXT:
        column = np.array([a["context"].get(name, NAN) for a, _ in wanted])
        np.testing.assert_array_equal(alerts["context"][name], column, name)
    own = detections.first[:-1]
    np.testing.assert_array_equal(alerts["mjd_tai"], detections.points["mjd_tai"][own])
    np.testing.assert_array_equal(alerts["band"], detections.points["band"][own])


def batches(folder: Path, size: int = 100) -> Iterator[list[bytes]]:
    values: list[bytes] = []
    for file in packet_files.files(folder):
        for item in packet_files.packets(file):
            values.append(item.value)
            if len(values) == size:
                yield values
                values = []
    yield values


def packets(values: list[bytes], survey: str | None = None) -> Packets:
    zeros = np.zeros(len(values), np.int64)
    return Packets(values, "t", zeros.astype(np.int32), np.arange(len(values)), zeros, survey)


@pytest.mark.parametrize("public_only", [True, False])
@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
def test_every_shared_packet_gives_what_fastavro_gives(
    shared_data: Path, survey: str, public_only: bool
) -> None:
    decoder = Decoder(public_only)
    alerts = letters = 0
    for values in batches(shared_data / "alerts" / survey):
        read = [records(value) for value in values]
        detections, dead = decoder.decode(packets(values))
        wanted = [REFERENCES[survey](record, public_only) for some in read for record in some]
        if public_only:
            wanted = [(a, p) for a, p in wanted if a["context"].get("programid", 1) == 1]
        assert_same(detections, wanted)
        unread = {i for i, some in enumerate(read) if not some}
        refused = {letter.offset for letter in dead if letter.reason != "not_public"}
        assert refused == unread
        alerts, letters = alerts + len(detections), letters + len(dead)
    assert (alerts, letters) == {
        ("ztf", True): (220, 18),
        ("ztf", False): (226, 12),
        ("lsst", True): (46, 0),
        ("lsst", False): (46, 0),
        ("elasticc", True): (1600, 0),
        ("elasticc", False): (1600, 0),
    }[survey, public_only]


def test_pages_that_archives_serve_as_packets_are_named_as_such(shared_data: Path) -> None:
    (values,) = batches(shared_data / "alerts" / "corrupt")
    detections, letters = Decoder().decode(packets(values))
    assert len(detections) == 0
    assert [letter.reason for letter in letters] == ["html"] * len(values)


def blank(schema: Any) -> Any:
    """A value of a schema: null where that is possible, else 0 or nothing."""
    if isinstance(schema, list):
        return None if "null" in schema else blank(schema[0])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {field["name"]: blank(field["type"]) for field in schema["fields"]}
    simple = {"string": "", "bytes": b"", "array": [], "boolean": False, "null": None}
    return simple.get(kind, 0) if isinstance(kind, str) else blank(kind)


def ztf_packet(
    history: Sequence[dict[str, Any]] = (), forced: Sequence[dict[str, Any]] = (), **candidate: Any
) -> bytes:
    """A ZTF 4.02 alert of these values, made from the schema alone."""
    schema = schemas.find("ztf/402")
    types = {f["name"]: f["type"] for f in schema["fields"]}
    record = blank(schema) | {"objectId": "ZTF18abc", "candid": 7}
    own = {"candid": 7, "jd": 2459000.5, "fid": 1, "pid": 3, "isdiffpos": "t", "programid": 1}
    record["candidate"] |= own | {"magpsf": 20.0, "sigmapsf": 0.1} | candidate
    row = blank(types["prv_candidates"][1]["items"])
    record["prv_candidates"] = [row | own | {"candid": None} | given for given in history]
    row = blank(types["fp_hists"][1]["items"]) | {"magzpsci": 26.0, "procstatus": "0"}
    record["fp_hists"] = [row | {"jd": 2459000.5, "fid": 1, "pid": 3} | given for given in forced]
    stream = io.BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(schema), [record])
    return stream.getvalue()


def decoded(value: bytes) -> Detections:
    detections, letters = Decoder().decode(packets([value]))
    assert letters == []
    return detections


def test_a_limit_is_a_fifth_of_what_five_sigma_would_be() -> None:
    points = decoded(ztf_packet([{"diffmaglim": 20.5}, {"diffmaglim": -999.0}, {}])).points
    assert points["kind"].tolist() == [0, 2]  # sentinel and null say nothing
    assert np.isnan(points["flux_njy"][1])
    assert points["flux_err_njy"][1] == pytest.approx(10 ** ((31.4 - 20.5) / 2.5) / 5, rel=1e-6)


def test_rows_of_programmes_that_are_not_public_are_dropped() -> None:
    value = ztf_packet(
        [{"programid": p, "diffmaglim": 20.0 + p} for p in (1, 2, 3)],
        [{"programid": p, "forcediffimflux": 10.0 + p} for p in (1, 2, 3)],
    )
    assert decoded(value).points["kind"].tolist() == [0, 2, 1]
    everything, _ = Decoder(public_only=False).decode(packets([value]))
    assert everything.points["kind"].tolist() == [0, 2, 2, 2, 1, 1, 1]


def test_total_flux_needs_the_reference_to_be_the_object() -> None:
    near = {"magnr": 19.0, "sigmagnr": 0.02, "distnr": 1.39}
    for change, has in (
        ({}, True),
        ({"distnr": 1.41}, False),
        ({"distnr": -999.0}, False),
        ({"magnr": -999.0}, False),
        ({"magnr": None}, False),
    ):
        points = decoded(ztf_packet(**(near | change))).points
        assert np.isfinite(points["total_flux_njy"][0]) == has
    fading = decoded(ztf_packet(isdiffpos="f", **near)).points[0]
    reference, difference = 10 ** ((31.4 - 19) / 2.5), 10 ** ((31.4 - 20) / 2.5)
    assert fading["flux_njy"] == pytest.approx(-difference, rel=1e-6)
    assert fading["total_flux_njy"] == pytest.approx(reference - difference, rel=1e-6)


def test_mid_exposure_is_fifteen_seconds_after_jd_in_tai() -> None:
    (mjd,) = decoded(ztf_packet(jd=2459000.5, exptime=300.0)).points["mjd_tai"]
    assert mjd == pytest.approx(59000 + (15 + 37) / 86400, abs=1e-9)


@pytest.mark.parametrize(
    ("ssdistnr", "solar"), [(0.0, 1), (4.9, 1), (5.0, 0), (-999.0, 0), (None, 0)]
)
def test_near_a_known_body_an_alert_is_of_the_solar_system(
    ssdistnr: float | None, solar: int
) -> None:
    detections = decoded(ztf_packet(ssdistnr=ssdistnr))
    assert detections.alerts["solar_system"].tolist() == [solar]
    assert detections.points["flags"].tolist() == [1 + 4 * solar]


def test_leap_seconds_begin_at_their_midnight() -> None:
    for mjd, seconds in ((41317, 10), (57753.999, 36), (57754, 37), (61000, 37)):
        assert (tai(mjd) - mjd) * 86400 == pytest.approx(seconds, abs=1e-5)
    assert unix_ms(np.array([59000 + 37 / 86400, -np.inf])).tolist() == [1590883200000, 0]


def test_a_container_is_known_by_the_name_of_its_schema_or_by_its_fields() -> None:
    for name in ("ztf/402", "ztf/303", "lsst/700", "lsst/1101", "elasticc/91"):
        schema = schemas.find(name)
        survey = READ_SURVEYS[name.split("/")[0]]
        assert survey_of(schema) is survey
        assert survey_of(schema | {"name": "alert", "namespace": survey.name}) is survey
        assert survey_of(schema | {"name": "packet"}) is survey
    assert survey_of({"type": "record", "name": "x", "fields": []}) is None
    assert survey_of(json.loads('["null", 3]')) is None

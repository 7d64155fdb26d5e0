"""Simulated packets, read back by plain fastavro, are what the simulation says they are."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest

from broker.encoding import long, row_writer
from broker.packets import Shares, Simulation, write
from broker.sky import KINDS, njy
from schemas import find

NONE = Shares(0, 0, 0, 0, 0)
MID_TAI = (15 + 37) / 86400 - 2400000.5


def read(survey: str, value: bytes) -> dict[str, Any]:
    if survey == "ztf":
        (record,) = fastavro.reader(io.BytesIO(value))
        return record
    assert value[:5] == b"\x00" + (1101).to_bytes(4, "big")
    stream = io.BytesIO(value[5:])
    record = fastavro.schemaless_reader(stream, fastavro.parse_schema(find("lsst/1101")))
    assert not stream.read()  # the record ends exactly at its end
    return record


@pytest.fixture(scope="module")
def ztf() -> tuple[Simulation, list[dict[str, Any]]]:
    simulation = Simulation(
        "ztf", 30, 50, seed=3, cutouts=False, shares=Shares(0.05, 0.05, 0, 0, 0)
    )
    return simulation, [read("ztf", value) for value, _, _ in simulation.packets()]


@pytest.fixture(scope="module")
def lsst() -> tuple[Simulation, list[dict[str, Any]]]:
    shares = Shares(0.05, 0.05, 0, 0, 0)
    simulation = Simulation("lsst", 15, 60, seed=4, cutouts=False, shares=shares)
    return simulation, [read("lsst", value) for value, _, _ in simulation.packets()]


def rows(simulation: Simulation) -> Iterator[tuple[int, np.void]]:
    for k in simulation.schedule["sighting"].tolist():
        yield k, simulation.observed.sightings[k]


def test_a_ztf_packet_carries_the_simulated_values(ztf: Any) -> None:
    simulation, records = ztf
    seen, truth = simulation.observed, simulation.truth()
    assert len(records) == len(simulation) == len(truth) > 500
    for (_, row), record, name, alert, mjd in zip(
        rows(simulation),
        records,
        truth["object"].to_pylist(),
        truth["alert_id"].to_pylist(),
        truth["mjd_tai"].to_pylist(),
        strict=True,
    ):
        c = record["candidate"]
        assert (record["objectId"], record["candid"], c["candid"]) == (name, alert, alert)
        assert len(name) == 12
        assert c["pid"] * 1_000_000 + 10000 + c["tblid"] == alert
        assert str(c["pid"])[-4:] == f"{c['rcid']:02d}15"
        assert str(c["pid"])[:4] == str(c["nid"]) == str(int(c["jd"] - 2457754.5))
        assert c["jd"] + MID_TAI == pytest.approx(mjd, abs=1e-8)
        assert c["programid"] == 1
        flux = 10 ** (-0.4 * (c["magpsf"] - 31.4)) * (1 if c["isdiffpos"] == "t" else -1)
        assert flux == pytest.approx(row["difference"], rel=1e-5)
        assert c["sigmapsf"] * flux / 1.0857362 == pytest.approx(
            np.sign(flux) * row["error"], rel=1e-5
        )
        assert 1.0857362 / c["sigmapsf"] >= 5 - 1e-5  # alerts only at 5 sigma and more
        exposure = seen.exposures[row["exposure"]]
        assert c["fid"] == exposure["band"]
        assert c["diffmaglim"] == pytest.approx(exposure["limit"], rel=1e-6)
        moves = KINDS[seen.sky["kind"][row["object"]]] == "solar_system"
        assert (0 <= c["ssdistnr"] < 5) if moves else c["ssdistnr"] == -999


def test_reference_and_difference_add_up_to_the_true_total(ztf: Any) -> None:
    simulation, records = ztf
    pulls, forced_pulls = [], []
    for (k, row), record in zip(rows(simulation), records, strict=True):
        c = record["candidate"]
        if simulation.observed.glimpsed(row["object"]) or not 0 <= c["distnr"] < 1.4:
            continue
        total = 10 ** (-0.4 * (c["magnr"] - 31.4)) + 10 ** (-0.4 * (c["magpsf"] - 31.4)) * (
            1 if c["isdiffpos"] == "t" else -1
        )
        pulls.append((total - row["true"]) / row["error"])
        jds = {
            simulation.observed.mjd[i]: simulation.observed.sightings[i]
            for i in range(int(simulation.observed.first[row["object"]]), k)
        }
        for old in (record["fp_hists"] or [])[:3]:
            if old["procstatus"] != "0":
                assert old["forcediffimflux"] == old["forcediffimfluxunc"] == -99999
                continue
            to_njy = 10 ** ((31.4 - old["magzpsci"]) / 2.5)
            was = min(jds.items(), key=lambda item: abs(item[0] - old["jd"] - MID_TAI))[1]
            base = 10 ** (-0.4 * (old["magnr"] - 31.4))
            error = old["forcediffimfluxunc"] * to_njy
            forced_pulls.append((base + old["forcediffimflux"] * to_njy - was["true"]) / error)
    assert abs(np.mean(pulls)) < 0.3
    assert np.std(pulls) < 1.3
    assert len(forced_pulls) > 300
    assert abs(np.mean(forced_pulls)) < 0.3
    assert 0.8 < np.std(forced_pulls) < 1.3


def test_stars_are_stars_and_hosts_are_galaxies(ztf: Any) -> None:
    simulation, records = ztf
    for (_, row), record in zip(rows(simulation), records, strict=True):
        kind, c = KINDS[simulation.observed.sky["kind"][row["object"]]], record["candidate"]
        if kind in ("RRab", "RRc", "EW", "EA", "LPV", "rotating"):
            assert 0 <= c["distnr"] < 1
            assert c["sgscore1"] > 0.8
            assert c["magnr"] > 0
        if kind in ("SN Ia", "SN II"):
            assert c["sgscore1"] < 0.2 or c["distnr"] == -999
        assert (c["magnr"] == -999) == (c["distnr"] == -999)
        assert (c["drb"] < 0.5) == (kind == "bogus")


def test_ztf_histories_hold_exactly_what_lag_and_depth_allow(ztf: Any) -> None:
    simulation, records = ztf
    seen = simulation.observed
    shortest, longest = seen.survey.lag_days
    missed = complete = limits = private = twins = 0
    for (k, row), draw, record in zip(
        rows(simulation), simulation.schedule["draw"].tolist(), records, strict=True
    ):
        o, now = int(row["object"]), float(seen.mjd[k])
        area = int(seen.exposures["area"][row["exposure"]])
        times = seen.exposures["mjd_tai"][seen.of_area[area]]
        past = record["prv_candidates"] or []
        mjds = np.array([old["jd"] for old in past]) + MID_TAI
        assert (np.diff(mjds) >= 0).all()
        lag = seen.lag(draw)
        assert shortest <= lag <= longest + 1
        allowed = times[(times >= now - 30) & (times <= now - lag)]
        np.testing.assert_allclose(np.unique(mjds), allowed, atol=1e-7)
        missed += int(lag > 1)
        complete += int(lag <= longest)
        ids = [old["candid"] for old in past if old["candid"] is not None]
        start = int(seen.first[o])
        expected = [
            int(s["id"])
            for s, t in zip(seen.sightings[start:k], seen.mjd[start:k], strict=True)
            if s["id"] and now - 30 <= t <= now - lag
        ]
        assert ids == expected
        for old in past:
            if old["candid"] is None:
                assert old["magpsf"] is old["isdiffpos"] is old["rb"] is None
                limits += 1
            assert old["diffmaglim"] > 15
            private += int(old["programid"] == 2)
        twins += len(past) - len(allowed)
        first = next(
            (t for s, t in zip(seen.sightings[start:], seen.mjd[start:], strict=True) if s["id"]),
            now,
        )
        forced = np.array([old["jd"] for old in record["fp_hists"] or []]) + MID_TAI
        since = allowed[allowed > first] if not seen.glimpsed(o) else []
        np.testing.assert_allclose(np.sort(forced), since, atol=1e-7)
        # The counts of detections so far, this one too.
        assert record["candidate"]["ndethist"] == (seen.sightings["id"][start : k + 1] > 0).sum()
    assert missed > 0
    assert complete > 0.9 * len(records)
    assert limits > 0
    assert private > 0
    assert twins > 0


def test_an_alert_and_its_later_history_agree_by_id_but_not_bit_by_bit(ztf: Any) -> None:
    _, records = ztf
    alerts = {r["candid"]: r["candidate"] for r in records}
    differ = met = 0
    for record in records:
        for old in record["prv_candidates"] or []:
            if old["candid"] not in alerts:
                continue  # a limit, or of a private programme
            alert = alerts[old["candid"]]
            met += 1
            assert (old["jd"], old["fid"], old["pid"]) == (alert["jd"], alert["fid"], alert["pid"])
            assert old["magpsf"] == pytest.approx(alert["magpsf"], abs=2e-6)
            differ += old["magpsf"] != alert["magpsf"]
    assert met > 500
    assert differ > 0


def test_an_lsst_packet_carries_the_simulated_values_and_its_history(lsst: Any) -> None:
    simulation, records = lsst
    seen, kinds = simulation.observed, Counter()
    shortest, _ = seen.survey.lag_days
    for (k, row), draw, record in zip(
        rows(simulation), simulation.schedule["draw"].tolist(), records, strict=True
    ):
        o, source, now = int(row["object"]), record["diaSource"], seen.mjd[k]
        kind = KINDS[seen.sky["kind"][o]]
        kinds[kind] += 1
        assert record["diaSourceId"] == source["diaSourceId"] == row["id"]
        assert source["midpointMjdTai"] == now
        assert source["psfFlux"] == pytest.approx(row["difference"], rel=1e-6)
        assert source["psfFluxErr"] == pytest.approx(row["error"], rel=1e-6)
        assert source["snr"] >= 5 - 1e-5
        assert source["isNegative"] == (row["difference"] < 0)
        assert source["scienceFlux"] == pytest.approx(
            source["templateFlux"] + source["psfFlux"], rel=1e-4, abs=1
        )
        if kind == "solar_system":
            assert not source["diaObjectId"]
            assert source["ssObjectId"] == record["ssSource"]["ssObjectId"] == int(seen.names[o])
            assert record["diaObject"] is record["prvDiaSources"] is None
            assert record["mpc_orbits"]["designation"]
            continue
        assert not source["ssObjectId"]
        assert source["diaObjectId"] == record["diaObject"]["diaObjectId"] == int(seen.names[o])
        old = record["prvDiaSources"] or []
        start = int(seen.first[o])
        when, lag = seen.mjd[start:k], seen.lag(draw)
        expected = [
            int(s["id"])
            for s, t in zip(seen.sightings[start:k], when, strict=True)
            if s["id"] and now - 365 <= t <= now - lag
        ]
        assert [r["diaSourceId"] for r in old] == expected
        forced = record["prvDiaForcedSources"] or []
        assert bool(forced) == bool(old)
        if old:
            first = min(r["midpointMjdTai"] for r in old)
            assert forced[-1]["visit"] == source["visit"]  # the current visit too
            assert forced[0]["midpointMjdTai"] > first
            assert len({(r["visit"], r["detector"]) for r in forced}) == len(forced)
            assert all(r["midpointMjdTai"] <= now - shortest for r in forced[:-1])
        assert record["diaObject"]["nDiaSources"] == 1 + (seen.sightings["id"][start:k] > 0).sum()
    assert kinds["solar_system"] > 10
    assert kinds["bogus"] > 10


def test_shares_are_honoured_and_told_in_the_truth() -> None:
    shares = Shares(0.2, 0.1, 0.1, 0.1, 0.1)
    simulation = Simulation("ztf", 40, 45, seed=1, cutouts=False, shares=shares)
    truth = simulation.truth()
    deeds = Counter(truth["deed"].to_pylist())
    alerts = len(truth) - deeds["repeated"]
    kinds = Counter(
        k
        for k, d in zip(*(truth[c].to_pylist() for c in ("kind", "deed")), strict=True)
        if d != "repeated"
    )
    private = 0.02 * alerts
    assert abs(kinds["solar_system"] - 0.2 * alerts) < private
    assert abs(kinds["bogus"] - 0.1 * alerts) < private
    for deed in ("repeated", "late", "corrupt"):
        assert abs(deeds[deed] - 0.1 * alerts) < 5 * np.sqrt(0.1 * alerts)
    values = [value for value, _, _ in simulation.packets()]
    copies: dict[int, list[bytes]] = {}
    for value, deed, alert in zip(
        values, *(truth[c].to_pylist() for c in ("deed", "alert_id")), strict=True
    ):
        if deed == "corrupt":
            with pytest.raises((ValueError, EOFError, StopIteration, IndexError)):
                read("ztf", value)
        else:
            assert read("ztf", value)["candid"] == alert
            copies.setdefault(alert, []).append(value)
    assert sum(len(c) == 2 for c in copies.values()) == deeds["repeated"]
    published = truth["published_ms"].to_numpy()
    age = published / 86400000 + 40587 - truth["mjd_tai"].to_numpy()
    assert (np.diff(published) >= 0).all()
    late = np.array(truth["deed"].to_pylist()) == "late"
    assert age[late].min() > 0.25
    assert age[~late].max() < 0.1
    plain = Counter(
        Simulation("ztf", 20, 20, cutouts=False, shares=NONE).truth()["deed"].to_pylist()
    )
    assert set(plain) == {"plain"}


def test_corrupt_lsst_packets_cannot_be_read_either() -> None:
    shares = Shares(0, 0, 0, 0, 1.0)
    for cutouts in (False, True):
        simulation = Simulation("lsst", 8, 20, seed=2, cutouts=cutouts, shares=shares)
        values = [value for value, _, _ in simulation.packets()]
        assert len(values) > 10
        for value in values:
            with pytest.raises((AssertionError, EOFError, IndexError, ValueError)):
                read("lsst", value)


def test_alerts_of_one_object_are_published_in_order_unless_late(ztf: Any) -> None:
    simulation, _ = ztf
    last: dict[int, float] = {}
    for k, row in rows(simulation):
        assert simulation.observed.mjd[k] >= last.get(int(row["object"]), 0)
        last[int(row["object"])] = simulation.observed.mjd[k]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    def packets(seed: int) -> list[tuple[bytes, int, int]]:
        return list(Simulation("ztf", 10, 12, seed=seed).packets())

    one = Simulation("ztf", 10, 12, seed=5)
    first, again = list(one.packets()), list(one.packets())
    assert first == again == packets(5)
    assert packets(6) != first
    lsst = [list(Simulation("lsst", 5, 12, seed=5).packets()) for _ in range(2)]
    assert lsst[0] == lsst[1]


def test_packets_have_the_sizes_of_real_ones() -> None:
    simulation = Simulation("ztf", 20, 60, shares=NONE)
    sizes = [len(value) for value, _, _ in simulation.packets()]
    assert min(sizes) > 50_000
    assert max(sizes) < 90_000
    assert 57_000 < np.mean(sizes[len(sizes) // 2 :]) < 75_000
    record = read("ztf", next(simulation.packets())[0])
    stamp = record["cutoutScience"]["stampData"]
    assert stamp[:2] == b"\x1f\x8b"
    assert record["cutoutDifference"]["fileName"].endswith("_targ_refmsci.fits.gz")
    lsst = Simulation("lsst", 5, 10, shares=NONE)
    for value, _, _ in lsst.packets():
        record = read("lsst", value)
        for name in ("cutoutDifference", "cutoutScience", "cutoutTemplate"):
            assert 34_000 < len(record[name]) < 81_000
            assert record[name][:9] == b"SIMPLE  ="
            assert len(record[name]) % 2880 == 0
    bare = [len(v) for v, _, _ in Simulation("lsst", 5, 10, shares=NONE, cutouts=False).packets()]
    assert max(bare) < 40_000


def test_rows_are_encoded_as_fastavro_encodes_them(ztf: Any, lsst: Any) -> None:
    for (simulation, records), name in ((ztf, "ztf/402"), (lsst, "lsst/1101")):
        schema = fastavro.parse_schema(find(name))
        for (value, _, _), record in zip(simulation.packets(), records[:300], strict=False):
            body = io.BytesIO()
            fastavro.schemaless_writer(body, schema, record)
            assert body.getvalue() in value
    for number in (0, -1, 1, 63, 64, -64, -65, 2**31, -(2**63), 2**63 - 1):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, "long", number)
        assert long(number) == out.getvalue()
    with pytest.raises(ValueError, match="field b is missing, and its schema has no null"):
        row_writer({"fields": [{"name": "b", "type": "int"}]})({})


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_write_puts_packets_in_files_and_the_truth_beside(survey: str, tmp_path: Path) -> None:
    simulation = Simulation(survey, 5, 12, seed=9, cutouts=False, shares=Shares(repeated=0.3))
    count = write(simulation, tmp_path / "out")
    truth = pq.read_table(tmp_path / "out" / "truth.parquet")
    assert count == len(simulation) == len(truth)
    objects = pq.read_table(tmp_path / "out" / "objects.parquet")
    assert set(truth["object"].to_pylist()) <= set(objects["object"].to_pylist())
    assert {"period", "amplitude", "magnitude_r", "reference_r"} <= set(objects.column_names)
    values = [value for value, _, _ in simulation.packets()]
    if survey == "ztf":
        files = list((tmp_path / "out").glob("*/*.avro"))
        assert len(files) == count
        assert Counter(f.read_bytes() for f in files) == Counter(values)
        return
    found = []
    for path in sorted((tmp_path / "out").glob("*.lenpfx")):
        rest = path.read_bytes()
        while rest:
            size = int.from_bytes(rest[:4], "little")
            found.append(rest[4 : 4 + size])
            rest = rest[4 + size :]
    assert found == values


def test_the_truth_is_the_flux_of_the_sky(ztf: Any) -> None:
    simulation, _ = ztf
    truth = simulation.truth().to_pydict()
    for magnitude, flux in zip(truth["magnitude"], truth["flux_njy"], strict=True):
        assert (magnitude is None) == (flux <= 0)
        if magnitude is not None:
            assert flux == pytest.approx(float(njy(magnitude)))
    objects = simulation.objects().to_pydict()
    assert sum(objects["alerts"]) == len(truth["packet"])
    for kind, period in zip(objects["kind"], objects["period"], strict=True):
        assert (period is not None) or kind not in ("RRab", "RRc", "EW", "EA", "LPV", "rotating")


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="no survey 'atlas' is simulated; there are: ztf, lsst"):
        Simulation("atlas")
    with pytest.raises(ValueError, match=r"share bogus is 1\.5; it must lie from 0 to 1"):
        Shares(bogus=1.5)
    with pytest.raises(ValueError, match="must stay below 1"):
        Shares(solar_system=0.6, bogus=0.6)
    with pytest.raises(ValueError, match="share of nights visited is 2"):
        Simulation(visited=2)
    with pytest.raises(ValueError, match="must be 1 or more"):
        Simulation("ztf", 0)


def test_the_cadence_can_be_set() -> None:
    def nights_and_exposures(simulation: Simulation) -> tuple[int, int]:
        exposures = simulation.observed.exposures
        return len(np.unique(np.floor(exposures["mjd_tai"]))), len(exposures)

    settings = {"objects": 10, "nights": 200, "cutouts": False, "shares": NONE}
    nights, exposures = nights_and_exposures(Simulation("ztf", **settings))
    assert exposures / nights == pytest.approx(2 * 0.86, abs=0.1)
    few, more = nights_and_exposures(
        Simulation("ztf", visits_per_night=2, visited=0.25, **settings)
    )
    assert few / 200 == pytest.approx(0.25, abs=0.08)
    assert more / few == pytest.approx(4 * 0.86, abs=0.25)


def test_few_objects_or_nights_are_no_trouble() -> None:
    for survey in ("ztf", "lsst"):
        for seed in range(4):
            simulation = Simulation(survey, 1, 1, seed=seed, cutouts=False)
            assert len(list(simulation.packets())) == len(simulation.truth())

"""What `inspect` says of files of packets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from broker.inspection import inspect_files


def inspected(path: Path, **settings: Any) -> list[dict[str, Any]]:
    found = list(inspect_files([path], **settings))
    json.dumps(found, allow_nan=False)
    return found


def test_a_ztf_alert_in_words(shared_data: Path) -> None:
    file = (
        shared_data
        / "alerts/ztf/ztf_20250302_programid1_ZTF17aaarzyp_2982177112815010003.v4_02.avro"
    )
    (alert,) = inspected(file)
    points = alert.pop("points")
    assert alert.pop("mjd_tai") == pytest.approx(points[0]["mjd_tai"])
    assert set(alert) == {"survey", "object_id", "alert_id", "ra", "dec", "band"}
    assert (alert["survey"], alert["object_id"]) == ("ztf", "ZTF17aaarzyp")
    assert alert["alert_id"] == points[0]["id"] == 2982177112815010003
    assert {p["kind"] for p in points} == {"detection", "forced", "limit"}
    for point in points:
        assert set(point) == {
            "id",
            "kind",
            "mjd_tai",
            "band",
            "flux_njy",
            "flux_err_njy",
            "total_flux_njy",
            "total_flux_err_njy",
            "quality",
        }
        assert (point["id"] is None) == (point["kind"] != "detection")
        assert (point["flux_njy"] is None) == (point["kind"] == "limit")
        assert point["band"] in ("g", "r", "i")
        assert set(point["quality"]) == {"reliability", "flags"}
    assert points[0]["quality"]["flags"] == ["alerted"]
    assert 0 < points[0]["quality"]["reliability"] <= 1


def test_a_body_of_the_solar_system_is_flagged(shared_data: Path) -> None:
    (alert,) = inspected(shared_data / "alerts/lsst/wire_v10/170112044512051215.bin")
    assert alert["object_id"] == "20890966901666384"
    assert alert["points"][0]["quality"]["flags"][:2] == ["alerted", "solar_system"]


def test_what_cannot_be_decoded_is_said_in_its_place(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "alerts/elasticc/class111_first800.lenpfx").read_bytes()
    length = int.from_bytes(whole[:4], "little")
    file = tmp_path / "some.lenpfx"
    page = (6).to_bytes(4, "little") + b"<html>"
    file.write_bytes(whole[: length + 4] + page + whole[: length + 4] + whole[: length - 9])
    first, second, third, fourth = inspected(file)
    assert first == third
    assert first["survey"] == "elasticc"
    assert second == {"file": f"{file}:1", "error": "a web page, not a packet", "reason": "html"}
    assert (fourth["file"], fourth["reason"]) == (f"{file}:3", "truncated")


def test_rows_that_are_not_public_are_shown_only_when_asked_for(shared_data: Path) -> None:
    folder = shared_data / "alerts/ztf"
    public = inspected(folder)
    everything = inspected(folder, public_only=False)
    assert sum(found.get("reason") == "not_public" for found in public) == 6
    assert sum("points" in found for found in everything) == 226
    assert len(public) == len(everything) == 238


def test_a_file_that_is_not_there_does_not_end_the_others(
    shared_data: Path, tmp_path: Path
) -> None:
    tar = tmp_path / "cut.tar.gz"
    tar.write_bytes(
        (shared_data / "alerts/ztf/ampel/ztf_public_20180819_mod1000.tar.gz").read_bytes()[:-99]
    )
    good = shared_data / "alerts/lsst/samples"
    found = list(inspect_files([tmp_path / "nowhere", tar, good]))
    assert found[0]["reason"] == "broken_file"
    assert sum("points" in f for f in found[1:]) == 29 + 10
    broken = [f for f in found[1:] if "points" not in f]
    assert [f["reason"] for f in broken] == ["broken_file"]
    assert "fetched again" in broken[0]["error"]

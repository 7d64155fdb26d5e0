from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import curve_files, whereabouts


def file(path: Path, **more: np.ndarray) -> curve_files.CurveFile:
    arrays = {
        "t": np.arange(4.0),
        "m": np.full(4, 15.0),
        "off": np.array([0, 2, 4]),
        "ids": np.array([3060045001234, 77]),
        "lab": np.array([5, 6]),
    }
    np.savez(path, **arrays | more)
    return curve_files.read(path)


def test_a_file_s_own_places_come_first_then_names_then_numbers(tmp_path: Path) -> None:
    path = tmp_path / "some_south.npz"
    names = np.array([b"CSS_J075740.6+235027", b"no place"])
    ra, dec = np.array([10.5, 300.0]), np.array([-5.25, 80.0])
    told = file(path, ra=ra, dec=dec, name=names)
    assert told.sky.tolist() == [[10.5, -5.25], [300.0, 80.0]]
    named = file(path, name=names).sky
    assert named[0] == pytest.approx([119.41917, 23.84083], abs=1e-4)
    assert np.isnan(named[1]).all()
    numbered = file(path).sky
    assert numbered[0] == pytest.approx([178.0, -60.0])
    assert np.isnan(numbered[1]).all()


def test_objects_keep_their_places(tmp_path: Path) -> None:
    told = file(tmp_path / "a_south.npz", ra=np.array([1.0, 2.0]), dec=np.array([3.0, 4.0]))
    assert told.take(np.array([1])).sky.tolist() == [[2.0, 4.0]]
    assert told.band(0).sky.tolist() == told.sky.tolist()


def test_places_of_another_number_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"some_south\.npz: .*dec has shape \(3,\), ids \(2,\)"):
        file(tmp_path / "some_south.npz", ra=np.zeros(2), dec=np.zeros(3))


@pytest.mark.parametrize(
    ("name", "place"),
    [("SSS_J000000.0-753000", (0.0, -75.5)), ("J235959.9-003036", (359.99958, -0.51))],
)
def test_names_tell_places(name: str, place: tuple[float, float]) -> None:
    ids = np.array(["x"])
    assert whereabouts.sky({"name": np.array([name])}, ids)[0] == pytest.approx(place, abs=1e-4)

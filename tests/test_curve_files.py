from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import curve_files

GOOD: dict[str, Any] = {
    "t": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
    "f": np.array([1.0, -2.0, 3.0, 4.0, 5.0], np.float32),
    "e": np.full(5, 0.1, np.float32),
    "b": np.array([0, 1, 1, 0, 2], np.uint8),
    "off": np.array([0, 3, 5]),
    "ids": np.array([b"one", b"two"]),
    "lab": np.array([1, 12]),
}


def written(folder: Path, **other: Any) -> Path:
    path = folder / "snpcc.npz"
    arrays = {**GOOD, **other}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_what_is_read_is_what_stands_there(tmp_path: Path) -> None:
    file = curve_files.read(written(tmp_path, peak_mjd=np.zeros(2)))
    assert file.flux
    assert file.ids.tolist() == ["one", "two"]
    assert file.value.tolist() == [1, -2, 3, 4, 5]
    part = file.rows(np.array([1, 0]), np.array([1, 2]))
    assert (part.t.tolist(), part.off.tolist()) == ([4, 1, 2], [0, 1, 3])
    assert part.lab.tolist() == [12, 1]
    assert file.take(np.array([1])).t.tolist() == [4, 5]
    band = file.band(1)
    assert (band.t.tolist(), band.off.tolist()) == ([2, 3], [0, 2, 2])


def test_errors_and_bands_may_be_absent(tmp_path: Path) -> None:
    file = curve_files.read(written(tmp_path, e=None, b=None, f=None, m=GOOD["f"]))
    assert not file.flux
    assert file.e.tolist() == file.b.tolist() == [0] * 5


def test_a_curve_has_one_fingerprint_wherever_it_stands(tmp_path: Path) -> None:
    file = curve_files.read(written(tmp_path))
    swapped = file.take(np.array([1, 0]))
    assert swapped.fingerprints.tolist() == file.fingerprints[::-1].tolist()
    faint = curve_files.read(written(tmp_path, f=GOOD["f"] + np.float32([0, 0, 0, 0, 1e-6])))
    late = curve_files.read(written(tmp_path, t=GOOD["t"] + [1e-5, 0, 0, 0, 0]))
    assert (faint.fingerprints == file.fingerprints).tolist() == [True, False]
    assert (late.fingerprints == file.fingerprints).tolist() == [False, True]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"t": None}, "it holds b, e, f, ids, lab, off"),
        ({"m": GOOD["f"]}, "it holds b, e, f, ids, lab, m, off, t"),
        ({"f": GOOD["f"][:4]}, "m or f has shape (4,), t (5,)"),
        ({"off": GOOD["off"][:2]}, "one more than objects"),
        ({"off": np.array([0, 3, 4])}, "off must rise from 0 to the 5 points"),
        ({"off": np.array([0, 5, 5])}, "with a point for each object"),
        ({"lab": np.array(["SN", "KN"])}, "lab is of type <U2"),
        ({"f": np.array([1, 2, np.nan, 4, 5])}, "a time or a value is not finite"),
        ({"ids": np.array([{}, 1], object)}, "pickle"),
    ],
)
def test_another_layout_is_refused_in_words(
    tmp_path: Path, other: dict[str, Any], words: str
) -> None:
    path = written(tmp_path, **other)
    with pytest.raises(ValueError, match="flat arrays") as error:
        curve_files.read(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_files_name_tells_whose_numbers_it_holds() -> None:
    tells = {
        "crts_south": "crts-south",
        "CRTS-North.fifth": "crts-north",
        "crts_transients": "transients",
        "s82_rrlyrae": "transients",
        "held_ztf_bts": "transients",
        "kept": None,
    }
    assert {name: curve_files.labels_by_name(Path(name + ".npz")) for name in tells} == tells

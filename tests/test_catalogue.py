from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from broker.grids import GRIDS
from models import catalogue, curve_files


def small(folder: Path) -> catalogue.Catalogue:
    t = np.array([3.0, 1.0, 1.01, 9000.0, 2.0, 5.0, 5.9, 6.1, 10.0])
    np.savez(
        folder / "crts_south.npz",
        t=t,
        m=np.array([15.0, 14.00004, 14.00006, 13.0, 16.0, 12.0, 12.1, 12.2, 1.0], np.float32),
        e=(t / 100).astype(np.float32),
        off=np.array([0, 5, 8, 9]),
        ids=np.array([11, 12, 13]),
        lab=np.array([8, 5, 9]),
    )
    return catalogue.read(folder)


def test_curves_are_cleaned_sorted_and_in_the_streams_units(tmp_path: Path) -> None:
    curves = small(tmp_path)
    assert curves.n.tolist() == [4, 3]  # a corrupt date and a delta Scuti are gone
    assert curves.time[:4].tolist() == [1_000_000, 1_010_000, 2_000_000, 3_000_000]
    assert curves.magnitude[:4].tolist() == [140_000, 140_001, 160_000, 150_000]
    assert curves.error[:4] == pytest.approx([0.01, 0.0101, 0.02, 0.03])
    assert [catalogue.SEVEN[i] for i in curves.label] == ["LPV", "EW"]
    assert curves.split.tolist() == [zlib.crc32(b"11"), zlib.crc32(b"12")]


def test_one_point_a_night(tmp_path: Path) -> None:
    nightly = small(tmp_path).nightly()
    assert nightly.n.tolist() == [3, 2]
    assert nightly.time.tolist() == [1_000_000, 2_000_000, 3_000_000, 5_000_000, 5_900_000]


def test_cut_takes_first_points(tmp_path: Path) -> None:
    curves = small(tmp_path)
    cut = curves.cut(np.array([1, 0, 1]), np.array([2, 4, 1]))
    assert cut.n.tolist() == [2, 4, 1]
    assert cut.time.tolist() == [
        *curves.time[4:6].tolist(),
        *curves.time[:4].tolist(),
        curves.time[4],
    ]
    assert cut.label.tolist() == curves.label[[1, 0, 1]].tolist()


def test_counts_hold_every_pair_inside_the_grid(tmp_path: Path) -> None:
    counts = small(tmp_path).counts(GRIDS["fiducial"])
    assert counts.shape == (2, 22 * 23)
    assert counts.sum(1).tolist() == [6, 3]


def test_the_three_parts_share_no_object_and_leave_none_out() -> None:
    size = 5000
    curves = catalogue.Catalogue(
        np.arange(size),
        np.zeros(size, np.int32),
        np.zeros(size),
        np.arange(size + 1),
        np.zeros(size, np.int64),
        np.array([zlib.crc32(str(i).encode()) for i in range(size)]),
        np.zeros(size, np.uint32),
        np.full((size, 2), np.nan),
    )
    parts = (curves.test, curves.validation, curves.training)
    assert sorted(np.concatenate(parts)) == list(range(size))
    assert [round(len(p) / size, 1) for p in parts] == [0.2, 0.1, 0.7]


def test_a_missing_or_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"crts_south\.npz: no such file"):
        catalogue.read(tmp_path)
    (tmp_path / "crts_south.npz").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"crts_south\.npz: expected an \.npz of flat arrays"):
        catalogue.read(tmp_path)


def test_a_class_is_known_by_its_own_name_or_a_wider_one(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "bts.npz",
        t=np.arange(3.0),
        m=np.zeros(3),
        off=np.arange(4),
        ids=np.arange(3),
        lab=np.array([4, 2, 6]),  # IIn, II, TDE
    )
    file = curve_files.read(tmp_path / "bts.npz")
    wide, narrow = ("SN Ia", "SN II"), ("SN II", "SN IIn")
    assert catalogue.known(file, "transients", wide).tolist() == [1, 1, -1]
    assert catalogue.known(file, "transients", narrow).tolist() == [1, 0, -1]

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from broker.records import BANDS, DETECTION, FORCED
from models.transients import curves, sets
from models.transients.curves import Curves


def written(folder: Path, name: str, **arrays: np.ndarray) -> Path:
    np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    return folder


def small(folder: Path) -> Curves:
    """Two objects of microjansky; the first out of order, its first 5 sigma at day 3."""
    return sets.read(
        written(
            folder,
            "tde_ztf",
            t=np.array([59_005.0, 59_001.0, 59_003.0, 59_003.0, 60_000.0]),
            b=np.array([0, 1, 2, 0, 1], np.uint8),
            f=np.array([10.0, 4.0, 5.0, -6.0, 1.0], np.float32),
            e=np.ones(5, np.float32),
            off=np.array([0, 4, 5]),
            ids=np.array(["AT1", "AT2"]),
            lab=np.array([6, 6]),
        ),
        "tde_ztf",
    )


def test_points_are_sorted_and_named_as_the_stream_names_them(tmp_path: Path) -> None:
    these = small(tmp_path)
    assert [BANDS[b] for b in these.band] == ["r", "g", "i", "g", "r"]
    assert these.time.tolist() == [
        59_001 * 10**6,
        *2 * [59_003 * 10**6],
        59_005 * 10**6,
        6 * 10**10,
    ]
    assert these.flux.tolist() == [4_000, -6_000, 5_000, 10_000, 1_000]
    # A negative flux alerts as well.
    assert these.kind.tolist() == [FORCED, DETECTION, DETECTION, DETECTION, FORCED]
    assert these.split.tolist() == [zlib.crc32(b"AT1"), zlib.crc32(b"AT2")]
    assert these.first.tolist() == [0, 4, 5]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        # Each is an object of 20th magnitude, 36,308 nJy (zero point 31.4), with a tenth of error.
        ("snpcc", {"f": 1_000.0, "e": 100.0}, 3_630.8),
        ("elasticc2_sample", {"f": 1_000.0, "e": 100.0}, 3_630.8),
        ("mallorn", {"f": 36.308, "e": 3.6308}, 3_630.8),
        ("ztf_bts", {"m": 20.0, "e": 0.1085736}, 3_630.8),
        ("slsn", {"m": 20.0, "e": 0.1085736}, 3_630.8),
    ],
)
def test_each_unit_becomes_nanojansky(
    tmp_path: Path, name: str, value: dict[str, float], expected: float
) -> None:
    arrays = {key: np.array([number]) for key, number in value.items()}
    written(
        tmp_path,
        name,
        t=np.array([59_000.0]),
        b=np.array([1], np.uint8),
        off=np.array([0, 1]),
        ids=np.array([3]),
        lab=np.array([1]),
        **arrays,
    )
    these = sets.read(tmp_path, name)
    assert these.flux[0] == pytest.approx(36_308, rel=1e-4)
    assert these.error[0] == pytest.approx(expected, rel=1e-4)
    assert BANDS[these.band[0]] == sets.SETS[name].bands[1]


def test_what_is_known_some_days_after_the_first_detection(tmp_path: Path) -> None:
    these = small(tmp_path)
    never = np.iinfo(np.int64).max // 2
    assert curves.first_detection(these).tolist() == [59_003 * 10**6, never]
    assert these.until(1.0).n.tolist() == [3, 1]
    assert these.until(2.0).n.tolist() == [4, 1]  # the end belongs to it


def test_objects_can_be_taken_more_than_once_and_joined(tmp_path: Path) -> None:
    these = small(tmp_path)
    taken = these.take(np.array([1, 0, 1]))
    assert taken.n.tolist() == [1, 4, 1]
    assert taken.flux.tolist() == [1_000, 4_000, -6_000, 5_000, 10_000, 1_000]
    both = curves.join([taken, these])
    assert both.n.tolist() == [1, 4, 1, 4, 1]
    assert both.take(np.array([3])).flux.tolist() == these.flux[:4].tolist()
    empty = these.rows(these.flux > 1e9)
    assert empty.n.tolist() == [0, 0]
    assert (curves.first_detection(empty) > 10**15).all()


def test_a_set_that_is_unknown_missing_or_another_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="'plasticc'; there are: snpcc, ztf_bts"):
        sets.read(tmp_path, "plasticc")
    with pytest.raises(FileNotFoundError, match=r"slsn\.npz: no such file"):
        sets.read(tmp_path, "slsn")
    written(tmp_path, "slsn", t=np.zeros(1))
    with pytest.raises(ValueError, match=r"expected an \.npz of flat arrays"):
        sets.read(tmp_path, "slsn")
    small(tmp_path)
    (tmp_path / "tde_ztf.npz").rename(tmp_path / "ztf_bts.npz")
    with pytest.raises(ValueError, match=r"expected m \(magnitude\), it holds f"):
        sets.read(tmp_path, "ztf_bts")
    (tmp_path / "ztf_bts.npz").rename(tmp_path / "snpcc_kept.npz")
    with pytest.raises(LookupError, match="name holds none of snpcc"):
        sets.by_name(tmp_path / "unknown.npz")
    assert sets.by_name(tmp_path / "snpcc_kept.npz").unit == "fluxcal"


@pytest.mark.parametrize(
    ("name", "objects", "brightest"),
    [
        ("snpcc", 17_078, 17.0),
        ("ztf_bts", 2_177, 12.6),
        ("slsn", 165, 14.8),
        ("mallorn", 2_427, 18.8),
        ("tde_ztf", 56, 16.4),
        ("elasticc2_sample", 276, 19.0),
    ],
)
def test_the_real_sets_are_as_bright_as_their_readme_says(
    shared_data: Path, name: str, objects: int, brightest: float
) -> None:
    """A wrong zero point would be off by magnitudes."""
    these = sets.read(shared_data / "lightcurves", name)
    assert len(these) == objects
    assert set(these.label) <= set(sets.CLASSES)
    assert 31.4 - 2.5 * np.log10(these.flux.max()) == pytest.approx(brightest, abs=0.2)
    assert (these.error > 0).all()
    for i in range(0, objects, max(1, objects // 50)):
        assert (np.diff(these.time[these.first[i] : these.first[i + 1]]) >= 0).all()

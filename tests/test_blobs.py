"""A stored light curve comes back as it was, and what is not one is refused aloud."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin import alert, batch, point

from broker import blobs
from broker.curves import Curves
from broker.inputs import Channel, Inputs
from broker.measurements import ROW
from broker.records import LIMIT
from broker.store import MemoryStore

INPUTS = Inputs((Channel("fiducial", "total", ("detection", "forced")),))
KEY = b"ztf:A"


def rows(n: int, seed: int) -> Any:
    """ROWs of any bits."""
    points = np.zeros(n, ROW)
    rng = np.random.default_rng(seed)
    for name in ROW.names or ():
        points[name] = np.frombuffer(rng.bytes(n * ROW[name].itemsize), ROW[name])
    return points


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(0, 2**32))
def test_points_come_back_bit_for_bit(n: int, seed: int) -> None:
    points = rows(n, seed)
    assert blobs.points(blobs.points_only(points)).tobytes() == points.tobytes()
    assert blobs.points(memoryview(blobs.points_only(points))).tobytes() == points.tobytes()


def kept(store: MemoryStore) -> bytes:
    """The blob of a light curve of 70 points."""
    curves = Curves(INPUTS, store)
    history = [
        point(id=i + 1, exposure=i + 1, mjd_tai=59000.0 + i, kind=LIMIT * (i % 3 == 0))
        for i in range(69)
    ]
    curves.add(batch(alert(point(id=100, exposure=100), *history)))
    curves.commit()
    (blob,) = store.get([KEY])
    assert blob is not None
    return blob


@pytest.mark.parametrize("place", [0, 1, 4, 8, 16, 24, 25, 200, 300, -50, -9, -1])
def test_one_bit_of_damage_is_refused_aloud(place: int) -> None:
    store = MemoryStore()
    blob = kept(store)
    damaged = bytearray(blob)
    damaged[place] ^= 16
    store.put({KEY: bytes(damaged)})
    with pytest.raises(ValueError, match=r"b'ztf:A' cannot be read: "):
        Curves(INPUTS, store).add(batch(alert(point(id=200, exposure=200))))
    with pytest.raises(ValueError, match=r"format|checksum"):
        blobs.points(bytes(damaged))


@pytest.mark.parametrize("size", [1, 8, 31, 32, 500, -1])
def test_a_blob_that_was_cut_short_is_refused_aloud(size: int) -> None:
    store = MemoryStore()
    store.put({KEY: kept(store)[:size]})
    with pytest.raises(ValueError, match=r"b'ztf:A' cannot be read: "):
        Curves(INPUTS, store).add(batch(alert(point(id=200, exposure=200))))


def test_a_blob_of_an_earlier_format_says_so() -> None:
    store = MemoryStore()
    earlier = (1).to_bytes(4, "little") + bytes(60) + rows(3, 1).tobytes()
    store.put({KEY: earlier})
    with pytest.raises(ValueError, match="it is not in format 2: it starts with 01000000"):
        Curves(INPUTS, store).add(batch(alert(point(id=200, exposure=200))))


def test_235_points_of_ztf_take_less_than_8_kb_beside_their_counts() -> None:
    """Floats of full entropy; one in six a limit; exposures and ids made of the time as ZTF's."""
    rng = np.random.default_rng(3)
    n = 235
    mjd = 58300 + np.sort(rng.uniform(0, 1500, n))
    pid = np.floor((mjd - 57754) * 1e6).astype(np.int64) * 1000 + 115
    limit = rng.random(n) < 1 / 6
    limit[-1] = False
    flux = 1e5 * 10 ** rng.normal(0, 0.2, n)
    points = [
        point(
            kind=LIMIT if limit[i] else 0,
            id=0 if limit[i] else pid[i] * 10**6 + 10_000 + rng.integers(100),
            exposure=pid[i],
            exposure_part=1 + i % 2,
            band=1 + i % 2,
            mjd_tai=mjd[i] + 52 / 86400,
            flux_njy=np.nan if limit[i] else flux[i] - 1e5,
            flux_err_njy=flux[i] * rng.uniform(0.01, 0.1),
            total_flux_njy=np.nan if limit[i] else flux[i],
            total_flux_err_njy=np.nan if limit[i] else flux[i] * rng.uniform(0.01, 0.1),
            reliability=np.nan if limit[i] else rng.uniform(0.5, 1),
        )
        for i in (n - 1, *range(n - 1))
    ]
    store = MemoryStore()
    curves = Curves(INPUTS, store)
    images = curves.add(batch(alert(*points))).images
    curves.commit()
    assert len(curves.points(KEY)) == n
    assert store.nbytes - len(images.heap) < 8000

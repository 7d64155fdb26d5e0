"""A page of points comes back bit for bit, whatever they are, and says when it is none."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from broker.measurements import ROW
from broker.packing import MOST_BYTES, PAGE, SLACK, pack, unpack

#: What a column may hold: any bits, few different ones, or a narrow band; some of them missing.
MISSING = {8: [0, 0x7FF8000000000000], 4: [0, 0x7FC00000], 1: [0]}


def points_of(seed: int) -> NDArray[np.void]:
    """1 to 32 points of any bits, each column wild or tame in its own way."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, PAGE + 1))
    points = np.zeros(n, ROW)
    for name in ROW.names or ():
        size = ROW[name].itemsize
        bits = rng.integers(0, 2 ** (8 * size) - 1, n, np.uint64, endpoint=True)
        narrow = int(rng.integers(0, 8 * size))
        if rng.random() < 0.7:
            bits = (bits[0] & np.uint64(2 ** (8 * size - 1) - 1)) + (bits >> np.uint64(narrow))
        gone = rng.random(n) < rng.choice([0, 0.3, 1])
        bits[gone] = rng.choice(MISSING[size])
        points[name] = bits.astype(f"u{size}").view(ROW[name])
    return points


def packed(points: NDArray[np.void]) -> NDArray[np.uint8]:
    out = np.full(MOST_BYTES + SLACK, 255, np.uint8)
    start = out.ctypes.data
    end = pack(points.ctypes.data, len(points), start, np.empty(PAGE, np.int64))
    return out[: end - start]


def unpacked(page: NDArray[np.uint8], points: NDArray[np.void]) -> tuple[int, int]:
    """Points of a page with SLACK behind; how many, and how long it was."""
    start = page.ctypes.data
    n, end = unpack(start, start + len(page) - SLACK, points.ctypes.data)
    return n, end - start


def with_slack(page: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([page, np.full(SLACK, 170, np.uint8)])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_any_points_come_back_bit_for_bit(seed: int) -> None:
    points = points_of(seed)
    page = packed(points)
    back = np.zeros(PAGE, ROW)
    assert unpacked(with_slack(page), back) == (len(points), len(page))
    assert back[: len(points)].tobytes() == points.tobytes()
    assert not back[len(points) :].tobytes().strip(b"\0")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(0, 2**20), st.integers(1, 255))
def test_a_damaged_page_is_read_within_its_bounds(seed: int, cut: int, damage: int) -> None:
    page = packed(points_of(seed))
    cut %= len(page)
    assert unpacked(with_slack(page[:cut]), np.zeros(PAGE, ROW))[0] == 0
    page[cut] ^= damage
    guarded = np.zeros(2 * PAGE, ROW)
    n, length = unpacked(with_slack(page), guarded[:PAGE])
    assert n <= PAGE
    assert length <= len(page)
    assert not guarded[PAGE:].tobytes().strip(b"\0")


def test_ztfs_exposures_and_ids_are_written_as_what_their_time_leaves_open() -> None:
    """pid is the start of the exposure in microdays and three digits, candid pid and six more."""
    mjd = 58800 + np.sort(np.random.default_rng(1).uniform(0, 300, PAGE))
    points = np.zeros(PAGE, ROW)
    points["mjd_tai"] = mjd + 52 / 86400
    points["exposure"] = np.floor((mjd - 57754) * 1e6).astype(np.int64) * 1000 + 115
    points["id"] = points["exposure"] * 10**6 + 10_000 + np.arange(PAGE)
    plain = points.copy()
    plain["exposure"] = np.random.default_rng(2).permutation(points["exposure"])
    plain["id"] = points["id"]
    assert len(packed(points)) < len(packed(plain)) - 6 * PAGE

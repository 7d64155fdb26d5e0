from __future__ import annotations

import numpy as np
import pytest

from broker import sparse
from broker.records import BANDS, REASONS
from models import feed

MINE, OTHER = 7, 8
G, R, ALL = (BANDS.index(band) for band in ("g", "r", "unknown"))


def choose(reason, inside, blocks, together=False):
    """`blocks` are per image lists of (channel, n, band); those of a pair are of band r."""
    blocks = [[(*b, R)[:3] for b in of_image] for of_image in blocks]
    first = np.concatenate([[0], np.cumsum([len(b) for b in blocks])]).astype(np.int64)
    flat = [row for b in blocks for row in b]
    channels = np.array([c for c, _, _ in flat], np.int64)
    n = np.array([n for _, n, _ in flat], np.int32)
    bands = np.array([band for _, _, band in flat], np.uint8)
    reasons = np.array([REASONS.index(r) for r in reason], np.uint8)
    block, rows = feed.choose(
        reasons, np.array(inside), first, channels, bands, n, MINE, together, 5
    )
    return [REASONS[r] for r in reasons], block.tolist(), rows.tolist()


def test_reasons_come_in_their_order() -> None:
    good, short = (MINE, 9), (MINE, 4)
    reasons, block, rows = choose(
        ["solar_system", "withdrawn", "none", "none", "none", "none", "none", "none"],
        [True, True, False, False, False, True, True, True],
        [
            [good],  # 0
            [],
            [],
            [(OTHER, 9), (MINE, 0)],  # 1, 2
            [short],  # 3
            [short, (OTHER, 9), short],  # 4 to 6
            [short, good, (OTHER, 9), good],  # 7 to 10
            [good],  # 11
        ],
    )
    assert reasons == [
        "solar_system",
        "withdrawn",
        "no_photometry",
        "no_photometry",
        "out_of_domain",
        "too_few_points",
        "none",
        "none",
    ]
    assert block == [8, 10, 11]
    assert rows == [0, 0, 0, 0, 0, 0, 0, 2, 3]


def test_an_image_out_of_the_domain_feeds_nothing() -> None:
    reasons, block, rows = choose(["none", "none"], [False, True], [[(MINE, 9)] * 2, [(MINE, 9)]])
    assert reasons == ["out_of_domain", "none"]
    assert block == [2]
    assert rows == [0, 0, 1]


def test_one_that_eats_all_bands_at_once_is_fed_their_block_and_each_band_that_there_is() -> None:
    blocks = [
        [(MINE, 9, G), (OTHER, 9, R), (MINE, 9, ALL)],
        [(MINE, 9, R)],  # 3: of an older worker, without the block of all
        [(MINE, 2, R), (MINE, 4, G), (MINE, 6, ALL), (OTHER, 9, ALL)],
        [(MINE, 4, G), (MINE, 4, ALL)],  # 8, 9
    ]
    reasons, block, rows = choose(["none"] * 4, [True] * 4, blocks, together=True)
    assert reasons == ["none", "no_photometry", "none", "too_few_points"]
    assert (block, rows) == ([2, 6], [0, 1, 1, 2, 2])
    place = np.full(8, -1)
    place[R], place[G] = 0, 2
    flat = [row for b in blocks for row in b]
    each = feed.each_band(
        np.array(block),
        np.array([0, 3, 4, 8, 10]),
        np.array([c for c, _, _ in flat]),
        np.array([band for _, _, band in flat], np.uint8),
        place,
    )
    assert each.tolist() == [[-1, -1, 0], [4, -1, 5]]


def packed(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    heap = np.zeros(sparse.MOST_BYTES_A_CELL * images.size, np.uint8)
    ends = [0]
    for counts in images:
        ends.append(sparse.pack(counts, heap.ctypes.data + ends[-1]) - heap.ctypes.data)
    return np.array(ends[:-1]), np.diff(ends), heap[: ends[-1]]


def test_scatter_undoes_what_the_curves_stage_packed() -> None:
    draw = np.random.default_rng(1)
    images = draw.integers(0, 40_000, (6, 506)).astype(np.int32)
    images[draw.random(images.shape) < 0.7] = 0
    images[2] = 0
    images[3, [0, 505]] = 2**31 - 1
    start, length, heap = packed(images)
    dense = np.full((8, 506), 5, np.int32)
    block = np.array([4, 3, 2, 0])
    assert feed.scatter(block, start, length, heap, dense) == -1
    assert np.array_equal(dense[:4], images[block])
    assert not dense[4:].any()


@pytest.mark.parametrize(
    "heap",
    [
        b"\x05",  # a gap without a count
        b"\x05\x80",  # ends within a number
        b"\x0a\x01",  # cell 10 of 10
        b"\x09\x01\x01\x01",  # cell 10 of 10, in two steps
        b"\x80\x80\x80\x80\x80\x80\x01\x01",  # no int32
        b"\x00\xff\xff\xff\xff\x0f",  # a count beyond int32
    ],
)
def test_counts_that_do_not_fit_are_found(heap: bytes) -> None:
    data = np.frombuffer(b"\x00\x01" + heap, np.uint8)
    start, length = np.array([0, 2]), np.array([2, len(heap)])
    dense = np.zeros((2, 10), np.int32)
    assert feed.scatter(np.array([0, 1]), start, length, data, dense) == 1


def test_a_span_outside_the_heap_is_found() -> None:
    dense = np.zeros((1, 10), np.int32)
    heap = np.zeros(4, np.uint8)
    for start, length in ((-1, 2), (3, 2)):
        assert feed.scatter(np.array([0]), np.array([start]), np.array([length]), heap, dense) == 0

"""Counts in few bytes and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twin import varints

from broker import sparse


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(1, 2000),
    st.dictionaries(st.integers(0, 1999), st.sampled_from([1, 2, 127, 128, 16_384, 2**31 - 1])),
)
def test_what_is_packed_comes_back(cells: int, some: dict[int, int]) -> None:
    counts = np.zeros(cells, np.int32)
    for cell, count in some.items():
        counts[cell % cells] = count
    most = sparse.MOST_BYTES_A_CELL * cells
    heap = np.full(3 + most + 8, 255, np.uint8)
    end = sparse.pack(counts, heap.ctypes.data + 3) - heap.ctypes.data
    back = np.zeros(cells, np.int32)
    sparse.unpack(heap.ctypes.data + 3, heap.ctypes.data + end, back)
    np.testing.assert_array_equal(back, counts)
    assert (heap[[0, 1, 2]] == 255).all()
    assert (heap[3 + most :] == 255).all()


def test_the_bytes_are_as_the_schema_says() -> None:
    counts = np.zeros(300, np.int32)
    counts[[0, 5, 299]] = [1, 300, 7]
    heap = np.zeros(2400, np.uint8)
    end = sparse.pack(counts, heap.ctypes.data) - heap.ctypes.data
    assert varints(heap[:end].tobytes()) == [0, 1, 5, 300, 294, 7]
    assert end == 1 + 1 + 1 + 2 + 2 + 1

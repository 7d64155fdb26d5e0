"""Pages of the changelog that wait in the store, unread, until their object is touched.

A restore puts the bytes of each page as they came under the page's own key, and notes the page's
number in the value of its object:

    WAITS | how many, u4 | page numbers, u4 each | the object's light curve, if there was one
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from broker import blobs, wire
from broker.measurements import ROW
from broker.packing import PAGE

#: First byte of a value whose object has pages that wait; that of a light curve is blobs.FORMAT.
WAITS = 0

Value = bytes | memoryview


def numbers(value: Value | None) -> tuple[int, ...]:
    """The pages that wait, as an object's value says."""
    if not value or value[0] != WAITS:
        return ()
    (n,) = struct.unpack_from("<I", value, 1)
    return struct.unpack_from(f"<{n}I", value, 5)


def noted(value: Value | None, some: Iterable[int]) -> bytes | None:
    """The object's new value if these pages wait as well; None if it says so already."""
    before = numbers(value)
    after = {*before, *some}
    if len(after) == len(before):
        return None
    return struct.pack(f"<BI{len(after)}I", WAITS, len(after), *after) + bytes(_curve(value))


def _curve(value: Value | None) -> Value:
    """The light curve behind the numbers; empty if there is none."""
    if not value or value[0] != WAITS:
        return value or b""
    return value[5 + 4 * len(numbers(value)) :]


def merge(values: Mapping[bytes, Value], pages: Mapping[bytes, Value]) -> dict[bytes, bytes]:
    """Light curves, counts yet to be made, of objects that have pages waiting.

    Parameters
    ----------
    values
        The objects' values by key.
    pages
        The pages by key.

    Raises
    ------
    ValueError
        A page cannot be read, or one is missing.
    """
    points, first, faults = wire.read_pages([bytes(page) for page in pages.values()])
    if faults:
        fault = faults[0]
        raise ValueError(unreadable(list(pages)[fault.index], fault.error))
    rows = points.view(ROW)
    place = {key: slice(first[i], first[i + 1]) for i, key in enumerate(pages)}
    return {
        key: blobs.points_only(
            _joined(key, value, {n: rows[place[b"%b#%d" % (key, n)]] for n in numbers(value)})
        )
        for key, value in values.items()
    }


def _joined(key: bytes, value: Value, pages: Mapping[int, NDArray[np.void]]) -> NDArray[np.void]:
    """All points of an object, those of its pages over those of its light curve."""
    curve = _curve(value)
    known = blobs.points(curve) if curve else np.zeros(0, ROW)
    size = max(len(known), *(number * PAGE + len(rows) for number, rows in pages.items()))
    joined = np.zeros(size, ROW)
    for number in range(-(-size // PAGE)):
        part = pages.get(number, known[number * PAGE : number * PAGE + PAGE])
        if len(part) != min(PAGE, size - number * PAGE):
            msg = f"the changelog did not give back every page of the light curve {key!r}"
            raise ValueError(msg)
        joined[number * PAGE : number * PAGE + PAGE] = part
    return joined


def unreadable(key: bytes, error: str) -> str:
    """What to say of a page that cannot be read."""
    return f"page {key!r} of the changelog is not readable: {error}"


def page_keys(objects: Sequence[bytes], values: Sequence[Value]) -> list[bytes]:
    """Keys of all pages that wait."""
    return [
        b"%b#%d" % (key, n)
        for key, value in zip(objects, values, strict=True)
        for n in numbers(value)
    ]

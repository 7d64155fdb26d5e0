"""What stands in files of packets, as plain dicts: one per alert, one per packet that is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker import packet_files
from broker.decode import Decoder
from broker.packet_files import BrokenFile, Item
from broker.records import (
    ALERTED,
    BAD_FLUX,
    BAD_POSITION,
    BANDS,
    KINDS,
    SOLAR_SYSTEM,
    SURVEYS,
    WITHDRAWN,
    Detections,
    Packets,
)

FLAGS = {
    "alerted": ALERTED,
    "withdrawn": WITHDRAWN,
    "solar_system": SOLAR_SYSTEM,
    "bad_flux": BAD_FLUX,
    "bad_position": BAD_POSITION,
}
BATCH = 64
_FLUXES = ("flux_njy", "flux_err_njy", "total_flux_njy", "total_flux_err_njy")


def inspect_files(paths: Iterable[Path], public_only: bool = True) -> Iterator[dict[str, Any]]:
    """Decode files (or folders of them) and say what they hold.

    Yields
    ------
    dict
        For each alert, in order, ``survey``, ``object_id``, ``alert_id``, ``ra``, ``dec``,
        ``mjd_tai``, ``band`` and ``points``, as decoded: the alert's own first, before any rule on
        exposures. What is not known is None. For each packet or file that cannot be read
        ``file``, ``error`` and ``reason``: one of broker.decode.REASONS, or ``broken_file``.
    """
    decoder = Decoder(public_only)
    for path in paths:
        try:
            for file in packet_files.files(path):
                yield from _file(decoder, file)
        except OSError as error:
            yield {"file": str(path), "error": str(error), "reason": "broken_file"}


def inspect_values(
    values: Iterable[tuple[str, bytes]], public_only: bool = True
) -> Iterator[dict[str, Any]]:
    """The same of packets that are in hand, each with the name that errors call it by."""
    yield from _batch(Decoder(public_only), [Item(name, value, None) for name, value in values])


def _file(decoder: Decoder, file: Path) -> Iterator[dict[str, Any]]:
    items: list[Item] = []
    try:
        for item in packet_files.packets(file):
            items.append(item)
            if len(items) == BATCH:
                yield from _batch(decoder, items)
                items = []
    except (BrokenFile, OSError) as error:
        yield from _batch(decoder, items)
        yield {"file": str(file), "error": str(error), "reason": "broken_file"}
    else:
        yield from _batch(decoder, items)


def _batch(decoder: Decoder, items: list[Item]) -> Iterator[dict[str, Any]]:
    n = len(items)
    zeros = np.zeros(n, np.int64)
    values = [item.value for item in items]
    packets = Packets(values, "", zeros.astype(np.int32), np.arange(n), zeros)
    detections, letters = decoder.decode(packets)
    found = [
        ((offset, record), as_dict(detections, i))
        for i, (offset, record) in enumerate(detections.alerts[["offset", "record"]].tolist())
    ]
    found += [
        (
            (letter.offset, letter.record),
            {
                "file": items[letter.offset].name,
                "error": letter.error,
                "reason": letter.reason,
            },
        )
        for letter in letters
    ]
    yield from (said for _, said in sorted(found, key=lambda pair: pair[0]))


def as_dict(detections: Detections, i: int) -> dict[str, Any]:
    """Alert `i` of a batch with its points."""
    alert = detections.alerts[i]
    points = detections.points[detections.first[i] : detections.first[i + 1]]
    return {
        "survey": SURVEYS[alert["survey"]],
        "object_id": alert["object"].decode(),
        "alert_id": int(alert["alert_id"]),
        "ra": _known(float(alert["ra"])),
        "dec": _known(float(alert["dec"])),
        "mjd_tai": _known(float(alert["mjd_tai"])),
        "band": BANDS[alert["band"]],
        "points": _points(points),
    }


def _points(points: NDArray[np.void]) -> list[dict[str, Any]]:
    names = ("id", "kind", "mjd_tai", "band", *_FLUXES, "reliability", "flags")
    return [
        {
            "id": number or None,
            "kind": KINDS[kind],
            "mjd_tai": _known(mjd_tai),
            "band": BANDS[band],
            **{name: _known(flux) for name, flux in zip(_FLUXES, rest, strict=False)},
            "quality": {
                "reliability": _known(rest[-2]),
                "flags": [name for name, bit in FLAGS.items() if rest[-1] & bit],
            },
        }
        for number, kind, mjd_tai, band, *rest in zip(
            *(points[name].tolist() for name in names), strict=True
        )
    ]


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number

"""The kernel against the slow twin: any order, repeats, corrections, withdrawals, late alerts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twin import Twin, alert, batch, name_of, outcomes, point, told

from broker import archive, wire
from broker.curves import Added, Curves
from broker.decode import Decoder
from broker.inputs import Channel, Inputs
from broker.records import BAD_FLUX, DETECTION, FORCED, LIMIT, SOLAR_SYSTEM, WITHDRAWN
from broker.scalars import SCALARS
from broker.store import MemoryStore

INPUTS = Inputs(
    (
        Channel("fiducial", "total", ("detection",), min_reliability=0.5),
        Channel("fine", "difference", ("detection", "forced"), scalars=SCALARS),
        Channel("new2", "total", ("forced", "detection"), refuse_flags=0),
    )
)
# Few of everything, so that repeats, ties and edges (0.0069 d, 1.5 d, 0.1 mag, 8 mag) are common.
TIMES = [60000.0, 60000.0, 60000.006897, 60000.006896, 60001.5, 60003.0, 60040.0, 64100.0]
FLUXES = [1e5, 1e5 * 10**-0.04, 1e5 * 10**0.04, 2e5, 60.0, 1e9, -5.0, 0.0, math.nan]
ROWS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([DETECTION, DETECTION, DETECTION, FORCED, LIMIT]),
        "id": st.integers(0, 6),
        "mjd_tai": st.sampled_from(TIMES),
        "exposure": st.integers(1, 4),
        "exposure_part": st.integers(1, 2),
        "band": st.sampled_from([1, 1, 1, 2, 7]),
        "flux_njy": st.sampled_from(FLUXES),
        "flux_err_njy": st.sampled_from([1.0, 500.0, math.nan]),
        "total_flux_njy": st.sampled_from(FLUXES),
        "processed_mjd_tai": st.sampled_from([math.nan, math.nan, 60100.0, 60200.0]),
        "reliability": st.sampled_from([0.9, 0.9, 0.2, math.nan]),
        "flags": st.sampled_from([0] * 7 + [BAD_FLUX, WITHDRAWN, SOLAR_SYSTEM]),
    }
)
ALERTS = st.tuples(
    st.sampled_from([b"A", b"A", b"B"]),
    ROWS,
    st.lists(ROWS, max_size=6),
    st.sampled_from([False] * 9 + [True]),
)
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
_WARM = Curves(INPUTS, MemoryStore())  # Numba compiles before the first deadline


def build(spec: list[Any], survey: str) -> list[Any]:
    return [
        alert(
            point(**own | {"kind": DETECTION, "id": own["id"] + 1}),
            *(point(**r | {"id": r["id"] + (r["kind"] == DETECTION)}) for r in history),
            name=name,
            survey=survey,
            solar_system=solar,
        )
        for name, own, history, solar in spec
    ]


def bits(added: Added) -> tuple[bytes, ...]:
    """Everything of a batch of images, but for where it stands in the heap."""
    images = added.images
    parts = [images.images.tobytes(), images.presences.tobytes(), images.first_block.tobytes()]
    for b in images.blocks:
        for column in ("counts", "scalars"):
            start, length = b[column]
            parts.append(images.heap[start : start + length].tobytes())
        parts.append(repr((b["channel"], b["n"], b["band"])).encode())
    return tuple(parts)


def fresh() -> Curves:
    return Curves(INPUTS, MemoryStore(), clock=lambda: 7)


@QUICK
@given(
    st.lists(ALERTS, min_size=1, max_size=12),
    st.sampled_from(["ztf", "lsst"]),
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("cdrp")), max_size=5),
)
def test_a_night_equals_the_twins_however_it_is_cut_into_batches(
    spec: list[Any], survey: str, cuts: list[tuple[int, str]]
) -> None:
    alerts = build(spec, survey)
    expected, outcome = Twin(INPUTS).add(batch(*alerts))
    whole = fresh().add(batch(*alerts))
    assert told(whole, INPUTS) == list(map(_nan_equal, expected))
    assert outcomes(whole) == outcome

    curves, parts, at = fresh(), list[Added](), 0
    pages: dict[bytes, bytes] = {}
    for cut, event in sorted(cuts, key=lambda c: c[0]):
        cut = max(at, min(cut, len(alerts)))
        if event == "d":
            curves.commit()
        part = curves.add(batch(*alerts[at:cut])) if cut > at else None
        if event == "d" and part:  # the transaction was aborted: the same batch again
            curves.discard()
            assert bits(curves.add(batch(*alerts[at:cut]))) == bits(part)
        if part:
            parts.append(part)
            pages |= dict(part.pages)
        if event != "p":  # p: staged only, the next add sees it
            curves.commit()
        if event == "r":  # the machine was lost: a new one from the changelog, last page first
            curves.commit()
            curves = fresh()
            for key in reversed(list(pages)):
                curves.restore([key], [pages[key]])
        at = cut
    if at < len(alerts):
        parts.append(curves.add(batch(*alerts[at:])))
    rows = [bits(p) for p in parts]
    assert [r for p in parts for r in told(p, INPUTS)] == list(map(_nan_equal, expected))
    assert [o for p in parts for o in outcomes(p)] == outcome
    assert b"".join(r[0] for r in rows) == whole.images.images.tobytes()
    assert [x for r in rows for x in r[3:]] == list(bits(whole)[3:])


class _Nan(float):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and (math.isnan(self) and math.isnan(other))

    __hash__ = None  # type: ignore[assignment]


def _nan_equal(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"first": _Nan("nan") if math.isnan(row["first"]) else row["first"]}


@QUICK
@given(st.lists(ROWS, min_size=1, max_size=25), st.randoms(use_true_random=False), st.booleans())
def test_points_in_any_order_make_the_same_image(rows: list[Any], random: Any, lsst: bool) -> None:
    survey = "lsst" if lsst else "ztf"
    by_name: dict[
        Any, np.void
    ] = {}  # one content each: which of two came first is a matter of order
    for row in rows:
        p = point(**row | {"id": row["id"] + (row["kind"] == DETECTION)})
        by_name.setdefault(name_of(p), p)
    points = list(by_name.values())
    last = point(id=99, exposure=9, mjd_tai=60003.0)  # some points are later: a late alert
    seen = set()
    for _ in range(4):
        random.shuffle(points)
        curves = fresh()
        cut = random.randrange(len(points) + 1)
        curves.add(
            batch(alert(point(id=98, exposure=8, mjd_tai=60002.0), *points[:cut], survey=survey))
        )
        final = curves.add(batch(alert(last, *points[cut:], survey=survey)))
        seen.add(bits(final))
    assert len(seen) == 1


@QUICK
@given(st.lists(ROWS, min_size=1, max_size=20), st.integers(0, 19))
def test_a_withdrawn_point_leaves_as_if_it_had_never_come(rows: list[Any], which: int) -> None:
    rows = [r | {"flags": 0, "kind": DETECTION, "id": i + 1} for i, r in enumerate(rows)]
    gone = which % len(rows)
    points = [point(**r) for r in rows]
    last = alert(point(id=99, exposure=9, mjd_tai=60100.0))
    without = fresh()
    without.add(batch(alert(point(id=98, exposure=8), *points[:gone], *points[gone + 1 :])))
    expected = bits(without.add(batch(last)))
    curves = fresh()
    curves.add(batch(alert(point(id=98, exposure=8), *points)))
    taken_back = point(**rows[gone] | {"flags": WITHDRAWN})
    assert bits(curves.add(batch(alert(last[1][0], taken_back)))) == expected


def test_objects_of_very_different_size_share_a_batch() -> None:
    rng = np.random.default_rng(5)
    alerts: list[Any] = []
    for n, name in ((400, b"A"), (1, b"B"), (70, b"C"), (400, b"A"), (33, b"D")):
        history = [
            point(
                id=int(rng.integers(1, 10**6)),
                exposure=int(rng.integers(1, 10**6)),
                mjd_tai=60000 + rng.uniform(0, 900),
                total_flux_njy=1e5 * 10 ** rng.normal(0, 0.3),
                flux_njy=rng.normal(0, 1e4),
                band=int(rng.integers(1, 4)),
            )
            for _ in range(n)
        ]
        own = point(id=int(rng.integers(10**6, 10**7)), exposure=len(alerts), mjd_tai=60500.0)
        alerts.append(alert(own, *history, name=name))
    expected, _ = Twin(INPUTS).add(batch(*alerts))
    curves = fresh()
    added = curves.add(batch(*alerts))
    assert told(added, INPUTS) == expected
    sizes: dict[bytes, int] = {}
    for key, value in added.pages:  # pages of 32, no key twice
        name, _, page = key.rpartition(b"#")
        points, _, _ = wire.read_pages([value])
        sizes[name] = sizes.get(name, 0) + len(points)
        assert len(points) == 32 or len(points) == len(curves.points(name)) - 32 * int(page)
    assert len({key for key, _ in added.pages}) == len(added.pages)
    assert all(size == len(curves.points(name)) for name, size in sizes.items())


@pytest.mark.parametrize("survey", ["ztf", "lsst/wire_v10"])
def test_real_packets_make_the_twins_images(survey: str, shared_data: Path) -> None:
    curves, twin, decoder = fresh(), Twin(INPUTS), Decoder()
    seen = 0
    for packets in archive.read([shared_data / "alerts" / survey]):
        detections, _ = decoder.decode(packets)
        expected, outcome = twin.add(detections)
        added = curves.add(detections)
        assert told(added, INPUTS) == list(map(_nan_equal, expected))
        assert outcomes(added) == outcome
        seen += len(added.images.blocks)
    assert seen > 50

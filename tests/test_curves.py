"""Each rule of the light curves, with a packet or two of its own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from twin import alert, batch, outcomes, point, told

from broker import wire
from broker.curves import Added, Curves
from broker.inputs import Channel, Inputs
from broker.records import (
    ALERTED,
    BAD_FLUX,
    DETECTION,
    FORCED,
    LIMIT,
    REASONS,
    SOLAR_SYSTEM,
    WITHDRAWN,
    Detections,
)
from broker.store import MemoryStore

CHANNEL = Channel("fiducial", "total", ("detection", "forced"))
INPUTS = Inputs((CHANNEL,))
DAYS = [60000.0, 60002.0, 60004.0, 60030.0]


@pytest.fixture
def curves() -> Curves:
    return Curves(INPUTS, MemoryStore(), clock=lambda: 1234)


def seen(i: int, **columns: Any) -> Any:
    """The detection of day i: id i + 1, exposure i + 1."""
    return point(**{"id": i + 1, "exposure": i + 1, "mjd_tai": DAYS[i]} | columns)


def n_of(added: Added) -> list[int]:
    """Measurements of each image, all bands together."""
    return [sum(n for n, _ in image["blocks"].values()) for image in told(added, INPUTS)]


def pairs_of(added: Added) -> list[int]:
    return [sum(sum(c) for _, c in image["blocks"].values()) for image in told(added, INPUTS)]


def test_a_curve_is_the_union_of_memory_and_packet(curves: Curves) -> None:
    curves.add(batch(alert(seen(0)), alert(seen(1))))
    added = curves.add(batch(alert(seen(3), seen(2))))  # its history lacks days 0 and 1
    assert n_of(added) == [4]
    assert pairs_of(added) == [6]


def test_an_image_carries_its_alerts_columns_and_what_was_used(curves: Curves) -> None:
    curves.add(batch(alert(seen(0))))
    d = batch(alert(seen(1, flux_njy=-7.5, reliability=0.25), seen(2, kind=LIMIT, flux_njy=np.nan)))
    d.alerts["ra"], d.alerts["topic"], d.alerts["offset"] = 12.5, b"night", 99
    d.alerts["context"]["rb"] = 0.75
    added = curves.add(d)
    (row,) = added.images.images
    assert (row["ra"], row["topic"], row["offset"], row["context"]["rb"]) == (
        12.5,
        b"night",
        99,
        0.75,
    )
    assert (row["flux_njy"], row["reliability"], row["curves_ms"]) == (-7.5, 0.25, 1234)
    assert row["inputs_hash"] == INPUTS.hash
    assert row["first_detection_mjd_tai"] == DAYS[0]
    (image,) = told(added, INPUTS)
    assert image["presences"] == {(1, DETECTION): 2}  # the limit is of a later day
    assert list(image["blocks"]) == [(CHANNEL.hash, 1)]


def test_the_same_exposure_extracted_twice_counts_once(curves: Curves) -> None:
    added = curves.add(batch(alert(seen(1), seen(0), seen(0, id=77))))
    assert n_of(added) == [2]
    assert told(added, INPUTS)[0]["presences"] == {(1, DETECTION): 3}  # both stay known


def test_the_smallest_id_of_an_exposure_wins_whenever_it_comes(curves: Curves) -> None:
    bright = seen(0, id=50, total_flux_njy=1e6)
    only = curves.add(batch(alert(seen(1), bright))).images.images["points_hash"]
    with_smaller = curves.add(batch(alert(seen(2), seen(0, id=40)))).images
    other = Curves(INPUTS, MemoryStore()).add(batch(alert(seen(2), seen(0, id=40), seen(1)))).images
    assert with_smaller.images["points_hash"] == other.images["points_hash"]
    assert with_smaller.heap.tobytes() == other.heap.tobytes()
    assert only != with_smaller.images["points_hash"]


def test_lsst_takes_the_forced_row_before_the_source_and_ztf_takes_both() -> None:
    for survey, n in (("lsst", 2), ("elasticc", 2), ("ztf", 3)):
        curves = Curves(INPUTS, MemoryStore())
        forced = seen(0, id=900, kind=FORCED, total_flux_njy=2e5)
        assert n_of(curves.add(batch(alert(seen(1), seen(0), forced, survey=survey)))) == [n]


def test_a_forced_row_that_cannot_be_used_leaves_its_exposure_to_the_source(curves: Curves) -> None:
    bad = seen(0, id=900, kind=FORCED, flags=BAD_FLUX)
    assert n_of(curves.add(batch(alert(seen(1), seen(0), bad, survey="lsst")))) == [2]


def test_limits_are_kept_and_never_measured(curves: Curves) -> None:
    limit = seen(0, id=0, kind=LIMIT)
    added = curves.add(batch(alert(seen(1), limit, limit)))
    assert n_of(added) == [1]
    assert told(added, INPUTS)[0]["presences"] == {(1, DETECTION): 1, (1, LIMIT): 1}


def test_a_second_copy_of_an_alert_is_a_duplicate_but_its_history_is_kept(curves: Curves) -> None:
    curves.add(batch(alert(seen(1))))
    added = curves.add(batch(alert(seen(1), seen(0)), alert(seen(2))))
    assert outcomes(added) == ["duplicate", "passed"]
    assert n_of(added) == [3]


def test_a_detection_known_from_a_history_is_no_duplicate(curves: Curves) -> None:
    added = curves.add(batch(alert(seen(1), seen(0)), alert(seen(0)), alert(seen(0))))
    assert outcomes(added) == ["passed", "passed", "duplicate"]
    assert n_of(added) == [2, 1]  # and it is cut at its own time


def test_history_cannot_pretend_to_be_an_alert(curves: Curves) -> None:
    added = curves.add(batch(alert(seen(1), seen(0, flags=ALERTED)), alert(seen(0))))
    assert outcomes(added) == ["passed", "passed"]


def test_the_same_id_with_other_content_first_seen_wins(curves: Curves) -> None:
    curves.add(batch(alert(seen(0))))
    added = curves.add(batch(alert(seen(0, total_flux_njy=5e5, processed_mjd_tai=60100.0))))
    assert outcomes(added) == ["duplicate"]
    assert curves.points(b"ztf:A")["total_flux_njy"][0] == np.float32(1e5)


def test_a_later_processing_corrects(curves: Curves) -> None:
    curves.add(batch(alert(seen(0, processed_mjd_tai=60100.0))))
    newer = seen(0, processed_mjd_tai=60200.0, total_flux_njy=5e5)
    older = seen(0, processed_mjd_tai=60150.0, total_flux_njy=7e5)
    added = curves.add(batch(alert(newer), alert(older)))
    assert outcomes(added) == ["corrected", "duplicate"]
    assert len(added.images) == 0
    (kept,) = curves.points(b"ztf:A")
    assert (kept["total_flux_njy"], kept["flags"]) == (np.float32(5e5), ALERTED)
    after = curves.add(batch(alert(seen(1))))
    expected = Curves(INPUTS, MemoryStore()).add(batch(alert(seen(1), newer)))
    assert after.images.heap.tobytes() == expected.images.heap.tobytes()
    assert (after.images.images["points_hash"] == expected.images.images["points_hash"]).all()


def test_an_alert_whose_own_detection_is_withdrawn(curves: Curves) -> None:
    added = curves.add(batch(alert(seen(0, flags=WITHDRAWN)), alert(seen(1))))
    assert outcomes(added) == ["withdrawn", "passed"]
    first, second = told(added, INPUTS)
    assert (first["reason"], first["blocks"], first["presences"]) == ("withdrawn", {}, {})
    assert n_of(added) == [0, 1]
    assert second["presences"] == {(1, DETECTION): 1}


def test_a_named_alert_that_comes_again_withdrawn_is_labelled_once_more(curves: Curves) -> None:
    gone = alert(seen(0, flags=WITHDRAWN))
    added = curves.add(batch(alert(seen(0)), gone, gone))
    assert outcomes(added) == ["passed", "withdrawn", "duplicate"]
    assert [i["reason"] for i in told(added, INPUTS)] == ["none", "withdrawn"]


def test_a_withdrawn_point_cannot_come_back(curves: Curves) -> None:
    again = seen(0, processed_mjd_tai=60900.0)
    added = curves.add(
        batch(alert(seen(1), seen(0, flags=WITHDRAWN)), alert(seen(2), again), alert(again))
    )
    assert outcomes(added) == ["passed", "passed", "withdrawn"]
    assert n_of(added) == [1, 2, 0]
    assert len(curves.points(b"ztf:A")) == 3  # it is kept, so that it is known


def test_a_history_that_takes_back_a_named_source_brings_a_notice_behind_its_image(
    curves: Curves,
) -> None:
    curves.add(batch(alert(seen(0)), alert(seen(1))))
    other = alert(seen(0, id=500), name=b"B")
    d = batch(alert(seen(2), seen(0, flags=WITHDRAWN), seen(3, flags=WITHDRAWN)), other)
    d.alerts["ra"] = [1.0, 2.0]
    added = curves.add(d)
    rows = added.images.images
    assert outcomes(added) == ["passed", "passed"]  # day 3 never had a name: no notice
    assert rows["notice"].tolist() == [0, 1, 0]
    assert rows["alert_id"].tolist() == rows["source_id"].tolist() == [3, 1, 500]
    assert rows["ra"].tolist() == [1.0, 1.0, 2.0]
    assert [REASONS[r] for r in rows["reason"]] == ["none", "withdrawn", "none"]
    assert n_of(added) == [2, 0, 1]
    assert curves.add(batch(alert(seen(3, id=9), seen(0, flags=WITHDRAWN)))).images.images[
        "notice"
    ].tolist() == [0]  # told once


def test_a_duplicate_may_bring_a_notice_too(curves: Curves) -> None:
    curves.add(batch(alert(seen(0)), alert(seen(1))))
    added = curves.add(batch(alert(seen(1), seen(0, flags=WITHDRAWN)), alert(seen(2))))
    assert outcomes(added) == ["duplicate", "passed"]
    assert added.images.images["notice"].tolist() == [1, 0]
    assert n_of(added) == [0, 2]


def test_solar_system_alerts_make_no_curve(curves: Curves) -> None:
    body = alert(seen(1), seen(0), solar_system=True)
    added = curves.add(batch(body, body, alert(seen(2), seen(1))))
    assert outcomes(added) == ["passed", "duplicate", "passed"]
    assert [i["reason"] for i in told(added, INPUTS)] == ["solar_system", "none"]
    assert n_of(added) == [0, 1]  # neither its history nor, ever, its own point
    assert curves.points(b"ztf:A")["flags"].tolist() == [SOLAR_SYSTEM | ALERTED, ALERTED]


def test_a_late_alert_gets_its_image_from_the_points_up_to_its_time(curves: Curves) -> None:
    early = curves.add(batch(alert(seen(0)), alert(seen(1))))
    late = Curves(INPUTS, MemoryStore())
    late.add(batch(alert(seen(3), seen(2), seen(0))))
    added = late.add(batch(alert(seen(1))))
    assert added.images.images["points_hash"][0] == early.images.images["points_hash"][1]
    assert told(added, INPUTS) == told(early, INPUTS)[1:]


def test_points_of_the_alerts_own_time_are_in_and_make_no_pair_with_it(curves: Curves) -> None:
    added = curves.add(batch(alert(seen(0), seen(1, mjd_tai=DAYS[0]), seen(2))))
    assert n_of(added) == [2]
    assert pairs_of(added) == [0]


def test_pairs_never_cross_bands(curves: Curves) -> None:
    added = curves.add(batch(alert(seen(3), seen(0, band=2), seen(1, band=2), seen(2))))
    (image,) = told(added, INPUTS)
    assert {band: n for (_, band), (n, _) in image["blocks"].items()} == {1: 2, 2: 2}
    assert pairs_of(added) == [2]


def test_one_name_in_two_surveys_is_two_objects(curves: Curves) -> None:
    added = curves.add(batch(alert(seen(0)), alert(seen(1), survey="lsst"), alert(seen(2))))
    assert n_of(added) == [1, 1, 2]
    assert {key for key, _ in added.pages} == {b"ztf:A#0", b"lsst:A#0"}


def test_only_pages_that_changed_are_written(curves: Curves) -> None:
    history = [point(id=i + 1, exposure=i + 1, mjd_tai=59000.0 + i) for i in range(70)]
    first = curves.add(batch(alert(point(id=100, exposure=100), *history)))
    assert [key for key, _ in first.pages] == [b"ztf:A#0", b"ztf:A#1", b"ztf:A#2"]
    points, _, _ = wire.read_pages([value for _, value in first.pages])
    assert (points["id"] == curves.points(b"ztf:A")["id"]).all()
    nothing = curves.add(batch(alert(point(id=100, exposure=100), *history)))
    assert nothing.pages == []
    appended = curves.add(batch(alert(point(id=101, exposure=101), *history)))
    assert [key for key, _ in appended.pages] == [b"ztf:A#2"]
    named = curves.add(batch(alert(history[40])))  # a point of page 1 is now alerted
    assert [key for key, _ in named.pages] == [b"ztf:A#1"]


def test_commit_keeps_and_discard_forgets() -> None:
    store = MemoryStore()
    curves = Curves(INPUTS, store)
    curves.add(batch(alert(seen(0))))
    assert (len(curves), len(curves.points(b"ztf:A"))) == (0, 1)
    curves.discard()
    assert (len(curves), len(curves.points(b"ztf:A"))) == (0, 0)
    curves.add(batch(alert(seen(0))))
    curves.commit()
    curves.add(batch(alert(seen(1))))
    curves.discard()
    assert (len(curves), len(curves.points(b"ztf:A"))) == (1, 1)
    assert curves.nbytes == store.nbytes > 0
    assert outcomes(Curves(INPUTS, store).add(batch(alert(seen(0))))) == ["duplicate"]


def test_other_inputs_make_the_counts_anew() -> None:
    store = MemoryStore()
    before = Curves(INPUTS, store)
    before.add(batch(alert(seen(2), seen(0), seen(1, total_flux_njy=3e5))))
    before.commit()
    inputs = Inputs((replace(CHANNEL, grid="fine", scalars=("log_n", "mean_magnitude")),))
    added = Curves(inputs, store).add(batch(alert(seen(3))))
    fresh = Curves(inputs, MemoryStore()).add(
        batch(alert(seen(3), seen(0), seen(1, total_flux_njy=3e5), seen(2)))
    )
    assert added.images.heap.tobytes() == fresh.images.heap.tobytes()
    start, length = added.images.blocks["scalars"][0]
    scalars = added.images.heap[start : start + length].view("<f4")
    mags = [18.9, 18.9, 18.9, 31.4 - 2.5 * math.log10(3e5)]
    np.testing.assert_allclose(scalars, [math.log(4), sum(mags) / 4], rtol=1e-6)


def test_a_restore_without_a_page_is_loud(curves: Curves) -> None:
    history = [point(id=i + 1, exposure=i + 1, mjd_tai=59000.0 + i) for i in range(70)]
    pages = curves.add(batch(alert(point(id=100, exposure=100), *history))).pages
    other = Curves(INPUTS, MemoryStore())
    other.restore([k for k, _ in pages[::2]], [v for _, v in pages[::2]])
    with pytest.raises(ValueError, match=r"did not give back every page .* b'ztf:A'"):
        other.add(batch(alert(point(id=200))))
    other.restore([pages[1][0]], [pages[1][1]])
    assert n_of(other.add(batch(alert(point(id=200, exposure=200, mjd_tai=60001.0))))) == [72]


def test_the_later_value_of_a_page_wins(curves: Curves) -> None:
    old = curves.add(batch(alert(seen(1)))).pages
    new = curves.add(batch(alert(seen(2), seen(1)))).pages
    for together in (True, False):
        other = Curves(INPUTS, MemoryStore())
        for some in [[*old, *new]] if together else [old, new]:
            other.restore([k for k, _ in some], [v for _, v in some])
        assert other.points(b"ztf:A").tobytes() == curves.points(b"ztf:A").tobytes()


def test_restored_pages_stay_as_they_came_until_their_object_is_touched(curves: Curves) -> None:
    history = [point(id=i + 1, exposure=i + 101, mjd_tai=59000.0 + i) for i in range(40)]
    pages = curves.add(batch(alert(seen(1, id=500)), alert(seen(0), name=b"B"))).pages
    pages += curves.add(batch(alert(seen(2, id=600), *history))).pages
    store = MemoryStore()
    other = Curves(INPUTS, store)
    other.restore([k for k, _ in pages], [v for _, v in pages])
    assert len(other) == 2
    keys = [b"ztf:A#0", b"ztf:A#1", b"ztf:B#0"]
    assert store.get(keys) == [dict(pages)[key] for key in keys]
    assert other.points(b"ztf:A").tobytes() == curves.points(b"ztf:A").tobytes()
    for end in (other.discard, other.commit):  # only what is committed is taken from the pages
        added = other.add(batch(alert(seen(3, id=700))))
        assert n_of(added) == [43]
        assert store.get(keys[:1]) != [None]
        end()
    assert store.get(keys) == [None, None, dict(pages)[b"ztf:B#0"]]
    assert len(other) == 2


def test_a_page_that_comes_back_onto_a_kept_light_curve_replaces_its_part(curves: Curves) -> None:
    history = [point(id=i + 1, exposure=i + 101, mjd_tai=59000.0 + i) for i in range(40)]
    first = curves.add(batch(alert(seen(1, id=500), *history))).pages
    store = MemoryStore()
    behind = Curves(INPUTS, store)
    behind.restore([k for k, _ in first], [v for _, v in first])
    behind.add(batch(alert(seen(1, id=500))))
    behind.commit()
    later = curves.add(batch(alert(seen(2, id=600)))).pages  # another worker wrote on
    assert [key for key, _ in later] == [b"ztf:A#1"]
    behind.restore([k for k, _ in later], [v for _, v in later])
    assert behind.points(b"ztf:A").tobytes() == curves.points(b"ztf:A").tobytes()
    assert bits_of(behind, seen(3, id=700)) == bits_of(curves, seen(3, id=700))


def bits_of(curves: Curves, own: Any) -> tuple[bytes, bytes]:
    images = curves.add(batch(alert(own))).images
    return images.heap.tobytes(), images.images["points_hash"].tobytes()


def test_a_page_that_cannot_be_read_is_named(curves: Curves) -> None:
    with pytest.raises(ValueError, match=r"page b'ztf:A#0' of the changelog is not readable"):
        curves.restore([b"ztf:A#0"], [b"no page"])
    assert len(curves) == 0
    ((key, value),) = curves.add(batch(alert(seen(0)))).pages
    curves.discard()
    curves.restore([key], [value[:-1]])  # its head is right: it is found out at the first touch
    with pytest.raises(ValueError, match=r"page b'ztf:A#0' of the changelog is not readable"):
        curves.add(batch(alert(seen(1))))


def test_commit_passes_the_note_on() -> None:
    store = MemoryStore()
    curves = Curves(INPUTS, store)
    curves.add(batch(alert(seen(0))))
    assert store.note == b""
    curves.commit(b"17")
    curves.add(batch(alert(seen(1))))
    curves.commit()
    assert store.note == b"17"


def test_an_alert_needs_its_own_detection(curves: Curves) -> None:
    d = batch(alert(seen(0)))
    with pytest.raises(ValueError, match="without its own detection"):
        curves.add(Detections(d.alerts, d.points, np.array([0, 0])))


def test_nothing_in_nothing_out(curves: Curves) -> None:
    d = batch(alert(seen(0)))
    added = curves.add(Detections(d.alerts[:0], d.points[:0], d.first[:1]))
    assert (len(added.images), len(added.outcome), added.pages) == (0, 0, [])


def test_columns_that_cannot_be_written_to_are_taken_as_well(curves: Curves) -> None:
    d = batch(alert(seen(1), seen(0)))
    for column in (d.alerts, d.points, d.first):
        column.flags.writeable = False
    assert n_of(curves.add(d)) == [2]

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import nightjar
from test_periodic_training import skies, train_on_little

from models import forward
from models.periodic import sets as training
from models.studies import periodic, periodic_report
from models.studies.parts import Result
from models.studies.periodic import GIVEN, Study


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two surveys of two classes each, and RR Lyrae in two of the bands "ugriz"."""
    folder = tmp_path_factory.mktemp("sky")
    skies(folder)
    with np.load(folder / "crts_south.npz") as south:
        arrays = {name: south[name] for name in south.files}
    band = 1 + np.arange(len(arrays["t"])) % 2
    lab = np.where(arrays["lab"] == 5, 10, 11)
    np.savez(folder / "s82_rrlyrae.npz", **arrays | {"b": band, "lab": lab})
    return folder


@pytest.fixture(scope="module")
def results(sky: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        plain = training.training

        def watched(several, *args):
            seen.append(len(several))
            return plain(several, *args)

        asked: list[tuple[str, bool]] = []
        ready = forward.ready

        def noted(net, channel, device, shapes=(256,), precision="fp32", survey=""):
            asked.append((survey, bool(net.by_survey["crts"].bias.any())))
            return ready(net, channel, device, shapes, precision, survey)

        patch.setattr(training, "training", watched)
        patch.setattr(forward, "ready", noted)
        train_on_little(patch)
        patch.setattr(periodic, "_QUICK", replace(periodic._QUICK, epochs=16, batch=16))
        study = Study(sky, quick=True)
        names = ["shipped", "nowhere", "any", "given", "north", "place", "band/g", "band/r"]
        found = study.run(tmp_path_factory.mktemp("out"), names)
    assert list(found) == names
    assert seen == [4, 1]  # both surveys and two more made alike; the northern one alone
    # Catalina's last layers speak of Catalina only, and are learned from its south.
    assert asked[:5] == [("crts", True), ("crts", True), ("", True), ("crts", True), ("", False)]
    assert asked[5:] == 2 * [("", True)]
    return found


def test_a_network_of_the_north_knows_the_souths_classes(results: dict[str, Result]) -> None:
    """The surveys number their classes differently."""
    whole = results["north"]["0"]
    assert whole["accuracy"] > 0.9
    assert whole["objects"] == results["given"]["0"]["objects"] > 10
    assert results["north"]["5"]["accuracy"] <= whole["accuracy"]


def test_who_is_given_more_is_told_how_bright_a_star_is() -> None:
    assert {"mean_magnitude", "log_mean_error"} == set(GIVEN.scalars) - set(
        periodic.CHANNEL.scalars
    )


def test_a_place_tells_of_the_other_survey_s_stars_too(results: dict[str, Result]) -> None:
    """EW of the plane and RRc of the pole, in both: a place alone tells these stars' classes."""
    for name in ("crts-south", "crts-north"):
        losses = results["place"][name]
        assert losses[""] > 0.5
        assert max(losses["crts-south"], losses["crts-north"]) < losses[""] - 0.2


def test_who_is_not_told_where_a_star_is_loses_it(results: dict[str, Result]) -> None:
    told, blind = (results[name]["5"] for name in ("shipped", "nowhere"))
    assert told["objects"] == blind["objects"]
    assert told["ece"] != blind["ece"]


def test_each_band_is_asked_by_itself(results: dict[str, Result]) -> None:
    g, r = results["band/g"], results["band/r"]
    assert g["objects"] > 50
    assert 20 <= g["points"] < 31  # half of 30 to 60, those with 20 and more
    assert g["confusion"] != r["confusion"]
    assert sum(map(sum, g["confusion"][2:4])) == g["objects"]  # RRab and RRc


def test_the_report_tells_of_what_there_is(results: dict[str, Result]) -> None:
    networks, place, bands = periodic_report.sections(results)
    head, rows = networks.tables[0].head, networks.tables[0].rows
    assert [row[0] for row in rows][1:] == [
        "of the stream, not told where",
        "of the stream, for any survey",
        "given mean magnitude and error",
        "trained on CRTS-N alone",
    ]
    assert len(rows[0]) == len(head) == 7
    errors = [[float(error or 0) for error in row[1:]] for row in networks.tables[1].rows]
    assert errors[3][0] == pytest.approx(100 * results["given"]["0"]["ece"], abs=0.051)
    assert [row[0] for row in place.tables[0].rows] == ["CRTS-S", "CRTS-N"]
    assert [row[0] for row in bands.tables[0].rows] == ["g", "r"]
    (only,) = periodic_report.sections({"band/g": results["band/g"]})
    assert "Stripe 82" in only.title


def test_as_a_command(sky: Path, tmp_path: Path) -> None:
    done = nightjar("study", "periodic", "shipped", "--data", str(sky), "--quick", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of the stream" in done.stdout
    assert "Tried, and not kept" in done.stdout
    assert "four teachers" in (tmp_path / "study" / "periodic.html").read_text()
    done = nightjar("study", "periodic", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected --data" in done.stderr

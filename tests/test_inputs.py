"""Declarations of inputs: told apart, united, read from a card."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from broker.inputs import Channel, Inputs
from broker.records import BAD_POSITION

CHANNEL = Channel("fiducial", "total", ("detection", "forced"))
OTHERS = (
    replace(CHANNEL, grid="fine"),
    replace(CHANNEL, photometry="difference"),
    replace(CHANNEL, kinds=("detection",)),
    replace(CHANNEL, min_reliability=0.5),
    replace(CHANNEL, refuse_flags=BAD_POSITION),
    replace(CHANNEL, scalars=("log_n",)),
    replace(CHANNEL, scalars=("log_n", "log_sd")),
    replace(CHANNEL, scalars=("log_sd", "log_n")),
    Channel("fiducial", "asinh", ("detection", "forced"), survey="ztf", bands="gr"),
    Channel("fiducial", "asinh", ("detection", "forced"), survey="ztf", bands="rg"),
    Channel("fiducial", "asinh", ("detection", "forced"), survey="lsst", bands="gr"),
)


def test_hashes_tell_channels_apart_and_stay() -> None:
    assert len({c.hash for c in (CHANNEL, *OTHERS)}) == 1 + len(OTHERS)
    assert all(0 < c.hash < 2**63 for c in OTHERS)
    assert replace(CHANNEL, kinds=("forced", "detection")).hash == CHANNEL.hash
    assert replace(CHANNEL, min_reliability=0).hash == CHANNEL.hash  # as TOML may write it
    assert CHANNEL.hash == 1181064976473597895  # in images and cards: must not change unsaid


def test_a_union_has_each_channel_once_whatever_the_order() -> None:
    a, b = Inputs(OTHERS[:5]), Inputs((CHANNEL, *OTHERS[3:]))
    assert Inputs.union([a, b]) == Inputs.union([b, a, b])
    assert set(Inputs.union([a, b]).channels) == {CHANNEL, *OTHERS}
    assert Inputs.union([a, b]).hash != Inputs.union([a]).hash


def test_a_card_says_what_it_needs() -> None:
    table = tomllib.loads(
        """
        [[inputs.channels]]
        grid = "fiducial"
        photometry = "total"
        kinds = ["detection", "forced"]
        [[inputs.channels]]
        grid = "fine"
        photometry = "difference"
        kinds = ["detection"]
        min_reliability = 0.5
        scalars = ["log_n"]
        """
    )
    inputs = Inputs.from_dict(table["inputs"])
    assert inputs.channels[0] == CHANNEL
    assert inputs.channels[1].scalars == ("log_n",)
    assert Inputs.from_dict(inputs.to_dict()) == inputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": "coarse"}, "no grid is called 'coarse'; there are: fiducial"),
        ({"photometry": "apparent"}, "no photometry .* total, difference"),
        ({"kinds": ["limit"]}, "no kind of measurement .* detection, forced"),
        ({"scalars": ["period"]}, "no scalar is called 'period'; there are: mean_magnitude"),
        ({"survey": "ztf", "bands": "gr"}, "bands go with asinh photometry"),
        ({"photometry": "asinh"}, "no survey with softening fluxes is called ''; there are: ztf"),
        ({"photometry": "asinh", "survey": "ztf"}, "bands go with asinh photometry"),
        (
            {"photometry": "asinh", "survey": "ztf", "bands": "gz"},
            "no band of ztf is called 'z'; there are: g, r, i",
        ),
        (
            {"photometry": "asinh", "survey": "ztf", "bands": "g", "scalars": ["log_n"]},
            "with neither scalars nor periodogram",
        ),
        ({"colour": "g"}, "no key of a channel is called 'colour'; there are: grid"),
    ],
)
def test_a_wrong_word_is_named_with_what_was_expected(
    change: dict[str, object], message: str
) -> None:
    row = Inputs((CHANNEL,)).to_dict()["channels"][0] | change
    with pytest.raises(ValueError, match=message):
        Inputs.from_dict({"channels": [row]})


def test_a_channel_without_a_grid_says_so() -> None:
    with pytest.raises(ValueError, match=r"lacks something.*'grid'"):
        Inputs.from_dict({"channels": [{"photometry": "total", "kinds": ["detection"]}]})

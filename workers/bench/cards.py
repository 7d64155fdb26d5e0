"""A card that lets the network speak of any survey, so that no figure is met by an idle network."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from broker.inputs import Inputs
from broker.records import SURVEYS
from models import cards


def test_card(name: str, survey: str, folder: Path) -> str:
    """The card to measure a survey with: its path; of a tree, which stays as it is, its name.

    The shipped network with its own weights; what it says of difference fluxes means nothing, but
    costs as much. ELAsTiCC has no total fluxes; for the others too every alert is in the domain.
    """
    if cards.is_tree(cards.path_of(name)):
        return name
    shipped = cards.find(name)
    photometry = "difference" if survey == "elasticc" else "total"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{shipped.name}-{survey}.toml"
    channel = replace(shipped.channel, photometry=photometry)
    text = cards.dump(replace(shipped, inputs=Inputs((channel,)), domain={}))
    everywhere = "".join(f"{known} = []\n" for known in SURVEYS)
    path.write_text(f"{text}\n[domain]\n{everywhere}")
    for part in shipped.files:
        shutil.copyfile(part, path.with_suffix(part.suffix))
    return str(path)

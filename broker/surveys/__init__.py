"""The surveys whose packets we read: one file each, and here the list of them.

A new survey is a file that says where its packets keep the fields (a Table per record level), what
their sentinels are, and how a row becomes a point; then its name in broker.records.SURVEYS and a
line here.
"""

from __future__ import annotations

import json
from typing import Any

from broker.surveys.elasticc import ELASTICC
from broker.surveys.lsst import LSST
from broker.surveys.survey import Survey
from broker.surveys.ztf import ZTF

SURVEYS: dict[str, Survey] = {survey.name: survey for survey in (ZTF, LSST, ELASTICC)}


def survey_of(schema: Any) -> Survey | None:
    """The survey whose alert a container's schema describes: by its name, else by its fields."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return None
    name = f"{schema.get('namespace') or ''}.{schema.get('name')}".strip(".")
    for survey in SURVEYS.values():
        if name.split(".")[0] == survey.name:
            return survey
    fields = schema.get("fields")
    some = fields if isinstance(fields, list) else []
    found = [f.get("name") for f in some if isinstance(f, dict)]
    names = {name for name in found if isinstance(name, str)}  # rubbish may have a list there
    if {"objectId", "candid", "candidate"} <= names:
        return ZTF
    if "diaSource" in names:
        return ELASTICC if '"midPointTai"' in json.dumps(schema) else LSST
    return None

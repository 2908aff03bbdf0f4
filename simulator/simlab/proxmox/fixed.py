# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads that are the same on every idle node: indices, capabilities, services. Data: ``data/fixed.json``."""

from __future__ import annotations

import importlib.resources
import json
import typing as t

from . import schema
from .api import Call, handles

DATA: dict[str, t.Any] = json.loads((importlib.resources.files(__package__ or "") / "data" / "fixed.json").read_bytes())


def _register(template: str, data: t.Any) -> None:
    def answer(call: Call) -> t.Any:
        return data

    handles("GET", template)(answer)


for _template, _answer in DATA.items():
    if _template in schema.load().paths:
        _register(_template, _answer)

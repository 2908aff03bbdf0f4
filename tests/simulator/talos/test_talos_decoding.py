# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations with random damage, judged by Talos's own Go packages (machinery v1.13.9, container mode): the same
errors, and the same text when the configuration is decoded and written again (by its SHA-256)."""

from __future__ import annotations

import hashlib
import json
import typing as t

import pytest
import recorded

from simlab.talos import configdiff, documents, validation
from simlab.talos.versions import Version

CASES = [json.loads(line) for line in (recorded.ROOT / "decoding.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_a_damaged_configuration_is_read_and_judged_as_by_talos(case: dict[str, t.Any]) -> None:
    if case["load"]:
        with pytest.raises(documents.ConfigError) as refused:
            documents.load(case["text"].encode())
        assert str(refused.value) == case["load"]
        return
    config = documents.load(case["text"].encode())
    assert hashlib.sha256(configdiff.encode(config).encode()).hexdigest() == case["encoded"]
    if case["invalid"]:
        with pytest.raises(validation.Invalid) as caught:
            validation.validate(config, Version("v1.13.9"), "container")
        assert str(caught.value) == case["invalid"]

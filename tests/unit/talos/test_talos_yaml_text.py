# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches that are text mean what they mean to Talos, and not what YAML 1.1 makes of them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import config_schema, merge, yaml_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("12:30", "12:30"),
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("0o644", 0o644),
        ("0644", 0o644),
        ("0x1f", 31),
        ("-5", -5),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2026-11-21", "2026-11-21"),
        ("'1e3'", "1e3"),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("0", 0),
        ("089", 89.0),
    ],
)
def test_a_plain_word_is_what_talos_takes_it_for(text: str, value: t.Any) -> None:
    assert yaml_text.load_all(f"a: {text}\n") == [{"a": value}]


def test_a_patch_that_is_text_keeps_a_hardware_address() -> None:
    text = "machine:\n  network:\n    interfaces:\n    - deviceSelector: {hardwareAddr: 52:54:00:12:34:56}\n"
    (patch,) = merge.patches_from([text], "patches")
    assert patch["machine"]["network"]["interfaces"][0]["deviceSelector"]["hardwareAddr"] == "52:54:00:12:34:56"


def test_a_hardware_address_that_became_a_number_is_refused() -> None:
    config = {"machine": {"network": {"interfaces": [{"deviceSelector": {"hardwareAddr": 41135463296}}]}}}
    assert list(config_schema.problems(config)) == [
        "machine.network.interfaces[0].deviceSelector.hardwareAddr is a number and not text (is it in quotes?)"
    ]


def test_a_text_that_is_no_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"^patches\[0\] is not YAML: "):
        merge.patches_from(["a: [\n"], "patches")

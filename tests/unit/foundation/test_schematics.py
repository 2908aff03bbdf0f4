# SPDX-License-Identifier: GPL-3.0-or-later
"""Ids of schematics: the published ones, and the quoting that decides about them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.image_factory import schematics


@pytest.mark.parametrize(
    ("schematic", "number"),
    [
        ({}, "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
        ({"customization": {}}, "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
        (
            {"customization": {"extraKernelArgs": []}},
            "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba",
        ),
        (
            {"customization": {"systemExtensions": {"officialExtensions": ["siderolabs/qemu-guest-agent"]}}},
            "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515",
        ),
    ],
)
def test_ids_are_those_of_the_factory(schematic: dict[str, t.Any], number: str) -> None:
    assert schematics.schematic_id(schematic) == number


def test_keys_stand_in_the_order_of_the_factory_whatever_the_order_of_the_input() -> None:
    given = {
        "customization": {"meta": [{"value": "x: y", "key": 10}], "extraKernelArgs": ["a=b"]},
        "overlay": {"options": {"b": 1, "a": "x"}, "name": "rpi_generic", "image": "siderolabs/sbc"},
    }
    assert schematics.canonical(given) == (
        "overlay:\n    image: siderolabs/sbc\n    name: rpi_generic\n    options:\n        a: x\n        b: 1\n"
        "customization:\n    extraKernelArgs:\n        - a=b\n    meta:\n        - key: 10\n          value: 'x: y'\n"
    )


@pytest.mark.parametrize("text", ["yes", "n", "off", "true", "null", "12", "0x10", "0o7", "1e3", "1.5", "2026-01-01"])
def test_text_that_would_be_read_as_something_else_is_quoted_twice(text: str) -> None:
    assert f'- "{text}"\n' in schematics.canonical({"customization": {"extraKernelArgs": [text]}})

# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an object has all wanted values, whoever set them."""

from __future__ import annotations

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.fields import holds

NODE = {"metadata": {"name": "n", "labels": {"zone": "a", "os": "linux"}}, "spec": {"taints": [{"key": "x"}]}}


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ({"metadata": {"name": "n", "labels": {"zone": "a"}}}, True),
        ({"metadata": {"labels": {"zone": "b"}}}, False),
        ({"metadata": {"labels": {"rack": "1"}}}, False),
        ({"metadata": {"labels": {}}}, True),
        ({"spec": {"taints": [{"key": "x"}]}}, True),
        ({"spec": {"taints": []}}, False),
        ({"status": {"phase": None}}, False),
    ],
)
def test_only_the_wanted_fields_count(wanted: dict, answer: bool) -> None:
    assert holds(wanted, NODE) is answer

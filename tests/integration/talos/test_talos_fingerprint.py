# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine in maintenance mode gets a config only when it shows the certificate that its console shows."""

from __future__ import annotations

import base64
import typing as t

import pytest
from talos_lab import PlayedLab

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import tls
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.channel import Channel, Target

OTHER = base64.b64encode(b"\1" * 32).decode()


def shown(lab: PlayedLab, name: str) -> str:
    """What the machine's console shows: that of the certificate which it serves."""
    with Channel(Target(lab.address(name)), tls.maintenance_context(), timeout=5) as channel:
        return channel.fingerprint


def pinned(lab: PlayedLab, fingerprint: str) -> dict[str, t.Any]:
    wanted = lab.cluster("cp1")
    wanted["nodes"][0]["fingerprint"] = fingerprint
    return wanted


def ready(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    lab.run("secrets")
    assert lab.run("apply_config", check=True, **lab.cluster("cp1"))["changed"]


def test_another_certificate_gets_nothing_and_is_named(lab: PlayedLab) -> None:
    ready(lab)
    mark = lab.ledger.mark()
    for check in (True, False):
        refused = lab.run("apply_config", check=check, **pinned(lab, OTHER))
        assert refused["failed"] and refused["changes"] == []
        assert f"has the fingerprint {shown(lab, 'cp1')}, and {OTHER} was given" in refused["msg"], refused
        assert refused["error"]["fingerprint"] == shown(lab, "cp1")
        assert "Nothing was sent to it." in refused["msg"]
    assert lab.ledger.entries(mark) == [], "not even a question"


def test_the_right_one_is_configured_and_later_known_by_its_authority(lab: PlayedLab) -> None:
    ready(lab)
    wanted = pinned(lab, shown(lab, "cp1"))
    assert lab.run("apply_config", **wanted)["changed"]
    again = lab.run("apply_config", **wanted)
    assert not again.get("failed") and not again["changed"], again


@pytest.mark.parametrize("text", ["deadbeef", "sha256:abc", base64.b64encode(b"x" * 31).decode(), "ä" * 44])
def test_what_is_no_fingerprint_is_told(lab: PlayedLab, text: str) -> None:
    lab.run("secrets")
    refused = lab.run("apply_config", **pinned(lab, text))
    assert refused["msg"].startswith(f"nodes[0].fingerprint is {text!r}, which is no fingerprint. It is the SHA-256")

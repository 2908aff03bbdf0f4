# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles that do not suffice, and roles that do: who may what is told at once, and who may reboot can."""

from __future__ import annotations

import typing as t

import pytest
from talos_lab import PlayedLab
from talos_quorum_lab import stand_up
from test_talos_info import use_talosconfig
from test_talos_life import build
from test_talos_reboot import THREE, boot_ids, reboots


def as_role(lab: PlayedLab, module: str, *roles: str, **params: t.Any) -> dict[str, t.Any]:
    """Run a module with a talosconfig of these roles."""
    path = use_talosconfig(lab, "cp1", roles=roles)
    return lab.run(module, secrets_path=None, talosconfig=path, **params)


def test_a_missing_right_is_not_waited_for(lab: PlayedLab) -> None:
    build(lab, "cp1")
    mark = lab.ledger.mark()
    failed = as_role(lab, "health", "os:etcd:backup", nodes=lab.described("cp1"), wait_timeout=20)
    assert len(lab.ledger.entries(mark)) == 1
    assert failed["failed"] and failed["error"]["kind"] == "AccessDenied", failed["msg"]
    assert "the client certificate has the roles os:etcd:backup" in failed["msg"] and "cp1" in failed["msg"]
    assert "It needs one of os:admin, os:operator, os:reader." in failed["msg"]
    [told] = as_role(lab, "info", "os:etcd:backup", nodes=lab.described("cp1"), on_error="ignore")["nodes"]
    assert not told["reachable"] and told["error"]["kind"] == "AccessDenied"


@pytest.mark.parametrize("names", [("cp1",), THREE])
def test_an_operator_may_reboot(lab: PlayedLab, names: tuple[str, ...]) -> None:
    """Without the right to read the boot ID and to hand over etcd's leadership."""
    stand_up(lab, *names, "w1")
    before, mark = boot_ids(lab), lab.ledger.mark()
    given = {"nodes": lab.described(*names, "w1"), "wait_timeout": 60}
    checked = as_role(lab, "reboot", "os:operator", check=True, **given)
    assert not checked.get("failed"), checked
    made = as_role(lab, "reboot", "os:operator", **given)
    assert not made.get("failed") and made["changes"] == checked["changes"], made
    assert reboots(lab, mark) == [f"{name} OK" for name in (*names, "w1")]
    assert not set(boot_ids(lab).values()) & set(before.values())
    assert [(one["stage"], one["boot_id"]) for one in made["nodes"]] == [("running", "")] * (len(names) + 1)


def test_a_reader_may_see_whether_all_is_well(lab: PlayedLab) -> None:
    stand_up(lab, *THREE, "w1")
    seen = as_role(lab, "health", "os:reader", nodes=lab.described(*THREE, "w1"))
    assert not seen.get("failed") and [one["stage"] for one in seen["nodes"]] == ["running"] * 4, seen

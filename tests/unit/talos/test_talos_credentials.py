# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks: a client certificate whose time is over, or whose rights do not suffice, is told before anybody is called."""

from __future__ import annotations

import datetime as dt
import pathlib
import typing as t

import pytest
from talos_room import run

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import channel, pki, secrets_bundle, talosconfig

DAY = dt.timedelta(days=1)
NODE = {"name": "cp1", "address": "10.77.0.11", "type": "controlplane"}
#: Module -> its parameters besides who asks.
ASKING: dict[str, dict[str, t.Any]] = {
    "talos_info": {"nodes": ["10.77.0.11"]},
    "talos_etcd_info": {"nodes": ["10.77.0.11"]},
    "talos_health": {"nodes": [NODE]},
    "talos_reboot": {"nodes": [NODE]},
    "talos_reset": {"node": "10.77.0.11", "node_name": "cp1"},
    "talos_bootstrap": {"node": "10.77.0.11", "cluster_name": "lab"},
    "talos_kubeconfig": {"node": "10.77.0.11", "dest": "/x/kubeconfig"},
    "talos_secrets": {"import_node": "10.77.0.11"},
}
#: What each of the writing modules asks for that not everybody may, and a role that may not.
CALLS = {
    "talos_bootstrap": ("Bootstrap", "os:operator"),
    "talos_reboot": ("Reboot", "os:reader"),
    "talos_reset": ("Reset", "os:operator"),
    "talos_kubeconfig": ("Kubeconfig", "os:operator"),
}


@pytest.fixture(autouse=True)
def nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: t.Any) -> t.Any:
        raise AssertionError("a node was called")

    monkeypatch.setattr(channel, "_connect", refuse)
    monkeypatch.delenv("TALOS_SECRETS", raising=False)
    monkeypatch.delenv("TALOSCONFIG", raising=False)


def made(
    folder: pathlib.Path, bundle: secrets_bundle.Bundle, *roles: str, begun: dt.timedelta, left: dt.timedelta
) -> str:
    """A talosconfig whose certificate began and ends so far from now."""
    now = dt.datetime.now(dt.UTC)
    authority = bundle.authority("os")
    client = pki.client_certificate(
        authority, list(roles), now=now - begun + pki.CLOCK_SKEW, lifetime=begun - pki.CLOCK_SKEW + left
    )
    path = folder / "talosconfig"
    private_files.replace(path, talosconfig.render(talosconfig.Context("lab", ("10.77.0.11",), authority.crt, client)))
    return str(path)


def asked(module: str, path: str, folder: pathlib.Path, **more: t.Any) -> dict[str, t.Any]:
    given = {**ASKING[module], "talosconfig": path, **more}
    if module == "talos_secrets":
        given["path"] = str(folder / "bundle.yaml")
    return run(module, given, check=bool(more.pop("check", False)))


@pytest.mark.parametrize("module", sorted(ASKING))
def test_a_certificate_that_has_ended_is_told_with_its_end(
    module: str, tmp_path: pathlib.Path, bundle: secrets_bundle.Bundle
) -> None:
    path = made(tmp_path, bundle, "os:admin", begun=9 * DAY, left=-2 * DAY)
    outcome = asked(module, path, tmp_path)
    ended = (dt.datetime.now(dt.UTC) - 2 * DAY).strftime("%Y-%m-%d")
    assert outcome["failed"] and outcome["error"]["kind"] == "Unauthenticated", outcome["msg"]
    assert f"its client certificate ended on {ended}" in outcome["msg"] and path in outcome["msg"]
    assert "talosconfig_dest" in outcome["msg"] and "talos_secrets" in outcome["msg"]
    assert "reset" not in outcome["msg"]


def test_a_certificate_that_is_not_valid_yet_is_a_matter_of_clocks(
    tmp_path: pathlib.Path, bundle: secrets_bundle.Bundle
) -> None:
    path = made(tmp_path, bundle, "os:admin", begun=-2 * DAY, left=9 * DAY)
    outcome = asked("talos_info", path, tmp_path)
    begins = (dt.datetime.now(dt.UTC) + 2 * DAY).strftime("%Y-%m-%d")
    assert f"its client certificate is not valid before {begins}" in outcome["msg"] and "clock" in outcome["msg"]


@pytest.mark.parametrize("module", sorted(CALLS))
@pytest.mark.parametrize("check", [True, False])
def test_a_role_that_is_too_little_is_named_with_its_call(
    module: str, check: bool, tmp_path: pathlib.Path, bundle: secrets_bundle.Bundle
) -> None:
    call, role = CALLS[module]
    path = made(tmp_path, bundle, role, begun=DAY, left=DAY)
    outcome = run(module, {**ASKING[module], "talosconfig": path}, check=check)
    assert outcome["failed"] and outcome["error"]["kind"] == "AccessDenied", outcome["msg"]
    assert f"Could not call {call}" in outcome["msg"] and f"has the roles {role}" in outcome["msg"]
    assert "It needs" in outcome["msg"] and "os:admin" in outcome["msg"] and not outcome["changed"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that the API server asks in its turn, and that are away: of an APIService, of a definition's conversion."""

from __future__ import annotations

import time
import typing as t

import pytest
from k8s_applied import Object, config, definition

CLIENT = "ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client"
SERVICE = {"namespace": "default", "name": "away"}


def brings(version: str, group: str) -> Object:
    spec = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": SERVICE,
    }
    meta = {"name": f"{version}.{group}"}
    return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": meta, "spec": spec}


@pytest.fixture
def away(lab: t.Any) -> t.Iterator[Object]:
    """An object of a group whose server is away; everybody can see that it is."""
    group = f"{lab.namespace}.example.com"
    given = brings("v1", group)
    assert "msg" not in lab.run([given])
    end = time.monotonic() + 30
    while group not in str(lab.client.read("/apis", "look")) and time.monotonic() < end:
        time.sleep(0.2)
    yield {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}}
    lab.run([given], state="absent")


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_kind_whose_server_is_away_is_neither_unknown_nor_gone(state: str, away: Object, lab: t.Any) -> None:
    failed = lab.run([config("a", a="1"), away], state=state)
    assert failed["error"]["kind"] == "ServerFault"
    assert f"APIService v1.{lab.namespace}.example.com" in failed["msg"]
    assert lab.live("v1", "ConfigMap", "a") is None


def test_other_kinds_do_not_need_it(away: Object, lab: t.Any) -> None:
    given = definition(f"other.{lab.namespace}.example.com", "v1")
    thing = {**away, "apiVersion": f"other.{away['apiVersion']}"}
    done = lab.run([given, thing])
    assert "msg" not in done, done["msg"]
    lab.run([given], state="absent")


def test_a_conversion_that_nobody_answers_is_waited_for_and_said(lab: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{CLIENT}.INSTALL_PATIENCE", 1.0)
    group = f"converted.{lab.namespace}.example.com"
    given = definition(group, "v1", "v2")
    webhook = {"conversionReviewVersions": ["v1"], "clientConfig": {"service": {**SERVICE, "path": "/convert"}}}
    given["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}}
    failed = lab.run([given, thing])
    assert failed["error"]["kind"] == "NotInstalled"
    assert "Are its pods ready?" in failed["msg"]
    assert any("Trying again" in text for text in lab.progress)
    assert [change["action"] for change in failed["changes"]] == ["create"]
    lab.run([given], state="absent")

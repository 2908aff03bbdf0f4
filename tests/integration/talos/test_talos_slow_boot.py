# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that take their time: an API that answers before the services are there, or before Talos is on the disk."""

from __future__ import annotations

import asyncio
import typing as t

import pytest
from talos_lab import PlayedLab
from test_talos_life import steps

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import node
from simlab.talos import sequences
from simlab.talos.runtime import Runtime


def stand_up(lab: PlayedLab) -> list[str]:
    """The modules one after the other, at once; what they wrote."""
    lab.power_on("cp1")
    for module, params in steps(lab, "cp1"):
        made = lab.run(module, **params)
        assert not made.get("failed"), made
    return [path.rpartition("/")[2] for path in lab.writes()]


def test_a_node_whose_services_are_not_there_yet_is_waited_for(lab: PlayedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API is up before the disk is formatted; only then the node has a trustd and an etcd, of whatever state."""
    start = sequences._start_services

    async def late(runtime: Runtime, sequence: t.Any) -> None:
        await asyncio.sleep(2)
        await start(runtime, sequence)

    monkeypatch.setattr(sequences, "_start_services", late)
    assert stand_up(lab) == ["ApplyConfiguration", "Bootstrap"]
    assert any("not loaded yet" in said for said in lab.said)


def test_a_node_that_answers_and_then_installs_is_waited_for(lab: PlayedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its API may have the cluster's certificate before the installation has begun, which ends in a reboot."""
    monkeypatch.setattr(node, "STEADY", 0.5)
    installed: list[str] = []

    async def install(runtime: Runtime) -> bool:
        if installed:
            return False
        installed.append(runtime.boot_id)
        runtime.run(sequences._serve_configured(runtime))
        await asyncio.sleep(2)
        if runtime.config is not None:
            runtime.node.storage.write_config(runtime.config.text)
        await sequences.reboot(runtime, "")
        return True

    monkeypatch.setattr(sequences, "_install_if_needed", install)
    assert stand_up(lab) == ["ApplyConfiguration", "Bootstrap"]
    assert lab.nodes["cp1"].runtime.boot_id not in installed


def test_a_worker_is_still_no_control_plane(lab: PlayedLab) -> None:
    lab.power_on("cp1", "w1")
    for module, params in steps(lab, "cp1", "w1")[:3]:
        made = lab.run(module, **params)
        assert not made.get("failed"), made
    lab.wait_until_serving("w1")
    refused = lab.run("bootstrap", node=lab.address("w1"), cluster_name="lab")
    assert refused["failed"] and "it is no control plane node: it has no etcd service" in refused["msg"], refused

# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures that users of community.proxmox reported and that no other test of ours is about (``peer_failures.md``)."""

from __future__ import annotations

import time
import typing as t

import pve_containers as containers
import pytest
from pve_lab import Outcome, PveLab
from test_pve_vm import made, truthful, with_
from test_pve_vm_parts import SMALL, TEMPLATE

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_lxc, proxmox_vm

CT = {
    "vmid": 310,
    "hostname": "small",
    "node": "pve1",
    "ostemplate": containers.TEMPLATE,
    "rootfs": {"storage": "local", "size": "1G"},
    "state": "stopped",
}
GUESTS = {
    "vm": (proxmox_vm, {"vms": [SMALL]}, "/nodes/pve1/qemu"),
    "ct": (proxmox_lxc, {"containers": [CT]}, "/nodes/pve1/lxc"),
}


@pytest.fixture(params=GUESTS)
def guest(request: pytest.FixtureRequest, pve: PveLab) -> tuple[t.Any, dict[str, t.Any], str]:
    containers.put_template(pve)
    return t.cast("tuple[t.Any, dict[str, t.Any], str]", GUESTS[request.param])


def good(outcome: Outcome) -> Outcome:
    assert not outcome.result.get("failed"), outcome.result
    return outcome


def test_a_node_that_answers_after_more_than_five_seconds_is_slow_and_not_broken(
    pve: PveLab, guest: tuple[t.Any, dict[str, t.Any], str]
) -> None:
    """With no timeout given at all."""
    module, params, path = guest
    pve.fault("delay", verb="GET", path=path, seconds=5.5)
    pve.fault("delay", verb="POST", path=path, seconds=5.5)
    outcome = good(pve.run(module, **params))
    assert len(outcome.writes) == 1
    assert pve.run(module, **params).result["changes"] == []


def test_a_task_may_take_longer_than_an_answer(pve: PveLab, guest: tuple[t.Any, dict[str, t.Any], str]) -> None:
    """``api_timeout`` is about one answer, ``task_timeout`` about the work."""
    module, params, path = guest
    pve.fault("task-time", verb="POST", path=path, seconds=1.5)
    began = time.monotonic()
    good(pve.run(module, api_timeout=1, **params))
    assert time.monotonic() - began > 1.5


def test_an_answer_that_is_too_slow_names_the_option_that_waits_longer(
    pve: PveLab, guest: tuple[t.Any, dict[str, t.Any], str]
) -> None:
    module, params, _path = guest
    pve.fault("delay", verb="GET", seconds=2, times=0)
    outcome = pve.run(module, api_timeout=0.3, **params)
    assert "no answer within 0.3 s. api_timeout is the limit." in outcome.result["msg"]
    assert outcome.writes == []


def test_a_copy_has_its_cpus_its_card_and_its_cloud_init_after_one_task(pve: PveLab) -> None:
    made(pve, TEMPLATE)
    cloud_init = {"storage": "local", "ipconfig": ["ip=192.168.30.61/24,gw=192.168.30.1"], "user": "admin"}
    copy = {
        "vmid": 310,
        "name": "copy",
        "node": "pve1",
        "clone": {"name": "debian-13"},
        "cores": 2,
        "memory": 1024,
        "balloon": 512,
        "networks": [{"vlan": 30}],
        "cloud_init": cloud_init,
    }
    truthful(pve, copy)
    config = pve.config_of(310)
    assert (config["cores"], config["memory"], config["balloon"]) == (2, "1024", 512)
    assert config["net0"].endswith(",bridge=vmbr0,tag=30")
    assert (config["ciuser"], config["ipconfig0"]) == ("admin", "ip=192.168.30.61/24,gw=192.168.30.1")


def test_a_copy_is_changed_by_its_name_at_once(pve: PveLab) -> None:
    made(pve, TEMPLATE)
    copy = {"name": "copy", "node": "pve1", "state": "stopped", "clone": {"name": "debian-13"}}
    vmid = made(pve, copy).result["vms"][0]["vmid"]
    changed = truthful(pve, {"name": "copy", "node": "pve1", "state": "stopped", "memory": 1024})
    assert changed.result["vms"][0]["vmid"] == vmid
    assert pve.config_of(vmid)["memory"] == "1024"


def test_ssh_keys_are_no_change_on_the_next_run(pve: PveLab) -> None:
    keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6Yq0u2Tn0p9qM3m0o1m2Zp0oYvG2VnN0gk4yTt1oXk a+b@c d/e=%20"] * 2
    keys[1] = keys[1].replace("a+b", "ä b")
    truthful(pve, with_(cloud_init={"storage": "local", "ssh_keys": keys}))

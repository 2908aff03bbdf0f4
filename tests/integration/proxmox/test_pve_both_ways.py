# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the documentation run as they stand, in the controller and as modules of their own, with ``ansible-playbook``."""

from __future__ import annotations

import pytest
from playing import play, tasks_of, without_ways
from pve_lab import DISK, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_image, proxmox_vm


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run_and_are_idempotent(pve: PveLab, in_process: bool) -> None:
    pve.files["debian-13-amd64.qcow2"] = DISK
    pve.put_file("import", "talos.qcow2", DISK)
    pve.put_file("import", "debian-12-amd64.qcow2", DISK)
    tasks = tasks_of(pve, proxmox_image.EXAMPLES) + tasks_of(pve, proxmox_vm.EXAMPLES)
    results = play(pve, tasks, in_process=in_process)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert len(results) == len(tasks)
    assert all(result["changed"] for result in results)
    kept = [task for task in tasks if "Two empty" not in task["name"] and "A Talos node" not in task["name"]]
    again = play(pve, kept, in_process=in_process)
    assert [result["changes"] for result in again] == [[]] * len(kept)


def test_both_ways_give_the_same_result_and_the_same_error(pve: PveLab) -> None:
    vm = {"vmid": 200, "name": "a", "node": "pve1", "disks": [{"storage": "local", "size": "1G"}], "networks": [{}]}
    tasks = [
        {"groundwork.homelab.proxmox_vm": {"vms": [vm]}},
        {
            "groundwork.homelab.proxmox_vm": {"vms": [{**vm, "node": "pve9", "vmid": 201, "name": "b"}]},
            "ignore_errors": True,
        },
        {"groundwork.homelab.proxmox_vm": {"vms": [{**vm, "cores": "many"}]}, "ignore_errors": True},
        {
            "groundwork.homelab.proxmox_image": {
                "images": [{"node": "pve1", "storage": "local", "url": f"{pve.web}/talos.qcow2"}]
            }
        },
    ]
    here = play(pve, tasks, "--check", "--diff", in_process=True)
    there = play(pve, tasks, "--check", "--diff", in_process=False)
    assert [without_ways(result) for result in here] == [without_ways(result) for result in there]
    assert here[0]["changes"] and here[0]["diff"]
    assert "does not exist" in here[1]["msg"]

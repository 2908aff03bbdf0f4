# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the documentation run as they stand, in the controller and as modules of their own, with ``ansible-playbook``."""

from __future__ import annotations

import pathlib

import pytest
from playing import play, tasks_of, without_ways
from pve_lab import DISK, PATHS, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_vm


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run_and_are_idempotent(tmp_path: pathlib.Path, in_process: bool) -> None:
    with PveLab(tmp_path, also={"AnsibleGuests": [*PATHS, "/mapping"]}) as lab:
        _examples(lab, in_process)


def _examples(pve: PveLab, in_process: bool) -> None:
    with pve.session() as session:
        gpu = {"id": "gpu", "map": "node=pve1,path=0000:01:00.0,id=10de:1b80"}
        session.post("/cluster/mapping/pci", gpu, asked="map")
    pve.put_file("iso", "debian-13.iso", b"\0" * 40000)
    pve.put_file("import", "talos.qcow2", DISK)
    tasks = tasks_of(pve, proxmox_vm.EXAMPLES)
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

# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that become templates or go as such; and VMs without numbers whose answers are lost."""

from __future__ import annotations

import pathlib

import pytest
from pve_lab import PveLab
from test_pve_vm import made, truthful, vms
from test_pve_vm_parts import TEMPLATE, clone, small

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from simlab.proxmox.config import StorageConfig


def test_a_template_goes_after_its_linked_copies(pve: PveLab) -> None:
    made(pve, TEMPLATE)
    made(pve, clone(310, state="stopped"), clone(311, state="stopped"))
    gone = [{"vmid": 9000, "state": "absent"}, {"vmid": 310, "state": "absent"}]
    for check in (True, False):
        outcome = vms(pve, *gone, check=check)
        assert "VM 9000 is a template that is still needed: VM 311 is linked to it. Delete" in outcome.result["msg"]
        assert outcome.writes == []
    outcome = truthful(pve, *gone, {"vmid": 311, "state": "absent"})
    assert outcome.writes[-1] == "DELETE /nodes/pve1/qemu/9000"
    assert pve.vmids() == []


def test_a_template_on_lvm_thin_may_go_before_its_linked_copies(tmp_path: pathlib.Path) -> None:
    """They share blocks with it and do not need it, and so the server deletes it (LvmThinPlugin.pm says so at its top)."""
    thin = StorageConfig("thin", "lvmthin", ("images",), options={"vgname": "pve", "thinpool": "data"})
    with PveLab(tmp_path, storages=[thin]) as lab:
        lab.needs_storage("thin")
        made(lab, {**TEMPLATE, "disks": [{"storage": "thin", "import_from": "local:import/there.qcow2"}]})
        made(lab, clone(310, state="stopped"), clone(311, state="stopped"))
        disk = str(lab.config_of(310)["scsi0"]).partition(",")[0]
        assert "/" not in disk, "its name tells no base"
        outcome = truthful(lab, {"vmid": 9000, "state": "absent"})
        assert (outcome.actions, outcome.writes) == (["vm/9000 delete"], ["DELETE /nodes/pve1/qemu/9000"])
        assert lab.vmids() == [310, 311]
        assert str(lab.config_of(310)["scsi0"]).partition(",")[0] == disk
        truthful(lab, {"vmid": 310, "state": "absent"}, {"vmid": 311, "state": "absent"})
        assert lab.vmids() == []


def test_a_vm_with_snapshots_becomes_no_template(pve: PveLab) -> None:
    made(pve, small(disks=[{"storage": "local", "size": "1G", "format": "qcow2"}]))
    with pve.session() as session:
        Tasks(session, print).do(
            lambda: session.post("/nodes/pve1/qemu/300/snapshot", {"snapname": "before"}, asked="take it"),
            asked="take it",
        )
    for check in (True, False):
        outcome = vms(pve, small(disks=None, template=True), check=check)
        assert "VM 300 (small) is to be a template, but has the snapshots before. Delete them" in outcome.result["msg"]
        assert outcome.writes == []


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_a_vm_without_number_is_made_once_when_the_answer_is_lost(pve: PveLab, fault: str) -> None:
    """While it is made it has no name to be found by."""
    hit = pve.fault(fault, verb="POST", path="/nodes/pve1/qemu")
    pve.fault("task-time", verb="POST", path="/nodes/pve1/qemu", times=0, seconds=0.5)
    wish = {key: value for key, value in small(name="auto").items() if key != "vmid"}
    outcome = made(pve, wish)
    assert hit.hit
    assert outcome.actions == [f"vm/{pve.vmids()[0]} create"] and len(pve.vmids()) == 1
    pve.faults.clear()
    assert made(pve, wish).changes == []

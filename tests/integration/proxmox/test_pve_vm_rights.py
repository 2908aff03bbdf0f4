# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights on what the disks of a VM are made from: named where Proxmox VE asks for them, and only there."""

from __future__ import annotations

import pathlib

import pytest
from pve_lab import ROLE, PveLab
from test_pve_vm import made, truthful, vms
from test_pve_vm_parts import _module, _of_root, small

from simlab.proxmox.config import StorageConfig


def test_a_cloud_init_drive_needs_no_right_on_its_storage(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != "Datastore.AllocateSpace"]) as lab:
        truthful(lab, {"vmid": 242, "name": "seed", "node": "pve1", "cloud_init": {"storage": "local"}})
        assert "cloudinit" in lab.config_of(242)["ide2"]
        outcome = vms(lab, {"vmid": 243, "name": "disk", "node": "pve1", "disks": [{"storage": "local", "size": "1G"}]})
        assert "Datastore.AllocateSpace on /storage/local (make scsi0 of VM 243)" in outcome.result["msg"]


@pytest.mark.sends_bad_requests("the image may not be looked at: that is what the plan names")
def test_a_right_on_the_source_of_a_disk_is_named_beforehand(tmp_path: pathlib.Path) -> None:
    """The storage that an image lies on, and not only the one that the disk is made on."""
    closed = {"AnsibleAccess": ("/storage/images",)}  # nothing of AnsibleGuests is left there
    wish = {"vmid": 244, "name": "copy", "node": "pve1"}
    disks = [{"storage": "local", "import_from": "images:import/there.qcow2"}]
    with PveLab(tmp_path, storages=[StorageConfig("images", content=("import",))], also=closed) as lab:
        for check in (True, False):
            outcome = vms(lab, {**wish, "disks": disks}, check=check)
            assert "Datastore.AllocateSpace or Datastore.Audit or Datastore.Allocate on /storage/images" in str(
                outcome.result["msg"]
            )
            assert outcome.writes == []


def test_a_disk_made_from_that_of_another_vm_needs_the_right_to_clone_it(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != "VM.Clone"]) as lab:
        made(lab, small())
        source = lab.config_of(300)["scsi0"].partition(",")[0]
        wish = {"vmid": 244, "name": "copy", "node": "pve1", "disks": [{"storage": "local", "import_from": source}]}
        for check in (True, False):
            outcome = vms(lab, wish, check=check)
            assert f"VM.Clone on /vms/300 (make scsi0 of VM 244 from {source})" in outcome.result["msg"]
            assert outcome.writes == []
        assert not lab.run(_module(), as_root=True, vms=[_of_root(wish)]).result.get("failed")

# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights on what the disks of a VM are made from: named where Proxmox VE asks for them, and only there."""

from __future__ import annotations

import io
import pathlib
import tarfile
import typing as t

import pytest
from pve_lab import DISK, ROLE, PveLab
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


# -- archives -------------------------------------------------------------------------------------------------------------

SOURCE = "{}:import/appliance.ova/disk-1.qcow2"


def put_archive(lab: PveLab, storage: str = "local") -> None:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, data in (("appliance.ovf", b"<Envelope/>"), ("disk-1.qcow2", DISK)):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        folder = lab.config.root / "pve1" / storage / "import"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "appliance.ova").write_bytes(file.getvalue())


def unpacked(storage: str = "local", **more: t.Any) -> dict[str, t.Any]:
    disks = [{"storage": "local", "import_from": SOURCE.format(storage), **more}]
    return {"vmid": 245, "name": "appliance", "node": "pve1", "state": "stopped", "disks": disks}


def test_a_disk_is_made_from_one_in_an_archive(pve: PveLab) -> None:
    """The server tells nothing of what is in an archive: only the archive itself is looked for."""
    missing = vms(pve, unpacked())
    assert (
        "is to be made from local:import/appliance.ova/disk-1.qcow2, which is not on node pve1" in missing.result["msg"]
    )
    assert made(pve, unpacked(), check=True, planned_images=["local:import/appliance.ova"]).actions == ["vm/245 create"]
    put_archive(pve)
    truthful(pve, unpacked(size="8G"))
    assert pve.config_of(245)["scsi0"].endswith("size=8G")


def test_who_unpacks_an_archive_needs_space_on_its_storage(tmp_path: pathlib.Path) -> None:
    closed = {"AnsibleAccess": ("/storage/images",)}  # nothing of AnsibleGuests is left there
    with PveLab(tmp_path, storages=[StorageConfig("images", content=("import", "images"))], also=closed) as lab:
        put_archive(lab, "images")
        with lab.session() as session:
            session.post("/access/roles", {"roleid": "Looks", "privs": "Datastore.Audit"}, asked="make a role")
            for who in ({"users": "ansible@pve"}, {"tokens": "ansible@pve!groundwork"}):
                form = {"path": "/storage/images", "roles": "Looks", **who}
                session.put("/access/acl", form, asked="give it")
        for check in (True, False):
            outcome = vms(lab, unpacked("images"), check=check)
            assert (
                f"Datastore.AllocateSpace on /storage/images (make scsi0 of VM 245 from {SOURCE.format('images')})"
                in str(outcome.result["msg"])
            )
            assert outcome.writes == []


def test_a_storage_that_takes_no_disks_unpacks_no_archive(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, storages=[StorageConfig("images", content=("import",))]) as lab:
        put_archive(lab, "images")
        for check in (True, False):
            outcome = vms(lab, unpacked("images"), check=check)
            assert (
                "but the storage 'images', on which the archive would be unpacked, takes no disks of VMs, only import"
                in str(outcome.result["msg"])
            )
            assert outcome.writes == []

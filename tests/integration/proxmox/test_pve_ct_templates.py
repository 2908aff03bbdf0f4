# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that become templates, and what is cloned from them."""

from __future__ import annotations

import pathlib
import typing as t

import pve_containers as containers
import pytest
from pve_containers import change, config_of, cts, made, status_of, truthful, vmids, with_
from pve_lab import ROLE, PveLab

from simlab.proxmox.config import StorageConfig


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    return pve


def base(**more: t.Any) -> dict[str, t.Any]:
    return with_(vmid=900, hostname="golden", state="stopped", **more)


def clone(**more: t.Any) -> dict[str, t.Any]:
    return {"vmid": 311, "hostname": "copy", "node": "pve1", "clone": {"vmid": 900}, **more}


def snapshot(lab: PveLab, name: str, vmid: int = 900) -> None:
    with lab.session() as session:
        session.post(f"/nodes/pve1/lxc/{vmid}/snapshot", {"snapname": name}, asked="make a snapshot")


def test_a_new_container_becomes_a_template_when_its_task_has_ended(lab: PveLab) -> None:
    """The server's answer is empty: the task that does it is looked for, and waited for."""
    lab.fault("task-time", verb="POST", path="/nodes/pve1/lxc/900/template", times=0, seconds=0.5)
    outcome = truthful(lab, base(template=True))
    assert outcome.actions == ["ct/900 create"]
    assert outcome.changes[0]["after"]["template"] == 1
    assert outcome.result["containers"][0]["template"] is True
    config = config_of(lab, 900)
    assert config["template"] == 1
    assert config["rootfs"].startswith("local:900/base-900-disk-0.raw,")


def test_a_running_container_is_shut_down_for_it(lab: PveLab) -> None:
    made(lab, base() | {"state": "started"})
    outcome = truthful(lab, {"vmid": 900, "hostname": "golden", "node": "pve1", "state": "present", "template": True})
    assert outcome.actions == ["ct/900 stop", "ct/900 update"]
    assert (outcome.changes[1]["before"], outcome.changes[1]["after"]) == ({"template": 0}, {"template": 1})
    assert outcome.result["containers"][0]["status"] == status_of(lab, 900) == "stopped"


def test_what_else_differs_is_changed_first_and_a_protected_one_becomes_a_template_too(lab: PveLab) -> None:
    made(lab, base(protection=True))
    outcome = truthful(lab, base(template=True, memory=1024, rootfs={"storage": "local", "size": "3G"}))
    assert outcome.actions == ["ct/900 update"]
    config = config_of(lab, 900)
    assert config["rootfs"].startswith("local:900/base-") and config["rootfs"].endswith("size=3G")
    assert truthful(lab, base(template=True, memory=1024, rootfs=None, description="the base")).actions == [
        "ct/900 update"
    ]
    refused = cts(lab, {"vmid": 900, "state": "absent"})
    assert refused.result["msg"].startswith("CT 900 (golden) is protected against removal.")


def test_a_template_stays_one_and_its_volumes_stay_as_they_are(lab: PveLab) -> None:
    made(lab, base(template=True))
    for wish in (base(), base(template=False), {**base(), "state": "started"}):
        outcome = cts(lab, wish)
        assert outcome.result["msg"] == (
            "CT 900 (golden) is a template, which cannot be changed into a container. "
            "Choose another vmid, or set template to true."
        )
        assert outcome.writes == []
    more = [*containers.CT["mounts"], {"mp": "/more", "storage": "local", "size": "1G"}]
    for wish, named in (
        (base(template=True, rootfs={"storage": "local", "size": "9G"}), "rootfs"),
        (base(template=True, mounts=more), "mp1"),
        (base(template=True, mounts=[{"slot": "mp0", "state": "absent"}]), "mp0"),
    ):
        outcome = cts(lab, wish)
        assert f"CT 900 (golden) is a template: its volumes ({named}) cannot be changed." in outcome.result["msg"]
        assert outcome.writes == []


def test_what_cannot_become_a_template_is_said_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    storages = [
        StorageConfig("thick", type="lvm", content=("rootdir",)),
        StorageConfig("thin", type="lvmthin", content=("rootdir",)),
    ]
    with PveLab(tmp_path, storages=storages) as lab:
        containers.put_template(lab)
        made(lab, base(rootfs={"storage": "thin", "size": "1G"}, mounts=None))
        snapshot(lab, "before")
        snapshot(lab, "later")
        bind = {"mp": "/srv", "source": "/srv"}
        for wish, why in (
            (base(rootfs=None, mounts=None, template=True), "but has the snapshots before, later. Delete them first"),
            (with_(vmid=901, hostname="bind", state="stopped", template=True, mounts=[bind]), "its mp0 is /srv, which is no volume of a storage. Take mp0 away"),
            (with_(vmid=901, hostname="thick", state="stopped", template=True, rootfs={"storage": "thick", "size": "1G"}),
             "on a storage of type lvm, which cannot keep volumes of templates"),
        ):  # fmt: skip
            for check in (True, False):
                outcome = cts(lab, wish, check=check, as_root=True)
                assert "is to be a template, but" in outcome.result["msg"] and why in outcome.result["msg"]
                assert outcome.writes == []


def test_the_server_refuses_what_was_refused_beforehand(lab: PveLab) -> None:
    """So that nothing is refused that could be done."""
    made(lab, with_(containers.ROOTS, vmid=900, state="stopped", devices=None), as_root=True)
    lab.needs_least_rights()
    with lab.session() as session:
        assert session.post("/nodes/pve1/lxc/900/template", {}, asked="make a template") is None
        upid = session.get("/nodes/pve1/tasks", {"typefilter": "vztemplate", "source": "all"})[0]["upid"]
        while (status := session.get(f"/nodes/pve1/tasks/{upid}/status"))["status"] == "running":
            pass
    assert status["exitstatus"] == "Template feature is not available for '/srv'"


def test_a_task_that_fails_is_told(lab: PveLab) -> None:
    made(lab, base())
    lab.fault("task-error", verb="POST", path="/nodes/pve1/lxc/900/template", text="rename failed")
    outcome = cts(lab, base(template=True))
    assert "Could not make CT 900 (golden) a template" in outcome.result["msg"]
    assert "rename failed" in outcome.result["msg"]
    lab.faults.clear()
    assert made(lab, base(template=True)).actions == ["ct/900 update"]


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_a_lost_answer_is_looked_after(lab: PveLab, fault: str) -> None:
    made(lab, base())
    hit = lab.fault(fault, verb="POST", path="/nodes/pve1/lxc/900/template")
    lab.fault("task-time", verb="POST", path="/nodes/pve1/lxc/900/template", times=0, seconds=0.4)
    outcome = made(lab, base(template=True))
    assert hit.hit
    assert outcome.actions == ["ct/900 update"]
    assert config_of(lab, 900)["template"] == 1
    assert made(lab, base(template=True)).changes == []


def test_the_right_to_it_is_named_beforehand(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != "VM.Allocate"]) as lab:
        containers.put_template(lab)
        made(lab, base(), as_root=True)
        outcome = cts(lab, base(template=True))
        assert "VM.Allocate on /vms/900 (make CT 900 (golden) a template)" in outcome.result["msg"]
        assert outcome.writes == []


def test_a_clone_of_a_template_is_a_template_as_well_if_that_is_wanted(lab: PveLab) -> None:
    made(lab, base(template=True))
    wish = clone(state="stopped", template=True, memory=1024, clone={"vmid": 900, "full": True})
    outcome = truthful(lab, wish)
    assert outcome.actions == ["ct/311 create"]
    assert config_of(lab, 311)["template"] == 1
    assert truthful(lab, {"vmid": 900, "state": "absent"}).actions == ["ct/900 delete"]


def test_files_have_no_linked_clones(lab: PveLab) -> None:
    made(lab, base(template=True))
    for source in ({"vmid": 900}, {"vmid": 900, "full": False}):
        outcome = cts(lab, clone(clone=source))
        assert (
            "CT 311 (copy) is to be a linked clone of CT 900, whose mp0 lies on the storage 'local' of type dir, which makes "
            "no linked clones of containers. Set clone.full to true" in outcome.result["msg"]
        )
        assert outcome.writes == []
    assert vmids(lab) == [900]


@pytest.mark.parametrize("kind", ["lvmthin", "zfspool"])
def test_linked_clones_lie_where_their_template_lies(tmp_path: pathlib.Path, kind: str) -> None:
    with PveLab(tmp_path, storages=[StorageConfig("thin", type=kind, content=("rootdir",))]) as lab:
        containers.put_template(lab)
        made(lab, base(template=True, rootfs={"storage": "thin", "size": "1G"}, mounts=None))
        outcome = truthful(lab, clone(), clone(vmid=312, hostname="more"))
        assert outcome.changes[0]["after"]["clone"] == "900 (linked)"
        volume = config_of(lab, 311)["rootfs"].partition(",")[0]
        assert volume == {"lvmthin": "thin:vm-311-disk-0", "zfspool": "thin:basevol-900-disk-0/subvol-311-disk-0"}[kind]


@pytest.mark.parametrize("kind", ["lvmthin", "zfspool"])
def test_a_template_goes_after_its_linked_clones_where_they_need_it(tmp_path: pathlib.Path, kind: str) -> None:
    with PveLab(tmp_path, storages=[StorageConfig("thin", type=kind, content=("rootdir",))]) as lab:
        containers.put_template(lab)
        made(lab, base(template=True, rootfs={"storage": "thin", "size": "1G"}, mounts=None))
        made(lab, clone(state="stopped"), clone(vmid=312, hostname="more", state="stopped"))
        gone = [{"vmid": 900, "state": "absent"}, {"vmid": 311, "state": "absent"}]
        if kind == "lvmthin":  # the copies do not need it, and the server deletes it
            outcome = truthful(lab, gone[0])
            assert outcome.writes == ["DELETE /nodes/pve1/lxc/900"]
            assert vmids(lab) == [311, 312]
            return
        for check in (True, False):
            outcome = cts(lab, *gone, check=check)
            assert outcome.result["msg"] == (
                "CT 900 is a template that is still needed: CT 312 is linked to it. "
                "Delete these first, or with it in one task."
            )
            assert outcome.writes == []
        together = [*gone, {"vmid": 312, "state": "absent"}]
        outcome = truthful(lab, *together)
        assert outcome.writes[-1] == "DELETE /nodes/pve1/lxc/900"
        assert vmids(lab) == []


def test_a_full_clone_on_another_storage_may_grow_there(tmp_path: pathlib.Path) -> None:
    """The plan knows the storage that the copies come to, and not only that of the source."""
    with PveLab(tmp_path, storages=[StorageConfig("other", content=("rootdir",))]) as lab:
        containers.put_template(lab)
        made(lab, base(mounts=None))
        wish = clone(clone={"vmid": 900, "storage": "other"}, rootfs={"storage": "other", "size": "4G"})
        truthful(lab, wish)
        assert config_of(lab, 311)["rootfs"].startswith("other:311/")


def test_a_container_with_mounted_directories_cannot_be_cloned_by_anybody(lab: PveLab) -> None:
    source = with_(containers.ROOTS, vmid=900, hostname="golden", state="stopped", devices=None, features=None)
    made(lab, source, as_root=True)
    for check in (True, False):
        outcome = cts(lab, clone(), check=check, as_root=True)
        assert (
            "CT 311 (copy) is to be a clone of CT 900, but it has directories or devices of the node mounted: mp0 (/srv). "
            "Proxmox VE clones volumes only" in outcome.result["msg"]
        )
        assert outcome.writes == []
    change(lab, 900, delete="mp0")
    assert made(lab, clone()).actions == ["ct/311 create", "ct/311 start"]

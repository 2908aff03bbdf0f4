# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_backup``: containers are restored to where they were, and what cannot be restored is said before any is stopped."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from pve_backups import guests, made, prepared
from pve_lab import Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_backup

TEMPLATE = "local:vztmpl/debian-13.tar.zst"


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with prepared(tmp_path) as lab:
        lab.needs_storage("nas")
        guests(lab)
        yield lab


def container(lab: PveLab, vmid: int = 320, **more: t.Any) -> None:
    """With a backup; it runs."""
    form = {"vmid": vmid, "ostemplate": TEMPLATE, "rootfs": "thin:1", "hostname": "db", **more}
    made(lab, "/nodes/pve1/lxc", **form)
    made(lab, f"/nodes/pve1/lxc/{vmid}/status/start")
    outcome = lab.run(proxmox_backup, vmids=[vmid], storage="nas")
    assert not outcome.result.get("failed"), outcome.result


def restore(lab: PveLab, *, check: bool = False, vmid: int = 320, **more: t.Any) -> Outcome:
    wish = {"vmid": vmid, "source_vmid": 320, "force": True, **more}
    return lab.run(proxmox_backup, check=check, state="restored", storage="nas", restores=[wish])


def truthful(lab: PveLab, **more: t.Any) -> Outcome:
    predicted, outcome = restore(lab, check=True, **more), restore(lab, **more)
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.changes == predicted.changes
    return outcome


def config(lab: PveLab, vmid: int = 320) -> dict[str, t.Any]:
    with lab.session() as session:
        return dict(session.get(f"/nodes/pve1/lxc/{vmid}/config"))


def refused(lab: PveLab, outcome: Outcome) -> str:
    with lab.session() as session:
        assert session.get("/nodes/pve1/lxc/320/status/current")["status"] == "running"
    assert outcome.result["failed"] and outcome.writes == []
    return str(outcome.result["msg"])


def content(lab: PveLab, storage: str, kinds: str) -> None:
    with lab.session() as session:
        session.put(f"/storage/{storage}", {"content": kinds}, asked="prepare a test")


def test_a_container_comes_back_to_the_storage_that_it_was_on(lab: PveLab) -> None:
    """Left to itself the server takes ``local``, which on most nodes holds no containers at all."""
    container(lab, mp0="thin:2,mp=/data,backup=1", mp1="thin:1,mp=/cache")
    content(lab, "local", "iso,vztmpl")
    assert truthful(lab).changes[0]["after"]["storage"] == "thin"
    truthful(lab, vmid=321)
    for vmid in (320, 321):
        found = {key: value for key, value in config(lab, vmid).items() if key in ("rootfs", "mp0", "mp1")}
        assert {key: value.partition(":")[0] for key, value in found.items()} == dict.fromkeys(found, "thin")
        assert found.keys() == {"rootfs", "mp0", "mp1"}


def test_volumes_come_back_each_to_its_storage(lab: PveLab) -> None:
    container(lab, mp0="local:2,mp=/data,backup=1,mountoptions=noatime;nodev,acl=1")
    assert truthful(lab).changes[0]["after"]["storage"] == "local, thin"
    assert config(lab)["rootfs"].startswith("thin:") and config(lab)["rootfs"].endswith(",size=1G")
    volume, _, rest = config(lab)["mp0"].partition(",")
    assert volume.startswith("local:320/")
    assert rest == "mp=/data,acl=1,backup=1,mountoptions=noatime;nodev,size=2G"


def test_a_storage_that_is_named_takes_all(lab: PveLab) -> None:
    container(lab, mp0="local:1,mp=/data,backup=1")
    truthful(lab, target_storage="local")
    assert config(lab)["rootfs"].startswith("local:") and config(lab)["mp0"].startswith("local:")


def test_a_storage_that_takes_no_containers_any_more_is_told_before_the_container_is_stopped(lab: PveLab) -> None:
    container(lab)
    content(lab, "thin", "images")
    text = "CT 320 cannot be restored to the storage 'thin' of node pve1, which takes no containers"
    assert text in refused(lab, restore(lab))
    content(lab, "local", "iso,vztmpl")
    text = "CT 320 cannot be restored to the storage 'local' of node pve1, which takes no containers"
    assert text in refused(lab, restore(lab, target_storage="local"))


def test_a_storage_that_is_gone_is_told_before_the_container_is_stopped(lab: PveLab) -> None:
    container(lab)
    with lab.session() as session:
        session.delete("/storage/thin", asked="prepare a test")
    text = "Node pve1, where guest 320 is restored, has no storage 'thin' that is available"
    assert text in refused(lab, restore(lab))


def test_bind_mounts_are_restored_by_root_alone(lab: PveLab) -> None:
    container(lab, mp0="/srv,mp=/media")
    answer = refused(lab, restore(lab))
    assert "only root@pam may do this, logged in with a password" in answer
    assert "restore mp0 (bind mount of /srv) of CT 320" in answer


def test_a_privileged_container_needs_the_right_to_make_one(lab: PveLab) -> None:
    container(lab, unprivileged=0)
    assert "Sys.Modify on /" in refused(lab, restore(lab, vmid=321))
    assert not restore(lab).result.get("failed"), "over a container that is privileged already"

# SPDX-License-Identifier: GPL-3.0-or-later
"""A played Proxmox VE with guests and a storage for their backups."""

from __future__ import annotations

import pathlib
import re
import time
import typing as t

from pve_lab import PveLab

from simlab.proxmox.config import StorageConfig


def made(lab: PveLab, path: str, **form: t.Any) -> None:
    lab.do(path, **form)


def settled(lab: PveLab, *vmids: int) -> None:
    """Wait for the status daemon: it tells the names of new guests, and whether they run, up to ten seconds late."""
    with lab.session() as session:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            rows = session.get("/cluster/resources", {"type": "vm"})
            waiting = [one for one in rows if one["vmid"] in vmids and one.get("status") in (None, "unknown")]
            waiting += [one for one in rows if one["vmid"] in vmids and not one.get("name")]
            if not waiting:
                return
            time.sleep(0.05)
    raise AssertionError(f"the list of the cluster does not know all of {vmids}")


def prepared(root: pathlib.Path, **more: t.Any) -> PveLab:
    nas = StorageConfig("nas", content=("backup",), path="/mnt/nas", shared=True)
    thin = StorageConfig("thin", "lvmthin", ("images", "rootdir"), options={"vgname": "pve", "thinpool": "data"})
    return PveLab(root, storages=[nas, thin], **more)


def guests(lab: PveLab) -> None:
    """VMs 200 (of the pool ``lab``, runs) and 201, container 310."""
    with lab.session() as session:
        session.post("/pools", {"poolid": "lab"}, asked="prepare a test")
    made(lab, "/nodes/pve1/qemu", vmid=200, name="cp", memory=256, scsi0="local:1,format=qcow2", pool="lab")
    made(lab, "/nodes/pve1/qemu", vmid=201, name="worker", memory=256, net0="virtio,bridge=vmbr0")
    made(lab, "/nodes/pve1/qemu/200/status/start")
    lab.put_file("vztmpl", "debian-13.tar.zst", b"0" * 100)
    form = {"ostemplate": "local:vztmpl/debian-13.tar.zst", "rootfs": "local:1", "hostname": "dns"}
    made(lab, "/nodes/pve1/lxc", vmid=310, **form)
    settled(lab, 200, 201, 310)
    _running(lab, 200)


def _running(lab: PveLab, vmid: int) -> None:
    """As the list of the cluster tells it."""
    with lab.session() as session:
        for _look in range(600):
            rows = session.get("/cluster/resources", {"type": "vm"})
            if any(one["vmid"] == vmid and one.get("status") == "running" for one in rows):
                return
            time.sleep(0.05)
    raise AssertionError(f"the list of the cluster does not know that {vmid} runs")


def dumps(lab: PveLab) -> pathlib.Path:
    """Where the files of the storage ``nas`` lie."""
    store = lab.server.cluster.storages.get("pve1", "nas")
    folder = store.file("backup/vzdump-qemu-1-2020_01_01-00_00_00.vma").parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def aged(lab: PveLab, vmid: int, *ages: float, kind: str = "qemu", size: int = 100, **more: t.Any) -> list[str]:
    """Backups of so many seconds ago; their volume ids."""
    import os

    made_: list[str] = []
    for age in ages:
        moment = time.time() - age
        stamp = time.strftime("%Y_%m_%d-%H_%M_%S", time.localtime(moment))
        name = f"vzdump-{kind}-{vmid}-{stamp}.{'vma' if kind == 'qemu' else 'tar'}.zst"
        path = dumps(lab) / name
        path.write_bytes(b"0" * size)
        os.utime(path, (moment, moment))
        entry = {"subtype": kind, "vmid": vmid, **more}
        lab.server.cluster.extra("backups", dict)[f"nas:backup/{name}"] = entry
        made_.append(f"nas:backup/{name}")
    return made_


def backups(lab: PveLab, vmid: int | None = None) -> list[str]:
    with lab.session() as session:
        found = session.get("/nodes/pve1/storage/nas/content")
    pattern = re.compile(rf"-{vmid}-") if vmid else re.compile("")
    return sorted(one["volid"] for one in found if pattern.search(one["volid"]))

# SPDX-License-Identifier: GPL-3.0-or-later
"""What backup jobs take and leave, and reads of a network that nobody has defined."""

from __future__ import annotations

import pathlib

import asked
import pytest
from flows import TEMPLATE, Step, walk

VM = {"memory": 64, "scsi0": "local:1", "scsi1": "local:1,backup=0", "ide2": "none,media=cdrom"}
JOB = {"schedule": "daily", "storage": "local", "enabled": 0}
CT = {"ostemplate": TEMPLATE, "rootfs": "local:1", "mp0": "local:1,mp=/a,backup=1", "mp1": "local:1,mp=/b"}
VOLUMES_OF_VM = [
    {"id": "830:scsi0", "name": "local:830/vm-830-disk-0.raw", "included": 1, "reason": "backup=yes", "leaf": 1},
    {"id": "830:scsi1", "name": "local:830/vm-830-disk-1.raw", "included": 0, "reason": "backup=no", "leaf": 1},
]
VOLUMES_OF_CT = [
    {"id": "831:rootfs", "name": "local:831/vm-831-disk-0.raw", "included": 1, "reason": "rootfs", "leaf": 1},
    {"id": "831:mp0", "name": "local:831/vm-831-disk-1.raw", "included": 1, "reason": "enabled", "leaf": 1},
    {"id": "831:mp1", "name": "local:831/vm-831-disk-2.raw", "included": 0, "reason": "disabled", "leaf": 1},
]
OF_VM = {"id": 830, "type": "qemu", "name": "web", "leaf": 0, "children": VOLUMES_OF_VM}
OF_CT = {"id": 831, "type": "lxc", "name": "CT831", "leaf": 0, "children": VOLUMES_OF_CT}
LEFT = "GET /cluster/backup-info/not-backed-up"

FLOWS: dict[str, list[Step]] = {
    "the volumes of a job, also of one that is switched off": [
        Step("POST /pools", {"poolid": "lab"}),
        Step("POST qemu", {"vmid": 830, "name": "web", "pool": "lab", **VM}, "task OK"),
        Step("POST lxc", {"vmid": 831, **CT}, "task OK"),
        Step("POST qemu", {"vmid": 832, "memory": 64}, "task OK"),
        Step(LEFT, answer=[
            {"vmid": 830, "type": "qemu", "name": "web"},
            {"vmid": 831, "type": "lxc", "name": "CT831"},
            {"vmid": 832, "type": "qemu", "name": None},
        ]),
        Step("POST /cluster/backup", {"id": "one", "vmid": "830,839", **JOB}),
        Step("GET /cluster/backup/one/included_volumes", answer={
            "children": [OF_VM, {"id": 839, "type": "unknown", "leaf": 1}]
        }),
        Step("POST /cluster/backup", {"id": "rest", "all": 1, "exclude": "830", **JOB}),
        Step("GET /cluster/backup/rest/included_volumes", answer={
            "children": [OF_CT, {"id": 832, "type": "qemu", "name": None, "leaf": 1, "children": []}]
        }),
        Step(LEFT, answer=[]),
        Step("DELETE /cluster/backup/one"),
        Step(LEFT, answer=[{"vmid": 830}]),
        Step("POST /cluster/backup", {"id": "pool", "pool": "lab", **JOB}),
        Step("GET /cluster/backup/pool/included_volumes", answer={"children": [OF_VM]}),
        Step(LEFT, answer=[]),
    ],
    "a job of another node covers nothing here": [
        Step("POST qemu", {"vmid": 830, "name": "web", **VM}, "task OK"),
        Step("POST /cluster/backup", {"id": "far", "all": 1, "node": "pve2", **JOB}),
        Step("GET /cluster/backup/far/included_volumes", answer={"children": []}),
        Step(LEFT, answer=[{"vmid": 830}]),
    ],
    "a network that nobody has defined": [
        Step("GET sdn/zones", answer=[]),
        Step("GET /cluster/sdn/vnets", answer=[]),
        Step("GET /cluster/sdn/controllers", answer=[]),
        Step("GET /cluster/sdn/dns", answer=[]),
        Step("GET /cluster/sdn/ipams", answer=[{"ipam": "pve", "type": "pve"}]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_reads(tmp_path: pathlib.Path, flow: str) -> None:
    walk(tmp_path, FLOWS[flow])


def test_a_containers_archive_is_no_vms(asked_server: asked.Asked) -> None:
    asked_server.walk([
        ("POST", "/lxc", {"vmid": 833, **CT}, "task OK"),
        ("POST", "/vzdump", {"vmid": 833, "storage": "local", "mode": "stop", "compress": "gzip"}, "task OK"),
    ])  # fmt: skip
    (entry,) = asked_server.data("GET", "/storage/local/content", content="backup", vmid=833)
    name = entry["volid"].rpartition("/")[2]
    text = f"ERROR: file '/var/lib/vz/dump/{name}' does not look like a QemuServer vzdump backup"
    asked_server.walk([
        ("POST", "/qemu", {"vmid": 834, "archive": entry["volid"]}, f"task {text}"),
        ("GET", "/qemu/834/config", {}, {"name": None, "lock": None}),  # the empty one stays
        ("POST", "/qemu", {"vmid": 834, "archive": entry["volid"], "force": 1, "name": "a"},
         "task cannot pass along options (name) when restoring from tar archive"),
        ("DELETE", "/qemu/834", {}, "task OK"),
        ("DELETE", "/lxc/833", {}, "task OK"),
    ])  # fmt: skip

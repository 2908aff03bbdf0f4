# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated Proxmox answers to flows of storages, backups and tasks that are not in the recordings."""

from __future__ import annotations

import typing as t
import urllib.parse

import asked
import pytest
from test_vm_answers import gone, vm

NO_FILE = "Configuration file 'nodes/pve1/qemu-server/799.conf' does not exist"
NO_VM = "unable to find configuration file for VM 799 on node 'pve1'"
TEMPLATE = "local:vztmpl/mini_1.0_amd64.tar.gz"
URL = "http://127.0.0.1:9000"
OFF = "storage 'dir2' is disabled"


FLOWS: dict[str, list[asked.Step]] = {
    "a storage that is off": [
        vm(700, scsi0="local:1", scsi1="dir2:1"),
        ("PUT", "//storage/dir2", {"disable": 1}, "ok"),
        ("GET", "/storage/dir2/status", {}, {"active": 0, "enabled": 0, "total": 0, "used": 0, "avail": 0}),
        ("GET", "/storage/dir2/content", {}, f"500 {OFF}"),
        ("POST", "/storage/dir2/download-url", {"content": "iso", "filename": "a.iso", "url": f"{URL}/dl.iso"}, f"500 {OFF}"),
        ("POST", "/qemu", {"vmid": 701, "scsi0": "dir2:1"}, f"task unable to create VM 701 - {OFF}"),
        ("PUT", "/qemu/700/config", {"scsi2": "dir2:1"}, f"500 {OFF}"),
        ("POST", "/qemu/700/move_disk", {"disk": "scsi0", "storage": "dir2"}, f"500 {OFF}"),
        ("POST", "/qemu/700/clone", {"newid": 701, "storage": "dir2"}, f"500 {OFF}"),
        ("POST", "/qemu/700/status/start", {}, f"task {OFF}"),
        ("DELETE", "/storage/dir2/content/dir2:700%2Fvm-700-disk-0.raw", {}, f"task {OFF}"),
        ("PUT", "//storage/dir2", {"delete": "disable"}, "ok"),
        gone(700),
    ],
    "a storage that is somewhere else": [
        ("PUT", "//storage/dir2", {"nodes": "other"}, "ok"),
        ("GET", "/storage/dir2/status", {}, {"enabled": 0, "active": 0, "total": 0}),
        ("GET", "/storage", {"storage": "dir2", "content": "images"}, "storage: No such storage."),
        ("GET", "/storage", {"storage": "nope"}, "storage: No such storage."),
        ("POST", "/qemu", {"vmid": 701, "scsi0": "dir2:1"},
         "task unable to create VM 701 - storage 'dir2' is not available on node 'pve1'"),
        ("PUT", "//storage/dir2", {"delete": "nodes"}, "ok"),
    ],
    "a storage that is taken from under a VM": [
        ("POST", "//storage", {"storage": "lost", "type": "dir", "path": "/mnt/lost", "content": "images"}, "ok"),
        vm(706, scsi0="lost:1", scsi1="lost:1"),
        ("DELETE", "//storage/lost", {}, "ok"),
        ("GET", "/storage/lost/status", {}, "storage: No such storage."),
        ("POST", "/qemu/706/status/start", {}, "task storage 'lost' does not exist"),
        ("POST", "/qemu/706/clone", {"newid": 707}, "500 storage 'lost' does not exist"),
        ("PUT", "/qemu/706/config", {"delete": "scsi0"}, "ok"),
        ("GET", "/qemu/706/config", {}, {"scsi0": None, "unused0": None}),
        ("DELETE", "/qemu/706", {}, "task storage 'lost' does not exist"),
        ("PUT", "/qemu/706/config", {"delete": "scsi1"}, "ok"),
        gone(706),
    ],
    "downloads of what a storage does not take": [
        ("POST", "/storage/dir2/download-url", {"content": "iso", "filename": "a.iso", "url": f"{URL}/dl.iso"},
         "500 storage 'dir2' is not configured for content-type 'iso'"),
        ("POST", "/storage/local/download-url",
         {"content": "vztmpl", "filename": "t.tar.gz", "url": f"{URL}/t.tar.gz", "compression": "gz"},
         "task decompression not supported for vztmpl"),
    ],
    "disks made by hand": [
        ("POST", "/storage/isoonly/content", {"filename": "vm-702-disk-0.raw", "vmid": 702, "size": "1G"}, "ok"),
        ("DELETE", "/storage/isoonly/content/702%2Fvm-702-disk-0.raw", {"delay": 5}, "ok"),
        ("POST", "/storage/local/content", {"filename": "vm-702-disk-0", "vmid": 702, "size": "1G"},
         "500 unable to parse volume filename 'vm-702-disk-0'"),
        ("POST", "/storage/local/content", {"filename": "vm-702-disk-0.raw", "vmid": 702, "size": "1G", "format": "qcow2"},
         "format: different storage formats (qcow2 != raw)"),
        ("POST", "/storage/local/content", {"filename": "vm-702-disk-0.subvol", "vmid": 702, "size": "1G"},
         "500 illegal name 'vm-702-disk-0.subvol' - wrong extension for format ('subvol != 'raw')"),
    ],
    "attributes of what is no backup": [
        ("PUT", "/storage/local/content/iso%2Ftest.iso", {}, "ok"),
        ("PUT", "/storage/local/content/iso%2Ftest.iso", {"notes": "n"}, "500 only backups can have notes"),
        ("GET", "/vzdump/extractconfig", {"volume": "local:iso/test.iso"},
         "500 unable to use volume local:iso/test.iso - content type needs to be 'backup'"),
    ],
    "prunes that find nothing to do": [
        ("GET", "/storage/dir2/prunebackups", {}, "500 storage 'dir2' does not support backups"),
        ("DELETE", "/storage/dir2/prunebackups", {"prune-backups": "keep-last=1"},
         "task storage 'dir2' does not support backups"),
        ("DELETE", "/storage/nope/prunebackups", {"prune-backups": "keep-last=1"}, "task storage 'nope' does not exist"),
    ],
    "requests of vzdump that contradict themselves": [
        ("POST", "/vzdump", {"all": 1, "vmid": 100}, "all: option conflicts with option 'vmid'"),
        ("POST", "/vzdump", {"exclude": 101, "vmid": 100}, "exclude: option conflicts with option 'vmid'"),
        ("POST", "/vzdump", {"pool": "none"}, "500 pool 'none' does not exist"),
        ("POST", "/vzdump", {"vmid": 100, "storage": "local", "notes-template": "{{foo}} \\x"},
         "notes-template: found unknown: escape sequence '\\x' at char 8, variable 'foo' at char 4"),
        ("POST", "/vzdump", {"stop": 1}, "ok"),
    ],
    "imports of what is not there": [
        vm(703, ide2="local:cloudinit"),
        ("POST", "/qemu/703/config", {"scsi1": "local:0,import-from=local:703/vm-703-disk-9.raw"},
         "task cannot import from 'local:703/vm-703-disk-9.raw' - could not get size of local:703/vm-703-disk-9.raw"),
        ("POST", "/qemu/703/config", {"scsi1": "local:0,import-from=local:703/vm-703-cloudinit.qcow2"},
         "task cannot import from 'local:703/vm-703-cloudinit.qcow2' - cannot import from cloudinit disk"),
        ("PUT", "/qemu/703/config", {"scsi1": "local:1"}, "ok"),
        ("PUT", "/qemu/703/config", {"scsi1": "local:703/vm-703-disk-0.raw,format=qcow2"},
         "500 drive 'scsi1' - volume 'local:703/vm-703-disk-0.raw' - 'format=qcow2' option different from storage format 'raw'"),
        ("DELETE", "/storage/local/content/703%2Fvm-703-disk-0.raw", {"delay": 5}, "ok"),
        ("POST", "/qemu/703/clone", {"newid": 704}, "task clone failed: volume 'local:703/vm-703-disk-0.raw' does not exist"),
        ("GET", "/qemu/704/config", {}, "500 " + NO_FILE.replace("799", "704")),
        gone(703),
    ],
    "a VM that is not there": [
        ("POST", "/qemu/799/status/start", {}, f"task {NO_FILE}"),
        *[("POST", f"/qemu/799/status/{verb}", {}, f"task {NO_VM}") for verb in ("stop", "shutdown")],
        *[("POST", f"/qemu/799/status/{verb}", {}, f"500 {NO_VM}") for verb in ("reboot", "reset", "suspend", "resume")],
        ("GET", "/qemu/799/status", {}, f"500 {NO_FILE}"),
        ("GET", "/qemu/799/feature", {"feature": "copy"}, f"500 {NO_VM}"),
        ("DELETE", "/qemu/799/snapshot/s1", {}, f"task {NO_FILE}"),
        ("POST", "/qemu/799/snapshot/s1/rollback", {}, f"task {NO_FILE}"),
        ("POST", "/qemu/799/snapshot", {"snapname": "s1"}, f"500 {NO_FILE}"),
    ],
    "errors of parameters in a task": [
        vm(705),
        ("POST", "/qemu/705/status/start", {}, "task OK"),
        ("POST", "/qemu/705/config", {"net0": "virtio,bridge=vmbr9"},
         "task 400 Parameter verification failed. net0: hotplug problem - bridge 'vmbr9' does not exist"),
        ("POST", "/qemu/705/status/stop", {}, "task OK"),
        gone(705),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", FLOWS.values(), ids=FLOWS)
def test_a_flow(asked_server: asked.Asked, steps: list[asked.Step]) -> None:
    asked_server.walk(steps)


def test_backups_are_kept_as_they_are_asked_to_be(asked_server: asked.Asked) -> None:
    def backups() -> list[dict[str, t.Any]]:
        found = asked_server.data("GET", "/storage/local/content", content="backup", vmid=710)
        return sorted(found, key=lambda entry: str(entry["volid"]))

    dump = (
        "POST",
        "/vzdump",
        {"vmid": 710, "storage": "local", "notes-template": "{{cluster}} {{guestname}}\\nx"},
        "task OK",
    )
    asked_server.walk([vm(710, name="kept"), dump, dump, dump])
    first = backups()[0]
    assert [entry.get("notes") for entry in backups()] == ["standalone node kept"] * 3
    place = f"/storage/local/content/{first['volid']}"
    asked_server.walk([
        ("PUT", place, {"protected": 1, "notes": "a\nb"}, "ok"),
        ("GET", place, {}, {"protected": 1, "notes": "a\nb"}),
        ("POST", "/vzdump", {"vmid": 710, "storage": "local", "prune-backups": "keep-last=2", "remove": 0}, "task job errors"),
        ("POST", "/vzdump", {"vmid": 710, "storage": "local", "prune-backups": "keep-last=1"}, "task OK"),
        ("DELETE", place, {}, f"task cannot remove protected volume '{first['volid'][6:]}' on 'local'"),
    ])  # fmt: skip
    left = backups()
    assert (len(left), left[0]["volid"], left[0]["notes"], left[0]["protected"]) == (2, first["volid"], "a", 1)
    asked_server.walk(
        [("PUT", place, {"protected": 0, "notes": ""}, "ok"), ("GET", place, {}, {"protected": 0, "notes": ""})]
    )
    assert not {"protected", "notes"} & set(backups()[0])
    answer = asked_server.send("DELETE", place, {})[2]["data"]
    assert answer.split(":")[5:7] == ["imgdel", "710@local"] and asked_server.end_of(answer) == "OK"
    asked_server.walk([gone(710)])


def test_tasks_are_filtered_counted_and_read(asked_server: asked.Asked) -> None:
    asked_server.walk([
        vm(720),
        ("PUT", "/qemu/720/config", {"memory": 64, "delete": "kvm"}, "ok"),
        ("POST", "/qemu/720/status/start", {}, "task KVM virtualisation configured, but not available. Either disable in VM "
         "configuration or enable in BIOS."),
    ])  # fmt: skip

    def listed(**params: t.Any) -> tuple[list[str], int]:
        body = asked_server.send("GET", "/tasks", {"vmid": 720, **params})[2]
        return [entry["type"] for entry in body["data"]], body["total"]

    assert listed() == (["qmstart", "qmcreate"], 2)
    assert listed(limit=1) == (["qmstart"], 2)
    assert listed(errors=1) == (["qmstart"], 1)
    assert listed(statusfilter="ok") == (["qmcreate"], 1)
    none = "UPID:pve1:00000001:00000001:60000000:qmstart:100:root@pam:"
    assert asked_server.data("GET", f"/tasks/{none}/log") == [
        {"n": 1, "t": "unable to open file - No such file or directory"}
    ]
    asked_server.walk([("GET", f"/tasks/{none}/status", {}, "upid: no such task"), gone(720)])


def test_the_log_of_a_task_is_a_file_too(asked_server: asked.Asked) -> None:
    asked_server.walk([vm(721), gone(721)])
    upid = asked_server.data("GET", "/tasks", vmid=721, limit=1)[0]["upid"]
    both = "'download' cannot be used together with 'start' or 'limit' parameters"
    asked_server.walk([("GET", f"/tasks/{upid}/log", {"download": 1, "limit": 5}, f"500 {both}")])
    assert asked_server.text(f"/tasks/{upid}/log?download=1") == "TASK OK\n"


def test_nobody_changes_a_vm_that_is_being_shut_down(asked_server: asked.Asked) -> None:
    locked = "can't lock file '/var/lock/qemu-server/lock-730.conf' - got timeout"
    asked_server.walk([vm(730), ("POST", "/qemu/730/status/start", {}, "task OK")])
    upid = asked_server.data("POST", "/qemu/730/status/shutdown", timeout=900)
    asked_server.walk([
        ("PUT", "/qemu/730/config", {"cores": 2}, f"500 {locked}"),
        ("POST", "/qemu/730/status/stop", {"overrule-shutdown": 1}, "task OK"),
    ])  # fmt: skip
    assert asked_server.data("GET", f"/tasks/{urllib.parse.quote(upid)}/status")["exitstatus"] == "received interrupt"
    asked_server.walk([gone(730)])

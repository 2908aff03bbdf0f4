# SPDX-License-Identifier: GPL-3.0-or-later
"""More of what people do with VMs, as the real one's source says it is answered; and what the tasks write."""

from __future__ import annotations

import typing as t

import asked
import pytest
from asked import QCOW2, gone, vm


def log(server: asked.Asked, method: str, path: str, **sent: t.Any) -> list[str]:
    """What the task of a request writes, without the moments."""
    _, upid = server.outcome(method, path, sent)
    return [line["t"] for line in server.data("GET", f"/tasks/{upid}/log", limit=0)]


def test_a_backup_says_what_it_takes_and_what_it_leaves(asked_server: asked.Asked) -> None:
    asked_server.walk([
        vm(700, name="bk", scsi0=QCOW2, scsi1="local:2,backup=0", efidisk0="local:0,efitype=4m", ide2="local:cloudinit"),
        ("PUT", "/qemu/700/config", {"scsi2": "local:1"}, "ok"),
        ("PUT", "/qemu/700/config", {"delete": "scsi2"}, "ok"),
        ("POST", "/qemu/700/status/start", {}, "task OK"),
        ("PUT", "/qemu/700/config", {"memory": 128}, "ok"),
    ])  # fmt: skip
    rule = {"prune-backups": "keep-last=2"}
    lines = log(asked_server, "POST", "/vzdump", vmid=700, storage="local", mode="snapshot", protected=1, **rule)
    assert lines[0] == (
        "INFO: starting new backup job: vzdump 700 --mode snapshot --node pve1 --protected 1 --prune-backups keep-last=2 "
        "--storage local"
    )
    steady = [line for line in lines[1:] if not any(word in line for word in (" at 20", "backup task '", "archive '"))]
    assert steady == [
        "INFO: Starting Backup of VM 700 (qemu)",
        "INFO: status = running",
        "INFO: VM Name: bk",
        "INFO: exclude disk 'efidisk0' 'local:700/vm-700-disk-0.raw' (efidisk but no OVMF BIOS)",
        "INFO: include disk 'scsi0' 'local:700/vm-700-disk-1.qcow2' 1G",
        "INFO: exclude disk 'scsi1' 'local:700/vm-700-disk-2.raw' (backup=no)",
        "INFO: backup mode: snapshot",
        "INFO: ionice priority: 7",
        "INFO: skip unused drive 'local:700/vm-700-disk-3.raw' (not included into backup)",
        "INFO: pending configuration changes found (not included into backup)",
        "INFO: 100% (1.0 GiB of 1.0 GiB) in 0s, read: 0 B/s, write: 0 B/s",
        "INFO: backup is sparse: 1.00 GiB (100%) total zero data",
        "INFO: transferred 1.00 GiB in <1 seconds",
        "INFO: archive file size: 1MB",
        "INFO: marking backup as protected",
        "INFO: prune older backups with retention: keep-last=2",
        "INFO: pruned 0 backup(s)",
        "INFO: Finished Backup of VM 700 (00:00:00)",
        "INFO: Backup job finished successfully",
        "TASK OK",
    ]  # fmt: skip
    lines = log(asked_server, "POST", "/vzdump", vmid=700, storage="local", mode="stop")
    assert [line for line in lines if "guest" in line or "kvm" in line or "resuming" in line] == [
        "INFO: stopping virtual guest",
        "INFO: starting kvm to execute backup task",
        "INFO: resuming VM again after 0 seconds",
    ]
    asked_server.walk([("POST", "/qemu/700/status/stop", {}, "task OK"), gone(700)])


def test_the_cloud_init_values_that_a_drive_does_not_know_yet(asked_server: asked.Asked) -> None:
    def listed() -> dict[str, dict[str, t.Any]]:
        return {entry.pop("key"): entry for entry in asked_server.data("GET", "/qemu/701/cloudinit")}

    card = {"net0": "virtio,bridge=vmbr0", "ipconfig0": "ip=dhcp"}
    asked_server.walk([
        vm(701, ide2="local:cloudinit", ciuser="one", cipassword="secret12", **card),
        ("POST", "/qemu/701/status/start", {}, "task OK"),
        ("PUT", "/qemu/701/config", {"ciuser": "two", "ipconfig0": "ip=10.0.0.2/24", "ciupgrade": 1}, "ok"),
        ("PUT", "/qemu/701/config", {"cipassword": "other1234", "nameserver": "1.1.1.1", "name": "late"}, "ok"),
        ("PUT", "/qemu/701/config", {"net1": "virtio=BC:24:11:00:07:01,bridge=vmbr0"}, "ok"),
        ("PUT", "/qemu/701/config", {"delete": "nameserver"}, "ok"),
    ])  # fmt: skip
    waiting = {
        "ciuser": {"value": "one", "pending": "two"}, "ciupgrade": {"pending": 1}, "name": {"pending": "late"},
        "net1": {"pending": "virtio=BC:24:11:00:07:01,bridge=vmbr0"},
        "cipassword": {"value": "**********"},  # written at once
    }  # fmt: skip
    assert listed() == waiting
    asked_server.walk([("POST", "/qemu/701/status/stop", {}, "task OK")])
    assert listed() == waiting  # the drive is the old one until the next start
    asked_server.walk([
        ("PUT", "/qemu/701/config", {"ciuser": "one"}, "ok"),
        ("PUT", "/qemu/701/config", {"delete": "name"}, "ok"),
    ])  # fmt: skip
    assert (listed()["ciuser"], listed()["name"]) == ({"value": "one", "pending": "one"}, {"pending": None})
    assert log(asked_server, "POST", "/qemu/701/status/start") == ["generating cloud-init ISO", "TASK OK"]
    assert listed() == {"ciuser": {"value": "one"}, "ciupgrade": {"value": 1}, "cipassword": {"value": "**********"}}
    asked_server.walk([
        ("PUT", "/qemu/701/config", {"delete": "ciuser"}, "ok"),
        ("POST", "/qemu/701/status/stop", {}, "task OK"),
        ("PUT", "/qemu/701/config", {"delete": "ide2"}, "ok"),
        ("PUT", "/qemu/701/cloudinit", {}, "ok"),
    ])  # fmt: skip
    assert listed()["ciuser"] == {"delete": 1}  # without a drive nothing is written
    lines = log(asked_server, "POST", "/qemu/701/config", ide3="local:cloudinit", delete="audio0,citype")
    assert lines[1:3] == [
        f"cannot delete '{name}' - not set in current configuration!" for name in ("audio0", "citype")
    ]
    assert lines[-2:] == ["generating cloud-init ISO", "TASK OK"]
    assert "ciuser" not in listed()
    asked_server.walk([gone(701)])


def test_windows_gets_its_password_as_it_was_sent(asked_server: asked.Asked) -> None:
    asked_server.walk([vm(702, ostype="win11"), ("PUT", "/qemu/702/config", {"cipassword": "secret12"}, "ok")])
    assert "password: secret12\n" in asked_server.data("GET", "/qemu/702/cloudinit/dump", type="user")
    asked_server.walk([("PUT", "/qemu/702/config", {"ostype": "l26", "cipassword": "secret12"}, "ok")])
    asked_server.walk([("PUT", "/qemu/702/config", {"cipassword": "secret12"}, "ok")])
    assert "password: $5$" in asked_server.data("GET", "/qemu/702/cloudinit/dump", type="user")
    asked_server.walk([gone(702)])


def test_all_guests_of_a_node_have_tasks_of_their_own(asked_server: asked.Asked) -> None:
    def kinds(vmid: int) -> list[str]:
        return [entry["type"] for entry in asked_server.data("GET", "/tasks", vmid=vmid)]

    asked_server.walk([
        vm(710, onboot=1, startup="order=1,up=1"), vm(711, onboot=1, startup="order=2,down=7"), vm(712, onboot=1, cores=4),
    ])  # fmt: skip
    assert log(asked_server, "POST", "/startall") == [
        "Starting VM 710", "Waiting for 1 seconds (startup delay)", "Starting VM 711", "Starting VM 712",
        "Starting VM 712 failed: MAX 2 vcpus allowed per VM on this node", "TASK OK",
    ]  # fmt: skip
    assert kinds(712) == ["qmstart", "qmcreate"]
    mild = {"force-stop": 0, "timeout": 3}
    stopping = ["Stopping VM 711 (timeout = 7 seconds)", "Stopping VM 710 (timeout = 3 seconds)", "TASK OK"]
    assert log(asked_server, "POST", "/stopall", **mild) == stopping
    asked_server.walk([("GET", "/qemu/710/status/current", {}, {"status": "running"})])  # nobody obeyed
    assert log(asked_server, "POST", "/suspendall", vms="710,712") == [
        "VM 712 not running, skipping suspension", "Suspending VM 710", "TASK OK",
    ]  # fmt: skip
    asked_server.walk([("GET", "/qemu/710/status/current", {}, {"status": "stopped", "lock": "suspended"})])
    asked_server.walk([("POST", "/stopall", {"timeout": 1}, "task OK")])
    asked_server.walk([("GET", "/qemu/711/status/current", {}, {"status": "stopped"})])
    assert kinds(711) == ["qmshutdown", "qmshutdown", "qmstart", "qmcreate"]
    asked_server.walk([gone(710), gone(711), gone(712)])


def test_what_stands_in_the_way_of_a_migration(asked_server: asked.Asked) -> None:
    asked_server.walk([
        ("POST", "//cluster/mapping/usb", {"id": "stick", "map": "node=pve1,id=10c4:ea60"}, "ok"),
        vm(720, scsi0=QCOW2, ide2="local:iso/test.iso,media=cdrom", ide0="none,media=cdrom", usb0="mapping=stick"),
        ("POST", "/qemu/720/snapshot", {"snapname": "s1"}, "task OK"),
        ("PUT", "/qemu/720/config", {"delete": "scsi0"}, "ok"),
        ("PUT", "/qemu/720/config", {"serial0": "/dev/ttyS0", "serial1": "socket"}, "ok"),
    ])  # fmt: skip
    told = asked_server.data("GET", "/qemu/720/migrate")
    disks = {disk.pop("volid"): disk for disk in told.pop("local_disks")}
    assert told == {
        "running": 0, "allowed_nodes": [], "not_allowed_nodes": {}, "has-dbus-vmstate": 1,
        "local_resources": ["serial0", "usb0"], "mapped-resources": ["usb0"],
        "mapped-resource-info": {"usb0": {"name": "stick"}},
    }  # fmt: skip
    usual = {"is_cloudinit": 0, "is_tpmstate": 0, "is_vmstate": 0, "replicate": 1, "shared": 0}
    assert disks == {
        "local:iso/test.iso": usual | {
            "cdrom": 1, "drivename": "ide2", "is_attached": 1, "is_unused": 0, "referenced_in_snapshot": {"s1": 1},
            "size": 358400,
        },
        "local:720/vm-720-disk-0.qcow2": usual | {
            "cdrom": 0, "drivename": "scsi0", "is_attached": 0, "is_unused": 1, "referenced_in_snapshot": {"s1": 1},
            "size": 1 << 30,
        },
    }  # fmt: skip
    asked_server.walk([
        ("PUT", "/qemu/720/config", {"lock": "backup"}, "ok"),
        ("GET", "/qemu/720/migrate", {}, "500 VM is locked (backup)"),
        ("DELETE", "/qemu/720", {"skiplock": 1}, "task OK"),
        ("DELETE", "//cluster/mapping/usb/stick", {}, "ok"),
    ])  # fmt: skip


BOOTS = "hotplug problem - can't unplug bootdisk 'scsi0'"
FLOWS: dict[str, list[asked.Step]] = {
    "a snapshot knows how large its disks were": [
        vm(734, scsi0=QCOW2),
        ("POST", "/qemu/734/snapshot", {"snapname": "small"}, "task OK"),
        ("PUT", "/qemu/734/resize", {"disk": "scsi0", "size": "3G"}, "task OK"),
        ("POST", "/qemu/734/snapshot", {"snapname": "large"}, "task OK"),
        ("POST", "/qemu/734/snapshot/small/rollback", {}, "task OK"),
        ("GET", "/storage/local/content/local:734%2Fvm-734-disk-0.qcow2", {}, {"size": 1 << 30}),
        ("PUT", "/qemu/734/resize", {"disk": "scsi0", "size": "2G"}, "task OK"),
        ("POST", "/qemu/734/snapshot/large/rollback", {}, "task OK"),
        ("GET", "/storage/local/content/local:734%2Fvm-734-disk-0.qcow2", {}, {"size": 3 << 30}),
        ("PUT", "/qemu/734/resize", {"disk": "scsi0", "size": "2G"}, "task shrinking disks is not supported"),
        gone(734),
    ],
    "a disk that a running VM boots from is not taken away": [
        vm(730, scsi0=QCOW2, scsi1="local:1", virtio0="local:1"),
        ("POST", "/qemu/730/status/start", {}, "task OK"),
        ("PUT", "/qemu/730/config", {"delete": "scsi0"}, f"scsi0: {BOOTS}"),
        ("GET", "/qemu/730/config", {}, {"scsi0": None, "boot": " "}),
        ("PUT", "/qemu/730/config", {"revert": "scsi0,boot"}, "ok"),
        ("PUT", "/qemu/730/config", {"scsi0": "local:1"}, f"scsi0: {BOOTS}"),
        ("PUT", "/qemu/730/config", {"delete": "scsi1"}, "ok"),
        ("POST", "/qemu/730/status/stop", {}, "task OK"),
        gone(730),
    ],
    "a format that cannot grow": [
        vm(731, scsi0="local:1,format=vmdk"),
        ("PUT", "/qemu/731/resize", {"disk": "scsi0", "size": "+1G"}, "task can't resize this image format"),
        gone(731),
    ],
    "a VM that is started without what it asks for": [
        vm(732, bios="ovmf", scsi0="local:1,iothread=1", ide2="cdrom,media=cdrom"),
        ("POST", "/qemu/732/status/start", {}, "task WARNINGS: 3"),
        ("POST", "/qemu/732/status/stop", {}, "task OK"),
        ("PUT", "/qemu/732/config", {"scsihw": "virtio-scsi-single", "efidisk0": "local:1", "delete": "ide2"}, "ok"),
        ("POST", "/qemu/732/status/start", {}, "task OK"),
        ("POST", "/qemu/732/status/stop", {}, "task OK"),
        gone(732),
    ],
    "a start and the locks that it knows": [
        vm(733),
        ("POST", "/qemu/733/status/start", {}, "task OK"),
        ("POST", "/qemu/733/status/suspend", {}, "task OK"),
        ("PUT", "/qemu/733/config", {"lock": "backup"}, "ok"),
        ("POST", "/qemu/733/status/start", {}, "task OK"),
        ("GET", "/qemu/733/status/current", {}, {"qmpstatus": "running"}),
        ("POST", "/qemu/733/status/stop", {"skiplock": 1}, "task OK"),
        ("PUT", "/qemu/733/config", {"lock": "suspended", "skiplock": 1}, "ok"),
        ("POST", "/qemu/733/status/start", {}, "task OK"),
        ("GET", "/qemu/733/config", {}, {"lock": None}),
        ("POST", "/qemu/733/status/stop", {}, "task OK"),
        gone(733),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", FLOWS.values(), ids=FLOWS)
def test_a_flow(asked_server: asked.Asked, steps: list[asked.Step]) -> None:
    asked_server.walk(steps)


def test_disks_of_a_running_vm_are_copied_by_itself(asked_server: asked.Asked) -> None:
    asked_server.walk([
        vm(740, scsi0=QCOW2, scsi1="local:2", ide2="local:cloudinit", agent=1),
        ("POST", "/qemu/740/status/start", {}, "task OK"),
        ("PUT", "/qemu/740/config", {"cores": 2}, "ok"),
    ])  # fmt: skip
    assert [line for line in log(asked_server, "POST", "/qemu/740/clone", newid=741) if "Formatting" not in line] == [
        "creating a clone of VM 740 with ID 741",
        "create full clone of drive ide2 (local:740/vm-740-cloudinit.qcow2)",
        "allocated target volume 'local:741/vm-741-cloudinit.qcow2'",
        "create full clone of drive scsi0 (local:740/vm-740-disk-0.qcow2)",
        "allocated target volume 'local:741/vm-741-disk-0.qcow2'",
        "drive mirror is starting for drive-scsi0",
        "mirror-scsi0: transferred 1.0 GiB of 1.0 GiB (100.00%) in 0s, ready",
        "all 'mirror' jobs are ready",
        "create full clone of drive scsi1 (local:740/vm-740-disk-1.raw)",
        "allocated target volume 'local:741/vm-741-disk-1.raw'",
        "drive mirror is starting for drive-scsi1",
        "mirror-scsi1: transferred 2.0 GiB of 2.0 GiB (100.00%) in 0s, ready",
        "all 'mirror' jobs are ready",
        "skipping guest agent 'guest-fsfreeze-freeze' command: the agent is not running inside of the guest",
        "suspend vm",
        "mirror-scsi0: Cancelling block job",
        "mirror-scsi1: Cancelling block job",
        "mirror-scsi0: Done.",
        "mirror-scsi1: Done.",
        "resume vm",
        "found pending changes for 'cores', discarding for clone",
        "TASK OK",
    ]
    lines = log(asked_server, "POST", "/qemu/740/move_disk", disk="scsi1", storage="dir2", delete=1)
    assert lines[-5:] == [
        "mirror-scsi1: Completing block job...", "mirror-scsi1: Completed successfully.",
        "mirror-scsi1: mirror-job finished", "removing source volume 'local:740/vm-740-disk-1.raw' after successful copy",
        "TASK OK",
    ]  # fmt: skip
    asked_server.walk([("POST", "/qemu/740/status/stop", {}, "task OK"), gone(740), gone(741)])


def test_a_snapshot_with_memory_keeps_it_in_a_volume_of_its_own(asked_server: asked.Asked) -> None:
    volume = "local:720/vm-720-state-hot.raw"
    asked_server.walk([
        vm(720, name="hot", scsi0=QCOW2, machine="q35"),
        ("POST", "/qemu/720/snapshot", {"snapname": "cold", "vmstate": 1}, "task OK"),
        ("POST", "/qemu/720/status/start", {}, "task OK"),
    ])  # fmt: skip
    lines = log(asked_server, "POST", "/qemu/720/snapshot", snapname="hot", vmstate=1, description="running")
    assert lines[0] == "saving VM state and RAM using storage 'local'"
    assert lines[1].startswith("completed saving the VM state in ")
    assert lines[2:] == ["snapshotting 'drive-scsi0' (local:720/vm-720-disk-0.qcow2)", "TASK OK"]
    listed = {one["name"]: one.get("vmstate") for one in asked_server.data("GET", "/qemu/720/snapshot")}
    assert listed == {"cold": 0, "hot": 1, "current": None}
    for path in ("/qemu/720/snapshot/hot/config", "/qemu/720/config?snapshot=hot"):
        kept = asked_server.data("GET", path)
        assert (kept["vmstate"], kept["runningmachine"][:7]) == (volume, "pc-q35-")
        assert kept["runningcpu"]
    assert "vmstate" not in asked_server.data("GET", "/qemu/720/snapshot/cold/config")
    (state,) = [one for one in asked_server.data("GET", "/storage/local/content", vmid=720) if one["volid"] == volume]
    assert (state["content"], state["format"], state["size"]) == ("images", "raw", (2 * 64 + 500) << 20)
    asked_server.walk([
        ("POST", "/qemu/720/status/stop", {}, "task OK"),
        ("POST", "/qemu/720/snapshot/hot/rollback", {}, "task OK"),
        ("GET", "/qemu/720/status/current", {}, {"status": "running"}),
        ("GET", "/qemu/720/config", {}, {"vmstate": None, "runningmachine": None, "runningcpu": None, "parent": "hot"}),
        ("POST", "/qemu/720/clone", {"newid": 721, "snapname": "hot", "full": 1}, "task OK"),
        ("GET", "/qemu/721/config", {}, {"vmstate": None, "runningmachine": None, "runningcpu": None}),
        gone(721),
        ("DELETE", "/qemu/720/snapshot/hot", {}, "task OK"),
    ])  # fmt: skip
    assert volume not in [one["volid"] for one in asked_server.data("GET", "/storage/local/content", vmid=720)]
    asked_server.walk([
        ("POST", "/qemu/720/snapshot", {"snapname": "again", "vmstate": 1}, "task OK"),
        ("POST", "/qemu/720/status/stop", {}, "task OK"),
        gone(720),
    ])  # fmt: skip
    assert asked_server.data("GET", "/storage/local/content", vmid=720, content="images") == []

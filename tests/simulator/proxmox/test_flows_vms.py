# SPDX-License-Identifier: GPL-3.0-or-later
"""More of what people do with VMs, as the real one's source says it is answered; and what the tasks write."""

from __future__ import annotations

import typing as t

import asked
import pytest

QCOW2 = "local:1,format=qcow2"


@pytest.fixture(scope="module")
def asked_server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[asked.Asked]:
    with asked.server(tmp_path_factory.mktemp("proxmox")) as one:
        yield one


def vm(vmid: int, **options: t.Any) -> asked.Step:
    return ("POST", "/qemu", {"vmid": vmid, "kvm": 0, "memory": 64, **options}, "task OK")


def gone(vmid: int) -> asked.Step:
    return ("DELETE", f"/qemu/{vmid}", {}, "task OK")


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

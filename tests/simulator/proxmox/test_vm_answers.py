# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated Proxmox answers to VM flows that are not in the recordings: as the real one's source says."""

from __future__ import annotations

import asked
import pytest
from asked import QCOW2, gone, vm

NO_KVM = "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS."
CHANGED = "detected modified configuration - file changed by other user? Try again."
OLD = "0" * 40


FLOWS: dict[str, list[asked.Step]] = {
    "the start of a new VM is a task of its own, that may fail": [
        ("POST", "/qemu", {"vmid": 500, "memory": 64, "start": 1}, "task OK"),
        ("GET", "/qemu/500/status/current", {}, {"status": "stopped"}),
        ("POST", "/qemu/500/status/start", {}, f"task {NO_KVM}"),
        gone(500),
        vm(500, start=1),
        ("GET", "/qemu/500/status/current", {}, {"status": "running"}),
        ("POST", "/qemu/500/status/stop", {}, "task OK"),
        gone(500),
    ],
    "a new VM that is HA managed": [
        vm(501, **{"ha-managed": 1}),
        ("GET", "//cluster/ha/resources/vm:501", {}, {"sid": "vm:501", "state": "stopped"}),
        ("DELETE", "/qemu/501", {"purge": 1}, "task OK"),
    ],
    "a disk that came after the snapshot is kept": [
        vm(502, scsi0=QCOW2, vmgenid=0),
        ("POST", "/qemu/502/snapshot", {"snapname": "s1"}, "task OK"),
        ("PUT", "/qemu/502/config", {"scsi1": QCOW2, "ide2": "local:cloudinit", "vmstatestorage": "dir2"}, "ok"),
        ("POST", "/qemu/502/snapshot/s1/rollback", {"start": 1}, "task OK"),
        ("GET", "/qemu/502/status/current", {}, {"status": "running"}),
        (
            "GET", "/qemu/502/config", {},
            {"unused0": "local:502/vm-502-disk-1.qcow2", "scsi1": None, "ide2": None, "vmstatestorage": None, "vmgenid": "0"},
        ),
        ("GET", "/storage/local/content/local:502%2Fvm-502-cloudinit.qcow2", {},
         "500 volume_size_info on 'local:502/vm-502-cloudinit.qcow2' failed - no format"),
        ("POST", "/qemu/502/status/stop", {}, "task OK"),
        gone(502),
    ],
    "what a volume in use may not": [
        vm(503, scsi0=QCOW2),
        ("POST", "/qemu/503/snapshot", {"snapname": "s1"}, "task OK"),
        ("PUT", "/qemu/503/config", {"delete": "scsi0"}, "ok"),
        ("PUT", "/qemu/503/unlink", {"idlist": "unused0"},
         "500 unable to delete 'local:503/vm-503-disk-0.qcow2' - volume is still in use (snapshot?)"),
        ("POST", "/qemu/503/move_disk", {"disk": "unused0", "target-vmid": 503},
         "target-vmid: must be different than source VMID to reassign disk"),
        ("POST", "/qemu/503/clone", {"newid": 504, "snapname": "s1", "full": 0},
         "500 Linked clone feature is not supported for a snapshot of 'local:503/vm-503-disk-0.qcow2' (scsi0)"),
        ("DELETE", "/qemu/503/snapshot/s1", {}, "task OK"),
        ("GET", "/qemu/503/config", {}, {"unused0": "local:503/vm-503-disk-0.qcow2", "parent": None}),
        ("PUT", "/qemu/503/unlink", {"idlist": "unused0"}, "ok"),
        gone(503),
    ],
    "unlink deletes what delete would": [
        vm(505, cores=2),
        ("PUT", "/qemu/505/unlink", {"idlist": "cores"}, "ok"),
        ("GET", "/qemu/505/config", {}, {"cores": None}),
        ("PUT", "/qemu/505/unlink", {"idlist": "foo"}, "delete: unknown option 'foo'"),
        gone(505),
    ],
    "a paused VM is not shut down": [
        vm(506),
        ("POST", "/qemu/506/status/start", {}, "task OK"),
        ("POST", "/qemu/506/status/suspend", {}, "task OK"),
        ("POST", "/qemu/506/status/shutdown", {}, "500 VM is paused - cannot shutdown"),
        ("POST", "/qemu/506/status/reboot", {}, "500 VM is paused - cannot shutdown"),
        ("POST", "/qemu/506/status/shutdown", {"forceStop": 1}, "task OK"),
        gone(506),
    ],
    "power of a locked VM": [
        vm(507),
        ("POST", "/qemu/507/status/start", {}, "task OK"),
        ("PUT", "/qemu/507/config", {"lock": "migrate"}, "ok"),
        ("POST", "/qemu/507/status/shutdown", {"timeout": 1}, "task VM is locked (migrate)"),
        ("POST", "/qemu/507/status/suspend", {}, "task VM is locked (migrate)"),
        ("POST", "/qemu/507/status/reset", {}, "task VM is locked (migrate)"),
        ("POST", "/qemu/507/status/reset", {"skiplock": 1}, "task OK"),
        ("POST", "/qemu/507/status/suspend", {"skiplock": 1}, "task OK"),
        ("POST", "/qemu/507/status/resume", {}, "task VM is locked (migrate)"),
        ("POST", "/qemu/507/status/stop", {"skiplock": 1}, "task OK"),
        ("DELETE", "/qemu/507", {"skiplock": 1}, "task OK"),
    ],
    "the change of a configuration with a delay": [
        vm(508, scsi0=QCOW2),
        ("POST", "/qemu/508/config", {"cores": 2, "background_delay": 5}, "ok"),
        ("POST", "/qemu/508/config", {"scsi1": "local:508/none.raw", "background_delay": 5},
         "500 failed to update VM 508: volume 'local:508/none.raw' does not exist"),
        ("GET", "/qemu/508/config", {"current": 1, "snapshot": "s1"},
         "current: cannot use 'snapshot' parameter with 'current'; snapshot: cannot use 'snapshot' parameter with 'current'"),
        gone(508),
    ],
    "drive options that exclude each other": [
        vm(509),
        *[
            ("PUT", "/qemu/509/config", {slot: value}, f"{slot}: unable to parse drive options")
            for slot, value in {
                "virtio0": "local:iso/test.iso,media=cdrom",
                "ide0": "local:iso/test.iso,media=cdrom,snapshot=1",
                "scsi0": "local:1,mbps=1,mbps_rd=1",
                "scsi1": "local:1,iops_wr=10,iops=10",
                "scsi2": "local:1,mbps_max=10",
                "scsi3": "local:1,iops_rd_max_length=2",
            }.items()
        ],
        ("PUT", "/qemu/509/config", {"efidisk0": "local:0,import-from=local:import/test.qcow2"},
         "efidisk0: need to specify 'efitype' when using 'import-from'"),
        ("PUT", "/qemu/509/config", {"tpmstate0": "local:0,import-from=local:import/test.qcow2"},
         "tpmstate0: need to specify 'version' when using 'import-from'"),
        ("PUT", "/qemu/509/config", {"tpmstate0": "local:1,version=v2.0"}, "ok"),
        ("PUT", "/qemu/509/config", {"tpmstate0": "local:509/vm-509-disk-0.raw,version=v1.2"},
         "500 cannot change TPM state version after creation"),
        ("PUT", "/qemu/509/config", {"vga": "serial0,clipboard=vnc"}, "500 vga type serial0 is not compatible with VNC clipboard"),
        ("PUT", "/qemu/509/config", {"machine": "pc,viommu=intel"}, "500 to use Intel vIOMMU please set the machine type to q35"),
        gone(509),
    ],
    "the status of a VM": [
        vm(510, agent=1, cores=8, vga="virtio", serial1="socket"),
        ("GET", "/qemu/510/status/current", {}, {"agent": 1, "cpus": 2, "spice": 1, "serial": 1, "clipboard": None}),
        ("PUT", "/qemu/510/config", {"agent": 0, "vcpus": 4, "delete": "vga"}, "ok"),
        ("GET", "/qemu/510/status/current", {}, {"agent": None, "cpus": 4, "spice": None}),
        ("PUT", "/qemu/510/config", {"boot": "cdn", "scsi0": "local:1"}, "ok"),
        ("GET", "/qemu/510/status/current", {}, {"maxdisk": 0}),
        gone(510),
    ],
    "a disk goes to another VM": [
        vm(511, scsi0="local:1", scsi1="local:1,ssd=1", ide2="none,media=cdrom"),
        vm(512),
        ("POST", "/qemu/511/move_disk", {"disk": "scsi9", "target-vmid": 512}, "500 Disk 'scsi9' for VM '511' does not exist"),
        ("POST", "/qemu/511/move_disk", {"disk": "ide2", "target-vmid": 512}, "500 CD drive contents can't be moved to another VM"),
        ("POST", "/qemu/511/move_disk", {"disk": "scsi1", "target-vmid": 512, "target-disk": "virtio1"},
         "500 failed to parse source disk for target disk format -"),
        ("POST", "/qemu/511/move_disk", {"disk": "scsi1", "target-vmid": 512, "digest": OLD}, f"500 VM 511: {CHANGED}"),
        ("POST", "/qemu/511/move_disk", {"disk": "scsi1", "target-vmid": 512, "target-digest": OLD}, f"500 VM 512: {CHANGED}"),
        ("POST", "/qemu/511/status/start", {}, "task OK"),
        ("POST", "/qemu/511/move_disk", {"disk": "scsi1", "target-vmid": 512},
         "500 Cannot move disk to another VM while the source VM is running - detach first"),
        ("POST", "/qemu/511/status/stop", {}, "task OK"),
        ("PUT", "/qemu/511/config", {"delete": "scsi1"}, "ok"),
        ("POST", "/qemu/511/move_disk", {"disk": "unused0", "target-vmid": 512, "target-disk": "scsi3"}, "task OK"),
        ("GET", "/qemu/512/config", {}, {"scsi3": "local:512/vm-512-disk-0.raw,size=1G"}),
        ("POST", "/qemu/512/template", {}, "task OK"),
        ("POST", "/qemu/511/move_disk", {"disk": "scsi0", "target-vmid": 512}, "500 Can't move disks from or to template VMs"),
        gone(511),
        gone(512),
    ],
    "disks of a template": [
        vm(513, scsi0=QCOW2, ide2="local:cloudinit"),
        ("POST", "/qemu/513/template", {}, "task OK"),
        ("POST", "/qemu/513/move_disk", {"disk": "scsi0", "storage": "dir2", "delete": 1}, "task OK"),
        ("GET", "/qemu/513/config", {}, {"scsi0": "dir2:513/base-513-disk-0.qcow2,size=1G", "unused0": None}),
        ("POST", "/qemu/513/move_disk", {"disk": "ide2", "storage": "dir2"}, "task OK"),
        ("GET", "/qemu/513/config", {}, {"ide2": "dir2:513/vm-513-cloudinit.qcow2,media=cdrom,size=4M", "unused0": None}),
        ("POST", "/qemu/513/clone", {"newid": 514}, "task OK"),
        ("POST", "/qemu/513/move_disk", {"disk": "scsi0", "storage": "local", "delete": 1}, "task OK"),
        ("DELETE", "/storage/dir2/content/dir2:513%2Fbase-513-disk-0.qcow2", {},
         "task base volume '513/base-513-disk-0.qcow2' is still in use by linked clones"),
        gone(514),
        gone(513),
        ("DELETE", "/storage/dir2/content/dir2:513%2Fbase-513-disk-0.qcow2", {"delay": 5}, "ok"),
    ],
    "a locked VM is locked first": [
        vm(515, scsi0="local:1"),
        ("PUT", "/qemu/515/config", {"lock": "backup"}, "ok"),
        ("POST", "/qemu/515/move_disk", {"disk": "scsi0", "storage": "dir2", "digest": OLD}, "500 VM is locked (backup)"),
        ("DELETE", "/qemu/515/snapshot/none", {}, "task snapshot 'none' does not exist"),
        ("POST", "/qemu/515/snapshot/none/rollback", {}, "task snapshot 'none' does not exist"),
        ("DELETE", "/qemu/515", {"skiplock": 1}, "task OK"),
    ],
    "a TPM state is never linked": [
        vm(516, tpmstate0="local:1,version=v2.0"),
        ("GET", "/qemu/516/feature", {"feature": "clone"}, {"hasFeature": 0}),
        ("POST", "/qemu/516/clone", {"newid": 517, "full": 0}, "task OK"),
        ("POST", "/qemu/516/status/start", {}, "task OK"),
        ("POST", "/qemu/516/clone", {"newid": 518, "full": 1}, "500 cannot clone TPM state while VM is running"),
        ("POST", "/qemu/516/move_disk", {"disk": "tpmstate0", "storage": "dir2"},
         "task storage migration failed: cannot move TPM state while VM is running"),
        ("POST", "/qemu/516/status/stop", {}, "task OK"),
        gone(516),
        gone(517),
    ],
    "what a running VM does not learn": [
        vm(519, scsi0="local:1"),
        ("POST", "/qemu/519/status/start", {}, "task OK"),
        ("PUT", "/qemu/519/config", {"scsi0": "local:519/vm-519-disk-0.raw,cache=none", "usb0": "spice"}, "ok"),
        ("PUT", "/qemu/519/config", {"hotplug": "disk,memory", "agent": 0}, "ok"),
        ("GET", "/qemu/519/config", {"current": 1},
         {"scsi0": "local:519/vm-519-disk-0.raw,size=1G", "usb0": None, "hotplug": None, "agent": None}),
        ("PUT", "/qemu/519/config", {"scsi0": "local:519/vm-519-disk-0.raw,mbps=5"}, "ok"),
        ("GET", "/qemu/519/config", {"current": 1}, {"scsi0": "local:519/vm-519-disk-0.raw,mbps=5,size=1G"}),
        ("POST", "/qemu/519/status/stop", {}, "task OK"),
        ("GET", "/qemu/519/config", {"current": 1}, {"usb0": "spice", "hotplug": "disk,memory", "agent": "0"}),
        gone(519),
    ],
    "a linked clone of a raw base is a qcow2 file, and a job that has lost its last VM goes": [
        vm(521, scsi0="local:1"),
        ("POST", "//cluster/backup", {"id": "j1", "schedule": "daily", "vmid": "521,522", "storage": "local"}, "ok"),
        ("POST", "//cluster/backup", {"id": "j2", "schedule": "daily", "all": 1, "exclude": "521", "storage": "local"}, "ok"),
        ("POST", "/qemu/521/template", {}, "task OK"),
        ("POST", "/qemu/521/clone", {"newid": 522}, "task OK"),
        ("GET", "/qemu/522/config", {}, {"scsi0": "local:521/base-521-disk-0.raw/522/vm-522-disk-0.qcow2,size=1G"}),
        ("POST", "/qemu/522/snapshot", {"snapname": "s1"}, "task OK"),
        ("DELETE", "/qemu/522", {"purge": 1}, "task OK"),
        ("GET", "//cluster/backup/j1", {}, {"vmid": "521"}),
        ("DELETE", "/qemu/521", {"purge": 1}, "task OK"),
        ("GET", "//cluster/backup/j1", {}, "id: No such job 'j1'"),
        ("GET", "//cluster/backup/j2", {}, {"exclude": None, "all": 1}),
        ("DELETE", "//cluster/backup/j2", {}, "ok"),
    ],
    "a start has several reasons to fail, in an order": [
        ("POST", "/qemu", {"vmid": 523, "memory": 64, "net0": "virtio,bridge=vmbr9", "serial0": "/dev/ttyS9"}, "task OK"),
        ("POST", "/qemu/523/status/start", {}, f"task {NO_KVM}"),
        ("PUT", "/qemu/523/config", {"kvm": 0, "cores": 8}, "ok"),
        ("POST", "/qemu/523/status/start", {}, "task no such serial device"),
        ("PUT", "/qemu/523/config", {"serial0": "socket"}, "ok"),
        ("POST", "/qemu/523/status/start", {}, "task MAX 2 vcpus allowed per VM on this node"),
        ("PUT", "/qemu/523/config", {"cores": 1}, "ok"),
        ("POST", "/qemu/523/status/start", {}, "task bridge 'vmbr9' does not exist"),
        ("POST", "//cluster/ha/resources", {"sid": "vm:523", "state": "stopped"}, "ok"),
        ("POST", "/qemu/523/status/stop", {"overrule-shutdown": 1}, "overrule-shutdown: Not applicable for HA resources."),
        ("DELETE", "/qemu/523", {"purge": 1}, "task OK"),
    ],
    "volumes of a clone are numbered by their slots, and new ones of a template are bases": [
        vm(524, scsi1=QCOW2),
        ("PUT", "/qemu/524/config", {"efidisk0": "local:0,efitype=4m"}, "ok"),
        ("PUT", "/qemu/524/config", {"scsi0": "local:2"}, "ok"),
        ("POST", "/qemu/524/clone", {"newid": 525}, "task OK"),
        (
            "GET", "/qemu/525/config", {},
            {
                "efidisk0": "local:525/vm-525-disk-0.raw,efitype=4m,size=528K",
                "scsi0": "local:525/vm-525-disk-1.raw,size=2G",
                "scsi1": "local:525/vm-525-disk-2.qcow2,size=1G",
            },
        ),
        ("POST", "/qemu/525/template", {}, "task OK"),
        ("PUT", "/qemu/525/config", {"scsi2": "local:1"}, "ok"),
        ("POST", "/qemu/525/config", {"scsi3": "local:0,import-from=local:import/test.qcow2"}, "task OK"),
        (
            "GET", "/qemu/525/config", {},
            {"scsi2": "local:525/base-525-disk-3.raw,size=1G", "scsi3": "local:525/base-525-disk-4.qcow2,size=1G"},
        ),
        gone(525),
        gone(524),
    ],
    "a VM is suspended to disk": [
        vm(526, scsi0="dir2:1"),
        ("POST", "/qemu/526/status/suspend", {"todisk": 1}, "500 VM 526 not running"),
        ("POST", "/qemu/526/status/start", {}, "task OK"),
        ("POST", "/qemu/526/status/suspend", {"statestorage": "local"}, "todisk: missing property required by 'statestorage'"),
        ("POST", "/qemu/526/status/suspend", {"todisk": 1}, "task OK"),
        ("GET", "/qemu/526/status/current", {}, {"status": "stopped", "lock": "suspended"}),
        ("PUT", "/qemu/526/config", {"cores": 2}, "500 VM is locked (suspended)"),
        ("POST", "/qemu/526/status/resume", {}, "task OK"),
        ("GET", "/qemu/526/status/current", {}, {"status": "running", "lock": None}),
        ("GET", "/qemu/526/config", {}, {"vmstate": None, "runningcpu": None}),
        ("POST", "/qemu/526/status/suspend", {"todisk": 1, "statestorage": "local"}, "task OK"),
        ("PUT", "/qemu/526/config", {"delete": "vmstate"}, "ok"),
        ("GET", "/qemu/526/config", {}, {"vmstate": None, "lock": None, "runningmachine": None}),
        ("POST", "/qemu/526/status/start", {}, "task OK"),
        ("POST", "/qemu/526/status/suspend", {"todisk": 1}, "task OK"),
        gone(526),
    ],
    "a restore that is refused": [
        vm(520, protection=1),
        ("POST", "/qemu", {"vmid": 521, "archive": "local:iso/test.iso"},
         "500 unable to use volume local:iso/test.iso - content type needs to be 'backup'"),
        ("POST", "/qemu", {"vmid": 521, "archive": "-"}, "500 pipe requires cli environment"),
        ("POST", "/qemu", {"vmid": 521, "archive": "local:backup/none.vma", "scsi0": "local:1"},
         "scsi0: option conflicts with option 'archive'"),
        ("PUT", "/qemu/520/config", {"protection": 0}, "ok"),
        gone(520),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", FLOWS.values(), ids=FLOWS)
def test_a_flow(asked_server: asked.Asked, steps: list[asked.Step]) -> None:
    asked_server.walk(steps)


def test_a_backup_is_restored_over_its_vm(asked_server: asked.Asked) -> None:
    asked_server.walk([
        vm(530, scsi0=QCOW2, scsi1="local:1,backup=0", description="d"),
        ("POST", "/vzdump", {"vmid": 530, "storage": "local"}, "task OK"),
    ])  # fmt: skip
    [entry] = asked_server.data("GET", "/storage/local/content", content="backup", vmid=530)
    over = {"vmid": 530, "archive": entry["volid"], "force": 1}
    asked_server.walk([
        ("POST", "/qemu/530/snapshot", {"snapname": "s1"}, "task snapshot feature is not available"),
        ("PUT", "/qemu/530/config", {"scsi5": QCOW2, "protection": 1}, "ok"),
        ("POST", "/qemu", over, "task unable to restore VM 530 - protection mode enabled"),
        ("PUT", "/qemu/530/config", {"protection": 0, "lock": "backup"}, "ok"),
        ("POST", "/qemu", over, "500 unable to restore VM 530 - VM is locked (backup)"),
        ("PUT", "/qemu/530/config", {"delete": "lock", "skiplock": 1}, "ok"),
        ("POST", "/qemu/530/status/start", {}, "task OK"),
        ("POST", "/qemu", over, "task unable to restore VM 530 - vm is running"),
        ("POST", "/qemu/530/status/stop", {}, "task OK"),
        ("POST", "/qemu", over, "task OK"),
        ("GET", "/qemu/530/config", {}, {
            "scsi0": "local:530/vm-530-disk-0.qcow2,size=1G", "scsi1": None, "scsi5": None, "lock": None, "protection": None,
            "description": "d\nscsi1: local:530/vm-530-disk-1.raw,backup=0,size=1G",
            "unused0": "local:530/vm-530-disk-1.raw", "unused1": "local:530/vm-530-disk-2.qcow2",
        }),
        ("POST", "/qemu", {"vmid": 531, "archive": entry["volid"], "storage": "isoonly"},
         "task Content type 'images' is not available on storage 'isoonly'"),
        ("GET", "/qemu/531/config", {}, {"lock": None, "scsi0": None}),
        gone(531),
        gone(530),
        ("DELETE", f"/storage/local/content/{entry['volid']}", {}, "task OK"),
    ])  # fmt: skip


def test_what_a_cloud_init_drive_tells(asked_server: asked.Asked) -> None:
    def dump(kind: str) -> str:
        return str(asked_server.data("GET", "/qemu/540/cloudinit/dump", type=kind))

    card = {"net0": "virtio=BC:24:11:00:05:40,bridge=vmbr0", "ipconfig0": "ip=10.0.0.5/24,gw=10.0.0.1,ip6=fd00::5/64"}
    asked_server.walk([vm(540, name="ci", ciuser="root", searchdomain="a.lan b.lan", ciupgrade=0, **card)])
    assert dump("user") == (
        "#cloud-config\nhostname: ci\nmanage_etc_hosts: true\nfqdn: ci.a.lan b.lan\nuser: root\ndisable_root: False\n"
        "chpasswd:\n  expire: False\n"
    )
    names = "    - type: nameserver\n      address:\n      - '10.255.255.53'\n      search:\n      - 'a.lan'\n      - 'b.lan'\n"
    assert dump("network").endswith(names)  # the server is the node's own
    asked_server.walk([("PUT", "/qemu/540/config", {"citype": "configdrive2", "nameserver": "1.1.1.1 9.9.9.9"}, "ok")])
    assert dump("network") == (
        "auto lo\niface lo inet loopback\n\n        dns_nameservers 1.1.1.1 9.9.9.9\n        dns_search a.lan b.lan\n"
        "auto eth0\niface eth0 inet static\n        address 10.0.0.5\n        netmask 255.255.255.0\n"
        "        gateway 10.0.0.1\niface eth0 inet6 static\n        address fd00::5\n        netmask 64\n"
    )
    assert dump("meta").startswith('{\n     "uuid": "')
    asked_server.walk([("PUT", "/qemu/540/config", {"delete": "citype", "ipconfig0": ""}, "ok")])
    assert "      - type: dhcp4\n      - type: dhcp6\n" in dump("network")  # nothing said is both by DHCP
    asked_server.walk([gone(540)])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong input is told by its option, its value and what was expected, before anybody is asked anything."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.groundwork.homelab.plugins.module_utils import task
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import session
from ansible_collections.groundwork.homelab.plugins.modules import proxmox_image, proxmox_vm

CONNECTION: dict[str, t.Any] = {
    "api_host": "127.0.0.1",
    "api_port": 1,
    "api_user": "ansible@pve",
    "api_token_id": "groundwork",
    "api_token_secret": "not-a-secret",
}
VM: dict[str, t.Any] = {"vmid": 200, "name": "talos-cp01", "node": "pve1"}
IMAGE: dict[str, t.Any] = {"node": "pve1", "storage": "local", "url": "https://example.test/talos.qcow2"}
FACTORY: dict[str, t.Any] = {"node": "pve1", "storage": "local"}


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_arguments: object, **_keywords: object) -> None:
        raise AssertionError("a request was made")

    monkeypatch.setattr(session, "Transport", asked)
    for name in ("HOST", "PORT", "USER", "PASSWORD", "TOKEN_ID", "TOKEN_SECRET", "CA_PATH", "VALIDATE_CERTS"):
        monkeypatch.delenv(f"PROXMOX_{name}", raising=False)


def message(module: t.Any, **params: t.Any) -> str:
    """As both ways see it: the argument spec first, then the core."""
    validated = ArgumentSpecValidator(**module.SPEC.keywords()).validate({**CONNECTION, **params})
    if validated.error_messages:
        return "; ".join(validated.error_messages)
    result = task.execute(module.run, task.Task(validated.validated_parameters, check_mode=True))
    assert result["failed"] and not result["changed"]
    assert result["error"]["kind"] == "InvalidInput"
    return str(result["msg"])


CONNECTIONS = [
    ({"api_host": None}, "api_host is missing. Set it, or the environment variable PROXMOX_HOST."),
    ({"api_host": "https://pve1:8006"}, "api_host 'https://pve1:8006' is no name or address. Write the host alone; the port is api_port."),
    ({"api_host": "pve1:8006"}, "api_host 'pve1:8006' is no name or address"),
    ({"api_port": 80060}, "api_port 80060 is no port"),
    ({"api_user": "root"}, "api_user 'root' is no user of a realm. Write user@realm, for example root@pam."),
    ({"api_user": None}, "api_user is missing"),
    ({"api_user": "root@pam", "api_token_id": "ansible@pve!groundwork"}, "api_user is root@pam, but api_token_id names a token of ansible@pve"),
    ({"api_token_id": "a b"}, "api_token_id 'a b' is no name of a token"),
    ({"api_token_secret": None}, "api_token_secret is missing for the token ansible@pve!groundwork"),
    ({"api_token_secret": "not-a-secret\n"}, "api_token_secret of the token ansible@pve!groundwork has a character that no secret has"),
    ({"api_token_id": None, "api_token_secret": None}, "Nothing proves who ansible@pve is"),
    ({"ca_path": "/nonexistent/ca.pem"}, "ca_path /nonexistent/ca.pem cannot be read"),
    ({"api_timeout": 0}, "api_timeout is 0 seconds"),
    ({"task_timeout": -1}, "task_timeout is -1 seconds"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "text"), CONNECTIONS, ids=lambda value: str(value)[:40])
def test_connections(change: dict[str, t.Any], text: str) -> None:
    assert text in message(proxmox_vm, vms=[VM], **change)
    assert text in message(proxmox_image, images=[IMAGE], **change)


def disk(**more: t.Any) -> dict[str, t.Any]:
    return {**VM, "disks": [{"storage": "local", "size": "8G", **more}]}


def nic(**more: t.Any) -> dict[str, t.Any]:
    return {**VM, "networks": [more]}


def init(**more: t.Any) -> dict[str, t.Any]:
    return {**VM, "cloud_init": {"storage": "local", **more}}


VMS = [
    ({**VM, "vmid": 99}, "vms[0]: vmid 99 is out of range. Proxmox VE takes 100 to 999999999."),
    ({"vmid": 200, "node": "pve1"}, "vms[0]: name is missing for vmid 200. Only absent VMs go without."),
    ({"vmid": 200, "name": "a"}, "vms[0]: node is missing for vmid 200"),
    ({**VM, "name": "talos_cp01"}, "vms[0]: name 'talos_cp01' is not valid. Use letters, digits, hyphens and dots"),
    ({**VM, "node": "pve 1"}, "node 'pve 1' is not valid"),
    ({**VM, "state": "runing"}, "value of state must be one of: started, stopped, present, absent, restarted, reset, got: runing"),
    ({**VM, "memroy": 2048}, "memroy"),
    ({**VM, "cores": 0}, "cores is 0. It must be at least 1 and at most"),
    ({**VM, "memory": 8}, "memory is 8. It must be at least 16 and at most"),
    ({**VM, "memory": 1024, "balloon": 2048}, "VM 200 (talos-cp01): balloon 2048 is above memory 1024"),
    ({**VM, "tags": ["a b"]}, "tag 'a b' is not valid"),
    ({**VM, "startup": "second"}, "startup 'second' is not valid. Write for example order=2,up=30,down=60."),
    ({**VM, "boot_order": []}, "boot_order is empty. Leave it out to let the server choose."),
    ({**VM, "boot_order": ["disk0"]}, "'disk0' is no slot to boot from"),
    ({**VM, "bios": "seabios", "efidisk": {"storage": "local"}}, "has an efidisk, but bios is seabios. Set bios to ovmf."),
    (disk(size="32"), "size of scsi0 is '32'. Write a unit, for example 32G."),
    (disk(size="many"), "size of scsi0 'many' is no size"),
    (disk(size="+1G"), "size of scsi0 '+1G' is no size"),
    ({**VM, "unset": ["agent"], "agent": True}, "agent is set and listed in unset. Do one of them."),
    (disk(slot="scsi31"), "'scsi31' is no disk slot. Known: scsi0 to scsi30"),
    (disk(slot="hda"), "'hda' is no disk slot"),
    (disk(slot="ide0", iothread=True), "Disk ide0 cannot have iothread. Proxmox VE knows no iothread on ide."),
    (disk(slot="virtio0", ssd=True), "Disk virtio0 cannot have ssd. Proxmox VE knows no ssd on virtio."),
    (disk(storage="local:32"), "storage of scsi0 'local:32' is not valid. Give the name of a storage."),
    (disk(import_from="/tmp/disk.qcow2"), "import_from of scsi0 is the path /tmp/disk.qcow2. Only root@pam may use paths; name a volume."),
    (disk(import_from="talos.qcow2"), "import_from of scsi0 'talos.qcow2' is no volume. Write for example local:import/talos.qcow2."),
    ({**disk(slot="scsi1"), "cloud_init": {"storage": "local", "slot": "scsi1"}}, "uses the slot scsi1 twice"),
    (nic(vlan=4095), "vlan of net0 is 4095. It must be 1 to 4094."),
    (nic(mac="BC:24:11:00:00"), "mac of net0 'BC:24:11:00:00' is not valid"),
    (nic(mac="01:24:11:00:00:50"), "mac of net0 is the multicast address 01:24:11:00:00:50"),
    (nic(mtu=100), "mtu of net0 is 100. It must be 576 to 65520, or 1 for the bridge's own."),
    (nic(slot="eth0"), "'eth0' is no network slot. Known: net0 to net31."),
    (init(ipconfig=["192.168.30.50/24"]), "ipconfig[0] has the unknown key '192.168.30.50/24'. Write for example ip=192.168.30.50/24"),
    (init(ipconfig=["ip=192.168.30.50"]), "ipconfig[0]: ip=192.168.30.50 is no address with prefix"),
    (init(ipconfig=["ip=dhcp,gw=router"]), "ipconfig[0]: gw=router is no address"),
    (init(nameservers=["dns.test"]), "nameserver 'dns.test' is no IP address"),
    (init(custom={"user": "local:iso/user.yml"}), "custom.user of cloud_init 'local:iso/user.yml' is no snippet. Write for example"),
    (init(custom={"user": "/var/lib/vz/snippets/user.yml"}), "is the path /var/lib/vz/snippets/user.yml. Only root@pam may use paths"),
    (init(slot="virtio0"), "'virtio0' is no cloud_init slot. Known: ide0 to ide3"),
    ({"node": "pve1"}, "vms[0]: vmid and name are missing. One of them says which VM is meant."),
    ({"name": "a"}, "vms[0]: node is missing for a. Only absent VMs go without."),
    ({**VM, "cpulimit": -1}, "cpulimit is -1. It must be 0 (no limit) to 128 CPUs."),
    ({**VM, "cpuunits": 0}, "cpuunits is 0. It must be at least 1 and at most 262144."),
    ({**VM, "hotplug": ["floppy"]}, "hotplug names 'floppy'. Known: network, disk, usb, memory, cpu, cloudinit."),
    ({**VM, "unset": ["colour"]}, "unset names 'colour'. Known: acpi, affinity"),
    ({**VM, "unset": ["cores"], "cores": 2}, "cores is set and listed in unset. Do one of them."),
    ({**VM, "template": True}, "VM 200 (talos-cp01) is to be a template, which never runs. Set state to stopped or present."),
    ({**VM, "clone": {"vmid": 9000, "name": "debian"}}, "clone needs either vmid or name. It says which VM or template is copied."),
    ({**VM, "clone": {"vmid": 9000, "full": False, "storage": "nas"}}, "A linked clone lies where its template does: it takes neither storage"),
    ({**VM, "clone": {"vmid": 9000, "snapshot": "1st"}}, "snapshot of clone '1st' is not valid"),
    ({**VM, "cdroms": [{"iso": "debian.iso"}]}, "iso of ide2 'debian.iso' is no volume. Write for example local:iso/debian-13.iso."),
    ({**VM, "cdroms": [{"slot": "virtio0"}]}, "'virtio0' is no slot of a CD drive"),
    ({**VM, "cdroms": [{}, {}, {}]}, "A CD drive has no slot, and ide2 and ide0 are taken. Name one, such as sata0."),
    ({**disk(slot="ide2"), "cdroms": [{"slot": "ide2"}]}, "uses the slot ide2 twice"),
    (disk(serial="a b"), "serial of scsi0 'a b' is not valid"),
    ({**disk(state="absent"), "boot_order": ["scsi0"]}, "is to boot from scsi0, which it is not to have"),
    (nic(queues=65), "queues of net0 is 65. It must be 0 to 64."),
    (nic(trunks=["a"]), "trunks of net0 'a' is not valid. Write VLANs and ranges, for example [10, 20-30]."),
    ({**VM, "pci_devices": [{}]}, "hostpci0 needs either mapping or device. Only root@pam with a password may use device."),
    ({**VM, "pci_devices": [{"device": "gpu"}]}, "device of hostpci0 'gpu' is not valid. Write for example 0000:01:00.0."),
    ({**VM, "machine": "pc", "pci_devices": [{"mapping": "gpu", "pcie": True}]}, "pcie of hostpci0 needs the machine q35, not pc"),
    ({**VM, "pci_devices": [{"slot": "hostpci16", "mapping": "gpu"}]}, "'hostpci16' is no slot of a PCI device"),
    ({**VM, "usb_devices": [{"device": "stick"}]}, "device of usb0 'stick' is not valid. Write for example 1d6b:0002, 1-2 or spice."),
    ({**VM, "usb_devices": [{"slot": "usb1", "mapping": "m1"}, {"mapping": "m1"}]}, "The slot usb1 is used twice"),
    ({**VM, "tpm": {"storage": "a:b"}}, "storage of tpm 'a:b' is not valid. Give the name of a storage."),
]  # fmt: skip


def test_a_guest_is_given_time_to_shut_down() -> None:
    assert "shutdown_timeout is 0 seconds. It must be at least 1." in message(proxmox_vm, vms=[VM], shutdown_timeout=0)


@pytest.mark.parametrize(("vm", "text"), VMS, ids=lambda value: str(value)[-40:])
def test_vms(vm: dict[str, t.Any], text: str) -> None:
    assert text in message(proxmox_vm, vms=[vm])


def test_all_wrong_vms_are_told_at_once() -> None:
    told = message(
        proxmox_vm, vms=[{**VM, "cores": 0}, {**VM, "vmid": 201, "name": "b", "memory": 1}, {**VM, "vmid": 5}]
    )
    assert all(part in told for part in ("vms[0]: cores is 0", "vms[1]: memory is 1", "vms[2]: vmid 5 is out of range"))


@pytest.mark.parametrize(
    ("second", "text"),
    [
        ({**VM, "name": "other"}, "The vmid 200 is given twice: to VM 200 (talos-cp01) and to VM 200 (other)."),
        ({**VM, "vmid": 201, "name": "Talos-CP01"}, "The name talos-cp01 is given twice: to VM 200 (talos-cp01) and to VM 201"),
        ({**VM, "vmid": 201, "name": "b", "networks": [{"mac": "bc:24:11:00:00:50"}]}, "The MAC BC:24:11:00:00:50 is given twice"),
    ],
)  # fmt: skip
def test_doubles(second: dict[str, t.Any], text: str) -> None:
    first = {**VM, "networks": [{"mac": "BC:24:11:00:00:50"}]}
    assert text in message(proxmox_vm, vms=[first, second])


def factory(**more: t.Any) -> dict[str, t.Any]:
    return {**FACTORY, "image_factory": {"version": "v1.13.9", **more}}


IMAGES = [
    ({**IMAGE, "url": None}, "images[0]: url or image_factory is missing"),
    ({**IMAGE, "url": "ftp://example.test/a.qcow2"}, "url 'ftp://example.test/a.qcow2' is no http or https address"),
    ({**IMAGE, "url": "https://example.test/a.iso"}, "filename 'a.iso' does not fit content import. It must end with .qcow2 or .raw or .vmdk or .ova."),
    ({**IMAGE, "content": "iso"}, "filename 'talos.qcow2' does not fit content iso. It must end with .iso or .img."),
    ({**IMAGE, "content": "images"}, "value of content must be one of: import, iso, vztmpl, snippets, got: images"),
    ({**IMAGE, "url": "https://example.test/"}, "filename is missing. It cannot be taken from the url."),
    ({**IMAGE, "filename": "a/b.qcow2"}, "filename 'a/b.qcow2' is not valid"),
    ({**IMAGE, "filename": "../b.qcow2"}, "filename '../b.qcow2' is not valid"),
    ({**IMAGE, "checksum": "12"}, "checksum '12' is no sha256 checksum. That has 64 hexadecimal digits"),
    ({**IMAGE, "checksum": "md5:12"}, "checksum '12' is no md5 checksum. That has 32 hexadecimal digits"),
    ({**IMAGE, "checksum": "sha256:12", "checksum_algorithm": "md5"}, "checksum begins with sha256:, but checksum_algorithm is md5"),
    ({**IMAGE, "checksum": "crc:12"}, "checksum_algorithm 'crc' is unknown. Known: md5, sha1, sha224, sha256, sha384, sha512."),
    ({**IMAGE, "storage": "local:iso"}, "storage 'local:iso' is not valid"),
    ({**FACTORY, "url": "https://x.test/a.qcow2", "image_factory": {"version": "v1.13.9"}}, "image_factory is given with a url or a filename. Both follow from image_factory."),
    (factory(version="1.13.9"), "version '1.13.9' is no version of Talos. Write for example v1.13.9."),
    (factory(platform="No Cloud"), "platform 'No Cloud' is not valid"),
    (factory(url="factory.talos.dev"), "'factory.talos.dev' is no http or https address of an Image Factory"),
    ({**factory(), "content": "vztmpl"}, "image_factory makes no container templates. Set content to import or iso."),
    (factory(schematic={"extensions": []}), "schematic has the unknown key extensions. The factory knows: owner, overlay, customization."),
    ({"storage": "local"}, "node is missing. Give node"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "text"), IMAGES, ids=lambda value: str(value)[-40:])
def test_images(image: dict[str, t.Any], text: str) -> None:
    assert text in message(proxmox_image, images=[image])


def test_one_file_wanted_in_two_ways() -> None:
    told = message(proxmox_image, images=[IMAGE, {**IMAGE, "url": "https://other.test/talos.qcow2"}])
    assert told == "local:import/talos.qcow2 on node pve1 is wanted twice, in two ways."

# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, property strings and rights as tables: what is equal, what differs, what is refused."""

from __future__ import annotations

import dataclasses
import fractions
import re
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import AccessDenied, InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import COMPUTED, HIDDEN
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import propertystring as ps
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import rights
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms import options
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vm_plan import needs, plan
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vm_spec import wanted
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vm_state import (
    Node,
    Storage,
    Surroundings,
    VmState,
    _effective,
)

AROUND = Surroundings(
    nodes={"pve1": Node(True, 4), "pve2": Node(False)},
    storages={"pve1": {"local": Storage("local", frozenset({"images", "import"}), True)}},
    bridges={"pve1": frozenset({"vmbr0"})},
)
WISH: dict[str, t.Any] = {"vmid": 200, "name": "cp01", "node": "pve1", "state": "present"}


def planned(wish: dict[str, t.Any], state: VmState | None = None, around: Surroundings = AROUND) -> t.Any:
    return plan(wanted([{**WISH, **wish}]), {200: state} if state else {}, around)


def there(running: bool = False, pending: tuple[str, ...] = (), **config: t.Any) -> VmState:
    whole = {"name": "cp01", **config}
    return VmState(200, "qemu", "pve1", "cp01", running=running, config=whole, pending=pending)


# -- equal and not equal ----------------------------------------------------------------------------------------------

EQUAL: list[tuple[str, t.Any, t.Any]] = [
    ("tags", "Zeta,alpha;beta gamma,alpha", "alpha;beta;gamma;zeta"),
    ("tags", " ", None),
    ("description", "a\n\n", "a"),
    ("memory", "current=768", "768"),
    ("memory", None, "512"),
    ("cores", None, 1),
    ("cores", "2", 2),
    ("cpu", "cputype=host,flags=+aes", "host,flags=+aes"),
    ("cpu", "flags=+aes,cputype=host", "host,flags=+aes"),
    ("machine", "type=q35", "q35"),
    ("startup", "up=10,order=2", "2,up=10"),
    ("agent", "1", "enabled=1"),
    ("agent", "enabled=yes", "1"),
    ("boot", "order=scsi0;net0", "order=scsi0;net0"),
    ("boot", " ", None),
    ("ipconfig0", "gw=10.0.0.1,ip=10.0.0.5/24", "ip=10.0.0.5/24,gw=10.0.0.1"),
    ("ipconfig0", " ", None),
    ("nameserver", "1.1.1.1,8.8.8.8", "1.1.1.1 8.8.8.8"),
    ("sshkeys", "ssh-rsa%20A%0D%0Assh-rsa%20B%0A", "ssh-rsa%20B%0Assh-rsa%20A"),
    ("onboot", 0, None),
]
DIFFERENT: list[tuple[str, t.Any, t.Any]] = [
    ("tags", "a", "a;b"),
    ("description", "a", "b"),
    ("memory", "1024", "2048"),
    ("cpu", "host", "kvm64"),
    ("boot", "order=scsi0;net0", "order=net0;scsi0"),
    ("nameserver", "1.1.1.1 8.8.8.8", "8.8.8.8 1.1.1.1"),
    ("agent", "0", "1"),
    ("onboot", 1, None),
]


#: Machine and system that are wanted, the machine that is there, and what is written.
MACHINES: list[tuple[str, str, str, str | None]] = [
    ("q35", "win11", "pc-q35-10.0+pve1", None),
    ("pc", "w2k8", "pc-i440fx-9.2+pve1", None),
    ("type=q35,viommu=virtio", "win11", "pc-q35-10.0+pve1,viommu=virtio", None),
    ("q35,viommu=virtio", "win11", "pc-q35-10.0+pve1", "pc-q35-10.0+pve1,viommu=virtio"),
    ("q35", "win11", "pc-i440fx-10.0+pve1", "q35"),
    ("pc", "win11", "pc-q35-10.0+pve1", "pc"),
    ("pc-q35-9.0", "win11", "pc-q35-10.0+pve1", "pc-q35-9.0"),
    ("q35", "l26", "pc-q35-10.0+pve1", "q35"),
]


@pytest.mark.parametrize(("machine", "ostype", "there_is", "written"), MACHINES)
def test_the_version_to_which_the_server_pins_windows_is_kept(
    machine: str, ostype: str, there_is: str, written: str | None
) -> None:
    made = planned({"machine": machine, "ostype": ostype}, there(machine=there_is, ostype=ostype))
    assert [change.operation.put.get("machine") for change in made.plan] == ([written] if written else [])


def test_a_pinned_default_machine_is_nothing_to_unset() -> None:
    assert not planned({"unset": ["machine"]}, there(machine="pc-i440fx-10.0+pve1", ostype="win10")).plan
    (change,) = planned({"unset": ["machine"]}, there(machine="pc-q35-10.0+pve1", ostype="win10")).plan
    assert change.operation.delete == ("machine",)


def test_a_running_vm_that_becomes_windows_waits_for_its_pinned_machine() -> None:
    made = planned({"ostype": "win11"}, there(running=True, machine="q35", ostype="l26"))
    assert made.pending == {200: ("machine", "ostype")}


@pytest.mark.parametrize(("key", "one", "other"), EQUAL)
def test_read_back_values_equal_what_was_sent(key: str, one: t.Any, other: t.Any) -> None:
    assert options.comparable(key, one) == options.comparable(key, other)


@pytest.mark.parametrize(("key", "one", "other"), DIFFERENT)
def test_real_differences_are_seen(key: str, one: t.Any, other: t.Any) -> None:
    assert options.comparable(key, one) != options.comparable(key, other)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("virtio,bridge=vmbr0,rate=12.5,mtu=1", "virtio,bridge=vmbr0,mtu=1,rate=12.5"),
        ("model=e1000,macaddr=aa:bb:cc:dd:ee:ff", "e1000=AA:BB:CC:DD:EE:FF"),
        (
            "virtio=BC:24:11:3F:ED:4D,bridge=vmbr0,firewall=1,tag=12",
            "virtio=BC:24:11:3F:ED:4D,bridge=vmbr0,firewall=1,tag=12",
        ),
    ],
)
def test_networks_are_printed_as_the_server_prints_them(sent: str, read: str) -> None:
    assert ps.render_network(ps.parse_network(sent)) == read


@pytest.mark.parametrize(
    ("text", "size"), [("528K", 540672), ("0T", 0), ("1.5G", 1610612736), ("3500M", 3670016000), ("42", 42)]
)
def test_sizes(text: str, size: int) -> None:
    assert ps.size_in_bytes(text) == size
    assert ps.size_in_bytes(ps.size_text(size)) == size


def test_gibibytes_of_small_disks_are_fractions() -> None:
    assert ps.gibibytes(512 << 20) == "0.5"
    assert ps.gibibytes(100 << 30) == "100"


@pytest.mark.parametrize("size", [1027 << 20, 3379 << 20, 3460302 << 10, (16 << 40) + 1024, 1 << 20])
def test_gibibytes_lose_nothing(size: int) -> None:
    """The server counts VMs' disks in whole KiB and rounds up: one digit too few is a disk that is larger."""
    text = ps.gibibytes(size)
    assert fractions.Fraction(text) == fractions.Fraction(size, 1 << 30)
    assert re.fullmatch(r"\d+(\.\d+)?", text)


@pytest.mark.parametrize(
    ("text", "made"), [("3.3G", "3460301K"), ("1027M", "1027M"), ("1.5G", "1536M"), ("1048577K", "1048577K")]
)
def test_a_disk_is_wanted_in_whole_kib_as_the_server_makes_it(text: str, made: str) -> None:
    (vm,) = wanted([{**WISH, "disks": [{"storage": "local", "size": text}]}])
    assert ps.size_text(vm.disks[0].size or 0) == made


# -- pending ----------------------------------------------------------------------------------------------------------


def test_a_configuration_is_what_will_be_after_a_restart() -> None:
    config, waiting = _effective(
        [
            {"key": "memory", "value": "64", "pending": "128"},
            {"key": "cores", "pending": 2},
            {"key": "net1", "value": "virtio", "delete": 1},
            {"key": "name", "value": "cp01"},
        ]
    )
    assert config == {"memory": "128", "cores": 2, "name": "cp01"}
    assert waiting == ("cores", "memory", "net1")


RESTART = [
    ("memory", "1024", None, None, True),
    ("cores", 2, None, None, True),
    ("tags", "a", None, None, False),
    ("net0", "virtio", None, "virtio", False),
    ("net0", "virtio", "disk,usb", "virtio", True),
    ("scsi1", "local:8", None, None, False),
    ("scsi1", "local:8", "0", None, True),
    ("scsi0", "local:x,ssd=1", None, "local:x", True),
    ("ide2", "local:cloudinit", None, None, True),
    ("ipconfig0", "ip=dhcp", None, None, True),
    ("cipassword", "x", None, None, True),
    ("nameserver", "1.1.1.1", "network,disk,usb,cloudinit", None, True),
]


@pytest.mark.parametrize(("key", "value", "hotplug", "before", "waits"), RESTART)
def test_what_needs_a_restart(key: str, value: t.Any, hotplug: str | None, before: t.Any, waits: bool) -> None:
    assert options.needs_restart(key, value, hotplug, before) is waits


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_create_says_what_only_the_server_knows_and_hides_secrets() -> None:
    made = planned({"networks": [{"vlan": 30}], "cloud_init": {"storage": "local", "password": "not-a-secret"}})
    (change,) = made.plan
    assert change.after["net0"] == f"virtio={COMPUTED},bridge=vmbr0,tag=30"
    assert change.after["cipassword"] == HIDDEN
    assert "not-a-secret" not in repr(made)


def test_a_password_that_is_set_is_not_set_again() -> None:
    state = there(ide2="local:200/vm-200-cloudinit.qcow2,media=cdrom", cipassword="**********")
    assert not planned({"cloud_init": {"storage": "local", "password": "not-a-secret"}}, state).plan


def test_a_cloud_init_drive_elsewhere_is_enough() -> None:
    assert not planned({"cloud_init": {"storage": "local"}}, there(sata0="local-lvm:vm-200-cloudinit,media=cdrom")).plan


def test_a_stop_comes_before_the_update_so_that_nothing_waits() -> None:
    made = planned({"state": "stopped", "memory": 2048}, there(running=True, memory="1024"))
    assert [(change.action, change.note) for change in made.plan] == [("stop", ""), ("update", "")]
    assert made.pending == {}


def test_a_restart_comes_after_the_update_that_needs_it() -> None:
    made = planned({"memory": 2048, "allow_restart": True}, there(running=True, memory="1024"))
    assert [(change.action, change.note) for change in made.plan] == [
        ("update", "needs a restart"),
        ("restart", "applies memory"),
    ]
    assert (made.pending, made.warnings) == ({}, ())


SEED = {"ide2": "local:200/vm-200-cloudinit.qcow2,media=cdrom", "ipconfig0": "ip=10.0.0.5/24"}
NEW_ADDRESS = {"cloud_init": {"storage": "local", "ipconfig": ["ip=10.0.0.6/24"]}}


def test_what_a_guest_reads_when_it_boots_waits_for_a_restart() -> None:
    """The server takes it at once and says of nothing that it waits; the guest has read its drive when it booted."""
    made = planned(NEW_ADDRESS, there(running=True, **SEED))
    (change,) = made.plan
    assert (change.note, made.pending) == ("needs a restart", {200: ("ipconfig0",)})
    assert "needs a restart before ipconfig0 takes effect" in made.warnings[0]
    assert change.operation.seeds
    restarted = planned({**NEW_ADDRESS, "allow_restart": True}, there(running=True, **SEED))
    assert [(one.action, one.note) for one in restarted.plan][1] == ("restart", "applies ipconfig0")
    assert not restarted.plan.changes[0].operation.seeds and not restarted.pending
    reset = planned({**NEW_ADDRESS, "state": "reset"}, there(running=True, **SEED))
    assert [one.action for one in reset.plan] == ["update", "restart"]
    assert reset.plan.changes[0].operation.seeds and not reset.pending
    stopped = planned(NEW_ADDRESS, there(**SEED))
    assert not stopped.plan.changes[0].operation.seeds and not stopped.pending


def test_what_only_waited_to_come_does_not_wait_when_it_is_taken_back() -> None:
    state = dataclasses.replace(there(running=True, pending=("serial0",), serial0="socket"), coming={"serial0"})
    made = planned({"serial": False}, state)
    assert [(change.action, change.note) for change in made.plan] == [("update", "")]
    assert (made.pending, made.warnings) == ({}, ())


def test_a_vm_that_is_elsewhere_stays_there() -> None:
    made = planned({"node": "pve2"}, there())
    assert not made.plan
    assert made.warnings == ("VM 200 (cp01) is on node pve1, not on pve2; it stays there. migrate moves it.",)


def test_an_offline_node_is_said_when_it_is_needed() -> None:
    from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Unreachable

    with pytest.raises(Unreachable, match="the node is offline"):
        planned({"node": "pve2"})


def test_more_cpus_than_the_node_has_are_said_before_the_vm_is_made() -> None:
    with pytest.raises(InvalidInput, match=r"is to have 6 CPUs, but node pve1 has 4"):
        planned({"state": "started", "cores": 3, "sockets": 2})
    assert planned({"cores": 6}).plan


REFUSED = [
    ({"disks": [{"storage": "local", "size": "8G"}]}, {"scsi0": "none,media=cdrom"}, "The slot scsi0 of VM 200 (cp01) holds a CD drive (none)"),
    ({"disks": [{"storage": "local", "size": "8G"}]}, {"scsi0": "lvm:vm-200-disk-0,size=8G"}, "lies on the storage 'lvm', wanted is 'local'. Set move_disks"),
    ({"efidisk": {"storage": "local"}}, {"efidisk0": "local:200/x.raw,efitype=4m,pre-enrolled-keys=1,size=528K"}, "efidisk0 of VM 200 (cp01) has efitype 4m, pre-enrolled-keys 1; this cannot be changed"),
    ({"cloud_init": {"storage": "local"}}, {"ide2": "local:iso/x.iso,media=cdrom"}, "The slot ide2 of VM 200 (cp01) is in use (local:iso/x.iso,media=cdrom)"),
    ({}, {"template": 1}, "is a template"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "config", "text"), REFUSED)
def test_what_cannot_be_done_is_refused(wish: dict[str, t.Any], config: dict[str, t.Any], text: str) -> None:
    state = VmState(
        200, "qemu", "pve1", "cp01", template=bool(config.get("template")), config={"name": "cp01", **config}
    )
    with pytest.raises(InvalidInput) as caught:
        planned(wish, state)
    assert text in caught.value.message


def test_a_container_of_this_number_is_not_touched() -> None:
    with pytest.raises(InvalidInput, match="vmid 200 is a container on node pve1, not a VM"):
        planned({"state": "absent"}, VmState(200, "lxc", "pve1", "cp01"))


def test_nothing_is_looked_up_when_nothing_is_new() -> None:
    wish = wanted([{**WISH, "networks": [{}], "disks": [{"storage": "local", "size": "8G"}]}])
    found = needs(wish, {200: there(net0="virtio=AA,bridge=vmbr0", scsi0="local:200/a.raw,size=8G")})
    assert (found.nodes, found.images, found.rights) == (frozenset(), frozenset(), False)
    assert needs(wish, {}).nodes == {"pve1"}


# -- rights -----------------------------------------------------------------------------------------------------------

RIGHTS = {
    "/": {"Sys.Audit": 1},
    "/vms": {"VM.Audit": 1, "VM.Allocate": 1},
    "/vms/300": {"VM.Audit": 1},
    "/storage/local": {"Datastore.AllocateSpace": 0},
    "/pool/lab": {"VM.Allocate": 1},
}


@pytest.mark.parametrize(
    ("paths", "any_of", "granted"),
    [
        (("/vms/200",), ("VM.Allocate",), True),
        (("/vms/300",), ("VM.Allocate",), False),
        (("/vms/300", "/pool/lab"), ("VM.Allocate",), True),
        (("/storage/local",), ("Datastore.AllocateSpace",), True),
        (("/storage/local/below",), ("Datastore.AllocateSpace",), False),
        (("/nodes/pve1",), ("Sys.Modify", "Sys.Audit"), True),
    ],
)
def test_rights_come_from_the_path_or_from_above(
    paths: tuple[str, ...], any_of: tuple[str, ...], granted: bool
) -> None:
    assert rights.granted(RIGHTS, rights.Need(paths, any_of, "test")) is granted


SOURCES = [
    ("local:import/vm-9-x.qcow2", "/storage/local"),
    ("nas:import/a.ova/disk.vmdk", "/storage/nas"),
    ("local:296/vm-296-disk-0.qcow2", "/vms/296"),
    ("lvm:base-9000-disk-1", "/vms/9000"),
    ("local:620/base-620-disk-0.qcow2/621/vm-621-disk-0.qcow2", "/vms/621"),
    ("zfs:base-100-disk-0/vm-101-disk-0", "/vms/101"),
    ("local:296/renamed.qcow2", "/vms/296"),
]


@pytest.mark.parametrize(("source", "path"), SOURCES)
def test_the_right_on_a_source_is_that_on_its_vm_or_on_its_storage(source: str, path: str) -> None:
    around = Surroundings(AROUND.nodes, AROUND.storages, AROUND.bridges, rights={"/nowhere": {"VM.Audit": 1}})
    with pytest.raises(AccessDenied) as caught:
        planned({"disks": [{"storage": "local", "import_from": source}]}, None, around)
    (found,) = [one for one in caught.value.details["missing"] if one.endswith(f"(make scsi0 of VM 200 from {source})")]
    assert found.split(" on ")[1].startswith(f"{path} ")


def test_every_missing_right_is_named_with_what_it_is_for() -> None:
    around = Surroundings(AROUND.nodes, AROUND.storages, AROUND.bridges, rights={"/vms": {"VM.Audit": 1}})
    with pytest.raises(AccessDenied) as caught:
        planned(
            {"startup": "order=2", "networks": [{"vlan": 30}], "disks": [{"storage": "local", "size": "8G"}]},
            None,
            around,
        )
    missing = caught.value.details["missing"]
    assert "VM.Allocate on /vms/200 (create VM 200)" in missing
    assert "Sys.Modify on / (set startup of VM 200)" in missing
    assert "SDN.Use on /sdn/zones/localnetwork/vmbr0/30 (connect net0 of VM 200 to vmbr0)" in missing
    assert "Datastore.AllocateSpace on /storage/local (make scsi0 of VM 200)" in missing

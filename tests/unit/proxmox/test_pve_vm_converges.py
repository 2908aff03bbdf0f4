# SPDX-License-Identifier: GPL-3.0-or-later
"""For any wish and any VM that is there: the plan says what is changed, the change makes the wish true, and then
nothing is left to do. Check mode writes nothing and says the same."""

from __future__ import annotations

import copy
import typing as t

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pve_model import GIB, LIVE, PASSWORD, Guest, Model

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import attempts
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms import vms
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vm_apply import Applier
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vm_spec import wanted

IMAGE = "local:import/talos.qcow2"


def optional(strategy: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.none() | strategy


ISO = "local:iso/debian.iso"

#: What is wanted -> what the server says that it is: whole KiB, rounded up.
SIZES = {"8G": "8G", "8195M": "8195M", "9.3G": "9751757K", "10G": "10G", "10240M": "10G", "10243M": "10243M"}

disks = st.fixed_dictionaries(
    {"storage": st.sampled_from(["local", "fast"]), "size": st.sampled_from(list(SIZES))},
    optional={
        "state": st.sampled_from(["present", "present", "detached", "absent"]),
        "backup": st.booleans(),
        "aio": optional(st.sampled_from(["native", "threads"])),
        "serial": optional(st.just("S1")),
        "discard": st.booleans(),
        "ssd": st.booleans(),
        "cache": st.sampled_from(["none", "writeback"]),
        "import_from": optional(st.just(IMAGE)),
    },
)
networks = st.fixed_dictionaries(
    {"bridge": st.sampled_from(["vmbr0", "vmbr1"])},
    optional={
        "state": st.sampled_from(["present", "present", "present", "absent"]),
        "link_down": optional(st.booleans()),
        "trunks": optional(st.sampled_from([["10", "20-30"], []])),
        "queues": optional(st.integers(0, 4)),
        "vlan": optional(st.integers(1, 4094)),
        "firewall": st.booleans(),
        "model": st.sampled_from(["virtio", "e1000"]),
        "mac": st.sampled_from(["", "BC:24:11:00:AA:50", "bc:24:11:00:aa:51"]),
        "rate": optional(st.sampled_from([1.0, 12.5])),
        "mtu": optional(st.sampled_from([1, 1400])),
    },
)
cloud_inits = st.fixed_dictionaries(
    {"storage": st.just("local")},
    optional={
        "ipconfig": optional(st.lists(st.sampled_from(["ip=dhcp", "ip=10.0.0.5/24,gw=10.0.0.1"]), max_size=2)),
        "nameservers": optional(st.lists(st.sampled_from(["1.1.1.1", "9.9.9.9"]), max_size=2, unique=True)),
        "searchdomain": optional(st.sampled_from(["lab.test", ""])),
        "user": optional(st.just("admin")),
        "password": optional(st.just(PASSWORD)),
        "type": optional(st.sampled_from(["nocloud", "configdrive2"])),
        "upgrade": optional(st.booleans()),
        "custom": optional(st.sampled_from([{"user": "local:snippets/u.yml"}, {"user": None}])),
        "ssh_keys": optional(st.lists(st.sampled_from(["ssh-ed25519 AAAA a@b", "ssh-rsa BBBB+/= c"]), max_size=2)),
    },
)
options = {
    "cores": optional(st.integers(1, 4)),
    "sockets": optional(st.integers(1, 2)),
    "memory": optional(st.sampled_from([512, 1024, 2048])),
    "cpu": optional(st.sampled_from(["host", "kvm64", "x86-64-v2-AES,flags=+aes"])),
    "machine": optional(st.sampled_from(["q35", "pc"])),
    "scsihw": optional(st.sampled_from(["virtio-scsi-single", "lsi"])),
    "onboot": optional(st.booleans()),
    "agent": optional(st.booleans()),
    "serial": optional(st.booleans()),
    "ostype": optional(st.sampled_from(["l26", "other", "win11"])),
    "description": optional(st.sampled_from(["", "one", "two\nlines\n\n"])),
    "tags": optional(st.lists(st.sampled_from(["talos", "Lab", "control-plane"]), max_size=3)),
    "startup": optional(st.sampled_from(["order=2,up=30", "2"])),
    "boot_order": optional(st.sampled_from([["scsi0"], ["scsi0", "net0"]])),
    "disks": st.lists(disks, max_size=2),
    "networks": st.lists(networks, max_size=2).filter(
        lambda nics: len({(nic.get("mac") or str(index)).upper() for index, nic in enumerate(nics)}) == len(nics)
    ),
    "cloud_init": optional(cloud_inits),
    "efidisk": optional(st.just({"storage": "local", "type": "4m", "pre_enrolled_keys": False})),
    "tpm": optional(st.just({"storage": "local", "version": "v2.0"})),
    "cdroms": st.lists(
        st.fixed_dictionaries(
            {"slot": st.just("sata0")},
            optional={"iso": optional(st.just(ISO)), "state": st.sampled_from(["present", "absent"])},
        ),
        max_size=1,
    ),
    "pci_devices": st.lists(
        st.fixed_dictionaries(
            {"mapping": st.just("mapped")},
            optional={"rombar": st.booleans(), "mdev": optional(st.just("m-1")), "state": st.just("absent")},
        ),
        max_size=1,
    ),
    "usb_devices": st.lists(
        st.sampled_from(
            [{"mapping": "mapped"}, {"device": "spice", "usb3": True}, {"mapping": "m1", "state": "absent"}]
        ),
        max_size=1,
    ).map(copy.deepcopy),
    "agent_options": optional(
        st.fixed_dictionaries({}, optional={"fstrim_cloned_disks": optional(st.booleans()), "type": st.just("isa")})
    ),
    "cpulimit": optional(st.sampled_from([0.0, 0.5, 2.0])),
    "cpuunits": optional(st.just(200)),
    "numa": optional(st.booleans()),
    "tablet": optional(st.booleans()),
    "hotplug": optional(st.sampled_from([[], ["disk", "network", "usb"], ["network", "disk", "usb", "cpu"]])),
    "vga": optional(st.sampled_from(["std", "serial0", "type=virtio,memory=64"])),
    "watchdog": optional(st.sampled_from(["i6300esb,action=reset", "action=reset"])),
    "rng": optional(st.just("source=/dev/urandom")),
    "unset": optional(st.just(["balloon", "localtime"])),
    "protection": optional(st.booleans()),
    "pool": optional(st.sampled_from(["lab", "other", ""])),
    "state": st.sampled_from(["started", "stopped", "present", "absent"]),
    "allow_restart": st.booleans(),
    "migrate": st.booleans(),
    "move_disks": st.just(True),
    "clone": optional(st.sampled_from([{"vmid": 9000}, {"vmid": 9000, "full": True, "storage": "fast"}])),
}
wishes = st.fixed_dictionaries(
    {"vmid": st.just(200), "name": st.just("talos-cp01"), "node": st.sampled_from(["pve1", "pve1", "pve2"])},
    optional=options,
)


class Run:
    """One run of the module on the model, without HTTP."""

    def __init__(self, model: Model, wish: dict[str, t.Any]) -> None:
        session: t.Any = model
        tasks = Tasks(session, lambda _warning: None)
        self.session = session
        self.planner = vms._Planner(session, tasks, wanted([wish]), ())
        self.planned = self.planner.look_and_plan()
        self.applier = Applier(session, tasks, shutdown_timeout=5)

    def apply(self) -> None:
        attempts.carry_out(self.planner, self.applier.apply, self.planned)

    @property
    def changes(self) -> list[dict[str, t.Any]]:
        return self.planned.plan.as_result()


TEMPLATE = Guest(
    {
        "name": "debian",
        "template": 1,
        "memory": "1024",
        "scsi0": "local:9000/base-9000-disk-0.qcow2,size=4G,discard=on",
        "ide2": "local:9000/vm-9000-cloudinit.qcow2,media=cdrom",
        "net0": "virtio=BC:24:11:00:90:00,bridge=vmbr0",
        "boot": "order=scsi0;net0",
        "smbios1": "uuid=1",
    }
)


def model() -> Model:
    made = Model({IMAGE: 4 * GIB, ISO: 1 << 20, "local:snippets/u.yml": 100})
    made.guests[9000] = copy.deepcopy(TEMPLATE)
    return made


def planned(played: Model, wish: dict[str, t.Any]) -> Run | None:
    """None when the wish is refused, as a disk that should shrink is."""
    try:
        return Run(played, copy.deepcopy(wish))
    except InvalidInput:
        return None


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_what_is_planned_is_made_and_then_nothing_is_left(data: st.DataObject) -> None:
    """Whatever is refused is refused before anything is written."""
    played = model()
    for number in range(3):
        wish = data.draw(wishes, label=f"wish {number}")
        before = copy.deepcopy(played.guests)
        predicted = planned(played, wish)
        assert played.guests == before
        assert not played.writes
        if predicted is None:
            event("refused")
            continue
        run = Run(played, copy.deepcopy(wish))
        assert run.changes == predicted.changes
        run.apply()
        assert bool(played.writes) == bool(run.changes)
        played.writes.clear()
        assert played.guests[9000] == TEMPLATE

        again = Run(played, copy.deepcopy(wish))
        assert again.changes == [], wish
        assert _without_cloud_init(again.planned.pending) == _without_cloud_init(run.planned.pending)
        _as_wished(played, wish, bool(run.planned.pending))
        event("done")


def _without_cloud_init(pending: dict[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
    """What the server knows to wait. It does not know whether a guest has booted since its cloud-init drive changed."""
    kept = {vmid: tuple(key for key in keys if not LIVE.fullmatch(key)) for vmid, keys in pending.items()}
    return {vmid: keys for vmid, keys in kept.items() if keys}


def _as_wished(played: Model, wish: dict[str, t.Any], waits: bool) -> None:
    """Looked at in the model itself, not through the code under test."""
    guest = played.guests.get(200)
    if wish.get("state") == "absent":
        assert guest is None
        return
    assert guest is not None
    if wish.get("state", "started") in ("started", "stopped"):
        assert guest.running == (wish.get("state", "started") == "started")
    assert waits or not guest.pending
    config = guest.effective()
    for key, default in (("cores", 1), ("sockets", 1), ("numa", 0), ("tablet", 1), ("protection", 0)):
        if wish.get(key) is not None:
            assert config.get(key, default) == wish[key]
    _disks_as_wished(config, wish)
    for index, nic in enumerate(wish.get("networks", [])):
        if nic.get("state") == "absent":
            assert f"net{index}" not in config
            continue
        parts = config[f"net{index}"].split(",")
        assert parts[0].split("=")[0] == nic.get("model", "virtio")
        tags = [part for part in parts if part.startswith("tag=")]
        assert tags == ([f"tag={nic['vlan']}"] if nic.get("vlan") else [])
        assert not nic.get("mac") or parts[0].split("=")[1].upper() == nic["mac"].upper()
    for drive in wish.get("cdroms", []):
        wanted_ = None if drive.get("state") == "absent" else f"{drive.get('iso') or 'none'},media=cdrom"
        assert config.get("sata0") == wanted_
    assert bool(config.get("tpmstate0")) or not wish.get("tpm")
    if wish.get("pool") is not None:
        assert guest.pool == wish["pool"]
    if wish.get("migrate"):
        assert guest.node == wish["node"]


def _disks_as_wished(config: dict[str, t.Any], wish: dict[str, t.Any]) -> None:
    for index, disk in enumerate(wish.get("disks", [])):
        if disk.get("state", "present") != "present":
            assert f"scsi{index}" not in config
            continue
        volume, *rest = config[f"scsi{index}"].split(",")
        settings = dict(part.split("=", 1) for part in rest)
        assert volume.startswith(f"{disk['storage']}:")
        assert settings["size"] == SIZES[disk["size"]]
        assert (settings.get("ssd") == "1") == bool(disk.get("ssd"))
        assert (settings.get("backup") == "0") == (disk.get("backup") is False)
    kept = [value for key, value in config.items() if key.startswith("unused")]
    assert len(kept) == len(set(kept))

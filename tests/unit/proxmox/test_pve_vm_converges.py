# SPDX-License-Identifier: GPL-3.0-or-later
"""For any wish and any VM that is there: the plan says what is changed, the change makes the wish true, and then
nothing is left to do. Check mode writes nothing and says the same."""

from __future__ import annotations

import copy
import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st
from pve_model import GIB, Model

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox import guest_run, vms
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vm_apply import Applier
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vm_spec import wanted

IMAGE = "local:import/talos.qcow2"


def optional(strategy: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.none() | strategy


disks = st.fixed_dictionaries(
    {"storage": st.just("local"), "size": st.sampled_from(["8G", "10G", "10240M"])},
    optional={
        "discard": st.booleans(),
        "ssd": st.booleans(),
        "cache": st.sampled_from(["none", "writeback"]),
        "import_from": optional(st.just(IMAGE)),
    },
)
networks = st.fixed_dictionaries(
    {"bridge": st.sampled_from(["vmbr0", "vmbr1"])},
    optional={
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
        "password": optional(st.just("not a real secret")),
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
    "ostype": optional(st.sampled_from(["l26", "other"])),
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
    "pool": optional(st.sampled_from(["lab", "other"])),
    "state": st.sampled_from(["started", "stopped", "present", "absent"]),
    "allow_restart": st.booleans(),
}
wishes = st.fixed_dictionaries(
    {"vmid": st.just(200), "name": st.just("talos-cp01"), "node": st.just("pve1")}, optional=options
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
        guest_run.carry_out(self.planner, self.applier.apply, self.planned)

    @property
    def changes(self) -> list[dict[str, t.Any]]:
        return self.planned.plan.as_result()


def growing(first: dict[str, t.Any], second: dict[str, t.Any]) -> bool:
    """A later wish with a smaller disk is refused, and tested elsewhere."""
    sizes = [[{"8G": 8}.get(disk["size"], 10) for disk in wish.get("disks", [])] for wish in (first, second)]
    return all(before <= after for before, after in zip(*sizes, strict=False))


@settings(max_examples=200)
@given(st.data())
def test_what_is_planned_is_made_and_then_nothing_is_left(data: st.DataObject) -> None:
    model = Model({IMAGE: 4 * GIB})
    first = data.draw(wishes, label="first wish")
    second = data.draw(wishes.filter(lambda wish: growing(first, wish)), label="second wish")
    for wish in (first, second):
        before = copy.deepcopy(model.guests)
        predicted = Run(model, wish)
        assert model.guests == before
        assert not model.writes

        run = Run(model, wish)
        assert run.changes == predicted.changes
        run.apply()
        assert bool(model.writes) == bool(run.changes)
        model.writes.clear()

        again = Run(model, wish)
        assert again.changes == [], wish
        _as_wished(model, wish, bool(run.planned.pending))


def _as_wished(model: Model, wish: dict[str, t.Any], waits: bool) -> None:
    """Looked at in the model itself, not through the code under test."""
    guest = model.guests.get(200)
    if wish.get("state") == "absent":
        assert guest is None
        return
    assert guest is not None
    if wish.get("state", "started") in ("started", "stopped"):
        assert guest.running == (wish.get("state", "started") == "started")
    assert waits or not guest.pending
    config = guest.effective()
    for key in ("cores", "sockets"):
        if wish.get(key) is not None:
            assert config.get(key, 1) == wish[key]
    for index, disk in enumerate(wish.get("disks", [])):
        settings = dict(part.split("=", 1) for part in config[f"scsi{index}"].split(",")[1:])
        assert settings["size"] in (disk["size"], "10G" if disk["size"] == "10240M" else disk["size"])
        assert (settings.get("ssd") == "1") == bool(disk.get("ssd"))
    for index, nic in enumerate(wish.get("networks", [])):
        parts = config[f"net{index}"].split(",")
        assert parts[0].split("=")[0] == nic.get("model", "virtio")
        assert (
            (f"tag={nic['vlan']}" in parts) if nic.get("vlan") else not any(part.startswith("tag=") for part in parts)
        )
        assert not nic.get("mac") or parts[0].split("=")[1].upper() == nic["mac"].upper()
    if wish.get("pool"):
        assert guest.pool == wish["pool"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""How changes of VMs are made: in which order, how many at a time, and what a password is compared with."""

from __future__ import annotations

import copy
import threading
import time
import typing as t

import pytest
from pve_model import GIB, PASSWORD, Guest, Model
from test_pve_vm_converges import TEMPLATE, Run

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms import sha_crypt, vm_apply
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vm_apply import Applier
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vm_spec import wanted
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms.vms import _Planner


class Busy(Model):
    """Counts how many copies of a source, and how many VMs, are worked on at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.now: dict[str, int] = {"clone": 0, "qemu": 0}
        self.most: dict[str, int] = {"clone": 0, "qemu": 0}

    def post(self, path: str, form: t.Any = None, *, asked: str) -> t.Any:
        kind = path.rpartition("/")[2]
        if kind not in self.now:
            return super().post(path, form, asked=asked)
        with self.lock:
            self.now[kind] += 1
            self.most[kind] = max(self.most[kind], self.now[kind])
        time.sleep(0.03)
        with self.lock:
            self.now[kind] -= 1
            return super().post(path, form, asked=asked)


def applied(model: Model, wishes: list[dict[str, t.Any]]) -> None:
    session: t.Any = model
    tasks = Tasks(session, lambda _warning: None)
    planner = _Planner(session, tasks, wanted(wishes), ())
    Applier(session, tasks, shutdown_timeout=5).apply(planner.look_and_plan().plan)


def wishes(count: int, **more: t.Any) -> list[dict[str, t.Any]]:
    return [
        {"vmid": 200 + number, "name": f"vm-{number}", "node": "pve1", "state": "stopped", **more}
        for number in range(count)
    ]


def test_two_copies_of_one_source_are_made_at_a_time_and_eight_vms() -> None:
    model = Busy()
    model.guests[9000] = copy.deepcopy(TEMPLATE)
    applied(model, wishes(6, clone={"vmid": 9000}))
    assert model.most["clone"] == vm_apply.CLONES == 2
    model.guests.clear()
    applied(model, wishes(12))
    assert 2 < model.most["qemu"] <= vm_apply.WORKERS == 8
    assert len(model.guests) == 12


def writes(guest: Guest, **wish: t.Any) -> list[tuple[str, str, list[str]]]:
    model = Model({"local:import/x.qcow2": 4 * GIB})
    model.guests[200] = guest
    run = Run(model, {"vmid": 200, "name": "vm", "node": "pve1", "state": "present", **wish})
    run.apply()
    return [(verb, path.rpartition("/")[2], sorted(set(form) - {"digest"})) for verb, path, form in model.writes]


def test_options_come_first_then_what_goes_then_what_comes_then_what_needs_it() -> None:
    disk = "local:200/vm-200-disk-{}.raw,size=1G"
    guest = Guest({"name": "vm", "scsi0": disk.format(0), "scsi1": disk.format(1), "scsi3": disk.format(3)})
    made = writes(
        guest,
        memory=1024,
        protection=True,
        move_disks=True,
        disks=[
            {"storage": "fast", "size": "2G", "ssd": True},
            {"state": "absent"},
            {"storage": "local", "size": "8G", "import_from": "local:import/x.qcow2"},
            {"state": "detached"},
        ],
        boot_order=["scsi2", "scsi0"],
    )
    assert made == [
        ("PUT", "config", ["delete", "memory"]),
        ("PUT", "config", ["delete", "force"]),
        ("POST", "config", ["boot", "scsi2"]),
        ("POST", "move_disk", ["delete", "disk", "storage"]),
        ("PUT", "resize", ["disk", "size"]),
        ("PUT", "resize", ["disk", "size"]),
        ("PUT", "config", ["scsi0"]),
        ("PUT", "config", ["protection"]),
    ]
    assert guest.config["scsi0"].startswith("fast:200/") and guest.config["scsi0"].endswith("size=2G,ssd=1")
    assert guest.config["unused0"] == "local:200/vm-200-disk-3.raw"


def test_a_digest_guards_the_first_write_and_only_that() -> None:
    model = Model()
    model.guests[200] = Guest({"name": "vm"})
    Run(model, {"vmid": 200, "name": "vm", "node": "pve1", "state": "present", "tpm": {"storage": "local"}}).apply()
    assert [form.get("digest") for _, _, form in model.writes] == ["d" * 40]


#: Made by OpenSSL (``openssl passwd -5``).
HASHES = [
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    ("a", "$5$saltstring$7cz4bTeQ7MnNssphNhFVrITtuJYY/1tdvLL2uzLvOk8"),
    ("x" * 70, "$5$saltstring$D1DsTGKixUiITWGe4c3jtSicDXvgr6h50agFIGXAx6/"),
]


@pytest.mark.parametrize(("password", "hashed"), HASHES)
def test_passwords_are_compared_with_their_hashes(password: str, hashed: str) -> None:
    assert sha_crypt.matches(password, hashed)
    assert not sha_crypt.matches(password + "x", hashed)
    assert not sha_crypt.matches(password, hashed.replace("$5$", "$6$"))
    assert not sha_crypt.matches(password, "**********")


@pytest.mark.parametrize(
    ("told", "password", "changes"),
    [
        (HASHES[0][1], PASSWORD, 0),
        (HASHES[0][1], "quite-different", 1),
        (HASHES[0][1], HASHES[0][1], 0),
        ("$6$other$kind", "$6$other$kind", 0),
    ],
)
def test_a_password_is_set_when_it_is_another_one(
    told: str, password: str, changes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pve_model.HASH", told)
    model = Model()
    drive = "local:200/vm-200-cloudinit.qcow2,media=cdrom"
    model.guests[200] = Guest({"name": "vm", "ide2": drive, "cipassword": "**********"})
    wish = {"vmid": 200, "name": "vm", "node": "pve1", "state": "present"}
    run = Run(model, {**wish, "cloud_init": {"storage": "local", "password": password}})
    assert len(run.changes) == changes
    assert password not in repr(run.changes) and told not in repr(run.changes)

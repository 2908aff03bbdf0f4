# SPDX-License-Identifier: GPL-3.0-or-later
"""``changes`` is exactly what a run made, once and in order, whichever of its answers is lost. One table for the modules
that make several changes in a run."""

from __future__ import annotations

import collections.abc
import dataclasses
import pathlib
import typing as t

import pytest
from pve_backups import aged, backups, guests, prepared
from pve_lab import DISK, PATHS, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import (
    proxmox_access,
    proxmox_backup,
    proxmox_backup_job,
    proxmox_firewall,
    proxmox_image,
    proxmox_mapping,
    proxmox_pool,
    proxmox_snapshot,
    proxmox_storage,
)

pytestmark = pytest.mark.needs_played("roles and storages of the tests' own are there")

ROLES = {
    "AnsibleSystem": ("/", "/storage", "/mapping", "/nodes/pve1"),
    "AnsibleAccess": ("/", "/access", *PATHS),
    "AnsiblePools": ("/pool",),
}
DAY = 86400.0


@dataclasses.dataclass(frozen=True)
class Case:
    """What is there before, what is wanted then, and how many writes that takes."""

    module: t.Any
    before: dict[str, t.Any] | None
    wish: dict[str, t.Any]
    writes: int


def _gone(**name: str) -> dict[str, t.Any]:
    return {**name, "state": "absent"}


DIR = {"type": "dir", "path": "/srv/a"}
USB = {"type": "usb", "devices": [{"node": "pve1", "id": "1234:5678"}]}
JOB = {"schedule": "02:30", "storage": "nas", "all": True}
RULES = [
    {"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "8006", "comment": "api"},
    {"type": "in", "action": "DROP", "comment": "rest"},
]
CASES = {
    "storage": Case(
        proxmox_storage,
        {"storages": [{"name": "old", **DIR}, {"name": "kept", "type": "dir", "path": "/srv/kept"}]},
        {"storages": [{"name": "new", "type": "dir", "path": "/srv/new"}, {"name": "kept", "content": ["iso"], "type": "dir"},
                      _gone(name="old")]},
        3,
    ),
    "mapping": Case(
        proxmox_mapping,
        {"mappings": [{"name": "old", **USB}, {"name": "kept", **USB}]},
        {"mappings": [{"name": "new", **USB}, {"name": "kept", "type": "usb", "description": "b"},
                      _gone(name="old", type="usb")]},
        3,
    ),
    "backup job": Case(
        proxmox_backup_job,
        {"jobs": [{"id": "old", **JOB}, {"id": "kept", **JOB}]},
        {"jobs": [{"id": "new", **JOB}, {"id": "kept", "enabled": False}, _gone(id="old")]},
        3,
    ),
    "pool": Case(
        proxmox_pool,
        {"pools": [{"name": "old"}, {"name": "kept", "vms": [201]}]},
        {"pools": [{"name": "new", "comment": "n", "vms": [310], "storages": ["local"]},
                   {"name": "kept", "vms": [], "storages": ["nas"], "exclusive": True}, _gone(name="old")]},
        5,
    ),
    "access": Case(
        proxmox_access,
        {"users": [{"name": "old@pve"}, {"name": "kept@pve"}], "groups": [{"name": "ops"}]},
        {
            "groups": [{"name": "new"}],
            "roles": [{"name": "Mine", "privileges": ["VM.Audit"]}],
            "users": [{"name": "new@pve", "groups": ["new"]}, {"name": "kept@pve", "comment": "b"}, _gone(name="old@pve")],
            "tokens": [{"name": "kept@pve!deploy", "secret_file": "ROOT/deploy.secret"}],
            "acls": [{"path": "/vms/200", "role": "Mine", "user": "kept@pve"}],
        },
        7,
    ),
    "tokens made again": Case(
        proxmox_access,
        {"users": [{"name": "ci@pve"}], "tokens": [{"name": "ci@pve!deploy", "comment": "c", "secret_file": "ROOT/first"}],
         "acls": [{"path": "/vms", "role": "PVEVMUser", "token": "ci@pve!deploy"}]},
        {"tokens": [{"name": "ci@pve!deploy", "secret_file": "ROOT/second", "replace_lost": True}]},
        3,
    ),
    "firewall": Case(
        proxmox_firewall,
        None,
        {"firewalls": [
            {"scope": "datacenter", "rules": RULES, "options": {"enable": True},
             "ipsets": [{"name": "management", "comment": "c", "entries": [{"cidr": "10.0.0.1"}, {"cidr": "10.0.0.2"}]}],
             "groups": [{"name": "web", "rules": [{"type": "in", "action": "ACCEPT", "macro": "HTTPS"}]}]},
            {"scope": "guest", "vmid": 200, "aliases": [{"name": "here", "cidr": "10.0.0.1"}], "options": {"enable": True}},
        ]},
        10,
    ),
    "snapshot": Case(
        proxmox_snapshot,
        {"snapshots": [{"vmid": 200, "name": name} for name in ("old", "also", "kept")]},
        {"snapshots": [{"vmid": 200, "name": "kept", "state": "rolled_back"}, {"vmid": 200, "name": "new", "description": "d"},
                       {"vmid": 200, "name": "also", "description": "k"}, {"vmid": 200, "name": "old", "state": "absent"}]},
        4,
    ),
    "image": Case(
        proxmox_image,
        {"images": [{"node": "pve1", "storage": "local", "filename": f"{name}.qcow2", "url": "WEB/talos.qcow2"}
                    for name in ("old", "kept")]},
        {"images": [
            {"node": "pve1", "storage": "local", "filename": "new.qcow2", "url": "WEB/talos.qcow2"},
            {"node": "pve1", "storage": "local", "filename": "kept.qcow2", "url": "WEB/other.qcow2", "compare": "size"},
            {"node": "pve1", "storage": "local", "filename": "old.qcow2", "state": "absent"},
        ]},
        4,
    ),
    "backup": Case(
        proxmox_backup, None, {"vmids": [200, 310], "storage": "nas", "retention": {"keep_last": 1}}, 4,
    ),
    "deleted backups": Case(proxmox_backup, None, {"state": "absent", "volids": "BACKUPS"}, 3),
    "restore": Case(
        proxmox_backup,
        {"vmids": [200, 310], "storage": "nas"},
        {"state": "restored", "storage": "nas",
         "restores": [{"vmid": 9200, "source_vmid": 200}, {"vmid": 310, "source_vmid": 310, "force": True},
                      {"vmid": 200, "source_vmid": 200, "force": True}]},
        4,
    ),
}  # fmt: skip
WRITES = [(name, nth) for name, case in CASES.items() for nth in range(1, case.writes + 1)]
#: Those whose writes are sent again instead of being planned again.
AGAIN = ("image", "backup", "deleted backups", "restore")
LOST = [(*one, 1) for one in WRITES] + [(*one, 2) for one in WRITES if one[0] in AGAIN]
OVERTAKEN = [one for one in WRITES if one[0] not in AGAIN]


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> collections.abc.Iterator[PveLab]:
    with prepared(tmp_path, also=ROLES) as lab:
        lab.files["other.qcow2"] = DISK + b"\0" * 512
        guests(lab)
        yield lab


def of_lab(lab: PveLab, given: t.Any) -> t.Any:
    """With the lab's own addresses and files."""
    if given == "BACKUPS":
        return backups(lab)
    if isinstance(given, dict):
        return {key: of_lab(lab, value) for key, value in given.items()}
    if isinstance(given, list):
        return [of_lab(lab, value) for value in given]
    return given.replace("WEB", lab.web).replace("ROOT", str(lab.root)) if isinstance(given, str) else given


def prepare(lab: PveLab, name: str) -> tuple[t.Any, dict[str, t.Any]]:
    case = CASES[name]
    if case.module is proxmox_backup and not case.before:
        aged(lab, 200, 5 * DAY, 4 * DAY)
        aged(lab, 310, 5 * DAY, kind="lxc")
    if case.before:
        outcome = lab.run(case.module, **of_lab(lab, case.before))
        assert outcome.result["changed"], outcome.result
    return case.module, of_lab(lab, case.wish)


@pytest.mark.parametrize(("name", "nth", "times"), LOST)
@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_what_is_told_is_what_was_planned_whichever_answer_is_lost(
    lab: PveLab, name: str, nth: int, times: int, fault: str
) -> None:
    """Nobody else is there, so what check mode says is what the run makes in all."""
    module, wish = prepare(lab, name)
    planned = lab.run(module, check=True, **wish)
    assert not planned.result.get("failed"), planned.result
    hit = lab.fault(fault, writes=True, nth=nth, times=times)
    outcome = lab.run(module, **wish)
    assert hit.hit, outcome.writes
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.changes == planned.changes
    assert without_ids(outcome) == without_ids(planned)


def without_ids(outcome: Outcome) -> list[t.Any]:
    """The entries of the report, but for what is only known afterwards."""
    lists = [
        value
        for key, value in sorted(outcome.result.items())
        if key not in ("changes", "diff") and isinstance(value, list)
    ]
    return [
        {key: entry.get(key) for key in ("name", "vmid", "id", "state", "changed")} for some in lists for entry in some
    ]


@pytest.mark.parametrize(("name", "nth"), OVERTAKEN)
def test_a_change_that_is_overtaken_after_its_first_request_is_told_as_a_whole(
    lab: PveLab, name: str, nth: int
) -> None:
    """A refusal that means that somebody else has changed the file: of any of a change's requests."""
    module, wish = prepare(lab, name)
    planned = lab.run(module, check=True, **wish)
    text = "detected modified configuration - file changed by other user? Try again."
    hit = lab.fault("answer", writes=True, nth=nth, status=500, text=text)
    outcome = lab.run(module, **wish)
    assert hit.hit, outcome.writes
    assert not outcome.result.get("failed"), outcome.result
    assert without_notes(outcome) == without_notes(planned)
    assert without_ids(outcome) == without_ids(planned)


def without_notes(outcome: Outcome) -> list[dict[str, t.Any]]:
    return [{key: value for key, value in change.items() if key != "note"} for change in outcome.changes]

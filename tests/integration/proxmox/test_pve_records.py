# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of named records, guests, images and firewalls have in common: examples, both ways, faults. One table
for all."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
import typing as t

import pve_containers as containers
import pytest
from playing import play, tasks_of, without_ways
from pve_lab import DISK, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session
from ansible_collections.groundwork.homelab.plugins.modules import (
    proxmox_access,
    proxmox_backup_job,
    proxmox_firewall,
    proxmox_image,
    proxmox_lxc,
    proxmox_mapping,
    proxmox_pool,
    proxmox_storage,
    proxmox_vm,
)

ROLES = {
    "AnsibleSystem": ("/", "/storage", "/mapping"),
    "AnsibleAccess": ("/", "/access", "/vms", "/storage", "/pool"),
    "AnsiblePools": ("/pool",),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Something to create, to change and to delete, and where its writes go. ``WEB`` stands for the lab's web server."""

    module: t.Any
    create: dict[str, t.Any]
    update: dict[str, t.Any]
    delete: dict[str, t.Any]
    path: str
    listed: str


def _one(
    module: t.Any, option: str, name: dict[str, t.Any], old: dict[str, t.Any], new: dict[str, t.Any], path: str
) -> Case:
    wishes = [{option: [{**name, **more}]} for more in (old, new, {"state": "absent"})]
    return Case(module, *wishes, path, path)


def _image(**more: t.Any) -> dict[str, t.Any]:
    return {"images": [{"node": "pve1", "storage": "local", "filename": "new.qcow2", **more}]}


def _alias(**more: t.Any) -> dict[str, t.Any]:
    return {"firewalls": [{"scope": "datacenter", "aliases": [{"name": "new", **more}]}]}


DIR = {"type": "dir", "path": "/srv/new"}
CT = {
    "hostname": "new", "node": "pve1", "state": "stopped", "ostemplate": containers.TEMPLATE,
    "rootfs": {"storage": "local", "size": "1G"},
}  # fmt: skip
VM = {"name": "new", "node": "pve1", "state": "stopped", "disks": [{"storage": "local", "size": "1G"}]}
PCI = {"devices": [{"node": "pve1", "path": "0000:00:02.0", "id": "8086:46d1"}]}
CASES = {
    "storage": _one(proxmox_storage, "storages", {"name": "new"}, DIR, {**DIR, "content": ["iso"]}, "/storage"),
    "pool": _one(proxmox_pool, "pools", {"name": "new"}, {"comment": "a"}, {"comment": "b"}, "/pools"),
    "mapping": _one(
        proxmox_mapping, "mappings", {"name": "new", "type": "pci"}, PCI, {"description": "b"}, "/cluster/mapping/pci"
    ),
    "backup job": _one(
        proxmox_backup_job, "jobs", {"id": "new"}, {"schedule": "02:30", "storage": "local", "all": True}, {"enabled": False},
        "/cluster/backup",
    ),
    "user": _one(proxmox_access, "users", {"name": "new@pve"}, {"comment": "a"}, {"comment": "b"}, "/access/users"),
    "group": _one(proxmox_access, "groups", {"name": "new"}, {"comment": "a"}, {"comment": "b"}, "/access/groups"),
    "role": _one(
        proxmox_access, "roles", {"name": "new"}, {"privileges": ["VM.Audit"]}, {"privileges": ["VM.Clone"]}, "/access/roles"
    ),
    "acl": _one(
        proxmox_access, "acls", {"path": "/vms", "role": "PVEVMUser", "user": "ansible@pve"}, {}, {"propagate": False},
        "/access/acl",
    ),
    "container": _one(proxmox_lxc, "containers", {"vmid": 310}, CT, {**CT, "memory": 1024}, "/nodes/pve1/lxc"),
    "vm": _one(proxmox_vm, "vms", {"vmid": 320}, VM, {**VM, "memory": 1024}, "/nodes/pve1/qemu"),
    "image": Case(
        proxmox_image,
        _image(url="WEB/talos.qcow2"), _image(url="WEB/other.qcow2", compare="size"), _image(state="absent"),
        "/nodes/pve1/storage/local", "/nodes/pve1/storage/local/content",
    ),
    "firewall": Case(
        proxmox_firewall,
        _alias(cidr="10.0.0.0/24"), _alias(cidr="10.0.1.0/24"), _alias(state="absent"),
        "/cluster/firewall/aliases", "/cluster/firewall/aliases",
    ),
}  # fmt: skip


@pytest.fixture
def case(lab: PveLab, name: str) -> Case:
    return of_lab(lab, name)


def of_lab(lab: PveLab, name: str) -> Case:
    """With the lab's own addresses."""
    found = CASES[name]
    wishes = [json.loads(json.dumps(one).replace("WEB", lab.web)) for one in (found.create, found.update, found.delete)]
    return dataclasses.replace(found, **dict(zip(("create", "update", "delete"), wishes, strict=True)))


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with PveLab(tmp_path, also=ROLES) as made:
        containers.put_template(made)
        made.files["other.qcow2"] = DISK + b"\0" * 512
        yield made


def step_of(lab: PveLab, case: Case, step: str) -> dict[str, t.Any]:
    """The wish of a step, with what has to be there before it."""
    if step != "create":
        outcome = lab.run(case.module, **case.create)
        assert outcome.result["changed"], outcome.result
    return t.cast("dict[str, t.Any]", getattr(case, step))


def settled(lab: PveLab, case: Case, wish: dict[str, t.Any], outcome: Outcome) -> None:
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.result["changed"]
    again = lab.run(case.module, **wish)
    assert (again.result.get("changes"), again.writes) == ([], []), again.result


# -- answers that are lost or late -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("step", ["create", "update", "delete"])
@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_is_looked_after_in_the_same_run(lab: PveLab, case: Case, step: str, fault: str) -> None:
    wish = step_of(lab, case, step)
    hit = lab.fault(fault, writes=True, path=f"{case.path}*")
    outcome = lab.run(case.module, **wish)
    assert hit.hit
    settled(lab, case, wish, outcome)


@pytest.mark.parametrize("name", CASES)
def test_a_slow_answer_is_waited_for_and_a_very_slow_one_is_looked_after(lab: PveLab, case: Case) -> None:
    lab.fault("delay", writes=True, path=f"{case.path}*", seconds=0.5)
    outcome = lab.run(case.module, **case.create)
    assert len(outcome.writes) == 1
    settled(lab, case, case.create, outcome)
    mark = lab.ledger.mark()
    lab.fault("delay", writes=True, path=f"{case.path}*", seconds=1.5)
    outcome = lab.run(case.module, api_timeout=0.5, **case.delete)
    until = time.monotonic() + 5
    while time.monotonic() < until and sum(entry.write for entry in lab.ledger.entries(mark)) < 2:
        time.sleep(0.05)  # the slow one still arrives
    settled(lab, case, case.delete, outcome)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fault", ["drop-before", "cut", "garbage"])
def test_a_list_that_is_cut_off_is_asked_for_again(lab: PveLab, case: Case, fault: str) -> None:
    lab.fault(fault, verb="GET", path=case.listed)
    outcome = lab.run(case.module, **case.create)
    settled(lab, case, case.create, outcome)


# -- answers that say no ---------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[int, str, str, str]] = {
    "401": (401, "permission denied - invalid PVE ticket", "Unauthenticated", "Does the token ansible@pve!groundwork exist"),
    "403": (403, "Permission check failed (/x, Sys.Modify)", "AccessDenied", "the right Sys.Modify on /x"),
    "redirect": (302, "Found", "Refused", "Are api_host and api_port those of a Proxmox VE API?"),
    "refused": (500, "the file is read-only", "Refused", "the file is read-only"),
    "locked": (500, "can't lock file '/var/lock/x.lck' - got timeout", "Conflict", "can't lock file"),
    "501": (501, "Method 'POST' not implemented", "Refused", "version 8.4 or newer"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.sends_bad_requests("answers of a server that refuses")
def test_a_refusal_is_quoted_and_nothing_else_is_written(lab: PveLab, case: Case, refusal: str) -> None:
    status, text, kind, message = REFUSALS[refusal]
    lab.fault("answer", writes=True, path=f"{case.path}*", status=status, text=text, times=0)
    outcome = lab.run(case.module, task_timeout=0.5, **case.create)
    assert outcome.result["error"]["kind"] == kind, outcome.result
    assert message in outcome.result["msg"]
    assert outcome.result["changed"] is False
    lab.faults.clear()
    settled(lab, case, case.create, lab.run(case.module, **case.create))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("status", "text"), [(429, "Too Many Requests"), (500, "got no worker upid - start worker failed"), (503, "try later"), (500, "can't lock file '/x' - got timeout")])  # fmt: skip
def test_a_server_that_is_busy_is_asked_again(lab: PveLab, case: Case, status: int, text: str) -> None:
    lab.fault("answer", writes=True, path=f"{case.path}*", status=status, text=text)
    settled(lab, case, case.create, lab.run(case.module, **case.create))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("data", [None, {}, "text", [1], [{"strange": 1}]])
def test_json_that_is_something_else_is_said(
    lab: PveLab, monkeypatch: pytest.MonkeyPatch, case: Case, data: t.Any
) -> None:
    real = Session.get

    def strange(session: Session, path: str, query: t.Any = None, *, asked: str = "") -> t.Any:
        return data if path == case.listed else real(session, path, query, asked=asked)

    monkeypatch.setattr(Session, "get", strange)
    outcome = lab.run(case.module, **case.create)
    assert outcome.result["error"]["kind"] == "NoRecords"
    assert "the answer is JSON, but no list of records with" in outcome.result["msg"]
    assert outcome.writes == []


def test_nothing_wished_is_nothing_done(lab: PveLab) -> None:
    for module, option in ((proxmox_storage, "storages"), (proxmox_pool, "pools"), (proxmox_mapping, "mappings")):
        outcome = lab.run(module, **{option: []})
        assert (outcome.changes, outcome.writes) == ([], [])
    assert lab.run(proxmox_access).requests == []


@pytest.mark.parametrize("name", CASES)
def test_a_ticket_that_expires_in_the_middle_is_renewed(lab: PveLab, case: Case) -> None:
    lab.fault("answer", writes=True, path=f"{case.path}*", status=401, text="permission denied - invalid PVE ticket")
    settled(lab, case, case.create, lab.run(case.module, as_root=True, **case.create))


@pytest.mark.parametrize("name", CASES)
def test_a_certificate_that_does_not_verify_stops_it(lab: PveLab, case: Case) -> None:
    outcome = lab.run(case.module, ca_path=None, **case.create)
    assert "certificate" in outcome.result["msg"].lower()
    assert outcome.requests == []


# -- others who change the same things -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["storage", "mapping"])
def test_a_file_that_somebody_else_has_changed_is_read_again(lab: PveLab, case: Case) -> None:
    wish = step_of(lab, case, "update")
    text = "update failed: detected modified configuration - file changed by other user? Try again."
    lab.fault("answer", verb="PUT", path=f"{case.path}/*", status=500, text=text)
    settled(lab, case, wish, lab.run(case.module, **wish))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("acl", "image")])
def test_what_somebody_else_has_made_meanwhile_is_taken_as_it_is(lab: PveLab, case: Case) -> None:
    """The list is old: it is there already. The next look sees it."""
    real = lab.run(case.module, check=True, **case.create)
    assert real.result["changed"]
    texts = {
        proxmox_lxc: "CT 310 already exists on node 'pve1'",
        proxmox_vm: "unable to create VM 320 - VM 320 already exists on node 'pve1'",
    }
    text = texts.get(case.module, "create failed: 'new' already exists")
    lab.fault("answer", verb="POST", path=f"{case.path}*", status=500, text=text)
    settled(lab, case, case.create, lab.run(case.module, **case.create))


# -- examples, both ways ---------------------------------------------------------------------------------------------

MODULES = {
    "storage": proxmox_storage, "pool": proxmox_pool, "mapping": proxmox_mapping, "access": proxmox_access,
}  # fmt: skip
VARIABLES = {"pbs_token_secret": "pbs-not-a-secret", "proxmox_root_password": "root-not-a-secret"}


def prepared(lab: PveLab, name: str) -> list[dict[str, t.Any]]:
    """The examples, asked by the lab's token; what they want gone is there."""
    with lab.session() as session:
        if name == "storage":
            session.post("/storage", {"storage": "old-nas", "type": "dir", "path": "/srv/old"}, asked="prepare")
        if name == "mapping":
            form = {"id": "old-zigbee", "map": "node=pve1,id=1234:5678"}
            session.post("/cluster/mapping/usb", form, asked="prepare")
    tasks = tasks_of(lab, MODULES[name].EXAMPLES)
    for task in tasks:
        for key, options in task.items():
            if key.startswith("groundwork."):
                options.pop("api_user", None)
                options.pop("api_password", None)
    return tasks


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run_and_are_idempotent(lab: PveLab, name: str, in_process: bool) -> None:
    tasks = prepared(lab, name)
    variables = {**VARIABLES, "lab_secrets_dir": str(lab.root / "secrets")}
    results = play(lab, tasks, in_process=in_process, **variables)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert all(result["changed"] for result in results)
    last = tasks if name in ("storage", "mapping", "access") else tasks[-1:]
    again = play(lab, last, in_process=in_process, **variables)
    assert [result["changes"] for result in again] == [[]] * len(last)


def test_both_ways_give_the_same_result_and_the_same_error(lab: PveLab) -> None:
    tasks: list[dict[str, t.Any]] = []
    for case in (of_lab(lab, name) for name in CASES):
        module = "groundwork.homelab." + case.module.__name__.rpartition(".")[2]
        tasks.append({module: case.create})
    tasks += [
        {"groundwork.homelab.proxmox_pool": {"pools": [{"name": "a b"}]}, "ignore_errors": True},
        {
            "groundwork.homelab.proxmox_storage": {
                "storages": [
                    {"name": "smb", "type": "cifs", "server": "nas", "share": "s", "password": "pbs-not-a-secret"}
                ]
            }
        },
    ]
    here = play(lab, tasks, "--check", "--diff", in_process=True)
    module = play(lab, tasks, "--check", "--diff", in_process=False)
    assert [without_ways(result) for result in here] == [without_ways(result) for result in module]
    assert "pbs-not-a-secret" not in str(here) + str(module)
    assert here[-1]["changes"][0]["after"]["password"] == "(hidden)"

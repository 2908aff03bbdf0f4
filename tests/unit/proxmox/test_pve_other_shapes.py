# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that is no answer of Proxmox VE: whoever sends it is named, instead of a module that fails with a TypeError, or
that takes an empty object for an empty list and makes everything anew."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Change, Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import task_start
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import NoRecords
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups import backup_reading
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.facts import (
    guest_facts,
    node_facts,
    reading,
    task_facts,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.firewall import firewall_spec, firewall_state
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.guests import guest_names
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.images import images
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import inventory_guests
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory.inventory_reading import (
    Reader,
    Reading,
    Silence,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.snapshots import snapshots
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.snapshots.snapshot_spec import wanted
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms import vm_state

GUEST = {"vmid": 200, "type": "qemu", "node": "pve1", "name": "cp01", "status": "running"}
QEMU = "/nodes/pve1/qemu/200"
LXC = "/nodes/pve1/lxc/310"
INTERFACES = f"{QEMU}/agent/network-get-interfaces"
CONTENT = "/nodes/pve1/storage/nas/content"
RIGHT: dict[str, t.Any] = {
    "/cluster/resources": [GUEST],
    f"{QEMU}/snapshot": [{"name": "current"}],
    f"{QEMU}/pending": [],
    f"{QEMU}/status/current": {"status": "running"},
    "/nodes": [{"node": "pve1", "status": "online"}],
    INTERFACES: {"result": [{"name": "eth0", "ip-addresses": [{"ip-address": "192.168.1.5"}]}]},
    f"{QEMU}/agent/get-osinfo": {"result": {"id": "debian"}},
    f"{QEMU}/config": {"agent": "1"},
}


class Session:
    """Answers as Proxmox VE does, but for one path."""

    of = "Proxmox VE at https://pve1:8006"
    connection = types.SimpleNamespace(who="ansible@pve!test", user="ansible@pve")

    def __init__(self, odd: str, answer: t.Any) -> None:
        self.answers = {**RIGHT, odd: answer}

    def get(self, path: str, _query: t.Any = None, *, asked: str = "") -> t.Any:
        assert asked
        return self.answers[path]


WISH = [{"vmid": 200, "name": "before", "state": "present"}]
FIREWALLS = [firewall_spec.Firewall("guest", vmid=200)]
SETS = [firewall_spec.IpSet("admins", True)]
PLAN = Plan.of([Change("image/x", "create", operation=types.SimpleNamespace(node="pve1"))])

LISTS: list[tuple[str, t.Callable[[t.Any], t.Any]]] = [
    ("/cluster/resources", lambda session: snapshots.read(session, wanted(WISH))),
    (f"{QEMU}/snapshot", lambda session: snapshots.read(session, wanted(WISH))),
    ("/cluster/resources", backup_reading.guests),
    ("/cluster/resources", backup_reading.storages),
    (CONTENT, lambda session: backup_reading.backups_at(session, ("pve1", "nas"))),
    ("/nodes/pve1/storage/nas/prunebackups", lambda session: backup_reading.to_prune(session, ("pve1", "nas"), {})),
    ("/cluster/resources", guest_facts.basic),
    ("/nodes", node_facts._nodes),
    ("/nodes", reading.online),
    ("/cluster/resources", lambda session: firewall_state.places(session, FIREWALLS, ())),
    ("/cluster/firewall/rules", lambda session: firewall_state.rules(session, "/cluster/firewall/rules", "")),
    ("/cluster/firewall/aliases", lambda session: firewall_state._aliases(session, "/cluster/firewall", "")),
    ("/cluster/firewall/ipset", lambda session: firewall_state._ipsets(session, "/cluster/firewall", SETS, "")),
    ("/cluster/firewall/ipset/a", lambda session: firewall_state._entries(session, "/cluster/firewall", "a")),
    ("/cluster/firewall/groups", firewall_state.group_names),
    ("/cluster/resources", lambda session: vm_state.read(session, {200})),
    (f"{QEMU}/pending", lambda session: vm_state.read(session, {200})),
    ("/nodes/pve1/storage", lambda session: vm_state._storages(session, "pve1")),
    ("/nodes/pve1/network", lambda session: vm_state._bridges(session, "pve1")),
    ("/nodes", vm_state._nodes),
    ("/pools", vm_state._pools),
    ("/cluster/mapping/pci", lambda session: vm_state._mappings(session, "pci")),
    ("/nodes/pve1/storage", lambda session: images._checked(session, PLAN)),
    ("/nodes/pve1/aplinfo", lambda session: images._appliances(session, "pve1")),
    ("/nodes", lambda session: _reader(session)._look_for_offline_nodes()),
    ("/nodes/pve1/tasks", lambda session: Tasks(session, lambda _warning: None).running("pve1")),
    ("/nodes/pve1/tasks", lambda session: task_start.Starter(session, t.cast("t.Any", None))._known("pve1", "x", 1)),
]


def _reader(session: t.Any) -> Reader:
    return Reader(lambda: session, Reading(), Silence(60, 1000.0))


@pytest.mark.parametrize("answer", ["text", [1], {}], ids=str)
@pytest.mark.parametrize(("path", "read"), LISTS, ids=[f"{number}-{path}" for number, (path, _) in enumerate(LISTS)])
def test_what_is_no_list_of_records_is_told(path: str, read: t.Callable[[t.Any], t.Any], answer: t.Any) -> None:
    with pytest.raises(NoRecords) as caught:
        read(Session(path, answer))
    assert caught.value.asked and caught.value.of == Session.of
    assert "Are api_host and api_port those of a Proxmox VE API?" in caught.value.message


RECORDS: list[tuple[str, t.Callable[[t.Any], t.Any]]] = [
    (f"{QEMU}/status/current", lambda session: vm_state.read(session, {200})),
    ("/cluster/firewall/options", firewall_state.gate),
    ("/nodes/pve1/time", lambda session: backup_reading.clock(session, "pve1")),
    (f"{CONTENT}/nas:x", lambda session: vm_state._image_size(session, "pve1", "nas:x")),
]


@pytest.mark.parametrize("answer", ["text", [1], 1], ids=str)
@pytest.mark.parametrize(("path", "read"), RECORDS, ids=[path for path, _ in RECORDS])
def test_what_is_no_record_is_told(path: str, read: t.Callable[[t.Any], t.Any], answer: t.Any) -> None:
    with pytest.raises(NoRecords) as caught:
        read(Session(path, answer))
    assert caught.value.asked and caught.value.of == Session.of


#: What modules that look things up tell of it, as an error of that thing.
LOOKED_UP: list[tuple[str, t.Callable[[t.Any, dict[str, str]], t.Any]]] = [
    ("/nodes/pve1/tasks", lambda session, errors: task_facts._list(session, "pve1", {}, errors)),
    ("/nodes/pve1/storage", lambda session, errors: node_facts._storages(session, _node(errors))),
    ("/nodes/pve1/network", lambda session, errors: node_facts._more(session, _node(errors), ["network"])),
    ("/nodes/pve1/status", lambda session, errors: node_facts._more(session, _node(errors), ["status"])),
    (f"{QEMU}/pending", lambda session, errors: guest_facts.gather(session, [_guest(errors)], ["pending"])),
    (f"{QEMU}/config", lambda session, errors: guest_facts.gather(session, [_guest(errors)], ["config"])),
    (f"{QEMU}/snapshot", lambda session, errors: guest_facts.gather(session, [_guest(errors)], ["snapshots"])),
    (INTERFACES, lambda session, errors: guest_facts.gather(session, [_guest(errors)], ["agent"])),
    (f"{QEMU}/agent/get-osinfo", lambda session, errors: guest_facts.gather(session, [_guest(errors)], ["agent"])),
    (f"{LXC}/interfaces", lambda session, errors: guest_facts.gather(session, [_ct(errors)], ["agent"])),
    (CONTENT, lambda session, errors: node_facts._fill(session, {**_node(errors), "name": "nas", "node": "pve1"}, ())),
]


def _ct(errors: dict[str, str]) -> dict[str, t.Any]:
    return {**GUEST, "type": "lxc", "vmid": 310, "errors": errors}


def _guest(errors: dict[str, str]) -> dict[str, t.Any]:
    return {**GUEST, "errors": errors}


def _node(errors: dict[str, str]) -> dict[str, t.Any]:
    return {"name": "pve1", "status": "online", "errors": errors}


@pytest.mark.parametrize("answer", ["text", [1]], ids=str)
@pytest.mark.parametrize(("path", "read"), LOOKED_UP, ids=[path for path, _ in LOOKED_UP])
def test_it_is_an_error_of_what_was_looked_up(
    path: str, read: t.Callable[[t.Any, dict[str, str]], t.Any], answer: t.Any
) -> None:
    errors: dict[str, str] = {}
    read(Session(path, answer), errors)
    (told,) = errors.values()
    assert "Are api_host and api_port those of a Proxmox VE API?" in told


@pytest.mark.parametrize("result", ["text", 1, [1], [{"ip-addresses": "text"}], [{"ip-addresses": [1]}]], ids=str)
def test_what_an_agent_answers_is_told_if_it_is_nothing_that_agents_answer(result: t.Any) -> None:
    errors: dict[str, str] = {}
    guest_facts.gather(t.cast("t.Any", Session(INTERFACES, {"result": result})), [_guest(errors)], ["agent"])
    assert errors["agent"].startswith("Could not read agent/network-get-interfaces of VM 200 on node pve1")
    assert Session.of in errors["agent"]


@pytest.mark.parametrize("path", [INTERFACES, f"{QEMU}/agent/get-osinfo"])
def test_an_old_agent_that_answers_with_an_error_is_no_wrong_shape(path: str) -> None:
    errors: dict[str, str] = {}
    guest = _guest(errors)
    said = {"error": {"bufs-truncated": False, "class": "CommandNotFound", "desc": "not found"}}
    guest_facts.gather(t.cast("t.Any", Session(path, {"result": said})), [guest], ["agent"])
    assert errors == {}
    assert guest["agent"]["available"] is (path != INTERFACES)
    assert guest["agent"]["os"] == {}
    assert path != INTERFACES or guest["agent"]["reason"] == "the agent answers: not found"


@pytest.mark.parametrize("answer", ["text", [1], {}, None, 0, True, "99"], ids=str)
def test_a_number_that_is_none_is_told(answer: t.Any) -> None:
    wish = types.SimpleNamespace(vmid=0, state="present")
    with pytest.raises(NoRecords) as caught:
        guest_names.with_new_numbers(t.cast("t.Any", Session("/cluster/nextid", answer)), [wish])
    assert "Could not ask for a free vmid (Proxmox VE at https://pve1:8006)" in caught.value.message
    assert "Are api_host and api_port those of a Proxmox VE API?" in caught.value.message


#: What an inventory says of guests: a tier, the path that is asked, what was to be read.
ASKED = [
    ("config", f"{QEMU}/config", "read the configuration"),
    ("snapshots", f"{QEMU}/snapshot", "list the snapshots"),
    ("agent", f"{QEMU}/config", "read the configuration"),
    ("agent", INTERFACES, "ask the agent"),
    ("agent", f"{LXC}/interfaces", "list the interfaces"),
    ("status", "/nodes/pve1/qemu", "list the qemu guests of node pve1"),
]


@pytest.mark.parametrize("answer", ["text", [1], 1], ids=str)
@pytest.mark.parametrize(("tier", "path", "what"), ASKED, ids=[f"{tier}-{path}" for tier, path, _ in ASKED])
def test_an_inventory_says_which_guests_have_no_facts_and_why(tier: str, path: str, what: str, answer: t.Any) -> None:
    kind = "lxc" if path.startswith(LXC) else "qemu"
    row = {**GUEST, "type": kind, "vmid": 310 if kind == "lxc" else 200}
    session = Session(path, answer)
    session.answers.setdefault(f"{LXC}/config", {"hostname": "a"})
    reader = _reader(session)
    reader.add_facts(inventory_guests.parse([row], of=session.of), [tier])
    ((told, guests),) = reader._reading.problems.items()
    assert told.startswith(f"Could not {what}") and "the answer is JSON, but" in told
    assert guests == ["node/pve1" if tier == "status" else f"{kind}/{row['vmid']}"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that look things up, on the played Proxmox VE: what they tell, what they ask for it, what they survive."""

from __future__ import annotations

import collections.abc
import dataclasses
import pathlib
import time
import typing as t

import pytest
from playing import play, tasks_of, without_ways
from pve_backups import made
from pve_lab import ROLE, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import (
    proxmox_backup_info,
    proxmox_node_info,
    proxmox_storage_info,
    proxmox_task_info,
    proxmox_vm_info,
)
from simlab.proxmox.config import NodeConfig, StorageConfig

ALL = (proxmox_backup_info, proxmox_node_info, proxmox_storage_info, proxmox_task_info, proxmox_vm_info)
NAMES = [module.__name__.rpartition(".")[2] for module in ALL]


class AgentHost:
    """Guests of which some have an agent that answers."""

    def __init__(self) -> None:
        self.answering: dict[int, list[dict[str, t.Any]]] = {}

    def agent_interfaces(self, vmid: int) -> list[dict[str, t.Any]] | None:
        return self.answering.get(vmid)

    def agent_system(self, vmid: int) -> dict[str, t.Any] | None:
        return {"id": "debian", "pretty-name": "Debian GNU/Linux 13 (trixie)", "kernel-release": "6.12.0"}

    async def power_on(self, guest: t.Any) -> None:
        """Nothing else happens when a guest of this host gets power."""

    power_off = gone = reset = nics_changed = power_on

    async def shut_down(self, vmid: int, timeout: float) -> bool:
        return True


CARDS = [
    {
        "name": "lo",
        "hardware-address": "00:00:00:00:00:00",
        "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}],
    },
    {
        "name": "ens18",
        "hardware-address": "bc:24:11:00:00:01",
        "ip-addresses": [
            {"ip-address-type": "ipv4", "ip-address": "192.168.30.50", "prefix": 24},
            {"ip-address-type": "ipv6", "ip-address": "fe80::1", "prefix": 64},
        ],
    },
]


@pytest.fixture
def guests(pve: PveLab) -> PveLab:
    """VMs 200 (running, with an agent), 201 (running, agent silent), 202 (off), 203 (running, no agent)."""
    pve.server.cluster.host = host = AgentHost()  # type: ignore[assignment]
    host.answering[200] = CARDS
    with pve.session() as session:
        session.post("/pools", {"poolid": "lab"}, asked="prepare a test")
    for vmid, more in {
        200: {"name": "talos-cp01", "agent": "1", "tags": "talos;lab", "pool": "lab"},
        201: {"name": "talos-w01", "agent": "1", "tags": "talos"},
        202: {"name": "off", "agent": "1"},
        203: {"name": "nas"},
    }.items():
        made(pve, "/nodes/pve1/qemu", vmid=vmid, memory=256, scsi0="local:1", **more)
        if vmid != 202:
            made(pve, f"/nodes/pve1/qemu/{vmid}/status/start")
    time.sleep(0.3)  # until the status daemon has seen them
    return pve


def found(outcome: Outcome) -> dict[int, dict[str, t.Any]]:
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.writes == []
    return {guest["vmid"]: guest for guest in outcome.result["guests"]}


def test_all_guests_cost_one_request(guests: PveLab) -> None:
    outcome = guests.run(proxmox_vm_info)
    assert [(entry.verb, entry.path) for entry in outcome.requests] == [("GET", "/cluster/resources")]
    known = found(outcome)
    assert list(known) == [200, 201, 202, 203]
    first = {key: value for key, value in known[200].items() if key != "uptime"}
    assert first == {
        "vmid": 200, "name": "talos-cp01", "node": "pve1", "type": "qemu", "status": "running", "template": False,
        "tags": ["lab", "talos"], "pool": "lab", "lock": "", "ha_state": "", "cpus": 1, "memory": 256 << 20,
        "disk": 1 << 30, "errors": {},
    }  # fmt: skip
    assert known[202]["status"] == "stopped"


@pytest.mark.parametrize(
    ("wanted", "vmids"),
    [
        ({"vmid": [201, 203]}, [201, 203]),
        ({"name": ["talos-*", "off"]}, [200, 201, 202]),
        ({"tag": ["TALOS", "lab"]}, [200]),
        ({"pool": ["lab"]}, [200]),
        ({"status": "stopped"}, [202]),
        ({"type": "lxc"}, []),
        ({"node": ["pve9"]}, []),
        ({"template": True}, []),
        ({"tag": ["talos"], "status": "running", "name": ["*w01"]}, [201]),
    ],
)
def test_guests_are_picked_by_what_all_options_say(guests: PveLab, wanted: dict[str, t.Any], vmids: list[int]) -> None:
    assert list(found(guests.run(proxmox_vm_info, **wanted))) == vmids


def test_a_guest_without_agent_is_no_error_and_hides_nobody(guests: PveLab) -> None:
    """The peer fails for the whole list here."""
    outcome = guests.run(proxmox_vm_info, facts=["agent"])
    agents = {vmid: guest["agent"] for vmid, guest in found(outcome).items()}
    assert agents[200]["addresses"] == ["192.168.30.50"]
    assert [card["mac"] for card in agents[200]["interfaces"]] == ["00:00:00:00:00:00", "BC:24:11:00:00:01"]
    assert {vmid: agent["reason"] for vmid, agent in agents.items()} == {
        200: "",
        201: "QEMU guest agent is not running",
        202: "it is stopped",
        203: "No QEMU guest agent configured",
    }
    assert agents[200]["os"]["pretty_name"] == "Debian GNU/Linux 13 (trixie)"
    asked = [entry.path for entry in outcome.requests if "/agent/" in entry.path]
    assert not any("/202/" in path for path in asked)
    assert all(guest["errors"] == {} for guest in outcome.result["guests"])


def test_configuration_and_what_is_pending_cost_one_request_a_guest(guests: PveLab) -> None:
    with guests.session() as session:
        session.put("/nodes/pve1/qemu/200/config", {"cores": 2, "cipassword": "secret-of-the-guest"}, asked="drift")
    outcome = guests.run(proxmox_vm_info, vmid=[200, 299], facts=["config", "pending"])
    assert [entry.path.rpartition("/")[2] for entry in outcome.requests] == ["resources", "nodes", "pending"]
    guest = found(outcome)[200]
    assert guest["pending"] == {"cores": {"current": None, "pending": 2}}
    assert (guest["config"]["cores"], guest["config"]["name"]) == (2, "talos-cp01")
    assert guest["config"]["cipassword"] == "(hidden)"
    assert outcome.result["missing"] == [299]
    alone = found(guests.run(proxmox_vm_info, vmid=[200], facts=["config"]))[200]["config"]
    assert {**alone, "digest": ""} == {**guest["config"], "digest": ""}


def test_snapshots_come_oldest_first_without_the_current_state(guests: PveLab) -> None:
    made(guests, "/nodes/pve1/qemu", vmid=210, memory=256, scsi0="local:1,format=qcow2")
    for name in ("zero", "alpha"):
        made(guests, "/nodes/pve1/qemu/210/snapshot", snapname=name, description=f"before {name}\n")
        time.sleep(1.0)  # their times are in seconds
    snapshots = found(guests.run(proxmox_vm_info, vmid=[210], facts=["snapshots"]))[210]["snapshots"]
    assert [(one["name"], one["parent"], one["description"]) for one in snapshots] == [
        ("zero", "", "before zero"),
        ("alpha", "zero", "before alpha"),
    ]


def test_what_cannot_be_read_of_one_guest_is_said_of_it_alone(guests: PveLab) -> None:
    guests.fault("answer", path="*/qemu/201/config", status=500, text="the file is broken", times=0)
    known = found(guests.run(proxmox_vm_info, facts=["config", "snapshots"]))
    assert "the file is broken" in known[201]["errors"]["config"]
    assert "config" not in known[201]
    assert known[201]["snapshots"] == []
    assert known[200]["config"]["name"] == "talos-cp01"
    assert known[200]["errors"] == {}


@pytest.mark.sends_bad_requests("without the right to ask agents")
def test_a_missing_right_for_the_agent_is_named(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != "VM.GuestAgent.Audit"]) as lab:
        lab.server.cluster.host = AgentHost()  # type: ignore[assignment]
        made(lab, "/nodes/pve1/qemu", vmid=200, memory=256, agent="1")
        made(lab, "/nodes/pve1/qemu/200/status/start")
        time.sleep(0.3)
        guest = found(lab.run(proxmox_vm_info, facts=["agent"]))[200]
        assert "VM.GuestAgent.Audit or VM.GuestAgent.Unrestricted on /vms/200" in guest["errors"]["agent"]


def test_a_guest_that_the_list_does_not_know_yet_is_asked_itself(tmp_path: pathlib.Path) -> None:
    lab = PveLab(tmp_path)
    lab.config = dataclasses.replace(lab.config, status_delay=1000.0)
    with lab:
        made(lab, "/nodes/pve1/qemu", vmid=200, name="young", memory=256, scsi0="local:1", tags="b;A")
        outcome = lab.run(proxmox_vm_info, name=["young"])
        guest = found(outcome)[200]
        assert (guest["status"], guest["memory"], guest["cpus"], guest["tags"]) == ("stopped", 256 << 20, 1, ["a", "b"])
        assert [entry.path.rpartition("/")[2] for entry in outcome.requests] == ["resources", "nodes", "current"]


# -- nodes and storages ----------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> collections.abc.Iterator[PveLab]:
    lab = PveLab(tmp_path)
    shared = StorageConfig("nfs", content=("iso", "import"), path="/mnt/pve/nfs", shared=True)
    lab.config = dataclasses.replace(
        lab.config,
        nodes=(NodeConfig(cores=8), NodeConfig("pve2", address="10.66.0.3")),
        storages=(*lab.config.storages, shared),
    )
    with lab:
        yield lab


def test_nodes_cost_one_request_and_say_more_when_asked(pair: PveLab) -> None:
    outcome = pair.run(proxmox_node_info)
    assert [entry.path for entry in outcome.requests] == ["/nodes"]
    assert [(node["name"], node["status"]) for node in outcome.result["nodes"]] == [
        ("pve1", "online"),
        ("pve2", "online"),
    ]
    more = pair.run(proxmox_node_info, name=["pve1", "pve7"], facts=["network", "version", "status"], as_root=True)
    node = more.result["nodes"][0]
    assert (more.result["missing"], len(more.result["nodes"])) == (["pve7"], 1)
    assert node["version"]["version"] == "9.1.8"
    assert node["node_status"]["pve_version"].startswith("pve-manager/9.1.8")
    assert [(one["iface"], one["type"], one["cidr"]) for one in node["network"]] == [
        ("vmbr0", "bridge", "10.66.0.2/24")
    ]
    assert node["errors"] == {}


@pytest.mark.sends_bad_requests("the token has no rights on pve2")
def test_a_fact_that_may_not_be_read_is_said_of_its_node(pair: PveLab) -> None:
    """The token of the tests has rights on pve1 only."""
    nodes = pair.run(proxmox_node_info, facts=["status"]).result["nodes"]
    assert nodes[0]["node_status"]["sockets"] >= 1
    assert "Sys.Audit on /nodes/pve2" in nodes[1]["errors"]["status"]


def test_storages_and_what_lies_on_them(pair: PveLab) -> None:
    nfs = pair.config.root / "shared" / "nfs"
    outcome = pair.run(proxmox_storage_info)
    assert outcome.requests[0].path == "/nodes"
    assert len(outcome.requests) == 3
    assert [(one["node"], one["name"], one["shared"]) for one in outcome.result["storages"]] == [
        (node, name, name == "nfs") for node in ("pve1", "pve2") for name in ("isoonly", "local", "nfs")
    ]
    assert not nfs.exists() or outcome.result["errors"] == {}
    contents = pair.run(proxmox_storage_info, content=["import"], contents=True)
    lists = [entry.path for entry in contents.requests if entry.path.endswith("/content")]
    assert sorted(lists) == [
        "/nodes/pve1/storage/local/content",
        "/nodes/pve1/storage/nfs/content",
        "/nodes/pve2/storage/local/content",
    ]
    local = next(one for one in contents.result["storages"] if (one["node"], one["name"]) == ("pve1", "local"))
    assert [(one["volid"], one["format"]) for one in local["contents"]] == [("local:import/there.qcow2", "qcow2")]
    assert local["available"] == local["total"] - local["used"]


def test_a_storage_that_cannot_be_listed_hides_no_other(pair: PveLab) -> None:
    pair.fault("answer", path="*/nfs/content", status=500, text="unable to activate storage 'nfs'", times=0)
    result = pair.run(proxmox_storage_info, contents=True).result
    broken = [one for one in result["storages"] if one["name"] == "nfs"]
    assert all("unable to activate storage 'nfs'" in one["errors"]["contents"] for one in broken)
    assert any(one["contents"] for one in result["storages"])


def test_a_node_whose_storages_cannot_be_read_is_said_loudly(pair: PveLab) -> None:
    pair.fault("answer", path="/nodes/pve2/storage", status=595, text="no route to host", times=0)
    outcome = pair.run(proxmox_storage_info, name=["local", "nope"])
    assert [one["node"] for one in outcome.result["storages"]] == ["pve1"]
    assert "no route to host" in outcome.result["errors"]["pve2"]
    assert "The storages of node pve2 could not be read" in outcome.warnings[0]
    assert outcome.result["missing"] == ["nope"]


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_a_failed_task_comes_with_the_last_lines_of_its_log(pve: PveLab) -> None:
    def process(task: dict[str, t.Any]) -> str:
        """Of its id, what does not change when a guest's number on a real server is first used."""
        return ":".join(task["upid"].split(":")[:5])

    known = {
        process(one) for more in ({}, {"state": "failed"}) for one in pve.run(proxmox_task_info, **more).result["tasks"]
    }
    pve.do("/nodes/pve1/qemu/999/status/start")
    made(pve, "/nodes/pve1/qemu", vmid=200, memory=256)
    tasks = [one for one in pve.run(proxmox_task_info).result["tasks"] if process(one) not in known]
    assert [(one["type"], one["id"], one["state"]) for one in tasks] == [
        ("qmcreate", "200", "ok"),
        ("qmstart", "999", "failed"),
    ] or [one["state"] for one in sorted(tasks, key=lambda one: one["type"])] == ["ok", "failed"]
    found = pve.run(proxmox_task_info, state="failed").result["tasks"]
    failed = [one for one in found if process(one) not in known]
    assert [one["id"] for one in failed] == ["999"]
    assert failed[0]["log"][-1] == f"TASK ERROR: {failed[0]['exit_status']}"
    assert "does not exist" in failed[0]["exit_status"]
    assert "log" not in next(one for one in tasks if one["state"] == "ok")
    again = pve.run(proxmox_task_info, upid=[failed[0]["upid"]], log_lines=1).result["tasks"]
    assert (again[0]["state"], again[0]["log"]) == ("failed", failed[0]["log"][-1:])


def test_tasks_of_one_guest_and_those_that_run(pve: PveLab) -> None:
    pve.fault("task-time", verb="POST", path="*/qemu/201/status/start", seconds=30)
    for vmid in (200, 201):
        made(pve, "/nodes/pve1/qemu", vmid=vmid, memory=256)
    with pve.session() as session:
        session.post("/nodes/pve1/qemu/201/status/start", {}, asked="go on for long")
    running = pve.run(proxmox_task_info, state="running").result["tasks"]
    assert [(one["id"], one["exit_status"], one["ended"]) for one in running] == [("201", "", 0)]
    assert {one["id"] for one in pve.run(proxmox_task_info, vmid=200).result["tasks"]} == {"200"}
    assert pve.run(proxmox_task_info, type="qmstart", limit=1).result["tasks"] == running


def test_what_is_not_there_is_said(pve: PveLab) -> None:
    outcome = pve.run(proxmox_task_info, node=["pve1", "pve9"])
    assert outcome.result["errors"] == {"pve9": "there is no such node"}
    upid = "UPID:pve1:0000075A:000AEDBF:6B015BEB:qmcreate:100:root@pam:"
    with_upid = pve.run(proxmox_task_info, upid=[upid])
    assert "no such task" in with_upid.result["errors"][upid]


# -- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ALL, ids=NAMES)
@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_is_asked_for_again(pve: PveLab, module: t.Any, fault: str) -> None:
    pve.fault(fault, verb="GET")
    outcome = pve.run(module)
    assert not outcome.result.get("failed"), outcome.result
    assert outcome.writes == []


@pytest.mark.parametrize("module", ALL, ids=NAMES)
@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (401, "Authentication failed!", "Unauthenticated"),
        (403, "Permission check failed (/, Sys.Audit)", "AccessDenied"),
    ],
)
def test_who_may_not_look_is_told(pve: PveLab, module: t.Any, status: int, text: str, kind: str) -> None:
    pve.fault("answer", verb="GET", status=status, text=text, times=0)
    result = pve.run(module).result
    assert (result["failed"], result["error"]["kind"]) == (True, kind)
    assert "ansible@pve!groundwork" in result["msg"]


@pytest.mark.parametrize("module", ALL, ids=NAMES)
@pytest.mark.parametrize(
    ("status", "text"), [(429, "slow down"), (503, "service unavailable"), (500, "got no worker upid")]
)
def test_a_busy_server_is_asked_again(pve: PveLab, module: t.Any, status: int, text: str) -> None:
    pve.fault("answer", verb="GET", status=status, text=text)
    assert not pve.run(module).result.get("failed")


@pytest.mark.parametrize("module", ALL, ids=NAMES)
def test_a_redirect_is_not_followed(pve: PveLab, module: t.Any) -> None:
    pve.fault("answer", verb="GET", status=302, text="Found", times=0)
    assert "the answer is a redirect" in pve.run(module).result["msg"]


@pytest.mark.parametrize("module", ALL, ids=NAMES)
def test_a_certificate_that_does_not_verify_stops_it(pve: PveLab, module: t.Any) -> None:
    pve.ca_path = (
        "/etc/ssl/certs/ca-certificates.crt" if pathlib.Path("/etc/ssl/certs/ca-certificates.crt").exists() else ""
    )
    assert "the certificate does not verify" in pve.run(module).result["msg"]


BAD: list[tuple[t.Any, dict[str, t.Any], str]] = [
    (proxmox_backup_info, {"vmid": [99]}, "vmid 99 is no id of a guest. They are between 100 and 999999999."),
    (proxmox_backup_info, {"vmid": ["all"]}, "unable to convert to int"),
    (proxmox_backup_info, {"storage": ["nas/../x"]}, "storage 'nas/../x' is not valid. Write the name"),
    (proxmox_backup_info, {"storage": [""]}, "storage '' is not valid"),
    (proxmox_backup_info, {"node": ["pve 1"]}, "node 'pve 1' is not valid"),
    (proxmox_backup_info, {"max_age": "soon"}, "max_age 'soon' is no time"),
    (proxmox_backup_info, {"max_age": "-1d"}, "max_age '-1d' is no time"),
    (proxmox_backup_info, {"task_timeout": -1}, "task_timeout is -1 seconds"),
    (proxmox_backup_info, {"api_port": 70000}, "api_port 70000 is no port"),
    (proxmox_vm_info, {"vmid": [7]}, "vmid 7 is no id of a guest. They are between 100 and 999999999."),
    (proxmox_vm_info, {"vmid": ["many"]}, "unable to convert to int"),
    (proxmox_vm_info, {"node": ["pve1/../x"]}, "node 'pve1/../x' is not valid. Write the name"),
    (proxmox_vm_info, {"facts": ["everything"]}, "value of facts must be one or more of: agent, config, pending, snapshots."),
    (proxmox_vm_info, {"status": "on"}, "value of status must be one of: running, stopped, unknown, got: on"),
    (proxmox_vm_info, {"type": "vm"}, "value of type must be one of: qemu, lxc, got: vm"),
    (proxmox_vm_info, {"template": "perhaps"}, "unable to convert to bool"),
    (proxmox_vm_info, {"api_host": "https://pve1"}, "api_host 'https://pve1' is no name or address"),
    (proxmox_vm_info, {"api_timeout": 0}, "api_timeout is 0 seconds. Choose a time above 0."),
    (proxmox_node_info, {"name": ["pve 1"]}, "name 'pve 1' is not valid"),
    (proxmox_node_info, {"name": [""]}, "name '' is not valid"),
    (proxmox_node_info, {"name": ["-pve"]}, "name '-pve' is not valid"),
    (proxmox_node_info, {"name": {"a": 1}}, "of type dict and we were unable to convert to list"),
    (proxmox_node_info, {"facts": ["disks"]}, "value of facts must be one or more of: network, status, version."),
    (proxmox_node_info, {"api_port": 0}, "api_port 0 is no port"),
    (proxmox_node_info, {"api_host": None}, "api_host is missing. Set it, or the environment variable PROXMOX_HOST."),
    (proxmox_node_info, {"ca_path": "/none.pem"}, "ca_path /none.pem cannot be read"),
    (proxmox_storage_info, {"name": ["a/b"]}, "name 'a/b' is not valid"),
    (proxmox_storage_info, {"name": ["1st"]}, "name '1st' is not valid"),
    (proxmox_storage_info, {"node": ["pve1?"]}, "node 'pve1?' is not valid"),
    (proxmox_storage_info, {"content": ["disk"]}, "value of content must be one or more of: backup, images, import"),
    (proxmox_storage_info, {"contents": "some"}, "unable to convert to bool"),
    (proxmox_storage_info, {"active": 7}, "unable to convert to bool"),
    (proxmox_storage_info, {"api_token_id": "ansible@pve!a b"}, "api_token_id 'a b' is no name of a token"),
    (proxmox_storage_info, {"api_token_secret": None}, "api_token_secret is missing for the token ansible@pve!groundwork"),
    (proxmox_task_info, {"upid": ["UPID:pve1"]}, "upid 'UPID:pve1' is no id of a task. It looks like UPID:pve1"),
    (proxmox_task_info, {"limit": 0}, "limit is 0. Choose 1 or more."),
    (proxmox_task_info, {"log_lines": -1}, "log_lines is -1. Choose 0 or more."),
    (proxmox_task_info, {"since": -5}, "since is -5. Choose 0 or more."),
    (proxmox_task_info, {"vmid": 1}, "vmid 1 is no id of a guest"),
    (proxmox_task_info, {"type": "qm start"}, "type 'qm start' is no kind of task"),
    (proxmox_task_info, {"node": ["a_b"]}, "node 'a_b' is not valid"),
    (proxmox_task_info, {"state": "broken"}, "value of state must be one of: running, ok, warnings, failed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "params", "message"),
    BAD,
    ids=[f"{m.__name__.rpartition('_')[0].rpartition('_')[2]}-{n}" for n, (m, _, _) in enumerate(BAD)],
)
def test_bad_input_is_said_and_asks_nobody(pve: PveLab, module: t.Any, params: dict[str, t.Any], message: str) -> None:
    mark = pve.ledger.mark()
    try:
        text = pve.run(module, **params).result["msg"]
    except AssertionError as error:
        text = str(error)  # refused by the specification
    assert message in text
    assert pve.ledger.entries(mark) == []


def test_the_examples_run_the_same_in_both_ways(guests: PveLab) -> None:
    tasks = [task for module in ALL for task in tasks_of(guests, module.EXAMPLES)]
    here, there = (play(guests, tasks, in_process=way) for way in (True, False))
    assert [result.get("msg") for result in here if result.get("failed")] == []
    assert [steady(result) for result in here] == [steady(result) for result in there]
    assert here[-3]["guests"][0]["vmid"] == 200


def steady(value: t.Any) -> t.Any:
    """Without what goes on between two looks."""
    if isinstance(value, dict):
        kept = {key: steady(item) for key, item in without_ways(value).items()}
        return {key: item for key, item in kept.items() if key not in ("uptime", "memory_used", "used", "free", "load")}
    return [steady(item) for item in value] if isinstance(value, list) else value

# SPDX-License-Identifier: GPL-3.0-or-later
"""talos_info on played nodes: what each fact costs, several nodes at once, and errors that stay with their node."""

from __future__ import annotations

import collections
import threading
import time
import typing as t

import pytest
import yaml
from talos_lab import PlayedLab
from test_talos_life import build, steps

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import info, pki, secrets_bundle, talosconfig
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.client import Client
from simlab.faults import Fault

Json = dict[str, t.Any]

GET, LIST = "/cosi.resource.State/Get", "/cosi.resource.State/List"
#: The calls of each fact, besides the one of the stage.
CALLS = {
    "version": ["/machine.MachineService/Version"],
    "hostname": [GET],
    "type": [GET],
    "services": ["/machine.MachineService/ServiceList"],
    "disks": [LIST, LIST],
    "links": [LIST],
    "addresses": [LIST],
    "extensions": [LIST],
    "members": [LIST],
}


def asked(lab: PlayedLab, name: str = "cp1", **params: t.Any) -> tuple[Json, list[str]]:
    """A node's entry, and the calls that it took."""
    mark = lab.ledger.mark()
    result = lab.run("info", nodes=[{"name": name, "address": lab.address(name)}], **params)
    assert not result.get("failed"), result
    assert not result["changed"] and result["changes"] == []
    return result["nodes"][0], [entry.path for entry in lab.ledger.entries(mark)]


def use_talosconfig(lab: PlayedLab, *names: str, roles: t.Sequence[str] = ("os:admin",)) -> str:
    authority = secrets_bundle.load(lab.secrets_path).authority("os")
    context = talosconfig.Context(
        "lab",
        tuple(lab.address(name) for name in names),
        authority.crt,
        pki.client_certificate(authority, list(roles)),
    )
    path = lab.path / "talosconfig"
    private_files.replace(path, talosconfig.render(context))
    return str(path)


def _wait_for_answers(lab: PlayedLab, name: str) -> None:
    for _ in range(200):
        if not lab.run("info", nodes=[lab.address(name)], facts=[], on_error="ignore")["silent"]:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{name} does not answer")


@pytest.fixture
def one(lab: PlayedLab) -> PlayedLab:
    build(lab, "cp1")
    return lab


def test_each_fact_costs_the_calls_that_it_says(one: PlayedLab) -> None:
    assert set(CALLS) == set(info.FACTS)
    for fact, calls in CALLS.items():
        found, made = asked(one, facts=[fact])
        assert made == [GET, *calls] and info.FACTS[fact].calls == len(calls), fact
        assert found["problems"] == []
    found, made = asked(one, facts=list(CALLS))
    assert collections.Counter(made) == collections.Counter(
        [GET, *(call for calls in CALLS.values() for call in calls)]
    )
    _check_facts(one, found)
    assert asked(one, facts=[])[1] == [GET]


def _check_facts(lab: PlayedLab, found: Json) -> None:
    address = lab.address("cp1")
    assert (found["stage"], found["ready"], found["unmet"], found["maintenance"]) == ("running", True, [], False)
    assert (found["version"], found["arch"], found["platform"]) == ("v1.13.9", "amd64", "nocloud")
    assert (found["hostname"], found["type"]) == ("cp1", "controlplane")
    etcd = next(one for one in found["services"] if one["id"] == "etcd")
    assert etcd["state"] == "Running" and etcd["healthy"] is True
    assert [(one["path"], one["size"], one["system"]) for one in found["disks"]] == [("/dev/sda", 32 << 30, True)]
    assert {one["name"]: one["up"] for one in found["links"]}["lo"] is True
    assert f"{address}/24" in [one["address"] for one in found["addresses"]]
    assert len(found["schematic"]) == 64 and all(one["name"] != "schematic" for one in found["extensions"])
    member = {key: found["members"][0][key] for key in ("name", "addresses", "type", "version", "control_plane_port")}
    assert member == {
        "name": "cp1",
        "addresses": [address],
        "type": "controlplane",
        "version": "v1.13.9",
        "control_plane_port": 6443,
    }


def test_any_resource_can_be_read(one: PlayedLab) -> None:
    wanted = [
        {"namespace": "network", "type": "HostnameStatuses.net.talos.dev"},
        {"namespace": "runtime", "type": "MachineStatuses.runtime.talos.dev", "id": "machine"},
        {"namespace": "runtime", "type": "MachineStatuses.runtime.talos.dev", "id": "none"},
        {"namespace": "runtime", "type": "NoSuch.runtime.talos.dev"},
    ]
    found, made = asked(one, facts=[], resources=wanted)
    assert made == [GET, LIST, GET, GET, LIST]
    hostnames, machine, none = (entry["found"] for entry in found["resources"])
    assert hostnames[0]["spec"] == {"hostname": "cp1", "domainname": ""}
    assert machine[0]["spec"]["stage"] == "running" and machine[0]["phase"] == "running" and none == []
    [problem] = found["problems"]
    assert problem["fact"] == "runtime/NoSuch.runtime.talos.dev" and "is not supported" in problem["msg"]
    assert any("is not supported" in warning for warning in one.warned)


def test_secrets_are_read_only_when_that_is_said_and_those_of_the_bundle_are_hidden(one: PlayedLab) -> None:
    config = [{"namespace": "config", "type": "MachineConfigs.config.talos.dev"}]
    mark = one.ledger.mark()
    refused = one.run("info", nodes=[one.address("cp1")], resources=config)
    assert refused["failed"] and "holds secrets" in refused["msg"]
    assert one.ledger.entries(mark) == []
    found, _made = asked(one, facts=[], resources=config, sensitive=True)
    assert "machine:" in found["resources"][0]["found"][0]["spec"]
    token = yaml.safe_load(one.secrets_path.read_text())["trustdinfo"]["token"]
    assert token in one.secrets  # so that whatever shows the result masks it


def test_a_node_in_maintenance_tells_what_it_tells_anybody(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    _wait_for_answers(lab, "cp1")
    found, _made = asked(lab, facts=["version", "type", "disks"])
    assert (found["maintenance"], found["stage"], found["version"]) == (True, "maintenance", "v1.13.9")
    assert found["disks"][0]["path"] == "/dev/sda"
    assert [problem["fact"] for problem in found["problems"]] == ["type"]


def test_one_silent_node_is_its_own_trouble(one: PlayedLab) -> None:
    nodes = [one.address("cp2"), {"name": "cp1", "address": one.address("cp1"), "type": "controlplane"}]
    result = one.run("info", nodes=nodes, on_error="warn")
    silent, there = result["nodes"]
    assert (silent["reachable"], there["reachable"], there["version"]) == (False, True, "v1.13.9")
    assert silent["error"]["kind"] == "Unreachable" and "refused" in silent["error"]["msg"].lower()
    assert result["silent"] == [one.address("cp2")]
    assert len(one.warned) == 1 and one.address("cp2") in one.warned[0]
    one.warned.clear()
    assert not one.run("info", nodes=nodes, on_error="ignore").get("failed") and one.warned == []
    failed = one.run("info", nodes=nodes, on_error="fail")
    assert failed["failed"] and one.address("cp2") in failed["msg"] and "See on_error" in failed["msg"]


def test_nobody_at_all_is_an_error_unless_it_is_ignored(one: PlayedLab) -> None:
    one.power_off("cp1")
    nodes = [one.address("cp1"), one.address("cp2")]
    failed = one.run("info", nodes=nodes)
    assert failed["failed"] and "Could not get an answer of any node" in failed["msg"]
    ignored = one.run("info", nodes=nodes, on_error="ignore")
    assert ignored["silent"] == nodes


def test_nodes_are_asked_at_the_same_time_and_told_in_order(lab: PlayedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cp1", "w1", "w2", "w3"]
    build(lab, *names)
    together, ask = threading.Barrier(len(names)), Client.version_facts

    def when_all_are_there(client: Client) -> Json:
        together.wait(60)  # broken, and with it the answer, where one is asked only after the other
        return ask(client)

    monkeypatch.setattr(Client, "version_facts", when_all_are_there)
    result = lab.run("info", nodes=lab.described(*names), facts=["version", "type"])
    assert not together.broken
    assert [node["name"] for node in result["nodes"]] == names
    assert [node["type"] for node in result["nodes"]] == ["controlplane", "worker", "worker", "worker"]


def test_a_talosconfig_says_who_asks_and_whom(one: PlayedLab) -> None:
    path = use_talosconfig(one, "cp1", roles=["os:reader"])
    result = one.run("info", secrets_path=None, talosconfig=path, facts=["version", "services"])
    assert [node["address"] for node in result["nodes"]] == [one.address("cp1")]
    sensitive = [{"namespace": "config", "type": "MachineConfigs.config.talos.dev"}]
    denied = one.run("info", secrets_path=None, talosconfig=path, resources=sensitive, sensitive=True, on_error="fail")
    assert denied["failed"] and "os:admin" in denied["msg"] and "PERMISSION_DENIED" in denied["msg"]


def test_a_node_of_another_cluster_is_told(one: PlayedLab) -> None:
    private_files.replace(one.secrets_path, secrets_bundle.dump(secrets_bundle.generate()))
    result = one.run("info", nodes=[one.address("cp1")], on_error="ignore")
    assert result["nodes"][0]["error"]["kind"] == "Unauthenticated"
    assert "another secrets bundle" in result["nodes"][0]["error"]["msg"]


@pytest.mark.parametrize("kind", ["drop-before", "garbage", "cut"])
@pytest.mark.parametrize("nth", [1, 2])
def test_an_answer_that_is_lost_is_asked_for_again(one: PlayedLab, kind: str, nth: int) -> None:
    one.faults.add(Fault(kind, api="talos", nth=nth))
    assert one.run("info", nodes=[one.address("cp1")])["nodes"][0]["version"] == "v1.13.9"


#: What a call that goes wrong makes of the node, and what stands in its error.
FAULTS: list[tuple[Json, str, str]] = [
    ({"kind": "delay", "args": {"seconds": 5}}, "Unreachable", "DEADLINE_EXCEEDED"),
    ({"kind": "garbage"}, "", ""),
    ({"kind": "cut"}, "", ""),
    ({"kind": "answer", "args": {"status": "INTERNAL", "text": "disk is gone"}}, "ServerFault", "disk is gone"),
    ({"kind": "answer", "args": {"status": "UNAVAILABLE", "text": "too much"}}, "Unreachable", "too much"),
    ({"kind": "answer", "args": {"status": "UNAUTHENTICATED", "text": "who"}}, "Unauthenticated", "who"),
]


@pytest.mark.parametrize(("fault", "kind", "text"), FAULTS)
def test_a_node_that_goes_on_failing_has_its_error(one: PlayedLab, fault: Json, kind: str, text: str) -> None:
    one.faults.add(Fault(**fault, api="talos", path="*/Version", times=0))
    result = one.run("info", nodes=[one.address("cp1")], timeout=1, on_error="ignore")
    error = result["nodes"][0]["error"]
    assert (not kind or error["kind"] == kind) and text in error["msg"]
    assert "Version" in error["msg"] and one.address("cp1") in error["msg"]


def test_what_is_refused_is_a_problem_of_that_fact(one: PlayedLab) -> None:
    arguments = {"status": "UNIMPLEMENTED", "text": "not here"}
    one.faults.add(Fault("answer", api="talos", path="*/ServiceList", times=0, args=arguments))
    found, _made = asked(one, facts=["services", "version"])
    assert found["version"] == "v1.13.9" and "services" not in found
    assert [(problem["fact"], "not here" in problem["msg"]) for problem in found["problems"]] == [("services", True)]


def test_check_mode_is_the_same(one: PlayedLab) -> None:
    params: Json = {"nodes": [one.address("cp1")], "facts": ["version", "members"]}
    assert one.run("info", check=True, **params) == one.run("info", **params)
    assert [entry for entry in one.ledger.entries() if entry.write] and len(steps(one, "cp1")) == 5

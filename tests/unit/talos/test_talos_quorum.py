# SPDX-License-Identifier: GPL-3.0-or-later
"""Which members of etcd may go away: against a model of a majority; snapshots as files; what the options refuse."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import types
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talos_room import run

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput, Refused, Unreachable
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import channel, quorum, recovery, snapshot_file
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.client import Member, Service
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.node import Sight, State
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.quorum import Voter, problem
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Deadline

NODES = [{"name": "cp1", "address": "10.77.0.11", "type": "controlplane"}]


def members(*healthy: bool) -> list[Voter]:
    return [Voter(f"cp{number}", f"10.77.0.{10 + number}", well) for number, well in enumerate(healthy, 1)]


@pytest.mark.parametrize(
    ("healthy", "leaving", "leave", "why"),
    [
        ((True, True, True), {"cp3"}, False, ""),
        ((True, True, True), {"cp3"}, True, ""),
        ((True, True, True), {"w1"}, False, ""),
        ((True,), {"cp1"}, False, ""),
        ((True,), {"cp1"}, True, "cp1 would take the last data of etcd along, and with it the cluster"),
        ((True, True), {"cp2"}, True, ""),
        (
            (True, True),
            {"cp2"},
            False,
            "etcd has 2 voting members; without cp2 1 would be left, and its quorum is 2 of 2",
        ),
        (
            (True, True, False),
            {"cp2"},
            False,
            "etcd has 3 voting members, not healthy: cp3; without cp2 1 would be left, and its quorum is 2 of 3",
        ),
        ((True, True, False), {"cp3"}, False, ""),
        (
            (True, True, True),
            {"cp1", "cp2", "cp3"},
            False,
            "etcd has 3 voting members; without cp1, cp2, cp3 0 would be left, and its quorum is 2 of 3",
        ),
    ],
)
def test_the_quorum_is_told_as_it_is(healthy: tuple[bool, ...], leaving: set[str], leave: bool, why: str) -> None:
    assert problem(members(*healthy), leaving, leave=leave) == why


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data(), st.booleans())
def test_whoever_may_go_leaves_a_majority_if_there_was_one(
    healthy: list[bool], data: st.DataObject, leave: bool
) -> None:
    found = members(*healthy)
    leaving = data.draw(st.sets(st.sampled_from([voter.name for voter in found])))
    had = sum(healthy) > len(found) / 2
    if problem(found, leaving, leave=leave) or not had:
        return
    left = [voter for voter in found if voter.name not in leaving]
    voting = len(left) if leave else len(found)
    assert sum(voter.healthy for voter in left) > voting / 2 or (len(found) == 1 and not leave)


# --- who is who, and who is asked
class Etcd:
    """One cluster as its nodes tell it: members with their URLs, and the addresses where an etcd serves."""

    def __init__(self, members: list[Member], serving: dict[str, str], runs_on: str = "10.77.0.11") -> None:
        self.members, self.serving, self.runs_on = members, serving, runs_on
        self.asked: list[str] = []
        #: Of Talos's discovery: spec by id.
        self.discovered: dict[str, t.Any] = {}

    def open(self, node: Node) -> t.Any:
        return contextlib.nullcontext(self._client(node.address))

    def look(self, node: Node) -> Sight:
        self.asked.append(node.address)
        if node.address not in self.serving:
            return Sight(State.SILENT, reason=Unreachable("connect", answer="connection timed out"))
        return Sight(State.OURS, self._client(node.address), "running")

    def _client(self, address: str) -> t.Any:
        runs = address in self.serving or address == self.runs_on
        services = [Service("etcd", "Running", True, "up")] if runs else []
        return types.SimpleNamespace(
            of=address,
            services=lambda: services,
            etcd_members=lambda: self.members,
            hostname=lambda: self.serving.get(address, ""),
            resources=lambda _namespace, kind: self.discovered if kind.startswith("Members.") else {},
            channel=types.SimpleNamespace(close=lambda: None),
        )


def member(number: int, name: str = "", *, peer: str = "", client: str = "", learner: bool = False) -> Member:
    host = f"10.77.0.{10 + number}"
    peers, clients = (f"https://{peer or host}:2380",), (f"https://{client or host}:2379",)
    return Member(number, name or f"cp{number}", peers, learner, clients)


SERVING = {f"10.77.0.{10 + number}": f"cp{number}" for number in (1, 2, 3)}
CPS = [Node(name, address, "controlplane") for address, name in SERVING.items()]


def judged(etcd: Etcd, leaving: list[quorum.Leaving], *, nodes: list[Node] = CPS, leave: bool = False) -> str:
    """Why they may not go, or the empty string."""
    guard = quorum.Guard(t.cast(t.Any, etcd), nodes, Deadline(5), "Wait.")
    try:
        guard.judge("reboot", guard.members("reboot"), leaving, leave=leave)
    except Refused as error:
        return error.answer
    return ""


def test_a_member_is_known_by_its_node_s_address_when_its_name_is_another() -> None:
    etcd = Etcd([member(1, "talos-a"), member(2, "talos-b"), member(3)], {"10.77.0.11": "cp1", "10.77.0.12": "cp2"})
    why = judged(etcd, [quorum.Leaving(CPS[1], "cp2")])
    assert (
        why == "etcd has 3 voting members, not healthy: cp3; without talos-b 1 would be left, and its quorum is 2 of 3"
    )


def test_a_node_that_runs_etcd_and_is_no_member_may_not_go() -> None:
    etcd = Etcd([member(1), member(2), member(3)], SERVING)
    stranger = quorum.Leaving(Node("cp9", "10.77.0.19", "controlplane"), "cp9")
    assert judged(etcd, [stranger]) == (
        "etcd runs on cp9, and none of its members has that name or address: it has cp1, cp2, cp3"
    )


def test_a_learner_may_go() -> None:
    etcd = Etcd([member(1), member(2), member(3, learner=True)], SERVING)
    assert judged(etcd, [quorum.Leaving(CPS[2], "cp3")]) == ""


def test_members_whose_peers_have_a_network_of_their_own_are_asked_at_their_nodes() -> None:
    """etcd.advertisedSubnets: the addresses of peers are those of a network that we may not reach."""
    members = [member(number, peer=f"172.16.0.{number}", client=f"172.16.0.{number}") for number in (1, 2, 3)]
    etcd = Etcd(members, SERVING)
    assert judged(etcd, [quorum.Leaving(CPS[0], "cp1")]) == ""
    assert sorted(etcd.asked) == sorted(SERVING)


def test_a_name_of_the_task_s_that_is_another_machine_s_does_not_count() -> None:
    """cp3 is off, and the task has its name at the address of cp2."""
    members = [member(number, peer=f"172.16.0.{number}", client=f"172.16.0.{number}") for number in (1, 2, 3)]
    wrong = [CPS[0], CPS[1], Node("cp3", "10.77.0.12", "controlplane")]
    etcd = Etcd(members, {"10.77.0.11": "cp1", "10.77.0.12": "cp2"})
    assert "not healthy: cp3" in judged(etcd, [quorum.Leaving(CPS[0], "cp1")], nodes=wrong)


def test_a_member_is_asked_at_the_address_of_its_clients_too() -> None:
    members = [member(number, peer=f"172.16.0.{number}") for number in (1, 2, 3)]
    assert judged(Etcd(members, SERVING), [quorum.Leaving(CPS[0], "cp1")], nodes=CPS[:1]) == ""


def test_members_of_another_network_are_found_by_discovery_when_the_task_does_not_name_them() -> None:
    """A reset, or the reboot of one node, names that node alone."""
    members = [member(number, peer=f"172.16.0.{number}", client=f"172.16.0.{number}") for number in (1, 2, 3)]
    etcd = Etcd(members, SERVING)
    leaving = [quorum.Leaving(CPS[0], "cp1")]
    assert "not healthy: cp2, cp3" in judged(etcd, leaving, nodes=CPS[:1]), "discovery is off"
    etcd.discovered = {
        name: {"hostname": name, "machineType": "controlplane", "addresses": [f"172.16.0.{name[2:]}", address]}
        for address, name in SERVING.items()
    }
    assert judged(etcd, leaving, nodes=CPS[:1]) == ""
    del etcd.serving["10.77.0.13"]
    assert "not healthy: cp3" in judged(etcd, leaving, nodes=CPS[:1])
    etcd.discovered["cp3"]["addresses"] = ["10.77.0.12"]  # which is cp2 by now
    assert "not healthy: cp3" in judged(etcd, leaving, nodes=CPS[:1])


# --- snapshots
def database(pages: int = 2) -> bytes:
    return (bytes(16) + (0xED0CDAED).to_bytes(4, "little")).ljust(4096 * pages, b"x")


def made(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.write_bytes(content)
    return path


def test_a_snapshot_is_read_whole(tmp_path: pathlib.Path) -> None:
    content = database(600) + hashlib.sha256(database(600)).digest()
    found = snapshot_file.read(made(tmp_path / "s", content), "recover_from")
    assert found.checked and found.size == len(content)
    assert b"".join(found.parts()) == content
    assert {len(part) for part in found.parts()} == {snapshot_file.PART, len(content) % snapshot_file.PART}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "which is no snapshot of etcd"),
        (b"apiVersion: v1\nkind: List\n", "which is no snapshot of etcd"),
        (database() + bytes(32), "which is damaged: its checksum is that of other content"),
        (
            database() + b"\0" + hashlib.sha256(database()).digest(),
            "which is cut off: 8225 bytes are no whole snapshot",
        ),
        (database()[:5000], "which is cut off: 5000 bytes are no whole snapshot"),
        (None, "which cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_snapshot_is_refused(tmp_path: pathlib.Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "s" if content is None else made(tmp_path / "s", content)
    with pytest.raises(InvalidInput) as caught:
        snapshot_file.read(path, "recover_from")
    assert f"recover_from is {path}, {why}" in caught.value.message


def test_a_copy_of_a_database_wants_a_word(tmp_path: pathlib.Path) -> None:
    found = snapshot_file.read(made(tmp_path / "db", database()), "recover_from")
    with pytest.raises(InvalidInput, match="which has no checksum"):
        recovery.checked(found, skip_hash_check=False)
    assert recovery.checked(found, skip_hash_check=True).shown() == {"recovered from": "db"}


# --- what is refused before anybody is asked
CASES: list[tuple[str, dict[str, t.Any], str]] = [
    ("talos_reboot", {"nodes": []}, "nodes is empty"),
    ("talos_reboot", {}, "missing required arguments: nodes"),
    ("talos_reboot", {"nodes": [*NODES, *NODES]}, "nodes has the name cp1 more than once"),
    ("talos_reboot", {"nodes": [{**NODES[0], "address": "10.77.0.11:50000"}]}, "neither an IP address nor a host name"),
    ("talos_reboot", {"nodes": [{**NODES[0], "name": "CP 1"}]}, "nodes[0].name is 'CP 1', which no Kubernetes node"),
    ("talos_reboot", {"nodes": [{**NODES[0], "type": "master"}]}, "value of type must be one of"),
    ("talos_reboot", {"nodes": NODES, "mode": "hard"}, "value of mode must be one of: default, powercycle, force"),
    ("talos_reboot", {"nodes": NODES, "wait_timeout": 0}, "wait_timeout is 0"),
    ("talos_reboot", {"nodes": NODES, "timeout": -1}, "timeout is -1"),
    ("talos_reset", {"node": "10.77.0.11"}, "missing required arguments: node_name"),
    ("talos_reset", {"node_name": "cp1"}, "missing required arguments: node"),
    ("talos_reset", {"node": "10.77.0.11/24", "node_name": "cp1"}, "node is '10.77.0.11/24', which is neither"),
    ("talos_reset", {"node": "10.77.0.11", "node_name": ""}, "node_name is '', which no Kubernetes node"),
    ("talos_reset", {"node": "10.77.0.11", "node_name": "cp1", "partitions": ["BOOT"]}, "must be one or more of"),
    ("talos_reset", {"node": "10.77.0.11", "node_name": "cp1", "partitions": []}, "Nothing is to be wiped"),
    (
        "talos_reset",
        {"node": "10.77.0.11", "node_name": "cp1", "partitions": ["STATE"], "system_disk": True},
        "partitions and system_disk are both given",
    ),
    ("talos_reset", {"node": "10.77.0.11", "node_name": "cp1", "user_disks": ["sdb"]}, "user_disks has 'sdb'"),
    ("talos_reset", {"node": "10.77.0.11", "node_name": "cp1", "wait_timeout": -3}, "wait_timeout is -3"),
    (
        "talos_bootstrap",
        {"node": "10.77.0.11", "cluster_name": "lab", "recover_from": "/no/such"},
        "recover_from is /no/such, which cannot be read",
    ),
    (
        "talos_bootstrap",
        {"node": "10.77.0.11", "cluster_name": "lab", "recover_skip_hash_check": True},
        "recover_skip_hash_check is set without recover_from",
    ),
]


@pytest.mark.parametrize(("module", "params", "message"), CASES)
def test_bad_input_is_told(
    bundle_path: pathlib.Path, module: str, params: dict[str, t.Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: t.Any) -> t.Any:
        raise AssertionError("a node was called")

    monkeypatch.setattr(channel, "_connect", refuse)
    outcome = run(module, {"secrets_path": str(bundle_path), **params})
    assert outcome["failed"] and not outcome["changed"]
    assert message in outcome["msg"]

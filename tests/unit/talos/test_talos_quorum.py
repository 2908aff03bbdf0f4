# SPDX-License-Identifier: GPL-3.0-or-later
"""Which members of etcd may go away: against a model of a majority; snapshots as files; what the options refuse."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talos_room import run

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import recovery, snapshot_file
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.quorum import Voter, problem

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
def test_bad_input_is_told(bundle_path: pathlib.Path, module: str, params: dict[str, t.Any], message: str) -> None:
    outcome = run(module, {"secrets_path": str(bundle_path), **params})
    assert outcome["failed"] and not outcome["changed"]
    assert message in outcome["msg"]

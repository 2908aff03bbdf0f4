# SPDX-License-Identifier: GPL-3.0-or-later
"""talos_info, talos_etcd_info and talos_etcd_snapshot without a network: bad input, plans, what a snapshot is."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import pathlib
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talos_room import run

from ansible_collections.groundwork.homelab.plugins.module_utils.plan import Plan
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import channel, etcd, etcd_snapshot, info
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.client import Member, MemberStatus
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.modules import talos_info

Json = dict[str, t.Any]
GOOD: Json = {"nodes": ["10.77.0.11"]}
SPEC: Json = {"namespace": "runtime", "type": "MachineStatuses.runtime.talos.dev"}

#: What is wrong with any list of nodes.
NODES: list[tuple[Json, str]] = [
    ({"nodes": []}, "nodes is empty. Only a talosconfig knows endpoints of its own."),
    (
        {"nodes": ["10.77.0.11:50000"]},
        "nodes[0] is '10.77.0.11:50000', which is neither an IP address nor a host name.",
    ),
    ({"nodes": ["10.77.0.11", "10.77.0.11"]}, "nodes has the name 10.77.0.11 more than once."),
    ({"nodes": [{"name": "a"}]}, "Give an address, or a mapping with an address and a name"),
    ({"nodes": [{"address": "10.77.0.11", "port": 1}]}, "nodes[0] has port. A node has a name, an address and a type."),
    ({"nodes": [7]}, "nodes[0] is 7."),
    ({"nodes": [{"name": "a", "address": "10.77.0.11"}, {"name": "b", "address": "10.77.0.11"}]}, "the address"),
    ({"nodes": ["10.77.0.11"], "timeout": 0}, "timeout is 0. It is a number of seconds greater than 0."),
]
INFO: list[tuple[Json, str]] = [
    ({**GOOD, "facts": ["weather"]}, "value of facts must be one or more of"),
    ({**GOOD, "on_error": "cry"}, "value of on_error must be one of: ignore, warn, fail, got: cry"),
    ({**GOOD, "resources": [{"type": "x"}]}, "missing required arguments: namespace found in resources"),
    ({**GOOD, "resources": [{**SPEC, "type": "machine"}]}, "resources[0].type is 'machine', which is no full name"),
    ({**GOOD, "resources": [{**SPEC, "namespace": " "}]}, "resources[0].namespace is empty"),
    ({**GOOD, "resources": [SPEC, SPEC]}, "resources has runtime/MachineStatuses.runtime.talos.dev more than once"),
    ({**GOOD, "resources": [{**SPEC, "type": "MachineConfigs.config.talos.dev"}]}, "holds secrets"),
    (
        {**GOOD, "resources": [{"namespace": "controlplane", "type": "Manifests.kubernetes.talos.dev"}]},
        "Manifests.kubernetes.talos.dev holds secrets",
    ),
    (
        {**GOOD, "resources": [{"namespace": "controlplane", "type": "ExtraManifestsConfigs.kubernetes.talos.dev"}]},
        "ExtraManifestsConfigs.kubernetes.talos.dev holds secrets",
    ),
    (
        {**GOOD, "resources": [{"namespace": "secrets", "type": "Anything.secrets.talos.dev"}]},
        "Set sensitive, and no_log",
    ),
]
SNAPSHOT: list[tuple[Json, str]] = [
    ({}, "missing required arguments: dest"),
    ({"dest": "/x/etcd-{node}.db"}, "dest has {node}. Only {time} is known there."),
    ({"dest": "/x/{time}/etcd.db"}, "{time} may stand once, in the name of the file."),
    ({"dest": "/x/{time}-{time}.db"}, "{time} may stand once, in the name of the file."),
    ({"dest": "/tmp"}, "dest /tmp is a directory. Give a file, such as /tmp/etcd.db."),
    ({"dest": "/x/etcd.db", "keep": 3}, "keep is set, and dest is always the same file. Put {time} into"),
    ({"dest": "/x/etcd-{time}.db", "keep": 0}, "keep is 0. At least one snapshot is kept."),
    ({"dest": "/x/etcd.db", "max_age": "soon"}, "max_age is 'soon'. It is a number of seconds, or looks like 90m"),
    ({"dest": "/x/etcd.db", "max_age": "0"}, "max_age is '0'."),
    ({"dest": "/x/etcd.db", "wait_timeout": -1}, "wait_timeout is -1."),
]
CASES = [("talos_info", given_, text) for given_, text in [*NODES, *INFO]]
CASES += [("talos_etcd_info", given_, text) for given_, text in NODES]
CASES += [("talos_etcd_snapshot", {**GOOD, **given_}, text) for given_, text in SNAPSHOT]
CASES += [("talos_etcd_snapshot", {"dest": "/x/etcd.db", **given_}, text) for given_, text in NODES]


@pytest.mark.parametrize(("module", "params", "text"), CASES)
def test_bad_input_is_refused_with_its_place(
    module: str, params: Json, text: str, bundle_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: t.Any) -> t.Any:
        raise AssertionError("a node was called")

    monkeypatch.setattr(channel, "_connect", refuse)
    outcome = run(module, {"secrets_path": str(bundle_path), **params})
    assert outcome["failed"] and text in outcome["msg"], outcome["msg"]
    assert not outcome["changed"] and not pathlib.Path("/x").exists()


@pytest.mark.parametrize("module", ["talos_info", "talos_etcd_info"])
def test_who_asks_must_be_said(module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    for name in ("TALOS_SECRETS", "TALOSCONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert "Neither secrets_path nor talosconfig is set" in run(module, dict(GOOD))["msg"]
    missing = run(module, {**GOOD, "secrets_path": str(tmp_path / "none")})
    assert "There is no secrets bundle at" in missing["msg"]


def test_the_choices_are_the_facts() -> None:
    assert talos_info.SPEC.argument_spec["facts"]["choices"] == list(info.FACTS)


# -- what a snapshot is


def whole(pages: int = 2, filling: bytes = b"x") -> bytes:
    body = bytes(16) + bytes.fromhex("edda0ced") + filling * (4096 * pages - 20)
    return body + hashlib.sha256(body).digest()


@settings(max_examples=60, deadline=None)
@given(pages=st.integers(1, 4), cuts=st.lists(st.integers(0, 20000), max_size=8))
def test_a_snapshot_is_whole_however_it_arrives(pages: int, cuts: list[int]) -> None:
    data, written = whole(pages), bytearray()
    checked = etcd_snapshot.Checked(written.extend)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for begin, end in itertools.pairwise(edges):
        checked.feed(data[begin:end])
    assert (checked.problem(), bytes(written), checked.size) == ("", data, len(data))
    assert checked.sha256 == data[-32:].hex()


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 4096 * 2 - 1), length=st.integers(1, 5000))
def test_anything_less_is_not(at: int, length: int) -> None:
    data = whole()
    for wrong in (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], data[: len(data) - length]):
        checked = etcd_snapshot.Checked(lambda piece: None)
        checked.feed(wrong)
        assert checked.problem()


# -- plans

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC).timestamp()
FOLDER = pathlib.Path("/backups")


@st.composite
def kept(draw: t.Any) -> list[etcd_snapshot.Kept]:
    ages = draw(st.lists(st.integers(-2, -1) | st.integers(1, 200), unique=True, max_size=6))
    rows = []
    for age in sorted(ages):
        moment = NOW - age * 3600
        stamp = dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        mode = draw(st.sampled_from([0o600, 0o600, 0o644]))
        problem = draw(st.sampled_from(["", "", "", "it ends in the middle"]))
        rows.append(etcd_snapshot.Kept(FOLDER / f"etcd-{stamp}.db", moment, mode, problem))
    return rows


@settings(max_examples=60, deadline=None)
@given(found=kept(), hours=st.one_of(st.none(), st.integers(1, 100)), keep=st.one_of(st.none(), st.integers(1, 4)))
def test_a_plan_ends_where_it_says_and_a_second_one_is_empty(
    found: list[etcd_snapshot.Kept], hours: int | None, keep: int | None
) -> None:
    wanted = etcd_snapshot.wanted_from("/backups/etcd-{time}.db", f"{hours}h" if hours else None, keep)
    plan = etcd_snapshot.plan(wanted, found, NOW)
    after = _applied(wanted, found, plan)
    good = [one for one in after if not one.problem]
    assert keep is None or len(good) <= keep
    assert [one for one in found if one.problem] == [one for one in after if one.problem]  # left alone
    assert (good and all(one.mode == 0o600 for one in good)) or (hours and not plan)
    if hours:
        young = [one for one in found if not one.problem and one.taken_at <= NOW][:1]
        due = not young or not NOW - young[0].taken_at <= hours * 3600
        assert due == any(change.operation == "take" for change in plan)
        assert not etcd_snapshot.plan(wanted, after, NOW)


def test_a_file_from_the_future_does_not_count() -> None:
    wanted = etcd_snapshot.wanted_from("/backups/etcd-{time}.db", "24h", None)
    future, young = (etcd_snapshot.Kept(wanted.path_at(_at(hours)), NOW + hours * 3600) for hours in (5, -2))
    assert etcd_snapshot.plan(wanted, [future, young], NOW) == Plan()
    [change] = etcd_snapshot.plan(wanted, [future], NOW)
    assert change.note == "all that are there are from the future"


def test_of_those_that_are_kept_one_from_the_future_is_the_last() -> None:
    wanted = etcd_snapshot.wanted_from("/backups/etcd-{time}.db", "24h", 2)
    future, young, old = (etcd_snapshot.Kept(wanted.path_at(_at(hours)), NOW + hours * 3600) for hours in (5, -2, -9))
    assert [change.operation for change in etcd_snapshot.plan(wanted, [future, young, old], NOW)] == [future.path]


def _at(hours: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(NOW + hours * 3600, dt.UTC)


def _applied(
    wanted: etcd_snapshot.Wanted, found: t.Sequence[etcd_snapshot.Kept], plan: t.Iterable[t.Any]
) -> list[etcd_snapshot.Kept]:
    """What is there after these changes."""
    left = {one.path: one for one in found}
    for change in plan:
        if change.operation == "take":
            path = wanted.path_at(dt.datetime.fromtimestamp(NOW, dt.UTC))
            left[path] = etcd_snapshot.Kept(path, NOW)
        elif isinstance(change.operation, pathlib.Path):
            del left[change.operation]
        else:
            old = left[change.operation[1]]
            left[old.path] = etcd_snapshot.Kept(old.path, old.taken_at, 0o600, old.problem)
    return sorted(left.values(), key=lambda one: -one.taken_at)


def test_names_that_are_not_ours_are_not_touched(tmp_path: pathlib.Path) -> None:
    wanted = etcd_snapshot.wanted_from(f"{tmp_path}/etcd-{{time}}.db", None, None)
    for name in ("etcd-.db", "etcd-20261399T000000Z.db", "etcd-20261121T000000Z.db.bak", "xetcd-20261121T000000Z.db"):
        (tmp_path / name).write_bytes(whole())
    (tmp_path / "etcd-20261121T000000Z.db").mkdir()
    (tmp_path / "etcd-20261120T000000Z.db").symlink_to(tmp_path / "etcd-.db")
    assert etcd_snapshot.existing(wanted) == []
    (tmp_path / "etcd-20261119T000000Z.db").write_bytes(whole())
    assert [one.path.name for one in etcd_snapshot.existing(wanted)] == ["etcd-20261119T000000Z.db"]


# -- etcd's members


def view(number: int, members: t.Sequence[int], *, leader: int = 1) -> etcd.View:
    status = MemberStatus(number, "3.6.8", "3.6.0", 10, 5, leader, 7, 7, 2, (), False)
    rows = [Member(one, f"cp{one}", (f"https://10.0.0.{one}:2380",), False) for one in members]
    return etcd.View(status, tuple(rows), ())


def summed(*views: etcd.View | None) -> Json:
    nodes = [Node(f"cp{number}", f"10.0.0.{number}", "controlplane") for number in range(1, len(views) + 1)]
    answers: list[Json] = [
        {"name": node.name, "view": found} if found else {"name": node.name, "error": {"msg": "silent"}}
        for node, found in zip(nodes, views, strict=True)
    ]
    return etcd.summary(nodes, answers)


def test_nodes_that_disagree_are_told() -> None:
    found = summed(view(1, [1, 2, 3]), view(2, [1, 2, 3]), view(3, [3], leader=3))
    assert not found["healthy"] and found["leader"] is None
    assert any("know different members of etcd (cp1 3, cp2 3, cp3 1)" in reason for reason in found["reasons"])
    assert any("name different leaders" in reason for reason in found["reasons"])


def test_a_quorum_is_counted() -> None:
    assert summed(view(1, [1, 2, 3]), view(2, [1, 2, 3]), view(3, [1, 2, 3]))["quorum"] == {
        "voters": 3,
        "needed": 2,
        "alive": 3,
        "spare": 1,
    }
    lost = summed(view(1, [1, 2, 3]), None, None)
    assert lost["quorum"] == {"voters": 3, "needed": 2, "alive": 1, "spare": 0}
    assert [one["name"] for one in lost["dead"]] == ["cp2", "cp3"]


def test_a_node_with_a_new_member_has_a_dead_old_one() -> None:
    rejoined = view(9, [1, 2, 9])
    nodes = [Node("cp1", "10.0.0.1", "controlplane"), Node("cp2", "10.0.0.2", "controlplane")]
    answers: list[Json] = [{"name": "cp1", "view": view(1, [1, 2, 9])}, {"name": "cp2", "view": rejoined}]
    dead = etcd.summary(nodes, answers)["dead"]
    assert [(one["name"], one["dead"]) for one in dead] == [("cp2", f"its node has the member {9:016x} by now")]

# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_pool`` on the played Proxmox VE."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from pve_lab import Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_pool

ROLES = {
    "AnsiblePools": ("/pool",),
    "AnsibleGuests": ("/vms", "/storage", "/sdn/zones/localnetwork", "/nodes/pve1", "/pool"),
}


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with PveLab(tmp_path, also=ROLES) as made:
        for vmid in (101, 102, 103):
            made.do("/nodes/pve1/qemu", vmid=vmid, name=f"vm{vmid}")
        yield made


def run(lab: PveLab, *pools: dict[str, t.Any], check: bool = False, **more: t.Any) -> Outcome:
    return lab.run(proxmox_pool, check=check, pools=list(pools), **more)


def truthful(lab: PveLab, *pools: dict[str, t.Any]) -> Outcome:
    predicted = run(lab, *pools, check=True)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, *pools)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["pools"]) == (predicted.changes, predicted.result["pools"])
    again = run(lab, *pools)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    return outcome


def pools(lab: PveLab) -> dict[str, tuple[str, set[int], set[str]]]:
    return {name: (one.comment, one.guests, one.storages) for name, one in lab.server.cluster.pools.items()}


def test_pools_and_those_below_them_are_made_with_their_members(lab: PveLab) -> None:
    outcome = truthful(
        lab,
        {"name": "home/media/films"},
        {"name": "home/media", "comment": "films", "vms": [101]},
        {"name": "home", "vms": [102, 103], "storages": ["local", "isoonly"]},
    )
    assert outcome.actions == ["pool/home create", "pool/home/media create", "pool/home/media/films create"]
    assert outcome.changes[0]["after"] == {"vms": [102, 103], "storages": ["isoonly", "local"]}
    assert outcome.writes == ["POST /pools", "PUT /pools", "POST /pools", "PUT /pools", "POST /pools"]
    assert pools(lab)["home/media"] == ("films", {101}, set())
    assert pools(lab)["home"] == ("", {102, 103}, {"local", "isoonly"})


def test_space_around_a_comment_is_not_kept(lab: PveLab) -> None:
    truthful(lab, {"name": "home", "comment": " at home \n"})
    assert pools(lab)["home"][0] == "at home"
    truthful(lab, {"name": "home", "comment": "at home, too "})


def test_a_run_with_nothing_to_do_reads_the_list_and_each_pool(lab: PveLab) -> None:
    wish = {"name": "home", "comment": "c", "vms": [101], "storages": ["local"], "exclusive": True}
    run(lab, wish)
    again = run(lab, wish)
    assert [f"{entry.verb} {entry.path}" for entry in again.requests] == ["GET /pools"] * 2


def test_members_are_added_and_only_taken_out_when_the_list_is_exclusive(lab: PveLab) -> None:
    run(lab, {"name": "home", "comment": "c", "vms": [101, 102], "storages": ["local"]})
    added = truthful(lab, {"name": "home", "vms": [103]})
    assert added.changes == [
        {
            "resource": "pool/home",
            "action": "update",
            "before": {"vms": [101, 102]},
            "after": {"vms": [101, 102, 103]},
        }
    ]
    truthful(lab, {"name": "home", "vms": [102], "exclusive": True, "comment": ""})
    assert pools(lab) == {"home": ("", {102}, {"local"})}
    truthful(lab, {"name": "home", "storages": [], "exclusive": True})
    assert pools(lab) == {"home": ("", {102}, set())}


def test_guests_move_when_it_is_allowed_or_the_other_pool_lets_go(lab: PveLab) -> None:
    run(lab, {"name": "one", "vms": [101, 102, 103]}, {"name": "two"})
    refused = run(lab, {"name": "two", "vms": [101]})
    assert "pool two is to have VM 101, which belongs to the pool one. Set allow_move" in refused.result["msg"]
    assert refused.writes == []
    outcome = truthful(lab, {"name": "two", "vms": [101], "allow_move": True})
    assert outcome.changes[0]["note"] == "VM 101 moves from the pool one"
    truthful(
        lab, {"name": "two", "vms": [101, 102], "exclusive": True}, {"name": "one", "vms": [103], "exclusive": True}
    )
    assert pools(lab) == {"one": ("", {103}, set()), "two": ("", {101, 102}, set())}
    swapped = truthful(
        lab, {"name": "two", "vms": [103], "exclusive": True}, {"name": "one", "vms": [101], "exclusive": True}
    )
    assert pools(lab) == {"one": ("", {101}, set()), "two": ("", {103}, set())}
    assert swapped.actions == ["pool/two update", "pool/one update"]


def test_a_pool_is_deleted_when_it_is_empty_or_its_members_are_let_go(lab: PveLab) -> None:
    run(lab, {"name": "home", "vms": [101], "storages": ["local"]}, {"name": "home/sub", "comment": "s"})
    gone = {"name": "home", "state": "absent"}
    for wishes, message in (
        ([gone], "pool home has pools below it: home/sub. Make these absent as well, in the same task."),
        (
            [gone, {"name": "home/sub", "state": "absent"}],
            "pool home is not empty: VM 101, storage local. Put them elsewhere",
        ),
    ):
        outcome = run(lab, *wishes)
        assert message in outcome.result["msg"]
        assert outcome.writes == []
    outcome = truthful(lab, {**gone, "release_members": True}, {"name": "home/sub", "state": "absent"})
    assert outcome.actions == ["pool/home/sub delete", "pool/home delete"]
    assert outcome.changes[1]["before"] == {"vms": [101], "storages": ["local"]}
    assert pools(lab) == {}
    assert lab.vmids() == [101, 102, 103]


def test_members_of_a_pool_that_goes_can_go_to_one_that_stays(lab: PveLab) -> None:
    run(lab, {"name": "old", "vms": [101, 102]})
    outcome = truthful(lab, {"name": "old", "state": "absent", "release_members": True}, {"name": "new", "vms": [101]})
    assert outcome.actions == ["pool/new create", "pool/old delete"]
    assert pools(lab) == {"new": ("", {101}, set())}


def test_guests_that_are_still_to_be_made_are_predicted_in_check_mode(lab: PveLab) -> None:
    wish = {"name": "home", "vms": [104], "storages": ["nas"]}
    outcome = run(lab, wish, check=True, planned_vms=[104], planned_storages=["nas"])
    assert outcome.changes == [
        {"resource": "pool/home", "action": "create", "after": {"vms": [104], "storages": ["nas"]}}
    ]
    assert "which does not exist" in run(lab, wish, planned_vms=[104], planned_storages=["nas"]).result["msg"]


BAD: dict[str, tuple[list[dict[str, t.Any]], str]] = {
    "name": ([{"name": "bad pool"}], "'bad pool' is no name of a pool. Write letters"),
    "too deep": ([{"name": "a/b/c/d"}], "'a/b/c/d' is no name of a pool."),
    "digit": ([{"name": "1st"}], "pool 1st does not exist, and '1st' begins with no letter. The server makes no pool of such a name."),
    "digit below": ([{"name": "p"}, {"name": "p/1st"}], "pool p/1st does not exist, and '1st' begins with no letter."),
    "number": ([{"name": "p", "vms": [5]}], "pool p: 5 is no number of a VM. They go from 100"),
    "twice": ([{"name": "p"}, {"name": "p", "state": "absent"}], "pool p is named twice."),
    "two pools": ([{"name": "p", "vms": [101]}, {"name": "q", "vms": [101]}], "VM 101 is to be in the pools p and q. It can be in one."),
    "absent with members": ([{"name": "p", "state": "absent", "vms": [101]}], "pool p is to be absent and has members or a comment."),
    "release": ([{"name": "p", "release_members": True}], "pool p: release_members is for a pool that is to be absent."),
    "parent": ([{"name": "none/sub"}], "pool none/sub is to be below the pool none, which does not exist. Name none as well."),
    "parent goes": ([{"name": "p/sub"}, {"name": "p", "state": "absent"}], "pool p/sub is to be below the pool p, which does not exist."),
    "no guest": ([{"name": "p", "vms": [101, 999]}], "pool p is to have VM 999, which does not exist. If it does, the right VM.Audit"),
    "no storage": ([{"name": "p", "storages": ["nope"]}], "pool p is to have storage nope, which does not exist. If it does"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_before_anything_is_written(lab: PveLab, case: str) -> None:
    wishes, message = BAD[case]
    for check in (True, False):
        outcome = run(lab, {"name": "good"}, *wishes, check=check)
        assert message in outcome.result["msg"], outcome.result
        assert outcome.result["error"]["kind"] == "InvalidInput"
        assert outcome.writes == []


def test_who_moves_a_guest_needs_the_right_to_take_it_from_its_pool(tmp_path: pathlib.Path) -> None:
    rights = {"AnsiblePools": ("/pool/two",), "AnsibleGuests": ("/vms", "/nodes/pve1", "/pool")}
    with PveLab(tmp_path, also=rights) as lab:
        lab.do("/nodes/pve1/qemu", vmid=101)
        with lab.session() as session:
            for name, form in (("one", {"vms": "101"}), ("two", {"comment": "c"})):
                session.post("/pools", {"poolid": name}, asked="make a pool")
                session.put("/pools", {"poolid": name, **form}, asked="fill a pool")
        for check in (True, False):
            outcome = run(lab, {"name": "two", "vms": [101], "allow_move": True}, check=check)
            assert outcome.result["error"]["missing"] == ["Pool.Allocate on /pool/one (move VM 101 from the pool one)"]
            assert outcome.writes == []


def test_missing_rights_are_named_with_their_paths(pve: PveLab) -> None:
    pve.do("/nodes/pve1/qemu", vmid=101)
    pve.server.cluster.access.roles["AnsibleGuests"] -= {"VM.Allocate", "Datastore.Allocate"}
    outcome = run(pve, {"name": "home", "vms": [101], "storages": ["local"]})
    assert outcome.result["error"]["missing"] == [
        "Datastore.Allocate or Permissions.Modify on /storage/local (change the pools of storage local)",
        "Pool.Allocate on /pool/home (create the pool home)",
        "Pool.Audit on /pool/home (see the pool home)",
        "VM.Allocate or Permissions.Modify on /vms/101 (change the pool of VM 101)",
    ]
    assert "AnsiblePools" in outcome.result["msg"]
    assert outcome.writes == []

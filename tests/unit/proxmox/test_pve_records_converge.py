# SPDX-License-Identifier: GPL-3.0-or-later
"""Storages, pools, mappings, backup jobs and access on a model: random states and wishes. What is planned is what comes true, and then nothing is left."""

from __future__ import annotations

import copy
import pathlib
import re
import tempfile
import typing as t

import hypothesis.strategies as st
from hypothesis import given, settings
from pve_records_model import Model, listed

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.plan import carry_out
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.access import access, access_spec
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups import backup_jobs
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.records import (
    mappings,
    pool_plan,
    pools,
    records,
    storages,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task

SETTINGS = settings(max_examples=60, deadline=None)
STATE = st.sampled_from(["present", "present", "present", "absent"])


def optional(**options: st.SearchStrategy[t.Any]) -> st.SearchStrategy[dict[str, t.Any]]:
    return st.fixed_dictionaries({}, optional=options)


# -- storages --------------------------------------------------------------------------------------------------------

CONTENT = st.lists(st.sampled_from(["images", "iso", "backup", "rootdir"]), min_size=1, unique=True)
NODES = st.lists(st.sampled_from(["pve1", "pve2"]), unique=True)
STORED = st.dictionaries(
    st.sampled_from(["aa", "bb", "cc"]),
    optional(
        content=CONTENT.map(",".join),
        nodes=st.sampled_from(["pve1", "pve2", "pve1,pve2"]),
        disable=st.just(1),
        **{"prune-backups": st.sampled_from(["keep-last=3", "keep-daily=7,keep-last=3", "keep-all=1"])},
        preallocation=st.sampled_from(["off", "metadata"]),
    ),
)
STORAGES = st.lists(
    st.builds(
        lambda name, state, more: {"name": name, "type": "dir", "path": "/x", "state": state, **more},
        st.sampled_from(["aa", "bb", "cc"]),
        STATE,
        optional(
            content=CONTENT,
            nodes=NODES,
            disable=st.booleans(),
            retention=st.sampled_from([{}, {"keep_last": 3}, {"keep_daily": 7, "keep_last": 3}]),
            preallocation=st.sampled_from(["", "off", "metadata"]),
            create_base_path=st.booleans(),
        ),
    ),
    unique_by=lambda one: one["name"],
    max_size=3,
)


@SETTINGS
@given(STORED, STORAGES)
def test_storages_become_what_was_wished_and_nothing_else_changes(
    there: dict[str, dict[str, t.Any]], wishes: list[dict[str, t.Any]]
) -> None:
    model = Model()
    model.storages = {name: {"type": "dir", "path": "/x", **copy.deepcopy(more)} for name, more in there.items()}
    before = copy.deepcopy(model.storages)
    wanted = storages.wanted(wishes)
    first = storages.Storages(t.cast(t.Any, model), wanted)
    plan = first.look_and_plan().plan
    assert model.writes == []
    first.carry_out()
    assert len(model.writes) == len(plan)
    again = storages.Storages(t.cast(t.Any, model), wanted)
    assert not again.look_and_plan().plan
    named = {wish.name: wish for wish in wanted}
    for name in before.keys() | model.storages.keys():
        wish = named.get(name)
        if wish is None:
            assert model.storages[name] == before[name]
        elif not wish.present:
            assert name not in model.storages
        else:
            for field in wish.kind.fields:
                given_ = wish.values.get(field.name)
                value = field.of(before.get(name, {"path": "/x"})) if given_ is None else field.clean(given_)
                assert field.of(model.storages[name]) == value


# -- mappings and backup jobs ----------------------------------------------------------------------------------------


def became(wishes: t.Sequence[records.Wish], before: t.Mapping[str, t.Any], found: t.Mapping[str, t.Any]) -> None:
    """Each record is what was predicted of it and what was wished, and one that nobody named is as it was."""
    named = {wish.name: wish for wish in wishes}
    for name in before.keys() | found.keys():
        wish = named.get(name)
        if wish is None:
            assert found[name] == before[name]
        elif not wish.present:
            assert name not in found
        else:
            predicted = records.after(wish, {wish.kind.key: name, **before[name]} if name in before else None) or {}
            for field in wish.kind.fields:
                value = wish.values.get(field.name)
                assert field.of(found[name]) == field.of(predicted)
                assert value is None or field.of(found[name]) == field.clean(value)


DEVICE = st.fixed_dictionaries(
    {
        "node": st.sampled_from(["pve1", "pve2"]),
        "path": st.sampled_from(["0000:00:02.0", "0000:01:00.0"]),
        "id": st.sampled_from(["8086:46d1", "8086:1533"]),
    },
    optional={"iommugroup": st.sampled_from(["1", "2"]), "description": st.just("a card")},
)
DEVICES = st.lists(DEVICE, min_size=1, max_size=3, unique_by=lambda one: (one["node"], one["path"]))
MAPPED = st.dictionaries(
    st.sampled_from(["aa", "bb"]),
    st.tuples(DEVICES, optional(description=st.just("d"), mdev=st.just(1))),
)
MAPPINGS = st.lists(
    st.builds(
        lambda name, state, exclusive, more: {"name": name, "type": "pci", "state": state, "exclusive": exclusive, **more},
        st.sampled_from(["aa", "bb", "cc"]),
        STATE,
        st.booleans(),
        optional(devices=DEVICES, description=st.sampled_from(["", "d", "e"]), mediated=st.booleans()),
    ),
    unique_by=lambda one: one["name"],
    max_size=3,
)  # fmt: skip


@SETTINGS
@given(MAPPED, MAPPINGS)
def test_mappings_become_what_was_wished_and_entries_of_other_nodes_stay(
    there: dict[str, t.Any], entries_: list[dict[str, t.Any]]
) -> None:
    model = Model()
    for name, (devices, more) in there.items():
        texts = [",".join(f"{part}={value}" for part, value in device.items()) for device in devices]
        model.mappings["pci"][name] = {"map": texts, **more}
    before = copy.deepcopy(model.mappings["pci"])
    wishes = mappings.wanted(entries_)
    kept = {wish.resource for wish, entry in zip(wishes, entries_, strict=True) if not entry["exclusive"]}

    def look() -> mappings.Mappings:
        return mappings.Mappings(t.cast(t.Any, model), wishes, kept)

    first = look()
    try:
        plan = first.look_and_plan().plan
    except InvalidInput:
        assert any(one.present and one.name not in before and not one.values.get("map") for one in wishes)
        assert model.writes == []
        return
    assert model.writes == []
    first.carry_out()
    assert len(model.writes) == len(plan)
    assert not look().look_and_plan().plan
    finals = [
        mappings.with_others(one, before[one.name]) if one.resource in kept and one.present and one.name in before else one
        for one in wishes
    ]  # fmt: skip
    became(finals, before, model.mappings["pci"])


WHOM = st.sampled_from([{}, {"vmids": [101, 102]}, {"pool": "lab"}, {"all": True}, {"all": True, "exclude": [103]}])
KEPT = st.sampled_from([{}, {"keep_last": 3}, {"keep_daily": 7, "keep_weekly": 4}])
JOBS = st.lists(
    st.builds(
        lambda name, state, whom, more: (
            {"id": name, "state": state} if state == "absent" else {"id": name, "state": state, **whom, **more}
        ),
        st.sampled_from(["aa", "bb", "cc"]),
        STATE,
        WHOM,
        optional(
            schedule=st.sampled_from(["02:30", "sat 03:00"]),
            storage=st.sampled_from(["nas", "local"]),
            mode=st.sampled_from(["snapshot", "stop"]),
            compress=st.sampled_from(["zstd", "none"]),
            retention=KEPT,
            enabled=st.booleans(),
            comment=st.sampled_from(["", "c"]),
            protected=st.booleans(),
            fleecing=st.sampled_from(["", "nas"]),
            bandwidth_limit=st.sampled_from([0, 1000]),
            mailto=st.sampled_from([[], ["a@lab.test"]]),
        ),
    ),
    unique_by=lambda one: one["id"],
    max_size=3,
)
PLANNED_JOBS = st.dictionaries(
    st.sampled_from(["aa", "bb"]),
    st.tuples(
        st.sampled_from([{"vmid": "101"}, {"pool": "old"}, {"all": 1}, {"all": 1, "exclude": "101,103"}]),
        optional(
            mode=st.just("suspend"),
            compress=st.just("zstd"),
            enabled=st.just(0),
            comment=st.just("d"),
            mailto=st.just("b@lab.test"),
            bwlimit=st.just(500),
            **{"prune-backups": st.sampled_from(["keep-last=3", "keep-weekly=4,keep-daily=7"])},
        ),
    ),
)


@SETTINGS
@given(PLANNED_JOBS, JOBS)
def test_backup_jobs_become_what_was_wished_and_name_their_guests_in_one_way(
    there: dict[str, t.Any], entries_: list[dict[str, t.Any]]
) -> None:
    model = Model()
    model.storages, model.guests = {"nas": {}, "local": {}}, {101, 102, 103}
    model.jobs = {name: {"schedule": "01:00", "storage": "nas", **whom, **more} for name, (whom, more) in there.items()}
    before = copy.deepcopy(model.jobs)
    wishes = [backup_jobs._wish(entry) for entry in entries_]

    def look() -> backup_jobs.Jobs:
        return backup_jobs.Jobs(t.cast(t.Any, model), wishes)

    first = look()
    try:
        plan = first.look_and_plan().plan
    except InvalidInput:
        assert any(one.present and one.name not in before for one in wishes)
        assert model.writes == []
        return
    assert model.writes == []
    first.carry_out()
    assert len(model.writes) == len(plan)
    assert not look().look_and_plan().plan
    became(wishes, before, model.jobs)
    for job in model.jobs.values():
        assert sum(bool(job.get(one)) for one in ("vmid", "pool", "all")) == 1
        assert not job.get("exclude") or job.get("all")


# -- pools -----------------------------------------------------------------------------------------------------------

VMS = st.frozensets(st.sampled_from([101, 102, 103, 104]))
PLACES = st.frozensets(st.sampled_from(["nas", "local"]))
NAMES = ["a", "a/x", "b", "c"]
POOLS = st.lists(
    st.builds(
        lambda name, state, release, more: (
            {"name": name, "state": state, "release_members": release} if state == "absent" else {"name": name, **more}
        ),
        st.sampled_from(NAMES),
        STATE,
        st.booleans(),
        optional(
            comment=st.sampled_from(["", "c"]),
            vms=VMS.map(sorted),
            storages=PLACES.map(sorted),
            exclusive=st.booleans(),
            allow_move=st.booleans(),
        ),
    ),
    unique_by=lambda one: one["name"],
    max_size=4,
)


@SETTINGS
@given(st.dictionaries(st.sampled_from([101, 102, 103, 104]), st.sampled_from(["a", "b", "a/x"])), PLACES, POOLS)
def test_pools_become_what_was_wished_and_no_request_is_refused(
    homes: dict[int, str], places: frozenset[str], wishes: list[dict[str, t.Any]]
) -> None:
    model = Model()
    model.guests = {101, 102, 103, 104}
    model.storages = {"nas": {}, "local": {}}
    for name in ("a", "a/x", "b"):
        vms = {vmid for vmid, home in homes.items() if home == name}
        model.pools[name] = {"comment": "", "vms": vms, "storages": set(places) if name == "a" else set()}
    before = copy.deepcopy(model.pools)
    try:
        wanted = pool_plan.wanted(wishes)
        planner = pools._Planner(t.cast(t.Any, model), wanted, pool_plan.Members())
        plan = planner.look_and_plan().plan
    except InvalidInput:
        assert model.writes == []
        return
    assert model.writes == []
    carry_out(plan, planner.apply)
    assert not planner.look_and_plan().plan
    touched = {change.resource for change in plan}
    moved = {name for change in plan for name in left(change)}
    for pool in wanted:
        found = model.pools.get(pool.name)
        assert (found is not None) == pool.present
        if found and pool.vms is not None:
            assert found["vms"] == pool.vms if pool.exclusive else found["vms"] >= pool.vms
        if found and pool.storages is not None:
            assert found["storages"] == pool.storages if pool.exclusive else found["storages"] >= pool.storages
    for name, was in before.items():
        if f"pool/{name}" not in touched and name not in moved:
            assert model.pools[name] == was
    for change in plan:
        for key in ("vms", "storages"):
            if key in change.after and pool_is_last(plan, change, key):
                assert sorted(model.pools[change.resource.removeprefix("pool/")][key], key=str) == change.after[key]


def pool_is_last(plan: t.Any, change: t.Any, key: str) -> bool:
    """Whether no later change takes a guest out of this pool again."""
    later = list(plan)[list(plan).index(change) + 1 :]
    return key == "storages" or not any(change.resource.removeprefix("pool/") in left(one) for one in later)


def left(change: t.Any) -> list[str]:
    """The pools that guests leave by a change, as its note says."""
    return re.findall(r"from the pool ([^;]+)", change.note)


# -- access ----------------------------------------------------------------------------------------------------------

USERS = ["u1@pve", "u2@pve"]
GROUPS = ["g1", "g2"]
ROLES = ["r1", "r2"]
SUBJECTS = [("user", "u1@pve"), ("user", "u2@pve"), ("group", "g1"), ("token", "u1@pve!t1")]
PRIVILEGES = st.lists(st.sampled_from(["VM.Audit", "VM.Clone"]), unique=True)


def entries(names: list[str], **options: st.SearchStrategy[t.Any]) -> st.SearchStrategy[list[dict[str, t.Any]]]:
    return st.lists(
        st.builds(
            lambda name, state, more: {"name": name, "state": state, **more},
            st.sampled_from(names),
            STATE,
            optional(**options),
        ),
        unique_by=lambda one: one["name"],
        max_size=2,
    )


ACLS = st.lists(
    st.builds(
        lambda path, role, who, state, on: {
            "path": path,
            "role": role,
            who[0]: who[1],
            "state": state,
            "propagate": on,
        },
        st.sampled_from(["/vms", "/pool"]),
        st.sampled_from(ROLES),
        st.sampled_from(SUBJECTS),
        STATE,
        st.booleans(),
    ),
    unique_by=lambda one: (one["path"], one["role"], *(one.get(kind) for kind in ("user", "group", "token"))),
    max_size=3,
)
WISHES = st.fixed_dictionaries(
    {
        "users": entries(USERS, comment=st.sampled_from(["", "c"]), enable=st.booleans(), groups=st.lists(st.sampled_from(GROUPS), unique=True)),
        "groups": entries(GROUPS, comment=st.sampled_from(["", "c"])),
        "roles": st.lists(
            st.builds(
                lambda name, state, privileges, append: {"name": name, "state": state, "privileges": privileges, "append": append},
                st.sampled_from(ROLES), STATE, PRIVILEGES, st.booleans(),
            ),
            unique_by=lambda one: one["name"], max_size=2,
        ),
        "tokens": entries(["u1@pve!t1"], comment=st.sampled_from(["", "c"]), privsep=st.booleans(), replace_lost=st.booleans()),
        "acls": ACLS,
        "exclusive_acl_paths": st.lists(st.sampled_from(["/vms", "/pool"]), unique=True),
    }
)  # fmt: skip
THERE = st.tuples(
    st.sets(st.sampled_from(USERS)), st.sets(st.sampled_from(GROUPS)), st.sets(st.sampled_from(ROLES)), st.booleans(),
    st.sets(st.tuples(st.sampled_from(["/vms", "/pool"]), st.sampled_from(SUBJECTS), st.sampled_from(ROLES))), st.booleans(),
)  # fmt: skip


def filled(there: t.Any, folder: pathlib.Path) -> Model:
    users, groups, roles, token, acls, file = there
    model = Model()
    model.users = {name: {"enable": 1, "expire": 0, "comment": "c", "tokens": {}} for name in users}
    model.groups = {name: {"users": ",".join(sorted(users))} for name in groups}
    model.roles.update({name: {"privs": "VM.Audit", "special": 0} for name in roles})
    known = {*(("user", name) for name in users), *(("group", name) for name in groups)}
    if token and "u1@pve" in users:
        model.users["u1@pve"]["tokens"]["t1"] = {"privsep": 1, "expire": 0}
        known.add(("token", "u1@pve!t1"))
        if file:
            (folder / "secret").write_text("11111111-2222-3333-4444-555555555555\n")
            (folder / "secret").chmod(0o600)
    model.acls = {(path, *who, role): 1 for path, who, role in acls if who in known and role in roles}
    return model


@SETTINGS
@given(THERE, WISHES)
def test_access_becomes_what_was_wished_and_the_rest_stays(there: t.Any, params: dict[str, t.Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = filled(there, folder)
        before = copy.deepcopy(model)
        for token in params["tokens"]:
            token["secret_file"] = str(folder / "secret")
        try:
            wishes = access_spec.wanted(params)
            planner = access._Planner(t.cast(t.Any, model), wishes, Task({}))
            plan = planner.look_and_plan().plan
        except InvalidInput:
            assert model.writes == []
            return
        assert model.writes == []
        carry_out(plan, planner.apply)
        access._forget_notes(wishes)
        assert not planner.look_and_plan().plan
        assert len({change.resource for change in plan}) == len(plan)
        judge_access(wishes, before, model)


def judge_access(wishes: access_spec.Wishes, before: Model, after: Model) -> None:
    for wish in wishes.users:
        assert (wish.name in after.users) == wish.present
        if wish.present and wish.values["groups"] is not None:
            mine = {name for name, group in after.groups.items() if wish.name in listed(group.get("users"))}
            gone = {group.name for group in wishes.groups if not group.present}
            assert mine == set(wish.values["groups"]) - gone
    for role in wishes.roles:
        assert (role.name in after.roles) == role.present
        if role.present and role.privileges is not None and not role.append:
            assert set(listed(after.roles[role.name].get("privs"))) == set(role.privileges)
    for token in wishes.tokens:
        there = "t1" in after.users.get(token.user, {}).get("tokens", {})
        assert there == token.present
        if there:
            assert token.secret_file is not None
            assert token.secret_file.exists()
    for acl, on in wishes.acls.items():
        assert after.acls.get(tuple(acl)) == (None if on is None else int(on))
    gone_things = {wish.name for wish in (*wishes.users, *wishes.groups) if not wish.present}
    gone_things |= {
        one.name if isinstance(one, access_spec.Role) else one.id
        for one in (*wishes.roles, *wishes.tokens)
        if not one.present
    }
    for acl, on in before.acls.items():
        path, _kind, who, role = acl
        lost = {who, who.partition("!")[0], role} & gone_things
        if acl not in {tuple(one) for one in wishes.acls} and path not in wishes.exclusive and not lost:
            assert after.acls.get(acl) == on

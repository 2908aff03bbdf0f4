# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and tokens that may only some things: in a pool, over a group of users, on a path."""

from __future__ import annotations

import pathlib
import typing as t

import flows
from flows import PASSWORD, TEMPLATE, Client, Step, run

Login = t.Callable[..., t.Awaitable[Client]]
GUESTS = (
    "VM.Audit,VM.Allocate,VM.PowerMgmt,VM.Config.Disk,VM.Config.Memory,VM.Config.Network,VM.Config.Options,"
    "VM.Config.CPU"
)
BASE = (
    Step("POST /access/users", {"userid": "bob@pve", "password": "bobsecret1"}),
    Step("POST /access/roles", {"roleid": "Guests", "privs": GUESTS}),
    Step("POST /access/roles", {"roleid": "Store", "privs": "Datastore.AllocateSpace,Datastore.Audit"}),
    Step("POST /access/roles", {"roleid": "Net", "privs": "SDN.Use"}),
    Step("POST /pools", {"poolid": "lab"}),
    Step("PUT /access/acl", {"path": "/pool/lab", "roles": "Guests", "users": "bob@pve"}),
    Step("PUT /access/acl", {"path": "/storage/local", "roles": "Store", "users": "bob@pve"}),
    Step("PUT /access/acl", {"path": "/sdn/zones/localnetwork", "roles": "Net", "users": "bob@pve"}),
)
CT = {"ostemplate": TEMPLATE, "rootfs": "local:1", "net0": "name=eth0,bridge=vmbr0"}


def walk(root: pathlib.Path, ours: t.Sequence[Step], bobs: t.Sequence[Step]) -> None:
    """Ours as root, then Bob's."""

    async def test(login: Login) -> None:
        client = await login()
        for step in (*BASE, *ours):
            await client.check(step)
        client = await login("bob@pve", "bobsecret1")
        for step in bobs:
            await client.check(step)

    run(root, test)


def test_a_container_in_the_pool_may_nest(tmp_path: pathlib.Path) -> None:
    walk(tmp_path, [], [
        Step("POST lxc", {"vmid": 820, "pool": "lab", **CT, "features": "nesting=1"}, "task OK"),
        Step("PUT lxc/820/config", {"features": "nesting=0"}),
        Step("PUT lxc/820/config", {"features": "nesting=1,fuse=1"},
             "403 Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)"),
        # the right on the tags is looked for on the container alone, which is not in the pool yet
        Step("POST lxc", {"vmid": 821, "pool": "lab", **CT, "tags": "web"},
             "403 Permission check failed (/vms/821, VM.Config.Options)"),
        Step("PUT lxc/820/config", {"tags": "web"}),
        Step("DELETE lxc/820", answer="task OK"),
    ])  # fmt: skip


def test_tags_that_are_not_for_everybody(tmp_path: pathlib.Path) -> None:
    access = "user-allow=list,user-allow-list=web;db"
    ours = [Step("PUT /cluster/options", {"registered-tags": "prod", "user-tag-access": access})]
    no = "403 Permission check failed (/, Sys.Modify for modifying tag '{}')"
    walk(tmp_path, ours, [
        Step("POST qemu", {"vmid": 822, "pool": "lab", "memory": 64, "tags": "any;prod"}, "task OK"),  # not looked at
        Step("PUT qemu/822/config", {"tags": "any;prod;web"}),
        Step("PUT qemu/822/config", {"tags": "any;prod;web;own"}, no.format("own")),
        Step("PUT qemu/822/config", {"tags": "any;web"}, no.format("prod")),
        Step("PUT qemu/822/config", {"tags": "prod;web"}, no.format("any")),
        Step("PUT qemu/822/config", {"tags": "any;prod;db"}),
        Step("GET qemu/822/config", answer={"tags": "any;db;prod"}),
        Step("POST lxc", {"vmid": 823, "pool": "lab", **CT}, "task OK"),
        Step("PUT lxc/823/config", {"tags": "prod"}, no.format("prod")),
        Step("PUT lxc/823/config", {"tags": "db"}),
        Step("PUT lxc/823/config", {"delete": "tags"}),
        Step("GET /cluster/options", answer={"allowed-tags": ["db", "web"]}),
    ])  # fmt: skip


def test_a_group_of_users_is_handed_on(tmp_path: pathlib.Path) -> None:
    ours = [
        Step("POST /access/groups", {"groupid": "ops"}),
        Step("POST /access/users", {"userid": "ann@pve", "groups": "ops"}),
        Step("POST /access/users", {"userid": "eve@pve"}),
        Step("POST /access/roles", {"roleid": "Users", "privs": "User.Modify,Realm.AllocateUser"}),
        Step("PUT /access/acl", {"path": "/access/groups/ops", "roles": "Users", "users": "bob@pve"}),
        Step("PUT /access/acl", {"path": "/access/realm/pve", "roles": "Users", "users": "bob@pve"}),
    ]
    walk(tmp_path, ours, [
        Step("GET /access/users/ann@pve", answer={"groups": ["ops"]}),
        Step("GET /access/users/eve@pve", answer="403 Permission check failed"),
        Step("GET /access/users/root@pam", answer="403 Permission check failed"),
        Step("GET /access/users/none@pve", answer="500 no such user ('none@pve')"),
        Step("PUT /access/users/ann@pve", {"comment": "c"},
             "403 Permission check failed (/access/groups, User.Modify)"),  # it wants to know the groups
        Step("PUT /access/users/ann@pve", {"comment": "c", "groups": "ops"}),
        Step("PUT /access/users/eve@pve", {"groups": "ops"}, "403 Permission check failed"),
        Step("POST /access/users", {"userid": "joe@pve"}, "403 Permission check failed (/access/groups, User.Modify)"),
        Step("POST /access/users", {"userid": "joe@pve", "groups": "ops"}),
        Step("POST /access/users", {"userid": "jim@pve", "groups": "ops,wheel"},
             "403 Permission check failed (/access/groups/wheel, User.Modify)"),
        Step("DELETE /access/users/joe@pve"),
        Step("DELETE /access/users/eve@pve", answer="403 Permission check failed"),
    ])  # fmt: skip


def test_a_ticket_is_only_looked_at(tmp_path: pathlib.Path) -> None:
    async def test(login: Login) -> None:
        client, nobody = await login(), await login(token="none")
        ticket = "/access/ticket"
        who = {"username": "root@pam", "password": PASSWORD}
        seen = {"path": "/vms/100", "privs": "VM.Console"}
        status, _, body = await nobody.send("POST", ticket, who | seen)
        assert (status, sorted(body["data"])) == (200, ["cap", "username"])
        for step in (*BASE, Step("POST /access/ticket", who | {"path": "/vms/100"}, errors={
            "privs": "missing property required by 'path'"
        })):  # fmt: skip
            await client.check(step)
        bob = {"username": "bob@pve", "password": "bobsecret1"}
        for path, wanted in (("/pool/lab", 200), ("/vms/100", 401)):
            status, reason, _ = await nobody.send("POST", ticket, bob | {"path": path, "privs": "VM.Audit"})
            assert (status, reason) == (wanted, "OK" if wanted == 200 else "authentication failure")
        # the realm stands behind the name, even behind one that has its realm
        status, _, _ = await nobody.send("POST", ticket, who | {"realm": "pam"})
        assert status == 401

    run(tmp_path, test)


def test_a_directory_that_is_to_be_a_mount_point(tmp_path: pathlib.Path) -> None:
    store = {"storage": "usb", "type": "dir", "path": "/mnt/usb"}
    text = "directory is expected to be a mount point but is not mounted: '{}'"
    flows.walk(tmp_path, [
        Step("POST /storage", store | {"is_mountpoint": "yes"},
             f"500 create storage failed: unable to activate storage 'usb' - {text.format('/mnt/usb')}"),
        Step("POST /storage", store | {"is_mountpoint": "/mnt"},
             f"500 create storage failed: unable to activate storage 'usb' - {text.format('/mnt')}"),
        Step("POST /storage", store | {"is_mountpoint": "no"}, {"storage": "usb", "type": "dir"}),
    ])  # fmt: skip


def test_hook_scripts_are_snippets(tmp_path: pathlib.Path) -> None:
    flows.walk(tmp_path, [
        Step("POST qemu", {"vmid": 824, "memory": 64}, "task OK"),
        Step("PUT qemu/824/config", {"hookscript": "local:iso/test.iso"},
             errors={"hookscript": "'local:iso/test.iso' is not in the snippets directory\n"}),
        Step("POST lxc", {"vmid": 825, **CT}, "task OK"),
        Step("PUT lxc/825/config", {"hookscript": "local:iso/test.iso"},
             "500 'local:iso/test.iso' is not in the snippets directory"),
    ])  # fmt: skip

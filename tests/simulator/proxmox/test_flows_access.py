# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, tokens, ACLs, realms and pools, as other clients handle them, also those with few rights."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from flows import Step, run, walk

BOB = Step("POST /access/users", {"userid": "bob@pve", "password": "bobsecret1"})
ACL = "PUT /access/acl"
LDAP = {"realm": "ldap1", "type": "ldap", "server1": "192.0.2.1", "base_dn": "dc=x", "user_attr": "uid"}
NEEDS = "either 'users', 'groups' or 'tokens' is required."

FLOWS: dict[str, list[Step]] = {
    "a password in a realm that has none": [
        Step(
            "POST /access/users",
            {"userid": "ann@none", "password": "annsecret1"},
            "500 create user failed: auth domain 'none' does not exist",
        ),
        Step("GET /access/users/ann@none", answer="500 no such user ('ann@none')"),
        Step("POST /access/domains", LDAP),
        Step("POST /access/users", {"userid": "ann@ldap1"}),
        Step(
            "PUT /access/password",
            {"userid": "ann@ldap1", "password": "annsecret1"},
            "500 can't set password on auth type 'ldap'",
        ),
    ],
    "second factors that nobody has": [
        BOB,
        Step("GET /access/tfa", answer=[]),
        Step("GET /access/tfa/bob@pve", answer=[]),
        Step("GET /access/tfa/bob@pve/totp:1", answer="404 No such tfa entry 'totp:1'"),
        Step("GET /access/users/bob@pve/tfa", answer={}),
        Step("GET /access/users/bob@pve/tfa", {"multiple": 1}, {"user": []}),
    ],
    "space around a text is not kept": [
        Step("POST /access/users", {"userid": "bob@pve", "comment": " a  b ", "firstname": "Bob "}),
        Step("GET /access/users/bob@pve", answer={"comment": "a  b", "firstname": "Bob"}),
        Step("POST /access/users/bob@pve/token/ci", {"comment": " c"}, {"full-tokenid": "bob@pve!ci"}),
        Step("GET /access/users/bob@pve/token/ci", answer={"comment": "c"}),
        Step("PUT /access/users/bob@pve/token/ci", {"comment": " d "}, {}),
        Step("GET /access/users/bob@pve/token/ci", answer={"comment": "d"}),
        Step("POST /access/groups", {"groupid": "ops", "comment": " o "}),
        Step("GET /access/groups/ops", answer={"comment": "o"}),
        Step("POST /pools", {"poolid": "home", "comment": " h "}),
        Step("GET /pools/home", answer={"comment": "h"}),
        Step("POST /cluster/mapping/usb", {"id": "stick", "map": "node=pve1,id=0a5c:21e8", "description": " s "}),
        Step("GET /cluster/mapping/usb/stick", answer={"description": "s"}),
        Step(
            "PUT /cluster/mapping/usb/stick",
            {"map": "node=pve1,id=0a5c:21e8", "description": "a\nb"},
            "500 update hardware mapping failed: property 'description' contains a line feed",
        ),
    ],
    "a token's comment goes": [
        BOB,
        Step("POST /access/users/bob@pve/token/ci", {"comment": "c"}, {"full-tokenid": "bob@pve!ci"}),
        Step("PUT /access/users/bob@pve/token/ci", {"delete": "comment"}, {"comment": None}),
        Step(
            "PUT /access/users/bob@pve/token/ci",
            {"delete": "expire"},
            "500 updating token info failed: 400 Parameter verification failed.",
        ),
    ],
    "paths of ACLs": [
        BOB,
        Step(ACL, {"path": "vms/100", "roles": "PVEAuditor", "users": "bob@pve"}),
        Step("GET /access/acl", answer=[{"path": "/vms/100", "roleid": "PVEAuditor", "ugid": "bob@pve"}]),
        Step(
            ACL,
            {"path": "/sdn/vnets/v1", "roles": "PVEAuditor", "users": "bob@pve"},
            errors={"path": "invalid ACL path '/sdn/vnets/v1'"},
        ),
        Step(ACL, {"path": "/foo", "roles": "none", "users": "none@pve"}, errors={"path": "invalid ACL path '/foo'"}),
        Step(ACL, {"path": "/foo", "roles": "PVEAuditor", "users": "bob@pve", "delete": 1}),
        Step(ACL, {"path": "/foo", "roles": "R", "users": ""}, errors=dict.fromkeys(("users", "groups", "tokens"), NEEDS)),
        Step(
            ACL,
            {"path": "/vms", "roles": "none", "users": "none@pve"},
            "500 ACL update failed: role 'none' does not exist",
        ),
        Step(
            ACL,
            {"path": "/vms", "roles": "PVEAuditor", "tokens": "none@pve!t1"},
            "500 ACL update failed: no such user ('none@pve')",
        ),
    ],
    "realms": [
        Step(
            "POST /access/domains",
            {"realm": "ldap1", "type": "ldap", "server1": "192.0.2.1"},
            "500 add auth server failed: missing value for required option 'base_dn'",
        ),
        Step("POST /access/domains", {**LDAP, "password": "x", "default": 1}),
        Step("GET /access/domains/ldap1", answer={"password": None, "base_dn": "dc=x"}),
        Step("PUT /access/domains/ldap1", answer="500 update auth server failed: no options specified"),
        Step(
            "PUT /access/domains/none", {"comment": "c"}, "500 update auth server failed: domain 'none' does not exist"
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_access(tmp_path: pathlib.Path, flow: str) -> None:
    walk(tmp_path, FLOWS[flow])


def test_a_user_changes_the_own_password_with_the_old_one(tmp_path: pathlib.Path) -> None:
    async def test(login: t.Callable[..., t.Any]) -> None:
        await (await login()).check(BOB)
        bob, new = await login("bob@pve", "bobsecret1"), {"userid": "bob@pve", "password": "bobsecret2"}
        wanted = {"confirmation-password": "password is required to modify user"}
        await bob.check(Step("PUT /access/password", new, errors=wanted))
        await bob.check(
            Step("PUT /access/password", {**new, "confirmation-password": "not-it"}, "500 invalid credentials")
        )
        forbidden = "403 Permission check failed"
        await bob.check(Step("PUT /access/password", {**new, "userid": "root@pam"}, forbidden))
        await bob.check(Step("PUT /access/password", {**new, "confirmation-password": "bobsecret1"}))
        await login("bob@pve", "bobsecret2")

    run(tmp_path, test)


def test_who_may_allocate_hands_on_what_is_his(tmp_path: pathlib.Path) -> None:
    async def test(login: t.Callable[..., t.Any]) -> None:
        root = await login()
        await root.check(BOB)
        await root.check(Step("POST /access/roles", {"roleid": "Own", "privs": "VM.Allocate,VM.Audit"}))
        await root.check(Step("POST /access/roles", {"roleid": "Seen", "privs": "VM.Audit"}))
        await root.check(Step(ACL, {"path": "/vms/100", "roles": "Own", "users": "bob@pve", "propagate": 0}))
        bob, path = await login("bob@pve", "bobsecret1"), {"path": "/vms/100", "users": "bob@pve"}
        failed = "500 ACL update failed: 400 Parameter verification failed."
        await bob.check(Step(ACL, {**path, "roles": "PVEVMAdmin"}, failed))
        await bob.check(Step(ACL, {**path, "roles": "Seen"}, failed))  # would be inherited further than his own
        await bob.check(Step(ACL, {**path, "roles": "Seen", "propagate": 0}))
        await bob.check(Step(ACL, {**path, "roles": "NoAccess", "propagate": 0}, failed))

    run(tmp_path, test)


def test_pools_of_who_may_not_do_everything(tmp_path: pathlib.Path) -> None:
    async def test(login: t.Callable[..., t.Any]) -> None:
        root, wrong = await login(), "500 create pool failed: pool name must start with a letter"
        for pool in ("1lab", "lab/1"):
            await root.check(
                Step("POST /pools", {"poolid": "lab"}) if pool == "lab/1" else Step("GET /pools", answer=[])
            )
            await root.check(Step("POST /pools", {"poolid": pool}, wrong))
        await root.check(Step("POST /pools", {"poolid": "other"}))
        await root.check(Step("POST qemu", {"vmid": 100, "pool": "other"}, "task OK"))
        await root.check(BOB)
        await root.check(Step(ACL, {"path": "/pool/lab", "roles": "PVEPoolAdmin", "users": "bob@pve"}))
        bob, failed = await login("bob@pve", "bobsecret1"), "500 update pools failed: 403 Permission check failed"
        member = {"poolid": "lab", "vms": 100, "allow-move": 1}
        await bob.check(Step("PUT /pools", member, f"{failed} (/vms/100, Permissions.Modify|VM.Allocate)"))
        await root.check(Step(ACL, {"path": "/vms/100", "roles": "PVEVMAdmin", "users": "bob@pve"}))
        await bob.check(Step("PUT /pools", member, f"{failed} (/pool/other, Pool.Allocate)"))
        await bob.check(Step("GET /pools/other", answer="403 Permission check failed (/pool/other, Pool.Audit)"))
        await bob.check(Step("GET /pools", {"poolid": "other"}, [{"poolid": "other", "members": [{"vmid": 100}]}]))

    run(tmp_path, test)

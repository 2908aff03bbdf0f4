# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_access``: what the server keeps in another form, names of other realms, and ways to lock oneself out."""

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest
from pve_lab import PATHS, PveLab
from test_pve_access import ROLES, run, truthful


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with PveLab(tmp_path, also=ROLES) as made:
        yield made


def test_space_around_a_text_is_not_kept(lab: PveLab) -> None:
    """The user database is a file of lines with colons, in which space means nothing."""
    text = {"comment": " who \n", "firstname": "Ann ", "lastname": " B. C."}
    tokens = [{"name": "ann@pve!ci", "comment": " for it ", "secret_file": str(lab.root / "secrets" / "ci")}]
    truthful(lab, groups=[{"name": "ops", "comment": " o "}], users=[{"name": "ann@pve", **text}], tokens=tokens)
    with lab.session() as session:
        found = session.get("/access/users/ann@pve")
    assert (found["comment"], found["firstname"], found["lastname"]) == ("who", "Ann", "B. C.")
    truthful(lab, users=[{"name": "ann@pve", "comment": "one\ntwo"}, {"name": "bob@pve", "password": " of spaces "}])
    assert lab.server.cluster.access.users["bob@pve"].password == " of spaces "


def test_users_of_a_realm_that_names_them_by_their_email_address(lab: PveLab) -> None:
    with lab.session() as session:
        form = {"realm": "sso", "type": "openid", "issuer-url": "https://login.example.com", "client-id": "pve"}
        session.post("/access/domains", form, asked="make a realm")
    ann, token = "ann@example.com@sso", "ann@example.com@sso!ci"
    truthful(
        lab,
        groups=[{"name": "ops"}],
        users=[{"name": ann, "groups": ["ops"], "email": "ann@example.com"}],
        tokens=[{"name": token, "secret_file": str(lab.root / "secrets" / "ci")}],
        acls=[
            {"path": "/vms", "role": "PVEVMUser", "user": ann},
            {"path": "/vms", "role": "PVEVMUser", "token": token},
        ],
    )
    gone = truthful(lab, users=[{"name": ann, "state": "absent"}])
    assert gone.actions == [f"user/{ann} delete"]


# -- who asks --------------------------------------------------------------------------------------------------------


def admin(lab: PveLab, **more: t.Any) -> dict[str, t.Any]:
    """An administrator who is not root, by the group ``admins``; how that one logs in."""
    name, password = "admin@pve", "admin-not-a-secret"
    made = run(
        lab,
        as_root=True,
        groups=[{"name": "admins"}],
        users=[{"name": name, "password": password, "groups": ["admins"]}],
        acls=[{"path": "/", "role": "Administrator", "group": "admins"}],
    )
    assert not made.result.get("failed"), made.result
    return {"api_token_id": None, "api_token_secret": None, "api_user": name, "api_password": password, **more}


def test_whoever_is_not_root_confirms_a_change_of_a_password_with_the_own_one(lab: PveLab) -> None:
    who = admin(lab)
    truthful(lab, users=[{"name": "ann@pve", "password": "not-a-secret-1"}], **who)
    users = [{"name": "ann@pve", "password": "not-a-secret-2"}]
    outcome = truthful(lab, users=users, update_password="always", **who)
    assert outcome.changes == [{"resource": "user/ann@pve", "action": "update", "after": {"password": "(hidden)"}}]
    assert lab.server.cluster.access.users["ann@pve"].password == "not-a-secret-2"


LOCKED_OUT: dict[str, dict[str, t.Any]] = {
    "disabled": {"users": [{"name": "admin@pve", "enable": False}]},
    "ended": {"users": [{"name": "admin@pve", "expire": "2020-01-01"}]},
    "without the group's ACL": {"exclusive_acl_paths": ["/"]},
    "without the group": {"groups": [{"name": "admins", "state": "absent"}]},
}


@pytest.mark.parametrize("case", LOCKED_OUT)
def test_nobody_locks_himself_out(lab: PveLab, case: str) -> None:
    who, wishes = admin(lab), LOCKED_OUT[case]
    for check in (True, False):
        outcome = run(lab, check=check, roles=[{"name": "Mine", "privileges": ["VM.Audit"]}], **wishes, **who)
        assert "the one that asks" in outcome.result["msg"], outcome.result
        assert outcome.result["error"]["kind"] == "InvalidInput"
        assert outcome.writes == []


def test_a_token_does_not_end_itself(lab: PveLab) -> None:
    name = "ansible@pve!groundwork"
    for expire in ("2020-01-01", str(int(time.time()) - 10)):
        outcome = run(lab, tokens=[{"name": name, "expire": expire}])
        assert f"{name} is to end before now, and is the one that asks" in outcome.result["msg"]
        assert outcome.writes == []
    truthful(lab, tokens=[{"name": name, "expire": "2090-01-01"}])


def test_paths_that_no_acl_can_be_on_are_said_before_anything_is_written(lab: PveLab) -> None:
    for path in ("/access/users", "/storage/a/b", "/nodes/pve1/qemu", "/pool/a/b/c/d", "/mapping/pci/a/b", "/vms/0100"):
        outcome = run(lab, groups=[{"name": "good"}], acls=[{"path": path, "role": "CSI", "user": "ansible@pve"}])
        assert f"acls: {path!r} is no path of ACLs" in outcome.result["msg"]
        assert outcome.writes == []


def test_the_paths_of_the_tests_are_some(lab: PveLab) -> None:
    acls = [{"path": path, "role": "PVEAuditor", "user": "ansible@pve"} for path in PATHS]
    more = ("/", "/access/groups/ops", "/access/realm/pve", "/mapping/pci/gpu", "/pool/a/b/c", "/sdn/zones/z/vmbr0/12")
    acls += [{"path": path, "role": "PVEAuditor", "user": "ansible@pve"} for path in more]
    outcome = run(lab, check=True, acls=acls)
    assert not outcome.result.get("failed"), outcome.result

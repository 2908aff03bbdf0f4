# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_access`` on the played Proxmox VE."""

from __future__ import annotations

import pathlib
import stat
import typing as t

import pytest
from pve_lab import PATHS, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.access import access, roles
from ansible_collections.groundwork.homelab.plugins.modules import proxmox_access, proxmox_pool

ROLES = {"AnsibleAccess": ("/", "/access", *PATHS)}
CI = "ci@pve!deploy"


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with PveLab(tmp_path, also=ROLES) as made:
        yield made


def run(lab: PveLab, *, check: bool = False, as_root: bool = False, **params: t.Any) -> Outcome:
    return lab.run(proxmox_access, check=check, as_root=as_root, **params)


def truthful(lab: PveLab, *, as_root: bool = False, **params: t.Any) -> Outcome:
    predicted = run(lab, check=True, as_root=as_root, **params)
    assert not predicted.result.get("failed"), predicted.result
    assert predicted.writes == []
    outcome = run(lab, as_root=as_root, **params)
    assert not outcome.result.get("failed"), outcome.result
    assert (outcome.changes, outcome.result["tokens"]) == (predicted.changes, predicted.result["tokens"])
    assert outcome.warnings == predicted.warnings
    again = run(lab, as_root=as_root, **params)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    return outcome


def acls(lab: PveLab) -> set[tuple[str, str, str, bool]]:
    """Without those of the lab itself."""
    found = lab.server.cluster.access.acls
    return {
        (acl.path, acl.subject, acl.role, on) for acl, on in found.items() if not acl.subject.startswith("ansible@")
    }


def secret(lab: PveLab, user: str = "ci@pve", name: str = "deploy") -> str:
    return str(lab.server.cluster.access.users[user].tokens[name].secret)


# -- users, groups, roles --------------------------------------------------------------------------------------------


def test_users_groups_and_roles_are_made_in_the_order_in_which_they_need_each_other(lab: PveLab) -> None:
    outcome = truthful(
        lab,
        users=[{"name": "ann@pve", "groups": ["ops"], "email": "ann@example.org", "password": "not-a-secret-1", "expire": "2033-05-18"}],
        groups=[{"name": "ops", "comment": "Operators"}],
        roles=[{"name": "Restart", "privileges": ["VM.PowerMgmt", "VM.Audit"]}],
        acls=[{"path": "/vms/", "role": "Restart", "group": "ops"}],
    )  # fmt: skip
    assert outcome.actions == [
        "role/Restart create", "group/ops create", "user/ann@pve create", "acl/vms:@ops:Restart create",
    ]  # fmt: skip
    assert outcome.changes[2]["after"] == {
        "groups": ["ops"], "expire": 1999987200, "email": "ann@example.org", "password": "(hidden)",
    }  # fmt: skip
    assert "not-a-secret-1" not in str(outcome.result) + str(outcome.progress)
    assert len(outcome.writes) == 4
    assert lab.server.cluster.access.users["ann@pve"].password == "not-a-secret-1"
    assert acls(lab) == {("/vms", "ops", "Restart", True)}


def test_only_what_differs_is_written_and_what_is_left_out_stays(lab: PveLab) -> None:
    run(lab, users=[{"name": "ann@pve", "comment": "c", "email": "ann@example.org"}], groups=[{"name": "ops"}])
    outcome = truthful(
        lab, users=[{"name": "ann@pve", "comment": "", "groups": ["ops"], "enable": False, "expire": "never"}]
    )
    assert outcome.changes == [
        {
            "resource": "user/ann@pve",
            "action": "update",
            "before": {"comment": "c", "enable": True},
            "after": {"groups": ["ops"], "enable": False},
        }
    ]
    truthful(lab, users=[{"name": "ann@pve", "groups": []}])
    with lab.session() as session:
        assert session.get("/access/users/ann@pve") == {
            "email": "ann@example.org", "enable": 0, "expire": 0, "groups": [], "tokens": None,
        }  # fmt: skip


def test_a_role_has_what_is_listed_or_that_besides_what_it_has(lab: PveLab) -> None:
    run(lab, roles=[{"name": "Mine", "privileges": ["VM.Audit"]}])
    added = truthful(lab, roles=[{"name": "Mine", "privileges": ["VM.Console"], "append": True}])
    assert added.changes[0]["after"] == {"privileges": ["VM.Audit", "VM.Console"]}
    truthful(lab, roles=[{"name": "Mine", "privileges": ["VM.Console"]}])
    truthful(lab, roles=[{"name": "Mine", "privileges": []}])
    assert lab.server.cluster.access.roles["Mine"] == frozenset()


@pytest.mark.parametrize("name", sorted(roles.ROLES))
def test_a_role_of_the_collection_has_its_privileges_by_its_name(pve: PveLab, name: str) -> None:
    pve.server.cluster.access.roles.pop(name, None)
    truthful(pve, as_root=True, roles=[{"name": name}])
    assert pve.server.cluster.access.roles[name] == roles.ROLES[name].privileges


def test_an_acl_makes_a_role_of_the_collection_that_is_missing(lab: PveLab) -> None:
    outcome = truthful(lab, users=[{"name": "csi@pve"}], acls=[{"path": "/", "role": "CSI", "user": "csi@pve"}])
    assert outcome.actions == ["role/CSI create", "user/csi@pve create", "acl/:csi@pve:CSI create"]
    lab.server.cluster.access.roles["CSI"] = frozenset({"VM.Audit"})
    assert run(lab, acls=[{"path": "/", "role": "CSI", "user": "csi@pve"}]).changes == []


def test_an_older_version_gets_what_it_knows_of_a_role(lab: PveLab) -> None:
    played = lab.server.cluster.access.roles
    older = (played["Administrator"] | {"VM.Monitor"}) - {"VM.GuestAgent.Audit"}
    played["Administrator"] = older
    outcome = run(lab, check=True, roles=[{"name": "AnsibleGuests"}])
    assert "VM.Monitor" in outcome.changes[0]["after"]["privileges"]
    assert outcome.warnings == ["role AnsibleGuests: this version of Proxmox VE does not know VM.GuestAgent.Audit"]


def test_what_is_absent_goes_last_and_takes_nothing_else_with_it(lab: PveLab) -> None:
    things: dict[str, list[dict[str, t.Any]]] = {
        "users": [{"name": "ann@pve"}], "groups": [{"name": "ops"}], "roles": [{"name": "Mine", "privileges": ["VM.Audit"]}],
    }  # fmt: skip
    run(lab, **things, acls=[{"path": "/vms", "role": "Mine", "user": "ann@pve"}])
    gone = {kind: [{"name": one["name"], "state": "absent"} for one in found] for kind, found in things.items()}
    outcome = truthful(lab, **gone, acls=[{"path": "/vms", "role": "Mine", "user": "ann@pve", "state": "absent"}])
    assert outcome.actions == [
        "acl/vms:ann@pve:Mine delete", "user/ann@pve delete", "group/ops delete", "role/Mine delete",
    ]  # fmt: skip
    assert sorted(lab.server.cluster.access.users) == ["ansible@pve", "root@pam"]


# -- passwords -------------------------------------------------------------------------------------------------------


def test_a_password_is_compared_by_logging_in_and_set_when_that_fails(lab: PveLab) -> None:
    ann = {"name": "ann@pve", "password": "not-a-secret-1"}
    run(lab, users=[ann])
    assert run(lab, users=[{**ann, "password": "not-a-secret-2"}]).changes == []
    assert run(lab, users=[ann], update_password="always").changes == []
    outcome = truthful(lab, as_root=True, users=[{**ann, "password": "not-a-secret-2"}], update_password="always")
    assert outcome.changes == [{"resource": "user/ann@pve", "action": "update", "after": {"password": "(hidden)"}}]
    assert lab.server.cluster.access.users["ann@pve"].password == "not-a-secret-2"


def test_that_a_token_cannot_change_a_password_is_said_before_anything_is_written(lab: PveLab) -> None:
    run(lab, users=[{"name": "ann@pve", "password": "not-a-secret-1"}])
    users = [{"name": "new@pve"}, {"name": "ann@pve", "password": "not-a-secret-2"}]
    for check in (True, False):
        outcome = run(lab, check=check, users=users, update_password="always")
        assert (
            "ansible@pve!groundwork is an API token, and Proxmox VE lets none of them change a password"
            in outcome.result["msg"]
        )
        assert "Log in with api_user and api_password" in outcome.result["msg"]
        assert outcome.writes == []


def test_the_password_of_a_disabled_user_is_left_alone_and_said(lab: PveLab) -> None:
    users = [{"name": "ann@pve", "password": "not-a-secret-1", "enable": False}]
    run(lab, users=users)
    outcome = run(lab, users=users, update_password="always")
    assert outcome.changes == []
    assert outcome.warnings == [
        "user ann@pve is disabled or has expired, so its password cannot be compared, and stays as it is"
    ]


# -- tokens ----------------------------------------------------------------------------------------------------------


def token(lab: PveLab, **more: t.Any) -> dict[str, t.Any]:
    return {"name": CI, "secret_file": str(lab.root / "secrets" / "ci"), **more}


def test_the_secret_of_a_token_is_in_its_file_and_nowhere_else(lab: PveLab) -> None:
    outcome = truthful(lab, users=[{"name": "ci@pve"}], tokens=[token(lab, comment="c")])
    file = lab.root / "secrets" / "ci"
    assert file.read_text() == f"{secret(lab)}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["ci"]
    assert secret(lab) not in str(outcome.result) + str(outcome.progress) + str(outcome.warnings)
    assert outcome.changes[1] == {
        "resource": f"token/{CI}",
        "action": "create",
        "after": {"comment": "c", "secret": "(hidden)", "secret_file": str(file)},
    }
    assert outcome.result["tokens"] == [{"id": CI, "state": "present", "secret_file": str(file), "changed": True}]


def test_a_token_is_changed_without_a_new_secret(lab: PveLab) -> None:
    run(lab, users=[{"name": "ci@pve"}], tokens=[token(lab)])
    before = secret(lab)
    outcome = truthful(lab, tokens=[token(lab, privsep=False, comment="new", expire="2033-05-18")])
    assert outcome.changes == [
        {
            "resource": f"token/{CI}",
            "action": "update",
            "before": {"expire": 0, "privsep": True},
            "after": {"expire": 1999987200, "privsep": False, "comment": "new"},
        }
    ]
    truthful(lab, tokens=[{"name": CI, "privsep": True}])
    assert secret(lab) == before


def test_a_token_whose_file_is_lost_is_said_and_made_again_on_request_with_its_acls(lab: PveLab) -> None:
    run(
        lab,
        users=[{"name": "ci@pve"}],
        tokens=[token(lab, comment="c", privsep=True)],
        acls=[{"path": "/vms", "role": "PVEVMUser", "token": CI}, {"path": "/pool", "role": "PVEPoolUser", "token": CI, "propagate": False}],
    )  # fmt: skip
    before = (secret(lab), acls(lab))
    (lab.root / "secrets" / "ci").unlink()
    said = run(lab, tokens=[token(lab)])
    assert f"token {CI} exists, but its secret_file {lab.root}/secrets/ci does not" in said.result["msg"]
    assert "Bring the file back; or set replace_lost" in said.result["msg"]
    assert said.writes == []
    outcome = truthful(lab, tokens=[token(lab, replace_lost=True)])
    assert outcome.actions == [
        f"token/{CI} update", f"acl/vms:{CI}:PVEVMUser create", f"acl/pool:{CI}:PVEPoolUser create",
    ]  # fmt: skip
    assert outcome.changes[0]["note"] == "a new secret; whoever uses the old one has to be given it"
    assert secret(lab) != before[0]
    assert acls(lab) == before[1]
    assert (lab.root / "secrets" / "ci").read_text() == f"{secret(lab)}\n"
    assert lab.server.cluster.access.users["ci@pve"].tokens["deploy"].comment == "c"


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
def test_a_lost_answer_loses_no_secret(lab: PveLab, fault: str) -> None:
    lab.fault(fault, verb="POST", path="*/token/*")
    wishes: dict[str, t.Any] = {"users": [{"name": "ci@pve"}], "tokens": [token(lab)]}
    outcome = run(lab, **wishes)
    assert not outcome.result.get("failed"), outcome.result
    assert (lab.root / "secrets" / "ci").read_text() == f"{secret(lab)}\n"
    assert run(lab, **wishes).changes == []


class Killed(BaseException):
    """The run ends here."""


def test_a_run_that_is_killed_before_a_secret_is_written_is_gone_on_with(
    lab: PveLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: dict[str, t.Any] = {"users": [{"name": "ci@pve"}], "tokens": [token(lab)]}
    replace = access.private_files.replace

    def killed(path: pathlib.Path, text: str) -> None:
        if path.name == "ci":
            raise Killed
        replace(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(access.private_files, "replace", killed)
        with pytest.raises(Killed):
            run(lab, **wishes)
    lost = secret(lab)
    outcome = truthful(lab, **wishes)
    assert outcome.changes[0]["note"] == "a new secret, because that of an earlier run was never written"
    assert (lab.root / "secrets" / "ci").read_text() == f"{secret(lab)}\n"
    assert secret(lab) != lost


def test_a_token_that_is_made_again_keeps_its_options_when_that_is_cut_off(
    lab: PveLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by a lost answer, once by the end of the run: the old token is gone then, and the new one not there."""
    run(lab, users=[{"name": "ci@pve"}], tokens=[token(lab, comment="c", privsep=False, expire="2033-05-18")])
    kept = lab.server.cluster.access.users["ci@pve"].tokens["deploy"]
    made = {"tokens": [token(lab, replace_lost=True)]}
    for cut in ("lost", "killed"):
        (lab.root / "secrets" / "ci").unlink()
        lab.faults.clear()
        if cut == "lost":
            lab.fault("drop-before", verb="POST", path="*/token/*")
        else:
            with monkeypatch.context() as patch:
                patch.setattr(access._Planner, "_make_token", _killed)
                with pytest.raises(Killed):
                    run(lab, **made)
        lab.fault("drop-before", verb="POST", path="*/token/*")  # of the next run, too
        outcome = run(lab, **made)
        assert not outcome.result.get("failed"), outcome.result
        now = lab.server.cluster.access.users["ci@pve"].tokens["deploy"]
        assert (now.comment, now.privsep, now.expire) == (kept.comment, kept.privsep, kept.expire), cut
        assert now.secret != kept.secret


def _killed(*_given: t.Any) -> None:
    raise Killed


@pytest.mark.parametrize("step", ["_make_token", "_acl"])
def test_a_run_that_is_killed_while_a_token_is_made_again_loses_no_acl(
    lab: PveLab, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    acl = [{"path": "/vms", "role": "PVEVMUser", "token": CI}]
    run(lab, users=[{"name": "ci@pve"}], tokens=[token(lab)], acls=acl)
    before = acls(lab)
    (lab.root / "secrets" / "ci").unlink()

    def killed(*_given: t.Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(access._Planner, step, killed)
        with pytest.raises(Killed):
            run(lab, tokens=[token(lab, replace_lost=True)])
    assert acls(lab) == set()
    outcome = truthful(lab, tokens=[token(lab)])
    made = [f"token/{CI} create"] if step == "_make_token" else []
    assert outcome.actions == [*made, f"acl/vms:{CI}:PVEVMUser create"]
    assert acls(lab) == before
    assert [one.name for one in (lab.root / "secrets").iterdir()] == ["ci"]


def test_a_token_is_deleted_with_its_acls(lab: PveLab) -> None:
    run(lab, users=[{"name": "ci@pve"}], tokens=[token(lab)], acls=[{"path": "/vms", "role": "PVEVMUser", "token": CI}])
    outcome = truthful(lab, tokens=[{"name": "deploy", "user": "ci@pve", "state": "absent"}])
    assert outcome.actions == [f"token/{CI} delete"]
    assert acls(lab) == set()


# -- ACLs ------------------------------------------------------------------------------------------------------------


def test_acls_are_added_and_their_propagation_changed(lab: PveLab) -> None:
    wish = {"path": "/storage/local", "role": "PVEDatastoreUser", "user": "ann@pve"}
    run(lab, users=[{"name": "ann@pve"}], acls=[wish])
    outcome = truthful(lab, acls=[{**wish, "propagate": False}])
    assert outcome.changes == [
        {
            "resource": "acl/storage/local:ann@pve:PVEDatastoreUser",
            "action": "update",
            "before": {"propagate": True},
            "after": {"propagate": False},
        }
    ]
    assert acls(lab) == {("/storage/local", "ann@pve", "PVEDatastoreUser", False)}


def test_on_an_exclusive_path_there_is_what_is_listed_and_paths_below_stay(lab: PveLab) -> None:
    mine = [
        {"path": "/vms", "role": role, who: name}
        for role in ("AnsibleGuests", "AnsibleAccess")
        for who, name in (("user", "ansible@pve"), ("token", "ansible@pve!groundwork"))
    ]
    run(
        lab,
        users=[{"name": "ann@pve"}, {"name": "bob@pve"}],
        acls=[{"path": path, "role": "PVEVMUser", "user": user} for path in ("/vms", "/vms/100") for user in ("ann@pve", "bob@pve")],
    )  # fmt: skip
    wishes: dict[str, t.Any] = {
        "acls": [{"path": "/vms", "role": "PVEVMUser", "user": "ann@pve"}],
        "exclusive_acl_paths": ["/vms"],
    }
    refused = run(lab, **wishes)
    assert (
        "exclusive_acl_paths would take away the role AnsibleAccess of token ansible@pve!groundwork on /vms"
        in refused.result["msg"]
    )
    assert refused.writes == []
    outcome = truthful(lab, acls=[*wishes["acls"], *mine], exclusive_acl_paths=["/vms"])
    assert outcome.actions == ["acl/vms:bob@pve:PVEVMUser delete"]
    assert {(path, who) for path, who, _role, _on in acls(lab)} == {
        ("/vms", "ann@pve"), ("/vms/100", "ann@pve"), ("/vms/100", "bob@pve"),
    }  # fmt: skip


def test_what_a_token_has_only_together_with_its_user_is_warned_of(lab: PveLab) -> None:
    acl = {"path": "/vms", "role": "PVEVMUser", "token": CI}
    outcome = truthful(lab, users=[{"name": "ci@pve"}], tokens=[token(lab)], acls=[acl])
    assert outcome.warnings == [
        f"the role PVEVMUser of token {CI} on /vms gives only what ci@pve has there, too, who lacks all of them"
    ]
    outcome = run(lab, acls=[acl, {"path": "/", "role": "PVETemplateUser", "user": "ci@pve"}])
    assert "who lacks VM.Backup, VM.Config.CDROM" in outcome.warnings[0]
    assert run(lab, acls=[acl, {"path": "/vms", "role": "PVEVMAdmin", "user": "ci@pve"}]).warnings == []
    outcome = run(lab, tokens=[token(lab, privsep=False)], acls=[acl])
    assert outcome.warnings == [f"the role PVEVMUser of token {CI} on /vms has no effect: the token has all rights of its user (privsep is false)"]  # fmt: skip


def test_the_token_that_is_made_can_do_what_its_role_says(lab: PveLab) -> None:
    """The way that a lab begins: root makes the user, and the user's token does the rest."""
    both = [
        {"path": "/pool", "role": "AnsiblePools", "user": "ci@pve"},
        {"path": "/pool", "role": "AnsiblePools", "token": CI},
    ]
    outcome = run(lab, as_root=True, users=[{"name": "ci@pve"}], tokens=[token(lab)], acls=both)
    assert outcome.warnings == []
    read = (lab.root / "secrets" / "ci").read_text().strip()
    made = lab.run(proxmox_pool, pools=[{"name": "home"}], api_token_id=CI, api_token_secret=read)
    assert made.actions == ["pool/home create"], made.result


# -- said before anything is written ---------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, t.Any], str]] = {
    "user": ({"users": [{"name": "ann"}]}, "'ann' is no user of a realm. Write user@realm"),
    "root goes": ({"users": [{"name": "root@pam", "state": "absent"}]}, "root@pam cannot be absent."),
    "password": ({"users": [{"name": "ann@pve", "password": "short"}]}, "user ann@pve: the password has 5 characters. 8 to 64 are allowed."),
    "pam password": ({"users": [{"name": "ann@pam", "password": "not-a-secret-1"}]}, "user ann@pam is to have a password, which the realm pam does not keep"),
    "email": ({"users": [{"name": "ann@pve", "email": "ann"}]}, "user ann@pve: 'ann' is no email address."),
    "expire": ({"users": [{"name": "ann@pve", "expire": "soon"}]}, "ann@pve: expire 'soon' is no time. Write never, a date"),
    "realm": ({"users": [{"name": "ann@nope"}]}, "user ann@nope is to be of the realm nope, which does not exist. There are: pam, pve."),
    "group": ({"users": [{"name": "ann@pve", "groups": ["nope"]}]}, "user ann@pve is to be in the group nope, which does not exist. Name it in groups as well."),
    "twice": ({"users": [{"name": "ann@pve"}, {"name": "ann@pve", "state": "absent"}]}, "user ann@pve is named twice."),
    "group name": ({"groups": [{"name": "a b"}]}, "'a b' is no name of a group."),
    "built-in role": ({"roles": [{"name": "PVEAdmin", "privileges": []}]}, "role PVEAdmin is one of Proxmox VE's own, which cannot be changed."),
    "no privileges": ({"roles": [{"name": "Mine"}]}, "role Mine has no privileges. These are known without listing them: AnsibleAccess, AnsibleGuests"),
    "privilege": ({"roles": [{"name": "Mine", "privileges": ["VM.Adit"]}]}, "role Mine: this Proxmox VE knows no privilege 'VM.Adit'. Is VM.Audit meant?"),
    "token name": ({"tokens": [{"name": "ci@pve!1"}]}, "'1' is no name of a token."),
    "token user": ({"tokens": [{"name": "x1"}]}, "'' is no user of a realm."),
    "no file": ({"users": [{"name": "ci@pve"}], "tokens": [{"name": CI}]}, f"token {CI} does not exist, and to create it secret_file must be given."),
    "no such user": ({"tokens": [{"name": CI, "secret_file": "/nowhere/x"}]}, f"token {CI}: the user does not exist. Name ci@pve in users as well."),
    "acl nobody": ({"acls": [{"path": "/", "role": "CSI"}]}, "the ACL of the role CSI on / names 0 of user, group and token. Name exactly one."),
    "acl path": ({"acls": [{"path": "/foo", "role": "CSI", "user": "ansible@pve"}]}, "acls: '/foo' is no path of ACLs. They are /"),
    "acl role": ({"acls": [{"path": "/", "role": "Nope", "user": "ansible@pve"}]}, "the role Nope of user ansible@pve on /: there is no such role. There are: Administrator"),
    "acl user": ({"acls": [{"path": "/", "role": "CSI", "user": "nope@pve"}]}, "the role CSI of user nope@pve on /: there is no such user. Name it in users as well."),
    "acl root": ({"acls": [{"path": "/", "role": "CSI", "user": "root@pam"}]}, "root@pam has every right, and no ACL."),
    "myself": ({"users": [{"name": "ansible@pve", "state": "absent"}]}, "ansible@pve is to be absent, and is the one that asks."),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_before_anything_is_written(lab: PveLab, case: str) -> None:
    if case == "myself":
        lab.needs_played("a person's token has another name")
    wishes, message = BAD[case]
    for check in (True, False):
        outcome = run(
            lab,
            check=check,
            groups=[{"name": "good"}, *wishes.get("groups", [])],
            **{k: v for k, v in wishes.items() if k != "groups"},
        )
        assert message in outcome.result["msg"], outcome.result
        assert outcome.result["error"]["kind"] == "InvalidInput"
        assert outcome.writes == []


def test_a_file_of_something_else_is_never_overwritten(lab: PveLab) -> None:
    file = lab.root / "notes"
    file.write_text("my notes\n")
    outcome = run(lab, users=[{"name": "ci@pve"}], tokens=[token(lab, secret_file=str(file))])
    assert f"{file} holds something else than the secret of a token. Give a file of its own." in outcome.result["msg"]
    assert file.read_text() == "my notes\n"
    assert outcome.writes == []


def test_a_file_that_others_can_read_is_refused(lab: PveLab) -> None:
    run(lab, users=[{"name": "ci@pve"}], tokens=[token(lab)])
    (lab.root / "secrets" / "ci").chmod(0o644)
    outcome = run(lab, tokens=[token(lab)])
    assert "others than its owner can get at it" in outcome.result["msg"]


def test_missing_rights_are_named_with_their_paths(pve: PveLab) -> None:
    outcome = run(
        pve,
        users=[{"name": "ci@pve"}],
        groups=[{"name": "ops"}],
        roles=[{"name": "CSI"}],
        tokens=[token(pve)],
        acls=[{"path": "/vms", "role": "CSI", "user": "ci@pve"}],
    )
    assert outcome.result["error"]["missing"] == [
        "Group.Allocate on /access/groups (create group ops)",
        "Permissions.Modify on /vms (give the role CSI of user ci@pve on /vms)",
        "Realm.AllocateUser on /access/realm/pve (create user ci@pve)",
        "Sys.Modify on /access (create role CSI)",
        "User.Modify on /access/groups (create token ci@pve!deploy)",
        "User.Modify on /access/groups (create user ci@pve)",
    ]
    assert "AnsibleAccess" in outcome.result["msg"]
    assert outcome.writes == []

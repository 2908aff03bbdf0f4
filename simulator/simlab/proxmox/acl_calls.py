# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups, roles, ACLs, realms."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

from . import formats, privileges
from .access import Acl, Group
from .api import Call, handles
from .errors import Failure, ParameterError

_PATHS = re.compile(
    r"/|/access(/groups(/[A-Za-z0-9.\-_]+)?|/realm(/[A-Za-z0-9.\-_]+)?)?"
    r"|/nodes(/[A-Za-z0-9.\-]+)?|/pool(/[A-Za-z0-9.\-_]+){0,3}|/storage(/[A-Za-z0-9.\-_]+)?|/vms(/[1-9][0-9]{2,})?"
    r"|/sdn(/(zones|vnets|controllers|dns|ipams|fabrics)(/[A-Za-z0-9.\-_]+){0,3})?"
    r"|/mapping(/(pci|usb|dir|notifications)(/[A-Za-z0-9.\-_]+)?)?"
)


# -- groups -----------------------------------------------------------------------------------------------


@handles("GET", "/access/groups")
def groups(call: Call) -> list[dict[str, t.Any]]:
    wanted = ("User.Modify", "Sys.Audit", "Group.Allocate")
    return [
        {"groupid": name, "users": ",".join(sorted(group.members))} | _comment(group)
        for name, group in call.cluster.access.groups.items()
        if call.allowed.has(f"/access/groups/{name}", wanted, True)
    ]


def _comment(group: Group) -> dict[str, str]:
    return {"comment": group.comment} if group.comment else {}


def _group(call: Call, prefix: str = "") -> Group:
    name = call.text("groupid")
    if name not in call.cluster.access.groups:
        raise Failure(f"{prefix}group '{name}' does not exist")
    return call.cluster.access.groups[name]


@handles("GET", "/access/groups/{groupid}")
def group_get(call: Call) -> dict[str, t.Any]:
    group = _group(call)
    return {"members": sorted(group.members)} | _comment(group)


@handles("POST", "/access/groups")
def group_add(call: Call) -> None:
    name = call.text("groupid")
    if name in call.cluster.access.groups:
        raise Failure(f"create group failed: group '{name}' already exists")
    call.cluster.access.groups[name] = Group(call.text("comment"))


@handles("PUT", "/access/groups/{groupid}")
def group_put(call: Call) -> None:
    group = _group(call, "update group failed: ")
    group.comment = call.text("comment", group.comment)


@handles("DELETE", "/access/groups/{groupid}")
def group_delete(call: Call) -> None:
    _group(call, "delete group failed: ")
    name = call.text("groupid")
    del call.cluster.access.groups[name]
    call.cluster.access.forget(lambda acl: acl.kind == "group" and acl.subject == name)


# -- roles ------------------------------------------------------------------------------------------------


@handles("GET", "/access/roles")
def roles(call: Call) -> list[dict[str, t.Any]]:
    return [
        {"roleid": name, "privs": ",".join(sorted(granted)), "special": int(name in privileges.ROLES)}
        for name, granted in call.cluster.access.roles.items()
    ]


def _role(call: Call, prefix: str = "") -> frozenset[str]:
    name = call.text("roleid")
    if name not in call.cluster.access.roles:
        raise Failure(f"{prefix}role '{name}' does not exist")
    return call.cluster.access.roles[name]


@handles("GET", "/access/roles/{roleid}")
def role_get(call: Call) -> dict[str, int]:
    return dict.fromkeys(sorted(_role(call)), 1)


@handles("POST", "/access/roles")
def role_add(call: Call) -> None:
    name = call.text("roleid")
    if name.upper().startswith("PVE"):
        text = "cannot use role ID starting with the (case-insensitive) 'PVE' namespace"
        raise ParameterError({"roleid": text})
    if name in call.cluster.access.roles:
        raise Failure(f"create role failed: role '{name}' already exists")
    call.cluster.access.roles[name] = frozenset(formats.split_list(call.text("privs")))


@handles("PUT", "/access/roles/{roleid}")
def role_put(call: Call) -> None:
    name = call.text("roleid")
    if name in privileges.ROLES:
        raise Failure(f"auto-generated role '{name}' cannot be modified")
    known = _role(call, "update role failed: ")
    given = frozenset(formats.split_list(call.text("privs")))
    call.cluster.access.roles[name] = known | given if call.flag("append") else given


@handles("DELETE", "/access/roles/{roleid}")
def role_delete(call: Call) -> None:
    name = call.text("roleid")
    if name in privileges.ROLES:
        raise Failure(f"auto-generated role '{name}' cannot be deleted")
    _role(call, "delete role failed: ")
    del call.cluster.access.roles[name]
    call.cluster.access.forget(lambda acl: acl.role == name)


# -- ACLs -------------------------------------------------------------------------------------------------


@handles("GET", "/access/acl")
def acls(call: Call) -> list[dict[str, t.Any]]:
    return [
        {"path": acl.path, "propagate": int(on), "roleid": acl.role, "type": acl.kind, "ugid": acl.subject}
        for acl, on in call.cluster.access.acls.items()
        if call.allowed.has(acl.path, ["Permissions.Modify", "Sys.Audit"], True)
        and not (acl.kind == "user" and acl.subject == "root@pam")
    ]


@handles("PUT", "/access/acl")
def acl_put(call: Call) -> None:
    subjects = _subjects(call)
    path = _path(call)
    wanted = formats.split_list(call.text("roles"))
    if not call.allowed.has(path, ["Permissions.Modify"]):
        _check_delegation(call, path, wanted)
    for role in wanted:
        if role not in call.cluster.access.roles:
            raise Failure(f"ACL update failed: role '{role}' does not exist")
        for kind, subject in subjects:
            acl = Acl(path, kind, subject, role)
            if call.flag("delete"):
                call.cluster.access.acls.pop(acl, None)
            else:
                call.cluster.access.acls[acl] = call.flag("propagate", True)


def _subjects(call: Call) -> list[tuple[t.Any, str]]:
    given = {kind: formats.split_list(call.text(kind)) for kind in ("users", "groups", "tokens")}
    if not any(kind in call.params for kind in given):
        text = "either 'users', 'groups' or 'tokens' is required."
        raise ParameterError(dict.fromkeys(given, text))
    access = call.cluster.access
    for group in given["groups"]:
        if group not in access.groups:
            raise Failure(f"ACL update failed: group '{group}' does not exist")
    for user in given["users"]:
        if user not in access.users:
            raise Failure(f"ACL update failed: user '{user}' does not exist")
    for full in given["tokens"]:
        user, _, token = full.partition("!")
        if user not in access.users or token not in access.users[user].tokens:
            raise Failure(f"ACL update failed: no such token '{token}' for user '{user}'")
    return [(kind[:-1], subject) for kind, found in given.items() for subject in found]


def _path(call: Call) -> str:
    sent = call.text("path")
    path = "/" + "/".join(part for part in sent.split("/") if part)
    if not _PATHS.fullmatch(path) or not sent.startswith("/"):
        raise ParameterError({"path": f"invalid ACL path '{sent}'"})
    return path


def _check_delegation(call: Call, path: str, wanted: list[str]) -> None:
    """Without Permissions.Modify: only rights that one has oneself."""
    for role in wanted:
        granted = call.cluster.access.roles.get(role, frozenset())
        if not call.allowed.has(path, granted):
            raise Failure(f"ACL update failed: cannot assign role '{role}' - privileges are missing")


# -- realms -----------------------------------------------------------------------------------------------


@handles("GET", "/access/domains")
def realms(call: Call) -> list[dict[str, t.Any]]:
    return [
        {"realm": name, "type": realm["type"]} | ({"comment": realm["comment"]} if realm.get("comment") else {})
        for name, realm in call.cluster.access.realms.items()
    ]


@handles("GET", "/access/domains/{realm}")
def realm_get(call: Call) -> dict[str, t.Any]:
    name = call.text("realm")
    if name not in call.cluster.access.realms:
        raise Failure(f"domain '{name}' does not exist")
    text = json.dumps(call.cluster.access.realms, sort_keys=True)
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return call.cluster.access.realms[name] | {"digest": digest}


@handles("POST", "/access/domains")
def realm_add(call: Call) -> None:
    name = call.text("realm")
    if name in call.cluster.access.realms:
        raise Failure(f"add auth server failed: domain '{name}' already exists")
    call.cluster.access.realms[name] = {key: value for key, value in call.params.items() if key != "realm"}


@handles("PUT", "/access/domains/{realm}")
def realm_put(call: Call) -> None:
    realm_get(call)
    realm = call.cluster.access.realms[call.text("realm")]
    for key in formats.split_list(call.text("delete")):
        realm.pop(key, None)
    realm.update({key: v for key, v in call.params.items() if key not in ("realm", "delete", "digest")})


@handles("DELETE", "/access/domains/{realm}")
def realm_delete(call: Call) -> None:
    name = call.text("realm")
    if name not in call.cluster.access.realms:
        raise Failure(f"delete auth server failed: authentication domain '{name}' does not exist")
    if name not in ("pam", "pve"):
        del call.cluster.access.realms[name]

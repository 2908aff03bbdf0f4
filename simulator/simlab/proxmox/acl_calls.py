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
from .errors import Failure, Nested, ParameterError

_NAME = r"[A-Za-z0-9._\-]+"
_PATHS = re.compile(
    rf"/|/access(/groups(/{_NAME})?|/realm(/{_NAME})?)?|/nodes(/{_NAME})?|/pool(/{_NAME}){{0,3}}|/storage(/{_NAME})?"
    rf"|/vms(/[1-9][0-9]{{2,}})?|/mapping(/{_NAME}){{0,2}}"
    rf"|/sdn(/controllers(/[A-Za-z0-9_\-]+)?|/(dns|fabrics|ipams)(/[A-Za-z0-9]+)?"
    rf"|/zones(/{_NAME}(/{_NAME}(/[1-9][0-9]{{0,3}})?)?)?)?"
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
    call.cluster.access.groups[name] = Group(call.text("comment").strip(" "))


@handles("PUT", "/access/groups/{groupid}")
def group_put(call: Call) -> None:
    group = _group(call, "update group failed: ")
    group.comment = call.text("comment", group.comment).strip(" ")  # of a file of lines with colons


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
    given = {kind: formats.split_list(call.text(kind)) for kind in ("groups", "users", "tokens")}
    if not any(call.text(kind) for kind in given):
        text = "either 'users', 'groups' or 'tokens' is required."
        raise ParameterError(dict.fromkeys(given, text))
    path, remove = _path(call), call.flag("delete")
    changed: list[Acl] = []
    for role in formats.split_list(call.text("roles")):
        if role not in call.cluster.access.roles:
            raise Failure(f"ACL update failed: role '{role}' does not exist")
        _check_delegation(call, path, role)
        for kind, subjects in given.items():
            for subject in subjects:
                _check_subject(call, kind, subject)
                changed.append(Acl(path, t.cast("t.Any", kind[:-1]), subject, role))
    for acl in changed:
        if remove:
            call.cluster.access.acls.pop(acl, None)
        else:
            call.cluster.access.acls[acl] = call.flag("propagate", True)


def _check_subject(call: Call, kind: str, subject: str) -> None:
    access = call.cluster.access
    if kind == "groups" and subject not in access.groups:
        raise Failure(f"ACL update failed: group '{subject}' does not exist")
    if kind == "users" and subject not in access.users:
        raise Failure(f"ACL update failed: user '{subject}' does not exist")
    user, _, token = subject.partition("!")
    if kind == "tokens" and user not in access.users:
        raise Failure(f"ACL update failed: no such user ('{user}')")
    if kind == "tokens" and token not in access.users[user].tokens:
        raise Failure(f"ACL update failed: no such token '{token}' for user '{user}'")


def _path(call: Call) -> str:
    """With one slash at its begin and between its parts."""
    sent = call.text("path")
    path = "/" + "/".join(part for part in sent.split("/") if part)
    known = _PATHS if not call.flag("delete") else re.compile(r"[A-Za-z0-9._\-/]+")
    if not sent or not known.fullmatch(path):
        raise ParameterError({"path": f"invalid ACL path '{sent}'"})
    return path


def _check_delegation(call: Call, path: str, role: str) -> None:
    """Without Permissions.Modify: only rights that one has oneself, inherited as far as they are to be."""
    if call.caller.is_root:
        return
    own = call.cluster.access.permissions_propagated(call.caller.name, path)
    if "Permissions.Modify" in own:
        return
    verb = "remove" if call.flag("delete") else "add"
    granted = call.cluster.access.roles[role]
    if not granted <= own.keys():
        text = f"Cannot {verb} role '{role}' - requires 'Permissions.Modify' or superset of privileges."
        raise Nested("role", text, "ACL update failed: ")
    if verb == "add" and call.flag("propagate", True) and not all(own[name] for name in granted):
        text = f"Cannot add role '{role}' with propagation - requires 'Permissions.Modify' or propagated superset of privileges."
        raise Nested("role", text, "ACL update failed: ")
    if role == "NoAccess":
        raise Nested("role", f"Cannot {verb} role 'NoAccess' - requires 'Permissions.Modify'", "ACL update failed: ")


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


#: What a realm of a type cannot be without.
_NEEDED = {
    "ad": ("server1", "domain"),
    "ldap": ("server1", "base_dn", "user_attr"),
    "openid": ("issuer-url", "client-id"),
}
_REQUEST_ONLY = ("realm", "delete", "digest", "password", "check-connection")


@handles("POST", "/access/domains")
def realm_add(call: Call) -> None:
    name, kind = call.text("realm"), call.text("type")
    realms_ = call.cluster.access.realms
    if name in realms_:
        raise Failure(f"add auth server failed: domain '{name}' already exists")
    if kind in ("pam", "pve"):
        raise Failure(f"add auth server failed: unable to create builtin type '{kind}'")
    for key in _NEEDED[kind]:
        if key not in call.params:
            raise Failure(f"add auth server failed: missing value for required option '{key}'")
    realms_[name] = {key: value for key, value in call.params.items() if key not in _REQUEST_ONLY}
    _keep_one_default(call, name)


@handles("PUT", "/access/domains/{realm}")
def realm_put(call: Call) -> None:
    name, realms_ = call.text("realm"), call.cluster.access.realms
    if name not in realms_:
        raise Failure(f"update auth server failed: domain '{name}' does not exist")
    if not [key for key in call.params if key not in ("realm", "digest")]:
        raise Failure("update auth server failed: no options specified")
    for key in formats.split_list(call.text("delete")):
        realms_[name].pop(key, None)
    realms_[name].update({key: v for key, v in call.params.items() if key not in _REQUEST_ONLY})
    _keep_one_default(call, name)


def _keep_one_default(call: Call, name: str) -> None:
    if call.flag("default"):
        for other, realm in call.cluster.access.realms.items():
            if other != name:
                realm.pop("default", None)


@handles("DELETE", "/access/domains/{realm}")
def realm_delete(call: Call) -> None:
    name = call.text("realm")
    if name not in call.cluster.access.realms:
        raise Failure(f"delete auth server failed: authentication domain '{name}' does not exist")
    if name not in ("pam", "pve"):
        del call.cluster.access.realms[name]

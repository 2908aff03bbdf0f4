# SPDX-License-Identifier: GPL-3.0-or-later
"""Login, users, tokens, passwords."""

from __future__ import annotations

import re
import typing as t
import uuid

from . import formats, privileges
from .access import Token, User
from .api import Call, handles
from .auth import Authentication
from .errors import ApiError, Failure, Forbidden, Nested, ParameterError

#: They are in a file of lines with colons, where space at the ends means nothing.
_DETAILS = ("comment", "email", "firstname", "lastname", "keys")
_TOKEN = "/access/users/{userid}/token/{tokenid}"


# -- login ------------------------------------------------------------------------------------------------


@handles("POST", "/access/ticket")
def ticket(call: Call) -> dict[str, t.Any]:
    name = call.text("username")
    if call.params.get("realm"):
        name = f"{name}@{call.params['realm']}"
    authentication = call.cluster.authentication
    if authentication is None or not _is_right(call, authentication, name):
        raise ApiError(401, "authentication failure")
    caps = {
        kind: privileges.capabilities(kind, call.cluster.access.permissions(name, path))
        for kind, path in privileges.CAPABILITY_PATHS.items()
    }
    if call.params.get("path"):
        return {"username": name, "cap": caps}
    return {
        "username": name,
        "ticket": authentication.ticket(name),
        "CSRFPreventionToken": authentication.csrf(name),
        "cap": caps,
    }


def _is_right(call: Call, authentication: Authentication, name: str) -> bool:
    """With ``path`` and ``privs`` it is only looked whether this user may do that there; a console's ticket is enough."""
    password, path = call.text("password"), call.text("path")
    if not path:
        return authentication.check_password(name, password)
    known = authentication.check_console_ticket(password, name, path) or authentication.check_password(name, password)
    granted = call.cluster.access.permissions(name, path)
    wanted = formats.split_list(call.text("privs"))
    return known and (name == "root@pam" or all(right in granted for right in wanted))


@handles("GET", "/access/ticket")
def no_ticket(call: Call) -> None:
    """Only there so that the login page of a browser gets an answer."""


@handles("PUT", "/access/password")
def password(call: Call) -> None:
    name = call.text("userid")
    user = _user(call, name)
    _confirm(call, name)
    if call.caller.name != name and not call.caller.is_root and name.endswith("@pam"):
        raise Forbidden()
    _store_password(call, name, user, call.text("password"))


def _confirm(call: Call, name: str) -> None:
    """Who is not root gives the own password once more."""
    if call.caller.is_root:
        return
    if name == "root@pam":
        raise Forbidden()
    if "confirmation-password" not in call.params:
        raise ParameterError({"confirmation-password": "password is required to modify user"})
    authentication = call.cluster.authentication
    sent = call.text("confirmation-password")
    if authentication is None or not authentication.check_password(call.caller.name, sent):
        raise Failure("invalid credentials")


def _store_password(call: Call, name: str, user: User, text: str) -> None:
    """Raises Failure where a realm has no passwords that can be set."""
    realm = name.rpartition("@")[2]
    known = call.cluster.access.realms.get(realm)
    if known is None:
        raise Failure(f"auth domain '{realm}' does not exist")
    if known["type"] not in ("pam", "pve"):
        raise Failure(f"can't set password on auth type '{known['type']}'")
    if realm == "pam" and name != "root@pam":
        raise Failure(f"change password failed: user '{name.partition('@')[0]}' does not exist")
    user.password = text


# -- second factors ---------------------------------------------------------------------------------------


@handles("GET", "/access/tfa/{userid}")
def second_factors(call: Call) -> list[dict[str, t.Any]]:
    """Nobody has one here."""
    return []


@handles("GET", "/access/tfa/{userid}/{id}")
def second_factor(call: Call) -> None:
    raise ApiError(404, f"No such tfa entry '{call.text('id')}'")


@handles("GET", "/access/users/{userid}/tfa")
def kinds_of_second_factors(call: Call) -> dict[str, t.Any]:
    realm = call.text("userid").rpartition("@")[2]
    if realm not in call.cluster.access.realms:
        raise Failure(f"auth domain '{realm}' does not exist")
    return {"user": []} if call.flag("multiple") else {}


# -- users ------------------------------------------------------------------------------------------------


def _user(call: Call, name: str) -> User:
    if name not in call.cluster.access.users:
        raise Failure(f"no such user ('{name}')")
    return call.cluster.access.users[name]


def _groups_of(call: Call, name: str) -> list[str]:
    return sorted(group for group, found in call.cluster.access.groups.items() if name in found.members)


def _shown(user: User) -> dict[str, t.Any]:
    return {"enable": user.enable, "expire": user.expire, **{k: v for k, v in user.details.items() if v}}


@handles("GET", "/access/users")
def users(call: Call) -> list[dict[str, t.Any]]:
    access = call.cluster.access
    found = []
    for name, user in access.users.items():
        if not _may_see(call, name) or call.params.get("enabled", str(user.enable)) != str(user.enable):
            continue
        entry = {"userid": name, **_shown(user)}
        realm = access.realms.get(name.rpartition("@")[2])
        if realm:
            entry["realm-type"] = realm["type"]
        if call.flag("full"):
            entry["groups"] = ",".join(_groups_of(call, name))
            tokens = [{"tokenid": key, **token.info()} for key, token in user.tokens.items()]
            entry["tokens"] = tokens or None
        found.append(entry)
    return found


def _may_see(call: Call, name: str) -> bool:
    wanted = ("User.Modify", "Sys.Audit")
    if name == call.caller.name or call.allowed.has("/access/groups", wanted, True):
        return True
    return any(call.allowed.has(f"/access/groups/{group}", wanted, True) for group in _groups_of(call, name))


@handles("GET", "/access/users/{userid}")
def user_get(call: Call) -> dict[str, t.Any]:
    name = call.text("userid")
    user = _user(call, name)
    tokens = {key: token.info() for key, token in user.tokens.items()}
    return {**_shown(user), "groups": _groups_of(call, name), "tokens": tokens or None}


@handles("POST", "/access/users")
def user_add(call: Call) -> None:
    name = call.text("userid")
    access = call.cluster.access
    try:
        if name in access.users:
            raise Failure(f"user '{name}' already exists")
        user = User()
        if "password" in call.params:
            _store_password(call, name, user, call.text("password"))
        _change(call, name, user)
    except Failure as error:
        raise Failure(f"create user failed: {error}") from None
    access.users[name] = user


@handles("PUT", "/access/users/{userid}")
def user_put(call: Call) -> None:
    name = call.text("userid")
    try:
        _change(call, name, _user(call, name))
    except Failure as error:
        raise Failure(f"update user failed: {error}") from None


def _change(call: Call, name: str, user: User) -> None:
    groups = formats.split_list(call.text("groups"))
    for group in groups:
        if group not in call.cluster.access.groups:
            raise Failure(f"no such group '{group}'")
    if "groups" in call.params:
        for group, found in call.cluster.access.groups.items():
            if group in groups:
                found.members.add(name)
            elif not call.flag("append"):
                found.members.discard(name)
    user.enable = int(call.params.get("enable", user.enable))
    user.expire = int(call.params.get("expire", user.expire))
    user.details.update({key: call.text(key).strip(" ") for key in _DETAILS if key in call.params})


@handles("DELETE", "/access/users/{userid}")
def user_delete(call: Call) -> None:
    name = call.text("userid")
    access = call.cluster.access
    if name != "root@pam":
        access.users.pop(name, None)
    for group in access.groups.values():
        group.members.discard(name)
    access.forget(lambda acl: acl.subject.partition("!")[0] == name and acl.kind != "group")


# -- tokens -----------------------------------------------------------------------------------------------


def _token(call: Call) -> Token:
    name, token = call.text("userid"), call.text("tokenid")
    found = _user(call, name).tokens.get(token)
    if found is None:
        raise Failure(f"no such token '{token}' for user '{name}'")
    return found


@handles("GET", "/access/users/{userid}/token")
def tokens(call: Call) -> list[dict[str, t.Any]]:
    user = _user(call, call.text("userid"))
    return [{"tokenid": name, **_numbers(token)} for name, token in user.tokens.items()]


def _numbers(token: Token) -> dict[str, t.Any]:
    return {**token.info(), "privsep": int(token.privsep), "expire": int(token.expire)}


@handles("GET", _TOKEN)
def token_get(call: Call) -> dict[str, t.Any]:
    return _numbers(_token(call))


@handles("POST", _TOKEN)
def token_add(call: Call) -> dict[str, t.Any]:
    name, token = call.text("userid"), call.text("tokenid")
    user = _user(call, name)
    if token in user.tokens:
        raise ParameterError({"tokenid": "Token already exists."})
    made = Token(str(uuid.uuid4()), call.params.get("privsep", 1), call.params.get("expire", 0))
    made.comment = call.text("comment").strip(" ") or None
    user.tokens[token] = made
    info = {key: value for key, value in made.info().items() if key == "privsep" or key in call.params}
    return {"full-tokenid": f"{name}!{token}", "info": info, "value": made.secret}


@handles("PUT", _TOKEN)
def token_put(call: Call) -> dict[str, t.Any]:
    token = _token(call)
    for key in ("privsep", "expire", "comment"):
        if key in call.params:
            setattr(token, key, call.params[key])
    token.comment = (token.comment or "").strip(" ") or None
    dropped = formats.split_list(call.text("delete"))
    for key in dropped:
        if key != "comment":
            raise Nested("delete", f"unknown option '{key}'", "updating token info failed: ")
    if dropped:
        token.comment = None
    found = _numbers(token)
    return found | {key: call.params[key] for key in ("privsep", "expire") if key in call.params}


@handles("DELETE", _TOKEN)
def token_delete(call: Call) -> None:
    _token(call)
    name, token = call.text("userid"), call.text("tokenid")
    del call.cluster.access.users[name].tokens[token]
    call.cluster.access.forget(lambda acl: acl.kind == "token" and acl.subject == f"{name}!{token}")


# -- permissions ------------------------------------------------------------------------------------------


@handles("GET", "/access/permissions")
def permissions(call: Call) -> dict[str, t.Any]:
    name = call.text("userid", call.caller.name)
    if name != call.caller.name and not name.startswith(f"{call.caller.name}!"):
        call.allowed.require("/access", "Sys.Audit")
    _check_exists(call, name)
    access = call.cluster.access
    paths = [call.text("path")] if "path" in call.params else sorted({"/", *(acl.path for acl in access.acls), *_TOP})
    found = {}
    for path in paths:
        granted = access.permissions_propagated(name, path)
        if granted or "path" in call.params:
            found[path] = {privilege: int(propagated) for privilege, propagated in sorted(granted.items())}
    return found


_TOP = ("/access", "/access/groups", "/access/realm", "/mapping", "/nodes", "/pool", "/sdn", "/storage", "/vms")


def _check_exists(call: Call, name: str) -> None:
    user, _, token = name.partition("!")
    known = _user(call, user)
    if token and token not in known.tokens:
        raise Failure(f"no such token '{token}' for user '{user}'")
    if not re.fullmatch(r"[^:/\s]+@[^:/\s!]+(![^:/\s]+)?", name):
        raise Forbidden()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and changing firewalls, the same way for datacenter, nodes, guests and security groups."""

from __future__ import annotations

import typing as t

from . import fixed, formats, schema
from .api import Call, Handler, handles
from .errors import Failure, ParameterError
from .firewall import File, Firewall, Group, IpSet, Rule, canonical_entry, move, version_of

_CLUSTER = "/cluster/firewall"
_NODE = "/nodes/{node}/firewall"
_GUESTS = ("/nodes/{node}/qemu/{vmid}/firewall", "/nodes/{node}/lxc/{vmid}/firewall")
_SCOPES = (_CLUSTER, _NODE, *_GUESTS)
_NAMED = (_CLUSTER, *_GUESTS)  # where aliases and IP sets are
_GROUP = f"{_CLUSTER}/groups/{{group}}"
_RULE_ONLY = ("pos", "digest", "moveto", "delete", "node", "vmid", "group")


def of(call: Call) -> Firewall:
    macros = [macro["macro"] for macro in fixed.DATA["/cluster/firewall/macros"]]
    return t.cast("Firewall", call.cluster.extra("firewall", lambda: Firewall(macros)))


def _scope(call: Call) -> str:
    if "vmid" in call.params:
        return f"guest/{call.params['vmid']}"
    return f"node/{call.params['node']}" if "node" in call.params else "cluster"


def _file(call: Call) -> File:
    return of(call).file(_scope(call))


def _everywhere(method: str, suffix: str, scopes: t.Sequence[str] = _SCOPES) -> t.Callable[[Handler], Handler]:
    paths = [scope + suffix for scope in scopes]
    return handles(method, *[path for path in paths if method in schema.load().paths.get(path, {})])


# -- options ----------------------------------------------------------------------------------------------


@_everywhere("GET", "/options")
def options(call: Call) -> dict[str, t.Any]:
    specs = schema.load().paths[call.template]["PUT"]["parameters"]["properties"]
    file = _file(call)
    numeric = ("integer", "boolean")
    typed = {k: int(v) if specs[k].get("type") in numeric else v for k, v in file.options.items()}
    return typed | {"digest": file.digest()}


@_everywhere("PUT", "/options")
def set_options(call: Call) -> None:
    file = _file(call)
    file.check_digest(call.params.get("digest"))
    specs = schema.load().paths[call.template]["PUT"]["parameters"]["properties"]
    dropped = formats.split_list(call.text("delete"))
    for name in dropped:
        if name not in specs:
            raise ParameterError({"delete": f"no such option '{name}'"})
        file.options.pop(name, None)
    file.options |= {k: v for k, v in call.params.items() if k not in ("delete", "digest", "node", "vmid")}


# -- rules ------------------------------------------------------------------------------------------------


def _rules(call: Call) -> tuple[File, list[Rule]]:
    file = _file(call)
    return (file, _group(call).rules) if "group" in call.params else (file, file.rules)


def _shown(call: Call, file: File, rule: Rule, position: t.Any) -> Rule:
    found = {**rule, "pos": position, "digest": file.digest(), "enable": int(rule.get("enable", 0))}
    version = of(call).check_rule(rule, _scope(call)) if "macro" not in rule or rule.get("source") else None
    version = version or _version_of_names(call, rule)
    return found | ({"ipversion": version} if version else {})


def _version_of_names(call: Call, rule: Rule) -> int | None:
    """Rules that name an alias are for that alias' version."""
    for key in ("source", "dest"):
        name = str(rule.get(key, "")).lower()
        for file in (_file(call), of(call).file("cluster")):
            if name in file.aliases:
                return version_of(file.aliases[name]["cidr"])
    return None


@_everywhere("GET", "/rules")
@handles("GET", _GROUP)
def rules(call: Call) -> list[Rule]:
    file, found = _rules(call)
    return [_shown(call, file, rule, number) for number, rule in enumerate(found)]


def _one(call: Call) -> tuple[File, list[Rule], int]:
    file, found = _rules(call)
    position = int(call.params["pos"])
    if position >= len(found):
        raise Failure(f"no rule at position {position}")
    return file, found, position


@_everywhere("GET", "/rules/{pos}")
@handles("GET", f"{_GROUP}/{{pos}}")
def rule_get(call: Call) -> Rule:
    file, found, position = _one(call)
    return _shown(call, file, found[position], call.text("pos"))


@_everywhere("POST", "/rules")
@handles("POST", _GROUP)
def rule_add(call: Call) -> None:
    file, found = _rules(call)
    file.check_digest(call.params.get("digest"))
    rule = {key: value for key, value in call.params.items() if key not in _RULE_ONLY}
    of(call).check_rule(rule, _scope(call))
    found.insert(0, rule)


@_everywhere("PUT", "/rules/{pos}")
@handles("PUT", f"{_GROUP}/{{pos}}")
def rule_put(call: Call) -> None:
    file = _rules(call)[0]
    file.check_digest(call.params.get("digest"))
    _, found, position = _one(call)
    if "moveto" in call.params:
        move(found, position, int(call.params["moveto"]))
        return
    rule = {k: v for k, v in found[position].items() if k not in formats.split_list(call.text("delete"))}
    rule |= {key: value for key, value in call.params.items() if key not in _RULE_ONLY}
    of(call).check_rule(rule, _scope(call))
    found[position] = rule


@_everywhere("DELETE", "/rules/{pos}")
@handles("DELETE", f"{_GROUP}/{{pos}}")
def rule_delete(call: Call) -> None:
    file = _rules(call)[0]
    file.check_digest(call.params.get("digest"))
    _, found, position = _one(call)
    del found[position]


# -- aliases ----------------------------------------------------------------------------------------------


def _alias_shown(file: File, alias: dict[str, str]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"name": alias["name"], "cidr": alias["cidr"], "ipversion": version_of(alias["cidr"])}
    return found | {"digest": file.digest()} | ({"comment": alias["comment"]} if alias.get("comment") else {})


@_everywhere("GET", "/aliases", _NAMED)
def aliases(call: Call) -> list[dict[str, t.Any]]:
    file = _file(call)
    return [_alias_shown(file, alias) for alias in file.aliases.values()]


def _alias(call: Call) -> tuple[File, dict[str, str]]:
    file = _file(call)
    name = call.text("name").lower()
    if name not in file.aliases:
        raise ParameterError({"name": "no such alias"})
    return file, file.aliases[name]


@_everywhere("GET", "/aliases/{name}", _NAMED)
def alias_get(call: Call) -> dict[str, t.Any]:
    found = _alias_shown(*_alias(call))
    return {key: value for key, value in found.items() if key != "digest"}


@_everywhere("POST", "/aliases", _NAMED)
def alias_add(call: Call) -> None:
    file, name = _file(call), call.text("name")
    if name.lower() in file.aliases:
        raise ParameterError({"name": f"alias '{name.lower()}' already exists"})
    file.aliases[name.lower()] = {"name": name, "cidr": call.text("cidr"), "comment": call.text("comment")}


@_everywhere("PUT", "/aliases/{name}", _NAMED)
def alias_put(call: Call) -> None:
    file, alias = _alias(call)
    file.check_digest(call.params.get("digest"))
    name = call.text("rename") or call.text("name")
    if name.lower() != call.text("name").lower() and name.lower() in file.aliases:
        raise ParameterError({"name": f"alias '{name.lower()}' already exists"})
    del file.aliases[call.text("name").lower()]
    comment = call.text("comment") if "comment" in call.params else alias.get("comment", "")
    file.aliases[name.lower()] = {"name": name, "cidr": call.text("cidr"), "comment": comment}


@_everywhere("DELETE", "/aliases/{name}", _NAMED)
def alias_delete(call: Call) -> None:
    file = _file(call)
    file.check_digest(call.params.get("digest"))
    file.aliases.pop(call.text("name").lower(), None)


# -- IP sets ----------------------------------------------------------------------------------------------


@_everywhere("GET", "/ipset", _NAMED)
def sets(call: Call) -> list[dict[str, t.Any]]:
    file = _file(call)
    return [
        {"name": name, "digest": file.digest()} | ({"comment": found.comment} if found.comment else {})
        for name, found in file.sets.items()
    ]


@_everywhere("POST", "/ipset", _NAMED)
def set_add(call: Call) -> None:
    file, name = _file(call), call.text("name").lower()
    old = call.text("rename").lower()
    if old:
        if old not in file.sets:
            raise Failure(f"IPSet '{old}' does not exist")
        file.sets[name] = file.sets.pop(old)
        file.sets[name].comment = call.text("comment", file.sets[name].comment)
        return
    if name in file.sets:
        raise ParameterError({"name": f"IPSet '{name}' already exists"})
    file.sets[name] = IpSet(call.text("comment"))


def _set(call: Call) -> tuple[File, IpSet]:
    file, name = _file(call), call.text("name").lower()
    if name not in file.sets:
        raise Failure(f"no such IPSet '{call.text('name')}'")
    return file, file.sets[name]


@_everywhere("DELETE", "/ipset/{name}", _NAMED)
def set_delete(call: Call) -> None:
    file, found = _set(call)
    if found.entries and not call.flag("force"):
        raise Failure(f"IPSet '{call.text('name')}' is not empty")
    del file.sets[call.text("name").lower()]


@_everywhere("GET", "/ipset/{name}", _NAMED)
def set_entries(call: Call) -> list[dict[str, t.Any]]:
    file, found = _set(call)
    return [_entry_shown(file, entry) for entry in found.entries]


def _entry_shown(file: File, entry: dict[str, t.Any]) -> dict[str, t.Any]:
    shown = {key: value for key, value in entry.items() if key != "nomatch" and value}
    return shown | {"digest": file.digest()} | ({"nomatch": 1} if str(entry.get("nomatch")) == "1" else {})


@_everywhere("POST", "/ipset/{name}", _NAMED)
def entry_add(call: Call) -> None:
    _, found = _set(call)
    entry = canonical_entry(call.text("cidr"))
    if any(other["cidr"] == entry for other in found.entries):
        raise ParameterError({"cidr": f"address '{entry}' already exists"})
    found.entries.insert(0, {"cidr": entry, "comment": call.text("comment"), "nomatch": call.params.get("nomatch", 0)})


def _entry(call: Call) -> tuple[File, IpSet, dict[str, t.Any]]:
    file, found = _set(call)
    for entry in found.entries:
        if entry["cidr"] == call.text("cidr"):
            return file, found, entry
    raise ParameterError({"cidr": "no such IP/Network"})


@_everywhere("GET", "/ipset/{name}/{cidr}", _NAMED)
def entry_get(call: Call) -> dict[str, t.Any]:
    file, _, entry = _entry(call)
    return _entry_shown(file, entry)


@_everywhere("PUT", "/ipset/{name}/{cidr}", _NAMED)
def entry_put(call: Call) -> None:
    file, _, entry = _entry(call)
    file.check_digest(call.params.get("digest"))
    entry |= {key: call.params[key] for key in ("comment", "nomatch") if key in call.params}


@_everywhere("DELETE", "/ipset/{name}/{cidr}", _NAMED)
def entry_delete(call: Call) -> None:
    file, found = _set(call)
    file.check_digest(call.params.get("digest"))
    found.entries = [entry for entry in found.entries if entry["cidr"] != call.text("cidr")]


@_everywhere("GET", "/refs", _NAMED)
def references(call: Call) -> list[dict[str, t.Any]]:
    wanted = call.params.get("type")
    found: list[dict[str, t.Any]] = []
    scopes = [("dc", of(call).file("cluster"))]
    if "vmid" in call.params:
        scopes.append(("guest", _file(call)))
    for scope, file in scopes:
        for alias in file.aliases.values():
            found.append(_reference("alias", alias["name"], alias["name"], scope, alias.get("comment")))
        for name, ipset in file.sets.items():
            found.append(_reference("ipset", name, f"+{name}", scope, ipset.comment))
    return [entry for entry in found if wanted in (None, entry["type"])]


def _reference(kind: str, name: str, ref: str, scope: str, comment: str | None) -> dict[str, t.Any]:
    found = {"type": kind, "name": name, "ref": ref, "scope": scope}
    return found | ({"comment": comment} if comment else {})


# -- security groups --------------------------------------------------------------------------------------


def _group(call: Call) -> Group:
    file, name = of(call).file("cluster"), call.text("group")
    if name not in file.groups:
        raise Failure(f"no such security group '{name}'")
    return file.groups[name]


@handles("GET", f"{_CLUSTER}/groups")
def groups(call: Call) -> list[dict[str, t.Any]]:
    file = of(call).file("cluster")
    return [
        {"group": name, "digest": file.digest()} | ({"comment": group.comment} if group.comment else {})
        for name, group in file.groups.items()
    ]


@handles("POST", f"{_CLUSTER}/groups")
def group_add(call: Call) -> None:
    """Names are in lower case as soon as the file is read again; rules keep the word that they were given."""
    file, name, old = of(call).file("cluster"), call.text("group").lower(), call.text("rename")
    if old:
        if old not in file.groups:
            raise Failure(f"no such security group '{old}'")
        file.groups[name] = file.groups.pop(old)
        file.groups[name].comment = call.text("comment", file.groups[name].comment)
        of(call).rename_group(old, call.text("group"))
        return
    if call.text("group") in file.groups:
        raise ParameterError({"group": f"Security group '{name}' already exists"})
    file.groups.setdefault(name, Group(call.text("comment")))


@handles("DELETE", _GROUP)
def group_delete(call: Call) -> None:
    if _group(call).rules:
        raise Failure(f"Security group '{call.text('group')}' is not empty")
    del of(call).file("cluster").groups[call.text("group")]


@_everywhere("GET", "/log", (_NODE, *_GUESTS))
def log(call: Call) -> list[dict[str, t.Any]]:
    return [{"n": 1, "t": "unable to open file - No such file or directory"}]

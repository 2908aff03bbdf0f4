# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and changing firewalls, the same way for datacenter, nodes, guests and security groups."""

from __future__ import annotations

import re
import typing as t

from . import firewall_rules, formats, schema
from .api import Call, Handler, handles
from .errors import Failure, ParameterError
from .firewall import (
    File,
    Firewall,
    Group,
    IpSet,
    Rule,
    canonical,
    check_digest,
    digest_of,
    kept_comment,
    move,
    version_of,
)

_CLUSTER = "/cluster/firewall"
_NODE = "/nodes/{node}/firewall"
_GUESTS = ("/nodes/{node}/qemu/{vmid}/firewall", "/nodes/{node}/lxc/{vmid}/firewall")
_SCOPES = (_CLUSTER, _NODE, *_GUESTS)
_NAMED = (_CLUSTER, *_GUESTS)  # where aliases and IP sets are
_GROUP = f"{_CLUSTER}/groups/{{group}}"
_RULE_ONLY = ("pos", "digest", "moveto", "delete", "node", "vmid", "group")


def of(call: Call) -> Firewall:
    return t.cast("Firewall", call.cluster.extra("firewall", Firewall))


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


def _options(call: Call) -> dict[str, t.Any]:
    specs = schema.load().paths[call.template]["PUT"]["parameters"]["properties"]
    numeric = ("integer", "boolean")
    return {k: int(v) if specs[k].get("type") in numeric else v for k, v in _file(call).options.items()}


@_everywhere("GET", "/options")
def options(call: Call) -> dict[str, t.Any]:
    found = _options(call)
    return found | {"digest": digest_of([found])}


@_everywhere("PUT", "/options")
def set_options(call: Call) -> None:
    file = _file(call)
    check_digest(call, [_options(call)])
    specs = schema.load().paths[call.template]["PUT"]["parameters"]["properties"]
    dropped = formats.split_list(call.text("delete"))
    for name in dropped:
        if name not in specs:
            raise ParameterError({"delete": f"no such option '{name}'"})
    given = {k: v for k, v in call.params.items() if k not in ("delete", "digest", "node", "vmid")}
    if int(given.get("enable", 0)) > 1:  # on for a moment: kept as the time
        given["enable"] = str(int(call.cluster.config.clock()))
    kept = {name: value for name, value in file.options.items() if name not in dropped}
    file.options = kept | given


# -- rules ------------------------------------------------------------------------------------------------


def _rules(call: Call) -> list[Rule]:
    return _group(call).rules if "group" in call.params else _file(call).rules


def _environment(call: Call) -> str:
    """What the rules are for, in the words of the error texts."""
    if "group" in call.params:
        return "group"
    if "vmid" in call.params:
        return "ct" if "/lxc/" in call.template else "vm"
    return "host" if "node" in call.params else "cluster"


def _shown(call: Call) -> list[Rule]:
    found = of(call)
    return [
        {**rule, "enable": int(rule.get("enable", 0)), **found.look(rule, _scope(call), _environment(call))}
        for rule in _rules(call)
    ]


@_everywhere("GET", "/rules")
@handles("GET", _GROUP)
def rules(call: Call) -> list[Rule]:
    return _listed(call)


def _listed(call: Call) -> list[Rule]:
    found = _shown(call)
    digest = digest_of(found)
    return [{**rule, "pos": number, "digest": digest} for number, rule in enumerate(found)]


def _position(call: Call) -> int:
    position = int(call.params["pos"])
    if position >= len(_rules(call)):
        raise Failure(f"no rule at position {position}")
    return position


@_everywhere("GET", "/rules/{pos}")
@handles("GET", f"{_GROUP}/{{pos}}")
def rule_get(call: Call) -> Rule:
    return _listed(call)[_position(call)] | {"pos": call.text("pos")}


@_everywhere("POST", "/rules")
@handles("POST", _GROUP)
def rule_add(call: Call) -> None:
    found, rule = _rules(call), _copied(call, {})
    of(call).check_rule(rule, _scope(call), _environment(call))
    found.insert(0, rule)


def _copied(call: Call, rule: Rule) -> Rule:
    """The rule with what was sent; nothing, or a dash, takes a value away."""
    given = {key: value for key, value in call.params.items() if key not in _RULE_ONLY}
    if "comment" in given:
        given["comment"] = kept_comment(given["comment"])
    return {key: value for key, value in {**rule, **given}.items() if value not in ("", "-")}


@_everywhere("PUT", "/rules/{pos}")
@handles("PUT", f"{_GROUP}/{{pos}}")
def rule_put(call: Call) -> None:
    found = _rules(call)
    check_digest(call, _shown(call))
    position = _position(call)
    if "moveto" in call.params and int(call.params["moveto"]) != position:
        move(found, position, int(call.params["moveto"]))
        return
    dropped = formats.split_list(call.text("delete"))
    for name in dropped:
        if name not in _rule_properties(call):
            raise ParameterError({"delete": f"no such property ('{name}')"})
        if name in ("type", "action"):
            raise ParameterError({"delete": f"unable to delete required property '{name}'"})
    rule = {name: value for name, value in _copied(call, found[position]).items() if name not in dropped}
    of(call).check_rule(rule, _scope(call), _environment(call))
    found[position] = rule


def _rule_properties(call: Call) -> t.Collection[str]:
    properties = schema.load().paths[call.template]["PUT"]["parameters"]["properties"]
    return [name for name in properties if name not in ("moveto", "delete", "node", "vmid", "group")]


@_everywhere("DELETE", "/rules/{pos}")
@handles("DELETE", f"{_GROUP}/{{pos}}")
def rule_delete(call: Call) -> None:
    check_digest(call, _shown(call))
    del _rules(call)[_position(call)]


# -- aliases ----------------------------------------------------------------------------------------------


def _aliases(call: Call) -> list[dict[str, t.Any]]:
    return [_alias_shown(alias) for _, alias in sorted(_file(call).aliases.items())]


def _alias_shown(alias: dict[str, str]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"name": alias["name"], "cidr": alias["cidr"], "ipversion": version_of(alias["cidr"])}
    return found | ({"comment": alias["comment"]} if alias.get("comment") else {})


def _with_digest(entries: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    digest = digest_of(entries)
    return [{**entry, "digest": digest} for entry in entries]


@_everywhere("GET", "/aliases", _NAMED)
def aliases(call: Call) -> list[dict[str, t.Any]]:
    return _with_digest(_aliases(call))


def _alias(call: Call) -> tuple[File, dict[str, str]]:
    file = _file(call)
    name = call.text("name").lower()
    if name not in file.aliases:
        raise ParameterError({"name": "no such alias"})
    return file, file.aliases[name]


@_everywhere("GET", "/aliases/{name}", _NAMED)
def alias_get(call: Call) -> dict[str, t.Any]:
    return _alias_shown(_alias(call)[1])


def _one_address(text: str) -> str:
    """A network of one address is that address."""
    return re.sub("/128$" if ":" in text else "/32$", "", text)


@_everywhere("POST", "/aliases", _NAMED)
def alias_add(call: Call) -> None:
    file, name = _file(call), call.text("name")
    if name.lower() in file.aliases:
        raise ParameterError({"name": f"alias '{name}' already exists"})
    file.aliases[name.lower()] = {
        "name": name, "cidr": _one_address(call.text("cidr")), "comment": kept_comment(call.text("comment")),
    }  # fmt: skip


@_everywhere("PUT", "/aliases/{name}", _NAMED)
def alias_put(call: Call) -> None:
    check_digest(call, _aliases(call))
    file, _ = _alias(call)
    name = call.text("rename") or call.text("name")
    if name.lower() != call.text("name").lower() and name.lower() in file.aliases:
        raise ParameterError({"name": f"alias '{name}' already exists"})
    del file.aliases[call.text("name").lower()]
    file.aliases[name.lower()] = {
        "name": name, "cidr": _one_address(call.text("cidr")), "comment": kept_comment(call.text("comment")),
    }  # fmt: skip


@_everywhere("DELETE", "/aliases/{name}", _NAMED)
def alias_delete(call: Call) -> None:
    check_digest(call, _aliases(call))
    _file(call).aliases.pop(call.text("name").lower(), None)


# -- IP sets ----------------------------------------------------------------------------------------------


def _sets(call: Call) -> list[dict[str, t.Any]]:
    return [
        {"name": name} | ({"comment": found.comment} if found.comment else {})
        for name, found in sorted(_file(call).sets.items())
    ]


@_everywhere("GET", "/ipset", _NAMED)
def sets(call: Call) -> list[dict[str, t.Any]]:
    return _with_digest(_sets(call))


@_everywhere("POST", "/ipset", _NAMED)
def set_add(call: Call) -> None:
    """Names are in lower case as soon as the file is read again."""
    known = _file(call).sets
    if not call.text("rename"):
        _add_named(call, "name", "IPSet", known, IpSet(kept_comment(call.text("comment"))))
        return
    check_digest(call, _sets(call))
    _rename(call, "name", "IPSet", known)


_Named = t.TypeVar("_Named", IpSet, Group)


def _add_named(call: Call, parameter: str, noun: str, known: dict[str, _Named], new: _Named) -> None:
    name = call.text(parameter)
    if name in known:
        raise ParameterError({parameter: f"{noun} '{name}' already exists"})
    known.setdefault(name.lower(), new)


def _rename(call: Call, parameter: str, noun: str, known: dict[str, _Named]) -> None:
    name, old = call.text(parameter), call.text("rename")
    if old not in known:
        raise ParameterError({parameter: f"{noun} '{old}' does not exist"})
    if name in known and name != old:
        raise ParameterError({parameter: f"{noun} '{name}' does already exist"})
    known[name.lower()] = known.pop(old)
    known[name.lower()].comment = kept_comment(call.text("comment", known[name.lower()].comment))


def _set(call: Call) -> IpSet:
    known, name = _file(call).sets, call.text("name")
    if name not in known:
        raise Failure(f"no such IPSet '{name}'")
    return known[name]


@_everywhere("DELETE", "/ipset/{name}", _NAMED)
def set_delete(call: Call) -> None:
    if _set(call).entries and not call.flag("force"):
        raise Failure(f"IPSet '{call.text('name')}' is not empty")
    del _file(call).sets[call.text("name")]


def _entries(call: Call) -> list[dict[str, t.Any]]:
    return [_entry_shown(entry) for entry in _set(call).entries]


@_everywhere("GET", "/ipset/{name}", _NAMED)
def set_entries(call: Call) -> list[dict[str, t.Any]]:
    return _with_digest(_entries(call))


def _entry_shown(entry: dict[str, t.Any]) -> dict[str, t.Any]:
    shown = {key: value for key, value in entry.items() if key != "nomatch" and value}
    return shown | ({"nomatch": 1} if str(entry.get("nomatch")) == "1" else {})


@_everywhere("POST", "/ipset/{name}", _NAMED)
def entry_add(call: Call) -> None:
    found, entry = _set(call), call.text("cidr")
    match = re.fullmatch(rf"(dc/|guest/)?({firewall_rules.NAME})", entry)
    if match is None:
        entry = canonical(entry)
    elif of(call).known(_scope(call)).alias_version(match[2].lower(), match[1] or "") is None:
        raise Failure(f"no such alias '{match[2]}'")
    if any(other["cidr"] == entry for other in found.entries):
        raise ParameterError({"cidr": f"address '{entry}' already exists"})
    if re.search("/0+$", entry):
        raise ParameterError({"cidr": "a zero prefix is not allowed in ipset entries"})
    comment, nomatch = kept_comment(call.text("comment")), call.params.get("nomatch", 0)
    found.entries.insert(0, {"cidr": entry, "comment": comment, "nomatch": nomatch})


@_everywhere("GET", "/ipset/{name}/{cidr}", _NAMED)
def entry_get(call: Call) -> dict[str, t.Any]:
    for entry in _with_digest(_entries(call)):
        if entry["cidr"] == call.text("cidr"):
            return entry
    raise ParameterError({"cidr": "no such IP/Network"})


@_everywhere("PUT", "/ipset/{name}/{cidr}", _NAMED)
def entry_put(call: Call) -> None:
    """What is not sent is gone."""
    check_digest(call, _entries(call))
    for entry in _set(call).entries:
        if entry["cidr"] == call.text("cidr"):
            entry |= {"comment": kept_comment(call.text("comment")), "nomatch": call.params.get("nomatch", "")}
            return
    raise ParameterError({"cidr": "no such IP/Network"})


@_everywhere("DELETE", "/ipset/{name}/{cidr}", _NAMED)
def entry_delete(call: Call) -> None:
    found = _set(call)
    check_digest(call, _entries(call))
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
    found += [_reference("ipset", name, f"+{name}", "sdn", None) for name in of(call).sdn]
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


def _groups(call: Call) -> list[dict[str, t.Any]]:
    return [
        {"group": name} | ({"comment": group.comment} if group.comment else {})
        for name, group in sorted(of(call).file("cluster").groups.items())
    ]


@handles("GET", f"{_CLUSTER}/groups")
def groups(call: Call) -> list[dict[str, t.Any]]:
    return _with_digest(_groups(call))


@handles("POST", f"{_CLUSTER}/groups")
def group_add(call: Call) -> None:
    """Names are in lower case as soon as the file is read again; rules keep the word that they were given."""
    known = of(call).file("cluster").groups
    if not call.text("rename"):
        _add_named(call, "group", "Security group", known, Group(kept_comment(call.text("comment"))))
        return
    check_digest(call, _groups(call))
    _rename(call, "group", "Security group", known)
    of(call).rename_group(call.text("rename"), call.text("group"))


@handles("DELETE", _GROUP)
def group_delete(call: Call) -> None:
    if _group(call).rules:
        raise Failure(f"Security group '{call.text('group')}' is not empty")
    del of(call).file("cluster").groups[call.text("group")]


@_everywhere("GET", "/log", (_NODE, *_GUESTS))
def log(call: Call) -> list[dict[str, t.Any]]:
    return [{"n": 1, "t": "unable to open file - No such file or directory"}]

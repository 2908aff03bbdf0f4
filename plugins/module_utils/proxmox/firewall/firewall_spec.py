# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewalls as they are wanted: checked and in the words of the API. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ...errors import InvalidInput
from ..api import propertystring as ps
from ..api.names import NODE
from .firewall_rules import MARK, Rule

Params = t.Mapping[str, t.Any]
Scope = t.Literal["datacenter", "node", "guest"]

POLICIES = ("ACCEPT", "REJECT", "DROP")
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog")

#: Kind of an option's value: ``flag``, ``number``, ``text``, ``properties``, or the words that it may be.
Kind = t.Union[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Option:
    """``default`` is what its absence means, as the API writes it; None when that is nothing that can be set."""

    kind: Kind
    default: str | None = None


_ON, _OFF = Option("flag", "1"), Option("flag", "0")

OPTIONS: dict[Scope, dict[str, Option]] = {
    "datacenter": {
        "enable": _OFF,
        "ebtables": _ON,
        "policy_in": Option(POLICIES, "DROP"),
        "policy_out": Option(POLICIES, "ACCEPT"),
        "policy_forward": Option(("ACCEPT", "DROP"), "ACCEPT"),
        "log_ratelimit": Option("properties"),
    },
    "node": {
        "enable": _ON,
        "ndp": _ON,
        "nftables": _OFF,
        "nosmurfs": Option("flag"),
        "tcpflags": _OFF,
        "log_nf_conntrack": _OFF,
        "nf_conntrack_allow_invalid": _OFF,
        "nf_conntrack_helpers": Option("text", ""),
        "nf_conntrack_max": Option("number", "262144"),
        "nf_conntrack_tcp_timeout_established": Option("number", "432000"),
        "nf_conntrack_tcp_timeout_syn_recv": Option("number", "60"),
        "protection_synflood": _OFF,
        "protection_synflood_burst": Option("number", "1000"),
        "protection_synflood_rate": Option("number", "200"),
        **{f"log_level_{way}": Option(LEVELS) for way in ("in", "out", "forward")},
        "smurf_log_level": Option(LEVELS),
        "tcp_flags_log_level": Option(LEVELS),
    },
    "guest": {
        "enable": _OFF,
        "dhcp": _OFF,
        "ipfilter": Option("flag"),
        "macfilter": _ON,
        "ndp": _ON,
        "radv": Option("flag"),
        "policy_in": Option(POLICIES, "DROP"),
        "policy_out": Option(POLICIES, "ACCEPT"),
        "log_level_in": Option(LEVELS),
        "log_level_out": Option(LEVELS),
    },
}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9\-_]{1,63}")
_GROUP = re.compile(r"[A-Za-z][A-Za-z0-9\-_]{1,17}")
_PORTS = re.compile(r"(\d+(:\d+)?|[a-z][a-z0-9-]*)(,(\d+(:\d+)?|[a-z][a-z0-9-]*))*")


@dataclasses.dataclass(frozen=True)
class Alias:
    """``comment`` None stays as it is."""

    name: str
    present: bool
    cidr: str = ""
    comment: str | None = None


@dataclasses.dataclass(frozen=True)
class IpSet:
    """``comment`` None stays as it is; so do ``entries`` (address -> ``{comment, nomatch}``)."""

    name: str
    present: bool
    comment: str | None = None
    entries: t.Mapping[str, t.Mapping[str, str]] | None = None


@dataclasses.dataclass(frozen=True)
class Group:
    name: str
    present: bool
    comment: str | None = None
    rules: tuple[Rule, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Firewall:
    """``options`` by the API's names, None takes one away. ``rules`` None stay as they are."""

    scope: Scope
    node: str = ""
    vmid: int = 0
    options: t.Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    rules: tuple[Rule, ...] | None = None
    exclusive: bool = False
    aliases: tuple[Alias, ...] = ()
    ipsets: tuple[IpSet, ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def name(self) -> str:
        return {"datacenter": "datacenter", "node": f"node/{self.node}", "guest": f"guest/{self.vmid}"}[self.scope]


def wanted(entries: t.Sequence[Params]) -> list[Firewall]:
    """All entries checked; raises one :class:`InvalidInput` that names every problem with its place."""
    found: list[Firewall] = []
    problems: list[str] = []
    for index, entry in enumerate(entries):
        try:
            found.append(_firewall(entry))
        except InvalidInput as error:
            problems.append(f"firewalls[{index}]: {error.message}")
    names = [firewall.name for firewall in found]
    problems += [f"{name} is wanted twice." for name in sorted({name for name in names if names.count(name) > 1})]
    if problems:
        raise InvalidInput(" ".join(problems))
    return found


def _firewall(entry: Params) -> Firewall:
    scope: Scope = entry["scope"]
    _addressed(entry, scope)
    if scope == "node" and (entry.get("aliases") or entry.get("ipsets")):
        raise InvalidInput("A node has no aliases and IP sets of its own", hint="Make them in the datacenter.")
    if scope != "datacenter" and entry.get("groups"):
        raise InvalidInput("Security groups belong to the datacenter", hint="Rules of type group use them everywhere.")
    rules = entry.get("rules")
    return Firewall(
        scope,
        entry.get("node") or "",
        entry.get("vmid") or 0,
        options={name: _option(scope, name, value) for name, value in (entry.get("options") or {}).items()},
        rules=None if rules is None else tuple(_rule(rule, index, scope) for index, rule in enumerate(rules)),
        exclusive=bool(entry.get("exclusive")),
        aliases=_unlike("alias", [_alias(one) for one in entry.get("aliases") or ()]),
        ipsets=_unlike("IP set", [_ipset(one) for one in entry.get("ipsets") or ()]),
        groups=_unlike("group", [_group(one) for one in entry.get("groups") or ()]),
    )


def _addressed(entry: Params, scope: Scope) -> None:
    node, vmid = entry.get("node"), entry.get("vmid")
    if scope == "node" and not (node and NODE.fullmatch(node)):
        raise InvalidInput(f"node {node!r} is not valid" if node else "node is missing for scope node")
    if scope == "guest" and not (vmid and 100 <= vmid <= 999999999):
        raise InvalidInput(f"vmid {vmid} is no id of a guest" if vmid else "vmid is missing for scope guest")
    for option, value, of in (("node", node, "node"), ("vmid", vmid, "guest")):
        if value and scope != of:
            raise InvalidInput(f"{option} is given for scope {scope}", hint=f"It belongs to scope {of}.")


N = t.TypeVar("N", Alias, IpSet, Group)


def _unlike(what: str, found: list[N]) -> tuple[N, ...]:
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"The {what} {name} is wanted twice")
    return tuple(found)


# -- options ---------------------------------------------------------------------------------------------------------


def _option(scope: Scope, name: str, value: t.Any) -> str | None:
    option = OPTIONS[scope].get(name)
    if option is None:
        raise InvalidInput(
            f"There is no option {name!r} of a {scope}", hint=f"There are {', '.join(sorted(OPTIONS[scope]))}."
        )
    if value is None or value == "":
        return None
    if isinstance(value, (dict, list)):
        raise InvalidInput(f"{name} is a {type(value).__name__}, not one value", hint="Write it as the API does.")
    return clean(option, value, name)


def clean(option: Option, value: t.Any, name: str = "option") -> str:
    """A value as the API writes it. Raises :class:`InvalidInput`."""
    text = str(value).strip()
    if option.kind == "flag":
        flag = ps.flag(text)
        if flag not in ("0", "1"):
            raise InvalidInput(f"{name} is {value!r}, not true or false")
        return flag
    if option.kind == "number":
        if not text.isdigit():
            raise InvalidInput(f"{name} is {value!r}, no number")
        return str(int(text))
    if option.kind == "properties":
        return ps.render(ps.parse(text, "enable"))
    if isinstance(option.kind, tuple):
        fitting = [word for word in option.kind if word.lower() == text.lower()]
        if not fitting:
            raise InvalidInput(f"{name} is {value!r}", hint=f"It can be {', '.join(option.kind)}.")
        return fitting[0]
    return text


# -- rules -----------------------------------------------------------------------------------------------------------


def _rule(entry: Params, index: int, scope: Scope | None) -> Rule:
    where = f"rules[{index}]"
    rule: Rule = {
        "type": entry["type"],
        "action": entry["action"].lower() if entry["type"] == "group" else entry["action"],  # as groups are named
        "enable": "1" if entry.get("enabled", True) else "0",
    }
    for ours, theirs in _RULE_TEXTS.items():
        if entry.get(ours):
            rule[theirs] = line(entry[ours]) if ours == "comment" else str(entry[ours]).replace(" ", "")
    for key in ("source", "dest"):
        if rule.get(key, "").startswith("+") and not rule[key].startswith("+sdn/"):
            rule[key] = rule[key].lower()  # as sets are named, and the server knows no other
    _check_rule(rule, where, scope)
    return rule


def line(comment: t.Any) -> str:
    """A comment stands at the end of a line of a file, which keeps no space around it; what came in a line below would
    be another entry."""
    return " ".join(str(comment).split())


def _line(comment: t.Any) -> str | None:
    return None if comment is None else line(comment)


#: Our name -> the API's.
_RULE_TEXTS = {
    "macro": "macro", "proto": "proto", "source": "source", "dest": "dest", "sport": "sport", "dport": "dport",
    "icmp_type": "icmp-type", "iface": "iface", "log": "log", "comment": "comment",
}  # fmt: skip


def _check_rule(rule: Rule, where: str, scope: Scope | None) -> None:
    kind, action = rule["type"], rule["action"]
    if kind == "group":
        if scope is None:
            raise InvalidInput(f"{where} of a group is of type group", hint="A group cannot hold a group.")
        if not _GROUP.fullmatch(action):
            raise InvalidInput(f"{where}: action {action!r} is no name of a security group")
        extra = sorted(set(rule) - {"type", "action", "enable", "iface", "comment"})
        if extra:
            raise InvalidInput(
                f"{where} is of type group and has {', '.join(extra)}", hint="The group's rules say that."
            )
    elif action not in POLICIES:
        raise InvalidInput(f"{where}: action is {action!r}", hint=f"It can be {', '.join(POLICIES)}.")
    if kind == "forward" and scope == "guest":
        raise InvalidInput(f"{where} is of type forward, which a guest does not have")
    if kind == "forward" and action == "REJECT":
        raise InvalidInput(f"{where} is of type forward, where REJECT is not possible", hint="Use DROP.")
    _check_interface(rule.get("iface", ""), where, scope)
    for key in ("dport", "sport", "icmp-type"):
        if key in rule and "proto" not in rule:
            raise InvalidInput(f"{where} has {key} without proto", hint="Ports belong to tcp or udp.")
    for key in ("dport", "sport"):
        if key in rule:
            _check_ports(rule[key], f"{where}: {key}")
    if "macro" in rule and "dport" in rule:
        raise InvalidInput(f"{where} has a macro and dport", hint="The macro says which ports.")
    if rule.get("comment", "").endswith(MARK):
        raise InvalidInput(f"{where}: comment ends with {MARK}", hint="That mark is set by the module.")
    for key in ("source", "dest"):
        if key in rule:
            _check_address(rule[key], f"{where}: {key}")


def _check_interface(iface: str, where: str, scope: Scope | None) -> None:
    if iface and scope is None:
        raise InvalidInput(f"{where} of a group has iface", hint="The rules that use the group have it.")
    if iface and scope == "guest" and not re.fullmatch(r"net\d+", iface):
        raise InvalidInput(f"{where}: iface is {iface!r}", hint="In a guest it is net0, net1, and so on.")


def _check_ports(text: str, where: str) -> None:
    numbers = (
        [int(number) for number in re.findall(r"\d+", text)] if text.replace(",", "").replace(":", "").isdigit() else []
    )
    ranges = [[int(end) for end in part.split(":")] for part in text.split(",") if re.fullmatch(r"\d+:\d+", part)]
    backwards = any(low > high for low, high in ranges)
    if not _PORTS.fullmatch(text) or backwards or any(number > 65535 for number in numbers):
        raise InvalidInput(f"{where} {text!r} is no port", hint="Write 443, 80,443 or 8000:8010.")
    if len(re.findall(r"\b\d+\b", text)) > 15:
        raise InvalidInput(f"{where} {text!r} has more than 15 ports", hint="A range counts as two; use several rules.")


def _check_address(text: str, where: str) -> None:
    if re.fullmatch(r"(\+?((dc|guest)/)?|\+sdn/)[A-Za-z][A-Za-z0-9\-_]+", text):
        return
    parts, versions = text.split(","), set()
    for part in parts:
        ends = part.split("-") if "/" not in part else [part]
        try:
            networks = [ipaddress.ip_network(end, strict=False) for end in ends]
        except ValueError as error:
            hint = "Write addresses, networks, a-b, the name of an alias, or +name of an IP set."
            raise InvalidInput(f"{where} {text!r} is no address", hint=hint) from error
        versions |= {network.version for network in networks}
        if "/" in part and ipaddress.ip_interface(part).ip != networks[0].network_address:
            raise InvalidInput(f"{where} {text!r} is no network", hint=f"Write {networks[0]}, or the address alone.")
        if len(ends) > 1 and len(parts) > 1:
            raise InvalidInput(f"{where} {text!r} has a range in a list", hint="Use a rule for each, or an IP set.")
    if len(versions) > 1:
        raise InvalidInput(f"{where} {text!r} has IPv4 and IPv6 in one list", hint="Use a rule for each.")


# -- names -----------------------------------------------------------------------------------------------------------


def _named(entry: Params, what: str, pattern: re.Pattern[str] = _NAME) -> str:
    name = str(entry["name"])
    if not pattern.fullmatch(name):
        raise InvalidInput(f"{what} {name!r} is not valid", hint="A letter, then letters, digits, - and _.")
    return name.lower()


def _alias(entry: Params) -> Alias:
    name, present = _named(entry, "alias"), entry.get("state") != "absent"
    if present and not entry.get("cidr"):
        raise InvalidInput(f"alias {name} has no cidr")
    cidr = address(entry["cidr"], f"alias {name}", zero=True) if entry.get("cidr") else ""
    return Alias(name, present, cidr, _line(entry.get("comment")))


def _ipset(entry: Params) -> IpSet:
    name, present, entries = _named(entry, "IP set"), entry.get("state") != "absent", entry.get("entries")
    if entries is None or not present:
        return IpSet(name, present, _line(entry.get("comment")))
    found: dict[str, t.Mapping[str, str]] = {}
    for one in entries:
        cidr = address(one["cidr"], f"IP set {name}", names=True)
        if cidr in found:
            raise InvalidInput(f"IP set {name} has {cidr} twice")
        found[cidr] = {"comment": line(one.get("comment") or ""), "nomatch": "1" if one.get("nomatch") else "0"}
    return IpSet(name, present, _line(entry.get("comment")), found)


def _group(entry: Params) -> Group:
    name, present, rules = _named(entry, "group", _GROUP), entry.get("state") != "absent", entry.get("rules")
    if rules is None or not present:
        return Group(name, present, _line(entry.get("comment")))
    found = tuple(_rule(rule, index, None) for index, rule in enumerate(rules))
    return Group(name, present, _line(entry.get("comment")), found)


def address(text: str, where: str, *, names: bool = False, zero: bool = False) -> str:
    """Without host bits, as the server keeps it: ``10.0.3.9/24`` is ``10.0.3.0/24``, ``10.0.3.9/32`` is ``10.0.3.9``.
    ``zero`` lets everything pass."""
    text = text.strip()
    if names and re.fullmatch(r"((dc|guest)/)?[A-Za-z][A-Za-z0-9\-_]+", text):
        return text.lower()
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidInput(f"{where}: {text!r} is no address or network") from error
    if network.prefixlen == 0 and not zero:
        raise InvalidInput(f"{where}: {text} is everything, which cannot stand there")
    if "/" not in text:
        return text
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)

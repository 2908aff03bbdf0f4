# SPDX-License-Identifier: GPL-3.0-or-later
"""What a firewall rule may say: types, ports, addresses, names, macros, with the real texts and in the real order."""

from __future__ import annotations

import functools
import importlib.resources
import ipaddress
import json
import re
import typing as t

from .errors import Failure, ParameterError

Rule = dict[str, t.Any]
NAME = r"[A-Za-z][A-Za-z0-9\-_]+"

_DIRECTIONS = {
    "ct": ("in", "out", "group"),
    "vm": ("in", "out", "group"),
    "group": ("in", "out", "forward"),
    "cluster": ("in", "out", "forward", "group"),
    "host": ("in", "out", "forward", "group"),
}
_WITH_PORTS = frozenset("udp 17 udplite 136 tcp 6 dccp 33 sctp 132".split())
_ICMP = ("icmp", "icmpv6", "ipv6-icmp")
_ICMP_TYPES = frozenset(
    """any echo-reply destination-unreachable network-unreachable host-unreachable protocol-unreachable port-unreachable
    fragmentation-needed source-route-failed network-unknown host-unknown network-prohibited host-prohibited
    TOS-network-unreachable TOS-host-unreachable communication-prohibited host-precedence-violation precedence-cutoff
    source-quench redirect network-redirect host-redirect TOS-network-redirect TOS-host-redirect echo-request
    router-advertisement router-solicitation time-exceeded ttl-zero-during-transit ttl-zero-during-reassembly
    parameter-problem ip-header-bad required-option-missing timestamp-request timestamp-reply address-mask-request
    address-mask-reply""".split()
)
_ICMPV6_TYPES = frozenset(
    """destination-unreachable no-route communication-prohibited beyond-scope address-unreachable port-unreachable
    failed-policy reject-route packet-too-big time-exceeded ttl-zero-during-transit ttl-zero-during-reassembly
    parameter-problem bad-header unknown-header-type unknown-option echo-request echo-reply router-solicitation
    router-advertisement neighbor-solicitation neighbour-solicitation neighbor-advertisement neighbour-advertisement
    redirect""".split()
)
_MIXED = "detected mixed ipv4/ipv6 addresses in rule"
_PORT_LIMIT = 15
_SET_NAME_LIMIT = 64
#: Macros that are for one IP version only.
_ONLY_SIX = ("DHCPv6", "NeighborDiscovery")
_SIX = {"Ping": [["icmpv6", "echo-request", ""]], "Trcrt": [["udp", "33434:33524", ""], ["icmpv6", "echo-request", ""]]}


class Invalid(ValueError):
    """A value breaks the rules for it."""


@functools.cache
def macros() -> dict[str, list[list[str]]]:
    """Protocol, destination port and source port of each rule of each macro."""
    folder = importlib.resources.files(__package__ or "") / "data"
    return t.cast("dict[str, list[list[str]]]", json.loads((folder / "firewall_macros.json").read_bytes()))


# -- values ----------------------------------------------------------------------------------------------


def check_ports(text: str, icmp: bool) -> None:
    """A list of ports, ranges and service names; raises Invalid."""
    items, count, types = _items(text), 0, False
    for item in items:
        if re.fullmatch(r"[0-9]+(:[0-9]+)?", item):
            ports = [int(port) for port in item.split(":")]
            count += len(ports)
            for port in ports:
                if port > 65535:
                    raise Invalid(f"invalid port '{port}'")
            if ports != sorted(ports):
                first, last = ports
                raise Invalid(f"backwards range '{first}:{last}' not allowed, did you mean '{last}:{first}'?")
        elif icmp and (item in _ICMP_TYPES or item in _ICMPV6_TYPES):
            types = True
        elif item not in _services():
            raise Invalid(f"invalid port '{item}'")
    if types and count:
        raise Invalid("ICMP ports not allowed in port range")
    if count > _PORT_LIMIT:
        raise Invalid("too many entries in port list (> 15 numbers)")


def _items(text: str) -> list[str]:
    items = text.split(",") if text else []
    if "" in items:
        raise Invalid("extraneous commas in list")
    return items


@functools.cache
def _services() -> frozenset[str]:
    known = """ftp ssh telnet smtp time domain bootps bootpc tftp gopher finger http kerberos pop3 sunrpc ntp
        netbios-ns netbios-dgm netbios-ssn imap2 snmp snmp-trap bgp irc ldap https microsoft-ds submissions submission
        shell printer syslog rsync ldaps ftps imaps pop3s openvpn ms-sql-s mysql rdp ms-wbt-server
        postgresql sip sip-tls nfs mdns svn git dict isakmp rtsp ipsec-nat-t http-alt zabbix-agent zabbix-trapper"""
    return frozenset(known.split())


def check_addresses(text: str) -> int | None:
    """The IP version of a list of addresses, None for the name of a set or an alias; raises Invalid."""
    if re.fullmatch(r"\+\S+", text):
        if len(text) > _SET_NAME_LIMIT + 1:
            raise Invalid("ipset name too long")
        return None
    if re.fullmatch(rf"(dc/|guest/)?{NAME}", text):
        if len(text) > _SET_NAME_LIMIT:
            raise Invalid("alias name too long")
        return None
    items = _items(text)
    versions: set[int] = set()
    for item in items:
        versions.add(_version(item))
        if len(versions) > 1:
            raise Invalid(f"detected mixed ipv4/ipv6 addresses in address list '{text}'")
    if len(items) > 1 and any("-" in item for item in items):
        raise Invalid("you can't use a range in a list")
    return versions.pop() if versions else None


def _version(text: str) -> int:
    """Of an address, a network or a range."""
    if "/" in text and not text.startswith("/"):
        return _network(*text.split("/", 1))
    if "-" in text:
        first, last = (_address(part) for part in text.split("-", 1))
        if first.version == last.version and int(first) > int(last):
            raise Invalid(f"invalid IP address: Begin address is greater than End address {text.replace('-', ' - ')}")
        return first.version
    return _address(text).version


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    problem = _problem(text) if ":" not in text else ""
    if problem:
        raise Invalid(f"invalid IP address: {problem}")
    try:
        return ipaddress.ip_address(text if ":" in text else _padded(text))
    except ValueError:
        raise Invalid(f"invalid IP address: Invalid address {text}") from None


def _padded(text: str) -> str:
    """``10.1`` is ``10.1.0.0``."""
    return ".".join(str(int(part)) for part in [*text.split("."), "0", "0", "0"][:4])


def _problem(text: str) -> str:
    if not re.fullmatch(r"[\d.]+", text):
        return f"Invalid chars in IP {text}"
    if text.startswith("."):
        return f"Invalid IP {text} - starts with a dot"
    if text.endswith("."):
        return f"Invalid IP {text} - ends with a dot"
    parts = text.split(".")
    if len(parts) > 4:
        return f"Invalid IP address {text}"
    if "" in parts:
        return f"Empty quad in IP address {text}"
    wrong = [part for part in parts if int(part) > 255]
    return f"Invalid quad in IP address {text} - {wrong[0]}" if wrong else ""


def _network(text: str, length: str) -> int:
    address = _address(text)
    bits = address.max_prefixlen
    if not length.isdigit():
        raise Invalid(f"invalid IP address: Invalid prefix length /{length}")
    if int(length) > bits:
        raise Invalid(f"invalid IP address: Prefix length {length} is longer than IP address ({bits})")
    binary = f"{int(address):0{bits}b}"
    if "1" in binary[int(length) :]:
        raise Invalid(f"invalid IP address: Invalid prefix {binary}/{length}")
    return address.version


# -- rules -----------------------------------------------------------------------------------------------


class Names(t.Protocol):
    """What a rule may name."""

    def has_set(self, name: str) -> bool: ...

    def has_alias(self, name: str) -> bool: ...

    def alias_version(self, name: str, prefix: str) -> int | None: ...


class Check:
    """One look at a rule. ``strict``: the first error is raised; else ``errors`` has them, as a rule that is read shows them."""

    def __init__(self, rule: Rule, environment: str, names: Names, strict: bool = True) -> None:
        self.rule = rule
        self.errors: dict[str, str] = {}
        self.version: int | None = None
        self._environment, self._names, self._strict = environment, names, strict
        self._kind()
        self._interface()
        self._macro_name()
        self._ports()
        for key in ("source", "dest"):
            self._address(key)
        if rule.get("macro") and not self.errors:
            self._macro()

    def _wrong(self, name: str, text: str) -> None:
        if self._strict:
            raise ParameterError({name: text})
        self.errors.setdefault(name, text)

    def _text(self, name: str) -> str:
        return str(self.rule.get(name) or "")

    def _is_for(self, version: int | None) -> None:
        if version:
            if self.version and self.version != version:
                raise Invalid(_MIXED)
            self.version = version

    def _kind(self) -> None:
        kind, action = self._text("type"), self._text("action")
        for name, value in (("type", kind), ("action", action)):
            if not value:
                self._wrong(name, "missing property")
        if kind not in _DIRECTIONS[self._environment]:
            self._wrong("type", f"invalid rule type '{kind}' for rule_env '{self._environment}'")
        if kind == "group":
            if not re.fullmatch(NAME, action):
                self._wrong("action", "invalid characters in security group name")
            return
        if kind == "forward" and action == "REJECT":
            self._wrong("action", "cannot define REJECT rules on forward chain")
        if action and action not in ("ACCEPT", "DROP", "REJECT"):
            self._wrong("action", f"unknown action '{action}'")

    def _interface(self) -> None:
        name = self._text("iface")
        if name and self._environment == "group":
            self._wrong("type", "parameter -i not allowed for this rule type")
        if name and self._environment in ("vm", "ct") and not re.fullmatch(r"net\d+", name):
            self._wrong("iface", r"value does not match the regex pattern 'net\d+'")

    def _macro_name(self) -> None:
        name = self._text("macro")
        known = {macro.lower(): macro for macro in macros()}
        if name and name.lower() not in known:
            self._wrong("macro", f"unknown macro '{name}'")
        elif name:
            self.rule["macro"] = known[name.lower()]

    def _ports(self) -> None:
        protocol = self._text("proto")
        icmp = protocol in _ICMP
        self._is_for(4 if protocol == "icmp" else 6 if icmp else None)
        for key in ("dport", "icmp-type", "sport"):
            value = self._text(key)
            if not value:
                continue
            if key == "icmp-type":
                self._icmp_type(value, protocol)
                continue
            try:
                check_ports(value, icmp and key == "dport")
            except Invalid as error:
                self._wrong(key, str(error))
            if not protocol:
                self._wrong("proto", f"missing property - '{key}' requires this property")
            if protocol not in _WITH_PORTS and not (icmp and key == "dport"):
                self._wrong(key, f"protocol '{protocol}' does not support ports")

    def _icmp_type(self, value: str, protocol: str) -> None:
        if protocol not in _ICMP:
            self._wrong("proto", "missing property - 'icmp-type' requires this property")
        if self._text("dport"):
            self._wrong("icmp-type", "'icmp-type' cannot be specified together with 'dport'")
        known = _ICMP_TYPES if protocol == "icmp" else _ICMPV6_TYPES
        if protocol in _ICMP and value not in known:
            self._wrong("icmp-type", f"invalid icmp-type '{value}' for proto '{protocol}'")

    def _address(self, key: str) -> None:
        value = self._text(key)
        if not value:
            return
        try:
            self._is_for(check_addresses(value))
        except Invalid as error:
            self._wrong(key, str(error))
        if value.startswith("+"):
            match = re.fullmatch(rf"\+(?:guest/|dc/|sdn/)?({NAME})", value)
            if match is None:
                self._wrong(key, f"invalid ipset name '{value}'")
            elif not self._names.has_set(match[1]):
                self._wrong(key, f"no such ipset '{match[1]}'")
            return
        match = re.fullmatch(rf"(guest/|dc/)?({NAME})", value)
        if match is not None:
            if not self._names.has_alias(match[2].lower()):
                self._wrong(key, f"no such alias '{value}'")
            try:
                self._is_for(self._names.alias_version(match[2].lower(), match[1] or ""))
            except Invalid as error:
                raise Failure(str(error)) from None

    def _macro(self) -> None:
        name = self._text("macro")
        if self.version == 4 and name in _ONLY_SIX:
            return
        rules = _SIX.get(name, macros()[name]) if self.version == 6 else macros()[name]
        for fixed in rules:
            for key, value in zip(("proto", "dport", "sport"), fixed, strict=True):
                if value and self._text(key) and self._text(key) != value:
                    self._wrong(key, f"parameter '{key}' already define in macro (value = '{value}')")

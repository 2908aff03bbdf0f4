# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewall files: options, rules, aliases, IP sets, security groups, and what a rule may say."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import re
import typing as t

from .errors import Failure, ParameterError

Rule = dict[str, t.Any]
CHANGED = "detected modified configuration - file changed by other user? Try again."


@dataclasses.dataclass
class IpSet:
    comment: str = ""
    entries: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Group:
    comment: str = ""
    rules: list[Rule] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class File:
    """The file of the datacenter, of a node or of a guest."""

    options: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    rules: list[Rule] = dataclasses.field(default_factory=list)
    aliases: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    sets: dict[str, IpSet] = dataclasses.field(default_factory=dict)
    groups: dict[str, Group] = dataclasses.field(default_factory=dict)

    def digest(self) -> str:
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def check_digest(self, sent: t.Any) -> None:
        if sent is not None and sent != self.digest():
            raise Failure(CHANGED)


class Firewall:
    """All files, by scope: ``cluster``, ``node/pve1``, ``guest/100``."""

    def __init__(self, macros: t.Collection[str]) -> None:
        self._files: dict[str, File] = {}
        self._macros = {macro.lower(): macro for macro in macros}

    def file(self, scope: str) -> File:
        return self._files.setdefault(scope, File())

    def forget(self, scope: str) -> None:
        self._files.pop(scope, None)

    def copy(self, scope: str, target: str) -> None:
        if scope in self._files:
            self._files[target] = File(**json.loads(json.dumps({"options": self._files[scope].options})))
            self._files[target].rules = [dict(rule) for rule in self._files[scope].rules]

    def rename_group(self, old: str, new: str) -> None:
        """In every rule that uses it."""
        for file in self._files.values():
            for rule in file.rules:
                if rule.get("type") == "group" and rule.get("action") == old:
                    rule["action"] = new

    # -- rules --------------------------------------------------------------------------------------------

    def check_rule(self, rule: Rule, scope: str) -> int | None:
        """The IP version that a rule is for; raises ParameterError. Its macro gets the spelling that is known."""
        if rule["type"] == "forward" and scope.startswith("guest/"):
            raise ParameterError({"type": "invalid rule type 'forward' for rule_env 'vm'"})
        if rule["type"] == "group":
            return None
        if rule.get("macro"):
            if str(rule["macro"]).lower() not in self._macros:
                raise ParameterError({"macro": f"unknown macro '{rule['macro']}'"})
            rule["macro"] = self._macros[str(rule["macro"]).lower()]
        for key in ("dport", "sport", "icmp-type"):
            if rule.get(key) and not rule.get("proto"):
                raise ParameterError({"proto": f"missing property - '{key}' requires this property"})
        versions = {key: self._version(key, str(rule[key]), scope) for key in ("source", "dest") if rule.get(key)}
        known = {version for version in versions.values() if version is not None}
        if len(known) > 1:
            raise ParameterError({"dest": "detected mixed ipv4/ipv6 addresses in rule"})
        return known.pop() if known else None

    def _version(self, key: str, value: str, scope: str) -> int | None:
        if value.startswith("+"):
            return self._set_version(key, value[1:], scope)
        if re.match(r"(?:dc/|guest/)?[A-Za-z][A-Za-z0-9\-_]+$", value) and ":" not in value:
            return version_of(self._alias(key, value, scope)["cidr"])
        versions = {version_of(part.partition("-")[0]) for part in value.split(",")}
        return versions.pop() if len(versions) == 1 else None

    def _candidates(self, name: str, scope: str) -> tuple[str, list[File]]:
        prefix, slash, rest = name.partition("/")
        if not slash:
            return name.lower(), [self.file(scope), self.file("cluster")]
        return rest.lower(), [self.file("cluster" if prefix == "dc" else scope)]

    def _alias(self, key: str, name: str, scope: str) -> dict[str, str]:
        wanted, files = self._candidates(name, scope)
        for file in files:
            if wanted in file.aliases:
                return file.aliases[wanted]
        raise ParameterError({key: f"no such alias '{name}'"})

    def _set_version(self, key: str, name: str, scope: str) -> int | None:
        wanted, files = self._candidates(name, scope)
        if not any(wanted in file.sets for file in files):
            raise ParameterError({key: f"no such ipset '{name}'"})
        return None


def version_of(text: str) -> int | None:
    try:
        return ipaddress.ip_network(text, strict=False).version
    except ValueError:
        return None


def canonical_entry(text: str) -> str:
    """An IP set's entry without host bits; raises ParameterError for a prefix of zero."""
    if "/" not in text:
        return text
    network = ipaddress.ip_network(text, strict=False)
    if network.prefixlen == 0:
        raise ParameterError({"cidr": "a zero prefix is not allowed in ipset entries"})
    return str(network)


def move(rules: list[Rule], old: int, new: int) -> None:
    """Before the rule that stands at ``new`` now."""
    rule = rules.pop(old)
    rules.insert(min(new - 1 if new > old else new, len(rules)), rule)

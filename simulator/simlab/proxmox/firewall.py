# SPDX-License-Identifier: GPL-3.0-or-later
"""Firewall files: options, rules, aliases, IP sets, security groups, and what a rule may say."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import typing as t

from . import firewall_rules
from .errors import Failure

if t.TYPE_CHECKING:
    from .api import Call

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


class Known:
    """The names that a rule may use: those of its own file and of the datacenter's."""

    def __init__(self, own: File, cluster: File, sdn: t.Collection[str] = ()) -> None:
        self._own, self._cluster, self._sdn = own, cluster, sdn

    def has_set(self, name: str) -> bool:
        return name in self._own.sets or name in self._cluster.sets or name in self._sdn

    def has_alias(self, name: str) -> bool:
        return name in self._own.aliases or name in self._cluster.aliases

    def alias_version(self, name: str, prefix: str) -> int | None:
        """``prefix`` says in which file: ``dc/`` or ``guest/``."""
        files = [file for word, file in (("dc/", self._own), ("guest/", self._cluster)) if prefix != word]
        return next((version_of(file.aliases[name]["cidr"]) for file in files if name in file.aliases), None)


class Firewall:
    """All files, by scope: ``cluster``, ``node/pve1``, ``guest/100``."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        #: Sets that SDN makes for its vnets, by name.
        self.sdn: dict[str, list[str]] = {}

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

    def known(self, scope: str) -> Known:
        return Known(self.file(scope), self.file("cluster"), self.sdn)

    # -- rules --------------------------------------------------------------------------------------------

    def check_rule(self, rule: Rule, scope: str, environment: str) -> None:
        """Raises ApiError. The rule's macro gets the spelling that is known."""
        firewall_rules.Check(rule, environment, self.known(scope))

    def look(self, rule: Rule, scope: str, environment: str) -> Rule:
        """What is found about a rule that is read: its IP version, and what is wrong with it by now."""
        try:
            check = firewall_rules.Check(dict(rule), environment, self.known(scope), strict=False)
        except Failure:
            return {}
        return ({"ipversion": check.version} if check.version else {}) | (
            {"errors": check.errors} if check.errors else {}
        )


def digest_of(entries: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Of one list, as it is read."""
    lines = [f"{key}:{value}\n" for e in entries for key, value in sorted(e.items()) if not isinstance(value, dict)]
    return hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()


def check_digest(call: Call, entries: t.Iterable[t.Mapping[str, t.Any]]) -> None:
    """Raises Failure when the digest that was sent is not that of the list."""
    if call.params.get("digest") not in (None, digest_of(entries)):
        raise Failure(CHANGED)


def version_of(text: str) -> int | None:
    try:
        return ipaddress.ip_network(text, strict=False).version
    except ValueError:
        return None


def canonical(text: str) -> str:
    """An address or a network without host bits; one address is no network."""
    if "/" not in text:
        return text
    network = ipaddress.ip_network(text, strict=False)
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def kept_comment(text: t.Any) -> str:
    """A comment stands at the end of a line: without the space around it, and what is behind a line feed is another line."""
    return str(text or "").strip(" \t").partition("\n")[0].strip()


def move(rules: list[Rule], old: int, new: int) -> None:
    """Before the rule that stands at ``new`` now."""
    rule = rules.pop(old)
    rules.insert(min(new - 1 if new > old else new, len(rules)), rule)

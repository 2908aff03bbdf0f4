# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory's variables as they are given: which host says what. Nothing is checked or filled in here."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ..plan import HIDDEN
from . import schema

#: Also looked at, besides the collection's own.
_OTHERS = ("ansible_host",)

#: How alike two names must be for one to be taken for the other.
ALIKE = 0.75
_SECRET_WORDS = ("secret", "password", "passwd", "token", "credential", "private", "key")


@dataclasses.dataclass(frozen=True)
class Inventory:
    """``hosts``: host to its variables. ``unreadable``: host to variable to why it could not be templated."""

    groups: t.Mapping[str, t.Sequence[str]]
    hosts: t.Mapping[str, t.Mapping[str, t.Any]]
    unreadable: t.Mapping[str, t.Mapping[str, str]]
    #: The folder of the inventory, where there is one.
    folder: str = ""

    @classmethod
    def from_mapping(cls, given: t.Mapping[str, t.Any]) -> Inventory:
        """From what :meth:`as_mapping` made; groups that are missing are empty."""
        groups = given.get("groups") or {}
        return cls(
            {name: list(groups.get(name) or []) for name in schema.GROUPS},
            given.get("hosts") or {},
            given.get("unreadable") or {},
            given.get("folder") or "",
        )

    def as_mapping(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)

    @property
    def hypervisors(self) -> t.Sequence[str]:
        return self.groups[schema.HYPERVISORS]

    @property
    def machines(self) -> list[str]:
        """Control planes first, in the inventory's order."""
        return [*dict.fromkeys([*self.groups[schema.CONTROL_PLANES], *self.groups[schema.WORKERS]])]

    def hosts_for(self, where: schema.Where) -> list[str]:
        """The hosts whose word counts for a variable of this place, the first one first."""
        if where == "proxmox":
            return [*dict.fromkeys([*self.hypervisors, *self.machines])]
        if where == "lab":
            return [*dict.fromkeys([*self.machines, *self.hypervisors])]
        return self.machines

    def of_lab(self, name: str) -> t.Any:
        """A variable of the lab as a whole, or its default."""
        variable = schema.VARIABLES[name]
        return self.of_host(name, *self.hosts_for(variable.where))

    def of_host(self, name: str, *hosts: str) -> t.Any:
        """The first of the hosts' values that is set, or the default."""
        for host in hosts:
            value = self.hosts.get(host, {}).get(name)
            if value is not None and value != "":
                return value
        return schema.VARIABLES[name].default if name in schema.VARIABLES else None


def collect(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> Inventory:
    """Read the lab's hosts out of Ansible's ``hostvars`` and ``groups``."""
    members = {name: [str(host) for host in groups.get(name, [])] for name in schema.GROUPS}
    hosts: dict[str, dict[str, t.Any]] = {}
    unreadable: dict[str, dict[str, str]] = {}
    folder = ""
    for host in dict.fromkeys(host for name in schema.GROUPS for host in members[name]):
        found, failed = _variables(hostvars[host])
        hosts[host] = found
        if failed:
            unreadable[host] = failed
        folder = folder or str(hostvars[host].get("inventory_dir") or "")
    return Inventory(members, hosts, unreadable, folder)


def _variables(given: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], dict[str, str]]:
    found: dict[str, t.Any] = {}
    failed: dict[str, str] = {}
    for name in sorted(given):
        if name in _OTHERS or name.startswith(schema.PREFIXES):
            try:
                found[name] = plain(given[name])
            except Exception as error:
                # Whatever a template, a lookup or a vault raises: it is the user's to read, with the variable's name.
                failed[name] = str(error)
    return found, failed


def plain(value: t.Any) -> t.Any:
    """The same data in Python's own types; templates in it are resolved on the way, so this may raise."""
    if isinstance(value, t.Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def redacted(inventory: Inventory) -> Inventory:
    """The same inventory without anybody's secrets: only whether they are set, and the shape of what may hold some."""
    hosts = {
        host: {name: _redacted(name, value) for name, value in variables.items()}
        for host, variables in inventory.hosts.items()
    }
    return dataclasses.replace(inventory, hosts=hosts)


def _redacted(name: str, value: t.Any) -> t.Any:
    if name in _OTHERS or value in (None, ""):
        return value
    variable = meant_for(name)
    if variable is None or looks_secret(name):
        return HIDDEN
    if variable.kind.opaque:
        return _shape(value) if not isinstance(value, list) else [_entry(entry) for entry in value]
    return value


def _entry(entry: t.Any) -> t.Any:
    """A manifest's path stays, and what tells one manifest from the other."""
    if not isinstance(entry, t.Mapping):
        return entry if not isinstance(entry, str) or "\n" not in entry else HIDDEN
    return {key: value if key in ("apiVersion", "kind") else _shape(value) for key, value in entry.items()}


def _shape(value: t.Any) -> t.Any:
    if isinstance(value, t.Mapping):
        return {key: _shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_shape(entry) for entry in value]
    return HIDDEN if isinstance(value, str) else value


def looks_secret(name: str) -> bool:
    """Of a known variable the schema says it; of one that is not known, its name must do, and what it was meant for."""
    if name in schema.VARIABLES:
        return schema.VARIABLES[name].secret
    meant = meant_for(name)
    return any(part in name.lower() for part in _SECRET_WORDS) or bool(meant and meant.secret)


def meant_for(name: str) -> schema.Variable | None:
    """The variable of this name, or the one that a misspelt name is nearest to."""
    near = difflib.get_close_matches(name, schema.VARIABLES, n=1, cutoff=ALIKE)
    return schema.VARIABLES[near[0]] if near else None

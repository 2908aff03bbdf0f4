# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that can be known to be wrong with a lab's variables before anything is called. Finds every problem, not the first."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ..errors import HomelabError
from ..image_factory import schematics
from ..plan import HIDDEN
from ..talos import versions
from . import kinds, networks, schema
from .inventory import Inventory, looks_secret, meant_for
from .problems import Problem

_LONGEST = 80


@dataclasses.dataclass(frozen=True)
class Findings:
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()


def examine(inventory: Inventory) -> Findings:
    """Check everything. Problems are in the order: groups, single variables, then what several of them say together."""
    unknown, warnings = _unknown(inventory)
    problems = [
        *_groups(inventory),
        *_unreadable(inventory),
        *unknown,
        *_missing(inventory),
        *_faults(inventory),
        *_disagreements(inventory),
        *_doubles(inventory),
        *_names(inventory),
        *_nodes(inventory),
        *_versions(inventory),
        *_schematics(inventory),
        *_access(inventory),
        *networks.examine(inventory),
    ]
    return Findings(tuple(dict.fromkeys(problems)), (*warnings, *_advice(inventory)))


# -- single variables --------------------------------------------------------------------------------------------


def _groups(inventory: Inventory) -> t.Iterator[Problem]:
    for group, what in ((schema.HYPERVISORS, "a Proxmox VE host"), (schema.CONTROL_PLANES, "a control plane machine")):
        if not inventory.groups[group]:
            yield Problem(f"group {group}", "the inventory", "no hosts", f"at least {what}")
    both = sorted(set(inventory.groups[schema.CONTROL_PLANES]) & set(inventory.groups[schema.WORKERS]))
    for host in both:
        expected = f"it in one of {schema.CONTROL_PLANES} and {schema.WORKERS}"
        hint = "A control plane takes workloads too with talos_allow_scheduling_on_control_planes."
        yield Problem("groups", host, f"{schema.CONTROL_PLANES} and {schema.WORKERS}", expected, hint)


def _unreadable(inventory: Inventory) -> t.Iterator[Problem]:
    for host, variables in inventory.unreadable.items():
        for name, reason in variables.items():
            yield Problem(name, host, f"a template that fails: {reason}", "a value")


def _unknown(inventory: Inventory) -> tuple[list[Problem], list[str]]:
    """A misspelt variable is a problem; one that is like none of ours may be the user's own, so it is only mentioned."""
    problems, warnings = [], []
    for name, hosts in _by_name(inventory).items():
        if name in schema.VARIABLES or not name.startswith(schema.PREFIXES):
            continue
        near = meant_for(name)
        where = _hosts(inventory, hosts)
        if near:
            value = HIDDEN if looks_secret(name) else show(near.name, inventory.hosts[hosts[0]][name])
            problems.append(
                Problem(name, where, value, f"the variable {near.name}, which is the nearest that is known")
            )
        else:
            warnings.append(f"{name} ({where}) is no variable of groundwork.homelab, so it has no effect here.")
    return problems, warnings


def _missing(inventory: Inventory) -> t.Iterator[Problem]:
    for variable in schema.VARIABLES.values():
        if not variable.required:
            continue
        if variable.where == "lab":
            hosts = inventory.hosts_for("lab")
            if hosts and not any(_is_given(inventory, host, variable.name) for host in hosts):
                yield Problem(variable.name, "the lab", "not set", variable.kind.expected)
        else:
            for host in inventory.machines:
                if not _is_given(inventory, host, variable.name):
                    yield Problem(variable.name, host, "not set", variable.kind.expected)


def _is_given(inventory: Inventory, host: str, name: str) -> bool:
    value = inventory.hosts.get(host, {}).get(name)
    return value not in (None, "") or name in inventory.unreadable.get(host, {})


def _faults(inventory: Inventory) -> t.Iterator[Problem]:
    for name, hosts in _by_name(inventory).items():
        if name not in schema.VARIABLES:
            continue
        for value, group in _by_value(inventory, name, hosts):
            for fault in schema.VARIABLES[name].kind.check(value):
                shown = show(name, fault.value)
                yield Problem(name + fault.path, _hosts(inventory, group), shown, fault.expected, _near(fault))


def _near(fault: kinds.Fault) -> str:
    """The nearest right spelling of a choice or a key."""
    for start in ("one of the keys ", "one of "):
        if fault.expected.startswith(start):
            choices = fault.expected.removeprefix(start).split(", ")
            given = fault.path.rpartition(".")[2] if start == "one of the keys " else str(fault.value)
            near = difflib.get_close_matches(given, choices, n=1)
            return f"Did you mean {near[0]}?" if near else ""
    return ""


def _disagreements(inventory: Inventory) -> t.Iterator[Problem]:
    """A variable of the whole lab that one machine sees otherwise than the other."""
    for name, hosts in _by_name(inventory).items():
        variable = schema.VARIABLES.get(name)
        if variable is None or variable.where != "lab":
            continue
        values = _by_value(inventory, name, hosts)
        if len(values) > 1 and not variable.secret:
            shown = "; ".join(f"{show(name, value)} for {', '.join(group)}" for value, group in values)
            yield Problem(name, "the lab", shown, "one value for all hosts", "Set it in group_vars/all.")


# -- several variables together ------------------------------------------------------------------------------------


def _doubles(inventory: Inventory) -> t.Iterator[Problem]:
    for name in ("machine_vmid", "machine_mac"):
        seen: dict[str, str] = {}
        for host in inventory.machines:
            value = inventory.hosts.get(host, {}).get(name)
            if value in (None, ""):
                continue
            first = seen.setdefault(str(value).lower(), host)
            if first != host:
                yield Problem(name, host, show(name, value), f"another one than that of {first}")


def _names(inventory: Inventory) -> t.Iterator[Problem]:
    """A machine's host name becomes that of the VM and of the Kubernetes node."""
    for host in inventory.machines:
        if not kinds.DNS_LABEL.fullmatch(host):
            expected = "lower case letters, digits and hyphens, at most 63, as Kubernetes wants for a node's name"
            yield Problem("inventory name", host, repr(host), expected)


def _nodes(inventory: Inventory) -> t.Iterator[Problem]:
    """Every machine is on a hypervisor of the inventory, and on a network of the lab."""
    nodes = [str(inventory.of_host("proxmox_node", host) or host.partition(".")[0]) for host in inventory.hypervisors]
    known = inventory.of_lab("lab_networks")
    names = [str(name) for name in known] if isinstance(known, t.Mapping) else []
    for host in inventory.machines:
        node = inventory.of_host("machine_node", host)
        if node and nodes and node not in nodes:
            yield _choice("machine_node", host, node, nodes)
        elif not node and len(nodes) > 1:
            yield Problem("machine_node", host, "not set", f"one of {', '.join(nodes)}, as there are several")
        network = inventory.of_host("machine_network", host)
        if network and names and network not in names:
            yield _choice("machine_network", host, network, names)
        elif not network and len(names) > 1:
            yield Problem("machine_network", host, "not set", f"one of {', '.join(names)}, as there are several")


def _choice(name: str, host: str, value: t.Any, choices: t.Sequence[str]) -> Problem:
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"Did you mean {near[0]}?" if near else ""
    return Problem(name, host, show(name, value), f"one of {', '.join(choices)}", hint)


def _versions(inventory: Inventory) -> t.Iterator[Problem]:
    talos, kubernetes = (str(inventory.of_lab(name)) for name in ("talos_version", "talos_kubernetes_version"))
    if any(list(kinds.VERSION.check(text)) for text in (talos, kubernetes)):
        return
    system, cluster = versions.parse(talos, "talos_version"), versions.parse(kubernetes, "talos_kubernetes_version")
    span = versions.KUBERNETES_RANGE.get(system.minor)
    if span is None:
        known = ", ".join(f"1.{minor}" for minor in sorted(versions.KUBERNETES_RANGE))
        yield Problem("talos_version", "the lab", repr(talos), f"a version of Talos {known}")
    elif not span[0] <= cluster.minor <= span[1]:
        expected = f"a version from 1.{span[0]} to 1.{span[1]}, which Talos {system.text} runs"
        yield Problem("talos_kubernetes_version", "the lab", repr(kubernetes), expected)


def _schematics(inventory: Inventory) -> t.Iterator[Problem]:
    hosts = [host for host in inventory.machines if isinstance(inventory.hosts[host].get("talos_schematic"), t.Mapping)]
    for value, group in _by_value(inventory, "talos_schematic", hosts):
        try:
            schematics.schematic_id(value)
        except HomelabError as error:
            expected = "a schematic that the Image Factory takes"
            yield Problem("talos_schematic", _hosts(inventory, group), error.message, expected)


def _access(inventory: Inventory) -> t.Iterator[Problem]:
    """A secret without anybody that it belongs to."""
    given = {name: inventory.of_lab(name) for name in schema.VARIABLES if name.startswith("proxmox_api_")}
    token, user = given["proxmox_api_token_id"], given["proxmox_api_user"]
    if given["proxmox_api_token_secret"] and not token:
        yield Problem(
            "proxmox_api_token_id", "the lab", "not set", "the token that proxmox_api_token_secret belongs to"
        )
    if token and "!" not in str(token) and not user:
        yield Problem("proxmox_api_user", "the lab", "not set", f"the user of the token {token}, such as ansible@pve")


def _advice(inventory: Inventory) -> t.Iterator[str]:
    planes = len(inventory.groups[schema.CONTROL_PLANES])
    if planes and planes % 2 == 0:
        yield (
            f"{schema.CONTROL_PLANES} has {planes} hosts: etcd bears no more failures with {planes} members than with "
            f"{planes - 1}, so an odd number is better."
        )
    for host in inventory.machines:
        disk = kinds.integer(inventory.of_host("machine_disk", host))
        if disk is not None and disk < 10:
            yield f"machine_disk of {host} is {disk} GiB; Talos asks for at least 10."
        memory = kinds.integer(inventory.of_host("machine_memory", host))
        if memory is not None and memory < 2048 and host in inventory.groups[schema.CONTROL_PLANES]:
            yield f"machine_memory of {host} is {memory} MiB; Talos asks for at least 2048 for a control plane."


# -- helpers -----------------------------------------------------------------------------------------------------


def _by_name(inventory: Inventory) -> dict[str, list[str]]:
    """Every variable that is set, with the hosts that see it."""
    found: dict[str, list[str]] = {}
    for host in inventory.hosts_for("lab"):
        for name, value in inventory.hosts.get(host, {}).items():
            if value not in (None, ""):
                found.setdefault(name, []).append(host)
    return found


def _by_value(inventory: Inventory, name: str, hosts: t.Sequence[str]) -> list[tuple[t.Any, list[str]]]:
    """The different values of a variable, each with its hosts, so that a wrong one of all hosts is said once."""
    groups: list[tuple[t.Any, list[str]]] = []
    for host in hosts:
        value = inventory.hosts[host][name]
        same = next((group for known, group in groups if known == value and type(known) is type(value)), None)
        if same is None:
            groups.append((value, [host]))
        else:
            same.append(host)
    return groups


def _hosts(inventory: Inventory, hosts: t.Sequence[str]) -> str:
    everybody = inventory.hosts_for("lab")
    return "all hosts" if len(hosts) == len(everybody) > 1 else ", ".join(hosts)


def show(name: str, value: t.Any) -> str:
    """A value as a problem may show it: no secrets, nothing that may hold some, and not too long."""
    top = name.partition(".")[0].partition("[")[0]
    variable = schema.VARIABLES.get(top)
    if value is None:
        return "not set"
    if looks_secret(top):
        return HIDDEN
    if variable is not None and variable.kind.opaque and not isinstance(value, (int, float, bool)):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

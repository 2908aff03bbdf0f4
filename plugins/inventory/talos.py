# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Members of a Talos cluster as hosts. What is asked, and what members become, is decided in ``module_utils/talos/inventory.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
name: talos
short_description: Members of a Talos cluster as hosts
version_added: 0.1.0
author: groundwork.homelab authors (@groundwork)
description:
  - Makes a host of every member of a cluster, and groups them.
  - One request to each endpoint, eight at a time, however many members there are. All are asked because a node that does not reach its
    discovery service lists only itself. What any endpoint knows is a host; an endpoint that does not know all of them is warned of, and so
    is one that does not answer. When none answers, that is an error.
  - More facts are asked for only when O(facts) names them, of eight members at a time.
  - Members are those that Talos's own discovery knows, so C(cluster.discovery) must be on in the machine config, as it is by default.
    Where it reaches no other node, give all nodes as O(endpoints).
  - The file's name must end in C(talos.yml), C(talos.yaml), C(groundwork.yml) or C(groundwork.yaml), for example C(lab.talos.yml).
  - Host variables have the prefix of O(variable_prefix). Always there are C(talos_name), C(talos_addresses), C(talos_type)
    (V(controlplane) or V(worker)), C(talos_version), C(talos_operating_system), C(talos_node_id) and C(talos_control_plane_port).
  - Nothing that a node tells is ever a template.
extends_documentation_fragment:
  - groundwork.homelab.talos
  - constructed
  - inventory_cache
options:
  plugin:
    description: Must be V(groundwork.homelab.talos), so that no other plugin takes the file.
    type: str
    required: true
    choices: [groundwork.homelab.talos]
  endpoints:
    description:
      - Addresses of nodes to ask, each with one request. The endpoints of the O(talosconfig) by default.
      - Needed with O(secrets_path), which knows no addresses.
    type: list
    elements: str
    default: []
  facts:
    description:
      - What to ask each member for besides. Any of them costs one request for each member, and gives C(talos_stage), C(talos_ready),
        C(talos_unmet) and C(talos_reachable). All but V(stage) cost one more, and V(disks) two.
      - They give C(talos_hostname), C(talos_services), C(talos_disks), C(talos_links), C(talos_link_addresses), C(talos_extensions) and
        C(talos_schematic), as M(groundwork.homelab.talos_info) returns them.
      - A member that does not answer is a host all the same, with the stage V(unreachable).
    type: list
    elements: str
    choices: [stage, hostname, services, disks, links, addresses, extensions]
    default: []
  group_by:
    description:
      - Which groups to make, with O(group_prefix) before their names, such as C(talos_type_controlplane), C(talos_version_v1_13_9) and
        C(talos_stage_running).
      - The stage is known when there are O(facts).
    type: list
    elements: str
    choices: [type, version, stage]
    default: [type, version, stage]
  group_prefix:
    description: What the names of groups begin with.
    type: str
    default: talos_
  variable_prefix:
    description: What the names of host variables begin with.
    type: str
    default: talos_
  preferred_networks:
    description:
      - Networks, such as V(192.168.30.0/24), whose addresses are taken first for C(ansible_host), in this order.
      - C(ansible_host) is the first of C(talos_addresses). After the networks of this list, IPv4 comes before IPv6.
    type: list
    elements: str
    default: []
  mandatory:
    description:
      - Whether a failure of this source ends the run, as O(ignore:any_unparsed_is_failed) of Ansible's configuration does for all
        sources.
      - Otherwise Ansible warns and goes on with an inventory that lacks these hosts.
    type: bool
    default: true
notes:
  - Two members with the same host name get their addresses appended, with a warning.
  - Talos has no shell and no Python, so modules run on the controller. Set C(ansible_connection) to V(local), as in the examples.
seealso:
  - module: groundwork.homelab.talos_info
"""

EXAMPLES = r"""
# lab.talos.yml: all members, with one request to each endpoint. The talosconfig is in TALOSCONFIG.
plugin: groundwork.homelab.talos

---
# With the secrets bundle, and modules that run on the controller.
plugin: groundwork.homelab.talos
secrets_path: secrets/talos-secrets.yaml
endpoints:
  - 192.168.30.50
compose:
  ansible_connection: "'local'"

---
# Groups of one's own, and the stage of each member.
plugin: groundwork.homelab.talos
facts: [stage, extensions]
group_by: [type, stage]
preferred_networks:
  - 192.168.30.0/24
keyed_groups:
  - key: talos_version
    prefix: os
groups:
  with_guest_agent: talos_extensions | default([]) | selectattr('name', 'equalto', 'qemu-guest-agent') | list | length > 0
strict: true

---
# Kept for an hour.
plugin: groundwork.homelab.talos
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ansible/talos
cache_timeout: 3600
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import asking
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import inventory as members_of
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.options import CONNECTION
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task
from ansible_collections.groundwork.homelab.plugins.plugin_utils import expressions
from ansible_collections.groundwork.homelab.plugins.plugin_utils.loud_inventory import LoudInventory


class InventoryModule(LoudInventory):
    NAME = "groundwork.homelab.talos"
    ENDINGS = tuple(f"{name}.{kind}" for name in ("talos", "groundwork") for kind in ("yml", "yaml"))

    def check(self) -> None:
        self._preferred = members_of.networks(self.get_option("preferred_networks"))
        facts, prefix = self.get_option("facts"), self.get_option("variable_prefix")
        for where, expression in self.expressions():
            for name in sorted(expressions.names(where, expression)):
                fact = members_of.LATE.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
                if fact and fact not in facts and not (fact == "stage" and facts):
                    self.display.warning(f"{where} names {name}, which is not known without facts: [{fact}].")

    def populate(self, path: str, cache: bool) -> None:
        task = Task({name: self.get_option(name) for name in (*CONNECTION, "endpoints")})
        endpoints, connector = asking.nodes_from(task, "endpoints"), asking.connector(task)
        facts = [fact for fact in members_of.FACTS if fact in self.get_option("facts")]
        of = members_of.source(connector, endpoints, facts)
        kept = self._kept(path, of) if cache else None
        if kept is None:
            members = members_of.read(connector, endpoints, self.display.warning)
            told = members_of.facts_of(connector, members, facts, self._preferred) if facts else {}
            if self.get_option("cache"):
                self._cache[self.get_cache_key(path)] = members_of.as_entry(members, told, of)
            kept = members, told
        self._add(*kept)

    def _kept(self, path: str, of: list[str]) -> tuple[list[t.Any], dict[str, t.Any]] | None:
        if not self.get_option("cache"):
            return None
        try:
            return members_of.from_entry(self._cache[self.get_cache_key(path)], of)
        except KeyError:
            return None

    def _add(self, members: list[dict[str, t.Any]], facts: dict[str, dict[str, t.Any]]) -> None:
        group_by, prefix = self.get_option("group_by"), self.get_option("group_prefix")
        names = members_of.host_names(members)
        twice = sorted({one["name"] for one in members} - set(names))
        if twice:
            self.display.warning(f"Several members are called {', '.join(twice)}: their addresses are appended.")
        if len(set(names)) < len(names):
            raise InvalidInput(
                "Two members have the same name and the same address", hint="Reset the one that is stale."
            )
        for kind in ("controlplane", "worker") if "type" in group_by else ():
            self.inventory.add_group(f"{prefix}type_{kind}")
        for name, member in zip(names, members, strict=True):
            self._add_host(name, members_of.variables(member, facts.get(members_of.key(member), {}), self._preferred))

    def _add_host(self, name: str, found: dict[str, t.Any]) -> None:
        self.inventory.add_host(name)
        for group in members_of.groups(found, self.get_option("group_by"), self.get_option("group_prefix")):
            self.inventory.add_group(group)
            self.inventory.add_child(group, name)
        variables = {f"{self.get_option('variable_prefix')}{key}": value for key, value in found.items()}
        if found["addresses"]:
            variables["ansible_host"] = found["addresses"][0]
        self.construct(name, variables)

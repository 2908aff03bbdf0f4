# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of Proxmox VE as hosts. What is asked, and what guests become, is decided in ``module_utils/proxmox/inventory/``."""

from __future__ import annotations

DOCUMENTATION = r"""
name: proxmox
short_description: Guests of Proxmox VE as hosts
version_added: 0.1.0
author: groundwork.homelab authors (@groundwork)
description:
  - Makes a host of every virtual machine and container of a Proxmox VE node or cluster, and groups them.
  - One request is enough, however many guests there are. More facts are asked for only when O(facts) names them, only for the guests
    that O(filters) leaves, and O(parallel_requests) at a time.
  - The file's name must end in C(proxmox.yml), C(proxmox.yaml), C(groundwork.yml) or C(groundwork.yaml), for example C(lab.proxmox.yml).
    P(community.proxmox.proxmox#inventory) takes the first two as well; the option O(plugin) decides whose a file is.
  - Host variables have the prefix of O(variable_prefix). Always there are C(proxmox_vmid), C(proxmox_name), C(proxmox_node),
    C(proxmox_type) (V(qemu) or V(lxc)), C(proxmox_status), C(proxmox_template), C(proxmox_tags) (a list, in lower case), C(proxmox_pool),
    C(proxmox_lock), C(proxmox_ha_state), C(proxmox_cores), C(proxmox_memory) (MiB), C(proxmox_disk) (bytes) and C(proxmox_uptime)
    (seconds).
  - Nothing that the API or a guest tells is ever a template, so a description that holds one stays text.
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.proxmox.environment
  - constructed
  - inventory_cache
options:
  plugin:
    description: Must be V(groundwork.homelab.proxmox), so that no other plugin takes the file.
    type: str
    required: true
    choices: [groundwork.homelab.proxmox]
  facts:
    description:
      - What to ask for besides the list of guests.
      - V(config) is one request for each guest. It gives C(proxmox_config) as the API has it, C(proxmox_ostype), C(proxmox_os)
        (V(linux), V(windows), V(solaris) or V(other)) and C(proxmox_addresses).
      - V(agent) is V(config), and one more request for each running guest that has an agent, and for each running container. It
        gives C(proxmox_interfaces), and more C(proxmox_addresses). Needs the right C(VM.GuestAgent.Audit).
      - V(snapshots) is one request for each guest. It gives C(proxmox_snapshots).
      - V(status) is two requests for each node. It gives C(proxmox_qmpstatus), such as V(paused), and C(proxmox_status_details).
    type: list
    elements: str
    choices: [config, agent, snapshots, status]
    default: []
  filters:
    description:
      - Jinja expressions over host variables. Only guests for which all of them are true become hosts.
      - An expression that names no variable of O(facts) is looked at before any facts are asked for, which is what makes it cheap.
      - A guest for which an expression fails is left out, and said; with O(strict) it is an error.
    type: list
    elements: str
    default: []
  exclude_templates:
    description: Whether to leave out templates.
    type: bool
    default: false
  group_by:
    description:
      - Which groups to make, with O(group_prefix) before their names, such as C(proxmox_node_pve1), C(proxmox_pool_lab),
        C(proxmox_tag_web), C(proxmox_status_running), C(proxmox_type_lxc), C(proxmox_templates), C(proxmox_os_linux).
      - The operating system is known when O(facts) has V(config); a container is also in the group of its distribution, such as
        C(proxmox_os_debian).
      - With V(status) in O(facts), the status of a VM is what QEMU says, such as C(proxmox_status_paused).
      - What Ansible does not take in the name of a group becomes an underscore. Two tags that so become one group are said.
    type: list
    elements: str
    choices: [node, os, pool, status, tag, template, type]
    default: [node, os, pool, status, tag, template, type]
  group_prefix:
    description: What the names of groups begin with.
    type: str
    default: proxmox_
  variable_prefix:
    description: What the names of host variables begin with.
    type: str
    default: proxmox_
  preferred_networks:
    description:
      - Networks, such as V(192.168.30.0/24), whose addresses are taken first for C(ansible_host), in this order.
      - C(ansible_host) is the first of C(proxmox_addresses), and is not set when none is known. They are sorted by the network in
        this list, then by O(address_sources), then by the number of the guest's network card (bridges and tunnels inside of the
        guest last), then IPv4 before IPv6. Loopback and link-local addresses are left out.
    type: list
    elements: str
    default: []
  address_sources:
    description:
      - Where addresses may come from, the best first.
      - V(config) is the static address of cloud-init, or of a container's network. V(agent) is what the guest itself tells.
    type: list
    elements: str
    choices: [config, agent]
    default: [config, agent]
  unreachable_nodes:
    description:
      - What to do about guests of a node that is offline or does not answer. In each case a warning names the node and its guests.
      - V(keep) has them as hosts with what the cluster knows of them, V(skip) leaves them out, V(fail) is an error.
      - The cluster goes on telling an offline node's guests as they were for five minutes. Within these, only a request for facts
        can tell that the node does not answer.
    type: str
    choices: [keep, skip, fail]
    default: keep
  mandatory:
    description:
      - Whether a failure of this source ends the run, as O(ignore:any_unparsed_is_failed) of Ansible's configuration does for all
        sources.
      - Otherwise Ansible warns and goes on with an inventory that lacks these hosts.
    type: bool
    default: true
  refresh_after:
    description:
      - With O(cache), seconds after which the API is asked again although the cache still has an answer.
      - By default the cache is used as long as O(cache_timeout) lets it, and nothing is asked.
    type: float
  stale_if_unreachable:
    description:
      - With O(cache), whether to take what the cache has when the API cannot be reached, with a warning that tells its age.
      - Matters with O(refresh_after), and when a refresh is asked for.
    type: bool
    default: false
  parallel_requests:
    description:
      - How many questions about O(facts) wait for their answers at a time, from 1 to 32.
      - What is more than the nodes can work on at a time waits there. Agents that are silent keep a node busy for seconds each.
    type: int
    default: 16
  agent_retry_after:
    description:
      - With O(cache), seconds for which an agent that did not answer is not asked again, not even when the rest is refreshed.
      - An agent is asked earlier when its guest was started since.
    type: float
    default: 3600
notes:
  - Names, states of power and sizes are what the cluster's status daemon saw, which may be ten seconds ago; the fact V(status) is that
    of the moment. Of a new guest that the daemon has not seen yet the cluster tells only the id. Its node is asked then, which costs one
    request for the nodes, and one for each node with such guests. A guest whose name nobody tells is called after its id, such as
    C(vm-101).
  - Guests with the same name get their id appended, such as C(web-101) and C(web-102), with a warning. A guest whose name is none for a
    host, or is V(localhost) or V(all), is called after its id.
  - O(task_timeout) is not used here, as nothing is changed.
  - Text options of the connection may be templates, and may be vaulted.
seealso:
  - module: groundwork.homelab.proxmox_vm
"""

EXAMPLES = r"""
# lab.proxmox.yml: all guests, with one request. The token is in PROXMOX_TOKEN_ID and PROXMOX_TOKEN_SECRET.
plugin: groundwork.homelab.proxmox
api_host: pve1.example.org

---
# Running guests of one pool, with the address where they can be reached.
plugin: groundwork.homelab.proxmox
api_host: pve1.example.org
facts: [config, agent]
filters:
  - proxmox_status == 'running'
  - proxmox_pool == 'lab'
preferred_networks:
  - 192.168.30.0/24

---
# Groups of one's own, and variables; both may use the facts that are asked for.
plugin: groundwork.homelab.proxmox
api_host: pve1.example.org
facts: [config]
exclude_templates: true
group_by: [node, tag]
keyed_groups:
  - key: proxmox_ostype
    prefix: ostype
groups:
  large: proxmox_memory >= 8192
  static: proxmox_config.ipconfig0 is defined and 'dhcp' not in proxmox_config.ipconfig0
compose:
  ansible_user: "'root' if proxmox_type == 'lxc' else 'ops'"
strict: true

---
# All there is to know, kept for a day; asked again after five minutes, and used as it is while the API is away.
plugin: groundwork.homelab.proxmox
api_host: pve1.example.org
facts: [config, agent, snapshots, status]
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ansible/proxmox
cache_timeout: 86400
refresh_after: 300
stale_if_unreachable: true

---
# Credentials from elsewhere, and what to do about nodes that are offline.
plugin: groundwork.homelab.proxmox
api_host: "{{ lookup('ansible.builtin.env', 'LAB_API', default='pve1.example.org') }}"
api_user: ansible@pve
api_token_id: groundwork
api_token_secret: "{{ lookup('ansible.builtin.env', 'PROXMOX_TOKEN_SECRET') }}"
unreachable_nodes: skip
"""

import functools
import os
import time
import typing as t

from ansible.errors import AnsibleParserError

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput, Unreachable
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.connection import ARGUMENTS, Connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.transport import CONNECTIONS
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import (
    inventory_addresses as addresses,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import inventory_cache as caching
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import inventory_hosts as hosts
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory.inventory_guests import (
    Guest,
    host_names,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory.inventory_reading import (
    TIERS,
    Reader,
    Reading,
    Silence,
)
from ansible_collections.groundwork.homelab.plugins.plugin_utils import expressions
from ansible_collections.groundwork.homelab.plugins.plugin_utils.loud_inventory import LoudInventory, check_booleans

#: Guests that a warning names; the others are counted.
_NAMED = 10


class InventoryModule(LoudInventory):
    NAME = "groundwork.homelab.proxmox"
    ENDINGS = tuple(f"{name}.{kind}" for name in ("proxmox", "groundwork") for kind in ("yml", "yaml"))
    BOOLEANS = ("exclude_templates", "mandatory", "stale_if_unreachable", "validate_certs")

    # -- options -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        check_booleans({"validate_certs": os.environ.get("PROXMOX_VALIDATE_CERTS")}, ["validate_certs"])
        parallel = self.get_option("parallel_requests")
        if not 1 <= parallel <= CONNECTIONS:
            hint = f"Choose 1 to {CONNECTIONS}."
            raise InvalidInput(f"parallel_requests is {parallel}", hint=hint)
        for option in ("refresh_after", "agent_retry_after"):
            seconds = self.get_option(option)
            if seconds is not None and seconds < 0:
                raise InvalidInput(f"{option} is {seconds:g} seconds", hint="Choose 0 or more.")
        self._preferred = addresses.networks(self.get_option("preferred_networks"))
        for where, expression in self.expressions():
            self._check_facts_of(where, expression)

    def _check_facts_of(self, where: str, expression: object) -> None:
        """Facts that an expression names must be asked for."""
        prefix, tiers = self.get_option("variable_prefix"), set(self.get_option("facts"))
        for name in sorted(expressions.names(where, expression)):
            givers = hosts.LATE.get(name.removeprefix(prefix), ()) if name.startswith(prefix) else ()
            if givers and not tiers & set(givers):
                problem = f"{where} names {name}, which is not known without facts: [{givers[0]}]"
                if where.startswith("filters"):
                    raise InvalidInput(problem, hint=f"Add {givers[0]} to facts.")
                self.display.warning(f"{problem}.")

    def expressions(self) -> t.Iterator[tuple[str, object]]:
        for expression in self.get_option("filters"):
            yield f"filters: {expression}", expression
        yield from super().expressions()

    def _connection(self) -> Connection:
        params = {name: self.get_option(name) for name in ARGUMENTS}
        for name, value in params.items():
            if isinstance(value, str) or type(value).__name__ == "EncryptedString":
                params[name] = str(self.templar.template(value) or "")
        return Connection.of(params)

    # -- reading -------------------------------------------------------------------------------------------------------

    def populate(self, path: str, cache: bool) -> None:
        connection = self._connection()
        tiers = [tier for tier in TIERS if tier in self.get_option("facts")]
        store = self._store(path, [connection.address, connection.who, *tiers])
        silence = Silence(self.get_option("agent_retry_after"), store.now, store.silent())
        connect = functools.cache(lambda: Session(connection, progress=self.display.vv))
        kept = store.kept()
        if kept is None or not cache or not self._is_fresh(kept):
            kept = self._read_again(connect, silence, kept)
        known = len(kept.reading.facts)
        reader = Reader(connect, kept.reading, silence, at_once=self.get_option("parallel_requests"))
        chosen, names = self._chosen(reader, kept.reading, tiers)
        if kept.age == 0 or len(kept.reading.facts) != known:
            store.keep(kept, silence.agents)
        self._say_problems(kept.reading, names)
        self._add_hosts(chosen, kept.reading, names)

    def _store(self, path: str, of: t.Sequence[str]) -> caching.Store:
        entries = self._cache if self.get_option("cache") else {}
        return caching.Store(entries, self.get_cache_key(path), of=of, now=time.time())

    def _is_fresh(self, kept: caching.Kept) -> bool:
        limit = self.get_option("refresh_after")
        return limit is None or 0 <= kept.age < limit

    def _read_again(
        self, connect: t.Callable[[], Session], silence: Silence, kept: caching.Kept | None
    ) -> caching.Kept:
        """A new reading; or, when the API is away and the user wants it so, the one that is kept."""
        reading = Reading()
        try:
            Reader(connect, reading, silence).list_guests()
        except Unreachable as error:
            if kept is None or not self.get_option("stale_if_unreachable"):
                raise
            self.display.warning(f"{error.message} This inventory is from the cache, {kept.age:.0f} seconds old.")
            return kept
        return caching.Kept(reading, 0)

    # -- choosing ------------------------------------------------------------------------------------------------------

    def _chosen(self, reader: Reader, reading: Reading, tiers: t.Sequence[str]) -> tuple[list[Guest], dict[int, str]]:
        """The guests that become hosts, and the names of all. Facts are asked for between the filters' two halves."""
        names, remarks = host_names(reading.guests)
        for remark in remarks:
            self.display.warning(f"{remark}.")
        late_names = [f"{self.get_option('variable_prefix')}{name}" for name in hosts.LATE]
        early, late = expressions.split(self.get_option("filters"), [*late_names, "ansible_host"])
        left = [guest for guest in reading.guests if not (guest.template and self.get_option("exclude_templates"))]
        left = self._filtered(early, left, reading, names)
        if tiers:
            reader.add_facts(left, tiers)
            there = {guest.vmid: guest for guest in reading.guests}
            left = [there[guest.vmid] for guest in left if guest.vmid in there]
        left = self._filtered(late, left, reading, names)
        return self._without_unreachable(left, reading, names), names

    def _filtered(
        self, filters: t.Sequence[str], guests: t.Sequence[Guest], reading: Reading, names: t.Mapping[int, str]
    ) -> list[Guest]:
        failed: dict[str, list[str]] = {}
        left = []
        for guest in guests:
            variables = self._variables(guest, reading) if filters else {}
            if all(self._is_true(expression, variables, names[guest.vmid], failed) for expression in filters):
                left.append(guest)
        for problem, of in failed.items():
            self.display.warning(f"{problem} Left out for that: {_listed(of)}.")
        return left

    def _is_true(self, expression: str, variables: dict[str, t.Any], name: str, failed: dict[str, list[str]]) -> bool:
        try:
            return bool(self._compose(expression, variables))
        except Exception as error:
            problem = f"The filter {expression!r} fails: {error}"
            if self.get_option("strict"):
                raise AnsibleParserError(f"{problem} This happened for {name}.") from error
            failed.setdefault(problem, []).append(name)
            return False

    def _without_unreachable(self, left: list[Guest], reading: Reading, names: t.Mapping[int, str]) -> list[Guest]:
        action = self.get_option("unreachable_nodes")
        words = {"keep": "are kept as the cluster knew them last", "skip": "are left out", "fail": "cannot be told of"}
        for node, why in sorted(reading.offline.items()):
            affected = [names[guest.vmid] for guest in left if guest.node == node]
            said = f"{_listed(affected)} {words[action]}" if affected else "none of these hosts runs there"
            text = f"Node {node} cannot be reached ({why.rstrip('.')}): {said}."
            if action == "fail" and affected:
                raise Unreachable("read the inventory", answer=text, hint="See unreachable_nodes.")
            self.display.warning(text)
        return [guest for guest in left if action != "skip" or guest.node not in reading.offline]

    def _say_problems(self, reading: Reading, names: t.Mapping[int, str]) -> None:
        called = {guest.id: names[guest.vmid] for guest in reading.guests}
        for what, guest_ids in sorted(reading.problems.items()):
            text = f"{what}. So facts are missing of: {_listed(sorted(called.get(one, one) for one in guest_ids))}."
            if self.get_option("strict"):
                raise AnsibleParserError(text)
            self.display.warning(text)

    # -- hosts ---------------------------------------------------------------------------------------------------------

    def _variables(self, guest: Guest, reading: Reading) -> dict[str, t.Any]:
        facts, sources = reading.facts.get(guest.id, {}), self.get_option("address_sources")
        found = hosts.variables(guest, facts, preferred=self._preferred, sources=sources)
        variables = {f"{self.get_option('variable_prefix')}{name}": value for name, value in found.items()}
        if found.get("addresses"):
            variables["ansible_host"] = found["addresses"][0]
        return variables

    def _add_hosts(self, chosen: t.Iterable[Guest], reading: Reading, names: t.Mapping[int, str]) -> None:
        group_by, prefix = self.get_option("group_by"), self.get_option("group_prefix")
        meanings: dict[str, set[str]] = {}
        for group in hosts.standing_groups(group_by, prefix):
            self.inventory.add_group(group)
        for guest in chosen:
            name = names[guest.vmid]
            self.inventory.add_host(name)
            for group, meaning in hosts.groups(guest, reading.facts.get(guest.id, {}), group_by, prefix).items():
                self.inventory.add_group(group)
                self.inventory.add_child(group, name)
                meanings.setdefault(group, set()).add(meaning)
            self.construct(name, self._variables(guest, reading))
        for group, meant in sorted(meanings.items()):
            if len(meant) > 1:
                self.display.warning(f"The group {group} stands for several things: {', '.join(sorted(meant))}.")


def _listed(names: t.Sequence[str]) -> str:
    """``a, b and 3 more``."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"

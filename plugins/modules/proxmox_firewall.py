#!/usr/bin/python
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxmox_firewall
short_description: Manage the firewalls of Proxmox VE
version_added: 0.1.0
author:
  - "groundwork.homelab authors (@groundwork)"
description:
  - Manages options, rules, aliases, IP sets and security groups of the firewalls of the datacenter, of nodes, and of VMs and containers.
  - Only what is given is managed, the rest stays as it is.
  - Nothing is written that differs from what is there only in its spelling.
  - A rule has no name, only a position, so rules are managed as a list. The module finds the fewest rules that have to be inserted,
    moved or edited. A rule that blocks is switched on only when all rules are in their places, so a run that is cut off in the middle
    blocks nobody whom the old and the new list let in.
  - Refuses to lock the API out. See O(allow_lockout).
options:
  firewalls:
    description: The firewalls.
    type: list
    elements: dict
    required: true
    suboptions:
      scope:
        description: Whose firewall it is.
        type: str
        choices: [datacenter, node, guest]
        required: true
      node:
        description: Node, for O(firewalls[].scope=node).
        type: str
      vmid:
        description: Id of the VM or container, for O(firewalls[].scope=guest).
        type: int
      options:
        description:
          - Options by their names in the API. An empty value takes an option away, so that it has its default again.
          - Datacenter - C(enable), C(ebtables), C(policy_in), C(policy_out), C(policy_forward), C(log_ratelimit).
          - Node - C(enable), C(ndp), C(nftables), C(nosmurfs), C(tcpflags), C(log_level_in), C(log_level_out), C(log_level_forward),
            C(log_nf_conntrack), C(smurf_log_level), C(tcp_flags_log_level), C(protection_synflood), C(protection_synflood_burst),
            C(protection_synflood_rate), C(nf_conntrack_max), C(nf_conntrack_allow_invalid), C(nf_conntrack_helpers),
            C(nf_conntrack_tcp_timeout_established), C(nf_conntrack_tcp_timeout_syn_recv).
          - Guest - C(enable), C(dhcp), C(ipfilter), C(macfilter), C(ndp), C(radv), C(policy_in), C(policy_out), C(log_level_in),
            C(log_level_out). The network card of the guest must have its firewall switched on, too.
        type: dict
      rules:
        description:
          - Rules in their order. The first that fits decides.
          - Unless O(firewalls[].exclusive=true), they stand at the top of the list, and their comments end with C([homelab]), by which the
            module knows them again. Rules without that mark are other people's; they stay, behind these, in their order.
        type: list
        elements: dict
        suboptions: &rule
          type:
            description: Direction, or V(group) for the rules of a security group. V(forward) is not for guests.
            type: str
            choices: [in, out, forward, group]
            required: true
          action:
            description:
              - V(ACCEPT), V(DROP) or V(REJECT), or the name of the security group, which is in lower case however it is written.
            type: str
            required: true
          enabled:
            description: Whether the rule is switched on.
            type: bool
            default: true
          macro:
            description: Name of a service that Proxmox knows, such as V(HTTPS), in upper or lower case.
            type: str
          proto:
            description: Protocol, such as V(tcp).
            type: str
          source:
            description: Addresses, networks, a range, an alias, or an IP set as V(+name), one of SDN as V(+sdn/name).
            type: str
          dest:
            description: Like O(firewalls[].rules[].source).
            type: str
          sport:
            description: Ports of the source.
            type: str
          dport:
            description: Ports of the destination, such as V(443), V(80,443) or V(8000:8010).
            type: str
          icmp_type:
            description: Kind of ICMP message.
            type: str
          iface:
            description: Interface, for a guest such as V(net0).
            type: str
          log:
            description: Level at which what fits is logged.
            type: str
            choices: [emerg, alert, crit, err, warning, notice, info, debug, nolog]
          comment:
            description: What the rule is for. A rule with the same comment is edited rather than replaced.
            type: str
      exclusive:
        description: Whether O(firewalls[].rules) is the whole list, so that all other rules are deleted.
        type: bool
        default: false
      aliases:
        description: Names of addresses. Not for nodes.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name. Upper and lower case mean the same.
            type: str
            required: true
          cidr:
            description: Address or network. Required unless it is to be absent.
            type: str
          comment:
            description: What it is. Left out, it stays as it is.
            type: str
          state:
            description: V(absent) deletes it.
            type: str
            choices: [present, absent]
            default: present
      ipsets:
        description: Sets of addresses. Not for nodes. The API of all nodes is open for those in the set C(management) of the datacenter.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name. Upper and lower case mean the same.
            type: str
            required: true
          comment:
            description: What it is for.
            type: str
          entries:
            description: All of its members. Without it they stay as they are.
            type: list
            elements: dict
            suboptions:
              cidr:
                description: Address, network, or alias.
                type: str
                required: true
              nomatch:
                description: Whether it is left out of the set.
                type: bool
                default: false
              comment:
                description: What it is.
                type: str
          state:
            description: V(absent) deletes the set with its members.
            type: str
            choices: [present, absent]
            default: present
      groups:
        description: Security groups. Only of the datacenter.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name, of at most 18 characters.
            type: str
            required: true
          comment:
            description: What it is for.
            type: str
          rules:
            description: All of its rules, in their order. Without it they stay as they are.
            type: list
            elements: dict
            suboptions: *rule
          state:
            description: V(absent) deletes the group with its rules.
            type: str
            choices: [present, absent]
            default: present
  allow_lockout:
    description:
      - Whether to go on although nobody would reach the API any more, as far as the module can tell.
      - Somebody reaches it when the firewall of the datacenter is off, the first of its rules that decides on TCP port 8006 accepts, the
        IP set C(management) has members and no rule blocks them, or C(policy_in) is V(ACCEPT). Proxmox also lets the node's own network
        in, which the module does not count on.
    type: bool
    default: false
  planned_guests:
    description: Guests that do not exist in check mode, but will when this task is really run. Their firewalls are taken to be empty.
    type: list
    elements: int
    default: []
extends_documentation_fragment:
  - groundwork.homelab.proxmox
  - groundwork.homelab.attributes
  - groundwork.homelab.attributes.actiongroup_proxmox
notes:
  - Rights that are needed - to read, Sys.Audit on C(/) for the datacenter, Sys.Audit on C(/nodes/<node>), VM.Audit on C(/vms/<vmid>); to
    write, Sys.Modify on C(/), Sys.Modify on C(/nodes/<node>), VM.Config.Network on C(/vms/<vmid>) or on the guest's pool.
seealso:
  - module: groundwork.homelab.proxmox_vm
"""

EXAMPLES = r"""
- name: The datacenter lets the administrators' network in, and nobody else
  groundwork.homelab.proxmox_firewall:
    api_host: 192.168.30.10
    api_token_id: ansible@pve!groundwork
    api_token_secret: "{{ proxmox_token_secret }}"
    firewalls:
      - scope: datacenter
        options:
          enable: true
          policy_in: DROP
        aliases:
          - name: lab
            cidr: 192.168.30.0/24
            comment: The lab
        ipsets:
          - name: management
            comment: Who may reach the API
            entries:
              - cidr: 192.168.10.0/24
              - cidr: lab
        groups:
          - name: web
            rules:
              - {type: in, action: ACCEPT, macro: HTTP}
              - {type: in, action: ACCEPT, macro: HTTPS}
        rules:
          - {type: in, action: ACCEPT, macro: Ping, comment: ping}
          - {type: in, action: ACCEPT, proto: tcp, dport: "22", source: +management, comment: ssh}

- name: A VM serves web pages to everybody, and SSH to the administrators
  groundwork.homelab.proxmox_firewall:
    firewalls:
      - scope: guest
        vmid: 200
        options:
          enable: true
          policy_in: DROP
        exclusive: true
        rules:
          - {type: group, action: web, iface: net0}
          - {type: in, action: ACCEPT, macro: SSH, source: +dc/management}

- name: A node logs what it drops
  groundwork.homelab.proxmox_firewall:
    firewalls:
      - scope: node
        node: pve1
        options:
          log_level_in: info
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    resource:
      description: What it is, as V(firewall/<whose>/options), V(…/rules), V(…/alias/<name>), V(…/ipset/<name>) or V(…/group/<name>).
      type: str
      sample: firewall/guest/200/rules
    action:
      description: V(create), V(update) or V(delete).
      type: str
    before:
      description: What differs, as it is. Rules are the whole list, one line a rule.
      type: dict
    after:
      description: What differs, as it will be.
      type: dict
firewalls:
  description: The firewalls, in the order of the input.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Whose it is, as V(datacenter), V(node/<node>) or V(guest/<vmid>).
      type: str
    scope:
      description: Its scope.
      type: str
    changed:
      description: Whether anything of it was changed.
      type: bool
"""

import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.firewall import firewalls
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Result, Spec, Task, run_as_module

_LEVELS = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog"]
_STATE: dict[str, t.Any] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
_RULES: dict[str, t.Any] = {
    "type": "list",
    "elements": "dict",
    "options": {
        "type": {"type": "str", "choices": ["in", "out", "forward", "group"], "required": True},
        "action": {"type": "str", "required": True},
        "enabled": {"type": "bool", "default": True},
        **{
            name: {"type": "str"}
            for name in ("macro", "proto", "source", "dest", "sport", "dport", "icmp_type", "iface", "comment")
        },
        "log": {"type": "str", "choices": _LEVELS},
    },
}
_ALIAS: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "cidr": {"type": "str"},
    "comment": {"type": "str"},
    "state": _STATE,
}
_ENTRY: dict[str, t.Any] = {
    "cidr": {"type": "str", "required": True},
    "nomatch": {"type": "bool", "default": False},
    "comment": {"type": "str"},
}
_IPSET: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "comment": {"type": "str"},
    "entries": {"type": "list", "elements": "dict", "options": _ENTRY},
    "state": _STATE,
}
_GROUP: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "comment": {"type": "str"},
    "rules": _RULES,
    "state": _STATE,
}
_FIREWALL: dict[str, t.Any] = {
    "scope": {"type": "str", "choices": ["datacenter", "node", "guest"], "required": True},
    "node": {"type": "str"},
    "vmid": {"type": "int"},
    "options": {"type": "dict"},
    "rules": _RULES,
    "exclusive": {"type": "bool", "default": False},
    "aliases": {"type": "list", "elements": "dict", "options": _ALIAS},
    "ipsets": {"type": "list", "elements": "dict", "options": _IPSET},
    "groups": {"type": "list", "elements": "dict", "options": _GROUP},
}

SPEC = Spec(
    argument_spec={
        **connection.ARGUMENTS,
        "firewalls": {"type": "list", "elements": "dict", "required": True, "options": _FIREWALL},
        "allow_lockout": {"type": "bool", "default": False},
        "planned_guests": {"type": "list", "elements": "int", "default": []},
    }
)


def run(task: Task) -> Result:
    return firewalls.converge(task)


def main() -> None:
    run_as_module(SPEC, run)


if __name__ == "__main__":
    main()

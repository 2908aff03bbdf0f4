# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight finds wrong with a lab's variables, and in which words."""

from __future__ import annotations

import typing as t

import pytest
from lab_inventories import NETWORKS, lab, network

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.checks import examine
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.inventory import Inventory, collect, redacted
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task
from ansible_collections.groundwork.homelab.plugins.modules import preflight


def problems(inventory: Inventory) -> list[str]:
    return [problem.text for problem in examine(inventory).problems]


def test_a_right_lab_has_no_problem_and_needs_no_advice() -> None:
    findings = examine(lab())
    assert (findings.problems, findings.warnings) == ((), ())


#: What is changed in the right lab, and the one problem that comes of it.
WRONG: dict[str, tuple[dict[str, t.Any], str]] = {
    "a required variable is missing": (
        {"shared": {"lab_name": None}},
        "lab_name of the lab is not set; expected a name of letters, digits, dots and hyphens.",
    ),
    "a machine has no number": (
        {"cp1": {"machine_vmid": None}},
        "machine_vmid of cp1 is not set; expected a VM's number from 100 to 999999999.",
    ),
    "a variable is misspelt": (
        {"cp1": {"machine_memmory": 4096}},
        "machine_memmory of cp1 is 4096; expected the variable machine_memory, which is the nearest that is known.",
    ),
    "a choice is misspelt": (
        {"shared": {"talos_cni": "celium"}},
        "talos_cni of all hosts is 'celium'; expected one of flannel, none, cilium. Did you mean cilium?",
    ),
    "a key of a network is misspelt": (
        {"shared": network(gatway="192.168.30.1")},
        "lab_networks.homelab.gatway of all hosts is '192.168.30.1'; expected one of the keys subnet, gateway, vlan, "
        "bridge, nameservers, mtu, ranges. Did you mean gateway?",
    ),
    "a version is too short": (
        {"shared": {"talos_version": "v1.13"}},
        "talos_version of all hosts is 'v1.13'; expected a version such as v1.13.9.",
    ),
    "a number is none": (
        {"cp1": {"machine_cores": "many"}},
        "machine_cores of cp1 is 'many'; expected a number of cores from 1 to 512.",
    ),
    "a MAC address is a multicast one": (
        {"cp1": {"machine_mac": "01:00:5E:00:00:01"}},
        "machine_mac of cp1 is '01:00:5E:00:00:01'; expected a unicast MAC address such as 02:1A:2B:3C:4D:5E.",
    ),
    "an address is in another subnet": (
        {"cp1": {"machine_address": "192.168.31.50"}},
        "machine_address of cp1 is '192.168.31.50'; expected an address in 192.168.30.0/24, the subnet of its network homelab.",
    ),
    "an address is the broadcast address": (
        {"cp1": {"machine_address": "192.168.30.255"}},
        "machine_address of cp1 is '192.168.30.255'; expected another address than the broadcast address of 192.168.30.0/24.",
    ),
    "an address is the gateway": (
        {"w1": {"machine_address": "192.168.30.1"}},
        "machine_address of w1 is '192.168.30.1'; expected another address than the gateway of its network homelab.",
    ),
    "an address is the DHCP server's to give": (
        {"w1": {"machine_address": "192.168.30.99"}},
        "machine_address of w1 is '192.168.30.99'; expected an address outside of lab_networks.homelab.ranges.dhcp, "
        "which the DHCP server hands out.",
    ),
    "an address is for load balancers": (
        {"w1": {"machine_address": "192.168.30.61"}},
        "machine_address of w1 is '192.168.30.61'; expected an address outside of lab_networks.homelab.ranges.load_balancers, "
        "which is for load balancers.",
    ),
    "two machines have one address": (
        {"w1": {"machine_address": "192.168.30.50"}},
        "machine_address of w1 is '192.168.30.50'; expected another address than that of cp1.",
    ),
    "a machine has the name server's address": (
        {"w1": {"machine_address": "192.168.30.45"}},
        "machine_address of w1 is '192.168.30.45'; expected another address than that of the name server of lab_networks.homelab.",
    ),
    "two machines have one number": (
        {"w1": {"machine_vmid": "200"}},
        "machine_vmid of w1 is '200'; expected another one than that of cp1.",
    ),
    "the gateway is outside": (
        {"shared": network(gateway="192.168.3.1")},
        "lab_networks.homelab.gateway of the lab is '192.168.3.1'; expected a host's address in 192.168.30.0/24.",
    ),
    "a range reaches the broadcast address": (
        {"shared": network(ranges={"dhcp": "192.168.30.81-192.168.30.255"})},
        "lab_networks.homelab.ranges.dhcp of the lab is 192.168.30.81-192.168.30.255; expected hosts' addresses in "
        "192.168.30.0/24. Its first is 192.168.30.1, its last 192.168.30.254.",
    ),
    "two ranges overlap": (
        {"shared": network(ranges={"nodes": "192.168.30.50-62", "load_balancers": "192.168.30.60-80"})},
        "lab_networks.homelab.ranges.load_balancers of the lab is 192.168.30.60-192.168.30.80; expected no address of "
        "lab_networks.homelab.ranges.nodes, which is 192.168.30.50-192.168.30.62.",
    ),
    "a range runs backwards": (
        {"shared": network(ranges={"nodes": "192.168.30.59-192.168.30.50"})},
        "lab_networks.homelab.ranges.nodes of all hosts is '192.168.30.59-192.168.30.50'; expected a range such as "
        "192.168.30.60-192.168.30.80.",
    ),
    "two networks overlap": (
        {"shared": {"lab_networks": {**NETWORKS, "big": {"subnet": "192.168.0.0/16", "vlan": 1}}, "machine_network": "homelab"}},
        "lab_networks.big.subnet of the lab is '192.168.0.0/16'; expected no overlap with lab_networks.homelab.subnet, "
        "which is 192.168.30.0/24.",
    ),
    "two networks are one VLAN": (
        {"shared": {"lab_networks": {**NETWORKS, "other": {"subnet": "10.1.0.0/24", "vlan": 30}}, "machine_network": "homelab"}},
        "lab_networks.other.vlan of the lab is VLAN 30 of vmbr0; expected another one than that of lab_networks.homelab.",
    ),
    "the pods' subnet overlaps": (
        {"shared": {"talos_pod_subnets": ["192.168.0.0/16"]}},
        "talos_pod_subnets of the lab is '192.168.0.0/16'; expected no overlap with lab_networks.homelab.subnet, which is "
        "192.168.30.0/24.",
    ),
    "Talos does not run this Kubernetes": (
        {"shared": {"talos_version": "v1.12.1", "talos_kubernetes_version": "v1.36.3"}},
        "talos_kubernetes_version of the lab is 'v1.36.3'; expected a version from 1.30 to 1.35, which Talos v1.12.1 runs.",
    ),
    "nobody knows this Talos": (
        {"shared": {"talos_version": "v1.9.1"}},
        "talos_version of the lab is 'v1.9.1'; expected a version of Talos 1.12, 1.13, 1.14.",
    ),
    "a machine is on no hypervisor of the lab": (
        {"w1": {"machine_node": "pve2"}},
        "machine_node of w1 is 'pve2'; expected one of pve1. Did you mean pve1?",
    ),
    "a machine is on no network of the lab": (
        {"w1": {"machine_network": "homelap"}},
        "machine_network of w1 is 'homelap'; expected one of homelab. Did you mean homelab?",
    ),
    "the lab's machines disagree": (
        {"w1": {"talos_version": "v1.12.1"}, "cp1": {"talos_version": "v1.13.9"}},
        "talos_version of the lab is 'v1.13.9' for cp1; 'v1.12.1' for w1; expected one value for all hosts. "
        "Set it in group_vars/all.",
    ),
    "a token has no user": (
        {"shared": {"proxmox_api_user": None}},
        "proxmox_api_user of the lab is not set; expected the user of the token groundwork, such as ansible@pve.",
    ),
    "the endpoint is nobody's": (
        {"shared": {"talos_cluster_endpoint": "https://192.168.30.55:6443"}},
        "talos_cluster_endpoint of the lab is 'https://192.168.30.55:6443'; expected https://192.168.30.50:6443, the only "
        "control plane. Another address needs a virtual IP, which a patch gives to the control planes.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_one_thing_is_wrong(case: str) -> None:
    changed, problem = WRONG[case]
    assert problems(lab(**changed)) == [problem]


def test_all_problems_are_said_at_once() -> None:
    changed: dict[str, t.Any] = {}
    for part, _problem in (
        WRONG[case] for case in ("a choice is misspelt", "a number is none", "two machines have one number")
    ):
        for host, variables in part.items():
            changed[host] = {**changed.get(host, {}), **variables}
    assert len(problems(lab(**changed))) == 3


def test_a_group_without_hosts_is_a_problem() -> None:
    assert problems(lab({"proxmox": []})) == [
        "group proxmox of the inventory has no hosts; expected at least a Proxmox VE host."
    ]


def test_a_name_that_kubernetes_does_not_take() -> None:
    wrong = lab({"talos_workers": ["Node_1"]}, Node_1={"machine_vmid": 210, "machine_address": "192.168.30.52"})
    assert problems(wrong) == [
        "inventory name of Node_1 is 'Node_1'; expected lower case letters, digits and hyphens, at most 63, as Kubernetes "
        "wants for a node's name."
    ]


def test_an_unknown_variable_that_is_like_none_of_ours_is_only_mentioned() -> None:
    findings = examine(lab(shared={"lab_rack_colour": "red"}))
    assert findings.problems == ()
    assert findings.warnings == (
        "lab_rack_colour (all hosts) is no variable of groundwork.homelab, so it has no effect here.",
    )


@pytest.mark.parametrize(("planes", "advised"), [(1, False), (2, True), (3, False), (4, True)])
def test_an_even_number_of_control_planes_is_advised_against(planes: int, advised: bool) -> None:
    names = [f"cp{number}" for number in range(1, planes + 1)]
    hosts = {name: {"machine_vmid": 300 + n, "machine_address": f"192.168.30.{52 + n}"} for n, name in enumerate(names)}
    findings = examine(lab({"talos_control_planes": names}, **hosts))
    assert findings.problems == ()
    assert bool(findings.warnings) is advised


SECRET = "f00dfeed-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "variables",
    [
        {"proxmox_api_token_secret": SECRET},
        {"proxmox_token_secret": SECRET},
        {"proxmox_api_password": [SECRET]},
        {"proxmox_api_pasword": SECRET},
        {"lab_of_my_own": SECRET},
        {"talos_patchs": [{"machine": {"env": {"A": SECRET}}}]},
        {"talos_patches": [{"machine": {"registries": {"config": {"r": {"auth": {"password": SECRET}}}}}}, 5]},
        {"talos_patches": {"password": SECRET}},
        {"talos_inline_manifests": [{"name": "a", "contents": SECRET, "extra": 1}]},
        {"cluster_manifests": [{"kind": "Secret", "stringData": {"password": SECRET}}]},
    ],
)
def test_no_problem_and_no_input_shows_a_secret(variables: dict[str, t.Any]) -> None:
    inventory = lab(shared=variables)
    assert SECRET not in repr(examine(inventory))
    assert SECRET not in repr(redacted(inventory).as_mapping())


def test_redaction_changes_no_finding_of_a_right_lab() -> None:
    shared = {
        "proxmox_api_token_secret": SECRET,
        "talos_patches": [{"machine": {"sysctls": {"a": "1"}}}, "machine: {}"],
    }
    shared["cluster_manifests"] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
        "extra/all.yml",
    ]
    assert problems(redacted(lab(shared=shared))) == []


class _Failing(dict[str, t.Any]):
    def __getitem__(self, key: str) -> t.Any:
        if key == "machine_address":
            raise ValueError("'nowhere' is undefined")
        return super().__getitem__(key)


def test_a_template_that_fails_is_a_problem_with_its_variable() -> None:
    hostvars = {host: _Failing(variables) for host, variables in lab().hosts.items()}
    inventory = collect(hostvars, {"proxmox": ["pve1"], "talos_control_planes": ["cp1"]})
    assert "machine_address of cp1 is a template that fails: 'nowhere' is undefined; expected a value." in problems(
        inventory
    )


def test_the_module_fails_with_every_problem_in_its_message() -> None:
    task = Task({"inventory": redacted(lab(**WRONG["a choice is misspelt"][0])).as_mapping()})
    with pytest.raises(InvalidInput, match=r"1 problem\(s\) in the lab's variables; nothing was called:\n- talos_cni"):
        preflight.run(task)


def test_the_module_says_how_many_machines_it_has_checked() -> None:
    result = preflight.run(Task({"inventory": lab().as_mapping()}))
    assert (result["changed"], result["machines"], result["problems"]) == (False, 2, [])


@pytest.mark.parametrize("value", [None, "", 5, [], "text", {"a": 1}, {"a": None}, [{}], {"a": {"subnet": 7}}, True])
def test_nonsense_in_any_variable_is_a_problem_or_nothing_but_never_a_traceback(value: t.Any) -> None:
    from ansible_collections.groundwork.homelab.plugins.module_utils.lab.schema import VARIABLES

    for name in VARIABLES:
        examine(lab(shared={name: value}))

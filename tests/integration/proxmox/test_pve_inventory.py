# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin, with ``ansible-inventory`` on a played cluster: requests, hosts, groups, facts, names."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import yaml
from pve_inventory import InventoryLab, interface
from pve_lab import ROLE

from ansible_collections.groundwork.homelab.plugins.inventory import proxmox as plugin

ALL_FACTS = ["config", "agent", "snapshots", "status"]
MANY = 60


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[InventoryLab]:
    with InventoryLab(tmp_path) as made:
        yield made


# -- the common case -------------------------------------------------------------------------------------------------


def test_one_request_however_many_guests_there_are(lab: InventoryLab) -> None:
    for number in range(MANY):
        lab.vm(1000 + number, f"vm{number}", node=f"pve{1 + number % 2}", running=number % 3 == 0)
    seen = lab.inventory()
    assert seen.exit == 0, seen.text
    assert seen.paths == ["/cluster/resources"]
    assert seen.requests[0].caller == "ansible@pve!groundwork"
    assert len(seen.hosts) == MANY and seen.text == ""


def test_hosts_groups_and_variables_without_facts(lab: InventoryLab) -> None:
    lab.typical()
    seen = lab.inventory()
    assert sorted(seen.hosts) == ["db", "dns", "golden", "web", "win"]
    assert {name: seen.group(name) for name in seen.inventory if name.startswith("proxmox_")} == {
        "proxmox_node_pve1": ["dns", "golden", "web", "win"],
        "proxmox_node_pve2": ["db"],
        "proxmox_pool_lab": ["dns", "web"],
        "proxmox_status_running": ["db", "dns", "web"],
        "proxmox_status_stopped": ["golden", "win"],
        "proxmox_tag_prod": ["dns", "golden", "web"],
        "proxmox_tag_web": ["web"],
        "proxmox_templates": ["golden"],
        "proxmox_type_lxc": ["dns"],
        "proxmox_type_qemu": ["db", "golden", "web", "win"],
    }
    web = plain(seen.hosts["web"])
    assert web.pop("proxmox_uptime") >= 600
    assert web == {
        "proxmox_cores": 2, "proxmox_disk": 0, "proxmox_ha_state": "", "proxmox_lock": "", "proxmox_memory": 2048,
        "proxmox_name": "web", "proxmox_node": "pve1", "proxmox_pool": "lab", "proxmox_status": "running",
        "proxmox_tags": ["prod", "web"], "proxmox_template": False, "proxmox_type": "qemu", "proxmox_vmid": 101,
    }  # fmt: skip


def plain(value: t.Any) -> t.Any:
    """Without the marks that ``ansible-inventory`` puts on what is no template."""
    if isinstance(value, dict):
        return (
            value["__ansible_unsafe"] if set(value) == {"__ansible_unsafe"} else {k: plain(v) for k, v in value.items()}
        )
    return [plain(one) for one in value] if isinstance(value, list) else value


def test_prefixes_groupings_and_templates_are_the_users_choice(lab: InventoryLab) -> None:
    lab.typical()
    seen = lab.inventory(group_by=["tag"], group_prefix="", variable_prefix="pve_", exclude_templates=True)
    assert set(seen.inventory) == {"_meta", "all", "tag_prod", "tag_web", "ungrouped"}
    assert "golden" not in seen.hosts and seen.hosts["web"]["pve_vmid"] == 101


# -- facts -----------------------------------------------------------------------------------------------------------


def test_all_facts_of_all_guests(lab: InventoryLab) -> None:
    lab.typical()
    seen = lab.inventory(facts=ALL_FACTS)
    assert seen.exit == 0 and seen.text == "", seen.text
    assert sorted(seen.paths) == sorted(
        [
            "/cluster/resources",
            *("/nodes/pve1/lxc", "/nodes/pve1/qemu", "/nodes/pve2/qemu"),
            *(f"/nodes/pve1/qemu/{vmid}/{what}" for vmid in (101, 103, 104) for what in ("config", "snapshot")),
            *(f"/nodes/pve2/qemu/102/{what}" for what in ("config", "snapshot")),
            *(f"/nodes/pve1/lxc/201/{what}" for what in ("config", "snapshot", "interfaces")),
            *("/nodes/pve1/qemu/101/agent/network-get-interfaces", "/nodes/pve2/qemu/102/agent/network-get-interfaces"),
        ]
    )
    web, db, dns = (plain(seen.hosts[name]) for name in ("web", "db", "dns"))
    assert web["ansible_host"] == "192.168.30.11" and dns["ansible_host"] == "192.168.30.53"
    assert "ansible_host" not in db and "proxmox_interfaces" not in db
    assert web["proxmox_addresses"] == ["192.168.30.11", "10.244.0.1"]
    assert web["proxmox_qmpstatus"] == "running" and web["proxmox_snapshots"] == []
    assert seen.group("proxmox_os_linux") == ["db", "dns", "golden", "web"]
    assert seen.group("proxmox_os_windows") == ["win"] and seen.group("proxmox_os_debian") == ["dns"]


def test_a_paused_vm_and_a_snapshot_are_told_where_they_are_asked_for(lab: InventoryLab) -> None:
    lab.typical()
    lab.cluster.guests[101].running.qmp_status = "paused"
    seen = lab.inventory(facts=["status"])
    assert seen.group("proxmox_status_paused") == ["web"]
    assert len(seen.paths) == 4  # the list, and one for each node and kind


def test_filters_that_need_no_facts_are_judged_before_any_are_asked_for(lab: InventoryLab) -> None:
    lab.typical()
    seen = lab.inventory(
        facts=["config"], filters=["proxmox_status == 'running'", "'prod' in proxmox_tags", "proxmox_os == 'linux'"]
    )
    assert sorted(seen.hosts) == ["dns", "web"]
    assert sorted(seen.paths) == ["/cluster/resources", "/nodes/pve1/lxc/201/config", "/nodes/pve1/qemu/101/config"]


def test_the_preferred_network_goes_before_all_else(lab: InventoryLab) -> None:
    lab.typical()
    lab.agents.interfaces[101].append(interface("eth1", "02:00:00:00:00:09", "10.9.0.4/16"))
    seen = lab.inventory(facts=["agent"], preferred_networks=["10.9.0.0/16"], filters=["proxmox_name == 'web'"])
    assert plain(seen.hosts["web"])["ansible_host"] == "10.9.0.4"
    assert plain(seen.hosts["web"])["proxmox_addresses"] == ["10.9.0.4", "192.168.30.11", "10.244.0.1"]


def test_an_old_agent_on_windows_that_does_not_know_the_question_is_a_silent_one(lab: InventoryLab) -> None:
    lab.vm(101, "win", ostype="win11", running=True, agent="enabled=1,type=isa")
    lab.agents.interfaces[101] = t.cast("t.Any", {"error": {"class": "CommandNotFound", "desc": "not found"}})
    seen = lab.inventory(facts=["agent"])
    assert seen.exit == 0 and seen.text == "" and sorted(seen.hosts) == ["win"]
    assert "ansible_host" not in seen.hosts["win"] and seen.group("proxmox_os_windows") == ["win"]


def test_an_agent_that_may_not_be_asked_is_said_once_for_all_guests(tmp_path: pathlib.Path) -> None:
    # A right of the role is missing besides, so that the judge of all requests knows that a refusal is meant.
    fewer = [right for right in ROLE if right not in ("VM.GuestAgent.Audit", "Datastore.Allocate")]
    with InventoryLab(tmp_path, rights=fewer) as lab:
        lab.typical()
        seen = lab.inventory(facts=["agent"])
        assert "the right VM.GuestAgent.Audit" in seen.text and "So facts are missing of: db, web." in seen.text
        assert sorted(seen.hosts) == ["db", "dns", "golden", "web", "win"] and seen.exit == 0
        assert seen.text.count("VM.GuestAgent.Audit") == 1
        strict = lab.inventory(facts=["agent"], strict=True)
        assert strict.exit != 0 and "the right VM.GuestAgent.Audit" in strict.text


# -- names -----------------------------------------------------------------------------------------------------------


def test_names_that_are_taken_missing_or_dangerous(lab: InventoryLab) -> None:
    lab.vm(101, "twin")
    lab.vm(102, "twin", node="pve2")
    lab.vm(103)
    lab.vm(104, "localhost")
    lab.ct(105, "{{7*7}}")
    seen = lab.inventory()
    assert sorted(seen.hosts) == ["ct-105", "twin-101", "twin-102", "vm-103", "vm-104"]
    assert "2 guests are called twin, so they are twin-101, twin-102." in seen.text
    assert "The name 'localhost' of qemu/104 is none for a host, so it is vm-104." in seen.text


def test_the_first_seconds_after_a_change_cost_a_look_at_the_node_and_no_name(lab: InventoryLab) -> None:
    lab.typical()
    lab.config.status_delay = 10 / lab.config.time_scale
    web = lab.cluster.guests.pop(101)
    lab.cluster.status.look(ago=10)
    lab.cluster.guests[101] = web
    seen = lab.inventory()
    assert seen.paths == ["/cluster/resources", "/nodes", "/nodes/pve1/qemu"]
    assert sorted(seen.hosts) == ["db", "dns", "golden", "web", "win"] and seen.text == ""
    assert "web" in seen.group("proxmox_status_running") and "web" in seen.group("proxmox_pool_lab")
    assert plain(seen.hosts["web"])["proxmox_memory"] == 2048


# -- what the API and guests tell is no template -----------------------------------------------------------------------


def test_a_template_in_a_description_does_not_run(lab: InventoryLab) -> None:
    lab.typical()
    inventory = lab.file({"facts": ["config"], "compose": {"copied": "proxmox_config.description"}})
    tasks = [
        {"ansible.builtin.debug": {"msg": f"<{{{{ {name} }}}}>"}} for name in ("proxmox_config.description", "copied")
    ]
    playbook = lab.root / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "web", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [sys.executable, "-m", "ansible.cli.playbook", "-i", str(inventory), str(playbook)],
        env={**lab.environment(), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout.count("<{{ lookup('pipe', 'echo pwned') }}>") == 2, done.stdout + done.stderr
    assert "<pwned>" not in done.stdout


# -- constructed -------------------------------------------------------------------------------------------------------


def test_variables_and_groups_of_ones_own(lab: InventoryLab) -> None:
    lab.typical()
    seen = lab.inventory(
        facts=["config"],
        compose={"ansible_user": "'root' if proxmox_type == 'lxc' else 'ops'", "never": "proxmox_config.nothing"},
        groups={"large": "proxmox_memory >= 2048"},
        keyed_groups=[{"key": "proxmox_ostype", "prefix": "ostype"}],
    )
    assert plain(seen.hosts["dns"])["ansible_user"] == "root" and plain(seen.hosts["web"])["ansible_user"] == "ops"
    assert seen.group("large") == ["db", "golden", "web", "win"]
    assert seen.group("ostype_win11") == ["win"] and seen.group("ostype_debian") == ["dns"]
    assert "never" not in seen.hosts["dns"]
    strict = lab.inventory(facts=["config"], compose={"never": "proxmox_config.nothing"}, strict=True)
    assert strict.exit != 0 and "Could not set never for host" in strict.text


def test_two_tags_that_become_one_group_are_said(lab: InventoryLab) -> None:
    lab.vm(101, "a", tags="k8s-node")
    lab.vm(102, "b", tags="k8s_node")
    seen = lab.inventory()
    assert seen.group("proxmox_tag_k8s_node") == ["a", "b"]
    assert "The group proxmox_tag_k8s_node stands for several things: tag k8s-node, tag k8s_node." in seen.text


def test_a_filter_that_fails_leaves_the_guest_out_and_says_so(lab: InventoryLab) -> None:
    lab.typical()
    seen = lab.inventory(filters=["proxmox_name == 'web' or nothing.there"])
    assert sorted(seen.hosts) == ["web"]
    assert "Left out for that: db, golden, win, dns." in seen.text
    strict = lab.inventory(filters=["proxmox_name == 'web' or nothing.there"], strict=True)
    assert strict.exit != 0 and "This happened for db." in strict.text


def test_an_expression_over_facts_that_are_not_asked_for_is_said(lab: InventoryLab) -> None:
    lab.typical()
    seen = lab.inventory(keyed_groups=[{"key": "proxmox_ostype"}])
    assert seen.exit == 0
    assert "keyed_groups: proxmox_ostype names proxmox_ostype, which is not known without facts: [config]." in seen.text


# -- the documentation's examples --------------------------------------------------------------------------------------

EXAMPLES = re.split(r"^---$", plugin.EXAMPLES, flags=re.MULTILINE)
EXPECTED = [
    ["db", "dns", "golden", "web", "win"],
    ["dns", "web"],
    ["db", "dns", "web", "win"],
    ["db", "dns", "golden", "web", "win"],
    ["db", "dns", "golden", "web", "win"],
]


@pytest.mark.parametrize(("example", "expected"), list(zip(EXAMPLES, EXPECTED, strict=True)))
def test_the_examples_of_the_documentation(lab: InventoryLab, example: str, expected: list[str]) -> None:
    lab.typical()
    text = example.replace("pve1.example.org", "127.0.0.1").replace("~/.cache", str(lab.root / "cache"))
    seen = lab.inventory(file=lab.file(text), environment={"LAB_API": "127.0.0.1"})
    assert seen.exit == 0 and seen.text == "", seen.text
    assert sorted(seen.hosts) == expected
    if "keyed_groups" in example:
        assert seen.group("ostype_l26") == ["db", "web"] and seen.group("static") == ["web"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin when something is wrong: nodes, the API, credentials, input. And its cache."""

from __future__ import annotations

import pathlib
import socket
import subprocess
import sys
import time
import typing as t

import pytest
from pve_inventory import InventoryLab, Seen

OFFLINE = "Node pve2 cannot be reached"
#: What a run says that ends because of this source.
ENDED = "Completely failed to parse inventory source"


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[InventoryLab]:
    with InventoryLab(tmp_path) as made:
        made.typical()
        yield made


def refused(seen: Seen, *texts: str) -> None:
    """The run ended with these texts, and no empty inventory."""
    assert seen.exit != 0 and seen.inventory == {}, seen.text
    assert ENDED in seen.text and "Traceback" not in seen.text
    for text in texts:
        assert text in seen.text, seen.text


# -- nodes -----------------------------------------------------------------------------------------------------------


def test_an_offline_node_is_said_and_its_guests_stay(lab: InventoryLab) -> None:
    lab.vm(105, "cache", node="pve2")
    lab.cluster.nodes["pve2"].online = False
    seen = lab.inventory(facts=["config"])
    assert seen.exit == 0
    said = "the cluster says that it is offline): vm-102, vm-105 are kept as the cluster knew them last."
    assert f"{OFFLINE} ({said}" in seen.text
    assert sorted(seen.hosts) == ["dns", "golden", "vm-102", "vm-105", "web", "win"]
    assert seen.group("proxmox_status_unknown") == ["vm-102", "vm-105"]
    assert not any("/nodes/pve2/" in path for path in seen.paths)


def test_an_offline_nodes_guests_are_left_out_or_an_error_where_that_is_asked_for(lab: InventoryLab) -> None:
    lab.cluster.nodes["pve2"].online = False
    seen = lab.inventory(unreachable_nodes="skip")
    assert sorted(seen.hosts) == ["dns", "golden", "web", "win"]
    assert OFFLINE in seen.text and "vm-102 are left out" in seen.text
    refused(lab.inventory(unreachable_nodes="fail"), OFFLINE, "vm-102")
    fine = lab.inventory(unreachable_nodes="fail", filters=["proxmox_node == 'pve1'"])
    assert fine.exit == 0 and "none of these hosts runs there" in fine.text


def test_a_node_that_went_away_minutes_ago_costs_its_own_facts_only(lab: InventoryLab) -> None:
    lab.fault("answer", path="/nodes/pve2/*", status=595, text="No route to host", times=0)
    seen = lab.inventory(facts=["config", "agent"])
    assert seen.exit == 0 and sorted(seen.hosts) == ["db", "dns", "golden", "web", "win"]
    assert f"{OFFLINE} (595 No route to host): db are kept as the cluster knew them last." in seen.text
    assert "proxmox_config" in seen.hosts["web"] and "proxmox_config" not in seen.hosts["db"]


def test_a_guest_that_is_deleted_meanwhile_is_no_host_and_no_error(lab: InventoryLab) -> None:
    text = "Configuration file 'nodes/pve1/qemu-server/104.conf' does not exist"
    lab.fault("answer", path="/nodes/pve1/qemu/104/config", status=500, text=text, times=0)
    seen = lab.inventory(facts=["config"])
    assert seen.exit == 0 and sorted(seen.hosts) == ["db", "dns", "golden", "web"] and seen.text == ""


def test_a_guest_whose_configuration_cannot_be_read_is_said(lab: InventoryLab) -> None:
    lab.fault("answer", path="/nodes/pve1/qemu/101/config", status=500, text="unable to parse config", times=0)
    seen = lab.inventory(facts=["config"])
    assert "Could not read the configuration: unable to parse config. So facts are missing of: web." in seen.text
    assert seen.exit == 0 and "proxmox_config" not in seen.hosts["web"]


# -- the API -----------------------------------------------------------------------------------------------------------

#: What a read survives: it is sent again.
SURVIVED: list[dict[str, t.Any]] = [
    {"kind": "drop-after"},
    {"kind": "cut"},
    {"kind": "garbage"},
    {"kind": "answer", "status": 429, "text": "Too many requests"},
    {"kind": "answer", "status": 503, "text": "Service unavailable"},
    {"kind": "delay", "seconds": 0.3},
]


@pytest.mark.parametrize("fault", SURVIVED, ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}")
def test_one_bad_answer_changes_nothing(lab: InventoryLab, fault: dict[str, t.Any]) -> None:
    lab.fault(**fault, path="/cluster/resources")
    lab.fault(**fault, path="/nodes/pve1/qemu/101/config")
    seen = lab.inventory(facts=["config"])
    assert seen.exit == 0 and seen.text == "", seen.text
    assert len(seen.hosts) == 5 and "proxmox_config" in seen.hosts["web"]


#: A fault of every answer -> what is said of it.
FATAL: list[tuple[dict[str, t.Any], str]] = [
    ({"kind": "cut"}, "the connection ended before the answer was complete"),
    ({"kind": "garbage"}, "the answer is a web page instead of JSON"),
    (
        {"kind": "answer", "status": 401, "text": "Authentication failed!"},
        "Does the token ansible@pve!groundwork exist",
    ),
    ({"kind": "answer", "status": 302, "text": "Found"}, "the answer is a redirect"),
    ({"kind": "answer", "status": 501, "text": "Method 'GET /x' not implemented"}, "Is this a Proxmox VE"),
    ({"kind": "delay", "seconds": 3}, "no answer within 0.5 s"),
]


@pytest.mark.sends_bad_requests("the fault's own answers")
@pytest.mark.parametrize(("fault", "text"), FATAL, ids=lambda value: str(value.get("status", value["kind"])) if isinstance(value, dict) else "")  # fmt: skip
def test_an_api_that_cannot_be_asked_is_an_error_and_no_empty_inventory(
    lab: InventoryLab, fault: dict[str, t.Any], text: str
) -> None:
    lab.fault(**fault, path="/cluster/resources", times=0)
    more = {"api_timeout": 0.5} if fault["kind"] == "delay" else {}
    refused(lab.inventory(**more), "Could not list the guests of the cluster (Proxmox VE at https://127.0.0.1", text)


def test_an_api_that_breaks_in_the_middle_ends_at_once(lab: InventoryLab) -> None:
    for number in range(80):
        lab.vm(1000 + number, f"vm{number}")
    lab.fault("drop-before", path="/nodes/*", times=0, nth=10)
    started = time.monotonic()
    refused(lab.inventory(facts=["config"]), "the connection ended before the answer was complete")
    assert time.monotonic() - started < 20  # not 80 guests' patience


def test_nobody_listens_and_a_certificate_that_nobody_signed(lab: InventoryLab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    refused(lab.inventory(api_port=port), "Is it switched on, and are host and port right?")
    refused(lab.inventory(environment={"PROXMOX_CA_PATH": ""}), "the certificate does not verify")
    lenient = {"PROXMOX_CA_PATH": "", "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"}
    assert lab.inventory(environment=lenient, validate_certs=False).exit == 0


def test_a_source_that_is_not_mandatory_is_a_warning(lab: InventoryLab) -> None:
    lab.fault("answer", path="/cluster/resources", status=401, text="Authentication failed!", times=0)
    seen = lab.inventory(mandatory=False)
    assert seen.exit == 0 and seen.hosts == {} and "Does the token ansible@pve!groundwork exist" in seen.text


def test_a_ticket_that_expires_in_the_middle_is_renewed(lab: InventoryLab) -> None:
    as_root = {"PROXMOX_TOKEN_ID": "", "PROXMOX_TOKEN_SECRET": "", "PROXMOX_USER": "root@pam"}
    lab.fault("answer", path="/nodes/pve2/qemu/102/config", status=401, text="Authentication failed!")
    seen = lab.inventory(facts=["config"], environment={**as_root, "PROXMOX_PASSWORD": "root-not-a-secret"})
    assert seen.exit == 0 and "proxmox_config" in seen.hosts["db"]
    assert seen.paths.count("/access/ticket") == 2


# -- input -------------------------------------------------------------------------------------------------------------

NO_TOKEN = {"PROXMOX_TOKEN_ID": "", "PROXMOX_TOKEN_SECRET": ""}
BAD: list[tuple[dict[str, t.Any], dict[str, str], str]] = [
    ({}, {"PROXMOX_HOST": ""}, "api_host is missing"),
    ({}, NO_TOKEN, "api_user is missing"),
    ({"api_user": "ansible@pve"}, NO_TOKEN, "Nothing proves who ansible@pve is"),
    ({"api_host": "https://pve1:8006"}, {}, "is no name or address"),
    ({"api_user": "root@pam"}, {}, "api_token_id names a token of ansible@pve"),
    ({"api_timeout": 0}, {}, "api_timeout is 0 seconds"),
    ({"ca_path": "/nowhere/ca.pem"}, {}, "ca_path /nowhere/ca.pem cannot be read"),
    ({"facts": ["addresses"]}, {}, "Valid values are: config, agent, snapshots, status"),
    ({"group_by": ["colour"]}, {}, "Valid values are: node, os, pool, status, tag, template, type"),
    ({"unreachable_nodes": "ignore"}, {}, "Valid values are: keep, skip, fail"),
    ({"filters": ["proxmox_status =="]}, {}, "is no Jinja expression"),
    ({"filters": ["proxmox_ostype == 'l26'"]}, {}, "which is not known without facts: [config]. Add config to facts."),
    ({"preferred_networks": ["192.168.30.300/24"]}, {}, "preferred_networks: '192.168.30.300/24' is no network"),
    ({"refresh_after": -1}, {}, "refresh_after is -1 seconds"),
    ({"want_facts": True}, {}, "want_facts: this plugin has no such option. It has: address_sources,"),
    ({"validate_certs": "perhaps"}, {}, "validate_certs is 'perhaps'. Write true or false."),
    ({"mandatory": "perhaps"}, {}, "mandatory is 'perhaps'. Write true or false."),
    ({"parallel_requests": 0}, {}, "parallel_requests is 0. Choose 1 to 32."),
    ({}, {"PROXMOX_VALIDATE_CERTS": "flase"}, "validate_certs is 'flase'"),
]


@pytest.mark.parametrize(("options", "environment", "text"), BAD, ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "")  # fmt: skip
def test_bad_input_is_said_and_nothing_is_asked(
    lab: InventoryLab, options: dict[str, t.Any], environment: dict[str, str], text: str
) -> None:
    seen = lab.inventory(environment=environment, **options)
    refused(seen, text)
    assert seen.requests == []


def test_a_file_of_another_plugin_is_left_to_it(lab: InventoryLab) -> None:
    other = lab.file("plugin: community.proxmox.proxmox\nuser: a@pve\npassword: x\nurl: https://127.0.0.1:1\n")
    seen = lab.inventory(file=other, environment={"ANSIBLE_INVENTORY_ENABLED": "groundwork.homelab.proxmox"})
    assert "Incorrect plugin name in file: community.proxmox.proxmox" in seen.text
    assert seen.exit == 0 and ENDED not in seen.text and seen.requests == []


def test_a_vaulted_token_and_templates_in_the_connection(lab: InventoryLab) -> None:
    password = lab.root / "vault-password"
    password.write_text("open sesame\n")
    made = subprocess.run(
        [sys.executable, "-m", "ansible.cli.vault", "encrypt_string", "--vault-password-file", str(password),
         "token-not-a-secret", "--name", "api_token_secret"],
        env=lab.environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    text = f"plugin: groundwork.homelab.proxmox\napi_user: \"{{{{ 'ansible' }}}}@pve\"\napi_token_id: groundwork\n{made.stdout}"
    environment = {**NO_TOKEN, "ANSIBLE_VAULT_PASSWORD_FILE": str(password)}
    seen = lab.inventory(file=lab.file(text, "vault.groundwork.yml"), environment=environment)
    assert seen.exit == 0 and len(seen.hosts) == 5, seen.text
    refused(lab.inventory(file=lab.file(text, "vault.groundwork.yml"), environment=NO_TOKEN), "vault")


# -- the cache -----------------------------------------------------------------------------------------------------------


def cached(lab: InventoryLab, **more: t.Any) -> dict[str, t.Any]:
    return {
        "facts": ["config", "agent", "snapshots", "status"],
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(lab.root / "cache"),
        **more,
    }


def test_a_warm_cache_asks_nothing_also_when_agents_are_silent_and_nodes_are_offline(lab: InventoryLab) -> None:
    lab.fault("answer", path="/nodes/pve1/qemu/104/config", status=500, text="unable to parse config", times=0)
    lab.fault("answer", path="/nodes/pve2/lxc", status=595, text="No route to host", times=0)
    lab.ct(202, "far", node="pve2", rootfs="local:1")
    cold = lab.inventory(**cached(lab))
    warm = lab.inventory(**cached(lab))
    assert cold.exit == warm.exit == 0 and len(cold.requests) > 10
    assert warm.requests == []
    assert warm.inventory == cold.inventory
    assert OFFLINE in warm.text and "unable to parse config" in warm.text


def test_a_refresh_leaves_silent_agents_alone_until_their_guests_were_started_again(lab: InventoryLab) -> None:
    agent = "/nodes/pve2/qemu/102/agent/network-get-interfaces"
    assert agent in lab.inventory(**cached(lab)).paths
    refreshed = lab.inventory("--flush-cache", **cached(lab))
    assert agent not in refreshed.paths and "/nodes/pve2/qemu/102/config" in refreshed.paths
    assert "/nodes/pve1/qemu/101/agent/network-get-interfaces" in refreshed.paths
    lab.cluster.guests[102].running.since = time.time()
    time.sleep(1.1)  # an uptime in whole seconds
    assert agent in lab.inventory("--flush-cache", **cached(lab)).paths
    assert agent in lab.inventory("--flush-cache", **cached(lab, agent_retry_after=0)).paths


def test_what_is_stale_is_asked_again_and_used_while_the_api_is_away_where_the_user_wants_it(lab: InventoryLab) -> None:
    known = lab.inventory(**cached(lab)).inventory
    assert lab.inventory(**cached(lab, refresh_after=0)).paths[0] == "/cluster/resources"
    away = {"refresh_after": 0, "api_timeout": 0.5}
    lab.fault("delay", path="/cluster/resources", seconds=2, times=0)
    refused(lab.inventory(**cached(lab, **away)), "no answer within 0.5 s")
    stale = lab.inventory(**cached(lab, **away, stale_if_unreachable=True))
    assert stale.exit == 0 and stale.inventory["_meta"]["hostvars"].keys() == known["_meta"]["hostvars"].keys()
    assert "This inventory is from the cache," in stale.text


def test_a_cache_of_somebody_else_or_of_other_facts_is_not_used(lab: InventoryLab) -> None:
    lab.inventory(**cached(lab))
    assert lab.inventory(**cached(lab, facts=["config"])).requests
    as_root = {**NO_TOKEN, "PROXMOX_USER": "root@pam", "PROXMOX_PASSWORD": "root-not-a-secret"}
    assert lab.inventory(**cached(lab, facts=["config"]), environment=as_root).requests


def test_guests_that_another_filter_leaves_are_asked_for_besides(lab: InventoryLab) -> None:
    lab.inventory(**cached(lab, facts=["config"], filters=["proxmox_name == 'web'"]))
    more = lab.inventory(**cached(lab, facts=["config"], filters=["proxmox_name in ('web', 'db')"]))
    assert more.paths == ["/nodes/pve2/qemu/102/config"] and sorted(more.hosts) == ["db", "web"]


def test_a_guest_that_has_moved_since_it_was_listed_is_asked_where_it_is_now(lab: InventoryLab) -> None:
    """It was left out without a word, as if it had been deleted."""
    lab.inventory(**cached(lab, facts=["config"], filters=["proxmox_name == 'web'"]))
    lab.cluster.guests[104].node = "pve2"
    del lab.cluster.guests[103]
    both = ["proxmox_name in ('web', 'win', 'golden')"]
    moved = lab.inventory(**cached(lab, facts=["config"], filters=both))
    assert sorted(moved.hosts) == ["web", "win"] and moved.text == ""
    assert moved.group("proxmox_node_pve2") == moved.group("proxmox_os_windows") == ["win"]
    assert moved.paths[-2:] == ["/cluster/resources", "/nodes/pve2/qemu/104/config"]
    assert lab.inventory(**cached(lab, facts=["config"], filters=both)).paths == []

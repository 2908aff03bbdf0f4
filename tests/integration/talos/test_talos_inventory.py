# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin on played nodes, by ``ansible-inventory``."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from talos_lab import MODULES, PlayedLab
from test_talos_info import use_talosconfig
from test_talos_life import build

from ansible_collections.groundwork.homelab.plugins.inventory import talos as plugin
from simlab.faults import Fault

Json = dict[str, t.Any]
LIST, GET = "/cosi.resource.State/List", "/cosi.resource.State/Get"


@dataclasses.dataclass
class Seen:
    exit: int
    inventory: Json
    text: str
    calls: list[str]

    @property
    def hosts(self) -> Json:
        return t.cast(Json, self.inventory["_meta"]["hostvars"])

    def group(self, name: str) -> list[str]:
        return sorted(self.inventory.get(name, {}).get("hosts", []))


def plain(value: t.Any) -> t.Any:
    """Text that is never a template is shown with a mark by ``ansible-inventory``."""
    if isinstance(value, dict):
        return (
            value["__ansible_unsafe"] if set(value) == {"__ansible_unsafe"} else {k: plain(v) for k, v in value.items()}
        )
    return [plain(one) for one in value] if isinstance(value, list) else value


def listed_of(folder: pathlib.Path, options: Json | str, *, environment: t.Mapping[str, str] | None = None) -> Seen:
    """What ``ansible-inventory --list`` makes of a file; a text is the file, options get the plugin's name."""
    path = folder / "lab.talos.yml"
    path.write_text(
        options if isinstance(options, str) else yaml.safe_dump({"plugin": plugin.InventoryModule.NAME, **options})
    )
    config = folder / "ansible.cfg"
    config.write_text("[defaults]\n")
    room = pathlib.Path(str(importlib.import_module(f"{MODULES}.talos_secrets").__file__)).parents[5]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = pathlib.Path(sys.prefix) / "lib" / version / "site-packages"
    merged = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON", "TALOS"))},
        "ANSIBLE_COLLECTIONS_PATH": f"{room}:{site}",
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(folder / "home"),
        **(environment or {}),
    }
    command = [sys.executable, "-m", "ansible.cli.inventory", "-i", str(path), "--list"]
    done = subprocess.run(command, env=merged, capture_output=True, text=True, timeout=300, check=False, cwd=folder)
    found = plain(json.loads(done.stdout)) if done.stdout.startswith("{") else {}
    text = " ".join((done.stderr + ("" if found else done.stdout)).split())
    return Seen(done.returncode, found, text, [])


def listed(lab: PlayedLab, options: Json | str, *, environment: t.Mapping[str, str] | None = None) -> Seen:
    """The same of a played lab, with the calls that it took; and none of its secrets is said."""
    mark = lab.ledger.mark()
    seen = listed_of(lab.path, options, environment=environment)
    seen.calls = [entry.path for entry in lab.ledger.entries(mark)]
    secret = yaml.safe_load(lab.secrets_path.read_text())["trustdinfo"]["token"]
    assert secret not in seen.text + json.dumps(seen.inventory)
    return seen


@pytest.fixture
def two(lab: PlayedLab) -> PlayedLab:
    build(lab, "cp1", "w1")
    return lab


def by_bundle(lab: PlayedLab, *names: str, **more: t.Any) -> Json:
    return {"secrets_path": str(lab.secrets_path), "endpoints": [lab.address(name) for name in names], **more}


def test_all_members_with_one_request(two: PlayedLab) -> None:
    seen = listed(two, by_bundle(two, "cp1"))
    assert seen.exit == 0 and seen.calls == [LIST], seen.text
    assert sorted(seen.hosts) == ["cp1", "w1"]
    assert seen.group("talos_type_controlplane") == ["cp1"] and seen.group("talos_type_worker") == ["w1"]
    assert seen.group("talos_version_v1_13_9") == ["cp1", "w1"]
    host = seen.hosts["cp1"]
    assert host["ansible_host"] == two.address("cp1") and host["talos_addresses"] == [two.address("cp1")]
    assert (host["talos_type"], host["talos_version"], host["talos_control_plane_port"]) == (
        "controlplane",
        "v1.13.9",
        6443,
    )
    assert not [name for name in host if name.startswith("talos_stage")]


MEMBERS = ("cluster", "Members.cluster.talos.dev")


def test_every_endpoint_is_asked_once_and_what_any_knows_is_a_host(two: PlayedLab) -> None:
    """As recorded: a node that does not reach its discovery service lists only itself."""
    assert sorted(listed(two, by_bundle(two, "w1", "cp1")).calls) == [LIST, LIST]
    for name, node in two.nodes.items():
        node.runtime.resources.keep_only(*MEMBERS, [name])
    alone = listed(two, by_bundle(two, "cp1"))
    assert alone.exit == 0 and sorted(alone.hosts) == ["cp1"]
    seen = listed(two, by_bundle(two, "cp1", "w1"))
    assert seen.exit == 0 and seen.calls == [LIST, LIST] and sorted(seen.hosts) == ["cp1", "w1"], seen.text
    for here, there in (("cp1", "w1"), ("w1", "cp1")):
        assert f"Discovery on {two.address(here)} sees only {here}, and not {there}, which other" in seen.text


def test_endpoints_that_all_know_all_are_warned_of_nothing(two: PlayedLab) -> None:
    seen = listed(two, by_bundle(two, "cp1", "w1"))
    assert seen.exit == 0 and "WARNING" not in seen.text and sorted(seen.hosts) == ["cp1", "w1"]


def test_an_endpoint_that_knows_nobody_is_warned_of(two: PlayedLab) -> None:
    two.nodes["cp1"].runtime.resources.keep_only(*MEMBERS, [])
    seen = listed(two, by_bundle(two, "cp1", "w1"))
    assert sorted(seen.hosts) == ["cp1", "w1"] and "it knows none. Is cluster.discovery off" in seen.text


def test_two_members_of_one_host_name_keep_their_own_facts(two: PlayedLab) -> None:
    worker = next(one for one in two.nodes["cp1"].runtime.resources.list(*MEMBERS) if one.id == "w1")
    two.nodes["cp1"].runtime.resources.put(*MEMBERS, "w1", {**worker.spec, "hostname": "cp1"}, owner=worker.owner)
    seen = listed(two, by_bundle(two, "cp1", facts=["hostname"]))
    assert {name: host["talos_hostname"] for name, host in seen.hosts.items()} == {
        f"cp1-{two.address('cp1')}": "cp1",
        f"cp1-{two.address('w1')}": "w1",
    }


def test_a_silent_endpoint_is_passed_over_and_none_at_all_is_loud(two: PlayedLab) -> None:
    seen = listed(two, by_bundle(two, "cp3", "w1"))
    assert seen.exit == 0 and sorted(seen.hosts) == ["cp1", "w1"] and seen.calls == [LIST]
    assert f"[WARNING]: Could not connect (Talos node {two.address('cp3')} at " in seen.text
    two.power_off("cp1")
    two.power_off("w1")
    lost = listed(two, by_bundle(two, "cp1", "w1"))
    assert lost.exit != 0 and "Could not read the members of the cluster (2 endpoints)" in lost.text
    assert two.address("cp1") in lost.text and two.address("w1") in lost.text
    optional = listed(two, by_bundle(two, "cp1", "w1", mandatory=False))
    assert optional.exit == 0 and not optional.hosts and "Could not read the members" in optional.text


@pytest.mark.parametrize("kind", ["drop-before", "garbage", "cut", "answer", "delay"])
def test_an_endpoint_that_fails_is_passed_over(two: PlayedLab, kind: str) -> None:
    arguments: Json = {"answer": {"status": "INTERNAL", "text": "no"}, "delay": {"seconds": 5}}.get(kind, {})
    two.faults.add(Fault(kind, api="talos", path=LIST, args=arguments))
    seen = listed(two, by_bundle(two, "cp1", "w1", timeout=1))
    assert sorted(seen.hosts) == ["cp1", "w1"]
    assert (two.address("cp1") in seen.text) != (two.address("w1") in seen.text), "the one that failed is named"


def test_facts_are_asked_of_each_member_and_a_dead_one_stays(two: PlayedLab) -> None:
    seen = listed(two, by_bundle(two, "cp1", facts=["stage", "extensions"]))
    assert sorted(seen.calls) == sorted([LIST, GET, GET, LIST, LIST])
    assert seen.group("talos_stage_running") == ["cp1", "w1"]
    assert seen.hosts["w1"]["talos_ready"] is True and len(seen.hosts["w1"]["talos_schematic"]) == 64
    two.faults.add(Fault("drop-before", api="talos", path=GET, times=0))
    silent = listed(two, by_bundle(two, "cp1", facts=["stage"]))
    assert silent.group("talos_stage_unreachable") == ["cp1", "w1"] and silent.hosts["w1"]["talos_reachable"] is False


def test_a_cache_asks_nobody(two: PlayedLab) -> None:
    options = by_bundle(
        two,
        "cp1",
        cache=True,
        cache_plugin="ansible.builtin.jsonfile",
        cache_connection=str(two.path / "cache"),
        facts=["stage"],
    )
    first = listed(two, options)
    again = listed(two, options)
    assert first.calls and again.calls == [] and again.inventory == first.inventory
    assert listed(two, {**options, "facts": []}).calls == [LIST]  # of another question


def test_discovery_that_knows_nobody_is_told(two: PlayedLab) -> None:
    for node in two.nodes.values():
        node.runtime.resources.keep_only("cluster", "Members.cluster.talos.dev", [])
    seen = listed(two, by_bundle(two, "cp1"))
    assert seen.exit != 0 and "it knows none. Is cluster.discovery off" in seen.text


#: What is wrong with a file, and what is said of it.
BAD: list[tuple[Json | str, str]] = [
    ({"endpont": ["1.2.3.4"]}, "endpont: this plugin has no such option"),
    ({"endpoints": []}, "endpoints is empty. Only a talosconfig knows endpoints of its own."),
    ({"endpoints": ["1.2.3.4:50000"]}, "endpoints[0] is '1.2.3.4:50000'"),
    ({"endpoints": ["1.2.3.4", "1.2.3.4"]}, "more than once"),
    ({"preferred_networks": ["home"]}, "preferred_networks: 'home' does not appear"),
    ({"mandatory": "perhaps"}, "mandatory is 'perhaps'. Write true or false."),
    ({"facts": ["weather"]}, "weather"),
    ({"timeout": 0}, "timeout is 0"),
    ({"secrets_path": "/none/secrets.yaml"}, "There is no secrets bundle at /none/secrets.yaml"),
    ({"compose": {"a": "{{ x"}}, "is no Jinja expression"),
    ({"secrets_path": None}, "Neither secrets_path nor talosconfig is set"),
]


@pytest.mark.parametrize(("options", "text"), BAD)
def test_bad_input_is_loud_and_asks_nobody(lab: PlayedLab, options: Json, text: str) -> None:
    seen = listed(lab, {**by_bundle(lab, "cp1"), **options})
    assert seen.exit != 0 and text in seen.text and "Traceback" not in seen.text, seen.text
    assert seen.calls == []


def test_a_name_that_needs_facts_is_warned_of(two: PlayedLab) -> None:
    seen = listed(two, by_bundle(two, "cp1", compose={"a": "talos_stage | default('')"}))
    assert "compose: a names talos_stage, which is not known without facts: [stage]." in seen.text


@pytest.mark.parametrize("number", range(4))
def test_the_examples_run(two: PlayedLab, number: int) -> None:
    text = plugin.EXAMPLES.split("---\n")[number].replace("192.168.30.50", two.address("cp1"))
    text = text.replace("~/.cache", str(two.path / "cache"))
    talosconfig = use_talosconfig(two, "cp1", "w1", roles=["os:reader"])
    seen = listed(two, text, environment={} if number == 1 else {"TALOSCONFIG": talosconfig})
    assert seen.exit == 0 and sorted(seen.hosts) == ["cp1", "w1"], seen.text
    if number == 2:
        assert seen.group("os_v1_13_9") == ["cp1", "w1"] and seen.group("talos_stage_running") == ["cp1", "w1"]
        assert seen.group("with_guest_agent") == ["cp1", "w1"]

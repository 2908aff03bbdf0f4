# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters and tests that people write labs with; the examples of their documentation run as they stand."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.filter.lab import FilterModule as LabFilters
from ansible_collections.groundwork.homelab.plugins.filter.proxmox import FilterModule as ProxmoxFilters
from ansible_collections.groundwork.homelab.plugins.module_utils import task
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox import writing
from ansible_collections.groundwork.homelab.plugins.test.lab import TestModule as LabTests

ROOT = pathlib.Path(__file__).resolve().parents[3]
COLLECTIONS = pathlib.Path(str(task.__file__)).parents[5]
FILTERS = {**LabFilters().filters(), **ProxmoxFilters().filters()}
IN_NETWORK = LabTests().tests()["in_network"]
NETWORK = {"subnet": "192.168.30.0/24", "ranges": {"services": "192.168.30.60-80"}}

# -- what they give ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [("8G", 8192), ("512M", 512), ("2048", 2048), (4096, 4096), ("1.5GiB", 1536), ("1gb", 1024), ("1K", 1), ("2T", 2 << 20),
     (4096.0, 4096), ("2048.0", 2048), (1000.2, 1001)],
)  # fmt: skip
def test_sizes_in_mib(size: t.Any, expected: int) -> None:
    assert FILTERS["mib"](size) == expected


@pytest.mark.parametrize(
    ("text", "option", "expected"),
    [
        ("virtio=bc:24:11:00:00:01,bridge=vmbr0,tag=30", "net0", {"model": "virtio", "macaddr": "BC:24:11:00:00:01", "bridge": "vmbr0", "tag": "30"}),
        ("local:101/vm-101-disk-0.raw,size=2G", "scsi0", {"file": "local:101/vm-101-disk-0.raw", "size": "2G"}),
        ("local:1/a.raw,mp=/data", "mp0", {"volume": "local:1/a.raw", "mp": "/data"}),
        ("host,flags=+aes", "cpu", {"cputype": "host", "flags": "+aes"}),
        ("ip=dhcp,ip6=auto", "ipconfig0", {"ip": "dhcp", "ip6": "auto"}),
        ("name=eth0,bridge=vmbr0", "net0", {"name": "eth0", "bridge": "vmbr0"}),
        ("", "", {}),
    ],
)  # fmt: skip
def test_property_strings(text: str, option: str, expected: dict[str, str]) -> None:
    assert FILTERS["from_property_string"](text, option) == expected
    again = FILTERS["to_property_string"](expected, option)
    assert FILTERS["from_property_string"](again, option) == expected


WORD = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-./:+"), min_size=1)


@settings(max_examples=60)
@given(st.dictionaries(WORD, WORD), st.sampled_from(["", "scsi0", "cpu", "rootfs", "agent", "startup"]))
def test_a_property_string_says_what_it_was_made_of(properties: dict[str, str], option: str) -> None:
    assert writing.from_property_string(writing.to_property_string(properties, option), option) == properties


@settings(max_examples=60)
@given(st.sets(st.integers(100, 140)), st.integers(100, 130), st.integers(0, 20))
def test_the_next_free_id_is_free_and_the_lowest(taken: set[int], first: int, more: int) -> None:
    span = range(first, first + more + 1)
    free = [vmid for vmid in span if vmid not in taken]
    if free:
        assert writing.next_free_vmid([str(vmid) for vmid in taken], span[0], span[-1]) == free[0]
    else:
        with pytest.raises(AnsibleFilterError, match="is free"):
            FILTERS["next_free_vmid"](taken, span[0], span[-1])


@pytest.mark.parametrize(
    ("address", "network", "within", "expected"),
    [
        ("192.168.30.5", "192.168.30.0/24", None, True),
        ("192.168.30.5/24", NETWORK, None, True),
        ("192.168.31.5", NETWORK, None, False),
        ("192.168.30.60", NETWORK, "services", True),
        ("192.168.30.81", NETWORK, "services", False),
        ("fd00::5", "fd00::/64", None, True),
        ("fd00::5", NETWORK, None, False),
    ],
)
def test_addresses_in_networks(address: str, network: t.Any, within: str | None, expected: bool) -> None:
    assert IN_NETWORK(address, network, within) is expected


BAD: list[tuple[t.Callable[..., t.Any], tuple[t.Any, ...], str]] = [
    (FILTERS["mib"], ("8 apples",), "mib: size '8 APPLES' is no size"),
    (FILTERS["mib"], (None,), "is no size"),
    (FILTERS["from_property_string"], (7,), "from_property_string: 7 is no text"),
    (FILTERS["from_property_string"], ("=a",), "is no property string"),
    (FILTERS["to_property_string"], ("a=b",), "is no dictionary"),
    (FILTERS["to_property_string"], ({"a": "b,c"},), "cannot stand in a property string"),
    (FILTERS["next_free_vmid"], ([100, 101], 100, 101), "No id from 100 to 101 is free"),
    (FILTERS["next_free_vmid"], ([], 5), "5 to 999999999 is no range of ids"),
    (FILTERS["next_free_vmid"], (["web"],), "'web' is no id of a guest"),
    (FILTERS["address_range"], ("192.168.30.80-60",), "is no range of addresses"),
    (FILTERS["address_range"], (None,), "is no range of addresses"),
    (IN_NETWORK, ("web", NETWORK), "in_network: 'web' is no address"),
    (IN_NETWORK, ("192.168.30.5", "lan"), "'lan' is no network"),
    (IN_NETWORK, ("192.168.30.5", NETWORK, "nodes"), "The network has no range 'nodes'. It has: services."),
]


@pytest.mark.parametrize(("function", "given_", "text"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_input_is_said(function: t.Callable[..., t.Any], given_: tuple[t.Any, ...], text: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        function(*given_)
    assert text in str(caught.value)


# -- the documentation's examples ------------------------------------------------------------------------------------------

#: Filters whose examples need a lab run in the tests of the roles.
NAMES = sorted(
    path
    for path in [*(ROOT / "plugins/filter").glob("*.yml"), *(ROOT / "plugins/test").glob("*.yml")]
    if not path.name.startswith("lab_")
)
#: What the examples take from an inventory.
VARIABLES = {
    "lab_name": "home",
    "lab_networks": {"homelab": {**NETWORK, "ranges": {"services": "192.168.30.60-80", "nodes": "192.168.30.50-59"}}},
    "machine_address": "192.168.30.51",
    "machine_vmid": 200,
    "proxmox_config": {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "scsi0": "local:101/a.raw,size=1G"},
}


def test_the_examples_of_filters_and_tests(tmp_path: pathlib.Path) -> None:
    documents = {path.stem: yaml.safe_load(path.read_text()) for path in NAMES}
    assert {"address_range", "in_network", "mib", "next_free_address", "next_free_vmid"} <= set(documents)
    tasks = [
        {**one, "vars": {"of": name}}
        for name, document in documents.items()
        for one in yaml.safe_load(document["EXAMPLES"])
    ]
    for number, one in enumerate(tasks):
        one["register"] = f"result_{number}"
    names = ", ".join(f"result_{number}" for number in range(len(tasks)))
    report = tmp_path / "report.json"
    last = {"ansible.builtin.copy": {"content": "{{ [%s] | to_json }}" % names, "dest": str(report), "mode": "0600"}}
    playbook = tmp_path / "play.yml"
    play = {"hosts": "web", "connection": "local", "gather_facts": False, "tasks": [*tasks, last]}
    playbook.write_text(yaml.safe_dump([play]))
    variables = {**VARIABLES, "ansible_python_interpreter": sys.executable}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {"web": None}, "vars": variables}}))
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))},
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-m", "ansible.cli.playbook", "-i", str(tmp_path / "inventory.yml"), str(playbook)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(report.read_text())
    assert [result.get("msg") for result in results if result.get("failed")] == [] and len(results) == len(tasks)
    shown = [result.get("msg") or result["ansible_facts"]["pool"]["spec"]["blocks"][0] for result in results]
    found = {task_["vars"]["of"]: value for task_, value in reversed(list(zip(tasks, shown, strict=True)))}
    assert found["address_range"] == {"start": "192.168.30.60", "stop": "192.168.30.80"}
    assert found["from_property_string"] == "vmbr0"
    for name in ("mib", "next_free_vmid", "to_property_string", "next_free_address", "schematic_id"):
        assert found[name] == documents[name]["RETURN"]["_value"]["sample"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty Proxmox host becomes a Ready node, and a second run has nothing to do."""

from __future__ import annotations

import pytest

from .labs import Lab, playbook_writes

pytestmark = pytest.mark.lab


def test_an_empty_host_becomes_a_ready_node_within_a_minute(fresh_lab: Lab) -> None:
    run = fresh_lab.run("bootstrap")
    assert run.rc == 0, run.tail()
    assert run.seconds < 60
    node = fresh_lab.kubernetes("GET", "/api/v1/nodes/talos-cp01")
    ready = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
    assert ready["Ready"] == "True"
    addresses = {address["type"]: address["address"] for address in node["status"]["addresses"]}
    assert addresses["InternalIP"] == "192.168.30.50"


def test_a_second_run_changes_nothing_and_writes_nothing(running_lab: Lab) -> None:
    mark = running_lab.mark()
    runs = [running_lab.run("bootstrap") for _ in range(2)]
    for run in runs:
        assert (run.rc, run.changed, run.failed) == (0, 0, 0), run.tail()
        assert sum(api["writes"] for api in run.requests.values()) == 0
        assert all(api["reads"] > 0 for api in run.requests.values()), run.requests
    assert playbook_writes(running_lab.ledger(mark)) == []
    # The better of two: what else the machine does is not the collection's time.
    assert min(run.seconds for run in runs) < 10


def test_the_virtual_machine_is_what_the_document_says(running_lab: Lab) -> None:
    config = running_lab.proxmox("GET", "/nodes/pve1/qemu/200/config")
    assert (config["cores"], config["memory"], config["cpu"]) == (6, "16384", "x86-64-v2-AES")
    assert config["bios"] == "ovmf" and "efitype=4m" in config["efidisk0"]
    assert "size=100G" in config["scsi0"]
    assert "tag=30" in config["net0"] and "bridge=vmbr0" in config["net0"]


def test_the_kubeconfig_is_private_and_works(running_lab: Lab) -> None:
    mode = running_lab.shell("stat -c '%a' /run/simlab/secrets/kubeconfig /run/simlab/secrets")
    assert mode.split() == ["600", "700"]
    assert running_lab.kubernetes("GET", "/version")["gitVersion"] == "v1.36.3"

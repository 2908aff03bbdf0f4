# SPDX-License-Identifier: GPL-3.0-or-later
"""A bootstrapped lab: its status, whose requests count, and a machine that loses power."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from simlab import client, harness

SOLO = pathlib.Path(__file__).parents[3] / "inventories" / "solo"
VMID, ADDRESS, HYPERVISOR = 200, "192.168.30.50", "192.168.30.10"


@pytest.fixture(scope="module")
def lab() -> t.Iterator[harness.SimulatedLab]:
    with harness.SimulatedLab(SOLO) as running:
        finished = running.run_playbook("bootstrap")
        assert finished.exit == 0, finished.stdout[-4000:]
        yield running


def test_the_status_shows_vms_nodes_members_and_objects(lab: harness.SimulatedLab) -> None:
    status = lab.status()
    assert [(vm["vmid"], vm["status"], vm["config"]["name"]) for vm in status["vms"]] == [
        (VMID, "running", "talos-cp01")
    ]
    (guest,) = status["guests"]
    assert guest["nics"]["net0"]["addresses"] == [f"{ADDRESS}/24"]
    assert (guest["system"]["os"], guest["system"]["stage"]) == ("talos", "running")
    kubernetes = status["kubernetes"]
    assert (kubernetes["members"], kubernetes["nodes"]) == (["talos-cp01"], {"talos-cp01": True})
    assert kubernetes["objects"]["Node"] == 1 and kubernetes["objects"]["Namespace"] >= 4
    assert kubernetes["problem"] is None


def test_only_requests_of_playbooks_are_counted_as_theirs(lab: harness.SimulatedLab) -> None:
    mark = lab.mark()
    run = lab.run_playbook("bootstrap").run
    assert run is not None
    seen = [entry for entry in lab.ledger(mark) if entry["api"] == "kubernetes"]
    assert {entry["caller"] for entry in seen} > {"admin"}  # the node's own components were busy too
    counted = run["requests"]["kubernetes"]
    assert 0 < counted["reads"] + counted["writes"] <= sum(entry["caller"] == "admin" for entry in seen)


def test_a_machine_that_loses_power_is_off_and_comes_back(lab: harness.SimulatedLab) -> None:
    ask = ("curl", "-sSk", "-m", "1", f"https://{ADDRESS}:6443/livez")
    assert lab.exec(*ask).exit == 0
    lab.power_off(VMID)
    assert lab.status()["vms"][0]["status"] == "stopped"
    assert lab.exec(*ask).exit == 28  # curl's number for a time-out
    with pytest.raises(client.LabError, match="no power"):
        lab.power_off(VMID)
    lab.power_on(VMID)
    lab.wait_for(lambda: lab.exec(*ask).exit == 0, 90, "the API server answers after power came back")
    with pytest.raises(client.LabError, match="already running"):
        lab.power_on(VMID)


def test_the_kubeconfig_works_for_whoever_enters_the_lab(lab: harness.SimulatedLab) -> None:
    script = (
        "import kubernetes; kubernetes.config.load_kube_config(); "
        "print([node.metadata.name for node in kubernetes.client.CoreV1Api().list_node().items])"
    )
    said = lab.exec("python3", "-c", script)
    assert said.stdout.strip() == "['talos-cp01']", said.stderr


def test_a_nic_that_is_exchanged_gets_the_addresses_of_its_name(lab: harness.SimulatedLab) -> None:
    """Another card on another VLAN: nobody hears it. A card on the right VLAN again: it has its address again."""
    ask = ("curl", "-sSk", "-m", "1", f"https://{ADDRESS}:6443/livez")
    lab.wait_for(lambda: lab.exec(*ask).exit == 0, 90, "the API server answers")
    known = set_network(lab, "virtio=02:00:00:00:00:01,bridge=vmbr0,tag=31")
    assert lab.exec(*ask).exit in (7, 28)  # curl's numbers for no route and for a time-out
    set_network(lab, known)
    lab.wait_for(lambda: lab.exec(*ask).exit == 0, 30, "the API server answers on the card of before")


def set_network(lab: harness.SimulatedLab, value: str) -> str:
    """Set net0 with curl and the playbooks' token; what it was before."""
    url = f"https://{HYPERVISOR}:8006/api2/json/nodes/pve1/qemu/{VMID}/config"
    shell = 'curl -sSk -m 20 -H "Authorization: PVEAPIToken=ansible@pve!groundwork=$PROXMOX_TOKEN_SECRET"'
    before = json.loads(lab.exec("bash", "-c", f"{shell} {url}").stdout)["data"]["net0"]
    done = lab.exec("bash", "-c", f"{shell} -X PUT --data-urlencode net0={value} {url}")
    assert done.stdout.strip() == '{"data":null}', done
    return str(before)

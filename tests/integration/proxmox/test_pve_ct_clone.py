# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers from other containers, and containers that change their node."""

from __future__ import annotations

import pathlib
import typing as t

import pve_containers as containers
import pytest
from pve_containers import change, config_of, cts, made, status_of, truthful, with_
from pve_lab import PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Refused
from simlab.proxmox.config import AclConfig, NodeConfig, StorageConfig


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    made(pve, with_(vmid=900, hostname="golden", state="stopped"))
    return pve


def clone(**more: t.Any) -> dict[str, t.Any]:
    return {"vmid": 311, "hostname": "copy", "node": "pve1", "clone": {"vmid": 900}, **more}


def test_a_clone_is_made_what_is_wanted_as_check_mode_said(lab: PveLab) -> None:
    wish = clone(
        memory=1024,
        rootfs={"storage": "local", "size": "4G"},
        networks=[{"ip": "192.168.1.9/24", "gateway": "192.168.1.1", "mac": "BC:24:11:00:03:11"}],
        nameservers=["1.1.1.1"],
    )
    outcome = truthful(lab, wish)
    assert outcome.actions == ["ct/311 create", "ct/311 start"]
    after = outcome.changes[0]["after"]
    assert after["clone"] == "900 (full)" and after["memory"] == 1024 and after["hostname"] == "copy"
    assert "swap" not in after, "what the source has is no change"
    config = config_of(lab, 311)
    assert config["rootfs"].endswith("size=4G") and config["mp0"].startswith("local:311/")
    assert "hwaddr=BC:24:11:00:03:11" in config["net0"]


def test_a_clone_without_wishes_has_a_mac_of_its_own(lab: PveLab) -> None:
    assert truthful(lab, clone()).writes == ["POST /nodes/pve1/lxc/900/clone", "POST /nodes/pve1/lxc/311/status/start"]
    assert config_of(lab, 311)["net0"] != config_of(lab, 900)["net0"]


def test_two_clones_of_one_source_in_one_task(lab: PveLab) -> None:
    outcome = truthful(lab, clone(), clone(vmid=312, hostname="copy-2"))
    assert len(outcome.changes) == 4


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (clone(rootfs={"storage": "local", "size": "1G"}), "rootfs of CT 311 (copy) has 2G, wanted are 1G. Volumes only grow"),
        (clone(clone={"vmid": 900, "full": False}), "CT 311 (copy) is to be a linked clone of CT 900, which is no template. Make it a template, or set clone.full to true."),
        (clone(clone={"vmid": 900, "storage": "isoonly"}), "The storage 'isoonly' takes no volumes of containers"),
        (clone(unprivileged=False), "CT 311 (copy) is unprivileged, which cannot be changed."),
        (clone(clone={"vmid": 901}), "CT 311 (copy) is to be a clone of CT 901, which does not exist."),
        (clone(clone={"hostname": "gold"}), "CT 311 (copy) is to be a clone of the container 'gold', which does not exist."),
    ],
)  # fmt: skip
def test_what_a_clone_cannot_be_is_said_before_it_is_made(lab: PveLab, wish: dict[str, t.Any], message: str) -> None:
    for check in (True, False):
        outcome = cts(lab, wish, check=check)
        assert message in outcome.result["msg"]
        assert outcome.writes == []


def test_a_running_source_is_not_cloned(lab: PveLab) -> None:
    lab.do("/nodes/pve1/lxc/900/status/start")
    made(lab, {"vmid": 900, "hostname": "golden", "node": "pve1"})
    outcome = cts(lab, clone())
    assert "is to be a clone of CT 900, which is running. Stop it, or name a snapshot" in outcome.result["msg"]


def test_a_template_serves_clones_and_is_no_container(lab: PveLab) -> None:
    with lab.session() as session:
        session.post("/nodes/pve1/lxc/900/template", asked="make a template")
    outcome = cts(lab, {"vmid": 900, "hostname": "golden", "node": "pve1"})
    assert outcome.result["msg"].startswith("CT 900 (golden) is a template, which cannot be changed into a container.")
    assert truthful(lab, clone(clone={"vmid": 900, "full": True})).actions == ["ct/311 create", "ct/311 start"]


def test_a_source_is_found_by_its_name(lab: PveLab) -> None:
    wish = clone(clone={"hostname": "Golden"}, memory=1024)
    outcome = truthful(lab, wish)
    assert outcome.changes[0]["after"]["clone"] == "900 (full)"
    assert "/cluster/resources" not in [entry.path for entry in made(lab, wish).requests], (
        "nobody looks for it any more"
    )
    made(lab, with_(vmid=901, hostname="golden-2", state="stopped"))
    change(lab, 901, hostname="golden")
    assert made(lab, wish).changes == []
    several = cts(lab, {**wish, "vmid": 312, "hostname": "copy-2"})
    assert (
        "CT 312 (copy-2) is to be cloned by name, and 2 containers have the name 'Golden': 900 on node pve1, 901 on node pve1"
        in several.result["msg"]
    )
    assert several.writes == []


@pytest.mark.parametrize("by", [{"vmid": 900}, {"hostname": "golden"}], ids=["vmid", "name"])
@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_a_clone_with_a_lost_answer_is_waited_for_and_finished(lab: PveLab, fault: str, by: dict[str, t.Any]) -> None:
    """The node works on it under the number of the source."""
    lab.fault(fault, verb="POST", path="/nodes/pve1/lxc/900/clone")
    lab.fault("task-time", verb="POST", path="/nodes/pve1/lxc/900/clone", times=0, seconds=0.4)
    outcome = made(lab, clone(memory=1024, clone=by))
    assert outcome.actions == ["ct/311 create", "ct/311 start"]
    assert int(config_of(lab, 311)["memory"]) == 1024
    lab.faults.clear()
    assert made(lab, clone(memory=1024, clone=by)).changes == []


class Cluster(PveLab):
    """Two nodes that both have storages ``local`` of their own, and share ``nas``."""

    def __init__(self, root: pathlib.Path) -> None:
        super().__init__(root, storages=[StorageConfig("nas", content=("rootdir",), shared=True)])
        self.config.nodes = (NodeConfig(cores=8), NodeConfig("pve2", address="10.66.0.3"))
        self.config.cluster_name = "lab"
        who = ("ansible@pve", "ansible@pve!groundwork")
        self.config.acls += tuple(AclConfig("/nodes/pve2", "AnsibleGuests", one) for one in who)


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with Cluster(tmp_path) as lab:
        containers.put_template(lab)
        yield lab


def test_a_clone_on_another_node_needs_shared_storage(cluster: PveLab) -> None:
    made(cluster, with_(vmid=900, hostname="golden", state="stopped"))
    for check in (True, False):
        outcome = cts(cluster, clone(node="pve2"), check=check)
        assert outcome.result["msg"] == (
            "CT 311 (copy) is to be on node pve2, but its source CT 900 is on node pve1 with volumes on local, which the "
            "nodes do not share. Set clone.storage to a shared storage (with clone.full), or make the clone on node pve1."
        )
        assert outcome.writes == []
    form = {"newid": 311, "target": "pve2", "full": 1}
    with cluster.session() as session, pytest.raises(Refused) as refused:
        session.post("/nodes/pve1/lxc/900/clone", form, asked="the server's own word")
    assert refused.value.answer == "can't clone CT to node 'pve2' (CT uses local storage)"
    there = clone(node="pve2", clone={"vmid": 900, "full": True, "storage": "nas"}, rootfs=None, mounts=None)
    truthful(cluster, there)
    assert config_of(cluster, 311, "pve2")["rootfs"].startswith("nas:311/")
    other = {"vmid": 312, "hostname": "other", "clone": {"vmid": 311}, "state": "present"}
    made(cluster, {"vmid": 311, "hostname": "copy", "node": "pve2", "state": "stopped"})
    truthful(cluster, {**other, "node": "pve1"})


def test_it_stays_where_it_is_unless_moving_is_allowed(cluster: PveLab) -> None:
    made(cluster)
    outcome = made(cluster, with_(node="pve2"))
    assert outcome.changes == []
    assert outcome.warnings == ["CT 310 (traefik) is on node pve1, not on pve2; it stays there, as migrate is not set."]
    running = made(cluster, with_(node="pve2", migrate=True))
    assert running.changes == []
    assert running.warnings[0].startswith("CT 310 (traefik) is on node pve1, not on pve2; it stays there, as a running")
    assert running.result["containers"][0]["node"] == "pve1"


def test_a_stopped_container_moves(cluster: PveLab) -> None:
    made(cluster, with_(state="stopped"))
    outcome = truthful(cluster, with_(node="pve2", migrate=True, state="stopped", memory=1024))
    assert [(change_["action"], change_.get("after")) for change_ in outcome.changes] == [
        ("update", {"node": "pve2"}),
        ("update", {"memory": 1024}),
    ]
    assert int(config_of(cluster, 310, "pve2")["memory"]) == 1024
    assert outcome.result["containers"][0]["node"] == "pve2"


def test_a_running_container_moves_with_a_restart_that_is_allowed(cluster: PveLab) -> None:
    made(cluster)
    change(cluster, nameserver="1.1.1.1")
    wish = with_(node="pve2", migrate=True, allow_restart=True, nameservers=["1.1.1.1"])
    outcome = truthful(cluster, wish)
    assert outcome.actions == ["ct/310 update"]
    assert outcome.changes[0]["note"] == "moves, which restarts it"
    assert status_of(cluster, 310, "pve2") == "running"


def test_a_node_that_is_not_there_is_said_before_it_moves(cluster: PveLab) -> None:
    made(cluster, with_(state="stopped"))
    for node, message in (("pve3", "is to be on node 'pve3', which does not exist"),):
        outcome = cts(cluster, with_(node=node, migrate=True, state="stopped"))
        assert message in outcome.result["msg"]
        assert outcome.writes == []
    bridge = cts(cluster, with_(node="pve2", migrate=True, state="stopped", networks=[{"bridge": "vmbr7"}]))
    assert "is to be on the bridge 'vmbr7', which node pve2 does not have" in bridge.result["msg"]


def test_what_keeps_a_container_on_its_node_is_said_before_anything_is_written(cluster: PveLab) -> None:
    with cluster.session() as session:
        here = {"storage": "here", "type": "dir", "path": "/srv", "content": "rootdir", "nodes": "pve1"}
        session.post("/storage", here, asked="prepare a test")
    mounts = [{"mp": "/data", "storage": "here", "size": "1G"}]
    made(cluster, with_(state="stopped", mounts=mounts))
    wish = with_(state="stopped", node="pve2", migrate=True, cores=2, mounts=[])
    outcome = cts(cluster, wish)
    assert outcome.result["msg"].startswith(
        "CT 310 (traefik) is to move to node pve2, where the storage 'here' of its mp0 is not available."
    )
    assert outcome.writes == []
    change(cluster, delete="mp0")
    change(cluster, mp1="/srv,mp=/media")
    outcome = cts(cluster, {**wish, "mounts": [{"slot": "mp1", "mp": "/media", "source": "/srv"}]})
    assert outcome.result["msg"].startswith(
        "CT 310 (traefik) is to move to node pve2, but its mp1 is /srv, which only node pve1 has."
    )
    assert outcome.writes == []
    assert "cannot migrate local bind mount point 'mp1'" in _log_of_a_move(cluster)
    change(cluster, mp1="/srv,mp=/media,shared=1", delete="unused0")
    made(cluster, with_(state="stopped", node="pve2", migrate=True, mounts=[]))
    assert config_of(cluster, 310, "pve2")["mp1"] == "/srv,mp=/media,shared=1"


def _log_of_a_move(cluster: PveLab) -> str:
    """The server's own words."""
    cluster.do("/nodes/pve1/lxc/310/migrate", target="pve2")
    with cluster.session() as session:
        tasks = session.get("/nodes/pve1/tasks", {"typefilter": "vzmigrate"})
        upid = max(tasks, key=lambda task: task["starttime"])["upid"]
        return "\n".join(line["t"] for line in session.get(f"/nodes/pve1/tasks/{upid}/log"))


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "task-error"])
def test_a_move_that_goes_wrong_is_told_or_made_good(cluster: PveLab, fault: str) -> None:
    made(cluster, with_(state="stopped"))
    more = {"text": "migration aborted"} if fault == "task-error" else {}
    cluster.fault(fault, verb="POST", path="/nodes/pve1/lxc/310/migrate", **more)
    wish = with_(node="pve2", migrate=True, state="stopped")
    outcome = cts(cluster, wish)
    if fault == "task-error":
        assert "Could not move CT 310 (traefik) to node pve2" in outcome.result["msg"]
        assert "migration aborted" in outcome.result["msg"]
    cluster.faults.clear()
    made(cluster, wish)
    assert config_of(cluster, 310, "pve2")
    assert made(cluster, wish).changes == []


# -- high availability, nodes that are off -------------------------------------------------------------------------------


def under_ha(cluster: PveLab, vmid: int = 310) -> None:
    with cluster.session() as session:
        session.post("/cluster/ha/resources", {"sid": f"ct:{vmid}", "state": "started"}, asked="put it under HA")


def test_a_container_under_high_availability_is_waited_for(cluster: PveLab) -> None:
    """Its tasks end when the request is written down; what the manager does about it takes longer."""
    made(cluster)
    under_ha(cluster)
    outcome = truthful(cluster, with_(state="stopped"))
    assert outcome.actions == ["ct/310 stop"]
    assert status_of(cluster) == "stopped"
    assert truthful(cluster).actions == ["ct/310 start"]
    moved = truthful(cluster, with_(node="pve2", migrate=True, allow_restart=True))
    assert moved.actions == ["ct/310 update"]
    assert status_of(cluster, 310, "pve2") == "running"
    gone = truthful(cluster, {"vmid": 310, "state": "absent"})
    assert gone.actions == ["ct/310 stop", "ct/310 delete"]
    with cluster.session() as session:
        assert session.get("/cluster/ha/resources") == []


def test_a_node_that_is_off_is_said_and_nothing_is_written(cluster: PveLab) -> None:
    cluster.server.cluster.nodes["pve2"].online = False
    outcome = cts(cluster, with_(node="pve2"))
    assert "pve2" in outcome.result["msg"] and "offline" in outcome.result["msg"]
    assert outcome.writes == []

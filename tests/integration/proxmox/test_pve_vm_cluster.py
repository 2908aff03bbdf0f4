# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs in a cluster of two nodes: moves, copies of templates on another node, high availability, a node that is off."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from pve_lab import PATHS, ROLE, PveLab
from test_pve_vm import made, truthful, vms

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms import vm_state
from simlab.proxmox.config import NodeConfig, StorageConfig

SHARED: dict[str, t.Any] = {
    "vmid": 400,
    "name": "mover",
    "node": "pve1",
    "state": "started",
    "disks": [{"storage": "nas", "size": "1G"}],
    "networks": [{}],
}
LOCAL = {**SHARED, "vmid": 401, "name": "local", "disks": [{"storage": "local", "size": "1G"}]}


class TwoNodes(PveLab):
    """``pve2`` has no storage ``fast`` and other bridges; ``nas`` is shared."""

    def __init__(self, root: pathlib.Path, *, rights: t.Collection[str] = ROLE) -> None:
        paths = [*PATHS, "/nodes/pve2", "/nodes"]
        super().__init__(root, rights=rights, also={"AnsibleGuests": paths, "AnsibleSystem": ["/"]})
        roles = {**self.config.roles, "AnsibleGuests": tuple(rights)}
        more = (
            StorageConfig("nas", content=("images", "iso"), path="/mnt/nas", shared=True),
            StorageConfig("fast", content=("images",), path="/srv/fast", nodes=("pve1",)),
        )
        nodes = (NodeConfig(cores=8), NodeConfig("pve2", "10.66.0.3", cores=4, bridges=("vmbr0", "vmbr2")))
        self.config = dataclasses.replace(
            self.config, nodes=nodes, storages=(*self.config.storages, *more), roles=roles, cluster_name="lab"
        )


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> t.Iterator[TwoNodes]:
    with TwoNodes(tmp_path) as lab:
        yield lab


def node_of(lab: PveLab, vmid: int) -> str:
    with lab.session() as session:
        entries = session.get("/cluster/resources", {"type": "vm"})
    return next(str(entry["node"]) for entry in entries if entry["vmid"] == vmid)


def on_pve2(wish: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {**wish, "node": "pve2", "migrate": True, **more}


def test_a_vm_stays_where_it_is_unless_it_may_move(cluster: TwoNodes) -> None:
    made(cluster, SHARED)
    stays = made(cluster, {**SHARED, "node": "pve2"})
    assert stays.changes == []
    assert stays.warnings == ["VM 400 (mover) is on node pve1, not on pve2; it stays there. migrate moves it."]
    assert stays.result["vms"][0]["node"] == "pve1"


@pytest.mark.parametrize("wish", [SHARED, LOCAL], ids=["shared", "local"])
def test_a_running_vm_moves_while_it_runs_and_is_changed_there(cluster: TwoNodes, wish: dict[str, t.Any]) -> None:
    vmid = wish["vmid"]
    made(cluster, wish)
    outcome = truthful(cluster, on_pve2(wish, networks=[{"bridge": "vmbr2"}], description="moved"))
    assert outcome.actions == [f"vm/{vmid} update", f"vm/{vmid} update"]
    assert outcome.changes[0] == {
        "resource": f"vm/{vmid}",
        "action": "update",
        "before": {"node": "pve1"},
        "after": {"node": "pve2"},
        "note": "while it runs",
    }
    assert node_of(cluster, vmid) == "pve2"
    with cluster.session() as session:
        config = session.get(f"/nodes/pve2/qemu/{vmid}/config")
        assert session.get(f"/nodes/pve2/qemu/{vmid}/status/current")["status"] == "running"
    assert "bridge=vmbr2" in config["net0"] and config["description"] == "moved"
    assert outcome.result["vms"][0]["node"] == "pve2"


def test_a_vm_that_is_to_be_stopped_moves_after_that(cluster: TwoNodes) -> None:
    made(cluster, LOCAL)
    outcome = truthful(cluster, on_pve2(LOCAL, state="stopped"), shutdown_timeout=1)
    assert outcome.actions == ["vm/401 stop", "vm/401 update"]
    assert "note" not in outcome.changes[1]
    assert truthful(cluster, {**LOCAL, "migrate": True}).actions == ["vm/401 update", "vm/401 start"]
    assert node_of(cluster, 401) == "pve1"


def test_what_stands_in_the_way_of_a_move_is_said_beforehand(cluster: TwoNodes) -> None:
    iso = cluster.config.root / "pve1" / "local" / "template" / "iso"
    iso.mkdir(parents=True)
    (iso / "debian.iso").write_bytes(b"\0" * 40000)
    made(cluster, {**SHARED, "cdroms": [{"iso": "local:iso/debian.iso"}]})
    made(cluster, {**LOCAL, "disks": [{"storage": "fast", "size": "1G"}]})
    unknown = {**SHARED, "node": "pve3", "migrate": True}
    for wish, message in (
        (on_pve2(SHARED), "cannot move to node pve2: the VM has CDs of its node in its drives (local:iso/debian.iso)"),
        (on_pve2(LOCAL, disks=[]), "cannot move to node pve2: the node lacks the storages (fast). Define them there"),
        (unknown, "is to be on node 'pve3', which does not exist. There are: pve1, pve2."),
        (
            on_pve2(LOCAL, disks=[], networks=[{"bridge": "vmbr1"}]),
            "is to be on the bridge 'vmbr1', which node pve2 does not have",
        ),
    ):
        for check in (True, False):
            outcome = vms(cluster, wish, check=check)
            assert message in outcome.result["msg"]
            assert outcome.writes == []
    truthful(cluster, on_pve2(SHARED, cdroms=[]) | {"cdroms": [{}], "migrate": False, "node": "pve1"})
    truthful(cluster, on_pve2(SHARED))


def test_the_right_to_move_is_named_beforehand(tmp_path: pathlib.Path) -> None:
    with TwoNodes(tmp_path, rights=[right for right in ROLE if right != "VM.Migrate"]) as lab:
        made(lab, SHARED)
        outcome = vms(lab, on_pve2(SHARED))
        assert "VM.Migrate on /vms/400 (move VM 400 to node pve2)" in outcome.result["msg"]
        assert outcome.writes == []


def test_a_move_whose_answer_was_lost_is_looked_after(cluster: TwoNodes) -> None:
    made(cluster, SHARED)
    cluster.fault("drop-after", verb="POST", path="*/migrate")
    made(cluster, on_pve2(SHARED))
    assert node_of(cluster, 400) == "pve2"


def test_a_vm_that_arrives_between_two_looks_is_looked_for_again(
    cluster: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(cluster, SHARED)
    ask, asked = vm_state._migration, []

    def moved_meanwhile(session: Session, vmid: int, node: str, target: str) -> dict[str, t.Any]:
        if not asked:
            with cluster.session() as root:
                form = {"target": "pve2", "online": 1}
                Tasks(root, pytest.fail).do(
                    lambda: root.post("/nodes/pve1/qemu/400/migrate", form, asked="move"), asked="move"
                )
        asked.append(node)
        return ask(session, vmid, node, target)

    monkeypatch.setattr(vm_state, "_migration", moved_meanwhile)
    outcome = made(cluster, on_pve2(SHARED))
    assert outcome.changes == []
    assert asked == ["pve1"]
    assert node_of(cluster, 400) == "pve2"


# -- copies -----------------------------------------------------------------------------------------------------------


def template(storage: str) -> dict[str, t.Any]:
    return {**SHARED, "vmid": 9000, "name": "debian-13", "state": "stopped", "template": True} | {
        "disks": [{"storage": storage, "size": "1G", "format": "qcow2"}]
    }


COPY: dict[str, t.Any] = {"vmid": 410, "name": "copy", "node": "pve2", "clone": {"name": "debian-13"}, "networks": [{}]}


def test_a_template_on_shared_storage_is_copied_to_another_node(cluster: TwoNodes) -> None:
    made(cluster, template("nas"))
    outcome = truthful(cluster, {**COPY, "memory": 1024, "disks": [{"size": "2G"}]})
    assert outcome.actions == ["vm/410 create", "vm/410 start"]
    assert node_of(cluster, 410) == "pve2"


def test_a_template_on_a_node_of_its_own_is_copied_in_full_and_moved(cluster: TwoNodes) -> None:
    made(cluster, template("local"))
    linked = vms(cluster, COPY)
    assert "its template 9000 is on node pve1 with disks on local, which only that node has" in linked.result["msg"]
    assert linked.writes == []
    full = {"vmid": 9000, "full": True}
    outcome = truthful(cluster, {**COPY, "clone": full, "disks": [{"size": "2G"}]})
    assert node_of(cluster, 410) == "pve2"
    assert [write.rpartition("/")[2] for write in outcome.writes] == ["clone", "migrate", "resize", "start"]


@pytest.mark.parametrize("call", ["clone", "migrate"])
@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "garbage"])
def test_a_copy_that_moves_arrives_when_an_answer_was_lost(cluster: TwoNodes, call: str, fault: str) -> None:
    """It is moved because it was copied for another node, not because ``migrate`` allows it."""
    made(cluster, template("local"))
    wish = {**COPY, "clone": {"vmid": 9000, "full": True}, "disks": [{"size": "2G"}], "memory": 1024}
    hit = cluster.fault(fault, verb="POST", path=f"*/{call}")
    outcome = made(cluster, wish)
    assert hit.hit
    assert outcome.result["vms"][0]["node"] == node_of(cluster, 410) == "pve2"
    assert outcome.warnings == []
    with cluster.session() as session:
        config = session.get("/nodes/pve2/qemu/410/config")
        assert session.get("/nodes/pve2/qemu/410/status/current")["status"] == "running"
        started = [task["node"] for task in session.get("/cluster/tasks") if task["type"] == "qmstart"]
    assert (config["memory"], config["scsi0"].rpartition("size=")[2]) == ("1024", "2G")
    assert started == ["pve2"], "it never ran where its template is"
    cluster.faults.clear()
    assert made(cluster, wish).changes == []


def test_a_vm_that_somebody_else_made_elsewhere_meanwhile_is_warned_of(
    cluster: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only a later look of the same run sees is said, too."""
    wish = {**LOCAL, "vmid": 402, "name": "late", "node": "pve2", "state": "present", "disks": [], "networks": []}
    real = Session.post

    def overtaken(session: Session, path: str, form: t.Any = None, *, asked: str) -> t.Any:
        if path == "/nodes/pve2/qemu":
            with cluster.session() as root:
                own = {"vmid": 402, "name": "late"}
                Tasks(root, pytest.fail).do(lambda: real(root, "/nodes/pve1/qemu", own, asked="make"), asked="make")
        return real(session, path, form, asked=asked)

    monkeypatch.setattr(Session, "post", overtaken)
    outcome = made(cluster, wish)
    assert outcome.warnings == ["VM 402 (late) is on node pve1, not on pve2; it stays there. migrate moves it."]
    assert node_of(cluster, 402) == "pve1"


# -- high availability ------------------------------------------------------------------------------------------------


def test_power_of_a_managed_vm_is_asked_of_the_ha_manager_and_awaited(cluster: TwoNodes) -> None:
    made(cluster, {**SHARED, "state": "stopped"})
    with cluster.session() as session:
        session.post("/cluster/ha/resources", {"sid": "vm:400", "state": "stopped"}, asked="manage")
    started = truthful(cluster, SHARED)
    assert started.changes == [{"resource": "vm/400", "action": "start", "note": "by the HA manager"}]
    assert cluster.status_of(400) == "running"
    moved = truthful(cluster, on_pve2(SHARED))
    assert moved.actions == ["vm/400 update"]
    assert node_of(cluster, 400) == "pve2"
    truthful(cluster, on_pve2(SHARED, state="stopped"))
    with cluster.session() as session:
        assert session.get("/nodes/pve2/qemu/400/status/current")["status"] == "stopped"
        assert session.get("/cluster/ha/resources/vm:400")["state"] == "stopped"
    truthful(cluster, {"vmid": 400, "state": "absent"})
    with cluster.session() as session:
        assert session.get("/cluster/ha/resources") == []


def test_an_ha_manager_that_does_nothing_is_waited_for_until_the_deadline(cluster: TwoNodes) -> None:
    made(cluster, {**SHARED, "state": "stopped"})
    with cluster.session() as session:
        session.post("/cluster/ha/resources", {"sid": "vm:400", "state": "stopped"}, asked="manage")
    cluster.config.ha_manager = False
    outcome = vms(cluster, SHARED, task_timeout=1)
    assert "Could not see VM 400 (mover) running within 1 s" in outcome.result["msg"]
    assert "the HA manager is asked for it, it is stopped" in outcome.result["msg"]


# -- a node that is off -----------------------------------------------------------------------------------------------


def test_a_node_that_is_off_is_said_for_its_vms_and_for_new_ones(cluster: TwoNodes) -> None:
    made(cluster, on_pve2(SHARED), LOCAL)
    cluster.server.cluster.nodes["pve2"].online = False
    new = vms(cluster, {**LOCAL, "vmid": 402, "name": "new", "node": "pve2"})
    assert "the node is offline" in new.result["msg"]
    theirs = vms(cluster, on_pve2(SHARED, memory=1024))
    assert theirs.result["error"]["kind"] == "Unreachable"
    assert new.writes == theirs.writes == []
    assert made(cluster, LOCAL).changes == []

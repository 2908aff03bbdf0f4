# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's session on a cluster: nodes that are off, HA, tickets that expire in the middle, locks, names that move."""

from __future__ import annotations

import pathlib
import threading
import time
import typing as t

import pytest
from pve_lab import PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Unauthenticated, Unreachable
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.answers import Locked
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.connection import Connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session
from simlab.proxmox.config import AclConfig, NodeConfig, StorageConfig

DISK = "shared:1"


class Cluster(PveLab):
    """Nodes pve1 and pve2, a storage that both have, VM 200 on pve1, VM 201 on pve2."""

    def __init__(self, root: pathlib.Path) -> None:
        super().__init__(root)
        self.config.nodes = (NodeConfig(cores=8), NodeConfig("pve2", address="10.66.0.3", cores=8))
        self.config.cluster_name = "lab"
        self.config.storages += (
            StorageConfig("shared", "nfs", shared=True, options={"server": "nas", "export": "/lab"}),
        )
        who = ("ansible@pve", "ansible@pve!groundwork")
        self.config.acls += tuple(AclConfig("/nodes/pve2", "AnsibleGuests", one) for one in who)


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with Cluster(tmp_path) as made:
        with made.session() as session:
            for vmid, node in ((200, "pve1"), (201, "pve2")):
                form = {"vmid": vmid, "scsi0": DISK, "memory": 64}
                done(session, session.post(f"/nodes/{node}/qemu", form, asked="make a VM"))
        yield made


def done(session: Session, upid: str) -> None:
    """Wait for a task."""
    path = f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status"
    until(lambda: session.get(path)["status"] == "stopped")


def until(what: t.Callable[[], bool]) -> None:
    for _ in range(500):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come about")


# -- nodes that are off -------------------------------------------------------------------------------------------


def test_a_node_that_is_off_is_named_and_the_others_go_on(lab: PveLab) -> None:
    lab.server.cluster.nodes["pve2"].online = False
    with lab.session() as session:
        states = {one["node"]: one["status"] for one in session.get("/nodes")}
        assert states == {"pve1": "online", "pve2": "offline"}
        guests = {one["vmid"]: one["status"] for one in session.get("/cluster/resources", {"type": "vm"})}
        assert guests == {200: "stopped", 201: "unknown"}
        assert session.get("/nodes/pve1/qemu/200/config")["memory"] == "64"
        with pytest.raises(Unreachable, match="No route to host") as error:
            session.get("/nodes/pve2/qemu/201/config")
        assert "offline" in str(error.value.hint)


def test_a_write_to_a_node_that_is_off_is_not_sent_again_and_again(lab: PveLab) -> None:
    lab.server.cluster.nodes["pve2"].online = False
    mark = lab.ledger.mark()
    with lab.session() as session, pytest.raises(Unreachable):
        session.put("/nodes/pve2/qemu/201/config", {"memory": 128}, asked="change VM 201")
    sent = [entry for entry in lab.ledger.entries(mark) if entry.write and entry.path != "/access/ticket"]
    assert len(sent) == 1


# -- high availability --------------------------------------------------------------------------------------------


def test_ha_starts_and_moves_a_guest_a_little_later_than_its_task_says(lab: PveLab) -> None:
    with lab.session() as session:
        session.post("/cluster/ha/resources", {"sid": "vm:200", "state": "stopped"}, asked="put it under HA")
        upid = session.post("/nodes/pve1/qemu/200/status/start", asked="start it")
        assert ":hastart:" in upid
        done(session, upid)
        until(lambda: session.get("/nodes/pve1/qemu/200/status/current")["status"] == "running")
        moved = session.post("/nodes/pve1/qemu/200/migrate", {"target": "pve2", "online": 1}, asked="move it")
        assert ":hamigrate:" in moved
        done(session, moved)
        until(lambda: any(one["vmid"] == 200 for one in session.get("/nodes/pve2/qemu")))
        until(lambda: session.get("/nodes/pve2/qemu/200/status/current")["status"] == "running")
        assert session.get("/nodes/pve2/qemu/200/status/current")["ha"]["state"] == "started"


# -- tickets ------------------------------------------------------------------------------------------------------


def expire(lab: PveLab) -> None:
    """Three hours later, for whoever looks at tickets."""
    authentication = lab.server.authentication
    before = authentication._clock
    authentication._clock = lambda: before() + 3 * 3600


def test_a_ticket_that_expires_in_the_middle_is_renewed_once(lab: PveLab) -> None:
    with lab.session() as session:
        session.get("/version")
        expire(lab)
        mark = lab.ledger.mark()
        session.put("/nodes/pve1/qemu/200/config", {"memory": 128}, asked="change VM 200")
        seen = [f"{one.verb} {one.path} {one.result}" for one in lab.ledger.entries(mark)]
        path = "PUT /nodes/pve1/qemu/200/config"
        assert seen == [f"{path} 401", "POST /access/ticket 200", f"{path} 200"]


def test_many_threads_renew_a_ticket_together(lab: PveLab) -> None:
    with lab.session() as session:
        session.get("/version")
        expire(lab)
        mark = lab.ledger.mark()
        found: list[t.Any] = []
        threads = [threading.Thread(target=lambda: found.append(session.get("/version"))) for _ in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
        assert len(found) == 6
        logins = [one for one in lab.ledger.entries(mark) if one.path == "/access/ticket"]
        assert len(logins) == 1


def test_a_token_that_is_gone_in_the_middle_is_an_error_that_names_it(lab: PveLab) -> None:
    with Session(Connection.of(lab.connection())) as session:
        session.get("/version")
        del lab.server.cluster.access.users["ansible@pve"].tokens["groundwork"]
        with pytest.raises(Unauthenticated) as error:
            session.get("/nodes/pve1/qemu/200/config")
        assert "ansible@pve!groundwork" in f"{error.value} {error.value.hint}"


# -- locks --------------------------------------------------------------------------------------------------------


def test_a_lock_is_waited_for_and_one_that_stays_is_told(lab: PveLab) -> None:
    options = lab.server.cluster.guests[200].options
    options["lock"] = "backup"
    timer = threading.Timer(0.5, lambda: options.pop("lock"))
    timer.start()
    with lab.session() as session:
        session.put("/nodes/pve1/qemu/200/config", {"memory": 256}, asked="change VM 200")
        assert session.get("/nodes/pve1/qemu/200/config")["memory"] == "256"
    options["lock"] = "backup"
    connection = Connection.of({**lab.root_connection(), "task_timeout": 1.0})
    with Session(connection) as session, pytest.raises(Locked, match="locked \\(backup\\)"):
        session.put("/nodes/pve1/qemu/200/config", {"memory": 128}, asked="change VM 200")
    options.pop("lock")

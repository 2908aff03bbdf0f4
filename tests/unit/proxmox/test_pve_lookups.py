# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookups where nodes are offline or old: what a played server of one version cannot show."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import (
    Refused,
    Unauthenticated,
    Unreachable,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.facts import (
    guest_facts,
    node_facts,
    task_facts,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.web import NeverSent

NODES = [{"node": "pve1", "status": "online"}, {"node": "pve2", "status": "offline"}]


class Answers:
    """A session that knows these paths."""

    of = "Proxmox VE at test"

    def __init__(self, **paths: t.Any) -> None:
        self.paths = {"/nodes": NODES, **paths}
        self.asked: list[str] = []

    def get(self, path: str, query: t.Any = None, *, asked: str = "") -> t.Any:
        self.asked.append(path)
        found = self.paths.get(path)
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise Refused(asked, answer=f"unexpected {path}")
        return found


def session(**paths: t.Any) -> t.Any:
    return Answers(**paths)


def guest(vmid: int, **more: t.Any) -> dict[str, t.Any]:
    return {"vmid": vmid, "node": "pve1", "type": "qemu", "status": "running", "name": f"vm{vmid}", **more}


def test_guests_of_a_node_that_is_offline_are_listed_and_not_asked() -> None:
    lost = {"vmid": 201, "node": "pve2", "type": "qemu", "status": "unknown", "tags": "b;A"}
    api = session(**{"/cluster/resources": [guest(200), lost]})
    found = guest_facts.basic(api)
    assert [one["status"] for one in found] == ["running", "unknown"]
    assert found[1]["errors"] == {"status": "node pve2 is offline"}
    assert found[1]["tags"] == ["a", "b"]
    api.paths["/nodes/pve1/qemu/200/config"] = {"name": "vm200"}
    guest_facts.gather(api, found, ["config"])
    assert found[0]["config"] == {"name": "vm200"}
    assert found[1]["errors"]["config"] == "node pve2 is offline"
    assert not any("/201/" in path for path in api.asked)


def test_a_container_before_version_9_has_addresses_with_a_prefix() -> None:
    old = [{"name": "eth0", "hwaddr": "bc:24:11:00:00:02", "inet": "10.0.0.2/24", "inet6": "fe80::2/64"}]
    new = [{"name": "eth0", "hardware-address": "bc:24:11:00:00:02", "ip-addresses": [{"ip-address": "10.0.0.2"}]}]
    for interfaces in (old, new):
        one = guest_facts._guest(guest(310, type="lxc"))
        guest_facts.gather(session(**{"/nodes/pve1/lxc/310/interfaces": interfaces}), [one], ["agent"])
        assert one["agent"]["addresses"] == ["10.0.0.2"]
        assert one["agent"]["interfaces"][0]["mac"] == "BC:24:11:00:00:02"


def test_an_agent_that_does_not_know_its_system_still_tells_its_addresses() -> None:
    answer = {"result": [{"name": "eth0", "ip-addresses": [{"ip-address": "192.0.2.9"}, {"ip-address": "odd"}]}]}
    path = "/nodes/pve1/qemu/200/agent"
    one = guest_facts._guest(guest(200))
    guest_facts.gather(session(**{f"{path}/network-get-interfaces": answer}), [one], ["agent"])
    assert (one["agent"]["addresses"], one["agent"]["os"], one["errors"]) == (["192.0.2.9"], {}, {})


@pytest.mark.parametrize("error", [Unauthenticated("read"), NeverSent("read")])
def test_that_nobody_answers_or_knows_us_is_no_error_of_one_guest(error: Exception) -> None:
    with pytest.raises(type(error)):
        guest_facts.gather(
            session(**{"/nodes/pve1/qemu/200/config": error}), [guest_facts._guest(guest(200))], ["config"]
        )


def test_a_guest_that_is_slow_is_slow_alone() -> None:
    slow = Unreachable("read", answer="no answer within 30 s")
    guests = [guest_facts._guest(guest(vmid)) for vmid in (200, 201)]
    answers = {"/nodes/pve1/qemu/200/snapshot": slow, "/nodes/pve1/qemu/201/snapshot": [{"name": "current"}]}
    guest_facts.gather(session(**answers), guests, ["snapshots"])
    assert "no answer within 30 s" in guests[0]["errors"]["snapshots"]
    assert guests[1]["snapshots"] == []


def test_nodes_and_storages_of_a_node_that_is_offline() -> None:
    api = session(**{"/nodes/pve1/version": {"version": "9.1.8"}})
    nodes = node_facts._nodes(api)
    for node in nodes:
        node_facts._more(api, node, ["version"])
    assert nodes[0]["version"]["version"] == "9.1.8"
    assert nodes[1]["errors"] == {"version": "node pve2 is offline"}
    assert node_facts._storages(api, nodes[1]) == []
    assert nodes[1]["errors"]["storages"] == "node pve2 is offline"
    assert [path for path in api.asked if "pve2" in path] == []


def test_tasks_of_a_node_that_is_offline_are_said_to_be_missing() -> None:
    entry = {"upid": "u", "node": "pve1", "type": "vzdump", "starttime": 5, "endtime": 9, "status": "WARNINGS: 2"}
    errors: dict[str, str] = {}
    found = task_facts._lists(session(**{"/nodes/pve1/tasks": [entry]}), {"limit": 5}, errors)
    assert [(one["state"], one["ended"], one["exit_status"]) for one in found] == [("warnings", 9, "WARNINGS: 2")]
    assert errors == {"pve2": "it is offline"}

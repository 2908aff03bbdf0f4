# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts whose answers are lost: a guest that ran runs again, and none is restarted twice. VMs and containers."""

from __future__ import annotations

import collections
import copy
import dataclasses
import typing as t

import pve_containers as containers
import pytest
from pve_lab import Outcome, PveLab
from test_pve_vm_parts import SMALL

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_lxc, proxmox_vm


@dataclasses.dataclass(frozen=True)
class Kind:
    """``start`` and ``stop`` are kinds of task. ``pending`` is a change of a running guest that waits for a restart."""

    module: t.Any
    option: str
    guest: dict[str, t.Any]
    api: str
    start: str
    stop: str
    pending: dict[str, t.Any]

    def wish(self, **more: t.Any) -> dict[str, t.Any]:
        return {**copy.deepcopy(self.guest), **more}

    def other(self, **more: t.Any) -> dict[str, t.Any]:
        """A second guest, that needs no MAC of its own."""
        name = "hostname" if "hostname" in self.guest else "name"
        return self.wish(**{"vmid": self.guest["vmid"] + 1, name: "other", "networks": [], **more})

    def run(self, lab: PveLab, *wishes: dict[str, t.Any]) -> Outcome:
        outcome = lab.run(self.module, shutdown_timeout=20, **{self.option: list(wishes)})
        assert not outcome.result.get("failed"), outcome.result
        return outcome

    def status(self, lab: PveLab, wish: dict[str, t.Any]) -> str:
        with lab.session() as session:
            return str(session.get(f"/nodes/pve1/{self.api}/{wish['vmid']}/status/current")["status"])

    def done(self, lab: PveLab, wish: dict[str, t.Any]) -> collections.Counter[str]:
        """How often the node has worked on the guest, by kind of task."""
        with lab.session() as session:
            found = session.get("/nodes/pve1/tasks", {"vmid": wish["vmid"], "source": "all"})
        return collections.Counter(str(entry["type"]) for entry in found)


CT = {
    "vmid": 310,
    "hostname": "small",
    "node": "pve1",
    "ostemplate": containers.TEMPLATE,
    "rootfs": {"storage": "local", "size": "1G"},
    "networks": [{}],
}
KINDS = {
    "vm": Kind(proxmox_vm, "vms", SMALL, "qemu", "qmstart", "qmshutdown", {"memory": 1024}),
    "ct": Kind(proxmox_lxc, "containers", CT, "lxc", "vzstart", "vzshutdown", {"timezone": "Europe/Berlin"}),
}
LOST = ("drop-before", "drop-after", "garbage")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    return pve


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("call", ["shutdown", "start"])
def test_a_restart_that_pending_options_need_never_leaves_the_guest_off(
    lab: PveLab, kind: Kind, call: str, fault: str
) -> None:
    """``present`` leaves alone whether a guest runs: only the run itself knows that it is in the middle of a restart."""
    kind.run(lab, kind.wish(state="started"))
    wish = kind.wish(state="present", allow_restart=True, **kind.pending)
    hit = lab.fault(fault, verb="POST", path=f"*/status/{call}")
    outcome = kind.run(lab, wish)
    assert hit.hit
    assert outcome.result[kind.option][0]["status"] == "running"
    assert kind.status(lab, wish) == "running"
    done = kind.done(lab, wish)
    assert (done[kind.stop], done[kind.start]) == (1, 2), "once when it was made, and once more"
    lab.faults.clear()
    again = kind.run(lab, wish)
    assert (again.changes, again.result[kind.option][0]["pending"]) == ([], [])


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("call", ["shutdown", "start"])
def test_a_guest_is_restarted_once(lab: PveLab, kind: Kind, call: str, fault: str) -> None:
    kind.run(lab, kind.wish(state="started"))
    wish = kind.wish(state="restarted")
    hit = lab.fault(fault, verb="POST", path=f"*/status/{call}")
    kind.run(lab, wish)
    assert hit.hit
    assert kind.status(lab, wish) == "running"
    done = kind.done(lab, wish)
    assert (done[kind.stop], done[kind.start]) == (1, 2)


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_both_answers_of_a_restart_may_be_lost(lab: PveLab, kind: Kind, fault: str) -> None:
    kind.run(lab, kind.wish(state="started"))
    wish = kind.wish(state="restarted")
    lab.fault("drop-after", verb="POST", path="*/status/shutdown")
    lab.fault(fault, verb="POST", path="*/status/start")
    kind.run(lab, wish)
    assert kind.status(lab, wish) == "running"
    done = kind.done(lab, wish)
    assert (done[kind.stop], done[kind.start]) == (1, 2)


def test_the_lost_answer_of_one_guest_does_not_restart_another_again(lab: PveLab, kind: Kind) -> None:
    kind.run(lab, kind.wish(state="started"), kind.other(state="started"))
    one, other = kind.wish(state="restarted"), kind.other(state="restarted")
    hit = lab.fault("drop-before", verb="POST", path=f"*/{other['vmid']}/status/shutdown")
    kind.run(lab, one, other)
    assert hit.hit
    assert [kind.done(lab, wish)[kind.stop] for wish in (one, other)] == [1, 1]


@pytest.mark.parametrize("fault", LOST)
def test_a_vm_is_reset_once(lab: PveLab, fault: str) -> None:
    kind = KINDS["vm"]
    kind.run(lab, kind.wish(state="started"), kind.other(state="started"))
    one, other = kind.wish(state="reset"), kind.other(state="reset")
    hit = lab.fault(fault, verb="POST", path=f"*/{other['vmid']}/status/reset")
    kind.run(lab, one, other)
    assert hit.hit
    assert [kind.done(lab, wish)["qmreset"] for wish in (one, other)] == [1, 1]

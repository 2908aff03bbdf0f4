# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_lxc``: what the server makes of what it is sent, and what it does not let anybody do."""

from __future__ import annotations

import typing as t

import pve_containers as containers
import pytest
from pve_containers import CT, change, config_of, cts, made, truthful, with_
from pve_lab import PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers.ct_apply import Applier


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    return pve


@pytest.mark.parametrize(("wanted", "kept"), [(50000, 10000), (0, 1)])
def test_a_weight_is_what_the_cgroup_takes(lab: PveLab, wanted: int, kept: int) -> None:
    """The server keeps 1 to 10000 of the 0 to 500000 that it accepts."""
    truthful(lab, with_(state="stopped", cpuunits=wanted))
    assert config_of(lab)["cpuunits"] == kept
    change(lab, cpuunits=200)
    outcome = truthful(lab, with_(state="stopped", cpuunits=wanted))
    assert outcome.changes[0]["after"] == {"cpuunits": kept}


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_memory_and_swap_are_unset_to_what_the_server_gives_new_containers(lab: PveLab, state: str) -> None:
    """Memory cannot be deleted, and deleting swap takes all of it from a running container."""
    wish = {key: value for key, value in with_(state=state).items() if key not in ("memory", "swap")}
    made(lab, {**wish, "memory": 2048, "swap": 0})
    outcome = truthful(lab, {**wish, "unset": ["memory", "swap", "swap"]})
    assert outcome.changes[0]["after"] == {"memory": 512, "swap": 512}
    assert (config_of(lab)["memory"], config_of(lab)["swap"]) == (512, 512)


CHANGED_MOUNTS: list[tuple[str, dict[str, t.Any]]] = [
    ("mp0", {"mounts": [{**CT["mounts"][0], "readonly": True}]}),
    ("mp1", {"mounts": [CT["mounts"][0], {"mp": "/more", "storage": "local", "size": "1G"}]}),
    ("rootfs", {"rootfs": {**CT["rootfs"], "mount_options": ["noatime"]}}),
]


@pytest.mark.parametrize(("slot", "more"), CHANGED_MOUNTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mount_of_a_protected_container_changes_only_without_the_protection(
    lab: PveLab, slot: str, more: dict[str, t.Any]
) -> None:
    made(lab, with_(state="stopped", protection=True))
    wish = with_(state="stopped", **more)
    outcome = cts(lab, {**wish, "cores": 2})
    assert outcome.result["msg"].startswith(f"CT 310 (traefik) is protected, so {slot} cannot be changed.")
    assert outcome.writes == []
    assert truthful(lab, {**wish, "protection": False}).actions == ["ct/310 update"]


def test_a_volume_of_a_protected_container_grows(lab: PveLab) -> None:
    made(lab, with_(state="stopped", protection=True))
    assert truthful(lab, with_(state="stopped", rootfs={"storage": "local", "size": "3G"})).actions == ["ct/310 update"]


def test_protection_comes_after_the_mounts_that_change_with_it(lab: PveLab) -> None:
    made(lab, with_(state="stopped"))
    wish = with_(
        state="stopped", protection=True, rootfs={"storage": "local", "size": "3G", "mount_options": ["noatime"]}
    )
    assert truthful(lab, wish).actions == ["ct/310 update"]
    assert config_of(lab)["protection"] == 1


def test_one_that_runs_already_is_started(lab: PveLab) -> None:
    """Somebody was faster; the server refuses to start a running container."""
    made(lab, with_(state="stopped"))
    text = "CT 310 already running"
    lab.fault("answer", verb="POST", path="/nodes/pve1/lxc/310/status/start", status=500, text=text)
    assert made(lab).actions == ["ct/310 start"]


@pytest.mark.parametrize("wish", [with_(state="stopped"), {"vmid": 310, "state": "absent"}], ids=["stopped", "absent"])
def test_one_that_has_stopped_already_is_stopped(
    lab: PveLab, wish: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stop by itself after it was looked at; the server refuses to stop it then."""
    made(lab)
    apply = Applier.apply

    def late(self: Applier, plan: t.Any) -> None:
        lab.do("/nodes/pve1/lxc/310/status/stop")
        apply(self, plan)

    monkeypatch.setattr(Applier, "apply", late)
    assert made(lab, wish).actions[0] == "ct/310 stop"


@pytest.mark.parametrize("mac", [{}, {"mac": "BC:24:11:00:00:AA"}], ids=["left out", "given"])
def test_a_mac_keeps_its_spelling(lab: PveLab, mac: dict[str, str]) -> None:
    """For the server another spelling is another card: a running container would lose its own, with its addresses."""
    made(lab)
    change(lab, net0="name=eth0,bridge=vmbr0,hwaddr=bc:24:11:00:00:aa,ip=192.168.1.4/24")
    truthful(lab, with_(networks=[{"ip": "192.168.1.5/24", **mac}]))
    assert config_of(lab)["net0"] == "name=eth0,bridge=vmbr0,hwaddr=bc:24:11:00:00:aa,ip=192.168.1.5/24,type=veth"

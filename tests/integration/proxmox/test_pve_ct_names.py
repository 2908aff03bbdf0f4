# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are given by their names: found, renamed, made under free numbers."""

from __future__ import annotations

import typing as t

import pve_containers as containers
import pytest
from pve_containers import change, config_of, cts, made, truthful, vmids, with_
from pve_lab import PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers import ct_apply


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    return pve


def named(hostname: str, **more: t.Any) -> dict[str, t.Any]:
    wish = with_(hostname=hostname, state="stopped", networks=None, **more)
    return {key: value for key, value in wish.items() if key != "vmid"}


def test_a_container_is_found_by_its_hostname(lab: PveLab) -> None:
    made(lab, with_(state="stopped"))
    wish = {"hostname": "Traefik", "node": "pve1", "state": "present", "memory": 1024}
    outcome = truthful(lab, wish)
    assert outcome.actions == ["ct/310 update"]
    assert outcome.result["containers"][0]["vmid"] == 310
    assert truthful(lab, {"hostname": "traefik", "state": "absent"}).actions == ["ct/310 delete"]
    gone = made(lab, {"hostname": "traefik", "state": "absent"})
    assert gone.changes == []
    assert (gone.result["containers"][0]["vmid"], gone.result["containers"][0]["status"]) == (None, "absent")


def test_a_name_that_several_have_is_refused_with_their_numbers(lab: PveLab) -> None:
    made(lab, with_(state="stopped"), with_(vmid=311, hostname="other", networks=None, state="stopped"))
    change(lab, 311, hostname="traefik")
    for wish in (named("traefik"), {"hostname": "traefik", "state": "absent"}):
        outcome = cts(lab, wish)
        assert (
            "the container 'traefik' is given without vmid, and 2 containers have the name 'traefik': 310 on node pve1, "
            "311 on node pve1. Give the vmid." in outcome.result["msg"]
        )
        assert outcome.writes == []


def test_a_vm_of_that_name_is_no_container(lab: PveLab) -> None:
    with lab.session() as session:
        session.post("/nodes/pve1/qemu", {"vmid": 400, "name": "traefik"}, asked="make a VM")
    assert made(lab, {"hostname": "traefik", "state": "absent"}).changes == []


def test_containers_without_numbers_get_free_ones(lab: PveLab) -> None:
    assert lab.config.nodes, "the numbers that are free are known"
    made(lab, with_(vmid=101, hostname="there", state="stopped", networks=None))
    outcome = truthful(lab, *(named(f"auto-{number}") for number in range(3)))
    assert [entry["vmid"] for entry in outcome.result["containers"]] == [100, 102, 103]
    assert vmids(lab) == [100, 101, 102, 103]


def test_a_number_that_was_taken_in_between_is_left_to_whoever_was_faster(lab: PveLab) -> None:
    assert lab.config.nodes, "the numbers that are free are known"
    with pytest.MonkeyPatch.context() as patch:
        real = ct_apply.Applier._create

        def overtaken(self: t.Any, operation: t.Any) -> None:
            patch.undo()
            with lab.session() as session:
                form = {
                    "vmid": operation.ct.vmid,
                    "ostemplate": containers.TEMPLATE,
                    "rootfs": "local:1",
                    "hostname": "other",
                }
                Tasks(session, print).do(
                    lambda: session.post("/nodes/pve1/lxc", form, asked="be faster"), asked="be faster"
                )
            real(self, operation)

        patch.setattr(ct_apply.Applier, "_create", overtaken)
        outcome = made(lab, named("auto"))
    assert vmids(lab) == [100, 101]
    assert outcome.actions == ["ct/101 create"], "what was made, not what was planned first"
    assert [entry["vmid"] for entry in outcome.result["containers"]] == [101]
    assert config_of(lab, 100)["hostname"] == "other"


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_a_container_without_number_is_made_once_when_the_answer_is_lost(lab: PveLab, fault: str) -> None:
    """While it is made it has no name to be found by."""
    hit = lab.fault(fault, verb="POST", path="/nodes/pve1/lxc")
    lab.fault("task-time", verb="POST", path="/nodes/pve1/lxc", times=0, seconds=0.5)
    outcome = made(lab, named("auto"))
    assert hit.hit
    assert len(vmids(lab)) == 1
    assert outcome.actions == [f"ct/{vmids(lab)[0]} create"]
    lab.faults.clear()
    assert made(lab, named("auto")).changes == []


def test_a_container_that_goes_by_its_name_is_told_when_the_answer_is_lost(lab: PveLab) -> None:
    made(lab, with_(state="stopped"))
    lab.fault("drop-after", verb="DELETE")
    outcome = made(lab, {"hostname": "traefik", "state": "absent"})
    assert outcome.actions == ["ct/310 delete"]
    assert outcome.result["containers"] == [
        {
            "vmid": 310,
            "node": "pve1",
            "hostname": "traefik",
            "status": "absent",
            "template": False,
            "changed": True,
            "pending": [],
        }
    ]


def test_a_container_is_renamed_only_if_its_old_name_is_given(lab: PveLab) -> None:
    made(lab, with_(state="stopped"))
    wish = with_(state="stopped", hostname="edge")
    refused = cts(lab, wish)
    assert (
        "vmid 310 belongs to the container 'traefik' on node pve1, not to 'edge'. Choose another vmid, or say with "
        "renamed_from that that container is meant." in refused.result["msg"]
    )
    assert refused.writes == []
    outcome = truthful(lab, {**wish, "renamed_from": "Traefik"})
    assert (outcome.changes[0]["before"], outcome.changes[0]["after"]) == (
        {"hostname": "traefik"},
        {"hostname": "edge"},
    )
    assert config_of(lab)["hostname"] == "edge"


def test_the_source_of_a_clone_that_is_made_without_a_number(lab: PveLab) -> None:
    made(lab, with_(vmid=900, hostname="golden", state="stopped"))
    wish = {"hostname": "copy", "node": "pve1", "state": "stopped", "clone": {"hostname": "golden"}}
    outcome = truthful(lab, wish)
    assert outcome.changes[0]["after"]["clone"] == "900 (full)"
    assert len(vmids(lab)) == 2

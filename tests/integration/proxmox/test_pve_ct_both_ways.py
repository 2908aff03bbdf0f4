# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of ``proxmox_lxc`` run as they stand, in the controller and as modules of their own."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pve_containers as containers
import pytest
from playing import play, tasks_of, without_ways
from pve_containers import CT, made, with_
from pve_lab import PveLab

from ansible_collections.groundwork.homelab.plugins.modules import proxmox_lxc


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    """The node has the directory that an example mounts, and the container that one clones."""
    pve = PveLab(tmp_path)
    node = pve.config.nodes[0]
    pve.config.nodes = (dataclasses.replace(node, directories=("/srv", "/srv/media")),)
    with pve:
        containers.put_template(pve)
        made(pve, with_(vmid=900, hostname="golden", state="stopped"))
        yield pve


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run_and_are_idempotent(lab: PveLab, in_process: bool) -> None:
    tasks = tasks_of(lab, proxmox_lxc.EXAMPLES)
    root = {"proxmox_root_password": "root-not-a-secret"}
    results = play(lab, tasks, in_process=in_process, **root)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert len(results) == len(tasks)
    assert all(result["changed"] for result in results)
    kept = [task for task in tasks if not task["name"].startswith(("A reverse proxy", "A copy"))]
    again = play(lab, kept, in_process=in_process, **root)
    assert [result["changes"] for result in again] == [[]] * len(kept)


def test_both_ways_give_the_same_result_and_the_same_error(lab: PveLab) -> None:
    module = "groundwork.homelab.proxmox_lxc"
    tasks: list[dict[str, t.Any]] = [
        {module: {"containers": [CT]}},
        {module: {"containers": [with_(node="pve9")]}, "ignore_errors": True},
        {module: {"containers": [with_(cores="many")]}, "ignore_errors": True},
        {module: {"containers": [with_(features={"fuse": True})]}, "ignore_errors": True},
    ]
    here = play(lab, tasks, "--check", "--diff", in_process=True)
    there = play(lab, tasks, "--check", "--diff", in_process=False)
    assert [without_ways(result) for result in here] == [without_ways(result) for result in there]
    assert here[0]["changes"] and here[0]["diff"]
    assert "does not exist" in here[1]["msg"]
    assert "only root@pam may do this" in here[3]["msg"]
    assert "container-not-a-secret" not in repr([result.get("diff") for result in here])

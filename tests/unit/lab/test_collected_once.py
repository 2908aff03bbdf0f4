# SPDX-License-Identifier: GPL-3.0-or-later
"""A task names the lab a dozen times, and its hosts' variables are templated once; what a play changes counts all the same."""

from __future__ import annotations

import collections.abc
import multiprocessing
import typing as t

from ansible_collections.groundwork.homelab.plugins.filter import lab

GROUPS = {"proxmox": ["pve1"], "talos_control_planes": ["cp1"], "talos_workers": []}


class Variables(collections.abc.Mapping[str, t.Any]):
    """Hosts' variables that count how often a host's are asked for, as of Ansible."""

    def __init__(self) -> None:
        self.asked = 0
        self.hosts = {"pve1": {"lab_name": "first"}, "cp1": {"lab_name": "first", "machine_address": "192.0.2.5"}}

    def __getitem__(self, host: str) -> dict[str, t.Any]:
        self.asked += 1
        return self.hosts[host]

    def __iter__(self) -> t.Iterator[str]:
        return iter(self.hosts)

    def __len__(self) -> int:
        return len(self.hosts)


def named(variables: Variables, groups: dict[str, list[str]]) -> str:
    return str(lab.lab_inventory(variables, groups)["hosts"]["cp1"]["lab_name"])


def _worker(answers: t.Any) -> None:
    variables, others = Variables(), Variables()
    others.hosts["cp1"]["lab_name"] = "second"
    told = [named(variables, dict(GROUPS)), named(variables, dict(GROUPS))]
    once = variables.asked
    told.append(named(others, GROUPS))
    told.append(str(sorted(lab.lab_inventory(others, {**GROUPS, "talos_control_planes": []})["hosts"])))
    answers.put((told, once, variables.asked))


def test_a_worker_collects_once_for_the_same_hosts() -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_worker, args=(answers,))
    process.start()
    told, once, in_all = answers.get(timeout=30)
    process.join(30)
    assert told == ["first", "first", "second", "['pve1']"]
    alone = Variables()
    named(alone, GROUPS)
    assert once == in_all == alone.asked


def test_the_playbook_itself_sees_what_has_changed() -> None:
    variables = Variables()
    assert named(variables, GROUPS) == "first"
    variables.hosts["cp1"]["lab_name"] = "second"
    assert named(variables, GROUPS) == "second"

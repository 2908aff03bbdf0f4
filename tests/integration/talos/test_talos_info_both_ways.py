# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of talos_info, talos_etcd_info and talos_etcd_snapshot run as they stand, with the same result both ways."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import typing as t

import yaml
from talos_etcd_lab import Cluster, kubernetes
from talos_lab import MODULES, PlayedLab
from test_talos_both_ways import play, without_ways
from test_talos_life import build

from ansible_collections.groundwork.homelab.plugins.filter import talos as filters
from ansible_collections.groundwork.homelab.plugins.lookup import talos_secret

NAMES = ("info", "etcd_info", "etcd_snapshot")


def tasks_of(lab: PlayedLab, *names: str) -> list[dict[str, t.Any]]:
    """The examples, with the lab's address in place of the documentation's."""
    texts = [str(importlib.import_module(f"{MODULES}.talos_{name}").EXAMPLES) for name in names]
    return [task for text in texts for task in yaml.safe_load(text.replace("192.168.30.50", lab.address("cp1")))]


def test_the_examples_run_both_ways_with_the_same_result(lab: PlayedLab) -> None:
    cluster = Cluster()
    cluster.add("cp1", lab.address("cp1"))
    lab.settings = dataclasses.replace(lab.settings, kubernetes=kubernetes(cluster))
    build(lab, "cp1")
    written = lab.writes()
    reading = tasks_of(lab, *NAMES[:2])
    snapshots = tasks_of(lab, NAMES[2])
    wrong = {"groundwork.homelab.talos_info": {"nodes": ["1.2.3.4:5"]}, "ignore_errors": True}
    foreseen = [play(lab, [*reading, *snapshots, wrong], "--check", "--diff", in_process=way) for way in (True, False)]
    here, there = ([without_ways(result) for result in results] for results in foreseen)
    assert here == there
    assert "nodes[0] is '1.2.3.4:5'" in here[-1]["msg"]
    for way in (True, False):
        for path in (lab.path / "backups").glob("*"):
            path.unlink()
        made = play(lab, snapshots, "--diff", in_process=way)
        assert [one["changes"] for one in made] == [one["changes"] for one in here[-3:-1]]
        assert [one["taken"] for one in made] == [True, True]
        again = play(lab, [*reading, *snapshots], in_process=way)
        assert [one["changed"] for one in again] == [False] * 7
    assert lab.writes() == written


def test_the_examples_of_the_lookup_and_the_filter_run(lab: PlayedLab) -> None:
    folder = pathlib.Path(str(filters.__file__)).parent
    described = next(yaml.safe_load_all((folder / "talos_version.yml").read_text()))
    tasks = [*yaml.safe_load(talos_secret.EXAMPLES), *yaml.safe_load(described["EXAMPLES"])]
    results = play(lab, tasks, in_process=True)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert (lab.path / "talos-ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert results[2]["msg"] == "It has the image service"
    assert results[3]["msg"] == [f"1.{minor}" for minor in range(31, 37)]
    whole = {
        "ansible.builtin.debug": {
            "msg": "{{ lookup('groundwork.homelab.talos_secret', 'certs', secrets_path=bundle) }}"
        }
    }
    refused = play(lab, [{**whole, "vars": {"bundle": str(lab.secrets_path)}, "ignore_errors": True}], in_process=True)
    assert "certs is more than one value" in str(refused[0])

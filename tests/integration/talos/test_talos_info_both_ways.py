# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of talos_info, talos_etcd_info and talos_etcd_snapshot run as they stand, with the same result both ways."""

from __future__ import annotations

import dataclasses

from talos_etcd_lab import Cluster, kubernetes
from talos_lab import PlayedLab
from test_talos_both_ways import play, tasks_of, without_ways
from test_talos_life import build


def test_the_examples_run_both_ways_with_the_same_result(lab: PlayedLab) -> None:
    cluster = Cluster()
    cluster.add("cp1", lab.address("cp1"))
    lab.settings = dataclasses.replace(lab.settings, kubernetes=kubernetes(cluster))
    build(lab, "cp1")
    written = lab.writes()
    reading = tasks_of(lab, "info", "etcd_info")
    snapshots = tasks_of(lab, "etcd_snapshot")
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

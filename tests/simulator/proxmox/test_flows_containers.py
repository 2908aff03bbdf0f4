# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers, as other clients handle them: what is refused and in which words, templates, volumes that are moved."""

from __future__ import annotations

import pathlib

import pytest
from flows import TEMPLATE, Step, walk

NEW = {"vmid": 300, "ostemplate": TEMPLATE, "rootfs": "local:1"}
CREATED = Step("POST lxc", NEW, "task OK")
SECOND = Step("POST lxc", {**NEW, "vmid": 301}, "task OK")
CONFIG = "PUT lxc/300/config"
MISSING = "both 'storage' and 'target-vmid' missing, either needs to be set"

FLOWS: dict[str, list[Step]] = {
    "a size alone is one on the storage that is named": [
        Step("POST lxc", {**NEW, "rootfs": "2", "storage": "dir2"}, "task OK"),
        Step("GET lxc/300/config", answer={"rootfs": "dir2:300/vm-300-disk-0.raw,size=2G"}),
    ],
    "an id that is taken is told before anything else": [
        CREATED,
        Step("POST lxc", {**NEW, "rootfs": "none:1"}, "500 CT 300 already exists on node 'pve1'"),
        Step("POST lxc", {**NEW, "pool": "none"}, "500 CT 300 already exists on node 'pve1'"),
    ],
    "a container is made on a storage that takes it": [
        Step("POST /storage", {"storage": "off", "type": "dir", "path": "/srv", "disable": 1}, {"storage": "off"}),
        Step("POST /storage", {"storage": "far", "type": "dir", "path": "/srv", "nodes": "pve9"}, {"storage": "far"}),
        Step("POST lxc", {**NEW, "rootfs": "off:1"}, "500 storage 'off' is disabled"),
        Step("POST lxc", {**NEW, "rootfs": "far:1"}, "500 storage 'far' is not available on node 'pve1'"),
        Step(
            "POST lxc",
            {"vmid": 300, "ostemplate": TEMPLATE, "mp0": "local:1,mp=/x"},
            "500 mount points configured, but 'rootfs' not set - aborting",
        ),
    ],
    "a container that is made for high availability is a resource": [
        Step("POST lxc", {**NEW, "ha-managed": 1}, "task OK"),
        Step("GET /cluster/ha/resources", answer=[{"sid": "ct:300", "state": "stopped", "type": "ct"}]),
    ],
    "a container that is made cannot fail by its start": [
        Step("POST lxc", {**NEW, "start": 1, "template": 1}, "task OK"),
        Step("GET lxc/300/status/current", answer={"status": "stopped", "template": 1}),
        Step("GET tasks", {"typefilter": "vzstart"}, [{"id": "300", "status": "you can't start a CT if it's a template"}]),
    ],
    "weights are what a cgroup takes": [
        Step("POST lxc", {**NEW, "cpuunits": 500000}, "task OK"),
        Step("GET lxc/300/config", answer={"cpuunits": 10000}),
        Step(CONFIG, {"cpuunits": 0}),
        Step("GET lxc/300/config", answer={"cpuunits": 1}),
    ],
    "a protected container keeps its volumes": [
        CREATED,
        Step(CONFIG, {"mp0": "local:1,mp=/data", "protection": 1}),
        Step(CONFIG, {"delete": "mp0"}, "500 can't remove CT 300 drive 'mp0' - protection mode enabled"),
        Step(CONFIG, {"mp1": "local:1,mp=/b"}, "500 can't update CT 300 drive 'mp1' - protection mode enabled"),
        Step("DELETE lxc/300", answer="500 can't remove CT 300 - protection mode enabled"),
    ],
    "what cannot be changed, and in which words": [
        CREATED,
        Step(CONFIG, {"mp0": "isoonly:1,mp=/x"}, "500 storage 'isoonly' does not allow content type 'rootdir' (Container)"),
        Step(CONFIG, {"delete": "memory"}, "500 unable to delete required option 'memory'"),
        Step(CONFIG, {"delete": "unprivileged"}, "500 unable to delete read-only option: 'unprivileged'"),
        Step(CONFIG, {"delete": "arch"}),
        Step("GET lxc/300/config", answer={"arch": None}),
        Step(
            CONFIG,
            {"net0": "name=eth0,bridge=vmbr0,mtu=9000"},
            "500 net0: MTU size '9000' is bigger than bridge MTU '1500'",
        ),
        Step(CONFIG, {"revert": "foo"}, errors={"revert": "unknown option 'foo'"}),
        Step(
            CONFIG,
            {"revert": "cores", "cores": 1},
            errors={"revert": "you can't use '-cores' and '-revert cores' at the same time"},
        ),
        Step(
            CONFIG,
            {"revert": "cores", "delete": "cores"},
            errors={"delete": "you can't use '-delete cores' and '-revert cores' at the same time"},
        ),
        Step(
            "GET lxc/300/config",
            {"current": 1, "snapshot": "s1"},
            errors=dict.fromkeys(("snapshot", "current"), "cannot use 'snapshot' parameter with 'current'"),
        ),
    ],
    "a volume that cannot be made changes nothing": [
        CREATED,
        Step("POST /storage", {"storage": "off", "type": "dir", "path": "/srv", "disable": 1}, {"storage": "off"}),
        Step(
            CONFIG,
            {"mp0": "off:1,mp=/x", "cores": 1},
            errors={"mp0": "unable to apply pending change mp0 : storage 'off' is disabled\n"},
        ),
        Step("GET lxc/300/config", answer={"mp0": None, "cores": None}),
    ],
    "a template has base volumes": [
        CREATED,
        Step("POST lxc/300/template"),
        Step("GET lxc/300/config", answer={"rootfs": "local:300/base-300-disk-0.raw,size=1G", "template": 1}),
        Step("GET tasks", {"typefilter": "vztemplate"}, [{"id": "300", "status": "OK"}]),
        Step(
            "POST lxc/300/clone",
            {"newid": 302},
            "500 Linked clone feature for 'local:300/base-300-disk-0.raw' is not available",
        ),
        Step(
            "POST lxc/300/clone",
            {"newid": 302, "storage": "dir2"},
            "500 parameter 'storage' not allowed for linked clones",
        ),
        Step("POST lxc/300/clone", {"newid": 302, "full": 1}, "task OK"),
        Step("GET lxc/302/config", answer={"rootfs": "local:302/vm-302-disk-0.raw,size=1G", "template": None}),
        Step("POST lxc/300/move_volume", {"volume": "rootfs", "storage": "dir2", "delete": 1}, "task OK"),
        Step("GET lxc/300/config", answer={"rootfs": "dir2:300/base-300-disk-0.raw,size=1G"}),
        Step("DELETE lxc/300", answer="task OK"),
    ],
    "a clone to an id that is taken": [
        CREATED,
        SECOND,
        Step("POST lxc/300/clone", {"newid": 301, "snapname": "none"}, "500 CT 301 already exists on node 'pve1'"),
        Step("POST lxc/300/clone", {"newid": 302, "full": 0, "storage": "none"}, "500 storage 'none' does not exist"),
    ],
    "volumes move between containers": [
        CREATED,
        SECOND,
        Step(CONFIG, {"mp0": "local:1,mp=/data"}),
        Step(
            "POST lxc/300/move_volume",
            {"volume": "mp0", "storage": "dir2", "target-vmid": 301},
            "500 either set storage or target-vmid, but not both",
        ),
        Step(
            "POST lxc/300/move_volume",
            {"volume": "mp0"},
            errors={"storage": MISSING, "target-vmid": MISSING},
        ),
        Step(
            "POST lxc/300/move_volume",
            {"volume": "unused0", "storage": "dir2"},
            "500 cannot move volume 'unused0', only configured volumes can be moved to another storage",
        ),
        Step("POST lxc/300/move_volume", {"volume": "mp0", "target-vmid": 399}, "500 could not find CT 399"),
        Step("POST lxc/300/move_volume", {"volume": "rootfs", "target-vmid": 301}, "500 Cannot move to/from 'rootfs'"),
        Step(
            "POST lxc/300/move_volume",
            {"volume": "mp5", "target-vmid": 301},
            "500 volume 'mp5' for container '300' does not exist",
        ),
        Step("POST lxc/300/move_volume", {"volume": "mp0", "target-vmid": 301, "target-volume": "mp2"}, "task OK"),
        Step("GET lxc/300/config", answer={"mp0": None, "unused0": None}),
        Step("GET lxc/301/config", answer={"mp2": "local:301/vm-301-disk-1.raw,mp=/data,size=1G"}),
    ],
    "what there is below a container": [
        CREATED,
        Step("GET lxc/300/status", answer=[{"subdir": s} for s in "current start stop shutdown reboot migrate".split()]),
        Step("GET lxc/300/snapshot/s1", answer=[{"cmd": "rollback"}, {"cmd": "config"}]),
        Step("GET lxc/399/status", answer="500 Configuration file 'nodes/pve1/lxc/399.conf' does not exist"),
        Step("GET lxc/300/feature", {"feature": "copy", "snapname": "s1"}, "500 snapshot 's1' does not exist"),
        Step("GET lxc/300/feature", {"feature": "copy"}, {"hasFeature": 1}),
        Step(CONFIG, {"mp0": "/srv,mp=/srv"}),
        Step("GET lxc/300/feature", {"feature": "copy"}, {"hasFeature": 0}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_containers(tmp_path: pathlib.Path, flow: str) -> None:
    walk(tmp_path, FLOWS[flow])

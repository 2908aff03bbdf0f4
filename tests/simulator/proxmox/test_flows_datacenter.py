# SPDX-License-Identifier: GPL-3.0-or-later
"""High availability, mappings and options of a datacenter, as other clients handle them."""

from __future__ import annotations

import pathlib

import pytest
from flows import TEMPLATE, Step, walk

VM = Step("POST qemu", {"vmid": 100}, "task OK")
CT = Step("POST lxc", {"vmid": 200, "ostemplate": TEMPLATE, "rootfs": "local:1"}, "task OK")
RESOURCES, RULES, PCI = "/cluster/ha/resources", "/cluster/ha/rules", "/cluster/mapping/pci"
MANAGED = [VM, CT, *(Step(f"POST {RESOURCES}", {"sid": sid}) for sid in ("vm:100", "ct:200"))]
NEAR = {"rule": "near", "type": "node-affinity", "resources": "vm:100", "nodes": "pve1:2"}
TOGETHER = {"rule": "both", "type": "resource-affinity", "resources": "vm:100,ct:200", "affinity": "positive"}
GPU = {"id": "gpu", "map": "node=pve1,path=0000:01:00.0,id=10de:1234"}

FLOWS: dict[str, list[Step]] = {
    "what keeps a cache from answering is no parameter": [
        Step("GET /version", {"_dc": 1700000000000}, {"release": "9.1"}),
        Step("PUT /cluster/options", {"_dc": 1700000000000, "keyboard": "de"}),
        Step("GET /cluster/options", {"_dc": 1, "dc": 1}, errors={
            "dc": "property is not defined in schema and the schema does not allow additional properties"
        }),
    ],
    "what is a resource": [
        VM,
        Step(f"POST {RESOURCES}", {"sid": "999"}, "500 unable to detect SID from VMID - VM/CT 999 does not exist"),
        Step(f"POST {RESOURCES}", {"sid": "100", "type": "ct"}, "500 types does not match"),
        Step(f"POST {RESOURCES}", {"sid": "vm:abc"}, "500 invalid VMID"),
        Step(
            f"POST {RESOURCES}",
            {"sid": "vm:100", "group": "old"},
            "500 invalid parameter 'group': ha groups have been migrated to rules",
        ),
        Step(f"POST {RESOURCES}", {"sid": "vm:100", "state": "stopped"}),
        Step(f"GET {RESOURCES}", {"type": "ct"}, []),
        Step(f"PUT {RESOURCES}/vm:100", {"delete": "foo"}, "500 update resources config failed: no such option 'foo'"),
        Step(f"PUT {RESOURCES}/vm:999", {"state": "started"}, "500 update resources config failed: no such resource 'vm:999'"),
        Step(f"POST {RESOURCES}/vm:100/migrate", {"node": "pve9"}, {"sid": "vm:100", "requested-node": "pve9"}),
        Step(f"POST {RESOURCES}/vm:101/migrate", {"node": "pve9"}, "500 resource 'vm:101' is not HA managed"),
    ],
    "a manager that never ran": [
        *MANAGED,
        Step("GET /cluster/ha/status/manager_status", answer={"manager_status": {}, "lrm_status": None}),
        Step("GET qemu/100/status/current", answer={"ha": {"managed": 1, "state": None}}),
        Step("GET /cluster/resources", {"type": "vm"}, [{"hastate": None, "vmid": 100}, {"hastate": None, "vmid": 200}]),
    ],
    "rules are of their type": [
        *MANAGED,
        Step(f"POST {RULES}", {**NEAR, "nodes": "pve9"}, "500 create ha rule failed: cannot use non-existent node(s) pve9."),
        Step(f"POST {RULES}", {**TOGETHER, "nodes": "pve1"}, "500 unexpected property 'nodes'"),
        Step(f"POST {RULES}", {**TOGETHER, "affinity": "none"}, errors={
            "affinity": "value 'none' does not have a value in the enumeration 'positive, negative'"
        }),
        Step(f"POST {RULES}", {k: v for k, v in NEAR.items() if k != "nodes"}, "500 missing value for required option 'nodes'"),
        Step(f"POST {RULES}", {"type": "node-affinity", "nodes": "pve1"}, errors=dict.fromkeys(
            ("rule", "resources"), "property is missing and it is not optional"
        )),
        Step(f"POST {RULES}", {**NEAR, "resources": "foo"}, errors={
            "resources": "invalid format - value does not look like a valid ha resource id\n"
        }),
        Step(f"POST {RULES}", {**NEAR, "nodes": "pve1:0", "strict": 1, "disable": 0}),
        Step(f"GET {RULES}/near", answer={"nodes": "pve1", "strict": 1, "disable": None, "order": 1}),
        Step(f"POST {RULES}", NEAR, "500 create ha rule failed: HA rule 'near' already defined"),
        Step(f"PUT {RULES}/near", {"type": "node-affinity", "delete": "strict", "comment": "c"}),
        Step(f"GET {RULES}/near", answer={"strict": None, "comment": "c"}),
        Step(f"PUT {RULES}/near", {"delete": "nodes"}, "500 update HA rules failed: unable to delete required option 'nodes'"),
        Step(f"PUT {RULES}/near", {"affinity": "positive"}, "500 update HA rules failed: unexpected property 'affinity'"),
        Step(f"PUT {RULES}/none", {"comment": "c"}, "500 update HA rules failed: HA rule 'none' does not exist"),
    ],
    "rules that cannot be kept": [
        *MANAGED,
        Step(f"POST {RULES}", NEAR),
        Step(f"POST {RULES}", {**NEAR, "rule": "again"}, "500 create ha rule failed: 400 Rule 'again' is invalid."),
        Step(f"POST {RULES}", {**TOGETHER, "resources": "vm:100"}, "500 create ha rule failed: 400 Rule 'both' is invalid."),
        Step(f"POST {RULES}", {**TOGETHER, "affinity": "negative"}, "500 create ha rule failed: 400 Rule 'both' is invalid."),
        Step(f"POST {RULES}", TOGETHER),
        Step(f"GET {RULES}", {"resource": "ct:200"}, [{"rule": "both", "resources": "ct:200,vm:100"}]),
    ],
    "rules lose a resource that goes": [
        *MANAGED,
        Step(f"POST {RULES}", NEAR),
        Step(f"POST {RULES}", TOGETHER),
        Step(f"DELETE {RESOURCES}/vm:100"),
        Step(f"GET {RULES}", answer=[{
            "rule": "both", "resources": "ct:200",
            "errors": {"resources": ["rule is ineffective as there are less than two resources"]},
        }]),
        Step("DELETE lxc/200", {"purge": 1}, "task OK"),
        Step(f"GET {RULES}", answer=[]),
    ],
    "servers for metrics": [
        Step("POST /cluster/metrics/server/g1", {"type": "graphite", "server": "192.0.2.1", "port": 2003, "mtu": 1400}),
        Step("GET /cluster/metrics/server/g1", answer={"type": "graphite", "port": 2003, "mtu": 1400}),
        Step("POST /cluster/metrics/server/g1", {"type": "graphite", "server": "h", "port": 1}, "500 Metric server 'g1' already exists"),
        Step("POST /cluster/metrics/server/g2", {"type": "graphite", "server": "h", "port": 1, "bucket": "b"}, "500 unexpected property 'bucket'"),
        Step("POST /cluster/metrics/server/g2", {"type": "graphite", "server": "h"}, errors={"port": "property is missing and it is not optional"}),
        Step(
            "POST /cluster/metrics/server/i1",
            {"type": "influxdb", "server": "192.0.2.1", "port": 8086, "influxdbproto": "http"},
            "500 500 Can't connect to 192.0.2.1:8086 (Connection refused)",
        ),
        Step(
            "POST /cluster/metrics/server/i1",
            {"type": "influxdb", "server": "192.0.2.1", "port": 8086, "influxdbproto": "http", "disable": 1, "token": "t"},
        ),
        Step("GET /cluster/metrics/server/i1", answer={"token": None, "disable": 1}),
        Step("GET /cluster/metrics/server", answer=[{"id": "g1", "disable": 0}, {"id": "i1", "disable": 1}]),
        Step("PUT /cluster/metrics/server/g1", {"server": "h", "port": 1, "delete": "mtu"}),
        Step("GET /cluster/metrics/server/g1", answer={"server": "h", "mtu": None}),
        Step("PUT /cluster/metrics/server/no", {"server": "h", "port": 1}, "500 no such server 'no'"),
        Step("DELETE /cluster/metrics/server/g1"),
        Step("GET /cluster/metrics/server/g1", answer="500 status server entry 'g1' does not exist"),
    ],
    "mappings": [
        Step(f"POST {PCI}", {**GPU, "mdev": 1}),
        Step(f"PUT {PCI}/gpu", {**GPU, "delete": "foo"}, "500 update hardware mapping failed: no such option 'foo'"),
        Step(f"PUT {PCI}/gpu", {**GPU, "delete": "map"}, "500 update hardware mapping failed: unable to delete required option 'map'"),
        Step(f"PUT {PCI}/gpu", {**GPU, "delete": "mdev", "mdev": 0}, "500 update hardware mapping failed: cannot set and delete property 'mdev' at the same time!"),
        Step(f"PUT {PCI}/gpu", {**GPU, "digest": "0" * 40}, "500 update hardware mapping failed: detected modified configuration - file changed by other user? Try again."),
        Step(f"GET {PCI}/gpu", answer={"mdev": 1}),
        Step(
            "POST /cluster/mapping/dir",
            {"id": "shared", "map": ["node=pve1,path=/srv", "node=pve1,path=/srv"]},
            "500 Node 'pve1' is specified 2 times.",
        ),
        Step("POST /cluster/mapping/dir", {"id": "no", "map": "node=pve1,path=/no"}, "500 Path /no does not exist"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_datacenters(tmp_path: pathlib.Path, flow: str) -> None:
    walk(tmp_path, FLOWS[flow])

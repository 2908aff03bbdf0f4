# SPDX-License-Identifier: GPL-3.0-or-later
"""The least privileges of a token, as they were measured: without one of them the answer is the real 403."""

from __future__ import annotations

import typing as t

import pytest
from played_proxmox import Client

from simlab.proxmox.access import Acl

Run = t.Callable[[t.Callable[[Client], t.Awaitable[None]]], None]
QEMU = "/nodes/pve1/qemu"
#: Method, path, parameters; then the rights it takes, in the order in which they are missed: path, privilege, and the
#: text of the 403 without it (None: "path, privilege").
CASES: list[tuple[str, str, dict[str, str], list[tuple[str, str, str | None]]]] = [
    ("GET", f"{QEMU}/300/config", {}, [("/vms/300", "VM.Audit", None)]),
    ("POST", QEMU, {"vmid": "301"}, [("/vms/301", "VM.Allocate", "")]),
    (
        "POST",
        QEMU,
        {"vmid": "302", "cores": "2", "scsi0": "local-lvm:1", "net0": "virtio,bridge=vmbr0,tag=30"},
        [
            ("/vms/302", "VM.Allocate", ""),
            ("/storage/local-lvm", "Datastore.AllocateSpace", None),
            ("/vms/302", "VM.Config.CPU", None),
            ("/vms/302", "VM.Config.Network", None),
            ("/sdn/zones/localnetwork/vmbr0/30", "SDN.Use", None),
        ],
    ),
    ("PUT", f"{QEMU}/300/config", {"memory": "1024"}, [
        ("/vms/300", "VM.Config.Memory", "/vms/300, VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|VM.Config.Memory|"
         "VM.Config.Network|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit"),
    ]),
    ("PUT", f"{QEMU}/300/config", {"startup": "order=1"}, [
        ("/vms/300", "VM.Config.Options", "*"), ("/", "Sys.Modify", None),
    ]),
    ("PUT", f"{QEMU}/300/resize", {"disk": "scsi0", "size": "+1G"}, [("/vms/300", "VM.Config.Disk", None)]),
    ("POST", f"{QEMU}/300/status/start", {}, [("/vms/300", "VM.PowerMgmt", None)]),
    ("POST", f"{QEMU}/300/snapshot", {"snapname": "one"}, [("/vms/300", "VM.Snapshot", None)]),
    ("POST", f"{QEMU}/300/clone", {"newid": "303"}, [
        ("/vms/300", "VM.Clone", None), ("/vms/303", "VM.Allocate", ""),
        ("/storage/local-lvm", "Datastore.AllocateSpace", None),
    ]),
    ("DELETE", f"{QEMU}/300", {}, [("/vms/300", "VM.Allocate", None)]),
    ("POST", "/nodes/pve1/storage/local/download-url", {
        "url": "http://127.0.0.1:9/x.iso", "filename": "x.iso", "content": "iso",
    }, [("/storage/local", "Datastore.AllocateTemplate", None), ("/nodes/pve1", "Sys.AccessNetwork", "")]),
    ("GET", "/nodes/pve1/query-url-metadata", {"url": "http://127.0.0.1:9/x"}, [
        ("/nodes/pve1", "Sys.AccessNetwork", ""),
    ]),
    ("GET", "/nodes/pve1/storage/local/content", {}, [
        ("/storage/local", "Datastore.Audit", "/storage/local, Datastore.Audit|Datastore.AllocateSpace"),
    ]),
    ("POST", "/storage", {"storage": "st1", "type": "dir", "path": "/srv"}, [("/storage", "Datastore.Allocate", None)]),
    ("POST", "/cluster/backup", {"id": "n1", "schedule": "02:30", "storage": "local", "all": "1"}, [
        ("/", "Sys.Modify", None), ("/storage/local", "Datastore.Allocate", None),
    ]),
    ("POST", "/pools", {"poolid": "p"}, [("/pool/p", "Pool.Allocate", None)]),
    ("GET", "/nodes/pve1/status", {}, [("/nodes/pve1", "Sys.Audit", None)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "params", "needs"), CASES, ids=[f"{c[0]} {c[1]} {c[2]}"[:70] for c in CASES]
)
def test_each_missing_right_is_named_and_all_of_them_are_enough(
    run: Run, method: str, path: str, params: dict[str, str], needs: list[tuple[str, str, str | None]]
) -> None:
    async def test(call: Client) -> None:
        await call.task("POST", QEMU, vmid="300", scsi0="local-lvm:1")
        access = call.server.cluster.access
        access.forget(lambda acl: True)
        for number, (at, right, text) in enumerate(needs):
            answer = await call(method, path, **params)
            expected = f"{at}, {right}" if text is None else text
            reason = f"Permission check failed ({expected})" if expected else "Permission check failed"
            assert answer.status == 403, (right, answer)
            assert text == "*" or answer.reason == reason
            access.roles[f"R{number}"] = frozenset([right])
            for kind, who in (("user", "ansible@pve"), ("token", "ansible@pve!groundwork")):
                access.acls[Acl(at, t.cast("t.Any", kind), who, f"R{number}")] = True
        answer = await call(method, path, **params)
        assert answer.status != 403, answer

    run(test)


def test_a_right_on_a_pool_counts_for_its_members_and_for_a_create_in_it(run: Run) -> None:
    async def test(call: Client) -> None:
        cluster = call.server.cluster
        cluster.access.forget(lambda acl: True)
        call.headers, token = {}, call.headers
        root = await call("POST", "/access/ticket", username="root@pam", password="of-root")
        call.headers = {"Cookie": f"PVEAuthCookie={root.data['ticket'].replace('=', '%3D').replace('+', '%2B')}"}
        call.headers["CSRFPreventionToken"] = root.data["CSRFPreventionToken"]
        assert (await call("POST", "/pools", poolid="lab")).status == 200
        cluster.access.roles["R"] = frozenset(("VM.Allocate", "VM.Audit"))
        for kind, who in (("user", "ansible@pve"), ("token", "ansible@pve!groundwork")):
            cluster.access.acls[Acl("/pool/lab", t.cast("t.Any", kind), who, "R")] = True
        call.headers = token
        assert (await call("POST", QEMU, vmid="310")).status == 403
        assert await call.task("POST", QEMU, vmid="310", pool="lab") == "OK"
        assert (await call("GET", f"{QEMU}/310/config")).status == 200

    run(test)

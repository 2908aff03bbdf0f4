# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab relies on: guests get their hardware, volumes carry identities, faults happen, the ledger knows."""

from __future__ import annotations

import asyncio
import typing as t

import aiohttp
import pytest
from played_proxmox import IDENTITY, Client

from simlab.faults import Fault

Run = t.Callable[[t.Callable[[Client], t.Awaitable[None]]], None]
VM = {
    "vmid": "200", "name": "cp01", "cores": "2", "memory": "2048", "bios": "ovmf", "machine": "q35",
    "efidisk0": "local-lvm:1,efitype=4m", "scsi0": "local-lvm:0,import-from=local:import/talos.qcow2,discard=on",
    "ide2": "local-lvm:cloudinit", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=30", "agent": "enabled=1",
    "ipconfig0": "ip=192.168.30.50/24,gw=192.168.30.1", "nameserver": "192.168.30.1", "boot": "order=scsi0",
}  # fmt: skip
QEMU = "/nodes/pve1/qemu"


async def create(call: Client) -> None:
    assert await call.task("POST", QEMU, **VM) == "OK"


def test_an_imported_disk_keeps_identity_and_size_and_grows(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        config = (await call("GET", f"{QEMU}/200/config")).data
        assert config["scsi0"] == "local-lvm:vm-200-disk-1,discard=on,size=4G"
        assert config["ide2"] == "local-lvm:vm-200-cloudinit,media=cdrom"
        assert await call.task("PUT", f"{QEMU}/200/resize", disk="scsi0", size="32G") == "OK"
        assert await call.task("POST", f"{QEMU}/200/status/start") == "OK"
        disk = call.host.guests[200].disks[0]
        assert (disk.slot, disk.image, disk.size) == ("scsi0", IDENTITY, 32 << 30)
        assert (disk.path / "data").is_dir()
        assert (disk.path / "volume.json").is_file()

    run(test)


def test_a_guest_is_powered_with_the_hardware_of_its_configuration(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        assert await call.task("POST", f"{QEMU}/200/status/start") == "OK"
        guest = call.host.guests[200]
        assert (guest.name, guest.node, guest.cores, guest.memory, guest.bios) == ("cp01", "pve1", 2, 2 << 30, "ovmf")
        assert [(nic.mac, nic.bridge, nic.vlan) for nic in guest.nics] == [("bc:24:11:00:00:01", "vmbr0", 30)]
        assert guest.cloud_init == {
            "name": "cp01", "ipconfig0": VM["ipconfig0"], "nameserver": "192.168.30.1",
        }  # fmt: skip
        assert guest.agent

    run(test)


def test_what_is_pending_takes_effect_at_the_next_start(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        await call.task("POST", f"{QEMU}/200/status/start")
        assert (await call("PUT", f"{QEMU}/200/config", memory="4096")).status == 200
        pending = (await call("GET", f"{QEMU}/200/pending")).data
        assert {"key": "memory", "value": "2048", "pending": "4096"} in pending
        await call.task("POST", f"{QEMU}/200/status/stop")
        await call.task("POST", f"{QEMU}/200/status/start")
        assert call.host.guests[200].memory == 4 << 30
        assert call.host.calls == ["on 200", "off 200", "on 200"]

    run(test)


def test_a_guest_that_cannot_start_fails_its_task_and_stays_stopped(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        call.host.refuse = "no bootable device"
        assert await call.task("POST", f"{QEMU}/200/status/start") == "start failed: no bootable device"
        assert (await call("GET", f"{QEMU}/200/status/current")).data["status"] == "stopped"

    run(test)


def test_a_destroyed_guest_leaves_nothing(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        store = call.server.cluster.storages.get("pve1", "local-lvm")
        assert len(store.volumes) == 3
        assert await call.task("DELETE", f"{QEMU}/200", purge="1") == "OK"
        assert not store.volumes
        assert not list((store.root / "images" / "200").iterdir())
        assert call.host.calls == ["gone 200"]

    run(test)


def test_the_agent_answers_only_where_it_is_enabled(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        path = f"{QEMU}/200/agent/network-get-interfaces"
        assert (await call("GET", path)).reason == "VM 200 is not running"
        await call.task("POST", f"{QEMU}/200/status/start")
        assert (await call("GET", path)).data["result"][0]["name"] == "eth0"
        await call("PUT", f"{QEMU}/200/config", delete="agent")
        await call.task("POST", f"{QEMU}/200/status/stop")
        assert (await call("GET", path)).reason == "No QEMU guest agent configured"

    run(test)


def test_a_vm_lives_on_its_node_only(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        answer = await call("GET", "/nodes/pve2/qemu/200/config")
        assert answer.reason == "Configuration file 'nodes/pve2/qemu-server/200.conf' does not exist"
        assert (await call("GET", "/nodes/pve3/qemu")).reason.startswith("hostname lookup 'pve3' failed")

    run(test)


def test_what_is_not_simulated_says_so(run: Run) -> None:
    async def test(call: Client) -> None:
        answer = await call("GET", "/nodes/pve1/report")
        assert (answer.status, answer.reason) == (501, "'GET /nodes/pve1/report' is not simulated")

    run(test)


# -- faults and the ledger --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["drop-before", "drop-after"])
def test_a_dropped_request_is_done_or_not_as_the_fault_says(run: Run, kind: str) -> None:
    async def test(call: Client) -> None:
        call.server._faults.add(Fault(kind, verb="POST", path="*/qemu"))
        with pytest.raises(aiohttp.ClientError):
            await call("POST", QEMU, **VM)
        await asyncio.sleep(0.05)
        assert (200 in call.server.cluster.guests) == (kind == "drop-after")
        assert (await call("GET", "/version")).status == 200

    run(test)


def test_faults_of_tasks_and_answers(run: Run) -> None:
    async def test(call: Client) -> None:
        faults = call.server._faults
        faults.add(Fault("task-error", verb="POST", path="*/qemu", args={"text": "out of luck"}))
        assert await call.task("POST", QEMU, vmid="201") == "out of luck"
        assert 201 not in call.server.cluster.guests
        faults.add(Fault("storage-full", verb="POST", path="*/qemu"))
        assert "No space left on device" in await call.task("POST", QEMU, **VM)
        assert 200 not in call.server.cluster.guests
        faults.add(Fault("answer", path="/version", args={"status": 503, "text": "not now"}))
        answer = await call("GET", "/version")
        assert (answer.status, answer.reason) == (503, "not now")

    run(test)


def test_an_answer_can_be_late_garbled_or_cut(run: Run) -> None:
    async def test(call: Client) -> None:
        faults = call.server._faults
        loop = asyncio.get_running_loop()
        faults.add(Fault("delay", path="/version", args={"seconds": 0.2}))
        start = loop.time()
        assert (await call("GET", "/version")).status == 200
        assert loop.time() - start >= 0.2
        faults.clear()
        faults.add(Fault("garbage", path="/version"))
        with pytest.raises(ValueError, match=r"^(Expecting|.*codec)"):
            await call("GET", "/version")
        faults.clear()
        faults.add(Fault("cut", path="/cluster/resources"))
        with pytest.raises(aiohttp.ClientError):
            await call("GET", "/cluster/resources")

    run(test)


def test_a_task_that_takes_long_can_be_interrupted_and_takes_back_what_it_reserved(run: Run) -> None:
    async def test(call: Client) -> None:
        call.server._faults.add(Fault("task-time", verb="POST", path="*/qemu", args={"seconds": 20}))
        upid = (await call("POST", QEMU, **VM)).data
        assert (await call("GET", f"{QEMU}/200/config")).data["lock"] == "create"
        assert (await call("PUT", f"{QEMU}/200/config", cores="1")).reason == "VM is locked (create)"
        assert (await call("DELETE", f"/nodes/pve1/tasks/{upid}")).status == 200
        state = (await call("GET", f"/nodes/pve1/tasks/{upid}/status")).data
        assert (state["status"], state["exitstatus"]) == ("stopped", "received interrupt")
        assert 200 not in call.server.cluster.guests

    run(test)


def test_a_guest_is_locked_for_as_long_as_a_task_works_on_it(run: Run) -> None:
    """What comes in between waits for the lock and finds what the task has made."""

    async def test(call: Client) -> None:
        await create(call)
        call.server._faults.add(Fault("task-time", verb="POST", path="*/start", args={"seconds": 0.3}))
        start = (await call("POST", f"{QEMU}/200/status/start")).data
        assert await call.task("POST", f"{QEMU}/200/status/stop") == "OK"
        assert (await call("GET", f"/nodes/pve1/tasks/{start}/status")).data["exitstatus"] == "OK"
        assert (await call("GET", f"{QEMU}/200/status/current")).data["status"] == "stopped"
        call.server._faults.add(Fault("task-time", verb="POST", path="*/start", args={"seconds": 0.3}))
        start = (await call("POST", f"{QEMU}/200/status/start")).data
        assert (await call("PUT", f"{QEMU}/200/config", description="late")).status == 200
        assert (await call("GET", f"/nodes/pve1/tasks/{start}/status")).data["exitstatus"] == "OK"

    run(test)


def test_what_waits_too_long_for_a_guest_says_so(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        call.server._faults.add(Fault("task-time", verb="POST", path="*/start", args={"seconds": 30}))
        start = (await call("POST", f"{QEMU}/200/status/start")).data
        told = "can't lock file '/var/lock/qemu-server/lock-200.conf' - got timeout"
        assert await call.task("POST", f"{QEMU}/200/status/stop") == told
        assert (await call("DELETE", f"/nodes/pve1/tasks/{start}")).status == 200
        assert await call.task("POST", f"{QEMU}/200/status/stop") == "OK"

    run(test)


def test_a_locked_guest_is_free_again_after_its_time(run: Run) -> None:
    async def test(call: Client) -> None:
        await create(call)
        call.server._faults.add(Fault("lock", verb="PUT", args={"seconds": 0.2}))
        assert (await call("PUT", f"{QEMU}/200/config", cores="1")).reason == "VM is locked (backup)"
        await asyncio.sleep(0.3)
        assert (await call("PUT", f"{QEMU}/200/config", cores="1")).status == 200

    run(test)


def test_kill_faults_call_the_lab_before_or_after_the_request(run: Run) -> None:
    async def test(call: Client) -> None:
        faults = call.server._faults
        seen: list[bool] = []

        async def kill() -> None:
            seen.append(200 in call.server.cluster.guests)

        faults.kill_playbook = kill
        for kind in ("kill-before", "kill-after"):
            faults.add(Fault(kind, verb="POST", path="*/qemu", nth=1))
            with pytest.raises(aiohttp.ClientError):
                await call("POST", QEMU, **VM)
            faults.clear()
        assert seen == [False, True]

    run(test)


def test_the_ledger_knows_who_asked_what_and_never_a_secret(run: Run) -> None:
    async def test(call: Client) -> None:
        await call("GET", "/version")
        await call("PUT", f"{QEMU}/999/config", cores="1")
        first, second = call.server._ledger.entries()
        assert (first.caller, first.verb, first.path, first.write, first.result) == (
            "ansible@pve!groundwork", "GET", "/version", False, "200",
        )  # fmt: skip
        assert (second.write, second.result, second.refused) == (True, "500", True)
        assert "11111111" not in repr((first, second))

    run(test)


# -- rights -----------------------------------------------------------------------------------------------


def test_a_token_has_only_what_user_and_token_both_have(run: Run) -> None:
    async def test(call: Client) -> None:
        access = call.server.cluster.access
        await create(call)
        access.forget(lambda acl: acl.kind == "user" and acl.path == "/vms")
        answer = await call("GET", f"{QEMU}/200/config")
        assert (answer.status, answer.reason) == (403, "Permission check failed (/vms/200, VM.Audit)")
        assert (await call("GET", QEMU)).data == []

    run(test)


@pytest.mark.parametrize(
    ("params", "status", "reason"),
    [
        ({"args": "-foo"}, 500, "only root can set 'args' config"),
        ({"startup": "order=1"}, 403, "Permission check failed (/, Sys.Modify)"),
        ({"serial0": "/dev/ttyS0"}, 500, "only root can modify 'serial0' config for real devices"),
        ({"scsi1": "local-lvm:0,import-from=/etc/passwd"}, 500, "Only root can pass arbitrary filesystem paths."),
    ],
)
def test_what_only_root_may_is_refused(run: Run, params: dict[str, str], status: int, reason: str) -> None:
    async def test(call: Client) -> None:
        await create(call)
        answer = await call("PUT", f"{QEMU}/200/config", **params)
        assert (answer.status, answer.reason) == (status, reason)

    run(test)


def test_a_wrong_secret_is_401_without_a_body(run: Run) -> None:
    async def test(call: Client) -> None:
        call.headers = {"Authorization": "PVEAPIToken=ansible@pve!groundwork=wrong"}
        answer = await call("GET", "/version")
        assert (answer.status, answer.reason) == (401, "Authentication failed!")

    run(test)


def test_the_list_of_the_cluster_tells_of_guests_what_they_were_a_while_ago(run: Run) -> None:
    async def test(call: Client) -> None:
        cluster = call.server.cluster
        cluster.config.status_delay = 3600 / cluster.config.time_scale

        async def told(vmid: int = 200) -> tuple[str, str]:
            rows = (await call("GET", "/cluster/resources", type="vm")).data
            row = next(row for row in rows if row["vmid"] == vmid)
            return row["status"], row.get("name", "")

        await create(call)
        assert await told() == ("unknown", "")
        cluster.status.look(ago=3600)
        assert await told() == ("stopped", "cp01")
        await call.task("POST", f"{QEMU}/200/status/start")
        await call("PUT", f"{QEMU}/200/config", name="other", tags="new")
        cluster.status.look(ago=1800)
        assert await told() == ("stopped", "cp01")
        rows = (await call("GET", "/cluster/resources", type="vm")).data
        assert rows[0]["tags"] == "new"  # this is known at once
        await call.task("POST", f"{QEMU}/200/status/stop")
        await call.task("DELETE", f"{QEMU}/200")
        await call.task("POST", QEMU, vmid="200", name="anew")
        assert await told() == ("stopped", "cp01")
        cluster.config.status_delay = 1800 / cluster.config.time_scale
        assert await told() == ("running", "other")
        cluster.config.status_delay = 0
        assert await told() == ("stopped", "anew")

    run(test)


def test_the_status_daemon_looks_again_and_again(run: Run) -> None:
    async def test(call: Client) -> None:
        cluster = call.server.cluster
        cluster.config.status_delay = 0.2 / cluster.config.time_scale
        cluster.status.start()
        await create(call)
        for status in ("stopped", "running"):
            for _look in range(100):
                rows = (await call("GET", "/cluster/resources", type="vm")).data
                if rows[0]["status"] == status:
                    break
                await asyncio.sleep(0.05)
            assert rows[0]["status"] == status
            await call.task("POST", f"{QEMU}/200/status/start")

    run(test)

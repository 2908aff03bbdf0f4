# SPDX-License-Identifier: GPL-3.0-or-later
"""Power, reboot, shutdown, reset, installing; services, resources, events; faults and the ledger."""

from __future__ import annotations

import asyncio
import ssl
import typing as t

import h2.exceptions
import pytest
import recorded
import yaml
from grpclib.exceptions import StreamTerminatedError
from talos_support import Lab, client_pair, config, connected, context, text, until
from test_talos_access import admin, bootstrapped, configured, run

from simlab.faults import Fault
from simlab.talos import installed_image

STATUS = {"namespace": "runtime", "type": "MachineStatuses.runtime.talos.dev", "id": "machine"}


def test_nothing_answers_without_power(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        await node.power_off()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", lab.ports["10.77.0.11"])
        assert node.describe()["stage"] == "off"
        await node.boot()
        await until(lambda: node.serving and node.runtime.stage == "running")
        assert node.runtime.services.healthy("etcd")

    run(lab, scenario())


def test_a_power_cut_cuts_open_connections(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            await client.call("Version")
            pending = asyncio.ensure_future(client.call("Events", timeout=10))
            await asyncio.sleep(0.1)
            await node.power_off()
            with pytest.raises((StreamTerminatedError, OSError)):
                await asyncio.wait_for(pending, 3)

    run(lab, scenario())


def test_a_reboot_has_another_boot_id_and_certificate_and_keeps_the_configuration(
    lab: Lab, secrets: dict[str, t.Any]
) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        node.machine.time_scale = 0.1  # three calls before the API goes away, on a busy machine too
        boot_id, hostname = node.runtime.boot_id, node.hostname
        before = await _certificate(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            first, second = await client.call("Reboot"), await client.call("Reboot")
            assert first.first.actor_id and first.first.actor_id != second.first.actor_id
            status = await client.call("/cosi.resource.State/Get", STATUS)
            assert yaml.safe_load(status.messages[0].resource.spec.yaml_spec)["stage"] in ("running", "rebooting")
        await until(lambda: not node.serving)
        await until(lambda: node.serving and node.runtime.stage == "running")
        assert (node.runtime.boot_id != boot_id, node.hostname) == (True, hostname)
        assert await _certificate(lab, secrets) != before

    run(lab, scenario())


async def _certificate(lab: Lab, secrets: dict[str, t.Any]) -> bytes:
    tls = context(client_pair(secrets["os"], ["os:reader"]), secrets["os"])
    _, writer = await asyncio.open_connection("127.0.0.1", lab.ports["10.77.0.11"], ssl=tls, server_hostname="x")
    found = t.cast(ssl.SSLObject, writer.get_extra_info("ssl_object")).getpeercert(True)
    writer.close()
    assert found is not None
    return found


def test_a_shutdown_tells_the_hypervisor(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        resources, kind = node.runtime.resources, "MachineStatuses.runtime.talos.dev"
        told: set[str] = set()
        put = resources.put

        def heard(namespace: str, type_: str, id_: str, spec: t.Any, **more: t.Any) -> t.Any:
            if type_ == kind:
                told.add(spec["stage"])
            return put(namespace, type_, id_, spec, **more)

        resources.put = heard  # type: ignore[method-assign]
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            assert (await client.call("Shutdown")).code == "OK"
        await asyncio.wait_for(t.cast(t.Any, node.machine).off.wait(), 5)
        assert not node.serving
        assert told - {"running", "booting"} == {"shutting down"}  # two words, as Talos has them

    run(lab, scenario())


@pytest.mark.parametrize(("labels", "stage"), [(["EPHEMERAL"], "booting"), (["STATE", "EPHEMERAL"], "maintenance")])
def test_a_reset_wipes_what_it_is_told(lab: Lab, secrets: dict[str, t.Any], labels: list[str], stage: str) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        wipe = [{"label": label, "wipe": True} for label in labels]
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call("Reset", {"reboot": True, "system_partitions_to_wipe": wipe})
            assert answer.code == "OK", answer.message
        await until(lambda: not node.serving)
        await until(lambda: node.powered and node.runtime.stage == stage and bool(node.addresses()))
        if stage == "booting":
            await until(lambda: node.serving)
            async with connected(lab, "10.77.0.11", admin(secrets)) as client:
                await until(lambda: node.runtime.services.healthy("cri"))
                assert (await client.call("Bootstrap")).code == "OK"
        else:
            assert node.storage.read_config() is None

    run(lab, scenario())


def test_a_whole_reset_leaves_a_disk_that_boots_nothing(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            assert (await client.call("Reset", {"reboot": True})).code == "OK"
        await until(lambda: any("no bootable device" in problem for problem in node.problems))
        assert not node.serving

    run(lab, scenario())


def test_an_iso_installs_and_boots_from_the_disk(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = lab.node("10.77.0.11", platform="metal", medium="iso")
        await node.boot()
        await until(lambda: node.describe()["stage"] == "maintenance" and "10.77.0.11" in lab.ports)
        boot_id = node.runtime.boot_id
        async with connected(lab, "10.77.0.11", context()) as client:
            without = config(secrets)
            del without["machine"]["install"]
            answer = await client.call("ApplyConfiguration", {"data": text(without), "mode": "AUTO"})
            assert 'install instructions are required in "metal" mode' in answer.message
            assert (
                await client.call("ApplyConfiguration", {"data": text(config(secrets)), "mode": "AUTO"})
            ).code == "OK"
        await until(lambda: node.runtime.stage == "installing")
        await until(lambda: node.powered and node.runtime.boot_id != boot_id and node.serving)
        image = installed_image(node.storage.disk)
        assert image is not None and (image.medium, image.version) == ("disk", "v1.13.9")
        await until(lambda: node.runtime.services.healthy("cri"))

    run(lab, scenario())


# --- services, resources, events
def test_services_go_through_the_recorded_states(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            services = {service.id: service for service in (await client.call("ServiceList")).first.services}
        etcd = [(event.state, event.msg) for event in services["etcd"].events.events]
        assert [state for state, _ in etcd] == [
            "Starting", "Waiting", "Waiting", "Preparing", "Preparing", "Running", "Running"
        ]  # fmt: skip
        assert etcd[1][1].startswith("Waiting for volumes /var/lib, ETCD to be mounted")
        assert etcd[-1][1] == "Health check successful"
        for name in ("apid", "containerd", "cri", "etcd", "kubelet", "machined", "trustd"):
            assert (services[name].state, services[name].health.healthy) == ("Running", True), name
        assert "ext-qemu-guest-agent" in services

    run(lab, scenario())


def test_before_bootstrap_the_machine_says_what_it_waits_for(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await configured(lab, secrets, "10.77.0.11")
        await until(lambda: node.serving and node.runtime.services.healthy("kubelet"))
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            status = yaml.safe_load(
                (await client.call("/cosi.resource.State/Get", STATUS)).messages[0].resource.spec.yaml_spec
            )
            etcd = next(s for s in (await client.call("ServiceList")).first.services if s.id == "etcd")
        assert status["stage"] == "booting"
        assert status["status"]["unmetConditions"][0] == {"name": "services", "reason": "etcd not running"}
        assert (etcd.state, etcd.health.unknown) == ("Preparing", True)

    run(lab, scenario())


def test_bootstrap_too_early_is_refused(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await configured(lab, secrets, "10.77.0.11")
        node.machine.time_scale = 1.0
        await until(lambda: node.serving)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call("Bootstrap")
        assert (answer.code, answer.message) == ("FAILED_PRECONDITION", "bootstrap is not available yet")

    run(lab, scenario())


@pytest.mark.parametrize("call", recorded.calls("maintenance/cosi.txt"), ids=lambda call: call.arguments[:60])
def test_cosi_in_maintenance(lab: Lab, call: recorded.Recorded) -> None:
    async def scenario() -> None:
        node = lab.node("10.77.0.11")
        await node.boot()
        await until(lambda: node.describe()["stage"] == "maintenance" and "10.77.0.11" in lab.ports)
        request = yaml.safe_load(call.arguments) if call.arguments else {}
        async with connected(lab, "10.77.0.11", context()) as client:
            answer = await client.call(call.path, request, timeout=0.3)
        message = "" if call.code == "DEADLINE_EXCEEDED" else call.message
        assert (answer.code, answer.message if answer.code != "DEADLINE_EXCEEDED" else "") == (call.code, message)
        if call.path.endswith("Watch"):
            kinds = [[event.event_type for event in message.event] for message in answer.messages]
            assert kinds == [[], [0], [3]]

    run(lab, scenario())


def test_events_begin_with_an_empty_one_and_tell_the_past(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call("Events", {"tail_events": -1}, timeout=0.3)
        assert answer.messages[0].data.type_url == ""
        kinds = {message.data.type_url for message in answer.messages[1:]}
        assert "talos/runtime/machine.ServiceStateEvent" in kinds
        assert "talos/runtime/machine.SequenceEvent" in kinds

    run(lab, scenario())


# --- faults and the ledger
async def maintenance(lab: Lab) -> None:
    node = lab.node("10.77.0.11")
    await node.boot()
    await until(lambda: node.describe()["stage"] == "maintenance" and "10.77.0.11" in lab.ports)


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "garbage", "cut", "kill-before", "kill-after"])
def test_faults_that_cut_the_connection(lab: Lab, secrets: dict[str, t.Any], kind: str) -> None:
    killed: list[bool] = []

    async def kill() -> None:
        killed.append(True)

    async def scenario() -> None:
        await maintenance(lab)
        lab.faults.kill_playbook = kill
        lab.faults.add(Fault(kind, api="talos", verb="ApplyConfiguration", writes=True))
        async with connected(lab, "10.77.0.11", context()) as client:
            request = {"data": text(config(secrets), "cp1"), "mode": "AUTO"}
            with pytest.raises((StreamTerminatedError, OSError, h2.exceptions.ProtocolError, asyncio.TimeoutError)):
                await client.call("ApplyConfiguration", request, timeout=3)
        done = kind in ("drop-after", "kill-after", "cut")
        assert (lab.nodes[0].storage.read_config() is not None) is done
        assert killed == ([True] if kind.startswith("kill") else [])
        assert [entry.result for entry in lab.ledger.entries() if entry.write] == ["dropped"]

    run(lab, scenario())


def test_faults_that_answer_or_delay(lab: Lab) -> None:
    async def scenario() -> None:
        await maintenance(lab)
        lab.faults.add(Fault("answer", verb="Version", args={"status": "UNAVAILABLE", "text": "no"}))
        lab.faults.add(Fault("delay", verb="Hostname", args={"seconds": 0.3}))
        async with connected(lab, "10.77.0.11", context()) as client:
            answer = await client.call("Version")
            assert (answer.code, answer.message) == ("UNAVAILABLE", "no")
            assert (await client.call("Version")).code == "OK"
            began = asyncio.get_running_loop().time()
            assert (await client.call("Hostname")).code == "OK"
            assert asyncio.get_running_loop().time() - began >= 0.3

    run(lab, scenario())


def test_the_ledger_has_every_request_and_no_secret(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        await maintenance(lab)
        async with connected(lab, "10.77.0.11", context()) as client:
            data = text(config(secrets), "cp1")
            await client.call("Version")
            await client.call("ApplyConfiguration", {"data": data, "mode": "AUTO", "dry_run": True})
            await client.call("Reboot")
            await client.call("ApplyConfiguration", {"data": data, "mode": "AUTO"})
        found = [(entry.verb, entry.write, entry.result, entry.caller) for entry in lab.ledger.entries()]
        assert found == [
            ("Version", False, "OK", "maintenance"),
            ("ApplyConfiguration", False, "OK", "maintenance"),
            ("Reboot", True, "PERMISSION_DENIED", "maintenance"),
            ("ApplyConfiguration", True, "OK", "maintenance"),
        ]
        assert "abcdef" not in repr(lab.ledger.entries())

    run(lab, scenario())


def test_the_kubelet_restarts_when_asked(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call("ServiceRestart", {"id": "kubelet"})
            assert answer.first.resp == 'Service "kubelet" restarted'
            stopped = await client.call("ServiceStop", {"id": "kubelet"})
            assert stopped.message == 'service "kubelet" doesn\'t support stop operation via API'
        await until(lambda: node.runtime.services.healthy("kubelet"))

    run(lab, scenario())


def test_documents_that_exclude_each_other_are_refused() -> None:
    from simlab.talos.documents import ConfigError, load

    two = (
        b"apiVersion: v1alpha1\nkind: LinkConfig\nname: eth1\n---\n"
        b"apiVersion: v1alpha1\nkind: VLANConfig\nname: eth1\nvlanID: 5\nparent: eth0\n"
    )
    with pytest.raises(ConfigError, match="conflicting documents: LinkConfig/eth1 and VLANConfig/eth1"):
        load(two)

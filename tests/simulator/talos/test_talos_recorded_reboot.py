# SPDX-License-Identifier: GPL-3.0-or-later
"""A reboot that is asked for twice, what a node without a network plugin says after it, and the members of a cluster,
as real nodes of a cluster of three and one told them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import typing as t

import recorded
import yaml
from talos_support import Client, FakeKubernetes, Lab, connected, until
from test_talos_access import admin, bootstrapped, configured, run

MEMBERS = {"namespace": "cluster", "type": "Members.cluster.talos.dev"}
TEXT = (recorded.ROOT / "cluster" / "reboot.txt").read_text(encoding="utf-8")
_SERVICE = re.compile(r"^10\.77\.0\.13 +(\w+) +(\w+) +(\S+) +\S+ ago +(.*)$", re.MULTILINE)


def services_at_last() -> dict[str, tuple[str, str, str]]:
    """State, health and latest event of each service, nine seconds after the boot; a node in container mode has fewer."""
    return {name: (state, health, event) for name, state, health, event in _SERVICE.findall(TEXT)}


async def services(client: Client) -> dict[str, tuple[str, str, str]]:
    found = (await client.call("ServiceList")).first.services
    health = {(False, True): "OK", (False, False): "Fail"}
    return {
        one.id: (one.state, health.get((one.health.unknown, one.health.healthy), "?"), one.events.events[-1].msg)
        for one in found
    }


class Unready(FakeKubernetes):
    """Without a network plugin, the kubelet never calls its node ready."""

    def node_object(self) -> t.Any:
        found = super().node_object()
        return found and {**found, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}


def test_a_reboot_as_recorded(lab: Lab, secrets: dict[str, t.Any]) -> None:
    first, second, looked = recorded.calls("cluster/reboot.txt")[:3]
    assert [call.path.rpartition("/")[2] for call in (first, second, looked)] == ["Reboot", "Reboot", "Get"]
    told = re.search(r'"yaml_spec":("stage: rebooting.*?")\}', TEXT)
    assert told is not None

    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        boot, machine = node.runtime.boot_id, t.cast(t.Any, node.machine)
        machine.time_scale = 0.1  # three calls before the API goes away, on a busy machine too
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            actors = []
            for call in (first, second):
                answer = await client.call(call.path)
                assert (answer.code, answer.message) == (call.code, call.message)
                actors.append(answer.first.actor_id)
            assert len({*actors, ""}) == 3
            await until(lambda: node.runtime.stage == "rebooting")
            status = await client.call(looked.path, json.loads(looked.arguments))
            assert status.messages[0].resource.spec.yaml_spec == json.loads(told[1])
        machine.time_scale = 0
        await until(lambda: node.serving and node.runtime.boot_id != boot)
        await until(lambda: node.runtime.stage == "running")
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            assert services_at_last().items() <= (await services(client)).items()

    run(lab, scenario())


def test_a_node_that_is_not_ready_stays_booting_as_recorded(lab: Lab, secrets: dict[str, t.Any]) -> None:
    told = re.search(r"^spec:\n((?:    .*\n)+)", TEXT, re.MULTILINE)
    assert told is not None
    lab.settings = dataclasses.replace(lab.settings, kubernetes=t.cast(t.Any, Unready))
    asked = {"namespace": "runtime", "type": "MachineStatuses.runtime.talos.dev", "id": "machine"}

    async def scenario() -> None:
        node = await configured(lab, secrets, "10.77.0.11")
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            assert (await client.call("Bootstrap")).code == "OK"
            await until(lambda: node.runtime.services.healthy("etcd") and node.runtime.services.healthy("kubelet"))
            seen: list[t.Any] = []
            async with asyncio.timeout(5):
                while expected(told[1], node.hostname) not in seen:
                    answer = await client.call("/cosi.resource.State/Get", asked)
                    seen.append(yaml.safe_load(answer.messages[0].resource.spec.yaml_spec))
            assert services_at_last().items() <= (await services(client)).items()

    run(lab, scenario())


def expected(text: str, hostname: str) -> t.Any:
    return yaml.safe_load(text.replace('"cp3"', f'"{hostname}"'))


def test_members_are_told_as_recorded(lab: Lab, secrets: dict[str, t.Any]) -> None:
    texts = (recorded.ROOT / "cluster" / "members.yaml").read_text(encoding="utf-8").split("\n---\n")
    wanted = [yaml.safe_load(one) for one in texts]
    assert [one["spec"]["hostname"] for one in wanted] == ["cp1", "cp2", "cp3", "w1"]

    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        for number, address in ((1, "10.77.0.12"), (2, "10.77.0.13"), (3, "10.77.0.21")):
            kind = "worker" if address.endswith("21") else "controlplane"
            await configured(lab, secrets, address, kind, vmid=100 + number)
        names = {f"n{100 + number}": one["spec"]["hostname"] for number, one in enumerate(wanted)}
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            found: list[t.Any] = []
            async with asyncio.timeout(10):
                while len(found) < len(wanted):
                    found = (await client.call("/cosi.resource.State/List", MEMBERS)).messages
        for told, message in zip(wanted, found, strict=True):
            resource = message.resource
            spec = yaml.safe_load(resource.spec.yaml_spec)
            assert (resource.metadata.owner, resource.metadata.phase) == (
                told["metadata"]["owner"],
                told["metadata"]["phase"],
            )
            assert list(spec) == list(told["spec"])
            assert re.fullmatch(r"[0-9A-Za-z]{42,44}", spec.pop("nodeId")) and told["spec"].pop("nodeId")
            assert {**spec, "hostname": names[spec["hostname"]]} == told["spec"]
            assert names[resource.metadata.id] == told["metadata"]["id"]

    run(lab, scenario())

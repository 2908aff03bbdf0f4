# SPDX-License-Identifier: GPL-3.0-or-later
"""A reboot that takes over another, a worker's reset in a container, the first steps of a recovery, a health check with
given nodes: as recorded."""

from __future__ import annotations

import dataclasses
import re
import types
import typing as t

import pytest
import recorded
from talos_support import FakeKubernetes, Lab, connected, until
from test_talos_access import admin, bootstrapped, configured, run
from test_talos_recorded_cluster import CLUSTER, recorded_events

ADDRESS, WORKER = "10.77.0.11", "10.77.0.21"


def told(node: t.Any, since: int) -> list[tuple[str, str, str, str]]:
    """Events in the form of the recording: kind, actor, name, action. Those of the machine's status are left out."""
    from simlab.talos import schema

    fields = {"SequenceEvent": "sequence", "PhaseEvent": "phase", "TaskEvent": "task", "ServiceStateEvent": "service"}
    found = []
    for event in [one.as_message() for one in node.runtime.events.past(-1, 0, "")[since:]]:
        kind = event["data"]["type_url"].rpartition(".")[2]
        if kind not in fields:
            continue
        payload = schema.message(f"machine.{kind}")()
        payload.ParseFromString(event["data"]["value"])
        action = type(payload).Action.Name(payload.action)
        if kind == "SequenceEvent" and payload.error.message:
            action = f"error: {payload.error.message}"
        found.append((kind, event["actor_id"], getattr(payload, fields[kind]), action))
    return found


def test_a_second_reboot_takes_over_the_first_as_recorded(lab: Lab, secrets: dict[str, t.Any]) -> None:
    expected = recorded_events()
    actors = list(dict.fromkeys(event[1] for event in expected if event[1]))
    assert len(actors) == 2

    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        node.machine.time_scale = 20.0  # the second one comes before the pods are told to go
        seen = len(node.runtime.events.past(-1, 0, ""))
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            first = (await client.call("Reboot")).first.actor_id
            await until(lambda: node.runtime.stage == "rebooting")
            second = (await client.call("Reboot")).first.actor_id
            await until(lambda: ("SequenceEvent", second, "reboot", "START") in told(node, seen))
        node.machine.time_scale = 0.005
        runtime = node.runtime
        await until(lambda: not node.serving)
        old = types.SimpleNamespace(runtime=runtime)
        renamed = {first: actors[0], second: actors[1], "": ""}
        found = [(kind, renamed[actor], name, action) for kind, actor, name, action in told(old, seen)]
        assert len(expected) > 20
        assert [(*one[:3], one[3][:40]) for one in found][: len(expected)] == [
            (*one[:3], _whole(one)[:40]) for one in expected
        ]

    run(lab, scenario())


def _whole(event: tuple[str, str, str, str]) -> str:
    """The recording cuts a long error at its first word."""
    return "error: sequence failed: error running phase 1" if event[3].startswith("error") else event[3]


def test_a_worker_in_a_container_is_reset_without_wiping_and_is_off(lab: Lab, secrets: dict[str, t.Any]) -> None:
    text = (CLUSTER / "reset-w1.txt").read_text(encoding="utf-8")
    call = recorded.calls("cluster/reset-w1.txt")[0]
    stopped = re.findall(r"service\[(\w+)\]\(Finished\): (.*)", text)
    phases = re.findall(r"phase (\w+) \(", text)

    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        node = await configured(lab, secrets, WORKER, "worker", vmid=121)
        node.image = dataclasses.replace(node.image, platform="container")
        await until(lambda: node.serving and node.runtime.services.healthy("kubelet"))
        runtime, seen = node.runtime, len(node.runtime.events.past(-1, 0, ""))
        async with connected(lab, WORKER, admin(secrets)) as client:
            answer = await client.call(call.path, {"graceful": True, "reboot": True})
        assert (answer.code, answer.message) == (call.code, call.message)
        await until(lambda: not node.powered)
        events = told(types.SimpleNamespace(runtime=runtime), seen)
        finished = [name for kind, _, name, action in events if (kind, action) == ("ServiceStateEvent", "FINISHED")]
        assert [name for name in finished if name in dict(stopped)] == [name for name, _ in stopped]
        began = [name for kind, actor, name, action in events if actor and (kind, action) == ("PhaseEvent", "START")]
        assert began == list(dict.fromkeys(phases))
        assert node.storage.read_config() is not None, "nothing is wiped in a container"

    run(lab, scenario())


def test_the_first_steps_of_a_recovery_as_recorded(lab: Lab, secrets: dict[str, t.Any]) -> None:
    text = (CLUSTER / "disaster-1.txt").read_text(encoding="utf-8")
    unreachable = re.findall(r"desc = (connection error: .*10\.77\.0\.12.*)", text)[0]

    async def scenario() -> None:
        node = await configured(lab, secrets, ADDRESS)
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        await node.power_off()
        await node.boot()
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        lab.ports["10.77.0.12"] = 9  # a machine that is there, and no API on it
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            etcd = next(one for one in (await client.call("ServiceList")).first.services if one.id == "etcd")
            assert (etcd.state, etcd.health.unknown) == ("Preparing", True)
            listed = {"namespace": "config", "type": "MachineConfigs.config.talos.dev"}
            configs = (await client.call("/cosi.resource.State/List", listed)).messages
            assert [one.resource.metadata.id for one in configs] == ["v1alpha1"]
            answer = await client.call("ServiceList", metadata={"node": "10.77.0.12"})
            assert (answer.code, answer.message) == ("UNAVAILABLE", unreachable)
            assert (await client.call("EtcdRecover", {"bytes": b"a snapshot"})).code == "OK"
            assert (await client.call("Bootstrap", {"recover_etcd": True})).code == "OK"

    run(lab, scenario())


class Pods(FakeKubernetes):
    """A control plane whose static pods are always ready."""

    def __init__(self, *arguments: t.Any) -> None:
        super().__init__(*arguments)
        self.control_plane = self if self.etcd is not None else None

    def pods(self) -> list[t.Any]:
        common = {"manifest": {}, "state": "running", "ready": True, "pid": 1, "exit_code": None, "restarts": 0}
        names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        return [types.SimpleNamespace(name=name, reason="", message="", **common) for name in names]


@pytest.mark.parametrize("explicit", [True, False])
def test_a_health_check_says_the_recorded_lines(lab: Lab, secrets: dict[str, t.Any], explicit: bool) -> None:
    lab.settings = dataclasses.replace(lab.settings, kubernetes=Pods)
    lines = (CLUSTER / "health-explicit.txt").read_text(encoding="utf-8").splitlines()

    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        assert node.runtime.config is not None
        node.runtime.config.documents[0]["cluster"]["coreDNS"] = {"disabled": True}  # as on the recorded nodes
        info = {"cluster_info": {"control_plane_nodes": [ADDRESS]}} if explicit else {}
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            path = "/cluster.ClusterService/HealthCheck"
            answer = await client.call(path, {"wait_timeout": {"seconds": 5}, **info}, timeout=10)
        said = [message.message for message in answer.messages]
        assert (answer.code, said[0]) == ("OK", f'discovered nodes: ["{ADDRESS}"]')
        assert said[1:] == lines[1:]

    run(lab, scenario())

# SPDX-License-Identifier: GPL-3.0-or-later
"""Reboot, leaving etcd, recovery and a lone worker, as real nodes of a cluster answered: codes, words, order of events."""

from __future__ import annotations

import base64
import re
import typing as t

import pytest
import recorded
import yaml
from talos_support import Lab, config, connected, context, text, until
from test_talos_access import admin, bootstrapped, configured, run

CLUSTER = recorded.ROOT / "cluster"
ADDRESS = "10.77.0.11"
_EVENT = re.compile(r"talos/runtime/machine\.(\w+)$")


def recorded_events() -> list[tuple[str, str, str, str]]:
    """``(kind, actor, name, action)`` of the recorded reboot; a service's action without its words."""
    found, kind = [], ""
    for line in (CLUSTER / "events-reboot-cp3.txt").read_text(encoding="utf-8").splitlines()[1:]:
        if match := _EVENT.search(line):
            kind = match[1]
            continue
        words = line.split()
        if kind == "ServiceStateEvent":
            found.append((kind, "", words[0], words[1].rstrip(":")))
        elif kind != "MachineStatusEvent":
            found.append((kind, words[0], words[1], words[2].rstrip(":")))
    return found


def whole_reboot() -> list[tuple[str, str, str]]:
    """The recorded reboot that was not taken over by another: it is the last actor's."""
    events = recorded_events()
    actor = [event[1] for event in events if event[1]][-1]
    begin = events.index(("SequenceEvent", actor, "reboot", "START"))
    return [(kind, name, action) for kind, _, name, action in events[begin:]]


def arguments(call: recorded.Recorded) -> dict[str, t.Any]:
    """As recorded; bytes stand there in base64."""
    given = yaml.safe_load(call.arguments) if call.arguments else {}
    return {key: base64.b64decode(value) if key == "bytes" else value for key, value in given.items()}


def named(payload: t.Any, kind: str) -> tuple[str, str, str]:
    field = {"SequenceEvent": "sequence", "PhaseEvent": "phase", "TaskEvent": "task", "ServiceStateEvent": "service"}
    number = payload.action
    return kind, getattr(payload, field[kind]), type(payload).Action.Name(number)


def test_a_reboot_s_events_come_in_the_recorded_order(lab: Lab, secrets: dict[str, t.Any]) -> None:
    expected = whole_reboot()
    assert len(expected) > 12

    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        events = node.runtime.events
        seen = len(events.past(-1, 0, ""))
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            answer = await client.call("Reboot")
        await until(lambda: not node.serving)
        after = [event.as_message() for event in events.past(-1, 0, "")[seen:]]
        actors = {event["actor_id"] for event in after if event["actor_id"]}
        assert actors == {answer.first.actor_id}
        found = []
        for event in after:
            kind = event["data"]["type_url"].rpartition(".")[2]
            if kind != "MachineStatusEvent" and kind != "AddressEvent":
                payload = _schema().message(f"machine.{kind}")()
                payload.ParseFromString(event["data"]["value"])
                found.append(named(payload, kind))
        assert found[: len(expected)] == expected

    run(lab, scenario())


def _schema() -> t.Any:
    from simlab.talos import schema

    return schema


def test_leaving_etcd_and_recovering_a_running_member_as_recorded(lab: Lab, secrets: dict[str, t.Any]) -> None:
    calls = recorded.calls("cluster/recover-leave.txt")
    assert [call.path.rpartition("/")[2] for call in calls] == ["EtcdRecover", "Bootstrap", "EtcdLeaveCluster"]

    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            for call in calls:
                answer = await client.call(call.path, arguments(call))
                assert (answer.code, answer.message) == (call.code, call.message), call.path
            left = await client.call("List", {"root": "/var/lib/etcd"})
            services = {service.id: service for service in (await client.call("ServiceList")).first.services}
        text_ = (CLUSTER / "recover-leave.txt").read_text(encoding="utf-8")
        assert f"code = Unknown desc = {left.message}" in text_ and left.code == "UNKNOWN"
        etcd = services["etcd"]
        assert (etcd.state, etcd.health.healthy, etcd.health.last_message) == ("Finished", False, "service not running")
        states = [line.split("]")[0] for line in re.findall(r"\[(\w+\]: .*)\(", text_)]
        assert [event.state for event in reversed(etcd.events.events)] == states
        assert node.runtime.services.get("etcd").state == "Finished"  # type: ignore[union-attr]

    run(lab, scenario())


def test_a_recovery_without_a_snapshot_fails_in_the_recorded_words(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await configured(lab, secrets, ADDRESS)
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            assert (await client.call("Bootstrap", {"recover_etcd": True})).code == "OK"
            await until(lambda: node.runtime.services.get("etcd").state == "Failed")  # type: ignore[union-attr]
            etcd = next(one for one in (await client.call("ServiceList")).first.services if one.id == "etcd")
        words = "error verifying snapshot: stat /var/lib/etcd.snapshot: no such file or directory"
        assert etcd.events.events[-1].msg == words

    run(lab, scenario())


def test_a_recovery_from_an_upload_as_recorded(lab: Lab, secrets: dict[str, t.Any]) -> None:
    call = recorded.calls("cluster/disaster-2.txt")[0]

    async def scenario() -> None:
        node = await configured(lab, secrets, ADDRESS)
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            assert (await client.call("EtcdRecover", {"bytes": b"a snapshot"})).code == "OK"
            answer = await client.call(call.path, yaml.safe_load(call.arguments))
            assert (answer.code, answer.message) == (call.code, call.message)
            await until(lambda: node.runtime.services.healthy("etcd"))
            etcd = next(one for one in (await client.call("ServiceList")).first.services if one.id == "etcd")
        found = [(event.state, event.msg) for event in etcd.events.events]
        text_ = (CLUSTER / "disaster-2.txt").read_text(encoding="utf-8")
        wanted = re.findall(r"\[(\w+)\]: (.*) \(\S+ ago\)", text_)
        # The recording starts its service once more after the reboot, without a second "Waiting".
        played = [(state, re.sub(r"PID \d+", "PID 291", words)) for state, words in reversed(found)]
        assert [one for one in played if one in wanted] == wanted
        assert not node.storage.snapshot.exists()

    run(lab, scenario())


def test_a_worker_alone_takes_its_config_and_then_has_no_api(lab: Lab, secrets: dict[str, t.Any]) -> None:
    call = recorded.calls("cluster/worker-alone.txt")[0]

    async def scenario() -> None:
        node = lab.node("10.77.0.21")
        await node.boot()
        await until(lambda: node.describe()["stage"] == "maintenance" and "10.77.0.21" in lab.ports)
        async with connected(lab, "10.77.0.21", context()) as client:
            data = text(config(secrets, "worker"), "w1")
            answer = await client.call(call.path, {"data": data, "mode": "AUTO"})
        assert answer.code == call.code, answer.message
        assert answer.first.mode_details == "Applied configuration without a reboot"
        await until(lambda: node.runtime.services.healthy("kubelet"))
        assert not node.serving
        apid = node.runtime.services.get("apid")
        assert apid is not None and not apid.healthy
        recorded_text = (CLUSTER / "worker-alone.txt").read_text(encoding="utf-8")
        states = {
            name: [(event[1], re.sub(r"PID \d+", "PID", event[0])) for event in service.events]
            for name in ("cri", "kubelet")
            if (service := node.runtime.services.get(name))
        }
        for name, state, words in re.findall(r"service\[(cri|kubelet)\]\((\w+)\): (.*)", recorded_text):
            assert (state, re.sub(r"PID \d+", "PID", words)) in states[name]

    run(lab, scenario())


@pytest.mark.parametrize("path", ["/var/lib/nothing", "/var/lib/etcd"])
def test_a_directory_that_is_not_there_is_said_as_lstat_says_it(lab: Lab, secrets: dict[str, t.Any], path: str) -> None:
    async def scenario() -> None:
        node = await configured(lab, secrets, ADDRESS)
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            missing = await client.call("List", {"root": path})
            top = await client.call("List", {"root": "/var"})
            other = await client.call("List", {"root": "/etc"})
        assert (missing.code, missing.message) == ("UNKNOWN", f"lstat {path}: no such file or directory")
        assert (top.code, top.messages[0].name, top.messages[0].relative_name) == ("OK", "/var", ".")
        assert (other.code, other.message) == ("UNIMPLEMENTED", "listing /etc is not simulated")

    run(lab, scenario())

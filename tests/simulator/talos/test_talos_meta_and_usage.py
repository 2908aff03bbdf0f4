# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of META, what directories hold, streams of several nodes as one."""

from __future__ import annotations

import typing as t

import yaml
from talos_support import Lab, connected, until
from test_talos_access import admin, bootstrapped, configured, run

ADDRESS, WORKER = "10.77.0.11", "10.77.0.21"
KEYS = {"namespace": "runtime", "type": "MetaKeys.runtime.talos.dev"}


def test_values_of_meta_are_kept_over_a_reboot(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            assert (await client.call("MetaWrite", {"key": 10, "value": b"hello"})).code == "OK"
            assert (await client.call("MetaDelete", {"key": 11})).message == "meta key not found"
            assert (await client.call("MetaWrite", {"key": 300, "value": b"x"})).message == "key must be a uint8"
            full = await client.call("MetaWrite", {"key": 12, "value": b"x" * (300 << 10)})
            assert (full.code, full.message) == ("RESOURCE_EXHAUSTED", "meta write failed")
        await node.power_off()
        await node.boot()
        await until(lambda: node.serving)
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            (kept,) = (await client.call("/cosi.resource.State/List", KEYS)).messages
            assert (kept.resource.metadata.id, yaml.safe_load(kept.resource.spec.yaml_spec)) == (
                "0x0a",
                {"value": "hello"},
            )
            assert (await client.call("MetaDelete", {"key": 10})).code == "OK"
            assert (await client.call("/cosi.resource.State/List", KEYS)).messages == []

    run(lab, scenario())


def test_what_directories_hold(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        deep = node.storage.ephemeral / "lib" / "a"
        deep.mkdir(parents=True)
        (deep / "big").write_bytes(b"x" * 10_000)
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            usage = (await client.call("DiskUsage", {"paths": ["/var/lib/a"], "all": True})).messages
            assert [(one.relative_name, one.size >= 10_000) for one in usage] == [("big", True), (".", True)]
            folders = (await client.call("DiskUsage", {"paths": ["/var"], "recursion_depth": 1})).messages
            assert [(one.name, one.size > 10_000) for one in folders] == [("/var", True)]
            small = (await client.call("DiskUsage", {"paths": ["/var/lib/a"], "threshold": 50_000})).messages
            assert small == []
            (missing,) = (await client.call("DiskUsage", {"paths": ["/var/none"]})).messages
            assert missing.error == "lstat /var/none: no such file or directory"
            other = await client.call("DiskUsage", {"paths": ["/etc"]})
            assert (other.code, other.message) == ("UNIMPLEMENTED", "the usage of /etc is not simulated")

    run(lab, scenario())


def test_streams_of_several_nodes_come_as_one_and_say_whose_they_are(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        worker = await configured(lab, secrets, WORKER, "worker", vmid=121)
        await until(lambda: worker.serving)
        both = [("nodes", ADDRESS), ("nodes", WORKER), ("nodes", "10.77.0.99")]
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            answer = await client.call("Dmesg", metadata=both)
            assert answer.code == "OK"
            assert {part.metadata.hostname for part in answer.messages} == {ADDRESS, WORKER, "10.77.0.99"}
            (dead,) = [part for part in answer.messages if part.metadata.hostname == "10.77.0.99"]
            assert (dead.metadata.status.code, dead.bytes) == (14, b"")
            refused = await client.call("Kubeconfig", metadata=[("nodes", WORKER)])
            (told,) = refused.messages
            assert told.metadata.status.message == "kubeconfig is only available on control plane nodes"
            many = await client.call("EtcdRecover", {"bytes": b"x"}, metadata=both)
            assert many.message == "EtcdRecover on several nodes at once is not simulated"

    run(lab, scenario())

# SPDX-License-Identifier: GPL-3.0-or-later
"""From maintenance to a running, bootstrapped node."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import typing as t

import yaml
from talos_support import Lab, client_pair, config, connected, context, text, until

STATUS = {
    "namespace": "runtime",
    "type": "MachineStatuses.runtime.talos.dev",
    "id": "machine",
}


def test_a_disk_image_goes_from_maintenance_to_running(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = lab.node("10.77.0.11")
        await node.boot()
        await until(lambda: node.describe()["stage"] == "maintenance" and "10.77.0.11" in lab.ports)
        async with connected(lab, "10.77.0.11", context()) as client:
            version = await client.call("Version")
            assert version.first.version.tag == "v1.13.9"
            assert not version.first.HasField("features")
            status = await client.call("/cosi.resource.State/Get", STATUS)
            assert yaml.safe_load(status.messages[0].resource.spec.yaml_spec)["stage"] == "maintenance"
            uploaded = text(config(secrets), "cp1")
            answer = await client.call("ApplyConfiguration", {"data": uploaded, "mode": "AUTO"})
            assert (answer.code, answer.first.mode_details) == (
                "OK",
                "Applied configuration without a reboot",
            )
        await until(lambda: node.serving)
        admin = context(client_pair(secrets["os"], ["os:admin"]), secrets["os"])
        async with connected(lab, "10.77.0.11", admin) as client:
            got = await client.call(
                "/cosi.resource.State/Get",
                {
                    "namespace": "config",
                    "type": "MachineConfigs.config.talos.dev",
                    "id": "v1alpha1",
                },
            )
            assert yaml.safe_load(got.messages[0].resource.spec.yaml_spec).encode() == uploaded
            await until(lambda: node.runtime.services.healthy("cri"))
            assert (await client.call("EtcdStatus", timeout=0.3)).code == "DEADLINE_EXCEEDED"
            assert (await client.call("Bootstrap")).code == "OK"
            await until(lambda: node.runtime.stage == "running")
            again = await client.call("Bootstrap")
            assert (again.code, again.message) == (
                "ALREADY_EXISTS",
                "etcd data directory is not empty",
            )
            kubeconfig = await client.call("Kubeconfig")
            raw = gzip.decompress(kubeconfig.messages[0].bytes)
            archive = tarfile.open(fileobj=io.BytesIO(raw))
            member = archive.next()
            assert member is not None and member.name == "kubeconfig"
            content = yaml.safe_load(t.cast(t.Any, archive.extractfile(member)).read())
            assert content["clusters"][0]["cluster"]["server"] == "https://10.77.0.11:6443"
        await lab.close()

    asyncio.run(scenario())

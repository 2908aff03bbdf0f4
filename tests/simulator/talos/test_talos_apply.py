# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply modes, dry runs, trying, staging: texts and effects as recorded."""

from __future__ import annotations

import asyncio
import copy
import re
import typing as t

import pytest
import recorded
import yaml
from talos_support import Client, Lab, connected, context, text, until
from test_talos_access import admin, bootstrapped, run

CONFIGS = "MachineConfigs.config.talos.dev"
SECTION = re.compile(r"^##### (\w+) (\w+) dry$")


def base() -> dict[str, t.Any]:
    """The recorded lab's configuration, so that line numbers in diffs are the same."""
    return dict(yaml.safe_load(recorded.filled(recorded.base()).partition("---\n")[0]))


def variant(name: str) -> dict[str, t.Any]:
    """What the recording calls controlplane, label, label2, env and warn."""
    document = copy.deepcopy(base())
    machine = document["machine"]
    if name in ("label", "label2", "env"):
        machine["nodeLabels"]["lab.test/a"] = "2" if name == "label2" else "1"
    if name == "env":
        machine["env"] = {"LAB": "1"}
    if name == "warn":
        machine["install"] |= {"extraKernelArgs": ["x=1"], "grubUseUKICmdline": False}
        machine["features"]["rbac"] = True
    return document


def with_secrets(document: dict[str, t.Any], secrets: dict[str, t.Any]) -> bytes:
    """Real keys, so that the node can serve."""
    document = copy.deepcopy(document)
    document["machine"]["ca"] = secrets["os"]
    document["cluster"] |= {
        "ca": secrets["k8s"],
        "aggregatorCA": secrets["aggregator"],
        "serviceAccount": secrets["serviceAccount"],
        "etcd": {"ca": secrets["etcd"]},
    }
    return text(document)


def dry_runs() -> list[tuple[str, str, str, str]]:
    """(mode, configuration, code, details or message) of ``apply/dry-run-running.txt``."""
    lines = (recorded.ROOT / "apply" / "dry-run-running.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines):
        match = SECTION.match(line)
        if match is None:
            continue
        result = recorded._RESULT.match(lines[number + 2])
        assert result is not None
        end = next((i for i in range(number + 1, len(lines)) if SECTION.match(lines[i])), len(lines))
        body = lines[number + 5 : end] if result[1] == "OK" else []
        details = "\n".join(body) + "\n" if body and body[-1] != "No changes." else "\n".join(body)
        message = yaml.safe_load(f'"{result[2]}"')
        found.append((match[1], match[2], recorded._code(result[1]), _trimmed(details) or message))
    return found


def _trimmed(details: str) -> str:
    return details.rstrip("\n")


async def apply(client: Client, data: bytes, mode: str, **more: t.Any) -> t.Any:
    return await client.call("ApplyConfiguration", {"data": data, "mode": mode, **more})


async def stored(client: Client, id_: str) -> str | None:
    """The label ``lab.test/a`` of the active or the persistent configuration; None when there is no resource."""
    answer = await client.call("/cosi.resource.State/Get", {"namespace": "config", "type": CONFIGS, "id": id_})
    if answer.code == "NOT_FOUND":
        assert answer.message == f"resource {CONFIGS}(config/{id_}@undefined) doesn't exist"
        return None
    resource = answer.messages[0].resource
    assert "talos.dev/yaml-spec" in resource.metadata.annotations
    document = next(yaml.safe_load_all(yaml.safe_load(resource.spec.yaml_spec)))
    return str(document["machine"]["nodeLabels"].get("lab.test/a", ""))


async def running(lab: Lab, secrets: dict[str, t.Any]) -> t.Any:
    """A node that runs the recorded lab's configuration."""
    node = await bootstrapped(lab, secrets)
    node.storage.write_config(with_secrets(base(), secrets))
    async with connected(lab, "10.77.0.11", admin(secrets)) as client:
        await client.call("Reboot")
    await until(lambda: not node.serving)
    await until(lambda: node.serving and node.runtime.stage == "running")
    return node


@pytest.mark.parametrize("index", range(15))
def test_dry_runs_of_a_running_node(lab: Lab, secrets: dict[str, t.Any], index: int) -> None:
    mode, name, code, expected = dry_runs()[index]

    async def scenario() -> None:
        await running(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await apply(client, with_secrets(variant(name), secrets), mode, dry_run=True)
            got = answer.first.mode_details if answer.code == "OK" else answer.message
            assert (answer.code, _trimmed(got)) == (code, expected.rstrip("\n"))
            assert await stored(client, "persistent") is None

    run(lab, scenario())


def test_the_recorded_sequence_of_modes(lab: Lab, secrets: dict[str, t.Any]) -> None:
    label, label2 = (with_secrets(variant(name), secrets) for name in ("label", "label2"))

    async def scenario() -> None:
        node = await running(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:

            async def both() -> tuple[str | None, str | None]:
                return await stored(client, "v1alpha1"), await stored(client, "persistent")

            assert await both() == ("", None)
            staged = await apply(client, label, "STAGED")
            assert staged.first.mode_details == "Staged configuration to be applied after the next reboot"
            assert await both() == ("", "1")
            dry = await apply(client, label, "AUTO", dry_run=True)
            assert '+        lab.test/a: "1"' in dry.first.mode_details
            assert (
                await apply(client, label, "NO_REBOOT")
            ).first.mode_details == "Applied configuration without a reboot"
            assert await both() == ("1", "1")
            tried = await apply(client, label2, "TRY", try_mode_timeout={"nanos": 400_000_000})
            assert tried.first.mode_details.endswith("will be automatically reverted back in 400ms")
            assert await both() == ("2", "1")
            await until(lambda: node.runtime.trying is None, 3)
            assert await both() == ("1", "1")
            assert (await apply(client, label2, "TRY")).first.mode_details == (
                "Applied configuration without a reboot\n"
                "The config is applied in 'try' mode and will be automatically reverted back in 1m0s"
            )
            assert await both() == ("2", "1")
            assert (await apply(client, label, "AUTO")).code == "OK"
            assert await both() == ("1", "1")

    run(lab, scenario())


def test_a_change_that_needs_a_reboot_reboots(lab: Lab, secrets: dict[str, t.Any]) -> None:
    recorded_runs = recorded.calls("apply/dry-run-running.txt")
    recording = next(call for call in recorded_runs if call.code == "INVALID_ARGUMENT")
    locked = (
        "configuration was already applied and node is rebooting, "
        "cannot apply more configuration changes until next reboot"
    )

    async def scenario() -> None:
        node = await running(lab, secrets)
        boot_id = node.runtime.boot_id
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await apply(client, with_secrets(variant("env"), secrets), "AUTO")
            assert answer.first.mode_details == f"Applied configuration with a reboot: {recording.message}"
            assert answer.first.mode == 0
            again = await apply(client, with_secrets(variant("env"), secrets), "AUTO")
            assert (again.code, again.message) == ("FAILED_PRECONDITION", locked)
        await until(lambda: not node.serving)
        await until(lambda: node.serving and node.runtime.stage == "running")
        assert node.runtime.boot_id != boot_id
        assert node.runtime.config.get("machine.env") == {"LAB": "1"}

    run(lab, scenario())


def test_an_order_of_lines_is_all_that_differs_in_a_diff_of_several_lines(lab: Lab, secrets: dict[str, t.Any]) -> None:
    lines = (recorded.ROOT / "apply" / "apply-real.txt").read_text(encoding="utf-8")
    part = lines.partition("### warn AUTO dry")[2].partition("mode_details as text:\n")[2].partition("\n###")[0]

    async def scenario() -> None:
        await running(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            await apply(client, with_secrets(variant("label"), secrets), "NO_REBOOT")
            answer = await apply(client, with_secrets(variant("warn"), secrets), "AUTO", dry_run=True)
            assert sorted(answer.first.mode_details.rstrip().splitlines()) == sorted(part.rstrip().splitlines())

    run(lab, scenario())


# --- maintenance
DETAILS = {
    "REBOOT": ("NO_REBOOT", "Applied configuration without a reboot"),
    "AUTO": ("NO_REBOOT", "Applied configuration without a reboot"),
    "NO_REBOOT": ("NO_REBOOT", "Applied configuration without a reboot"),
    "STAGED": ("STAGED", "Staged configuration to be applied after the next reboot"),
    "TRY": ("TRY", "Applied configuration without a reboot"),
}


async def in_maintenance(lab: Lab, version: str = "v1.13.9") -> t.Any:
    node = lab.node("10.77.0.11", version=version)
    await node.boot()
    await until(lambda: node.describe()["stage"] == "maintenance" and "10.77.0.11" in lab.ports)
    return node


@pytest.mark.parametrize("mode", DETAILS)
def test_dry_runs_in_maintenance(lab: Lab, secrets: dict[str, t.Any], mode: str) -> None:
    async def scenario() -> None:
        node = await in_maintenance(lab)
        async with connected(lab, "10.77.0.11", context()) as client:
            answer = await apply(client, with_secrets(base(), secrets), mode, dry_run=True)
        chosen, details = DETAILS[mode]
        assert (
            answer.first.DESCRIPTOR.fields_by_name["mode"].enum_type.values_by_number[answer.first.mode].name == chosen
        )
        head = f"Dry run summary:\n{details} (skipped in dry-run).\nConfig diff:\n\n--- a\n+++ b\n@@ -0,0 +1,112 @@\n"
        assert answer.first.mode_details.startswith(head)
        assert node.storage.read_config() is None

    run(lab, scenario())


def test_a_partial_configuration_keeps_maintenance_and_renews_its_certificate(
    lab: Lab, secrets: dict[str, t.Any]
) -> None:
    partial = b"apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: partial\nauto: 'off'\n"

    async def scenario() -> None:
        node = await in_maintenance(lab)
        async with connected(lab, "10.77.0.11", context()) as client:
            assert (await apply(client, partial, "AUTO")).code == "OK"
        await until(lambda: node.hostname == "partial")
        assert node.runtime.stage == "maintenance"
        await asyncio.sleep(0.1)
        async with connected(lab, "10.77.0.11", context()) as client:
            assert (await client.call("Hostname")).first.hostname == "partial"
            staged = await apply(client, with_secrets(base(), secrets), "STAGED")
            assert staged.code == "OK" and node.runtime.stage == "maintenance"

    run(lab, scenario())


def test_trying_in_maintenance_ends_without_an_api(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        node = await in_maintenance(lab)
        async with connected(lab, "10.77.0.11", context()) as client:
            answer = await apply(client, with_secrets(base(), secrets), "TRY", try_mode_timeout={"seconds": 1})
            assert answer.code == "OK"
        await until(lambda: node.serving)
        await until(lambda: not node.serving, 5)
        await asyncio.sleep(0.3)
        assert not node.serving
        assert node.storage.read_config() is None

    run(lab, scenario())


@pytest.mark.parametrize("mode", ["NO_REBOOT", "STAGED"])
def test_1_12_does_not_know_some_modes_in_maintenance(lab: Lab, secrets: dict[str, t.Any], mode: str) -> None:
    async def scenario() -> None:
        await in_maintenance(lab, "v1.12.11")
        async with connected(lab, "10.77.0.11", context()) as client:
            document = variant("controlplane")
            for part in ("apiServer", "controllerManager", "scheduler"):
                document["cluster"][part]["image"] = document["cluster"][part]["image"].replace("v1.36.3", "v1.35.3")
            document["machine"]["kubelet"]["image"] = "ghcr.io/siderolabs/kubelet:v1.35.3"
            answer = await apply(client, with_secrets(document, secrets), mode)
            assert answer.code == "UNIMPLEMENTED"
            assert (await client.call("Version")).code == "PERMISSION_DENIED"

    run(lab, scenario())

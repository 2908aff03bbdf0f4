# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations that real nodes were given one after the other: what each answered, and what it then had."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
import re
import typing as t

import pytest
import recorded
import yaml
from cryptography import x509
from talos_support import Client, Lab, connected, context, until
from test_talos_access import admin, run
from test_talos_apply import CONFIGS, apply, base, in_maintenance, running, stored, variant, with_secrets

from simlab.talos import apply as applying

ADDRESS = "10.77.0.11"
PARTIAL = b"apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: partial\nauto: 'off'\n"
_CALL = re.compile(
    r"^/machine.MachineService/ApplyConfiguration unary file=\S*?(\w+).yaml mode=(\w+) dry_run=(\w+) try=(\S+)"
)
_LABEL = re.compile(r"^(v1alpha1|persistent): (.*)$")
_SECRET = re.compile(r"\b(crt|key|token|secret|secretboxEncryptionSecret|id): .*")


@dataclasses.dataclass
class Step:
    """One call as recorded; ``labels`` are those of the active and the persistent configuration after it, and
    ``later`` the same after its time has run out."""

    name: str
    mode: str
    dry_run: bool
    seconds: int | None
    code: str = ""
    message: str = ""
    details: str = ""
    labels: dict[str, str | None] = dataclasses.field(default_factory=dict)
    later: dict[str, str | None] = dataclasses.field(default_factory=dict)


def steps(name: str) -> list[Step]:
    found: list[Step] = []
    lines = (recorded.ROOT / name).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if match := _CALL.match(line):
            seconds = int(match[4].removeprefix("seconds:")) if match[4].startswith("seconds:") else None
            found.append(Step(match[1], match[2], match[3] == "true", seconds))
            result = recorded._RESULT.match(lines[number + 1])
            assert result is not None
            found[-1].code, found[-1].message = recorded._code(result[1]), yaml.safe_load(f'"{result[2]}"')
        elif line == "  mode_details as text:":
            found[-1].details = "\n".join(_until_a_mark(lines[number + 1 :]))
        elif found and (label := _LABEL.match(line)):
            into = found[-1].later if label[1] in found[-1].labels else found[-1].labels
            into[label[1]] = None if "code = NotFound" in label[2] else label[2].partition("'")[2].rstrip("'")
    return found


def _until_a_mark(lines: t.Sequence[str]) -> t.Iterator[str]:
    for line in lines:
        if line.startswith(("#", "-- ", "/", "API ", "stage: ", "v1alpha1: ")):
            return
        yield line


def words(answer: t.Any) -> str:
    return answer.first.mode_details if answer.code == "OK" else answer.message


def in_order(details: str) -> list[str]:
    """The lines of a diff, without values that differ from lab to lab, and without the order of lines that a real node
    writes in another one."""
    return sorted(_SECRET.sub(r"\1:", line).rstrip() for line in details.rstrip().splitlines())


async def labels(client: Client) -> dict[str, str | None]:
    return {where: await stored(client, where) for where in ("v1alpha1", "persistent")}


def test_every_mode_one_after_the_other(lab: Lab, secrets: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Staged, judged, applied, tried until its time runs out, tried again and confirmed."""
    sequence = [one for one in steps("apply/apply-real.txt") if one.name != "warn"]
    assert [(one.mode, one.dry_run) for one in sequence] == [
        ("STAGED", False),
        ("AUTO", True),
        ("NO_REBOOT", False),
        ("TRY", False),
        ("TRY", False),
        ("AUTO", False),
    ]
    revert = applying._revert

    async def sooner(runtime: t.Any, before: t.Any, timeout: float, maintenance: bool) -> None:
        await revert(runtime, before, timeout / 20, maintenance)

    monkeypatch.setattr(applying, "_revert", sooner)

    async def scenario() -> None:
        node = await running(lab, secrets)
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            for step in sequence:
                more = {"try_mode_timeout": {"seconds": step.seconds}} if step.seconds else {}
                data = with_secrets(variant(step.name), secrets)
                answer = await apply(client, data, step.mode, dry_run=step.dry_run, **more)
                assert (answer.code, in_order(words(answer))) == (step.code, in_order(step.details)), step
                if step.labels:
                    assert await labels(client) == step.labels, step
                if step.later:
                    await until(lambda: node.runtime.trying is None, 5)
                    assert await labels(client) == step.later, step

    run(lab, scenario())


def test_a_configuration_that_reboots_locks_the_others_out(lab: Lab, secrets: dict[str, t.Any]) -> None:
    sequence = steps("apply/reboot-mode.txt")
    assert [one.code for one in sequence] == ["OK", "FAILED_PRECONDITION"]

    async def scenario() -> None:
        node = await running(lab, secrets)
        boot = node.runtime.boot_id
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            await apply(client, with_secrets(variant("label"), secrets), "NO_REBOOT")
            for step in sequence:
                answer = await apply(client, with_secrets(variant(step.name), secrets), step.mode)
                assert (answer.code, in_order(words(answer))) == (step.code, in_order(step.details or step.message))
        await until(lambda: not node.serving)
        await until(lambda: node.serving and node.runtime.boot_id != boot)

    run(lab, scenario())


@pytest.mark.parametrize("index", range(5))
def test_the_whole_diff_of_a_dry_run_in_maintenance(lab: Lab, secrets: dict[str, t.Any], index: int) -> None:
    sequence = steps("maintenance/apply-dry-run.txt")
    assert len(sequence) == 5
    step = sequence[index]

    async def scenario() -> None:
        await in_maintenance(lab)
        async with connected(lab, ADDRESS, context()) as client:
            answer = await apply(client, with_secrets(base(), secrets), step.mode, dry_run=True)
        assert (answer.code, in_order(words(answer))) == (step.code, in_order(step.details))

    run(lab, scenario())


@functools.cache
def _partial_text() -> str:
    return (recorded.ROOT / "maintenance" / "apply-partial-staged-try.txt").read_text(encoding="utf-8")


def test_a_node_in_maintenance_is_given_a_part_then_stages_then_tries(lab: Lab, secrets: dict[str, t.Any]) -> None:
    part, staged, dry, tried = steps("maintenance/apply-partial-staged-try.txt")
    hunk = re.search(r"\\n(@@ -1,4 \+1,112 @@)\\n", _partial_text())
    assert hunk is not None and dry.dry_run
    config = with_secrets(base(), secrets)

    async def scenario() -> None:
        node = await in_maintenance(lab)
        async with connected(lab, ADDRESS, context()) as client:
            answer = await apply(client, PARTIAL, part.mode)
            assert (answer.code, words(answer)) == (part.code, "Applied configuration without a reboot")
        await until(lambda: node.hostname == "partial")
        assert re.search(r"^stage: maintenance\nhostname: partial", _partial_text(), re.MULTILINE)
        assert node.runtime.stage == "maintenance"
        async with connected(lab, ADDRESS, context()) as client:
            answer = await apply(client, config, staged.mode)
            assert words(answer) == "Staged configuration to be applied after the next reboot"
            assert node.runtime.stage == "maintenance" and node.hostname == "partial"
            judged = await apply(client, config, dry.mode, dry_run=True)
            assert judged.code == dry.code and f"\n{hunk[1]}\n" in words(judged), words(judged)
            answer = await apply(client, config, tried.mode, try_mode_timeout={"seconds": tried.seconds})
            assert words(answer).endswith("will be automatically reverted back in 10s")
        await until(lambda: node.serving and node.runtime.stage == "booting")
        async with connected(lab, ADDRESS, admin(secrets)) as client:
            found = await client.call("/cosi.resource.State/List", {"namespace": "config", "type": CONFIGS})
            versions = {one.resource.metadata.id: one.resource.metadata.version for one in found.messages}
        assert versions == dict(re.findall(r"MachineConfig +(\w+) +(\d+)$", _partial_text(), re.MULTILINE))

    run(lab, scenario())


def test_a_part_s_certificate_is_as_recorded(lab: Lab) -> None:
    subject, names, addresses = re.findall(r'subject="([^"]+)".* dns=\[(\S+)\] ip=\[([^\]]+)\]', _partial_text())[0]

    async def scenario() -> None:
        node = await in_maintenance(lab)
        async with connected(lab, ADDRESS, context()) as client:
            await apply(client, PARTIAL, "AUTO")
        await until(lambda: node.hostname == "partial")
        before = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5)
        while (await shown(lab))[1] != [names]:
            assert dt.datetime.now(dt.UTC) < before, await shown(lab)
        assert await shown(lab) == (subject, [names], addresses.split())

    run(lab, scenario())


async def shown(lab: Lab) -> tuple[str, list[str], list[str]]:
    """Subject, DNS names and addresses of the certificate of a node in maintenance."""
    _, writer = await asyncio.open_connection("127.0.0.1", lab.ports[ADDRESS], ssl=context(), server_hostname="x")
    certificate = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
    writer.close()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return certificate.subject.rfc4514_string(), names.get_values_for_type(x509.DNSName), addresses


def test_node_metadata_in_maintenance_changes_nothing(lab: Lab) -> None:
    calls = recorded.calls("maintenance/node-metadata.txt")
    assert [(call.path, call.code) for call in calls] == [("/machine.MachineService/Version", "OK")] * 2

    async def scenario() -> None:
        await in_maintenance(lab)
        async with connected(lab, ADDRESS, context()) as client:
            for call, metadata in zip(calls, ({"node": ADDRESS}, {"nodes": ADDRESS}), strict=True):
                answer = await client.call(call.path, metadata=metadata)
                assert (answer.code, answer.message) == (call.code, call.message)
                assert answer.first.version.tag == "v1.13.9" and not answer.first.metadata.hostname

    run(lab, scenario())

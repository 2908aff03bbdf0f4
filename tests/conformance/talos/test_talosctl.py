# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's own talosctl drives the played node, from maintenance to a reset, and is content: it exits as on a real node,
and what it prints has the columns and words that were recorded there.
"""

from __future__ import annotations

import asyncio
import collections.abc as c
import os
import pathlib
import re
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "simulator" / "talos")]

from judgement import Judgement, takes_minutes
from oracle import version
from talos_support import bundle, until
from talosctl_lab import ADDRESS, Playground, Said, playground

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    takes_minutes,
]
TABLES = {
    "services": ("NODE", "SERVICE", "STATE", "HEALTH", "LAST CHANGE", "LAST EVENT"),
    "get members": ("NODE", "NAMESPACE", "TYPE", "ID", "VERSION", "HOSTNAME", "MACHINE TYPE", "OS", "ADDRESSES"),
    "get machinestatus": ("NODE", "NAMESPACE", "TYPE", "ID", "VERSION", "STAGE", "READY"),
    "get nodestatus": ("NODE", "NAMESPACE", "TYPE", "ID", "VERSION", "READY", "UNSCHEDULABLE"),
    "get mc": ("NODE", "NAMESPACE", "TYPE", "ID", "VERSION"),
    "get addresses": ("NODE", "NAMESPACE", "TYPE", "ID", "VERSION", "ADDRESS", "LINK"),
    "get disks": ("NODE", "NAMESPACE", "TYPE", "ID", "VERSION", "SIZE", "READ ONLY", "TRANSPORT"),
    "get rd": ("NODE", "NAMESPACE", "TYPE", "ID", "VERSION", "ALIASES"),
    "etcd members": ("NODE", "ID", "HOSTNAME", "PEER URLS", "CLIENT URLS", "LEARNER"),
    "etcd status": ("NODE", "MEMBER", "DB SIZE", "IN USE", "LEADER", "RAFT INDEX", "RAFT TERM", "RAFT APPLIED INDEX"),
    "memory": ("NODE", "TOTAL", "USED", "FREE", "SHARED", "BUFFERS", "CACHE", "AVAILABLE"),
    "mounts": ("NODE", "FILESYSTEM", "SIZE(GB)", "USED(GB)", "AVAILABLE(GB)", "PERCENT USED", "MOUNTED ON"),
    "containers -k": ("NODE", "NAMESPACE", "ID", "IMAGE", "PID", "STATUS"),
}
#: On a running node: what is typed, and what stands in the answer.
RUNNING: tuple[tuple[str, str], ...] = (
    ("version", r"Server:\n\tNODE: +10\.77\.0\.11\n\tTag: +v1\.13\.9(.*\n)*\tEnabled: +RBAC"),
    ("service etcd", r"STATE +Running\nHEALTH +OK(.*\n)*.*\[Preparing\]: Running pre state"),
    ("get members -o yaml", r"operatingSystem: Talos \(v1\.13\.9\)\n    controlPlane:\n        port: 6443"),
    ("get machinestatus -o json", r'"stage": "running",\n        "status": \{\n            "ready": true'),
    ("etcd alarm list", r"^$"),
    (
        "etcd snapshot {}/db",
        r"etcd snapshot saved to (.*\n)snapshot info: hash [0-9a-f]+, revision \d+, total keys \d+",
    ),
    ("etcd defrag", r"^$"),
    ("health --wait-timeout 120s", r"waiting for etcd to be healthy: OK\n(.*\n)*.*to report schedulable: OK"),
    ("kubeconfig {}/kubeconfig --force", r"^$"),
    ("dmesg", r"10\.77\.0\.11: user: warning: \[talos\] service\[etcd\]\(Running\): Health check successful"),
    ("logs etcd --tail 3", r'10\.77\.0\.11: \{"level"'),
    ("list -l /var/lib/etcd", r"member"),
    ("read /proc/sys/kernel/random/boot_id", r"^[0-9a-f-]{36}\n$"),
    ("usage /var -a -d 2", r"lib"),
    ("meta write 0x0a hello", r"^$"),
    ("get meta", r"0x0a +1 +hello"),
    ("meta delete 0x0a", r"^$"),
    ("apply-config --file {}/cp1.yaml --dry-run", r"Applied configuration without a reboot \(skipped in dry-run\)"),
    ("apply-config --file {}/cp1.yaml", r"Applied configuration without a reboot"),
    ("patch mc -p @{}/patch.yaml", r"patched MachineConfigs\.config\.talos\.dev/v1alpha1 at the node 10\.77\.0\.11"),
)
#: What is refused, with the words of a real node.
REFUSED: tuple[tuple[str, str], ...] = (
    ("bootstrap", r"code = AlreadyExists desc = etcd data directory is not empty"),
    ("apply-config --file {}/wrong.yaml", r"code = InvalidArgument desc = (.*\n)*.*unknown keys found during decoding"),
    ("get nonsense", r'resource "nonsense" is not registered'),
    ("service nonsense restart", r"nonsense"),
    ("etcd forfeit-leadership", r"cannot forfeit leadership, only one member"),
    ("patch mc -p @{}/patch.json", r"JSON6902 patches are not supported for multi-document machine configuration"),
)


class Judge:
    """Every step and what is wrong with it."""

    def __init__(self, lab: Playground) -> None:
        self.lab, self.cases, self.wrong = lab, 0, list[str]()

    async def type(self, words: str, expected: str = "", *, fails: bool = False, timeout: float = 90) -> Said:
        said = await self.lab.talosctl(*words.split(), timeout=timeout)
        self.cases += 1
        if (said.code != 0) != fails or not re.search(expected, said.out + said.err, re.MULTILINE):
            self.wrong.append(f"talosctl {words}: {said}")
        return said

    async def table(self, words: str) -> None:
        said = await self.type(words)
        found = re.split(r" {2,}", said.out.partition("\n")[0].strip())
        if tuple(found[: len(TABLES[words])]) != TABLES[words] or ADDRESS not in said.out:
            self.wrong.append(f"talosctl {words}: the columns {found}")


def test_talosctl_is_content_with_the_played_node(tmp_path: pathlib.Path) -> None:
    async def scenario() -> Judge:
        async with playground(tmp_path, bundle()) as lab:
            judge = Judge(lab)
            try:
                await _maintenance(judge)
                await _running(judge)
                await _reboot_and_reset(judge)
            except TimeoutError:
                judge.wrong.append(f"the node is not what the last command makes of it: {lab.node.describe()}")
            return judge

    judge = asyncio.run(asyncio.wait_for(scenario(), 540))
    made = version(HERE / "talosctl", "github.com/siderolabs/talos")
    Judgement("talosctl", "talosctl", made, "commands on a played node", judge.cases, [], judge.wrong).write()
    assert not judge.wrong, "\n\n".join(one[:1500] for one in judge.wrong)


async def _maintenance(judge: Judge) -> None:
    insecure = f"--insecure -n {ADDRESS}"
    await judge.type(f"version {insecure}", r"Tag: +v1\.13\.9")
    await judge.type(f"get machinestatus {insecure}", r"machine +\d+ +maintenance +true")
    await judge.type(f"get disks {insecure}", r"sda")
    await judge.type(f"get mc {insecure}", r"PermissionDenied", fails=True)
    await judge.type(f"reboot {insecure} --wait=false", "", fails=True)
    await judge.type(f"apply-config {insecure} --file {{}}/cp1.yaml --dry-run", r"skipped in dry-run(.*\n)*\+machine:")
    await judge.type(f"apply-config {insecure} --file {{}}/cp1.yaml")
    await until(lambda: judge.lab.node.serving and judge.lab.node.runtime.services.healthy("cri"), 60)
    await judge.type("services", r"etcd +Preparing +\? ")
    await judge.type("bootstrap", r"^$")
    await judge.lab.until_ready()


async def _running(judge: Judge) -> None:
    lab = judge.lab
    lab.file("patch.yaml", "machine:\n  sysctls:\n    vm.swappiness: '10'\n")
    lab.file("patch.json", '[{"op": "add", "path": "/machine/sysctls", "value": {}}]')
    lab.file("wrong.yaml", (lab.path / "cp1.yaml").read_text().replace("machine:", "machina: 1\nmachine:", 1))
    for words in TABLES:
        await judge.table(words)
    for words, expected in RUNNING:
        await judge.type(words, expected)
    for words, expected in REFUSED:
        await judge.type(words, expected, fails=True)
    events = await lab.talosctl("events", "--tail", "-1", timeout=8)
    judge.cases += 1
    if "SequenceEvent" not in events.out and "sequence" not in events.out:
        judge.wrong.append(f"talosctl events: {events}")


async def _reboot_and_reset(judge: Judge) -> None:
    lab = judge.lab
    before = (await judge.type("read /proc/sys/kernel/random/boot_id")).out
    await judge.type("reboot --timeout 3m", r"", timeout=200)
    await lab.until_ready()
    after = (await judge.type("read /proc/sys/kernel/random/boot_id", r"^[0-9a-f-]{36}\n$")).out
    if before == after:
        judge.wrong.append("talosctl reboot: the node has the boot id of before")
    await judge.type("reset --graceful=false --reboot --system-labels-to-wipe EPHEMERAL --wait=false")
    await _gone(lab, lambda: not lab.node.serving)
    await until(lambda: lab.node.serving and lab.node.runtime.services.healthy("cri"), 120)
    await judge.type("services", r"etcd +Preparing +\? ")
    await judge.type("bootstrap --recover-from {}/db", r"recovering from snapshot", timeout=120)
    await lab.until_ready()
    await judge.type("etcd members", r"cp1 +https://10\.77\.0\.11:2380")
    labels = "--system-labels-to-wipe STATE --system-labels-to-wipe EPHEMERAL"
    await judge.type(f"reset --graceful=false --reboot {labels} --wait=false")
    await until(lambda: lab.node.describe()["stage"] == "maintenance", 120)
    await judge.type(f"get machinestatus --insecure -n {ADDRESS}", r"maintenance +true")


async def _gone(lab: Playground, condition: c.Callable[[], bool]) -> None:
    await until(t.cast(t.Any, condition), 60)

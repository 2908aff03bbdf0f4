# SPDX-License-Identifier: GPL-3.0-or-later
"""B8: many Secrets sealed into files: by one task of ours, by a bare process of kubeseal each, and by a shell task each, which
is what people type."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import subprocess
import tempfile
import time
import typing as t

import yaml
from played import PATIENCE, _cpu, _seconds, playing
from rows import Cost, Json, Row, Settings

from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import key_pairs
from simlab.binaries import KUBESEAL

SECRETS = 200
#: How many times as fast as one process each.
AIM = 20
PEER = "kubeseal"


def rows(settings: Settings, chosen: t.Collection[str]) -> t.Iterator[Row]:
    if "B8" not in chosen:
        return
    count = settings.of(SECRETS)
    now = datetime.datetime.now(datetime.timezone.utc)
    pair = key_pairs.generate("sealed-secrets-key", "kube-system", 4096, 365, now)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "sealed-secrets.crt").write_text(pair.certificate_pem)
        processes, tasks = _processes(folder, count), _shell_tasks(folder, count)
        for title, expected in (("sealed", count), ("sealed again, nothing changed", 0)):
            ours = _ours(folder, count, expected)
            note = "The peer has no second run: it seals everything anew." if not expected else ""
            met = processes.seconds / ours.seconds >= AIM
            name = f"{count} Secrets {title}"
            yield Row("B8", name, 0, ours, processes, f"{PEER}, a process each", f"{AIM} times as fast", met, note)
            yield Row("B8", f"{name}, beside a loop", 0, ours, tasks, f"{PEER} in a loop of ansible.builtin.shell")


def _secret(number: int) -> Json:
    return {"name": f"app-{number}", "namespace": "apps", "contents": {"password": f"{number:032}"}}


def _ours(folder: pathlib.Path, count: int, expected: int) -> Cost:
    """Raises RuntimeError when it does not do what it should."""
    secrets = [{**_secret(number), "path": f"sealed/{number}.yaml"} for number in range(count)]
    options = {"certificate_file": "sealed-secrets.crt", "sealing_key_file": "sealing.key", "secrets": secrets}
    cost, result = _play(folder, {"groundwork.homelab.sealed_secret": options}, 0)
    changes = [one for one in result["changes"] if one["resource"].startswith("SealedSecret/")]
    if len(changes) != expected:
        raise RuntimeError(f"{len(changes)} were sealed, not {expected}")
    return dataclasses.replace(cost, writes=len(changes))


def _play(folder: pathlib.Path, task: Json, writes: int) -> tuple[Cost, Json]:
    """A playbook of one task: the time of the task itself, and its result. Raises RuntimeError when it fails."""
    command = playing.write_playbook(folder / "play.yml", [task])
    environment = {**playing.environment(folder), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    before, started = _cpu(), time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=3 * PATIENCE, check=False
    )
    whole, cpu = time.monotonic() - started, _cpu() - before
    if done.returncode:
        raise RuntimeError(f"the playbook failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    (told,) = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"]
    cost = Cost(round(_seconds(told["task"]["duration"]), 3), round(whole, 3), round(cpu, 3), 0, writes)
    return cost, told["hosts"]["localhost"]


def _shell_tasks(folder: pathlib.Path, count: int) -> Cost:
    for number in range(count):
        (folder / f"{number}.json").write_bytes(_document(number))
    seal = f"{KUBESEAL.path} --cert sealed-secrets.crt --format yaml < {{{{ item }}}}.json > {{{{ item }}}}.sealed.yaml"
    task = {"ansible.builtin.shell": {"cmd": seal, "chdir": str(folder)}, "loop": list(range(count))}
    return _play(folder, task, count)[0]


def _processes(folder: pathlib.Path, count: int) -> Cost:
    """Processes only: no shell, no Ansible around them. Raises CalledProcessError."""
    program = KUBESEAL.build(lambda text: print(text, flush=True))
    documents = [_document(number) for number in range(count)]
    before, started = _cpu(), time.monotonic()
    for number, document in enumerate(documents):
        command = [str(program), "--cert", "sealed-secrets.crt", "--format", "yaml"]
        done = subprocess.run(command, cwd=folder, input=document, capture_output=True, check=True, timeout=60)
        (folder / f"theirs-{number}.yaml").write_bytes(done.stdout)
    seconds, cpu = time.monotonic() - started, _cpu() - before
    if yaml.safe_load((folder / "theirs-0.yaml").read_text())["kind"] != "SealedSecret":
        raise RuntimeError("kubeseal sealed nothing")
    return Cost(round(seconds, 3), round(seconds, 3), round(cpu, 3), 0, count)


def _document(number: int) -> bytes:
    given = _secret(number)
    metadata = {"name": given["name"], "namespace": given["namespace"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": given["contents"]}
    return json.dumps(secret).encode()

# SPDX-License-Identifier: GPL-3.0-or-later
"""B8: many Secrets sealed into files, by one task of ours and by a process of kubeseal each."""

from __future__ import annotations

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
        theirs = _theirs(folder, count)
        for title, expected in (("sealed", count), ("sealed again, nothing changed", 0)):
            ours = _ours(folder, count, expected)
            met = theirs.seconds / ours.seconds >= AIM
            note = "The peer has no second run: it seals everything anew." if not expected else ""
            yield Row("B8", f"{count} Secrets {title}", 0, ours, theirs, PEER, f"{AIM} times as fast", met, note)


def _secret(number: int) -> Json:
    return {"name": f"app-{number}", "namespace": "apps", "contents": {"password": f"{number:032}"}}


def _ours(folder: pathlib.Path, count: int, expected: int) -> Cost:
    """The task itself, and the whole playbook. Raises RuntimeError when it does not do what it should."""
    secrets = [{**_secret(number), "path": f"sealed/{number}.yaml"} for number in range(count)]
    options = {"certificate_file": "sealed-secrets.crt", "sealing_key_file": "sealing.key", "secrets": secrets}
    command = playing.write_playbook(folder / "play.yml", [{"groundwork.homelab.sealed_secret": options}])
    environment = {**playing.environment(folder), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    before, started = _cpu(), time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    whole, cpu = time.monotonic() - started, _cpu() - before
    if done.returncode:
        raise RuntimeError(f"the playbook failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    (task,) = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"]
    changes = [one for one in task["hosts"]["localhost"]["changes"] if one["resource"].startswith("SealedSecret/")]
    if len(changes) != expected:
        raise RuntimeError(f"{len(changes)} were sealed, not {expected}")
    return Cost(round(_seconds(task["task"]["duration"]), 3), round(whole, 3), round(cpu, 3), 0, len(changes))


def _theirs(folder: pathlib.Path, count: int) -> Cost:
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

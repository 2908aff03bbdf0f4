# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of the lab in any output, fact cache, process list, or file that is not 0600 and in its place."""

from __future__ import annotations

import base64
import collections
import json
import os
import pathlib
import threading
import time
import typing as t

import pytest
import yaml

from simlab.harness import SimulatedLab

from .labs import SOLO, Lab

pytestmark = pytest.mark.lab

PLACES = ("talos-secrets.yaml", "kubeconfig", "talosconfig")
KEYS = ("key", "secret", "token", "bootstraptoken", "secretboxencryptionsecret", "client-key-data")


def _leaves(value: t.Any, key: str = "") -> t.Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    elif isinstance(value, str) and key in KEYS:
        yield value


def _secrets(lab: SimulatedLab) -> set[str]:
    """Every secret of the bundle and the kubeconfig, as it stands there and, for keys in PEM, line by line."""
    found = {lab.exec("sh", "-c", 'printf %s "$PROXMOX_TOKEN_SECRET"').stdout}
    for name in PLACES:
        path = lab.file(f"/run/simlab/secrets/{name}")
        if path.exists():
            found.update(_leaves(yaml.safe_load(path.read_text())))
    for text in frozenset(found):
        pem = base64.b64decode(text, validate=False) if len(text) > 100 else b""
        if pem.startswith(b"-----BEGIN"):
            found.update(line for line in pem.decode().splitlines() if not line.startswith("-----"))
    return {secret for secret in found if len(secret) >= 12}


def _watch_processes(seen: set[str], over: threading.Event) -> None:
    """All command lines of the machine, for as long as the run lasts. A process gets its own a moment after it began, and
    keeps it, so only new processes are read, some times each."""
    looks: collections.Counter[str] = collections.Counter()
    while not over.wait(0.02):
        for pid in os.listdir("/proc"):
            if not pid.isdecimal() or looks[pid] > 25:
                continue
            looks[pid] += 1
            try:
                seen.add(
                    pathlib.Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
            except OSError:
                looks[pid] = 0  # it has ended: the number may be another process's later


def _leaks(text: str, secrets: set[str]) -> list[str]:
    return [f"{secret[:6]}…" for secret in secrets if secret in text]


def test_no_secret_is_said_cached_listed_or_left(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "facts"
    env = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache)}
    command_lines: set[str] = set()
    over = threading.Event()
    begun = time.time()
    with SimulatedLab(SOLO) as simulated:
        watcher = threading.Thread(target=_watch_processes, args=(command_lines, over))
        watcher.start()
        try:
            outputs = {}
            for name, arguments in {
                "check": ["--check"],
                "first": [],
                "drift": ["-e", json.dumps({"talos_node_patches": [{"machine": {"sysctls": {"vm.swappiness": "1"}}}]})],
                "second": ["--check"],
            }.items():
                run = Lab(simulated).run("bootstrap", "-vvv", "--diff", *arguments, env=env)
                assert run.rc == 0, run.tail()
                outputs[name] = run.out
        finally:
            over.set()
            watcher.join()
        secrets = _secrets(simulated)
        assert len(secrets) > 30
        for name, text in outputs.items():
            assert _leaks(text, secrets) == [], name
        assert any("ansible-playbook" in line for line in command_lines)
        assert _leaks("\n".join(command_lines), secrets) == []
        for path in cache.rglob("*"):
            if path.is_file():
                assert _leaks(path.read_text(), secrets) == [], path
        _check_files(simulated, secrets, begun)


#: What is secret there by nature: the disks of the guests, and what the lab keeps for its own played servers.
_OF_THE_LAB = (
    "/run/simlab/hypervisors",
    "/run/simlab/runtime",
    "/run/simlab/volumes",
    "/run/simlab/variables.yml",
    "/run/simlab/environment.json",
    "/run/simlab/secrets/",
)


def _check_files(lab: SimulatedLab, secrets: set[str], since: float) -> None:
    made = ("-type", "f", "-size", "-2000k", "-newermt", f"@{since:.0f}")
    listing = lab.exec("find", "/run/simlab", "/tmp", "-xdev", *made).stdout.splitlines()
    assert "/run/simlab/secrets/kubeconfig" in listing
    for name in listing:
        path = lab.file(name)
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        if name.startswith("/run/simlab/secrets/"):
            assert path.stat().st_mode & 0o777 == 0o600, name
            assert path.name in PLACES, name
        elif not name.startswith(_OF_THE_LAB):
            assert _leaks(text, secrets) == [], name

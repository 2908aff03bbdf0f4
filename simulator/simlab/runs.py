# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and playbooks on a lab: where they run, what they are told, what they did."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import sys
import time
import typing as t

import yaml

from . import playbooks, sandbox
from .lab import Lab
from .ledger import Entry

_PLUGINS = pathlib.Path(__file__).parent / "ansible_plugins" / "callback"
_APIS = ("proxmox", "talos", "kubernetes")
#: Stands in the environment of everything that one run starts.
_MARK = "SIMLAB_RUN"
#: The audit log of a Kubernetes API server reaches the ledger a little later.
_LEDGER_DELAY = 0.5


@dataclasses.dataclass(frozen=True)
class Run:
    """What one playbook did; :meth:`report` is its entry in the report file."""

    playbook: str
    check: bool
    seconds: float
    exit_status: int
    ok: int
    changed: int
    failed: int
    layers: tuple[tuple[str, float], ...]
    requests: t.Mapping[str, t.Mapping[str, int]]
    changes: tuple[t.Mapping[str, t.Any], ...]

    def report(self) -> dict[str, t.Any]:
        return {
            "playbook": self.playbook,
            "check": self.check,
            "seconds": round(self.seconds, 3),
            "ok": self.ok,
            "changed": self.changed,
            "failed": self.failed,
            "exit_status": self.exit_status,
            "layers": [{"name": name, "seconds": round(seconds, 3)} for name, seconds in self.layers],
            "requests": {api: dict(counts) for api, counts in self.requests.items()},
            "changes": [dict(change) for change in self.changes],
        }


class Runner:
    """Starts programs in the lab's router namespace. ``collection`` is the checkout that playbooks use."""

    def __init__(self, lab: Lab, collection: pathlib.Path) -> None:
        self.lab = lab
        self.collection = collection
        self._number = 0
        self._current: asyncio.subprocess.Process | None = None
        self._mark = b""
        self._prepare()
        lab.faults.kill_playbook = self.kill

    def _prepare(self) -> None:
        tree = sandbox.RUN / "collections" / "ansible_collections" / "groundwork"
        tree.mkdir(parents=True)
        (tree / "homelab").symlink_to(self.collection)
        (sandbox.RUN / "runs").mkdir(mode=0o700)
        variables: dict[str, str] = {"lab_secrets_dir": str(sandbox.RUN / "secrets")}
        ours = {
            "proxmox_api_token_secret": self.lab.token_secret,
            "proxmox_api_password": self.lab.password,
            "proxmox_ca_path": str(sandbox.RUN / "ca.pem"),
        }
        variables.update({name: ours[name] for name in self.lab.inventory.access.given})
        descriptor = os.open(sandbox.RUN / "variables.yml", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(variables, file)

    def environment(self) -> dict[str, str]:
        """Of playbooks and shells: the lab's secrets and certificates, temporary files inside of the sandbox."""
        given, run = dict(self.lab.options.environment), sandbox.RUN
        access = self.lab.inventory.access
        bundle = str(run / "ca-bundle.pem")
        for name in [name for name in given if name.lower().endswith("_proxy") or name.startswith("PROXMOX_")]:
            del given[name]
        credentials = {"PROXMOX_TOKEN_SECRET": self.lab.token_secret} if access.token else {}
        if access.token is None:
            credentials["PROXMOX_PASSWORD"] = self.lab.password
        collections = [str(run / "collections"), *_existing(given.get("ANSIBLE_COLLECTIONS_PATH", ""))]
        collections += _existing("~/.ansible/collections:/usr/share/ansible/collections")
        return {
            **given,
            **credentials,
            "PROXMOX_CA_PATH": str(run / "ca.pem"),
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "CURL_CA_BUNDLE": bundle,
            "KUBECONFIG": str(run / "secrets" / "kubeconfig"),
            "TALOSCONFIG": str(run / "secrets" / "talosconfig"),
            "TMPDIR": str(run / "tmp"),
            "ANSIBLE_LOCAL_TEMP": str(run / "tmp"),
            "ANSIBLE_REMOTE_TMP": str(run / "tmp"),
            "ANSIBLE_COLLECTIONS_PATH": ":".join(collections),
            "ANSIBLE_CALLBACK_PLUGINS": f"{_PLUGINS}:{given.get('ANSIBLE_CALLBACK_PLUGINS', '')}".rstrip(":"),
            "PATH": f"{pathlib.Path(sys.executable).parent}:{given.get('PATH', os.defpath)}",
        }

    async def spawn(self, argv: t.Sequence[str], environment: t.Mapping[str, str] | None = None, **keywords: t.Any) -> (
        asyncio.subprocess.Process
    ):  # fmt: skip
        """A program in the router's namespace, in a process group of its own; keywords as for a subprocess."""
        self._number += 1
        merged = {**self.environment(), **(environment or {}), _MARK: str(self._number)}
        keywords.setdefault("stdin", asyncio.subprocess.DEVNULL)
        return await asyncio.create_subprocess_exec(*argv, env=merged, process_group=0, **keywords)

    async def terminal(self, argv: t.Sequence[str]) -> asyncio.subprocess.Process:
        """A program that has the user's terminal."""
        return await asyncio.create_subprocess_exec(*argv, env=self.environment())

    async def playbook(
        self,
        name: str,
        arguments: t.Sequence[str] = (),
        environment: t.Mapping[str, str] | None = None,
        follow: t.Callable[[asyncio.subprocess.Process], t.Awaitable[None]] | None = None,
        **keywords: t.Any,
    ) -> Run:
        """Run a playbook to its end. ``name`` is a path, or one of the collection's (``bootstrap``); ``follow`` reads
        its streams when they are pipes. Keywords as for a subprocess. Raises FileNotFoundError."""
        events = sandbox.RUN / "runs" / f"{self._number + 1}.jsonl"
        argv = [
            "ansible-playbook", "-i", str(self.lab.options.folder), "-e", f"@{sandbox.RUN / 'variables.yml'}",
            *arguments, str(playbooks.find(self.collection, name)),
        ]  # fmt: skip
        started = time.time()
        process = await self.spawn(argv, {**(environment or {}), "SIMLAB_EVENTS": str(events)}, **keywords)
        self._current, self._mark = process, f"{_MARK}={self._number}".encode()
        try:
            if follow is not None:
                await follow(process)
            status = await process.wait()
        except asyncio.CancelledError:
            await self.interrupt()
            raise
        finally:
            self._current = None
        ended = time.time()
        await asyncio.sleep(_LEDGER_DELAY)
        return self._account(name, arguments, started, ended, status, events)

    async def kill(self) -> None:
        """SIGKILL for the running playbook and everything that it has started; returns when all are dead."""
        process = self._current
        if process is None:
            return
        for _ in range(50):
            found = [process.pid] if process.returncode is None else []
            found += [pid for pid in _with_mark(self._mark) if pid != process.pid]
            if not found:
                return
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)

    async def interrupt(self, patience: float = 5.0) -> None:
        """As Ctrl-C would; after ``patience`` seconds as :meth:`kill`."""
        process = self._current
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), patience)
        await self.kill()

    def _account(
        self, name: str, arguments: t.Sequence[str], started: float, ended: float, status: int, events: pathlib.Path
    ) -> Run:
        seen = _events(events)
        last = seen[-1] if seen and seen[-1]["event"] == "end" else None
        check = next((bool(event["check"]) for event in seen if event["event"] == "start"), "--check" in arguments)
        results = [event for event in seen if event["event"] in ("ok", "failed")]
        failed = [event for event in results if event["event"] == "failed" and not event["ignored"]]
        entries = [entry for entry in self.lab.ledger.entries() if started <= entry.at <= ended]
        return Run(
            playbook=name,
            check=check,
            seconds=ended - started,
            exit_status=status if status >= 0 else 128 - status,
            ok=last["ok"] if last else len(results) - len(failed),
            changed=last["changed"] if last else sum(event["changed"] for event in results),
            failed=last["failures"] + last["unreachable"] if last else len(failed) + 1,
            layers=_layers(seen, ended),
            requests=self.requests(entries),
            changes=tuple(change for event in results for change in event["changes"]),
        )

    def requests(self, entries: t.Iterable[Entry]) -> dict[str, dict[str, int]]:
        """Counts of what playbooks asked: requests that came from the router's own addresses."""
        counts = {api: {"reads": 0, "writes": 0, "refused": 0} for api in _APIS}
        for entry in entries:
            if entry.api in counts and entry.source in self.lab.network.own_addresses:
                counts[entry.api]["writes" if entry.write else "reads"] += 1
                counts[entry.api]["refused"] += entry.refused
        return counts


def _existing(paths: str) -> list[str]:
    return [path for path in paths.split(":") if path and os.path.isdir(os.path.expanduser(path))]


def _with_mark(mark: bytes) -> list[int]:
    """Processes whose environment has the mark. Workers of Ansible leave their process group, not their environment."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def _events(path: pathlib.Path) -> list[dict[str, t.Any]]:
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line of a killed run
                found.append(json.loads(line))
    return found


def _layers(events: t.Iterable[t.Mapping[str, t.Any]], ended: float) -> tuple[tuple[str, float], ...]:
    """Seconds by layer, in the order of their first task; a layer lasts until another one's task starts."""
    spent: dict[str, float] = {}
    layer, since = None, 0.0
    for event in events:
        if event["event"] in ("task", "end"):
            if layer is not None:
                spent[layer] = spent.get(layer, 0.0) + event["at"] - since
            layer, since = (event["layer"], event["at"]) if event["event"] == "task" else (None, 0.0)
            if layer is not None:
                spent.setdefault(layer, 0.0)
    if layer is not None:
        spent[layer] += ended - since
    return tuple(spent.items())

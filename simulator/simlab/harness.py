# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated lab for tests::

with SimulatedLab("inventories/solo") as lab:
    run = lab.run_playbook("bootstrap", "--check")
    assert run["exit"] == 0 and lab.ledger(writes=True) == []
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

from . import client


@dataclasses.dataclass(frozen=True)
class Finished:
    """A program that has ended. ``run`` is the report's entry for playbooks, else None."""

    exit: int
    stdout: str
    stderr: str
    run: t.Mapping[str, t.Any] | None = None


class SimulatedLab:
    """A lab of its own for a ``with`` statement. ``command`` stands before the interpreter (``setpriv …``)."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        time_scale: float = 0.02,
        collection: str | os.PathLike[str] | None = None,
        mirror: t.Mapping[str, str | os.PathLike[str]] | None = None,
        environment: t.Mapping[str, str] | None = None,
        command: t.Sequence[str] = (),
        start_timeout: float = 60.0,
    ) -> None:
        argv = [*command, sys.executable, "-m", "simlab", "serve", "--lab", os.fspath(folder)]
        argv += ["--time-scale", str(time_scale)]
        argv += ["--collection", os.fspath(collection)] if collection else []
        for host, files in (mirror or {}).items():
            argv += ["--mirror", f"{host}={os.fspath(files)}"]
        self._argv = argv
        self._environment = environment
        self._timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None
        self._errors: t.IO[str] | None = None
        self._said = ""
        self.lab: client.RunningLab

    def __enter__(self) -> t.Self:
        package = str(pathlib.Path(__file__).resolve().parents[1])
        environment = {**os.environ, **(self._environment or {})}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment
        )
        try:
            pid = json.loads(self._first_line())["pid"]
            self.lab = next(lab for lab in client.running() if lab.pid == pid)
        except BaseException:
            self.close()
            raise
        return self

    def _first_line(self) -> str:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("the lab was not started")
        timer = threading.Timer(self._timeout, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            self._process.wait(5)
            raise client.LabError(f"the lab did not start (exit status {self._process.returncode}): {self.errors()}")
        return line

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the lab and wait until nothing of it is left; 15 seconds, then SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        if process.stdout is not None:
            process.stdout.close()
        self.errors()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def errors(self) -> str:
        """What the lab has written to its standard error."""
        if self._errors is not None:
            self._errors.seek(0)
            self._said = self._errors.read()
        return self._said

    @property
    def pid(self) -> int:
        """The outer process."""
        return self.lab.pid

    def run_playbook(self, playbook: str, *arguments: str, env: t.Mapping[str, str] | None = None) -> Finished:
        """To its end, whatever that is."""
        asked = {"playbook": playbook, "arguments": list(arguments), "env": dict(env or {}), "cwd": os.getcwd()}
        return self._finish(asked)

    def exec(self, *argv: str, env: t.Mapping[str, str] | None = None) -> Finished:
        """A program in the lab's network, as playbooks are."""
        return self._finish({"argv": list(argv), "env": dict(env or {}), "cwd": os.getcwd()})

    def _finish(self, asked: t.Mapping[str, t.Any]) -> Finished:
        streams: dict[str, list[str]] = {"stdout": [], "stderr": []}
        last: dict[str, t.Any] = {}
        for line in self.lab.stream("/run", asked):
            if "stream" in line:
                streams[line["stream"]].append(line["data"])
            else:
                last = line
        if "exit" not in last:
            raise client.LabError(f"the lab broke off: {self.errors()}")
        return Finished(last["exit"], "".join(streams["stdout"]), "".join(streams["stderr"]), last.get("run"))

    def status(self) -> dict[str, t.Any]:
        return dict(self.lab.request("GET", "/status"))

    def ledger(self, since: int = 0, api: str | None = None, *, writes: bool = False) -> list[dict[str, t.Any]]:
        """Requests in order, optionally those of one API, or writes only."""
        entries = self.lab.request("GET", f"/ledger?since={since}")
        return [entry for entry in entries if api in (None, entry["api"]) and (entry["write"] or not writes)]

    def mark(self) -> int:
        """To be given to :meth:`ledger` later."""
        return int(self.lab.request("GET", "/ledger/mark"))

    def fault(self, kind: str, **fields: t.Any) -> dict[str, t.Any]:
        """See :class:`simlab.faults.Fault`; further fields are its arguments."""
        return dict(self.lab.request("POST", "/faults", {"kind": kind, **fields}))

    def faults(self) -> list[dict[str, t.Any]]:
        """The active faults, with what they have seen so far."""
        return list(self.lab.request("GET", "/faults"))

    def clear_faults(self) -> None:
        self.lab.request("DELETE", "/faults")

    def power_off(self, vmid: int) -> None:
        self.lab.request("POST", f"/guests/{vmid}/power-off")

    def power_on(self, vmid: int) -> None:
        self.lab.request("POST", f"/guests/{vmid}/power-on")

    def file(self, path: str) -> pathlib.Path:
        """A path of the lab (``/run/simlab/secrets/kubeconfig``) as it is seen from outside."""
        return self.lab.root / path.lstrip("/")

    def wait_for(self, condition: t.Callable[[], t.Any], seconds: float, what: str) -> t.Any:
        """Poll until the condition is true. Raises :class:`simlab.client.LabError` naming ``what``."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                raise client.LabError(f"not within {seconds} s: {what}")
            time.sleep(0.1)
        return found

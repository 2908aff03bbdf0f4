# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs from outside: finding the running ones, talking to their control socket, going in.

There is no register of labs: a process whose root has ``/run/simlab/lab.json`` belongs to one. The control socket is
reached through ``/proc/<pid>/root``, so only the lab's own user (and root) can.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import signal
import socket
import typing as t

from . import namespaces, sandbox

_ENTERED = (
    ("user", namespaces.NEWUSER),
    ("mnt", namespaces.NEWNS),
    ("net", namespaces.NEWNET),
    ("pid", namespaces.NEWPID),
)


class LabError(Exception):
    """The lab refused, or there is none."""


@dataclasses.dataclass(frozen=True)
class RunningLab:
    """``pid`` is the process that the user started; ``inside`` one that is in all of the lab's namespaces."""

    pid: int
    inside: int
    folder: str
    since: float

    @property
    def name(self) -> str:
        return pathlib.Path(self.folder).name

    @property
    def root(self) -> pathlib.Path:
        return pathlib.Path(f"/proc/{self.inside}/root")

    def request(self, method: str, path: str, body: t.Any = None, timeout: float = 30.0) -> t.Any:
        """Ask the control socket; the answer's JSON. Raises :class:`LabError`."""
        with self._ask(method, path, body, timeout) as answer:
            return _decoded(answer)

    def stream(self, path: str, body: t.Any, timeout: float = 3600.0) -> t.Iterator[dict[str, t.Any]]:
        """The lines of a streamed answer as they come."""
        with self._ask("POST", path, body, timeout) as answer:
            if answer.status >= 400:
                _decoded(answer)
            while line := answer.readline():
                yield json.loads(line)

    @contextlib.contextmanager
    def _ask(self, method: str, path: str, body: t.Any, timeout: float) -> t.Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self.root / "run/simlab/control.sock", timeout)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"lab {self.name} (process {self.pid}) does not answer: {error!r}") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: pathlib.Path, timeout: float) -> None:
        super().__init__("lab", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _decoded(answer: http.client.HTTPResponse) -> t.Any:
    text = answer.read().decode()
    try:
        data = json.loads(text)
    except ValueError:
        raise LabError(f"HTTP {answer.status}: {text.strip()}") from None
    if answer.status >= 400:
        raise LabError(str(data.get("error", data)))
    return data


def running() -> list[RunningLab]:
    """All labs of this user (as root: of everybody), oldest first."""
    found: dict[int, RunningLab] = {}
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, KeyError):
            data = json.loads((folder / "root/run/simlab/lab.json").read_text(encoding="utf-8"))
            if os.readlink(folder / "ns/pid") != os.readlink(f"/proc/{data['pid']}/ns/pid"):  # not the outer process
                found.setdefault(data["pid"], RunningLab(data["pid"], int(folder.name), data["lab"], data["since"]))
    return sorted(found.values(), key=lambda lab: lab.since)


def find(name: str | None) -> RunningLab:
    """A running lab by its folder, the folder's name or its process id; without a name, the only one. Raises
    :class:`LabError`."""
    labs = running()
    if name is None:
        matching = labs
    else:
        wanted = os.path.abspath(name)
        matching = [lab for lab in labs if name in (str(lab.pid), lab.name) or lab.folder == wanted]
    if len(matching) == 1:
        return matching[0]
    known = "; ".join(f"{lab.pid} {lab.folder}" for lab in labs) or "none"
    asked = f"lab {name}" if name else "lab"
    raise LabError(f"{'more than one' if matching else 'no running'} {asked}; running: {known}")


def enter(lab: RunningLab, argv: t.Sequence[str], environment: t.Mapping[str, str]) -> int:
    """Run a program in the lab's network, with the caller's terminal; its exit status. It ends with the lab."""
    descriptors = []
    for name, kind in _ENTERED:
        path = f"/proc/{lab.inside}/ns/{name}"
        if os.readlink(path) != os.readlink(f"/proc/self/ns/{name}"):
            descriptors.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), kind))
    where = os.getcwd()
    for descriptor, kind in descriptors:
        namespaces.setns(descriptor, kind)
        if kind == namespaces.NEWUSER:  # root in there is the lab's user
            os.setgid(0)
            os.setuid(0)
    with contextlib.suppress(OSError):
        os.chdir(where)
    child = os.fork()
    if child == 0:
        try:
            os.execvpe(argv[0], list(argv), dict(environment))
        except OSError as error:
            os.write(2, f"rehearse: {argv[0]}: {error.strerror}\n".encode())
        os._exit(127)
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        signal.signal(signal.SIGINT, ignored)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def environment_of(lab: RunningLab) -> dict[str, str]:
    """What programs in the lab get to know: certificates, kubeconfig, the token's secret."""
    return t.cast(
        "dict[str, str]", json.loads((lab.root / str(sandbox.RUN / "environment.json").lstrip("/")).read_text())
    )

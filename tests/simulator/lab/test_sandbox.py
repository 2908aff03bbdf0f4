# SPDX-License-Identifier: GPL-3.0-or-later
"""However a lab ends, nothing of it is left: no process, no mount, no namespace, no file."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from lab_users import SIMULATOR, as_nobody

from simlab import client, harness
from simlab.namespaces import NEWNET

_PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.command: sleep 45
"""


class Traces:
    """What a lab could leave behind on this machine."""

    def __init__(self) -> None:
        self.mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        self.places = {path: sorted(os.listdir(path)) for path in ("/run", "/dev/shm") if os.path.isdir(path)}
        self.links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.count("\n")

    def same(self, other: Traces) -> bool:
        return (self.mounts, self.places, self.links) == (other.mounts, other.places, other.links)


def _processes_of(inode: str) -> list[int]:
    """Processes in the process namespace with this link text."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(folder / "ns/pid") == inode:
                    found.append(int(folder.name))
    return found


def _wait(condition: t.Callable[[], t.Any], seconds: float) -> t.Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _lab_of(pid: int) -> client.RunningLab | None:
    return next((lab for lab in client.running() if lab.pid == pid), None)


@pytest.fixture
def playbook(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "sleep.yml"
    path.write_text(_PLAYBOOK)
    return path


def _command(inventory: pathlib.Path, playbook: pathlib.Path) -> list[str]:
    return [sys.executable, "-m", "simlab", "run", "--lab", str(inventory), str(playbook)]


def _environment(tmp_path: pathlib.Path) -> dict[str, str]:
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name).chmod(0o777)
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return {**os.environ, "PYTHONPATH": str(SIMULATOR), **_places(tmp_path), "XDG_CACHE_HOME": cache}


def _places(tmp_path: pathlib.Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}


def _asleep(namespace: str) -> bool:
    """The playbook's own program runs in the lab."""
    commands = []
    for pid in _processes_of(namespace):
        with contextlib.suppress(OSError):
            commands.append(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
    return any(command.startswith(b"sleep\x0045") for command in commands)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGHUP, 130)]
)
@pytest.mark.parametrize("who", ["root", "plain user"])
def test_a_signal_to_the_outer_process_ends_everything(
    number: signal.Signals,
    status: int,
    who: str,
    inventory: pathlib.Path,
    playbook: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    if who == "root" and os.geteuid() != 0:
        pytest.skip("not root")
    prefix = as_nobody(tmp_path) if who == "plain user" else []
    environment = _environment(tmp_path)
    before = Traces()
    said = tmp_path / "said"
    with said.open("w") as output:
        process = subprocess.Popen(
            [*prefix, *_command(inventory, playbook)], stdout=output, stderr=output, env=environment
        )
    try:
        lab = _wait(lambda: _lab_of(process.pid), 60)
        assert lab is not None, said.read_text()
        namespace = os.readlink(f"/proc/{lab.inside}/ns/pid")
        assert _wait(lambda: _asleep(namespace), 60), said.read_text()
        process.send_signal(number)
        assert process.wait(8) == status
    finally:
        process.kill()
        process.wait(5)
    assert _wait(lambda: not _processes_of(namespace), 3)
    assert Traces().same(before)
    assert os.listdir(tmp_path / "home") in ([], [".ansible"])  # Ansible's own folder, as without a lab
    assert os.listdir(tmp_path / "tmp") == []


def test_ctrl_c_at_a_terminal_ends_everything(
    inventory: pathlib.Path, playbook: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    before = Traces()
    environment = _environment(tmp_path)
    pid, terminal = pty.fork()
    if pid == 0:
        command = _command(inventory, playbook)
        os.execvpe(command[0], command, environment)
    try:
        lab = _wait(lambda: _lab_of(pid), 60)
        assert lab is not None
        namespace = os.readlink(f"/proc/{lab.inside}/ns/pid")
        assert _wait(lambda: _asleep(namespace), 60)
        os.write(terminal, b"\x03")
        ended = _wait(lambda: os.waitpid(pid, os.WNOHANG)[0], 8)
        assert ended == pid
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert _wait(lambda: not _processes_of(namespace), 3)
    assert _wait(lambda: Traces().same(before), 3)


def test_twenty_labs_in_a_row_leave_nothing_and_are_quick(inventory: pathlib.Path) -> None:
    before, descriptors = Traces(), len(os.listdir("/proc/self/fd"))
    namespaces = set()
    start = time.monotonic()
    for _ in range(20):
        with harness.SimulatedLab(inventory) as lab:
            namespaces.add(os.readlink(f"/proc/{lab.lab.inside}/ns/pid"))
            assert lab.exec("curl", "-sSk", "https://192.168.30.10:8006/").exit == 0
    assert time.monotonic() - start < 20 * 15
    assert not any(_processes_of(namespace) for namespace in namespaces)
    assert Traces().same(before)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_two_labs_with_the_same_addresses_do_not_meet(inventory: pathlib.Path) -> None:
    with harness.SimulatedLab(inventory) as one, harness.SimulatedLab(inventory) as two:
        assert os.stat(f"/proc/{one.lab.inside}/ns/net").st_ino != os.stat(f"/proc/{two.lab.inside}/ns/net").st_ino
        one.exec("curl", "-sS", "https://factory.talos.dev/versions")
        assert [entry["path"] for entry in one.ledger()] == ["/versions"]
        assert two.ledger() == []
        assert {lab.pid for lab in client.running()} >= {one.pid, two.pid}


def test_a_program_in_a_lab_ends_with_it(inventory: pathlib.Path) -> None:
    with harness.SimulatedLab(inventory) as lab:
        environment = {**os.environ, "PYTHONPATH": str(SIMULATOR)}
        argv = [sys.executable, "-m", "simlab", "exec", str(lab.pid), "--", "sleep", "45"]
        inside = subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL)
        namespace = os.readlink(f"/proc/{lab.lab.inside}/ns/pid")
        assert _wait(lambda: _asleep(namespace), 20)
    try:
        assert inside.wait(5) == 128 + signal.SIGKILL
    finally:
        inside.kill()
        inside.wait(5)


def test_without_namespaces_the_message_says_what_is_needed(inventory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    prefix = as_nobody(tmp_path)
    if not prefix:
        pytest.skip("needs root, to forbid namespaces")
    script = (
        "import sys; from simlab import cli, namespaces\n"
        "def refuse(flags): raise OSError(1, 'Operation not permitted', 'unshare')\n"
        "namespaces.unshare = refuse\n"
        f"sys.exit(cli.main(['run', '--lab', {str(inventory)!r}, 'bootstrap']))"
    )
    finished = subprocess.run(
        [*prefix, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=_environment(tmp_path),
        check=False,
    )
    assert finished.returncode == 3
    assert "Operation not permitted" in finished.stderr and "kernel.unprivileged_userns_clone=1" in finished.stderr


def test_constants_are_those_of_the_kernel() -> None:
    if hasattr(os, "CLONE_NEWNET"):
        assert os.CLONE_NEWNET == NEWNET

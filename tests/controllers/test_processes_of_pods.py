# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod of a real controller lives and dies as its process does, and the other way round."""

from __future__ import annotations

import os
import pathlib
import signal

from controllerlab import ControllerLab

DEPLOYMENT = "/apis/apps/v1/namespaces/kube-system/deployments/sealed-secrets-controller"
PODS = "/api/v1/namespaces/kube-system/pods"
SELECTOR = {"labelSelector": "name=sealed-secrets-controller"}
PROGRAM = "controller"


def processes() -> list[int]:
    """The controllers of this machine that live in a container of this lab."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().split(b"\0")[0] == PROGRAM.encode():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def pods(lab: ControllerLab) -> list[dict]:
    return list(lab.call("GET", PODS, query=SELECTOR)["items"])


def scale(lab: ControllerLab, replicas: int) -> None:
    kind = "application/merge-patch+json"
    lab.call("PATCH", DEPLOYMENT, {"spec": {"replicas": replicas}}, content_type=kind)


def test_a_killed_process_is_a_crashed_container_that_starts_again(sealed_secrets: ControllerLab) -> None:
    lab = sealed_secrets
    lab.ready(DEPLOYMENT)
    before = pods(lab)[0]["status"]["containerStatuses"][0]["restartCount"]
    (pid,) = processes()
    os.kill(pid, signal.SIGKILL)

    def crashed() -> bool:
        status = pods(lab)[0]["status"]["containerStatuses"][0]
        return not status["ready"] or status["restartCount"] > before

    lab.until(crashed, "the container is seen to have crashed", 20)
    lab.until(
        lambda: pods(lab)[0]["status"]["containerStatuses"][0]["restartCount"] == before + 1, "it was started again", 60
    )
    lab.ready(DEPLOYMENT)
    status = pods(lab)[0]["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert len(processes()) == 1
    assert processes() != [pid]


def test_the_process_goes_with_the_deployment_and_its_log_is_kubectl_logs(sealed_secrets: ControllerLab) -> None:
    lab = sealed_secrets
    lab.ready(DEPLOYMENT)
    name = pods(lab)[0]["metadata"]["name"]
    text = lab.loop.run(lab.client.text("GET", f"{PODS}/{name}/log"))
    assert "Starting sealed-secrets controller" in text
    scale(lab, 0)
    lab.until(lambda: not pods(lab), "the pod is gone", 30)
    lab.until(lambda: not processes(), "the process is gone", 10)
    scale(lab, 1)
    lab.ready(DEPLOYMENT)
    assert len(processes()) == 1


def test_a_container_sees_its_own_network_and_a_token_of_its_account(sealed_secrets: ControllerLab) -> None:
    sealed_secrets.ready(DEPLOYMENT)
    (pid,) = processes()
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert os.readlink(f"/proc/{pid}/ns/uts") != os.readlink("/proc/self/ns/uts")
    root = pathlib.Path(f"/proc/{pid}/root")
    place = root / "var/run/secrets/kubernetes.io/serviceaccount"
    assert (place / "namespace").read_text() == "kube-system"
    assert (place / "token").read_text().count(".") == 2
    assert not (root / "work").exists()
    assert "nameserver" in (root / "etc/resolv.conf").read_text()
    assert not list(pathlib.Path("/run").glob("secrets/kubernetes.io/serviceaccount/*"))


def test_a_node_without_power_has_no_processes(sealed_secrets: ControllerLab) -> None:
    lab = sealed_secrets
    lab.ready(DEPLOYMENT)
    lab.loop.run(lab.kubernetes.kubelet.stop())
    assert not processes()
    lab.loop.run(lab.kubernetes.kubelet.start(boot=True))
    lab.until(lambda: len(processes()) == 1, "the process runs again", 60)
    lab.ready(DEPLOYMENT)
    assert lab.program("kubeseal", "--fetch-cert").returncode == 0


def test_a_program_that_cannot_be_built_is_an_image_that_does_not_come(sealed_secrets: ControllerLab) -> None:
    from simlab.binaries import BuildError

    lab, delivery = sealed_secrets, sealed_secrets.support.delivery
    image = lab.kubernetes.kubelet.runtime.image(pods(lab)[0], "bitnami/sealed-secrets-controller:0.40.0")
    path = image.programs["/usr/local/bin/controller"].path
    hidden, build = path.with_name("hidden"), delivery._build

    def broken(program: object) -> pathlib.Path:
        raise BuildError("the build of sealed-secrets failed:\nno space left on device")

    path.rename(hidden)
    delivery._build = broken
    try:
        scale(lab, 0)
        lab.until(lambda: not pods(lab), "the pod is gone", 30)
        scale(lab, 1)

        def waiting() -> str:
            states = [s["state"] for pod in pods(lab) for s in pod["status"].get("containerStatuses") or ()]
            return "".join(str((state.get("waiting") or {}).get("message") or "") for state in states)

        lab.until(lambda: "no space left on device" in waiting(), "the pod says why its image does not come", 30)
    finally:
        hidden.rename(path)
        delivery._build = build
    lab.ready(DEPLOYMENT)

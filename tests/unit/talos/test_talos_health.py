# SPDX-License-Identifier: GPL-3.0-or-later
"""What is waited for, and what ends the waiting: told from what a node answers, played here word by word."""

from __future__ import annotations

import dataclasses
import threading
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import (
    HomelabError,
    ServerFault,
    TaskFailed,
    Unreachable,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.channel import RefusedByOurs, UntrustedNode
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.client import ContainerInfo, Member, Service
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.health import Health
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.node import Sight, State
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock, Deadline, Pending

CP = Node("cp1", "10.77.0.11", "controlplane")
WORKER = Node("w1", "10.77.0.21", "worker")
API = "kube-system/kube-apiserver-cp1"


def pod(ready: bool = True, **container: t.Any) -> dict[str, t.Any]:
    """A static pod's status as the resource has it: the pod's own status, at the top level."""
    status: dict[str, t.Any] = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    if container:
        status["containerStatuses"] = [container]
    return status


def crash(exit_code: int = 1, reason: str = "CrashLoopBackOff", restarts: int = 2) -> dict[str, t.Any]:
    return pod(
        False,
        restartCount=restarts,
        state={"waiting": {"reason": reason, "message": "back-off 10s"}},
        lastState={"terminated": {"exitCode": exit_code}},
    )


@dataclasses.dataclass
class Answers:
    """A healthy control plane node; tests change what they need."""

    stage: dict[str, t.Any] = dataclasses.field(
        default_factory=lambda: {"stage": "running", "status": {"ready": True, "unmetConditions": []}}
    )
    service_list: list[Service] = dataclasses.field(
        default_factory=lambda: [Service("etcd", "Running", True, "up"), Service("kubelet", "Running", True, "up")]
    )
    members: list[Member] = dataclasses.field(default_factory=lambda: [Member(1, "cp1", (), False)])
    pods: dict[str, t.Any] = dataclasses.field(
        default_factory=lambda: {
            f"kube-system/{name}-cp1": pod() for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        }
    )
    node: dict[str, t.Any] = dataclasses.field(default_factory=lambda: {"cp1": {"nodeReady": True}})
    container_list: list[ContainerInfo] = dataclasses.field(default_factory=list)
    log: list[str] = dataclasses.field(default_factory=list)
    error: HomelabError | None = None

    of = "Talos node cp1 at 10.77.0.11:50000"

    @property
    def channel(self) -> t.Any:
        return self

    def close(self) -> None:
        pass

    def services(self) -> list[Service]:
        if self.error:
            raise self.error
        return self.service_list

    def machine_status(self) -> dict[str, t.Any]:
        return self.stage

    def etcd_members(self) -> list[Member]:
        return self.members

    def resources(self, _namespace: str, kind: str) -> dict[str, t.Any]:
        return self.pods if kind.startswith("StaticPod") else self.node

    def containers(self) -> list[ContainerInfo]:
        return self.container_list

    def container_log(self, _container: str, _lines: int) -> list[str]:
        return self.log

    def service_log(self, _service: str, _lines: int) -> list[str]:
        return self.log


class Nodes:
    """Stands where the connector does."""

    def __init__(self, sights: dict[str, t.Callable[[], Sight]]) -> None:
        self.sights = sights

    def look(self, node: Node) -> Sight:
        return self.sights[node.name]()


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> Clock:
        def sleep(seconds: float) -> None:
            self.now += seconds

        return Clock(lambda: self.now, sleep)


def health(answers: Answers, nodes: list[Node] | None = None, **more: t.Any) -> Health:
    sights = {"cp1": lambda: Sight(State.OURS, t.cast(t.Any, answers), "running"), **more.pop("sights", {})}
    time = more.pop("time", Time())
    deadline = Deadline(more.pop("seconds", 60), time.clock())
    return Health(t.cast(t.Any, Nodes(sights)), nodes or [CP], deadline, **more)


def reason(answers: Answers, **more: t.Any) -> str:
    outcome = health(answers, **more).look()
    return outcome.reason if isinstance(outcome, Pending) else ""


def failure(answers: Answers, **more: t.Any) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        health(answers, **more).wait()
    return caught.value


def test_a_healthy_cluster_is_reported() -> None:
    assert health(Answers()).wait() == [
        {"name": "cp1", "address": "10.77.0.11", "type": "controlplane", "stage": "running"}
    ]


UNMET = {"stage": "booting", "status": {"ready": False, "unmetConditions": [{"name": "nodeReady", "reason": "no CNI"}]}}
WAITING = [
    (Answers(service_list=[Service("etcd", "Preparing", None, "Running pre state")]), "the service etcd is Preparing"),
    (Answers(service_list=[Service("etcd", "Running", False, "up", "not ready")]), "etcd is not healthy: not ready"),
    (Answers(service_list=[Service("kubelet", "Running", True, "up")]), "etcd is not there"),
    (Answers(members=[]), "etcd has 0 of 1 members"),
    (Answers(members=[Member(1, "cp1", (), True)]), "the etcd member cp1 is a learner"),
    (
        Answers(members=[Member(1, "cp1", (), False), Member(2, "", (), False)]),
        "an etcd member has not started",
    ),
    (Answers(members=[Member(1, "cp9", ("https://10.77.0.19:2380",), False)]), "0 of 1 members, without cp1"),
    (
        Answers(members=[Member(1, "cp1", (), False), Member(9, "cp9", ("https://10.77.0.19:2380",), False)]),
        "etcd has a member that is none of the nodes: cp9 (https://10.77.0.19:2380)",
    ),
    (
        Answers(members=[Member(1, "cp1", (), False), Member(9, "cp1", ("https://10.77.0.19:2380",), False)]),
        "etcd has a member that is none of the nodes: cp1 (https://10.77.0.19:2380)",
    ),
    (Answers(pods={}), "the static pod kube-apiserver is not there yet"),
    (Answers(pods={**Answers().pods, API: pod(False)}), "the static pod kube-apiserver is not ready"),
    (Answers(stage=UNMET), "booting, no CNI"),
    (Answers(stage={"stage": "booting", "status": {"ready": True}}), "the stage is booting, not ready"),
    (Answers(node={}), "its Kubernetes node is not registered yet"),
    (Answers(node={"cp1": {"nodeReady": False}}), "the Kubernetes node cp1 is not Ready"),
]


@pytest.mark.parametrize(("answers", "expected"), WAITING)
def test_what_is_waited_for_is_said(answers: Answers, expected: str) -> None:
    assert expected in reason(answers) and reason(answers).startswith("cp1: ")


def test_without_a_network_plugin_readiness_is_not_waited_for() -> None:
    for stage in ("booting", "running"):
        answers = Answers(stage={**UNMET, "stage": stage}, node={"cp1": {"nodeReady": False}})
        assert reason(answers, node_ready=False) == ""
        assert [one["stage"] for one in health(answers, node_ready=False).wait()] == [stage]


def test_a_member_is_known_by_its_node_s_address_too() -> None:
    named = [Member(1, "talos-abc-123", ("https://10.77.0.11:2380",), False)]
    assert reason(Answers(members=named)) == ""


def test_others_of_the_cluster_are_no_strangers_when_only_some_nodes_are_looked_at() -> None:
    answers = Answers(members=[Member(1, "cp1", (), False), Member(2, "cp2", (), False)])
    assert "none of the nodes: cp2" in reason(answers)
    assert reason(answers, complete=False) == ""


def test_nodes_that_are_off_are_waited_for_together() -> None:
    """Each of them costs the whole time of a connection that nobody takes."""
    both = threading.Barrier(2, timeout=5)

    def dead() -> Sight:
        both.wait()
        return silent(refused=False)

    sights = {"w1": dead, "w2": dead}
    nodes = [CP, WORKER, dataclasses.replace(WORKER, name="w2", address="10.77.0.22")]
    assert reason(Answers(), nodes=nodes, sights=sights).startswith("w1: connection timed out")


def test_a_crashing_api_server_is_named_with_exit_code_and_last_words() -> None:
    log = ["2026-11-21T08:00:00.1Z stderr F I1121 starting", "2026-11-21T08:00:00.2Z stderr F Error: unknown flag: --x"]
    containers = [
        ContainerInfo(f"{API}:kube-apiserver:aaa", API, "kube-apiserver", "CONTAINER_EXITED"),
        ContainerInfo(API, API, API, "SANDBOX_READY"),
    ]
    error = failure(Answers(pods={**Answers().pods, API: crash()}, container_list=containers, log=log))
    assert error.message == (
        "Could not see the static pod kube-apiserver of cp1 run (Talos node cp1 at 10.77.0.11:50000): "
        "kube-system/kube-apiserver-cp1 is in CrashLoopBackOff, exit code 1: Error: unknown flag: --x. "
        "Correct the machine config and run talos_apply_config again."
    )
    assert error.details["log"] == ["I1121 starting", "Error: unknown flag: --x"]


@pytest.mark.parametrize("why", ["ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError"])
def test_an_image_that_does_not_come_ends_the_waiting(why: str) -> None:
    error = failure(Answers(pods={**Answers().pods, API: crash(reason=why)}))
    assert f"is in {why}" in error.message


CAUSES = [
    'failed to do request: Head "https://registry.k8s.io/v2": dial tcp: lookup registry.k8s.io: no such host',
    "dial tcp 192.0.2.1:443: i/o timeout",
    "net/http: TLS handshake timeout",
    "unexpected status from HEAD request: 429 Too Many Requests",
    "unexpected status from HEAD request to https://registry.k8s.io/v2: 503 Service Unavailable",
]


def unpulled(cause: str) -> dict[str, t.Any]:
    message = f'Back-off pulling image "registry.k8s.io/kube-apiserver:v1.36.3": ErrImagePull: rpc error: {cause}'
    return pod(False, state={"waiting": {"reason": "ImagePullBackOff", "message": message}})


@pytest.mark.parametrize("cause", CAUSES)
def test_a_registry_that_does_not_answer_for_a_moment_is_waited_for(cause: str) -> None:
    """The kubelet tries again by itself, and a first boot fetches a lot."""
    time = Time()
    error = failure(Answers(pods={**Answers().pods, API: unpulled(cause)}), time=time, seconds=600)
    assert 90 <= time.now < 95
    assert cause in error.message and "reach its registry" in error.hint


def test_an_image_that_is_not_in_its_registry_is_not() -> None:
    time = Time()
    cause = "code = NotFound desc = failed to pull: registry.k8s.io/kube-apiserver:v1.36.503: not found"
    error = failure(Answers(pods={**Answers().pods, API: unpulled(cause)}), time=time)
    assert time.now < 5 and "not found" in error.message and "Correct the machine config" in error.hint


def test_a_controller_manager_may_crash_until_the_api_server_is_ready() -> None:
    name = "kube-system/kube-controller-manager-cp1"
    waiting = Answers(pods={**Answers().pods, API: pod(False), name: crash(restarts=5)})
    assert "kube-apiserver is not ready" in reason(waiting)
    assert "is not ready: CrashLoopBackOff" in reason(Answers(pods={**Answers().pods, name: crash(restarts=2)}))
    assert name in failure(Answers(pods={**Answers().pods, name: crash(restarts=3)})).message


def test_an_exited_api_server_without_details_is_a_crash_after_3_seconds() -> None:
    time = Time()
    containers = [ContainerInfo(f"{API}:kube-apiserver:a", API, "kube-apiserver", "CONTAINER_EXITED")]
    error = failure(
        Answers(pods={**Answers().pods, API: pod(False)}, container_list=containers, log=["Error: bad"]), time=time
    )
    assert "has exited and is not started again: Error: bad" in error.message
    assert 3 <= time.now < 5


def test_a_failed_service_is_named_with_its_last_event_and_lines() -> None:
    services = [Service("etcd", "Failed", None, "exit status 1")]
    error = failure(Answers(service_list=services, log=["panic: disk full"]))
    assert "the service etcd failed: exit status 1. Its last lines: panic: disk full" in error.message


def test_secrets_in_last_lines_are_censored() -> None:
    services = [Service("etcd", "Failed", None, "token abc")]
    error = failure(
        Answers(service_list=services, log=["token abc"]), censor=lambda text: text.replace("abc", "(hidden)")
    )
    assert "abc" not in error.message


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State.MAINTENANCE, "the machine is in maintenance mode: it has no config"),
        (State.FOREIGN, "It was configured with another secrets bundle."),
    ],
)
def test_a_machine_that_is_not_ours_any_more_ends_the_waiting_after_5_seconds(state: State, said: str) -> None:
    time = Time()
    with pytest.raises(HomelabError, match=said):
        health(Answers(), sights={"cp1": lambda: Sight(state)}, time=time).wait()
    assert 5 <= time.now < 7


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        (RefusedByOurs("call Get", answer="alert certificate expired"), 60),
        (UntrustedNode("trust the node", answer="certificate is not yet valid", verify_code=9), 60),
        (UntrustedNode("trust the node", answer="certificate has expired", verify_code=10), 60),
        (UntrustedNode("trust the node", answer="IP address mismatch", verify_code=64), 5),
    ],
)
def test_a_clock_that_is_wrong_gets_a_minute_to_be_set(reason: HomelabError, seconds: float) -> None:
    """A machine without a battery has the right time when it has found its time server."""
    time = Time()
    with pytest.raises(type(reason), match=reason.answer):
        health(Answers(), sights={"cp1": lambda: Sight(State.UNFIT, reason=reason)}, time=time).wait()
    assert seconds <= time.now < seconds + 2


def test_a_node_that_is_away_is_waited_for_and_one_that_keeps_failing_is_not() -> None:
    away = Unreachable("call ServiceList", answer="connection lost")
    assert reason(Answers(error=away)) == "cp1: connection lost"
    with pytest.raises(ServerFault):
        health(Answers(error=ServerFault("call ServiceList", answer="INTERNAL"))).wait()


def test_a_worker_is_not_asked_for_etcd_and_static_pods() -> None:
    worker = Answers(service_list=[Service("kubelet", "Running", True, "up")], pods={}, members=[])
    worker.node = {"w1": {"nodeReady": True}}
    sights = {"w1": lambda: Sight(State.OURS, t.cast(t.Any, worker), "running")}
    assert reason(Answers(), nodes=[CP, WORKER], sights=sights) == ""


def test_a_crash_that_is_mended_meanwhile_is_waited_for() -> None:
    """Right after the right config was applied, the kubelet still shows the old pod for a moment."""
    answers = Answers(pods={**Answers().pods, API: crash()})
    time = Time()
    watched = health(answers, time=time)
    first = watched.look()
    assert isinstance(first, Pending) and "CrashLoopBackOff" in first.reason
    time.now = 2.0
    answers.pods = Answers().pods
    assert not isinstance(watched.look(), Pending)
    answers.pods = {**Answers().pods, API: crash()}
    time.now = 4.0
    assert isinstance(watched.look(), Pending)
    time.now = 7.5
    with pytest.raises(TaskFailed):
        watched.look()


def silent(refused: bool) -> Sight:
    answer = "[Errno 111] Connection refused" if refused else "connection timed out"
    return Sight(State.SILENT, reason=Unreachable("connect", of="w1", answer=answer, refused=refused))


@pytest.mark.parametrize(
    ("control_plane_up", "refused", "words"),
    [
        (False, True, "the machine is on; a worker's API comes when a control plane node is up, and none is"),
        (True, True, "the machine is on, its Talos API is not"),
        (False, False, "connection timed out: the machine is off, or not at this address"),
        (True, False, "connection timed out: the machine is off, or not at this address"),
    ],
)
def test_a_worker_that_waits_is_told_from_one_that_is_dead(control_plane_up: bool, refused: bool, words: str) -> None:
    sights = {"w1": lambda: silent(refused)}
    if not control_plane_up:
        sights["cp1"] = lambda: silent(refused=False)
    watch = health(Answers(), [CP, WORKER], sights=sights)
    assert silence_of(watch, WORKER).endswith(words)


def silence_of(watch: Health, node: Node) -> str:
    watch.look()
    found = watch._client(node)
    assert isinstance(found, Pending)
    return found.reason

# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's services: states, health and events, in the words of the real node."""

from __future__ import annotations

import collections
import dataclasses
import time
import typing as t

from .events import Events
from .resources import Resources, timestamp

_EVENTS_KEPT = 64
#: States of a service that is there but for nothing to be run any more.
_OVER = ("Finished", "Failed", "Skipped")

#: Services that run as containers of the system's containerd.
SYSTEM_CONTAINERS = ("apid", "trustd")

#: Operations that a client may ask for; extension services allow all three.
OPERATIONS = {"kubelet": ("start", "restart")}

_KUBELET_VOLUMES = (
    "/var/lib, /var/lib/kubelet, /var/log, /var/log/audit, /var/log/containers, /var/log/pods, "
    "/var/lib/kubelet/seccomp, /var/lib/kubelet/seccomp/profiles, /var/log/audit/kube, /var/mnt"
)

#: What each service waits for before it is prepared.
WAITS = {
    "apid": (
        'service "containerd" to be "up", api certificates, config to be ready',
        'service "containerd" to be "up", config to be ready',
    ),
    "cri": ("volumes /var/lib, /var/lib/containerd to be mounted, network",),
    "kubelet": (
        f'volumes {_KUBELET_VOLUMES} to be mounted, service "cri" to be "up", time sync, network',
        'service "cri" to be "up"',
    ),
    "etcd": (
        'volumes /var/lib, ETCD to be mounted, service "cri" to be "up", time sync, network, etcd spec',
        'service "cri" to be "up"',
    ),
    "trustd": ('service "containerd" to be "up", time sync, network',),
}
_SYSTEM_CONTAINERD = (
    '["/bin/containerd" "--address" "/system/run/containerd/containerd.sock" "--state" "/system/run/containerd" '
    '"--root" "/system/var/lib/containerd"]'
)
_CRI_CONTAINERD = (
    '["/bin/containerd" "--address" "/run/containerd/containerd.sock" "--config" "/etc/cri/containerd.toml"]'
)
_STARTED = {
    "machined": "Service started as goroutine",
    "dashboard": 'Process Process(["/sbin/dashboard"]) started with PID {pid}',
    "auditd": "Service started as goroutine",
    "syslogd": "Service started as goroutine",
    "udevd": 'Process Process(["/usr/bin/udevd" "--resolve-names=never"]) started with PID {pid}',
    "containerd": f"Process Process({_SYSTEM_CONTAINERD}) started with PID {{pid}}",
    "cri": f"Process Process({_CRI_CONTAINERD}) started with PID {{pid}}",
}
_CONTAINER = "Started task {id} (PID {pid}) for container {id}"


@dataclasses.dataclass
class Service:
    id: str
    state: str = "Initialized"
    healthy: bool | None = None
    last_message: str = ""
    last_change: float = 0.0
    pid: int = 0
    events: collections.deque[tuple[str, str, float]] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=_EVENTS_KEPT)
    )

    @property
    def running(self) -> bool:
        return self.state in ("Running", "Stopping")

    def as_message(self) -> dict[str, t.Any]:
        health: dict[str, t.Any] = {
            "unknown": self.healthy is None,
            "healthy": bool(self.healthy),
        }
        if self.last_change:
            health.update(last_message=self.last_message, last_change=timestamp(self.last_change))
        events = [{"msg": text, "state": state, "ts": timestamp(at)} for text, state, at in self.events]
        return {
            "id": self.id,
            "state": self.state,
            "events": {"events": events},
            "health": health,
        }


class Services:
    """All services of one boot. They change state here only, so events and COSI resources follow."""

    def __init__(self, events: Events, resources: Resources, changed: t.Callable[[], None]) -> None:
        self._events = events
        self._resources = resources
        self._changed = changed
        self._all: dict[str, Service] = {}
        self._next_pid = 60

    def all(self) -> list[Service]:
        return [self._all[key] for key in sorted(self._all)]

    def get(self, id_: str) -> Service | None:
        return self._all.get(id_)

    def healthy(self, id_: str) -> bool:
        service = self._all.get(id_)
        return service is not None and service.state == "Running" and bool(service.healthy)

    def load(self, id_: str) -> Service:
        """Known from now on; a second load starts the service's history anew only if it was over."""
        if id_ not in self._all or self._all[id_].state in _OVER:
            self._all[id_] = Service(id_)
        return self._all[id_]

    def move(self, id_: str, state: str, text: str) -> None:
        """A state change (or a word within a state), with its event."""
        service = self._all[id_]
        service.state = state
        service.events.append((text, state, time.time()))
        fields: dict[str, t.Any] = {
            "service": id_,
            "action": state.upper(),
            "message": text,
        }
        self._events.tell("ServiceStateEvent", **fields, health=service.as_message()["health"])
        self._publish(service)

    def starting(self, id_: str) -> None:
        self.load(id_)
        self.move(id_, "Starting", "Starting service")
        for waits in WAITS.get(id_, ()):
            self.move(id_, "Waiting", f"Waiting for {waits}")

    def preparing(self, id_: str) -> None:
        self.move(id_, "Preparing", "Running pre state")

    def running(self, id_: str) -> None:
        self._next_pid += 19
        self._all[id_].pid = self._next_pid
        self.move(id_, "Preparing", "Creating service runner")
        started = _STARTED.get(id_, _CONTAINER)
        self.move(id_, "Running", started.format(id=id_, pid=self._next_pid))

    def health(self, id_: str, healthy: bool, text: str = "") -> None:
        """Health as it is found; only a change is an event."""
        service = self._all.get(id_)
        if service is None or service.state != "Running" or (service.healthy, service.last_message) == (healthy, text):
            return
        changed = service.healthy is not healthy
        service.healthy, service.last_message, service.last_change = (
            healthy,
            text,
            time.time(),
        )
        if changed:
            self.move(
                id_,
                "Running",
                "Health check successful" if healthy else f"Health check failed: {text}",
            )

    def stopping(self, id_: str) -> None:
        service = self._all[id_]
        text = f"Sending SIGTERM to task {id_} (PID {service.pid}, container {id_})"
        if id_ in _STARTED:
            text = "Service stopping" if id_ == "machined" else f"Sending SIGTERM to {id_}"
        self.move(id_, "Stopping", text)

    def finished(self, id_: str) -> None:
        self._over(id_, "Finished", "Service finished successfully")

    def failed(self, id_: str, text: str) -> None:
        self._over(id_, "Failed", text)

    def restarting(self, id_: str, text: str) -> None:
        """A process that died and is started again for ever: Waiting, with its last words."""
        service = self._all[id_]
        service.healthy, service.last_change = False, time.time()
        self.move(id_, "Waiting", text)

    def _over(self, id_: str, state: str, text: str) -> None:
        service = self._all[id_]
        service.healthy, service.last_message, service.last_change = (
            False,
            "service not running",
            time.time(),
        )
        self.move(id_, state, text)

    def _publish(self, service: Service) -> None:
        if service.running:
            spec = {
                "running": True,
                "healthy": bool(service.healthy),
                "unknown": service.healthy is None,
            }
            self._resources.put(
                "runtime",
                "Services.v1alpha1.talos.dev",
                service.id,
                spec,
                owner="v1alpha1.ServiceController",
            )
        else:
            self._resources.remove("runtime", "Services.v1alpha1.talos.dev", service.id)
        self._changed()

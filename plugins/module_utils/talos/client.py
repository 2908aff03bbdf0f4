# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls to one node, typed: what goes in and out are plain Python values."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import typing as t
import zlib

from ..errors import NotFound, Refused, ServerFault
from . import schema, status
from .channel import Channel

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)

MACHINE = "/machine.MachineService"
STATE = "/cosi.resource.State"

#: Calls that hang until the deadline when etcd is not there get this many seconds.
ETCD_TIMEOUT = 5.0

Mode = t.Literal["reboot", "auto", "no_reboot", "staged", "try"]
#: The wire's numbers. Zero is REBOOT, so a mode is always sent.
MODES: dict[str, int] = {"reboot": 0, "auto": 1, "no_reboot": 2, "staged": 3, "try": 4}
#: Alarms of etcd by the wire's numbers.
ALARMS = {1: "NOSPACE", 2: "CORRUPT"}
REBOOT_MODES: dict[str, int] = {"default": 0, "powercycle": 1, "force": 2}
WIPE_MODES: dict[str, int] = {"all": 0, "system_disk": 1, "user_disks": 2}
MODE_NAMES = {number: name for name, number in MODES.items()}


@dataclasses.dataclass(frozen=True)
class Applied:
    """The node's answer to a config: the mode it chose, its words (they may hold config text), its warnings."""

    mode: str
    details: str
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Service:
    """One service of the node. ``healthy`` is None when it has no health check, or none has run yet."""

    id: str
    state: str
    healthy: bool | None
    last_event: str
    health_message: str = ""


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of etcd; an unstarted one has no hostname."""

    id: int
    hostname: str
    peer_urls: tuple[str, ...]
    learner: bool
    client_urls: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class MemberStatus:
    """What one member of etcd says of itself. Sizes in bytes; ``leader`` is a member's id, 0 when there is none."""

    id: int
    version: str
    storage_version: str
    db_size: int
    db_size_in_use: int
    leader: int
    raft_index: int
    raft_applied_index: int
    raft_term: int
    errors: tuple[str, ...]
    learner: bool


@dataclasses.dataclass(frozen=True)
class Item:
    """One COSI resource: its metadata as far as people need it, and its spec."""

    id: str
    version: str
    phase: str
    owner: str
    labels: dict[str, str]
    spec: t.Any


@dataclasses.dataclass(frozen=True)
class ContainerInfo:
    id: str
    pod: str
    name: str
    status: str


class Client:
    """One node's API over one channel. ``timeout`` is in seconds, for each call."""

    def __init__(self, channel: Channel, *, timeout: float = 30.0) -> None:
        self.channel = channel
        self.timeout = timeout

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.channel.close()

    @property
    def of(self) -> str:
        return str(self.channel.target)

    # -- machine

    def version(self) -> str:
        """The Talos version, as ``v1.13.9``. Nodes up to 1.12 refuse this in maintenance mode."""
        return str(self.version_facts()["tag"])

    def version_facts(self) -> dict[str, t.Any]:
        """``{tag, sha, go_version, os, arch, platform, mode, rbac}``; ``rbac`` is None as long as there is no config."""
        answer = self._first(f"{MACHINE}/Version", "Empty", "VersionResponse")
        told = {name: str(getattr(answer.version, name)) for name in ("tag", "sha", "go_version", "os", "arch")}
        rbac = bool(answer.features.rbac) if answer.HasField("features") else None
        return {**told, "platform": str(answer.platform.name), "mode": str(answer.platform.mode), "rbac": rbac}

    def machine_status(self) -> dict[str, t.Any]:
        """``{stage, status: {ready, unmetConditions: [{name, reason}]}}``; readable in maintenance mode too."""
        spec = self.resource("runtime", "MachineStatuses.runtime.talos.dev", "machine")
        return dict(spec) if isinstance(spec, dict) else {}

    def apply_config(self, data: bytes, mode: str, *, dry_run: bool, try_seconds: int = 0) -> Applied:
        request: dict[str, t.Any] = {"data": data, "mode": MODES[mode], "dry_run": dry_run}
        if mode == "try" and try_seconds:
            request["try_mode_timeout"] = schema.message("Duration")(seconds=try_seconds)
        answer = self._first(
            f"{MACHINE}/ApplyConfiguration",
            "ApplyConfigurationRequest",
            "ApplyConfigurationResponse",
            **request,
        )
        chosen = MODE_NAMES.get(int(answer.mode), str(answer.mode))
        return Applied(chosen, str(answer.mode_details), tuple(answer.warnings))

    def bootstrap(self, *, recover: bool = False, skip_hash_check: bool = False) -> None:
        """Make this node's etcd the first member of the cluster; ``recover``: from the snapshot that was uploaded."""
        self._first(
            f"{MACHINE}/Bootstrap",
            "BootstrapRequest",
            "BootstrapResponse",
            recover_etcd=recover,
            recover_skip_hash_check=skip_hash_check,
        )

    def reboot(self, mode: str) -> None:
        """Returns when the node has begun: the API stays up while its pods stop."""
        self._first(f"{MACHINE}/Reboot", "RebootRequest", "ActorResponse", mode=REBOOT_MODES[mode])

    def reset(
        self, *, graceful: bool, reboot: bool, partitions: t.Sequence[str], user_disks: t.Sequence[str], mode: str
    ) -> None:
        """``partitions`` by label, none of them for all of the system disk; ``user_disks`` as ``/dev/…``."""
        spec = schema.message("ResetPartitionSpec")
        self._first(
            f"{MACHINE}/Reset",
            "ResetRequest",
            "ActorResponse",
            graceful=graceful,
            reboot=reboot,
            system_partitions_to_wipe=[spec(label=label, wipe=True) for label in partitions],
            user_disks_to_wipe=list(user_disks),
            mode=WIPE_MODES[mode],
        )

    def kubeconfig(self) -> str:
        """An administrator's kubeconfig, newly issued by the node."""
        archive = b"".join(bytes(part.bytes) for part in self._stream(f"{MACHINE}/Kubeconfig", "Empty", "Data"))
        return _only_file(archive, self.of)

    def services(self) -> list[Service]:
        answer = self._first(f"{MACHINE}/ServiceList", "Empty", "ServiceListResponse")
        return [_service(info) for info in answer.services]

    def containers(self) -> list[ContainerInfo]:
        """The containers of pods."""
        answer = self._first(
            f"{MACHINE}/Containers", "ContainersRequest", "ContainersResponse", namespace="k8s.io", driver=1
        )
        return [ContainerInfo(info.id, info.pod_id, info.name, info.status) for info in answer.containers]

    def container_log(self, container: str, lines: int) -> list[str]:
        """The last lines that a pod's container wrote."""
        return self._log({"namespace": "k8s.io", "id": container, "driver": 1, "tail_lines": lines}, lines)

    def service_log(self, service: str, lines: int) -> list[str]:
        return self._log({"namespace": "system", "id": service, "driver": 0, "tail_lines": lines}, lines)

    def read_file(self, path: str) -> str:
        parts = self._stream(f"{MACHINE}/Read", "ReadRequest", "Data", path=path)
        return b"".join(bytes(part.bytes) for part in parts).decode("utf-8", "replace")

    def list_directory(self, path: str) -> list[str]:
        """Names in a directory; empty when it is not there. Raises when the node does not list directories."""
        try:
            infos = list(self._stream(f"{MACHINE}/List", "ListRequest", "FileInfo", root=path))
        except NotFound:
            return []
        except ServerFault as error:  # lstat's words come as UNKNOWN
            if "no such file" in error.answer:
                return []
            raise
        return [str(info.relative_name) for info in infos if info.relative_name not in (".", "")]

    # -- etcd

    def etcd_members(self) -> list[Member]:
        """Ask only when the etcd service runs: before the bootstrap this hangs until its deadline."""
        answer = self._first(
            f"{MACHINE}/EtcdMemberList", "EtcdMemberListRequest", "EtcdMemberListResponse", timeout=ETCD_TIMEOUT
        )
        return [
            Member(
                int(member.id),
                str(member.hostname),
                tuple(member.peer_urls),
                bool(member.is_learner),
                tuple(member.client_urls),
            )
            for member in answer.members
        ]

    def etcd_status(self) -> MemberStatus:
        """What this node's member says. Hangs, as :meth:`etcd_members`, until its deadline when etcd is not there."""
        answer = self._first(f"{MACHINE}/EtcdStatus", "Empty", "EtcdStatusResponse", timeout=ETCD_TIMEOUT)
        return _member_status(answer.member_status)

    def etcd_alarms(self) -> list[tuple[int, str]]:
        """Alarms of all members: id and ``NOSPACE`` or ``CORRUPT``."""
        answer = self._first(f"{MACHINE}/EtcdAlarmList", "Empty", "EtcdAlarmListResponse", timeout=ETCD_TIMEOUT)
        return [
            (int(one.member_id), ALARMS.get(int(one.alarm), str(one.alarm)))
            for one in answer.member_alarms
            if one.alarm
        ]

    def forfeit_leadership(self) -> str:
        """Hand the leadership of etcd to another member: its name, empty when this node's member did not lead."""
        answer = self._first(
            f"{MACHINE}/EtcdForfeitLeadership", "Empty", "EtcdForfeitLeadershipResponse", timeout=ETCD_TIMEOUT
        )
        return str(answer.member)

    def etcd_snapshot(self, *, timeout: float) -> t.Iterator[bytes]:
        """The database of this node's member as a stream, with its SHA-256 at the end. ``timeout`` is for all of it."""
        for part in self._stream(f"{MACHINE}/EtcdSnapshot", "Empty", "Data", timeout=timeout):
            yield bytes(part.bytes)

    def upload_snapshot(self, parts: t.Iterable[bytes], *, timeout: float) -> None:
        """Bring a snapshot of etcd to the node, for a bootstrap that recovers from it. Half an upload is not kept."""
        path = f"{MACHINE}/EtcdRecover"
        data = schema.message("Data")
        answers = list(
            self.channel.stream(path, (data(bytes=part).SerializeToString() for part in parts), timeout=timeout)
        )
        if len(answers) != 1:
            raise ServerFault("understand the answer to EtcdRecover", of=self.of, answer=f"{len(answers)} messages")
        self._decode(path, "EtcdRecoverResponse", answers[0])

    # -- resources

    def hostname(self) -> str:
        """What the machine calls itself, and with it its Kubernetes node and its member of etcd."""
        spec = self.resource("network", "HostnameStatuses.net.talos.dev", "hostname")
        return str(spec.get("hostname", "")) if isinstance(spec, dict) else ""

    def resource(self, namespace: str, kind: str, identifier: str) -> t.Any:
        """One resource's spec, from its YAML. Raises :class:`errors.NotFound`."""
        answer = self._unary(
            f"{STATE}/Get",
            "ResourceGetRequest",
            "ResourceGetResponse",
            namespace=namespace,
            type=kind,
            id=identifier,
        )
        return self._spec(answer.resource)

    def resources(self, namespace: str, kind: str) -> dict[str, t.Any]:
        """All resources of a type: spec by id."""
        answers = self._stream(
            f"{STATE}/List", "ResourceListRequest", "ResourceListResponse", namespace=namespace, type=kind
        )
        return {str(answer.resource.metadata.id): self._spec(answer.resource) for answer in answers}

    def items(self, namespace: str, kind: str, identifier: str = "") -> list[Item]:
        """Resources of a type with their metadata; only one when there is an id. Raises :class:`errors.NotFound` then."""
        asked: dict[str, t.Any] = {"namespace": namespace, "type": kind}
        if identifier:
            one = self._unary(f"{STATE}/Get", "ResourceGetRequest", "ResourceGetResponse", id=identifier, **asked)
            return [self._item(one.resource)]
        answers = self._stream(f"{STATE}/List", "ResourceListRequest", "ResourceListResponse", **asked)
        return [self._item(answer.resource) for answer in answers]

    def machine_config(self, identifier: str) -> str | None:
        """The config ``v1alpha1`` (active) or ``persistent`` (on disk) as its text, None when there is none."""
        try:
            spec = self.resource("config", "MachineConfigs.config.talos.dev", identifier)
        except NotFound:
            return None
        if isinstance(spec, str):  # 1.12 and later: the text as a scalar
            return spec
        return yaml.safe_dump(spec, sort_keys=False)

    # -- plumbing

    def _item(self, resource: t.Any) -> Item:
        told = resource.metadata
        identifier, version, phase, owner = (str(getattr(told, name)) for name in ("id", "version", "phase", "owner"))
        return Item(identifier, version, phase, owner, dict(told.labels), self._spec(resource))

    def _spec(self, resource: t.Any) -> t.Any:
        try:
            return yaml.safe_load(resource.spec.yaml_spec)
        except yaml.YAMLError as error:
            kind = str(resource.metadata.type)
            raise ServerFault(f"read the resource {kind}", of=self.of, answer="its spec is not YAML") from error

    def _log(self, request: dict[str, t.Any], lines: int) -> list[str]:
        parts = self._stream(f"{MACHINE}/Logs", "LogsRequest", "Data", **request)
        text = "\n".join(bytes(part.bytes).decode("utf-8", "replace").rstrip("\n") for part in parts)
        return [line for line in text.splitlines() if line.strip()][-lines:]

    def _unary(self, path: str, request: str, answer: str, *, timeout: float | None = None, **fields: t.Any) -> t.Any:
        data = schema.message(request)(**fields).SerializeToString()
        reply = self.channel.unary(path, data, timeout=timeout or self.timeout)
        return self._decode(path, answer, reply)

    def _first(self, path: str, request: str, answer: str, *, timeout: float | None = None, **fields: t.Any) -> t.Any:
        """Most answers are a list with one message a node, and we ask one node."""
        messages = self._unary(path, request, answer, timeout=timeout, **fields).messages
        if not messages:
            raise ServerFault(f"understand the answer to {path.rsplit('/', 1)[-1]}", of=self.of, answer="it is empty")
        if messages[0].metadata.error:
            raise Refused(f"call {path.rsplit('/', 1)[-1]}", of=self.of, answer=messages[0].metadata.error)
        return messages[0]

    def _stream(
        self, rpc_path: str, request: str, answer: str, *, timeout: float | None = None, **fields: t.Any
    ) -> t.Iterator[t.Any]:
        data = schema.message(request)(**fields).SerializeToString()
        for reply in self.channel.stream(rpc_path, [data], timeout=timeout or self.timeout):
            yield self._decode(rpc_path, answer, reply)

    def _decode(self, path: str, name: str, data: bytes) -> t.Any:
        try:
            return schema.decode(name, data)
        except ValueError as error:
            rpc = path.rsplit("/", 1)[-1]
            raise ServerFault(f"understand the answer to {rpc}", of=self.of, answer=str(error)) from error


def unimplemented(failure: Exception) -> bool:
    """The node does not know this call, or its machine type does not have it."""
    return isinstance(failure, Refused) and status.code_of(failure) == "UNIMPLEMENTED"


def _member_status(told: t.Any) -> MemberStatus:
    return MemberStatus(
        id=int(told.member_id),
        version=str(told.protocol_version),
        storage_version=str(told.storage_version),
        db_size=int(told.db_size),
        db_size_in_use=int(told.db_size_in_use),
        leader=int(told.leader),
        raft_index=int(told.raft_index),
        raft_applied_index=int(told.raft_applied_index),
        raft_term=int(told.raft_term),
        errors=tuple(str(error) for error in told.errors),
        learner=bool(told.is_learner),
    )


def _service(info: t.Any) -> Service:
    events = info.events.events
    health = info.health
    unknown = bool(health.unknown) or not info.HasField("health")
    return Service(
        str(info.id),
        str(info.state),
        None if unknown else bool(health.healthy),
        str(events[-1].msg) if events else "",
        str(health.last_message),
    )


def _only_file(archive: bytes, of: str) -> str:
    """The file in the node's tar.gz, which has no end blocks: read the first member and no further."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            member = tar.next()
            file = tar.extractfile(member) if member else None
            if file is not None:
                return file.read().decode("utf-8")
    except (tarfile.TarError, zlib.error, OSError, EOFError, UnicodeDecodeError) as error:
        raise ServerFault("read the kubeconfig", of=of, answer=f"not a tar archive: {error}") from error
    raise ServerFault("read the kubeconfig", of=of, answer="the archive is empty")

# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes tell of themselves: a stage always, facts that are asked for, and any COSI resource."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing as t

from ..errors import AccessDenied, HomelabError, InvalidInput, NotFound, Refused, ServerFault, Unauthenticated
from .asking import Answer, told
from .client import Client
from .inputs import Node
from .node import Connector, Sight, State, foreign_error

Json = dict[str, t.Any]

_TYPE = re.compile(r"[A-Z][A-Za-z0-9]*\.[a-z0-9.-]+\.[a-z]+")
#: Types of Talos 1.12 to 1.14 that hold keys, tokens or whole configs, besides all of the namespace ``secrets``.
SENSITIVE = frozenset(
    {
        "APIServerConfigs.kubernetes.talos.dev",
        "AuditPolicyConfigs.kubernetes.talos.dev",
        "AuthorizationConfigs.kubernetes.talos.dev",
        "DeviceConfigSpecs.net.talos.dev",
        "DiscoveryConfigs.cluster.talos.dev",
        "EtcFileSpecs.files.talos.dev",
        "ExtensionServiceConfigs.runtime.talos.dev",
        "ExtraManifestsConfigs.kubernetes.talos.dev",
        "KubeSpanConfigs.kubespan.talos.dev",
        "KubeSpanIdentities.kubespan.talos.dev",
        "KubeletConfigs.kubernetes.talos.dev",
        "KubeletSpecs.kubernetes.talos.dev",
        "LinkSpecs.net.talos.dev",
        "MachineConfigs.config.talos.dev",
        "Manifests.kubernetes.talos.dev",
        "OperatorSpecs.net.talos.dev",
        "RegistryConfigs.cri.talos.dev",
        "SiderolinkConfigs.siderolink.talos.dev",
        "SiderolinkTunnels.siderolink.talos.dev",
        "VolumeConfigs.block.talos.dev",
    }
)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Resources to read: all of a type in a namespace, or the one with the id."""

    namespace: str
    type: str
    id: str = ""


@dataclasses.dataclass(frozen=True)
class Fact:
    """A group of facts: how many calls it takes, and how it is read."""

    calls: int
    read: t.Callable[[Client], Json]


def _version(client: Client) -> Json:
    found = client.version_facts()
    return {"version": found["tag"], **{name: found[name] for name in ("arch", "platform", "mode")}}


def _hostname(client: Client) -> Json:
    spec = _mapping(client.resource("network", "HostnameStatuses.net.talos.dev", "hostname"))
    return {"hostname": spec.get("hostname", ""), "domain": spec.get("domainname", "")}


def _type(client: Client) -> Json:
    return {"type": machine_type(client)}


def machine_type(client: Client) -> str:
    """What the machine is by its config, which it knows before its services are there."""
    return str(client.resource("config", "MachineTypes.config.talos.dev", "machine-type"))


def _services(client: Client) -> Json:
    return {"services": [dataclasses.asdict(service) for service in client.services()]}


#: Keys of ours and of the spec, for lists that are one resource a row.
_DISK = {
    "path": "dev_path",
    "size": "size",
    "model": "model",
    "serial": "serial",
    "wwid": "wwid",
    "transport": "transport",
    "rotational": "rotational",
    "readonly": "readonly",
    "cdrom": "cdrom",
}
_LINK = {
    "type": "type",
    "kind": "kind",
    "mac": "hardwareAddr",
    "mtu": "mtu",
    "up": "linkState",
    "state": "operationalState",
    "driver": "driver",
}
_ADDRESS = {"address": "address", "link": "linkName", "family": "family", "scope": "scope"}


def _disks(client: Client) -> Json:
    disks = _rows(client.resources("runtime", "Disks.block.talos.dev"), _DISK)
    system = client.resources("runtime", "SystemDisks.block.talos.dev")
    used = {str(_mapping(spec).get("diskID")) for spec in system.values()}
    return {"disks": [{**disk, "system": disk["name"] in used} for disk in disks]}


def _links(client: Client) -> Json:
    return {"links": _rows(client.resources("network", "LinkStatuses.net.talos.dev"), _LINK)}


def _addresses(client: Client) -> Json:
    found = client.resources("network", "AddressStatuses.net.talos.dev")
    return {"addresses": [_picked(_mapping(spec), _ADDRESS) for spec in found.values()]}


def _extensions(client: Client) -> Json:
    """Extensions of the image. The schematic is told as one that is none."""
    found = client.resources("runtime", "ExtensionStatuses.runtime.talos.dev").values()
    told_of = [_mapping(_mapping(spec).get("metadata")) for spec in found]
    named = {name: name for name in ("name", "version", "author", "description")}
    real = [_picked(one, named) for one in told_of if one.get("name") != "schematic"]
    schematic = next((str(one.get("version")) for one in told_of if one.get("name") == "schematic"), None)
    return {"extensions": real, "schematic": schematic}


def _members(client: Client) -> Json:
    return {"members": members(client)}


def members(client: Client) -> list[Json]:
    """The cluster's members as discovery knows them: one call, whatever their number."""
    return [_member(id_, _mapping(spec)) for id_, spec in _all_members(client).items()]


def _all_members(client: Client) -> dict[str, t.Any]:
    return client.resources("cluster", "Members.cluster.talos.dev")


def _member(identifier: str, spec: Json) -> Json:
    system = str(spec.get("operatingSystem") or "")
    version = re.search(r"\((v[^)]+)\)", system)
    return {
        "name": str(spec.get("hostname") or identifier),
        "addresses": [str(address) for address in spec.get("addresses") or []],
        "type": str(spec.get("machineType") or ""),
        "version": version[1] if version else "",
        "operating_system": system,
        "node_id": str(spec.get("nodeId") or ""),
        "control_plane_port": _mapping(spec.get("controlPlane")).get("port"),
    }


#: What can be asked for. The stage costs one more call, which every node is asked anyway.
FACTS: dict[str, Fact] = {
    "version": Fact(1, _version),
    "hostname": Fact(1, _hostname),
    "type": Fact(1, _type),
    "services": Fact(1, _services),
    "disks": Fact(2, _disks),
    "links": Fact(1, _links),
    "addresses": Fact(1, _addresses),
    "extensions": Fact(1, _extensions),
    "members": Fact(1, _members),
}


def wanted_from(given: t.Sequence[t.Mapping[str, t.Any]], *, sensitive: bool) -> list[Wanted]:
    """The option ``resources``, checked. Secrets are refused unless ``sensitive``."""
    found = []
    for index, one in enumerate(given):
        where = f"resources[{index}]"
        for field in ("namespace", "type"):
            if not one[field].strip():
                raise InvalidInput(f"{where}.{field} is empty")
        if not _TYPE.fullmatch(one["type"]):
            raise InvalidInput(
                f"{where}.type is {one['type']!r}, which is no full name of a type",
                hint="It looks like MachineStatuses.runtime.talos.dev; `talosctl get rd` lists them.",
            )
        if not sensitive and (one["namespace"] == "secrets" or one["type"] in SENSITIVE):
            raise InvalidInput(
                f"{where}: {one['type']} holds secrets, which the result would show",
                hint="Set sensitive, and no_log on the task.",
            )
        found.append(Wanted(one["namespace"], one["type"], one.get("id") or ""))
    twice = [one for one in found if found.count(one) > 1]
    if twice:
        raise InvalidInput(f"resources has {twice[0].namespace}/{twice[0].type} more than once")
    return found


@dataclasses.dataclass(frozen=True)
class Question:
    """What each node is asked."""

    connector: Connector
    facts: t.Sequence[str]
    resources: t.Sequence[Wanted] = ()

    def ask(self, node: Node) -> Answer:
        """``{stage, ready, unmet, problems, **facts, resources}``. Raises when the node cannot be asked at all.

        What one call is refused, by a missing right or because a machine of its kind does not have it, is a problem of
        that fact alone.
        """
        sight = self.connector.look(node)
        if sight.client is None:
            raise _unseen(node, sight)
        with sight.client as client:
            return {**_stage(sight), **self._facts(client)}

    def _facts(self, client: Client) -> Answer:
        found: Answer = {}
        problems: list[Json] = []
        for name in (name for name in FACTS if name in self.facts):
            with _kept(problems, name):
                found.update(FACTS[name].read(client))
        resources = []
        for wanted in self.resources:
            with _kept(problems, f"{wanted.namespace}/{wanted.type}"):
                resources.append(_resources(client, wanted))
        if self.resources:
            found["resources"] = resources
        return {**found, "problems": problems}


@contextlib.contextmanager
def _kept(problems: list[Json], fact: str) -> t.Iterator[None]:
    """Keep the refusal of one call as a problem; what may pass, or ends the connection, goes on as an error."""
    try:
        yield
    except (AccessDenied, NotFound, Refused, ServerFault) as error:
        if isinstance(error, ServerFault) and error.details.get("code") != "UNKNOWN":
            raise
        problems.append({"fact": fact, **told(error)})


def _resources(client: Client, wanted: Wanted) -> Json:
    try:
        found = client.items(wanted.namespace, wanted.type, wanted.id)
    except NotFound:
        found = []
    return {"namespace": wanted.namespace, "type": wanted.type, "found": [dataclasses.asdict(one) for one in found]}


def _stage(sight: Sight) -> Answer:
    status = _mapping(sight.status.get("status"))
    unmet = [_mapping(one) for one in status.get("unmetConditions") or []]
    return {
        "maintenance": sight.state is State.MAINTENANCE,
        "stage": sight.stage,
        "ready": bool(status.get("ready")),
        "unmet": [{"name": one.get("name", ""), "reason": one.get("reason", "")} for one in unmet],
    }


def _unseen(node: Node, sight: Sight) -> HomelabError:
    if sight.state is State.FOREIGN:
        return foreign_error(node, sight)
    if sight.reason is not None:
        return sight.reason
    return Unauthenticated(f"reach {node.name}", of=f"Talos node {node.name} at {node.address}", answer=sight.why)


def _rows(found: t.Mapping[str, t.Any], keys: t.Mapping[str, str]) -> list[Json]:
    return [{"name": name, **_picked(_mapping(spec), keys)} for name, spec in found.items()]


def _picked(spec: Json, keys: t.Mapping[str, str]) -> Json:
    return {ours: spec.get(theirs) for ours, theirs in keys.items()}


def _mapping(value: t.Any) -> Json:
    return value if isinstance(value, dict) else {}

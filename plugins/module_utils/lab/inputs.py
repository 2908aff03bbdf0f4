# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory to the modules' inputs. Pure; a lab that preflight has not passed gets an error that names the variable."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import InvalidInput
from ..image_factory import builds
from ..proxmox.api import propertystring
from ..proxmox.images import image_spec
from . import kinds, schema
from .addresses import mac_for
from .inventory import Inventory

Input = dict[str, t.Any]

#: Module option to lab variable: the connection of the group ``proxmox``. What is not set is left to the module.
_CONNECTION = {
    "api_port": "proxmox_api_port",
    "api_user": "proxmox_api_user",
    "api_token_id": "proxmox_api_token_id",
    "api_token_secret": "proxmox_api_token_secret",
    "api_password": "proxmox_api_password",
    "validate_certs": "proxmox_validate_certs",
    "ca_path": "proxmox_ca_path",
    "api_timeout": "proxmox_api_timeout",
    "task_timeout": "proxmox_task_timeout",
}
_CLUSTER = {
    "cni": "talos_cni",
    "cert_sans": "talos_cert_sans",
    "pod_subnets": "talos_pod_subnets",
    "service_subnets": "talos_service_subnets",
    "dns_domain": "talos_dns_domain",
    "allow_scheduling_on_control_planes": "talos_allow_scheduling_on_control_planes",
    "inline_manifests": "talos_inline_manifests",
    "install_disk": "talos_install_disk",
}
_PLATFORM, _ARCH = "nocloud", "amd64"


@dataclasses.dataclass(frozen=True)
class Lab:
    """The inventory of one lab, read by its schema."""

    given: Inventory

    # -- reading ---------------------------------------------------------------------------------------------------

    def of_lab(self, name: str) -> t.Any:
        value = self.given.of_lab(name)
        if value is None and schema.VARIABLES[name].required:
            raise InvalidInput(f"{name} is not set", hint=f"Expected {schema.VARIABLES[name].kind.expected}.")
        return value

    def of_machine(self, host: str, name: str) -> t.Any:
        value = self.given.of_host(name, host)
        if value is None and schema.VARIABLES[name].required:
            raise InvalidInput(f"{name} of {host} is not set", hint=f"Expected {schema.VARIABLES[name].kind.expected}.")
        return value

    def hypervisor_node(self, host: str) -> str:
        """The hypervisor's name in Proxmox VE: its host name, unless the inventory says otherwise."""
        return str(self.given.of_host("proxmox_node", host) or host.partition(".")[0])

    def node_of(self, host: str) -> str:
        """The Proxmox VE node that a machine is on."""
        named = self.of_machine(host, "machine_node")
        if named:
            return str(named)
        nodes = [self.hypervisor_node(hypervisor) for hypervisor in self.given.hypervisors]
        if len(nodes) != 1:
            raise InvalidInput(f"machine_node of {host} is not set, and the lab has {len(nodes)} hypervisors")
        return nodes[0]

    def network_of(self, host: str) -> t.Mapping[str, t.Any]:
        networks = self.of_lab("lab_networks")
        name = self.of_machine(host, "machine_network")
        if not name and len(networks) == 1:
            name = next(iter(networks))
        if name not in networks:
            raise InvalidInput(
                f"machine_network of {host} is {name!r}", hint=f"lab_networks has: {', '.join(networks) or 'none'}."
            )
        return t.cast("t.Mapping[str, t.Any]", networks[name])

    def storage_of(self, host: str) -> str:
        return str(self.of_machine(host, "machine_storage") or self.of_lab("proxmox_storage"))

    def type_of(self, host: str) -> str:
        return "controlplane" if host in self.given.groups[schema.CONTROL_PLANES] else "worker"

    @property
    def first_control_plane(self) -> str:
        """Its host name; the cluster is bootstrapped on it."""
        planes = self.given.groups[schema.CONTROL_PLANES]
        if not planes:
            raise InvalidInput(f"The group {schema.CONTROL_PLANES} has no host")
        return planes[0]

    # -- Proxmox -------------------------------------------------------------------------------------------------

    def proxmox_connection(self) -> Input:
        """Options of the action group ``proxmox`` that the inventory sets."""
        host = self.given.of_lab("proxmox_api_host")
        if not host and self.given.hypervisors:
            first = self.given.hypervisors[0]
            host = self.given.of_host("ansible_host", first) or first
        found = {option: self.given.of_lab(variable) for option, variable in _CONNECTION.items()}
        return {key: value for key, value in {"api_host": host, **found}.items() if value not in (None, "")}

    def image_of(self, host: str) -> Input:
        """The Talos disk image that a machine starts from, for ``proxmox_image``."""
        return {
            "node": self.node_of(host),
            "storage": self.of_lab("proxmox_image_storage"),
            "content": "import",
            "image_factory": {
                "url": self.of_lab("talos_image_factory_url"),
                "schematic": self.of_machine(host, "talos_schematic"),
                "version": _version(self.of_lab("talos_version")),
                "platform": _PLATFORM,
                "arch": _ARCH,
            },
        }

    def images(self) -> list[Input]:
        """All images of the lab, each once for each node that needs it."""
        images = [self.image_of(host) for host in self.given.machines]
        return [image for index, image in enumerate(images) if image not in images[:index]]

    def vms(self) -> list[Input]:
        return [self.vm(host) for host in self.given.machines]

    def vm(self, host: str) -> Input:
        """One machine for ``proxmox_vm``. Options that the inventory leaves open are left alone."""
        storage, bios = self.storage_of(host), self.of_machine(host, "machine_bios")
        vm = {
            "vmid": _integer(self.of_machine(host, "machine_vmid"), f"machine_vmid of {host}"),
            "name": host,
            "node": self.node_of(host),
            "state": "started",
            "cores": self.of_machine(host, "machine_cores"),
            "sockets": 1,
            "cpu": self.of_machine(host, "machine_cpu"),
            "memory": self.of_machine(host, "machine_memory"),
            "machine": self.of_machine(host, "machine_type"),
            "bios": bios,
            "efidisk": {"storage": storage, "type": "4m", "pre_enrolled_keys": False} if bios == "ovmf" else None,
            "scsihw": "virtio-scsi-single",
            "disks": self.disks(host),
            "networks": [self.network_card(host)],
            "cloud_init": self.cloud_init(host),
            "agent": _has_agent(self.of_machine(host, "talos_schematic")),
            "ostype": "l26",
            "boot_order": ["scsi0"],
            "onboot": kinds.truth(self.of_machine(host, "machine_onboot")),
            "tags": self.of_machine(host, "machine_tags"),
            "pool": self.of_machine(host, "machine_pool"),
            "protection": kinds.truth(self.of_machine(host, "machine_protection")),
            "description": self.of_machine(host, "machine_description"),
            "allow_restart": kinds.truth(self.of_machine(host, "machine_allow_restart")),
        }
        return _set(vm)

    def disks(self, host: str) -> list[Input]:
        storage = self.storage_of(host)
        common = {"discard": True, "ssd": True, "iothread": True}
        volume = image_spec.wanted([self.image_of(host)])[0].volid
        size = _integer(self.of_machine(host, "machine_disk"), f"machine_disk of {host}")
        disks = [{"slot": "scsi0", "storage": storage, "size": f"{size}G", "import_from": volume, **common}]
        for number, extra in enumerate(self.of_machine(host, "machine_extra_disks"), start=1):
            place = {"slot": extra.get("slot") or f"scsi{number}", "storage": extra.get("storage") or storage}
            disks.append({**place, "size": f"{extra['size']}G", **common})
        return disks

    def network_card(self, host: str) -> Input:
        network = self.network_of(host)
        card = {
            "slot": "net0",
            "model": "virtio",
            "bridge": network.get("bridge") or "vmbr0",
            "vlan": network.get("vlan") or None,
            "mac": self.mac_of(host),
            "mtu": network.get("mtu") or None,
        }
        return _set(card)

    def mac_of(self, host: str) -> str:
        given = self.of_machine(host, "machine_mac")
        return str(given).upper() if given else mac_for(host, self.of_lab("lab_name"))

    def cloud_init(self, host: str) -> Input:
        """The drive that carries the machine's address: no DHCP lease is needed."""
        network = self.network_of(host)
        subnet = kinds.subnet(network.get("subnet"))
        if subnet is None:
            raise InvalidInput(f"The subnet {network.get('subnet')!r} of {host}'s network is no network")
        gateway = network.get("gateway") or subnet[1]
        drive = {
            "storage": self.storage_of(host),
            "slot": "ide2",
            "ipconfig": [f"ip={self.of_machine(host, 'machine_address')}/{subnet.prefixlen},gw={gateway}"],
            "nameservers": list(network.get("nameservers") or []) or None,
            "searchdomain": self.of_lab("lab_domain"),
        }
        return _set(drive)

    # -- Talos ---------------------------------------------------------------------------------------------------

    @property
    def cluster_name(self) -> str:
        return str(self.of_lab("talos_cluster_name") or self.of_lab("lab_name"))

    @property
    def secrets_dir(self) -> str:
        given = self.of_lab("lab_secrets_dir")
        if not given and not self.given.folder:
            raise InvalidInput("lab_secrets_dir is not set, and the inventory lies in no folder")
        return str(given or f"{self.given.folder}/secrets").rstrip("/")

    def cluster(self) -> Input:
        """The option ``cluster`` of the modules that render machine configs."""
        first = self.of_machine(self.first_control_plane, "machine_address")
        cluster = {
            "name": self.cluster_name,
            "endpoint": self.of_lab("talos_cluster_endpoint") or f"https://{first}:6443",
            "talos_version": _version(self.of_lab("talos_version")),
            "kubernetes_version": _version(self.of_lab("talos_kubernetes_version")),
            "installer_image": self.installer_of(self.first_control_plane),
            **{option: self.given.of_lab(variable) for option, variable in _CLUSTER.items()},
        }
        return _set(cluster)

    def installer_of(self, host: str) -> str:
        """The installer of the machine's own schematic and platform, so that an upgrade keeps its extensions."""
        factory = builds.factory(self.of_lab("talos_image_factory_url"))
        schematic, version = self.of_machine(host, "talos_schematic"), _version(self.of_lab("talos_version"))
        return builds.build(schematic, version, platform=_PLATFORM).installer(factory)

    def lab_patches(self) -> list[t.Any]:
        """Patches for all nodes: what the lab's own variables say, then the user's."""
        servers = self.of_lab("lab_time_servers")
        time = [{"machine": {"time": {"servers": list(servers)}}}] if servers else []
        return [*time, *self.of_lab("talos_patches")]

    def nodes(self) -> list[Input]:
        return [
            {
                "name": host,
                "address": self.of_machine(host, "machine_address"),
                "type": self.type_of(host),
                "patches": self.node_patches(host),
            }
            for host in self.given.machines
        ]

    def node_patches(self, host: str) -> list[t.Any]:
        machine: Input = {}
        if labels := self.of_machine(host, "talos_node_labels"):
            machine["nodeLabels"] = {key: str(value) for key, value in labels.items()}
        if taints := self.of_machine(host, "talos_node_taints"):
            machine["nodeTaints"] = dict(taints)
        installer = self.installer_of(host)
        if installer != self.installer_of(self.first_control_plane):
            machine["install"] = {"image": installer}
        own = [{"machine": machine}] if machine else []
        return [*own, *self.of_machine(host, "talos_node_patches")]

    # -- Kubernetes ------------------------------------------------------------------------------------------------

    def node_objects(self) -> list[Input]:
        """The labels that the inventory gives its nodes, as Node objects. Taints are left to Talos: their list is one value
        that Kubernetes itself writes to."""
        return [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": host, "labels": {key: str(value) for key, value in labels.items()}},
            }
            for host in self.given.machines
            if (labels := self.of_machine(host, "talos_node_labels"))
        ]


@dataclasses.dataclass(frozen=True)
class Foresight:
    """What of a check run cannot be looked at, because earlier tasks of the same run did not really happen."""

    #: Machines that would be created or started for the first time: their change is predicted.
    planned: tuple[str, ...] = ()
    #: Machines that are there, but off or on another network: what is on them shows after that was changed.
    silent: tuple[str, ...] = ()


def foresight(lab: Lab, changes: t.Iterable[t.Mapping[str, t.Any]], *, cluster_exists: bool) -> Foresight:
    """From the changes that ``proxmox_vm`` would make. ``cluster_exists``: a kubeconfig was already fetched, so a machine that is
    only switched off has a config; without one, it stopped between its creation and its first start."""
    changes = list(changes)
    planned, silent = [], []
    for host in lab.given.machines:
        resource = f"vm/{lab.of_machine(host, 'machine_vmid')}"
        own = [change for change in changes if change.get("resource") == resource]
        actions = {change.get("action") for change in own}
        if "create" in actions or ("start" in actions and not cluster_exists):
            planned.append(host)
        elif "start" in actions or any(_moves(change) for change in own):
            silent.append(host)
    return Foresight(tuple(planned), tuple(silent))


def _moves(change: t.Mapping[str, t.Any]) -> bool:
    """Whether a network card would be somewhere else, or another card: a new rate limit keeps a node where it is."""
    before, after = ({**(change.get(when) or {})} for when in ("before", "after"))
    cards = [field for field in after if re.fullmatch(r"net\d+", field)]
    return any(_place(before.get(card)) != _place(after[card]) for card in cards)


def _place(card: t.Any) -> Input:
    found = propertystring.parse_network(str(card or ""))
    return {key: found.get(key) for key in ("model", "macaddr", "bridge", "tag", "link_down")}


def _has_agent(schematic: t.Any) -> bool:
    customization = (schematic or {}).get("customization") or {}
    extensions = (customization.get("systemExtensions") or {}).get("officialExtensions") or []
    return "siderolabs/qemu-guest-agent" in extensions


def _integer(value: t.Any, what: str) -> int:
    found = kinds.integer(value)
    if found is None:
        raise InvalidInput(f"{what} is {value!r}, which is no number")
    return found


def _version(text: str) -> str:
    return f"v{str(text).lstrip('v')}"


def _set(values: Input) -> Input:
    return {key: value for key, value in values.items() if value is not None and value != ""}

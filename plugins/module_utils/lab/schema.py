# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All variables of a lab, as data: the one schema that preflight checks against and that the modules' inputs are read by."""

from __future__ import annotations

import dataclasses
import typing as t

from ..talos.versions import DEFAULT_KUBERNETES, DEFAULT_TALOS
from . import kinds
from .kinds import Kind

#: Every variable that starts so is the collection's.
PREFIXES = ("lab_", "proxmox_", "machine_", "talos_", "cluster_")

#: Groups of an inventory.
HYPERVISORS = "proxmox"
CONTROL_PLANES = "talos_control_planes"
WORKERS = "talos_workers"
GROUPS = (HYPERVISORS, CONTROL_PLANES, WORKERS)

Where = t.Literal["lab", "proxmox", "machine", "any"]


@dataclasses.dataclass(frozen=True)
class Variable:
    """``where``: of the whole lab, of the hypervisors or the lab, of one machine, or of the lab or one machine."""

    name: str
    kind: Kind
    where: Where
    required: bool = False
    default: t.Any = None
    secret: bool = False


def _secret(name: str) -> Variable:
    return Variable(name, kinds.TEXT, "proxmox", secret=True)


#: Only the agent: Proxmox VE asks it for addresses and for a clean shutdown.
DEFAULT_SCHEMATIC = {"customization": {"systemExtensions": {"officialExtensions": ["siderolabs/qemu-guest-agent"]}}}

_VARIABLES = (
    Variable("lab_name", kinds.NAME, "lab", required=True),
    Variable("lab_domain", kinds.DOMAIN, "lab"),
    Variable("lab_networks", kinds.NETWORKS, "lab", required=True),
    Variable("lab_time_servers", kinds.HOSTS, "lab", default=[]),
    Variable("lab_secrets_dir", kinds.PATH, "lab"),
    Variable("proxmox_api_host", kinds.HOST, "proxmox"),
    Variable("proxmox_api_port", kinds.PORT, "proxmox"),
    Variable("proxmox_api_user", kinds.pattern(r"[^\s@!]+@[^\s@!]+", "user@realm, such as ansible@pve"), "proxmox"),
    Variable(
        "proxmox_api_token_id",
        kinds.pattern(r"([^\s@!]+@[^\s@!]+!)?[A-Za-z][\w.-]*", "a token's name, or user@realm!name"),
        "proxmox",
    ),
    _secret("proxmox_api_token_secret"),
    _secret("proxmox_api_password"),
    Variable("proxmox_validate_certs", kinds.BOOLEAN, "proxmox"),
    Variable("proxmox_ca_path", kinds.PATH, "proxmox"),
    Variable("proxmox_api_timeout", kinds.SECONDS, "proxmox"),
    Variable("proxmox_task_timeout", kinds.SECONDS, "proxmox"),
    Variable("proxmox_storage", kinds.STORAGE, "proxmox", default="local-lvm"),
    Variable("proxmox_image_storage", kinds.STORAGE, "proxmox", default="local"),
    Variable("proxmox_node", kinds.pattern(r"[A-Za-z0-9-]+", "the node's name, as Proxmox VE shows it"), "proxmox"),
    Variable("machine_vmid", kinds.number(100, 999999999, "a VM's number from 100 to 999999999"), "machine", True),
    Variable("machine_address", kinds.ADDRESS, "machine", True),
    Variable("machine_node", kinds.pattern(r"[A-Za-z0-9-]+", "a node's name, as Proxmox VE shows it"), "any"),
    Variable("machine_network", kinds.TEXT, "any"),
    Variable("machine_cores", kinds.number(1, 512, "a number of cores from 1 to 512"), "any", default=2),
    Variable("machine_memory", kinds.number(1, 1 << 23, "memory in MiB, such as 4096"), "any", default=4096),
    Variable("machine_disk", kinds.number(1, 1 << 20, "a size in GiB, such as 32"), "any", default=32),
    Variable(
        "machine_cpu", kinds.pattern(r"[^\s;]+", "a CPU type such as x86-64-v2-AES"), "any", default="x86-64-v2-AES"
    ),
    Variable("machine_bios", kinds.one_of("ovmf", "seabios"), "any", default="ovmf"),
    Variable("machine_type", kinds.pattern(r"[^\s;]+", "a machine type such as q35"), "any", default="q35"),
    Variable("machine_storage", kinds.STORAGE, "any"),
    Variable("machine_mac", kinds.MAC_ADDRESS, "machine"),
    Variable("machine_tags", kinds.TAGS, "any"),
    Variable("machine_onboot", kinds.BOOLEAN, "any", default=True),
    Variable("machine_description", kinds.TEXT, "any"),
    Variable("machine_protection", kinds.BOOLEAN, "any"),
    Variable("machine_pool", kinds.TEXT, "any"),
    Variable("machine_extra_disks", kinds.EXTRA_DISKS, "any", default=[]),
    Variable("machine_allow_restart", kinds.BOOLEAN, "any", default=False),
    Variable("talos_version", kinds.VERSION, "lab", default=DEFAULT_TALOS),
    Variable("talos_kubernetes_version", kinds.VERSION, "lab", default=DEFAULT_KUBERNETES),
    Variable("talos_schematic", kinds.SCHEMATIC, "any", default=DEFAULT_SCHEMATIC),
    Variable("talos_image_factory_url", kinds.URL, "lab", default="https://factory.talos.dev"),
    Variable("talos_cluster_name", kinds.NAME, "lab"),
    Variable("talos_cluster_endpoint", kinds.ENDPOINT, "lab"),
    Variable("talos_patches", kinds.PATCHES, "lab", default=[]),
    Variable("talos_control_plane_patches", kinds.PATCHES, "lab", default=[]),
    Variable("talos_worker_patches", kinds.PATCHES, "lab", default=[]),
    Variable("talos_node_patches", kinds.PATCHES, "any", default=[]),
    Variable("talos_node_labels", kinds.LABELS, "any", default={}),
    Variable("talos_node_taints", kinds.TAINTS, "any", default={}),
    Variable("talos_cni", kinds.one_of("flannel", "none", "cilium"), "lab"),
    Variable("talos_cert_sans", kinds.HOSTS, "lab"),
    Variable("talos_pod_subnets", kinds.SUBNETS, "lab"),
    Variable("talos_service_subnets", kinds.SUBNETS, "lab"),
    Variable("talos_dns_domain", kinds.DOMAIN, "lab"),
    Variable("talos_allow_scheduling_on_control_planes", kinds.BOOLEAN, "lab"),
    Variable("talos_inline_manifests", kinds.INLINE_MANIFESTS, "lab"),
    Variable("talos_install_disk", kinds.pattern(r"/dev/\S+", "a disk such as /dev/sda"), "lab"),
    Variable("cluster_manifests", kinds.MANIFESTS, "lab", default=[]),
)

VARIABLES: t.Mapping[str, Variable] = {variable.name: variable for variable in _VARIABLES}

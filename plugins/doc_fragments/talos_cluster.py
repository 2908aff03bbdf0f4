# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that describe a Talos cluster and its machine configs."""

from __future__ import annotations


class ModuleDocFragment:
    """``groundwork.homelab.talos_cluster``; the spec is ``module_utils/talos/options.py``."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - What all machine configs of the cluster are made from.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the cluster.
        type: str
        required: true
      endpoint:
        description: URL of the Kubernetes API, such as V(https://192.168.30.50:6443). A control plane node, a virtual address or a load balancer.
        type: str
        required: true
      talos_version:
        description: Version of Talos that the machines run.
        type: str
        default: v1.13.9
      kubernetes_version:
        description: Version of Kubernetes. It has to be one that this version of Talos runs.
        type: str
        default: v1.36.3
      contract:
        description:
          - Version contract that the configs are generated for, V(1.12) or V(1.13). Newer versions of Talos take configs of older contracts.
          - The newest one that O(cluster.talos_version) takes by default.
        type: str
      installer_image:
        description: Installer image with its tag. Talos's own image for O(cluster.talos_version) by default.
        type: str
      install_disk:
        description: Disk that Talos is on, or is installed to.
        type: str
        default: /dev/sda
      pod_subnets:
        description: Networks of pods.
        type: list
        elements: str
        default: [10.244.0.0/16]
      service_subnets:
        description: Networks of services.
        type: list
        elements: str
        default: [10.96.0.0/12]
      dns_domain:
        description: Domain of services in the cluster.
        type: str
        default: cluster.local
      cert_sans:
        description: Further names and addresses for the certificates of the Talos API and the Kubernetes API.
        type: list
        elements: str
        default: []
      cni:
        description:
          - Network plugin that Talos installs.
          - With V(none) nodes become ready only when something else installs one.
          - V(cilium) is the install Job that Talos documents, as an inline manifest, with kube-proxy replaced.
        type: str
        choices: [flannel, none, cilium]
        default: flannel
      allow_scheduling_on_control_planes:
        description: Whether pods may run on control plane nodes. A cluster without workers needs it.
        type: bool
        default: false
      inline_manifests:
        description: Manifests that Talos applies to the cluster after the bootstrap.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the manifest.
            type: str
            required: true
          contents:
            description: The manifest's text.
            type: str
            required: true
  patches:
    description:
      - Strategic merge patches for the configs of all nodes. Each is a mapping, or YAML text with one or more documents.
      - A patch without C(kind) is for the main document. Lists are appended to. C($patch=delete) deletes.
      - JSON patches are refused, as Talos refuses them for configs of several documents.
    type: list
    elements: raw
    default: []
  control_plane_patches:
    description: Patches for control plane nodes, after O(patches).
    type: list
    elements: raw
    default: []
  worker_patches:
    description: Patches for workers, after O(patches).
    type: list
    elements: raw
    default: []
  nodes:
    description:
      - The machines of the cluster. At least one of them is a control plane node.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Host name of the machine, and with it the name of its Kubernetes node.
        type: str
        required: true
      address:
        description: Address that its Talos API answers at.
        type: str
        required: true
      type:
        description: What the machine is in the cluster.
        type: str
        choices: [controlplane, worker]
        required: true
      patches:
        description: Patches for this node only, after all others.
        type: list
        elements: raw
        default: []
      fingerprint:
        description:
          - Fingerprint of the certificate that the machine shows in maintenance mode, where no authority vouches for it. SHA-256 of its
            public key in base64, as the machine's console shows it and C(talosctl --cert-fingerprint) takes it.
          - A machine in maintenance mode that shows another one gets no config, and the error names the one that it shows. A configured node
            is known by the cluster's own authority, and this has no effect.
          - The machine has another one after each boot. Any is accepted by default.
        type: str
"""

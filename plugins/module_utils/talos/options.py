# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that the modules of the group ``talos`` share, in the words of ``AnsibleModule``."""

from __future__ import annotations

import copy
import typing as t

from ..sops import age_keys
from ..task import Spec
from . import versions

Options = dict[str, dict[str, t.Any]]

_SUBOPTIONS_CLUSTER: Options = {
    "name": {"type": "str", "required": True},
    "endpoint": {"type": "str", "required": True},
    "talos_version": {"type": "str", "default": versions.DEFAULT_TALOS},
    "kubernetes_version": {"type": "str", "default": versions.DEFAULT_KUBERNETES},
    "contract": {"type": "str"},
    "installer_image": {"type": "str"},
    "install_disk": {"type": "str", "default": "/dev/sda"},
    "pod_subnets": {"type": "list", "elements": "str", "default": ["10.244.0.0/16"]},
    "service_subnets": {"type": "list", "elements": "str", "default": ["10.96.0.0/12"]},
    "dns_domain": {"type": "str", "default": "cluster.local"},
    "cert_sans": {"type": "list", "elements": "str", "default": []},
    "cni": {"type": "str", "choices": ["flannel", "none", "cilium"], "default": "flannel"},
    "allow_scheduling_on_control_planes": {"type": "bool", "default": False},
    "inline_manifests": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "contents": {"type": "str", "required": True},
        },
    },
}

#: The connection: the cluster's secrets bundle (and what reads it where it is encrypted), or a talosconfig.
CONNECTION: Options = {
    "secrets_path": {"type": "path", "no_log": False},
    "talosconfig": {"type": "path"},
    "context": {"type": "str"},
    "timeout": {"type": "int", "default": 30},
    **t.cast("Options", age_keys.argument_spec()),
}

#: Several nodes that are only read.
ASKED: Options = {
    "nodes": {"type": "list", "elements": "raw", "default": []},
    "on_error": {"type": "str", "choices": ["ignore", "warn", "fail"], "default": "warn"},
}

#: What machine configs are rendered from.
CLUSTER: Options = {
    "cluster": {"type": "dict", "required": True, "options": _SUBOPTIONS_CLUSTER},
    "patches": {"type": "list", "elements": "raw", "default": []},
    "control_plane_patches": {"type": "list", "elements": "raw", "default": []},
    "worker_patches": {"type": "list", "elements": "raw", "default": []},
    "nodes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "type": {"type": "str", "choices": ["controlplane", "worker"], "required": True},
            "patches": {"type": "list", "elements": "raw", "default": []},
            "fingerprint": {"type": "str"},
        },
    },
}

#: Nodes that are told what to do, or watched.
NODES: Options = {
    "nodes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "type": {"type": "str", "choices": ["controlplane", "worker"], "required": True},
        },
    },
}

#: Environment variables that stand in for connection options that a task does not set.
ENVIRONMENT = {"secrets_path": "TALOS_SECRETS", "talosconfig": "TALOSCONFIG"}


def spec(*groups: Options, **keywords: t.Any) -> Spec:
    """A module's spec from groups of options; keywords are those of :class:`task.Spec`."""
    argument_spec: Options = {}
    for group in groups:
        argument_spec.update(copy.deepcopy(group))
    return Spec(argument_spec=argument_spec, **keywords)

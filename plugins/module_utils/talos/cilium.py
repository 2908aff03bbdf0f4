# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cilium on Talos: a Job that runs Cilium's own command line tool once, as an inline manifest.

No Helm on the controller and no rendered chart in the config: the Job installs the release that its image brings, with
the settings that Talos needs (kube-proxy replaced through KubePrism, cgroups as Talos mounts them, no SYS_MODULE).
"""

from __future__ import annotations

import typing as t

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)


CLI_IMAGE = "quay.io/cilium/cilium-cli:v0.18.8"

_NAME = "cilium-install"
_AGENT_CAPABILITIES = "CHOWN,KILL,NET_ADMIN,NET_RAW,IPC_LOCK,SYS_ADMIN,SYS_RESOURCE,DAC_OVERRIDE,FOWNER,SETGID,SETUID"
_SETTINGS = {
    "ipam.mode": "kubernetes",
    "kubeProxyReplacement": "true",
    "securityContext.capabilities.ciliumAgent": f"{{{_AGENT_CAPABILITIES}}}",
    "securityContext.capabilities.cleanCiliumState": "{NET_ADMIN,SYS_ADMIN,SYS_RESOURCE}",
    "cgroup.autoMount.enabled": "false",
    "cgroup.hostRoot": "/sys/fs/cgroup",
    "k8sServiceHost": "localhost",
    "k8sServicePort": "7445",
}


def install_manifest() -> dict[str, str]:
    """An entry of ``cluster.inlineManifests``: an account, its binding, and the Job."""
    contents = yaml.safe_dump_all([_account(), _binding(), _job()], sort_keys=False, explicit_start=True)
    return {"name": _NAME, "contents": contents}


def _account() -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": _NAME, "namespace": "kube-system"}}


def _binding() -> dict[str, t.Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": "kube-system"}],
    }


def _job() -> dict[str, t.Any]:
    settings = [part for key, value in _SETTINGS.items() for part in ("--set", f"{key}={value}")]
    pod = {
        "restartPolicy": "OnFailure",
        "serviceAccountName": _NAME,
        "hostNetwork": True,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]}
                    ]
                }
            }
        },
        "containers": [
            {
                "name": _NAME,
                "image": CLI_IMAGE,
                "env": [
                    {"name": "KUBERNETES_SERVICE_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
                ],
                "command": ["cilium", "install", *settings],
            }
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": _NAME, "namespace": "kube-system"},
        "spec": {"backoffLimit": 10, "template": {"metadata": {"labels": {"app": _NAME}}, "spec": pod}},
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine configuration and what follows from it at once."""

from __future__ import annotations

import typing as t

from ..machineconfig import MachineConfig
from ..network import node_address

if t.TYPE_CHECKING:
    from ..runtime import Runtime


def configuration(runtime: Runtime) -> None:
    """The active configuration and, after an apply since this boot, the persistent one."""
    _machine_config(runtime, "v1alpha1", runtime.config)
    if runtime.applied:
        _machine_config(runtime, "persistent", runtime.persistent)
    config = runtime.config
    if config is None or not config.complete:
        return
    put = runtime.resources.put
    put(
        "config",
        "MachineTypes.config.talos.dev",
        "machine-type",
        config.machine_type,
        owner="config.MachineTypeController",
    )
    spec = {
        "nodename": runtime.choose_hostname(),
        "hostnameVersion": "1",
        "skipNodeRegistration": False,
    }
    put(
        "k8s",
        "Nodenames.kubernetes.talos.dev",
        "nodename",
        spec,
        owner="k8s.NodenameController",
    )
    _kubelet(runtime, config)


def _machine_config(runtime: Runtime, id_: str, config: MachineConfig | None) -> None:
    type_ = "MachineConfigs.config.talos.dev"
    if config is None:
        runtime.resources.remove("config", type_, id_)
        return
    runtime.resources.put(
        "config",
        type_,
        id_,
        config.text.decode(errors="replace"),
        owner="config.AcquireController" if id_ == "v1alpha1" else "config.PersistenceController",
        annotations={"talos.dev/yaml-spec": ""},
    )


def _kubelet(runtime: Runtime, config: MachineConfig) -> None:
    name = runtime.choose_hostname()
    address = node_address(config, runtime.network.addresses)
    extra = config.get("machine.kubelet.extraArgs", {})
    arguments = {
        "bootstrap-kubeconfig": "/etc/kubernetes/bootstrap-kubeconfig",
        "cert-dir": "/var/lib/kubelet/pki",
        "config": "/etc/kubernetes/kubelet.yaml",
        "hostname-override": name,
        "kubeconfig": "/etc/kubernetes/kubeconfig-kubelet",
        "node-ip": address,
        **{key: value for key, value in extra.items() if isinstance(value, str)},
    }
    default = f"ghcr.io/siderolabs/kubelet:{runtime.node.version.default_kubernetes}"
    spec = {
        "image": config.get("machine.kubelet.image", default),
        "args": [f"--{key}={value}" for key, value in sorted(arguments.items())],
        "expectedNodename": name,
        "config": {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "clusterDomain": config.get("cluster.network.dnsDomain", "cluster.local"),
            **config.get("machine.kubelet.extraConfig", {}),
        },
    }
    runtime.resources.put(
        "k8s",
        "KubeletSpecs.kubernetes.talos.dev",
        "kubelet",
        spec,
        owner="k8s.KubeletSpecController",
    )

# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine configs of a cluster: what ``talosctl gen config`` writes for contracts 1.12 and 1.13, plus patches.

Everything is rendered in memory from the secrets bundle, the cluster's options and the patches; the order of keys and
documents is the generator's, so that people can compare.
"""

from __future__ import annotations

import copy
import typing as t

from . import cilium, merge
from .inputs import Cluster, Node
from .secrets_bundle import Bundle

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)

Document = dict[str, t.Any]

_EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"

_POD_SECURITY: Document = {
    "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
    "defaults": {
        "audit": "restricted",
        "audit-version": "latest",
        "enforce": "baseline",
        "enforce-version": "latest",
        "warn": "restricted",
        "warn-version": "latest",
    },
    "exemptions": {"namespaces": ["kube-system"], "runtimeClasses": [], "usernames": []},
    "kind": "PodSecurityConfiguration",
}


def node_config(bundle: Bundle, cluster: Cluster, node: Node) -> list[Document]:
    """A node's documents with all patches: those for all nodes, then those of its type, then its own."""
    return merge.merged(generated(bundle, cluster, node.type, hostname=node.name), cluster.patches_for(node))


def generated(bundle: Bundle, cluster: Cluster, machine_type: str, *, hostname: str = "") -> list[Document]:
    """The documents before any patch. Without ``hostname``, Talos makes a stable one up, as the generator has it."""
    main: Document = {
        "version": "v1alpha1",
        "debug": False,
        "persist": True,
        "machine": _machine(bundle, cluster, machine_type),
        "cluster": _cluster(bundle, cluster, machine_type),
    }
    name = {"auto": "off", "hostname": hostname} if hostname else {"auto": "stable"}
    return [copy.deepcopy(main), {"apiVersion": "v1alpha1", "kind": "HostnameConfig", **name}]


def render(documents: t.Sequence[Document]) -> str:
    """The documents as the node gets them."""
    return yaml.dump_all(documents, Dumper=_plain_dumper(), sort_keys=False, default_flow_style=False, width=4096)


def _plain_dumper() -> type[yaml.SafeDumper]:
    """No anchors: what stands twice in a config is written twice."""

    class PlainDumper(yaml.SafeDumper):
        def ignore_aliases(self, _data: t.Any) -> bool:
            return True

    return PlainDumper


def parse(text: str) -> list[Document]:
    """The documents of a config's text. Raises :class:`ValueError` when it is not a list of mappings in YAML."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    for document in documents:
        if not isinstance(document, dict):
            raise ValueError(f"a document is not a mapping but {type(document).__name__}")
    return documents


def _machine(bundle: Bundle, cluster: Cluster, machine_type: str) -> Document:
    controls = machine_type == "controlplane"
    authority = bundle.pair("os")
    machine: Document = {
        "type": machine_type,
        "token": bundle.data["trustdinfo"]["token"],
        "ca": authority if controls else {"crt": authority["crt"], "key": ""},
        "certSANs": list(cluster.cert_sans),
        "kubelet": {
            "image": f"ghcr.io/siderolabs/kubelet:{cluster.kubernetes.text}",
            "defaultRuntimeSeccompProfileEnabled": True,
            "disableManifestsDirectory": True,
        },
    }
    if cluster.contract <= 12:
        machine["network"] = {}
    machine["install"] = {
        "disk": cluster.install_disk,
        "image": cluster.installer_image,
        "wipe": False,
        "grubUseUKICmdline": True,
    }
    machine["features"] = {
        "diskQuotaSupport": True,
        "kubePrism": {"enabled": True, "port": 7445},
        "hostDNS": {"enabled": True, "forwardKubeDNSToHost": True},
    }
    if controls:
        machine["nodeLabels"] = {_EXCLUDE_LABEL: ""}
    return machine


def _cluster(bundle: Bundle, cluster: Cluster, machine_type: str) -> Document:
    authority = bundle.pair("k8s")
    common: Document = {
        "id": bundle.data["cluster"]["id"],
        "secret": bundle.data["cluster"]["secret"],
        "controlPlane": {"endpoint": cluster.endpoint},
        "clusterName": cluster.name,
        "network": _network(cluster),
        "token": bundle.data["secrets"]["bootstraptoken"],
    }
    if machine_type == "controlplane":
        common.update(_control_plane(bundle, cluster))
    else:
        common["ca"] = {"crt": authority["crt"], "key": ""}
    common["discovery"] = {"enabled": True, "registries": {"kubernetes": {"disabled": True}, "service": {}}}
    if machine_type == "controlplane":
        common["etcd"] = {"ca": bundle.pair("etcd")}
        common.update(_control_plane_options(cluster))
    return common


def _network(cluster: Cluster) -> Document:
    network: Document = {
        "dnsDomain": cluster.dns_domain,
        "podSubnets": list(cluster.pod_subnets),
        "serviceSubnets": list(cluster.service_subnets),
    }
    if cluster.cni != "flannel":
        network["cni"] = {"name": "none"}
    return network


def _control_plane(bundle: Bundle, cluster: Cluster) -> Document:
    version = cluster.kubernetes.text
    secrets = bundle.data["secrets"]
    ciphers = {
        "secretboxencryptionsecret": "secretboxEncryptionSecret",
        "aescbcencryptionsecret": "aescbcEncryptionSecret",
    }
    api_server: Document = {"image": f"registry.k8s.io/kube-apiserver:{version}"}
    if cluster.cert_sans:
        api_server["certSANs"] = list(cluster.cert_sans)
    api_server["admissionControl"] = [{"name": "PodSecurity", "configuration": _POD_SECURITY}]
    api_server["auditPolicy"] = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
    proxy: Document = {"image": f"registry.k8s.io/kube-proxy:{version}"}
    if cluster.cni == "cilium":
        proxy = {"disabled": True, **proxy}
    return {
        **{field: secrets[name] for name, field in ciphers.items() if secrets.get(name)},
        "ca": bundle.pair("k8s"),
        "aggregatorCA": bundle.pair("k8saggregator"),
        "serviceAccount": {"key": bundle.data["certs"]["k8sserviceaccount"]["key"]},
        "apiServer": api_server,
        "controllerManager": {"image": f"registry.k8s.io/kube-controller-manager:{version}"},
        "proxy": proxy,
        "scheduler": {"image": f"registry.k8s.io/kube-scheduler:{version}"},
    }


def _control_plane_options(cluster: Cluster) -> Document:
    options: Document = {}
    manifests = [dict(manifest) for manifest in cluster.inline_manifests]
    if cluster.cni == "cilium":
        manifests.insert(0, cilium.install_manifest())
    if manifests:
        options["inlineManifests"] = manifests
    if cluster.allow_scheduling_on_control_planes:
        options["allowSchedulingOnControlPlanes"] = True
    return options

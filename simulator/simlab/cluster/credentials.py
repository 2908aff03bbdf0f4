# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and kubeconfigs that a control plane node issues from its machine config."""

from __future__ import annotations

import base64
import typing as t

import yaml

from .pki import Authority, KeyPair

#: Subject of the certificate with which Talos itself calls the API server.
TALOS_ADMIN = ("talos:admin", "system:masters")


def cluster_authority(config: t.Mapping[str, t.Any]) -> Authority:
    """The cluster's own authority (``cluster.ca``)."""
    return Authority(_cluster(config).get("ca"), "cluster.ca")


def accepted_authorities(config: t.Mapping[str, t.Any]) -> str:
    """PEM of all authorities that the API server and its clients accept."""
    cluster = _cluster(config)
    texts = [cluster_authority(config).certificate_pem]
    texts += [Authority(ca, "cluster.acceptedCAs").certificate_pem for ca in cluster.get("acceptedCAs") or ()]
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts if text)


def endpoint(config: t.Mapping[str, t.Any]) -> str:
    """The cluster's endpoint as configured, ``https://…:6443``."""
    return str((_cluster(config).get("controlPlane") or {}).get("endpoint") or "")


def local_port(config: t.Mapping[str, t.Any]) -> int:
    """The port that the node's own API server listens on."""
    return int((_cluster(config).get("controlPlane") or {}).get("localAPIServerPort") or 6443)


def admin_kubeconfig(config: t.Mapping[str, t.Any]) -> str:
    """What Talos answers to ``Kubeconfig``: user and context ``admin@<cluster name>``, server = the cluster endpoint, a
    client certificate CN ``admin``, O ``system:masters``, one year, issued by ``cluster.ca``. YAML text; holds a key.
    Raises ValueError when the configuration has no usable ``cluster.ca``."""
    name = str(_cluster(config).get("clusterName") or "")
    pair = cluster_authority(config).issue("admin", "system:masters")
    return kubeconfig(
        server=endpoint(config),
        authorities=accepted_authorities(config),
        pair=pair,
        cluster=name,
        user=f"admin@{name}",
        context=f"admin@{name}",
        namespace="default",
    )


def component_kubeconfig(config: t.Mapping[str, t.Any], user: str) -> str:
    """For the controller manager and the scheduler (``user`` is name and organization), to the local API server."""
    return kubeconfig(
        server=f"https://localhost:{local_port(config)}",
        authorities=accepted_authorities(config),
        pair=cluster_authority(config).issue(user, user),
        cluster=str(_cluster(config).get("clusterName") or ""),
        user=user,
        context="default",
    )


def kubeconfig(
    *, server: str, authorities: str, pair: KeyPair, cluster: str, user: str, context: str, namespace: str = ""
) -> str:
    inner = {"cluster": cluster, "user": user} | ({"namespace": namespace} if namespace else {})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": _b64(authorities)}}],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": _b64(pair.certificate), "client-key-data": _b64(pair.key)},
            }
        ],
        "contexts": [{"name": context, "context": inner}],
        "current-context": context,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _cluster(config: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    return t.cast("t.Mapping[str, t.Any]", config.get("cluster") or {})

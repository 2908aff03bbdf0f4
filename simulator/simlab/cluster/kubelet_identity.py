# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a kubelet is to the API server: a certificate, from the cluster's authority or by a bootstrap token."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import credentials
from .client import KubeClient, KubeError, cluster_servers
from .node import Node
from .pki import KeyPair, client_context, private_file, private_pem

_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
_CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_RETRY = 0.3


def fingerprint(node: Node) -> tuple[str, str, str]:
    """Changes when the kubelet needs another identity or another way to the API."""
    return node.name, credentials.accepted_authorities(node.config), credentials.endpoint(node.config)


async def client(node: Node) -> KubeClient:
    """A client as ``system:node:<name>``; waits for the cluster to issue the certificate where it must."""
    pair = await _certificate(node)
    context = client_context(credentials.accepted_authorities(node.config), pair, node.runtime)
    agent = "kubelet/v1.36 (linux/amd64) played"
    return KubeClient(node, lambda: cluster_servers(node), context, agent=agent)


#: Seconds for which a pod's token is good.
TOKEN_SECONDS = 3607


async def service_account_token(kubelet: KubeClient, pod: t.Mapping[str, t.Any]) -> str:
    """A token of the pod's service account, bound to the pod. Raises KubeError."""
    meta = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"
    bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"boundObjectRef": bound, "expirationSeconds": TOKEN_SECONDS},
    }
    path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
    return str((await kubelet.call("POST", path, request))["status"]["token"])


async def service_account_client(
    node: Node, kubelet: KubeClient, pod: t.Mapping[str, t.Any], agent: str = "pod"
) -> KubeClient:
    """A client with such a token. Raises KubeError."""
    token = await service_account_token(kubelet, pod)
    context = client_context(credentials.accepted_authorities(node.config), None, node.runtime)
    return KubeClient(node, lambda: cluster_servers(node), context, token=token, agent=agent)


async def _certificate(node: Node) -> KeyPair:
    name = f"system:node:{node.name}"
    if node.is_control_plane:
        # In life by bootstrap token too; this node has the authority's key, and saves the round trip.
        return credentials.cluster_authority(node.config).issue(name, "system:nodes")
    kept = node.directory / "lib/kubelet/pki/kubelet-client-current.pem"
    if kept.exists():
        text = kept.read_text()
        start = text.index("-----BEGIN EC PRIVATE KEY")
        return KeyPair(text[:start], text[start:])
    pair = await _bootstrapped(node, name)
    private_file(kept, pair.certificate + pair.key)
    return pair


async def _bootstrapped(node: Node, name: str) -> KeyPair:
    """A certificate by ``cluster.token``: the controller manager approves and signs the request."""
    context = client_context(credentials.accepted_authorities(node.config), None, node.runtime)
    token = str(node.cluster.get("token") or "")
    bootstrap = KubeClient(node, lambda: cluster_servers(node), context, token=token, agent="kubelet")
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        while True:
            with contextlib.suppress(KubeError):
                found = await bootstrap.call("POST", _CSRS, _request(key, name))
                certificate = await _issued(bootstrap, str(found["metadata"]["name"]))
                if certificate:
                    return KeyPair(certificate, private_pem(key))
            await asyncio.sleep(_RETRY * 3)
    finally:
        await bootstrap.close()


async def _issued(client: KubeClient, name: str, attempts: int = 100) -> str:
    for _ in range(attempts):
        status = (await client.call("GET", f"{_CSRS}/{name}")).get("status", {})
        if status.get("certificate"):
            return base64.b64decode(status["certificate"]).decode()
        if any(condition["type"] in ("Denied", "Failed") for condition in status.get("conditions") or ()):
            return ""
        await asyncio.sleep(_RETRY)
    return ""


def _request(key: ec.EllipticCurvePrivateKey, name: str) -> dict[str, t.Any]:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    text = base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": text, "signerName": _SIGNER, "usages": ["digital signature", "client auth"]}
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": spec,
    }

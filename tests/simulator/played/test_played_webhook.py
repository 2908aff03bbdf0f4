# SPDX-License-Identifier: GPL-3.0-or-later
"""cert-manager's played webhook and injector: the real API server calls it, by its Service."""

from __future__ import annotations

import collections.abc as c
import typing as t

import pytest
from playedlab import Object, PlayedCluster

from simlab.cluster.client import KubeError
from simlab.cluster.played.admission import problems

NAMESPACE = "webhook"


def deployment(name: str, image: str, *args: str) -> Object:
    labels = {"app": name}
    container = {"name": name, "image": image, "args": list(args)}
    pod = {"serviceAccountName": "webhook", "containers": [container], "tolerations": [{"operator": "Exists"}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def configuration(name: str = "cert-manager-webhook") -> Object:
    """As cert-manager's chart has it, for one namespace, so that no other test is refused anything."""
    rule = {
        "apiGroups": ["cert-manager.io"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["*/*"],
    }
    service = {"name": "cert-manager-webhook", "namespace": NAMESPACE, "path": "/validate"}
    hook = {
        "name": "webhook.cert-manager.io",
        "rules": [rule],
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "clientConfig": {"service": service},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
    }
    notes = {"cert-manager.io/inject-ca-from-secret": f"{NAMESPACE}/cert-manager-webhook-ca"}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return kind | {"metadata": {"name": name, "annotations": notes}, "webhooks": [hook]}


def certificate(**spec: t.Any) -> Object:
    body = {"secretName": "tls", "dnsNames": ["a.example"], "issuerRef": {"name": "x"}, **spec}
    meta = {"name": "web", "namespace": NAMESPACE}
    return {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": meta, "spec": body}


@pytest.fixture(scope="module")
def lab(played: PlayedCluster) -> c.Iterator[PlayedCluster]:
    meta = {"name": "webhook", "namespace": NAMESPACE}
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "webhook"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", **meta}],
    }
    spec = {"selector": {"app": "cert-manager-webhook"}, "ports": [{"port": 443, "targetPort": 10250}]}
    service = {"metadata": {"name": "cert-manager-webhook", "namespace": NAMESPACE}, "spec": spec}
    played.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        binding,
        {"apiVersion": "v1", "kind": "Service", **service},
        configuration(),
    )
    yield played
    played.delete(configuration())


def test_what_is_wrong_is_refused_once_the_webhook_runs(lab: PlayedCluster) -> None:
    with pytest.raises(KubeError, match='failed calling webhook "webhook.cert-manager.io"'):
        lab.apply(certificate())
    image = "quay.io/jetstack/cert-manager-"
    lab.apply(deployment("cert-manager-webhook", f"{image}webhook:v1.21.2", "--secure-port=10250"))
    lab.apply(deployment("cert-manager-cainjector", f"{image}cainjector:v1.21.2"))
    lab.until(configuration(), lambda one: one["webhooks"][0]["clientConfig"].get("caBundle"), "authority given", 40.0)
    query = {"fieldManager": "test", "force": "true", "dryRun": "All"}
    path = lab.path(certificate())

    async def accepted() -> bool:
        try:
            await lab.client.call(
                "PATCH", path, certificate(), content_type="application/apply-patch+yaml", query=query
            )
        except KubeError as error:
            said.append(str(error))
            return False
        return True

    said: list[str] = []
    try:
        lab.loop.until(accepted, "a right Certificate accepted", 30.0)
    except AssertionError as error:
        events = lab.call("GET", f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
        raise AssertionError(f"{error}: {said[-1]}: {[one['message'] for one in events]}") from None
    with pytest.raises(KubeError, match="denied the request: spec.duration: .* must be greater than 1h0m0s"):
        lab.apply(certificate(duration="10m"))
    lab.apply(certificate())
    lab.delete(certificate())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"secretName": ""}, "spec.secretName: Required value: must be specified"),
        ({"dnsNames": []}, "at least one of commonName"),
        ({"commonName": "a" * 65}, "may not be more than 64 bytes"),
        ({"ipAddresses": ["10.0.0.300"]}, "invalid IP address"),
        ({"issuerRef": {}}, "spec.issuerRef.name: Required value"),
        ({"issuerRef": {"name": "x", "kind": "Isuer"}}, "must be one of Issuer or ClusterIssuer"),
        ({"privateKey": {"size": 1024}}, "must be between 2048 and 8192"),
        ({"privateKey": {"algorithm": "ECDSA", "size": 2048}}, "Unsupported value: 2048"),
        ({"duration": "3 days"}, 'invalid duration "3 days"'),
        ({"renewBefore": "1m"}, "renewBefore must be greater than 5m0s"),
        ({"duration": "2h", "renewBefore": "3h"}, "must be greater than renewBefore"),
        ({"renewBefore": "2h", "renewBeforePercentage": 10}, "mutually exclusive"),
        ({"secretTemplate": {"annotations": {"cert-manager.io/x": "y"}}}, "annotations are not allowed"),
    ],
)
def test_mistakes_of_certificates(change: Object, text: str) -> None:
    found = problems(certificate(**change))
    assert len(found) == 1 and text in found[0]
    assert problems(certificate()) == []


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({}, "at least one issuer must be configured"),
        ({"selfSigned": {}, "ca": {"secretName": "x"}}, "may not specify more than one issuer type"),
        ({"ca": {}}, "spec.ca.secretName"),
        ({"acme": {"server": "https://x"}}, "private key secret name is a required field"),
        ({"acme": {"privateKeySecretRef": {"name": "x"}}}, "acme server URL is a required field"),
        (
            {"acme": {"server": "https://x", "privateKeySecretRef": {"name": "x"}, "solvers": [{}]}},
            "no solver type configured",
        ),
    ],
)
def test_mistakes_of_issuers(spec: Object, text: str) -> None:
    found = problems({"kind": "ClusterIssuer", "spec": spec})
    assert len(found) == 1 and text in found[0]

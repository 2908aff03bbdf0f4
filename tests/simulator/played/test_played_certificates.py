# SPDX-License-Identifier: GPL-3.0-or-later
"""The played cert-manager on a real API server with cert-manager's own definitions: one test for each reason."""

from __future__ import annotations

import base64
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from playedlab import Object, PlayedCluster, told

V1, ACME = "cert-manager.io/v1", "acme.cert-manager.io/v1"


def issuer(namespace: str, name: str, **spec: t.Any) -> Object:
    return {"apiVersion": V1, "kind": "Issuer", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def cluster_issuer(name: str, **spec: t.Any) -> Object:
    return {"apiVersion": V1, "kind": "ClusterIssuer", "metadata": {"name": name}, "spec": spec}


def certificate(namespace: str, name: str = "web", by: str = "self", kind: str = "Issuer", **spec: t.Any) -> Object:
    body = {"secretName": f"{name}-tls", "dnsNames": ["a.example"], "issuerRef": {"name": by, "kind": kind}, **spec}
    meta = {"name": name, "namespace": namespace}
    body["privateKey"] = {"algorithm": "ECDSA", "rotationPolicy": "Always", **body.get("privateKey", {})}
    return {"apiVersion": V1, "kind": "Certificate", "metadata": meta, "spec": body}


def secret(namespace: str, name: str = "web-tls") -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}


def request(namespace: str, name: str = "web-1") -> Object:
    return {"apiVersion": V1, "kind": "CertificateRequest", "metadata": {"name": name, "namespace": namespace}}


def acme(**solver: t.Any) -> Object:
    spec = {"server": "https://acme-v02.api.letsencrypt.org/directory", "privateKeySecretRef": {"name": "account"}}
    return {"acme": spec | {"email": "me@a.example", "solvers": [solver]}}


CLOUDFLARE = {"dns01": {"cloudflare": {"apiTokenSecretRef": {"name": "cloudflare", "key": "api-token"}}}}


@pytest.fixture(scope="module")
def lab(played: PlayedCluster) -> PlayedCluster:
    """With cert-manager's Deployment."""
    meta = {"name": "cert-manager", "namespace": "cert-manager"}
    labels = {"app": "cert-manager"}
    container = {
        "name": "cert-manager-controller",
        "image": "quay.io/jetstack/cert-manager-controller:v1.21.2",
        "args": ["--cluster-resource-namespace=$(POD_NAMESPACE)", "--leader-election-namespace=kube-system"],
    }
    pod = {"serviceAccountName": "cert-manager", "containers": [container], "tolerations": [{"operator": "Exists"}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    rules = [
        {"apiGroups": ["cert-manager.io", "acme.cert-manager.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["secrets", "events"], "verbs": ["*"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cert-manager"},
        "subjects": [{"kind": "ServiceAccount", **meta}],
    }
    played.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cert-manager"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "cert-manager"}, "rules": rules},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "cert-manager"}, **binding},
    )
    waiting = issuer("cert-manager", "early", selfSigned={})
    played.apply(waiting)
    assert told(played.live(waiting), "Ready") == ("", "", "")
    played.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    played.until(waiting, lambda one: told(one, "Ready")[:2] == ("True", "IsReady"), "ready once it runs", 40.0)
    return played


def ready(found: Object) -> bool:
    return told(found, "Ready")[0] == "True"


def of_status(found: Object, key: str) -> t.Any:
    return (found.get("status") or {}).get(key)


def loaded(found: Object, key: str = "tls.crt") -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(base64.b64decode(found["data"][key]))


def test_a_self_signed_certificate(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = certificate(place, commonName="a.example", dnsNames=["a.example", "*.a.example"], ipAddresses=["10.0.0.1"])
    lab.apply(issuer(place, "self", selfSigned={}), wanted)
    found = lab.until(wanted, ready, "ready")
    assert told(found, "Ready") == ("True", "Ready", "Certificate is up to date and has not expired")
    assert told(found, "Issuing") == ("", "", "")
    assert found["status"]["revision"] == 1 and "nextPrivateKeySecretName" not in found["status"]
    kept = lab.live(secret(place))
    one = loaded(kept)[0]
    names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(names.get_values_for_type(x509.DNSName)) == ["*.a.example", "a.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert one.issuer == one.subject and kept["type"] == "kubernetes.io/tls"
    assert loaded(kept, "ca.crt") == [one]
    assert kept["metadata"]["annotations"]["cert-manager.io/issuer-name"] == "self"
    reasons = [reason for _, reason, _ in lab.events(place, "web")]
    assert sorted(reasons) == ["Generated", "Issuing", "Issuing", "Requested"]
    asked = lab.live(request(place))
    assert told(asked, "Approved")[0] == told(asked, "Ready")[0] == "True"


def test_a_chain_from_an_own_authority(lab: PlayedCluster) -> None:
    place = lab.namespace()
    root = certificate(place, "root", isCA=True, commonName="root", dnsNames=None)
    del root["spec"]["dnsNames"]
    signed = issuer(place, "ca", ca={"secretName": "root-tls"})
    leaf = certificate(place, by="ca", duration="720h", usages=["digital signature", "server auth"])
    lab.apply(signed)
    text = 'Error getting keypair for CA issuer: secrets "root-tls" not found'
    lab.until(signed, lambda one: told(one, "Ready") == ("False", "ErrGetKeyPair", text), "not ready")
    lab.apply(issuer(place, "self", selfSigned={}), root, leaf)
    lab.until(signed, lambda one: told(one, "Ready") == ("True", "KeyPairVerified", "Signing CA verified"), "ready")
    lab.until(leaf, ready, "ready")
    kept = lab.live(secret(place))
    authority = loaded(lab.live(secret(place, "root-tls")))[0]
    one = loaded(kept)[0]
    one.verify_directly_issued_by(authority)
    assert loaded(kept, "ca.crt") == [authority]
    assert (one.not_valid_after_utc - one.not_valid_before_utc).days == 30
    assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_cluster_issuer_has_its_secrets_in_its_own_namespace(lab: PlayedCluster) -> None:
    place = lab.namespace()
    everywhere = cluster_issuer("everywhere", ca={"secretName": "everywhere-tls"})
    root = certificate("cert-manager", "everywhere", by="early", isCA=True, commonName="everywhere")
    leaf = certificate(place, by="everywhere", kind="ClusterIssuer")
    lab.apply(everywhere, root, leaf)
    lab.until(everywhere, ready, "ready")
    lab.until(leaf, ready, "ready")


def test_a_secret_that_is_no_authority(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wrong = issuer(place, "ca", ca={"secretName": "web-tls"})
    lab.apply(issuer(place, "self", selfSigned={}), certificate(place), wrong)
    text = "Error getting keypair for CA issuer: certificate is not a CA"
    lab.until(wrong, lambda one: told(one, "Ready") == ("False", "ErrInvalidKeyPair", text), "refused")


@pytest.mark.parametrize("kind", ["Issuer", "ClusterIssuer"])
def test_an_issuer_that_is_not_there(lab: PlayedCluster, kind: str) -> None:
    place = lab.namespace()
    wanted = certificate(place, by="nobody", kind=kind)
    lab.apply(wanted)
    found = lab.until(wanted, lambda one: told(one, "Issuing")[0] == "True", "issuing")
    assert told(found, "Ready") == ("False", "DoesNotExist", "Issuing certificate as Secret does not exist")
    text = f'Referenced "{kind}" not found: {kind.lower()}.cert-manager.io "nobody" not found'
    lab.until(request(place), lambda one: told(one, "Ready") == ("False", "Pending", text), "pending")
    assert lab.until_event(place, "web-1", "IssuerNotFound") == text


def test_an_issuer_that_comes_later(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = certificate(place)
    lab.apply(wanted)
    lab.until(request(place), lambda one: told(one, "Ready")[1] == "Pending", "pending")
    lab.apply(issuer(place, "self", selfSigned={}))
    lab.until(wanted, ready, "ready")


def test_an_issuer_that_is_not_ready(lab: PlayedCluster) -> None:
    place = lab.namespace()
    lab.apply(issuer(place, "ca", ca={"secretName": "none"}), certificate(place, by="ca"))
    text = "Referenced issuer does not have a Ready status condition"
    lab.until(request(place), lambda one: told(one, "Ready") == ("False", "Pending", text), "pending")


def test_an_issuer_that_is_not_played_says_so(lab: PlayedCluster) -> None:
    place = lab.namespace()
    auth = {"tokenSecretRef": {"name": "token", "key": "token"}}
    vault = issuer(place, "vault", vault={"server": "https://vault", "path": "pki", "auth": auth})
    lab.apply(vault)
    found = lab.until(vault, lambda one: told(one, "Ready")[0] == "False", "refused")
    assert told(found, "Ready")[2].endswith("the simulated lab does not play vault issuers")


def test_what_changes_is_issued_anew(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = certificate(place)
    lab.apply(issuer(place, "self", selfSigned={}), issuer(place, "other", selfSigned={}), wanted)
    lab.until(wanted, ready, "ready")
    first = lab.live(secret(place))["data"]["tls.crt"]
    lab.apply(certificate(place, dnsNames=["b.example"]))
    text = "Issuing certificate as Existing issued Secret is not up to date for spec: [spec.dnsNames]"
    assert lab.until(wanted, lambda one: of_status(one, "revision") == 2 and ready(one), "issued anew")
    assert ("Normal", "Issuing", text) in lab.events(place, "web")
    assert lab.live(secret(place))["data"]["tls.crt"] != first
    lab.delete(secret(place))
    lab.until(wanted, lambda one: of_status(one, "revision") == 3 and ready(one), "issued for a Secret that is gone")
    lab.apply(certificate(place, by="other", dnsNames=["b.example"]))
    lab.until(wanted, lambda one: of_status(one, "revision") == 4 and ready(one), "issued by another issuer")
    lab.until_gone(request(place, "web-1"))


def test_a_certificate_is_renewed_before_it_ends(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = certificate(place, duration="1h", renewBefore="59m58s")
    lab.apply(issuer(place, "self", selfSigned={}), wanted)
    lab.until(wanted, lambda one: (of_status(one, "revision") or 0) >= 2 and ready(one), "renewed", 30.0)
    lab.delete(wanted)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ({"algorithm": "RSA", "size": 2048, "encoding": "PKCS8"}, rsa.RSAPublicKey),
        ({"algorithm": "ECDSA", "size": 384}, ec.EllipticCurvePublicKey),
    ],
)
def test_keys_are_as_they_are_asked_for(lab: PlayedCluster, key: Object, kind: type) -> None:
    place = lab.namespace()
    wanted = certificate(place, privateKey=key, secretTemplate={"labels": {"mine": "yes"}})
    lab.apply(issuer(place, "self", selfSigned={}), wanted)
    lab.until(wanted, ready, "ready")
    kept = lab.live(secret(place))
    assert isinstance(loaded(kept)[0].public_key(), kind)
    text = base64.b64decode(kept["data"]["tls.key"]).decode()
    assert ("BEGIN PRIVATE KEY" in text) == (key.get("encoding") == "PKCS8")
    assert kept["metadata"]["labels"]["mine"] == "yes"


# --- ACME
def test_acme_is_played_by_the_labs_authority(lab: PlayedCluster) -> None:
    place = lab.namespace()
    token = secret("cert-manager", "cloudflare") | {"stringData": {"api-token": "x"}}
    wanted = certificate(place, by="letsencrypt", kind="ClusterIssuer", dnsNames=["a.example", "*.a.example"])
    lab.apply(cluster_issuer("letsencrypt", **acme(**CLOUDFLARE)), token, wanted)
    account = lab.until(cluster_issuer("letsencrypt"), ready, "ready")
    text = "The ACME account was registered with the ACME server"
    assert told(account, "Ready") == ("True", "ACMEAccountRegistered", text)
    assert account["status"]["acme"]["uri"].startswith("https://acme-v02.api.letsencrypt.org/acct/")
    lab.until(wanted, ready, "ready")
    one = loaded(lab.live(secret(place)))[0]
    assert lab.node.authority is not None
    one.verify_directly_issued_by(x509.load_pem_x509_certificate(lab.node.authority.certificate.encode()))
    orders = lab.call("GET", f"/apis/{ACME}/namespaces/{place}/orders")["items"]
    assert [order["status"]["state"] for order in orders] == ["valid"]
    assert lab.live(secret("cert-manager", "account"))["data"]["tls.key"]


def test_a_solvers_token_that_is_missing(lab: PlayedCluster) -> None:
    place = lab.namespace()
    token = {"cloudflare": {"apiTokenSecretRef": {"name": "absent", "key": "api-token"}}}
    wanted = certificate(place, by="le")
    lab.apply(issuer(place, "le", **acme(dns01=token)), wanted)
    lab.until(
        request(place), lambda one: told(one, "Ready")[2].startswith("Waiting on certificate issuance"), "pending"
    )
    found = lab.call("GET", f"/apis/{ACME}/namespaces/{place}/challenges")["items"]
    assert [(one["spec"]["type"], one["spec"]["dnsName"]) for one in found] == [("DNS-01", "a.example")]
    assert found[0]["status"]["reason"] == 'error getting apiToken: secrets "absent" not found'
    lab.apply(secret(place, "absent") | {"stringData": {"api-token": "x"}})
    lab.until(wanted, ready, "ready with the token")
    lab.until_gone(found[0] | {"apiVersion": ACME, "kind": "Challenge"})


def test_a_wildcard_without_a_dns_solver(lab: PlayedCluster) -> None:
    place = lab.namespace()
    solver = {"http01": {"ingress": {"ingressClassName": "nginx"}}}
    lab.apply(issuer(place, "le", **acme(**solver)), certificate(place, by="le", dnsNames=["*.a.example"]))
    lab.until(request(place), lambda one: "Waiting on certificate issuance" in told(one, "Ready")[2], "pending")
    name = lab.call("GET", f"/apis/{ACME}/namespaces/{place}/orders")["items"][0]["metadata"]["name"]
    text = lab.until_event(place, name, "Solver")
    assert text.endswith("no configured challenge solvers can be used for this challenge")


def test_a_common_name_that_acme_does_not_take(lab: PlayedCluster) -> None:
    place = lab.namespace()
    solver = {"http01": {"ingress": {}}}
    wanted = certificate(place, by="le", commonName="other.example")
    lab.apply(issuer(place, "le", **acme(**solver)), wanted)
    found = lab.until(wanted, lambda one: told(one, "Issuing")[0] == "False", "failed")
    assert told(found, "Issuing")[1] == "Failed"
    assert "The CSR PEM requests a commonName that is not present" in told(found, "Issuing")[2]
    assert found["status"]["failedIssuanceAttempts"] == 1 and found["status"]["lastFailureTime"]
    lab.apply(certificate(place, by="le", commonName="a.example"))
    lab.until(wanted, ready, "ready after the change")

# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may not, who is not trusted, and what stands in the way: errors that say so before anything is written."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import transport

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}}


def test_a_missing_right_names_the_user_the_verb_and_the_resource(lab: t.Any, tmp_path: pathlib.Path) -> None:
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    before = lab.server.mark()
    failed = lab.run([CONFIG], kubeconfig=reader)
    assert failed["error"]["kind"] == "AccessDenied"
    assert 'User "reader" cannot get resource "configmaps"' in failed["msg"]
    assert lab.writes(before) == []


def test_a_right_to_write_that_is_missing_is_said_in_check_mode(lab: t.Any, tmp_path: pathlib.Path) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    subjects = [{"kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "look"}, "rules": rules}
    reference = {"apiGroup": group, "kind": "Role", "name": "look"}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "look"},
        "roleRef": reference,
        "subjects": subjects,
    }
    assert "msg" not in lab.run([role, binding])
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    failed = lab.run([CONFIG], kubeconfig=reader, check=True)
    assert 'User "reader" cannot patch resource "configmaps"' in failed["msg"]


def test_who_acts_as_somebody_else_has_that_ones_rights(lab: t.Any, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "acting"
    lab.server.write_kubeconfig(path, "admin")
    whole = yaml.safe_load(path.read_text())
    whole["users"][0]["user"].update({"as": "reader", "as-groups": ["crew", "none"]})
    path.write_text(yaml.safe_dump(whole))
    failed = lab.run([CONFIG], kubeconfig=str(path))
    assert 'User "reader" cannot get resource "configmaps"' in failed["msg"]


def test_unknown_credentials_are_said_to_be_so(lab: t.Any, tmp_path: pathlib.Path) -> None:
    stranger = str(lab.server.write_kubeconfig(tmp_path / "stranger", "stranger-token"))
    failed = lab.run([CONFIG], kubeconfig=stranger)
    assert failed["error"]["kind"] == "Unauthenticated"
    assert "stranger-token" not in str(failed)


def test_a_certificate_of_another_authority_is_not_trusted_and_not_tried_again(
    lab: t.Any, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "other"
    lab.server.write_kubeconfig(path, "admin", **{"certificate-authority-data": other_authority()})
    failed = lab.run([CONFIG], kubeconfig=str(path))
    assert failed["error"]["kind"] == transport.Untrusted.__name__
    assert "certificate-authority-data must be the one" in failed["msg"]
    assert lab.progress == []


def test_verification_can_be_off_as_the_kubeconfig_says(lab: t.Any, tmp_path: pathlib.Path) -> None:
    changes = {"certificate-authority-data": None, "insecure-skip-tls-verify": True}
    path = tmp_path / "trusting"
    lab.server.write_kubeconfig(path, "admin", **changes)
    assert "msg" not in lab.run([CONFIG], kubeconfig=str(path))


@pytest.mark.parametrize("policy", ["Fail"])
def test_a_webhook_that_does_not_answer_is_named(policy: str, lab: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client.INSTALL_PATIENCE", 1.0
    )
    webhook = {
        "name": "check.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/check"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": policy,
        "timeoutSeconds": 1,
    }
    name = {"name": f"{lab.namespace}.example.com"}
    kind = "ValidatingWebhookConfiguration"
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": name,
        "webhooks": [webhook],
    }
    assert "msg" not in lab.run([configuration])
    try:
        failed = lab.run([CONFIG])
        assert 'failed calling webhook "check.example.com"' in failed["msg"]
        assert "Are its pods ready?" in failed["msg"]
    finally:
        lab.run([configuration], state="absent")


def other_authority() -> str:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()

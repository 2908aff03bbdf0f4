# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs as people have them: several files, programs that give credentials, certificates, other users to act as."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pathlib
import ssl
import sys
import typing as t

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import kubeconfig

Object = dict[str, t.Any]


def config(user: Object | None = None, name: str = "lab", **cluster: t.Any) -> Object:
    return {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443/", **cluster}}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def write(path: pathlib.Path, content: Object) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return str(path)


class Pair(t.NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes

    def data(self) -> Object:
        return {
            "client-certificate-data": base64.b64encode(self.certificate).decode(),
            "client-key-data": base64.b64encode(self.key).decode(),
        }


def pair(passphrase: bytes = b"") -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = serialization.Encoding.PEM
    cipher = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, cipher)
    return Pair(builder.sign(key, hashes.SHA256()).public_bytes(pem), secret)


# -- which entries ---------------------------------------------------------------------------------------------------


def test_several_files_are_one_and_what_is_first_counts(tmp_path: pathlib.Path) -> None:
    first = write(tmp_path / "one", {**config(name="one"), "current-context": ""})
    second = write(tmp_path / "two", config(name="two"))
    both = os.pathsep.join([first, str(tmp_path / "not-there"), "", second])
    assert kubeconfig.load(both, None).server == "https://two.example:6443"
    assert kubeconfig.load(both, "one").headers == {"authorization": "Bearer token-of-one"}
    third = config({"token": "another"}, name="two")
    assert kubeconfig.load(f"{second}:{write(tmp_path / 'three', third)}", "two").secrets() == ["token-of-two"]


def test_a_context_of_one_file_uses_the_cluster_and_user_of_another(tmp_path: pathlib.Path) -> None:
    whole = config()
    contexts = {name: whole.pop(name) for name in ("contexts", "current-context")}
    found = kubeconfig.load(f"{write(tmp_path / 'one', contexts)}:{write(tmp_path / 'two', whole)}", None)
    assert found.secrets() == ["token-of-lab"]


def test_paths_are_relative_to_the_file_that_names_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = pair()
    for folder, token in (("a", "right"), ("b", "wrong")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "token").write_text(f"{token}\n")
    (tmp_path / "a/ca.crt").write_bytes(ours.certificate)
    (tmp_path / "a/me.crt").write_bytes(ours.certificate)
    (tmp_path / "a/me.key").write_bytes(ours.key)
    user = {"tokenFile": "token", "client-certificate": "me.crt", "client-key": "me.key"}
    path = write(tmp_path / "a/kubeconfig", config(user, **{"certificate-authority": "ca.crt"}))
    monkeypatch.chdir(tmp_path / "b")
    found = kubeconfig.load(path, None)
    assert found.secrets() == ["right"]
    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1


def test_a_context_without_a_user_has_no_credentials(tmp_path: pathlib.Path) -> None:
    whole = config()
    del whole["contexts"][0]["context"]["user"]
    assert kubeconfig.load(write(tmp_path / "k", whole), None).headers == {}


CONTEXTS: dict[str, tuple[Object, str | None, str]] = {
    "a name that is not there": (config(), "prod", "it has no context prod, only lab"),
    "no cluster of that name": ({**config(), "clusters": []}, None, "it has no cluster lab"),
    "no user of that name": ({**config(), "users": []}, None, "it has no user lab"),
    "none is current": ({**config(), "current-context": ""}, None, "current-context"),
    "clusters that are no list": ({**config(), "clusters": {"lab": {}}}, None, "clusters"),
    "a cluster without content": ({**config(), "clusters": [{"name": "lab"}]}, None, "names no server"),
    "a token that is a number": (config({"token": 12345678}), None, "token is not text"),
    "a token of two lines": (config({"token": "s3cret\nline"}), None, "token holds"),
    "a tokenFile that is not there": (config({"tokenFile": "nowhere"}), None, "nowhere"),
    "a key without a certificate": (config({"client-key-data": "czNjcmV0"}), None, "client-certificate"),
    "a certificate without a key": (config({"client-certificate-data": "czNjcmV0"}), None, "client-key"),
    "a flag in words": (config(**{"insecure-skip-tls-verify": "false"}), None, "neither true nor false"),
    "a provider of tokens that nobody knows": (config({"auth-provider": {"name": "s3cret"}}), None, "auth-provider"),
    "a server without a host": (config(server="https://:6443"), None, "is not an address"),
    "a server with half an address": (config(server="https://[::1:6443"), None, "is not an address"),
    "a server with a port that is none": (config(server="https://10.0.0.1:64430000"), None, "is not an address"),
    "a server with a space": (config(server="https://10.0.0.1 :6443"), None, "is not an address"),
    "a proxy without a host": (config(**{"proxy-url": "http://:s3cret@"}), None, "proxy is not an address"),
    "no proxy that we know": (config(**{"proxy-url": "socks5://10.0.0.1:1080"}), None, "proxy"),
}


@pytest.mark.parametrize("case", CONTEXTS)
def test_what_does_not_fit_is_named(case: str, tmp_path: pathlib.Path) -> None:
    content, context, words = CONTEXTS[case]
    with pytest.raises(errors.InvalidInput) as caught:
        kubeconfig.load(write(tmp_path / "k", content), context)
    assert words in caught.value.message
    assert "s3cret" not in caught.value.message
    assert "12345678" not in caught.value.message


# -- as whom ---------------------------------------------------------------------------------------------------------


def test_inline_certificates_are_used_and_leave_nothing_behind(tmp_path: pathlib.Path) -> None:
    before = set(pathlib.Path("/tmp").glob("groundwork-*"))
    ours = pair()
    authority = {"certificate-authority-data": base64.b64encode(ours.certificate).decode()}
    found = kubeconfig.load(write(tmp_path / "k", config(ours.data(), **authority)), None)
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED
    assert found.headers == {}
    assert set(pathlib.Path("/tmp").glob("groundwork-*")) <= before


def test_a_key_with_a_passphrase_is_an_error_and_nobody_is_asked_for_it(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "k", config(pair(b"hunter2").data()))
    with pytest.raises(errors.InvalidInput, match="passphrase"):
        kubeconfig.load(path, None)


def test_a_name_and_a_password_are_a_header(tmp_path: pathlib.Path) -> None:
    found = kubeconfig.load(write(tmp_path / "k", config({"username": "ann", "password": "pässword"})), None)
    word = base64.b64encode("ann:pässword".encode()).decode()
    assert found.headers == {"authorization": f"Basic {word}"}
    assert found.secrets() == [word]


def test_another_user_to_act_as_is_told_to_the_server(tmp_path: pathlib.Path) -> None:
    user = {"token": "t", "as": "bob", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"Why": ["x y", "z"]}}
    found = kubeconfig.load(write(tmp_path / "k", config(user)), None)
    assert found.acting_as == (
        ("Impersonate-User", "bob"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-why", "x y"),
        ("Impersonate-Extra-why", "z"),
    )


def test_a_token_of_an_auth_provider_is_used(tmp_path: pathlib.Path) -> None:
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).timestamp()
    parts = ({"alg": "none"}, {"exp": int(later)}, {})
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    provider = {"name": "oidc", "config": {"id-token": token, "client-id": "a", "idp-issuer-url": "https://a.example"}}
    path = write(tmp_path / "k", config({"auth-provider": provider}))
    assert kubeconfig.load(path, None).headers == {"authorization": f"Bearer {token}"}


# -- programs that give credentials ----------------------------------------------------------------------------------

GIVES = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "of-a-program"}}


def program(path: pathlib.Path, text: str) -> str:
    path.write_text(f"#!{sys.executable}\nimport json, os, sys\n{text}\n")
    path.chmod(0o755)
    return str(path)


def execs(command: str, **more: t.Any) -> Object:
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command, **more}}


def test_a_program_gives_a_token_or_a_certificate(tmp_path: pathlib.Path) -> None:
    one = program(
        tmp_path / "plugin",
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "assert not info['spec']['interactive'] and info['spec']['cluster']['server'].startswith('https://lab')\n"
        "token = '-'.join([os.environ['WHO'], *sys.argv[1:]])\n"
        f"print(json.dumps({{**{GIVES!r}, 'status': {{'token': token}}}}))",
    )
    more: Object = {"args": ["a", "b"], "env": [{"name": "WHO", "value": "me"}], "provideClusterInfo": True}
    assert kubeconfig.load(write(tmp_path / "k", config(execs(one, **more))), None).secrets() == ["me-a-b"]
    beside = write(tmp_path / "k", config(execs("./plugin", **more)))
    assert kubeconfig.load(beside, None).secrets() == ["me-a-b"]

    ours = pair()
    status = {"clientCertificateData": ours.certificate.decode(), "clientKeyData": ours.key.decode()}
    two = program(tmp_path / "second", f"print(json.dumps({ {**GIVES, 'status': status}!r}))")
    assert kubeconfig.load(write(tmp_path / "k", config(execs(two))), None).tls is not None


FAILING: dict[str, tuple[str, Object, str]] = {
    "fails": ("sys.exit('first\\nlog in again')", {}, "ended with 1: log in again"),
    "says nothing": ("", {}, "no ExecCredential"),
    "says something else": ("print('[1]')", {}, "no ExecCredential"),
    "another version": (
        f"print(json.dumps({ {**GIVES, 'apiVersion': 'client.authentication.k8s.io/v9'}!r}))",
        {},
        "no ExecCredential of client.authentication.k8s.io/v1",
    ),
    "no token": (f"print(json.dumps({ {**GIVES, 'status': {}}!r}))", {}, "neither a token nor a certificate"),
    "a certificate only": (
        f"print(json.dumps({ {**GIVES, 'status': {'clientCertificateData': 's3cret'}}!r}))",
        {},
        "without its key",
    ),
    "needs a person": ("", {"interactiveMode": "Always"}, "interactiveMode"),
    "never ends": ("import time; time.sleep(60)", {}, "did not end within"),
    "arguments that are none": ("", {"args": "s3cret"}, "args"),
    "no environment": ("", {"env": [{"name": "A"}]}, "env"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_program_that_gives_no_credentials_is_an_error(
    case: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import credentials

    monkeypatch.setattr(credentials, "PROGRAM_WITHIN", 3.0)
    text, more, words = FAILING[case]
    one = program(tmp_path / "plugin", text)
    with pytest.raises(errors.InvalidInput) as caught:
        kubeconfig.load(write(tmp_path / "k", config(execs(one, **more))), None)
    assert words in caught.value.message
    assert "s3cret" not in caught.value.message


def test_a_program_that_is_not_there_is_named_with_how_to_install_it(tmp_path: pathlib.Path) -> None:
    user = execs("no-such-plugin", installHint="Get it from example.com")
    with pytest.raises(errors.InvalidInput) as caught:
        kubeconfig.load(write(tmp_path / "k", config(user)), None)
    assert "no-such-plugin" in caught.value.message
    assert "Get it from example.com" in caught.value.message

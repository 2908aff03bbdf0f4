# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets bundle: its format, that it is made once, and what is said about a wrong one."""

from __future__ import annotations

import copy
import os
import pathlib
import typing as t

import pytest
import yaml
from talos_room import run

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import pki, secrets_bundle


def test_the_format_is_that_of_talosctl(bundle: secrets_bundle.Bundle) -> None:
    shape = {key: sorted(value) for key, value in bundle.data.items()}
    assert shape == {
        "cluster": ["id", "secret"],
        "secrets": ["bootstraptoken", "secretboxencryptionsecret"],
        "trustdinfo": ["token"],
        "certs": ["etcd", "k8s", "k8saggregator", "k8sserviceaccount", "os"],
    }


def test_authorities_are_of_talos_kinds(bundle: secrets_bundle.Bundle) -> None:
    assert bundle.authority("os").key.startswith(b"-----BEGIN ED25519 PRIVATE KEY-----")
    assert bundle.authority("k8s").key.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    key = pki.decoded(bundle.data["certs"]["k8sserviceaccount"]["key"], "key")
    assert key.startswith(b"-----BEGIN RSA PRIVATE KEY-----")


def test_what_was_written_loads_again(bundle_path: pathlib.Path, bundle: secrets_bundle.Bundle) -> None:
    assert secrets_bundle.load(bundle_path).data == bundle.data
    assert bundle_path.stat().st_mode & 0o777 == 0o600
    assert bundle_path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(bundle_path.parent) == [bundle_path.name]


def test_a_bundle_is_never_overwritten(bundle_path: pathlib.Path, bundle: secrets_bundle.Bundle) -> None:
    before = bundle_path.read_bytes()
    with pytest.raises(InvalidInput, match="appeared"):
        secrets_bundle.create(bundle_path, bundle)
    assert bundle_path.read_bytes() == before
    assert os.listdir(bundle_path.parent) == [bundle_path.name]


def _without(*path: str) -> t.Callable[[dict[str, t.Any]], None]:
    def change(data: dict[str, t.Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def _with(value: t.Any, *path: str) -> t.Callable[[dict[str, t.Any]], None]:
    def change(data: dict[str, t.Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_without("cluster", "id"), "cluster.id is not 32 bytes in base64"),
        (_with("abc", "cluster", "secret"), "cluster.secret is not 32 bytes in base64"),
        (_with("ABC.def", "trustdinfo", "token"), "trustdinfo.token is not a token of the form 6.16"),
        (_without("secrets", "bootstraptoken"), "secrets.bootstraptoken is not a token"),
        (_without("secrets", "secretboxencryptionsecret"), "secrets.secretboxencryptionsecret is not 32 bytes"),
        (_without("certs", "etcd"), "certs.etcd needs crt and key"),
        (_with("aGVsbG8=", "certs", "os", "crt"), "certs.os is not a certificate and a key in base64 of PEM"),
        (_with("%%", "certs", "k8s", "key"), "certs.k8s is not a certificate and a key"),
        (_with("aGVsbG8=", "certs", "k8sserviceaccount", "key"), "certs.k8sserviceaccount.key is not a private key"),
    ],
)
def test_a_broken_bundle_is_refused_with_the_place(
    change: t.Callable[[dict[str, t.Any]], None],
    problem: str,
    bundle: secrets_bundle.Bundle,
    tmp_path: pathlib.Path,
) -> None:
    data = copy.deepcopy(dict(bundle.data))
    change(data)
    path = tmp_path / "bundle.yaml"
    path.write_text(yaml.safe_dump(data))
    path.chmod(0o600)
    outcome = run("talos_secrets", {"path": str(path)})
    assert outcome["failed"] and problem in outcome["msg"] and str(path) in outcome["msg"]
    assert "would be a new cluster" in outcome["msg"]


def test_a_key_of_another_authority_is_refused(bundle: secrets_bundle.Bundle, tmp_path: pathlib.Path) -> None:
    data = copy.deepcopy(dict(bundle.data))
    data["certs"]["k8s"]["key"] = data["certs"]["etcd"]["key"]
    path = tmp_path / "bundle.yaml"
    path.write_text(yaml.safe_dump(data))
    path.chmod(0o600)
    assert "certs.k8s.key does not belong to certs.k8s.crt" in run("talos_secrets", {"path": str(path)})["msg"]


def test_a_bundle_that_others_can_read_is_refused(bundle_path: pathlib.Path) -> None:
    bundle_path.chmod(0o644)
    outcome = run("talos_secrets", {"path": str(bundle_path)})
    assert outcome["msg"] == (
        f"{bundle_path} holds secrets and has the mode 0644: others than its owner can get at it. "
        f"If nobody has read it, run: chmod 600 {bundle_path}"
    )


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "\tx: 1\n", "", "cluster: [\n"])
def test_what_is_no_bundle_at_all_is_refused(text: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bundle.yaml"
    path.write_text(text)
    path.chmod(0o600)
    outcome = run("talos_secrets", {"path": str(path)})
    assert outcome["failed"] and f"The secrets bundle {path} is not" in outcome["msg"]


def test_a_directory_in_its_place_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "d").mkdir()
    assert "cannot be read: Is a directory" in run("talos_secrets", {"path": str(tmp_path / "d")})["msg"]


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = run("talos_secrets", {"path": str(tmp_path / "file" / "bundle.yaml")})
    assert outcome["failed"] and str(tmp_path / "file" / "bundle.yaml") in outcome["msg"]


def test_without_a_path_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALOS_SECRETS", raising=False)
    assert run("talos_secrets", {})["msg"] == (
        "secrets_path is not set. Set it, or the environment variable TALOS_SECRETS."
    )


def test_check_mode_predicts_and_writes_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "secrets" / "bundle.yaml"
    predicted = run("talos_secrets", {"path": str(path)}, check=True)
    assert not path.parent.exists()
    made = run("talos_secrets", {"path": str(path)})
    assert predicted["changes"] == made["changes"] and made["changed"]
    again = run("talos_secrets", {"path": str(path)})
    assert not again["changed"] and again["changes"] == []


def test_nothing_of_the_bundle_is_in_the_result(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bundle.yaml"
    made = str(dict(run("talos_secrets", {"path": str(path)})))
    values = secrets_bundle.load(path).secret_values()
    assert len(values) == 14 and not [value for value in values if value in made]

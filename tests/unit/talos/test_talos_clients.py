# SPDX-License-Identifier: GPL-3.0-or-later
"""The talosconfig and the kubeconfig: read, judged, and when they are made anew."""

from __future__ import annotations

import base64
import datetime as dt
import io
import pathlib
import random
import tarfile
import typing as t

import pytest
import yaml
from talos_room import run

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import (
    InvalidInput,
    MissingDependency,
    ServerFault,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    client,
    credentials,
    kubeconfig,
    pki,
    schema,
    secrets_bundle,
    talosconfig,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task

DAY = dt.timedelta(days=1)


def context(bundle: secrets_bundle.Bundle, **more: t.Any) -> talosconfig.Context:
    ca = bundle.authority("os")
    lifetime = more.pop("lifetime", 365 * DAY)
    fields: dict[str, t.Any] = {
        "name": "lab",
        "endpoints": ("10.77.0.11",),
        "ca": ca.crt,
        "client": pki.client_certificate(ca, ["os:admin"], lifetime=lifetime),
    }
    return talosconfig.Context(**{**fields, **more})


def test_a_talosconfig_reads_back(bundle: secrets_bundle.Bundle) -> None:
    made = context(bundle)
    assert talosconfig.parse(talosconfig.render(made), "x") == made


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"name": "other"}, "its context has another name"),
        ({"endpoints": ()}, "its endpoints differ"),
        ({"ca": pki.new_ca("talos", "ed25519").crt}, "it is of another cluster"),
        ({"lifetime": 29 * DAY}, "its certificate ends soon"),
        (
            {"client": pki.client_certificate(pki.new_ca("talos", "ed25519"), ["os:admin"], lifetime=99 * DAY)},
            "its certificate is not the cluster's",
        ),
    ],
)
def test_a_talosconfig_is_stale_for_a_reason(
    change: dict[str, t.Any], reason: str, bundle: secrets_bundle.Bundle
) -> None:
    assert talosconfig.staleness(context(bundle, **change), context(bundle)) == reason


GOOD = {"context": "a", "contexts": {"a": {"endpoints": [], "ca": "YQ==", "crt": "YQ==", "key": "YQ=="}}}


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        ("a: [", None, "The talosconfig x is not YAML"),
        ("- a", None, "The talosconfig x has no contexts"),
        ("contexts: {}", None, "The talosconfig x has no contexts"),
        (yaml.safe_dump(GOOD), "b", "The talosconfig x has no context 'b'. It has: a."),
        ("context: a\ncontexts: {a: {ca: YQ==}}", None, "The context a of x has no crt, key"),
        ("context: a\ncontexts: {a: {ca: '%', crt: YQ==, key: YQ==}}", None, "ca of the context a is not base64"),
    ],
)
def test_a_broken_talosconfig_is_refused(text: str, name: str | None, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        talosconfig.parse(text, "x", name)
    assert problem in caught.value.message


def test_an_old_talosconfig_with_one_target_is_read() -> None:
    old = {"context": "a", "contexts": {"a": {"target": "10.0.0.1", "ca": "YQ==", "crt": "YQ==", "key": "YQ=="}}}
    assert talosconfig.parse(yaml.safe_dump(old), "x").endpoints == ("10.0.0.1",)


def test_a_talosconfig_says_who_asks_and_its_key_is_kept_secret(
    bundle: secrets_bundle.Bundle, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TALOS_SECRETS", raising=False)
    path = tmp_path / "talosconfig"
    path.write_text(talosconfig.render(context(bundle)))
    path.chmod(0o600)
    monkeypatch.setenv("TALOSCONFIG", str(path))
    task = Task({})
    identity = credentials.from_params(task)
    assert identity.client.key.decode() in task.secrets
    assert len(identity.context().get_ca_certs()) == 1
    path.chmod(0o640)
    with pytest.raises(InvalidInput, match="holds secrets and has the mode 0640"):
        credentials.from_params(task)


def test_the_environment_names_the_bundle(bundle_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALOS_SECRETS", str(bundle_path))
    task = Task({})
    credentials.from_params(task)
    values = secrets_bundle.load(bundle_path).data
    assert values["trustdinfo"]["token"] in task.secrets
    assert values["certs"]["os"]["key"] in task.secrets
    assert values["certs"]["os"]["crt"] not in task.secrets


def kube(bundle: secrets_bundle.Bundle, **more: t.Any) -> str:
    """A kubeconfig as a node issues it."""
    ca = more.get("ca") or bundle.authority("k8s")
    signer = more.get("signer") or ca
    client = pki.client_certificate(
        signer, ["system:masters"], common_name="admin", lifetime=more.get("lifetime", 365 * DAY)
    )

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    user = more.get("user", "admin@lab")
    data = {
        "clusters": [
            {
                "name": "lab",
                "cluster": {
                    "server": more.get("server", "https://10.77.0.11:6443"),
                    "certificate-authority-data": encoded(ca.crt),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": encoded(client.crt), "client-key-data": encoded(client.key)},
            }
        ],
        "contexts": [{"name": "admin@lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "admin@lab",
    }
    return yaml.safe_dump(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        (
            {"server": "https://10.77.0.12:6443"},
            "its server is https://10.77.0.12:6443, and now https://10.77.0.11:6443",
        ),
        ({"user": "me"}, "its user is me, and now admin@lab"),
        ({"ca": pki.new_ca("kubernetes", "ecdsa")}, "it is of another cluster"),
        ({"signer": pki.new_ca("kubernetes", "ecdsa")}, "its certificate is not the cluster's"),
        ({"lifetime": -DAY / 2}, "its certificate ends soon"),
    ],
)
def test_a_kubeconfig_is_stale_for_a_reason(
    change: dict[str, t.Any], reason: str, bundle: secrets_bundle.Bundle
) -> None:
    assert kubeconfig.staleness(kube(bundle, **change), kube(bundle)) == reason


def test_a_cluster_whose_kubeconfigs_are_short_lived_gets_no_new_one_each_run(bundle: secrets_bundle.Bundle) -> None:
    """As with ``cluster.adminKubeconfig.certLifetime`` of some days or hours."""
    moment = dt.datetime.now(dt.UTC)
    for lifetime, left, reason in (
        (2 * DAY, 1.5 * DAY, ""),
        (2 * DAY, 0.5 * DAY, "its certificate ends soon"),
        (30 * DAY, 29 * DAY, ""),
        (60 * DAY, 29 * DAY, ""),
        (60 * DAY, 19 * DAY, "its certificate ends soon"),
        (365 * DAY, 31 * DAY, ""),
        (365 * DAY, 29 * DAY, "its certificate ends soon"),
    ):
        text = kube(bundle, lifetime=lifetime)
        at = moment + lifetime - left
        assert kubeconfig.staleness(text, kube(bundle, lifetime=lifetime), now=at) == reason, (lifetime, left)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "clusters: []", "current-context: x\ncontexts: []"])
def test_what_is_no_kubeconfig_is_said(text: str, bundle: secrets_bundle.Bundle) -> None:
    assert kubeconfig.staleness(text, kube(bundle)).startswith("it is no kubeconfig")


def test_an_archive_that_is_damaged_on_the_way_is_a_fault_of_the_answer() -> None:
    made, letters = io.BytesIO(), random.Random(1)
    content = "".join(letters.choice("abcdef") for _ in range(100_000)).encode()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        entry = tarfile.TarInfo("kubeconfig")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    data = made.getvalue()
    told = set()
    for at in range(0, len(data) - 4, 997):
        damaged = data[:at] + bytes(255 - one for one in data[at : at + 4]) + data[at + 4 :]
        try:
            client._only_file(damaged, "Talos node cp1")
        except ServerFault as error:
            told.add(error.asked)
    assert told == {"read the kubeconfig"}


def test_a_planned_cluster_keeps_a_kubeconfig_that_fits_its_bundle(
    bundle: secrets_bundle.Bundle, bundle_path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    dest = tmp_path / "kubeconfig"
    dest.write_text(kube(bundle))
    dest.chmod(0o600)
    params = {"secrets_path": str(bundle_path), "node": "10.77.0.11", "dest": str(dest), "planned": True}
    assert not run("talos_kubeconfig", params, check=True)["changed"]
    dest.write_text(kube(bundle, ca=pki.new_ca("kubernetes", "ecdsa")))
    assert run("talos_kubeconfig", params, check=True)["changes"][0]["note"] == "it is of another cluster"


def test_a_kubeconfig_of_a_cluster_whose_secrets_are_still_to_be_made_is_of_another_one(
    bundle: secrets_bundle.Bundle, tmp_path: pathlib.Path
) -> None:
    dest = tmp_path / "kubeconfig"
    dest.write_text(kube(bundle))
    dest.chmod(0o600)
    params = {"secrets_path": str(tmp_path / "none"), "node": "10.77.0.11", "dest": str(dest), "planned": True}
    assert run("talos_kubeconfig", params, check=True)["changes"][0]["note"] == "it is of another cluster"


def test_a_directory_is_no_place_for_a_kubeconfig(bundle_path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    params = {"secrets_path": str(bundle_path), "node": "10.77.0.11", "dest": str(tmp_path)}
    assert "cannot be read: Is a directory" in run("talos_kubeconfig", params)["msg"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> t.Any:
        raise ImportError("No module named 'google'")

    monkeypatch.setattr(schema.importlib, "import_module", missing)
    with pytest.raises(MissingDependency, match="pip install protobuf"):
        schema._protobuf("descriptor_pb2")

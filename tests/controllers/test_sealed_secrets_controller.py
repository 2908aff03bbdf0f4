# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sealed_secret module seals, the real controller opens, and what the real kubeseal seals, the module reads."""

from __future__ import annotations

import base64
import json
import pathlib
import typing as t

import pytest
import yaml
from controllerlab import ControllerLab, Object
from installs import namespace

from ansible_collections.groundwork.homelab.plugins.modules import manifests, sealed_secret, sealed_secrets_key

DEPLOYMENT = "/apis/apps/v1/namespaces/kube-system/deployments/sealed-secrets-controller"
SECRETS = "/api/v1/namespaces/{}/secrets"
SEALED = "/apis/bitnami.com/v1alpha1/namespaces/{}/sealedsecrets"
PODS = "/api/v1/namespaces/kube-system/pods"
VALUES = {
    "password": "correct horse battery staple",
    "unicode": "Grüße, 世界 \U0001f510",
    "lines": "one\ntwo\n\n  three\n",
    "empty": "",
    "large": "x" * 100_000,
}


@pytest.fixture(scope="module")
def place(sealed_secrets: ControllerLab, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A directory of secrets with the controller's certificate and its keys."""
    made = tmp_path_factory.mktemp("sealing")
    refresh(sealed_secrets, made)
    sealed_secrets.apply(namespace("media"), namespace("other"))
    return made


def refresh(lab: ControllerLab, place: pathlib.Path) -> None:
    """What a person does by hand: ``kubeseal --fetch-cert``, ``kubectl get secret -l … -o yaml``."""
    done = lab.program("kubeseal", "--fetch-cert")
    assert done.returncode == 0, done.stderr
    (place / "controller.crt").write_text(done.stdout)
    selector = {"labelSelector": "sealedsecrets.bitnami.com/sealed-secrets-key"}
    found = lab.call("GET", SECRETS.format("kube-system"), query=selector)
    items = [{"apiVersion": "v1", "kind": "Secret", **one} for one in found["items"]]
    keys = place / "keys.yaml"
    keys.touch(0o600)
    keys.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}))


def seal(lab: ControllerLab, place: pathlib.Path, **secret: t.Any) -> Object:
    done = lab.run(
        sealed_secret,
        certificate_file=str(place / "controller.crt"),
        sealing_key_file=str(place / "sealing.key"),
        secrets=[secret],
    )
    assert not done.get("failed"), done
    return done


def opened(lab: ControllerLab, space: str, name: str) -> dict[str, str]:
    """The Secret that the controller has made."""
    lab.condition(f"{SEALED.format(space)}/{name}", "Synced")
    found = lab.get(f"{SECRETS.format(space)}/{name}") or {}
    return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}


@pytest.mark.parametrize("scope", ["strict", "namespace-wide", "cluster-wide"])
def test_the_controller_opens_what_the_module_seals(
    sealed_secrets: ControllerLab, place: pathlib.Path, scope: str
) -> None:
    done = seal(sealed_secrets, place, name=f"own-{scope}", namespace="media", contents=VALUES, scope=scope)
    applied = sealed_secrets.run(manifests, definitions=done["definitions"])
    assert not applied.get("failed"), applied
    assert opened(sealed_secrets, "media", f"own-{scope}") == VALUES


def test_a_cluster_wide_one_opens_under_another_name_and_a_strict_one_does_not(
    sealed_secrets: ControllerLab, place: pathlib.Path
) -> None:
    for scope in ("cluster-wide", "strict"):
        done = seal(
            sealed_secrets,
            place,
            name=f"moved-{scope}",
            namespace="media",
            contents={"user": "somebody-long"},
            scope=scope,
        )
        document = done["definitions"][0]
        document["metadata"] |= {"name": f"renamed-{scope}", "namespace": "other"}
        document["spec"]["template"]["metadata"] |= {"name": f"renamed-{scope}", "namespace": "other"}
        sealed_secrets.apply(document)
    assert opened(sealed_secrets, "other", "renamed-cluster-wide") == {"user": "somebody-long"}
    refused = sealed_secrets.condition(f"{SEALED.format('other')}/renamed-strict", "Synced", "False")
    assert "no key could decrypt secret" in refused["message"]


@pytest.mark.parametrize("scope", ["strict", "namespace-wide", "cluster-wide"])
def test_the_module_opens_what_kubeseal_seals(sealed_secrets: ControllerLab, place: pathlib.Path, scope: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "theirs", "namespace": "media"},
        "stringData": {key: value for key, value in VALUES.items() if key != "large"},
    }
    done = sealed_secrets.program("kubeseal", "--format=yaml", f"--scope={scope}", stdin=json.dumps(secret))
    assert done.returncode == 0, done.stderr
    file = place / f"theirs-{scope}.yaml"
    file.write_text(done.stdout)
    checked = sealed_secrets.run(
        sealed_secret, state="valid", private_keys=[str(place / "keys.yaml")], files=[str(file)]
    )
    assert not checked.get("failed"), checked
    assert checked["sealed_secrets"][0]["scope"] == scope

    document = yaml.safe_load(done.stdout)
    document["spec"]["encryptedData"]["password"] = document["spec"]["encryptedData"]["unicode"]
    document["metadata"]["namespace"] = document["spec"]["template"]["metadata"]["namespace"] = "other"
    file.write_text(yaml.safe_dump(document))
    moved = sealed_secrets.run(sealed_secret, state="valid", private_keys=[str(place / "keys.yaml")], files=[str(file)])
    assert bool(moved.get("failed")) == (scope != "cluster-wide")


def test_after_a_rotation_old_and_newly_sealed_files_open(sealed_secrets: ControllerLab, place: pathlib.Path) -> None:
    lab, file = sealed_secrets, place / "rotated.yaml"
    seal(lab, place, name="rotated", namespace="media", contents={"user": "before-the-rotation"}, path=str(file))
    before = file.read_text()
    made = lab.run(
        sealed_secrets_key,
        path=str(place / "own-keys.yaml"),
        certificate_file=str(place / "own.crt"),
        key_size=2048,
    )
    assert made["changed"], made
    applied = lab.run(manifests, src=[str(place / "own-keys.yaml")])
    assert not applied.get("failed"), applied
    restart(lab)
    refresh(lab, place)
    assert (place / "controller.crt").read_text().split() == (place / "own.crt").read_text().split()

    lab.apply(yaml.safe_load(before))
    assert opened(lab, "media", "rotated") == {"user": "before-the-rotation"}
    sealed = lab.run(
        sealed_secret,
        state="resealed",
        certificate_file=str(place / "own.crt"),
        private_keys=[str(place / "keys.yaml")],
        files=[str(file)],
    )
    assert sealed["changed"], sealed
    assert file.read_text() != before
    lab.call("DELETE", f"{SEALED.format('media')}/rotated")
    lab.until(lambda: lab.get(f"{SECRETS.format('media')}/rotated") is None, "the old Secret is gone")
    lab.apply(yaml.safe_load(file.read_text()))
    assert opened(lab, "media", "rotated") == {"user": "before-the-rotation"}
    done = lab.program("kubeseal", "--recovery-unseal", f"--recovery-private-key={place / 'keys.yaml'}", stdin=before)
    assert done.returncode == 0, done.stderr


def restart(lab: ControllerLab) -> None:
    """``kubectl delete pod``: the controller reads its keys when it starts."""
    old = pods(lab)
    for name in old:
        lab.call("DELETE", f"{PODS}/{name}")
    lab.until(lambda: pods(lab) and not set(pods(lab)) & set(old), "another pod is there")
    lab.ready(DEPLOYMENT)


def pods(lab: ControllerLab) -> list[str]:
    found = lab.call("GET", PODS, query={"labelSelector": "name=sealed-secrets-controller"})["items"]
    return [pod["metadata"]["name"] for pod in found]

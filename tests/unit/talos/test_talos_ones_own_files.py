# SPDX-License-Identifier: GPL-3.0-or-later
"""A talosconfig or kubeconfig with contexts of several clusters is a person's own: it is never written over."""

from __future__ import annotations

import datetime as dt
import pathlib
import typing as t

import pytest
import yaml
from talos_room import run
from test_talos_clients import kube

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import pki, secrets_bundle, talosconfig

Json = dict[str, t.Any]


def put(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("current", ["lab", "work"])
def test_a_talosconfig_of_several_clusters_stays(
    bundle: secrets_bundle.Bundle, bundle_path: pathlib.Path, tmp_path: pathlib.Path, current: str, check: bool
) -> None:
    """Other clusters' keys may be nowhere else."""
    authority = bundle.authority("os")
    made = talosconfig.Context("lab", ("10.77.0.99",), authority.crt, pki.client_certificate(authority, ["os:admin"]))
    data = yaml.safe_load(talosconfig.render(made))
    data["contexts"]["work"], data["context"] = {**data["contexts"]["lab"], "endpoints": ["192.0.2.1"]}, current
    dest = put(tmp_path / "config", yaml.safe_dump(data))
    before = dest.read_text()
    params = {
        "path": str(bundle_path),
        "talosconfig_dest": str(dest),
        "cluster_name": "lab",
        "endpoints": ["10.77.0.11"],
    }
    refused = run("talos_secrets", params, check=check)
    assert refused.get("failed") and not refused["changed"], refused
    assert f"The talosconfig {dest} has the contexts lab, work" in refused["msg"]
    assert "Give talosconfig_dest a path of its own" in refused["msg"]
    assert dest.read_text() == before


def test_one_that_needs_nothing_may_have_more(
    bundle: secrets_bundle.Bundle, bundle_path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    authority = bundle.authority("os")
    client = pki.client_certificate(authority, ["os:admin"], lifetime=dt.timedelta(days=365))
    made = talosconfig.Context("lab", ("10.77.0.11",), authority.crt, client)
    data = yaml.safe_load(talosconfig.render(made))
    data["contexts"]["work"] = data["contexts"]["lab"]
    dest = put(tmp_path / "config", yaml.safe_dump(data))
    params = {
        "path": str(bundle_path),
        "talosconfig_dest": str(dest),
        "cluster_name": "lab",
        "endpoints": ["10.77.0.11"],
    }
    made_so = run("talos_secrets", params)
    assert not made_so.get("failed") and not made_so["changed"], made_so


def test_a_kubeconfig_of_several_clusters_stays(
    bundle: secrets_bundle.Bundle, bundle_path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    data = yaml.safe_load(kube(bundle, ca=pki.new_ca("kubernetes", "ecdsa")))
    data["contexts"].append({"name": "work", "context": {"cluster": "work", "user": "me"}})
    dest = put(tmp_path / "config", yaml.safe_dump(data))
    params = {"secrets_path": str(bundle_path), "node": "10.77.0.11", "dest": str(dest), "planned": True}
    refused = run("talos_kubeconfig", params, check=True)
    assert refused.get("failed"), refused
    assert f"The kubeconfig {dest} has the contexts admin@lab, work" in refused["msg"]
    assert "Give dest a path of its own" in refused["msg"]

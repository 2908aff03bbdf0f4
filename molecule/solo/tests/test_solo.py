# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands after a bootstrap, seen from inside of the lab's network, without a line of the collection."""

from __future__ import annotations

import base64
import json
import os
import ssl
import typing as t
import urllib.request

import pytest
import yaml

NODE, HYPERVISOR, VMID = "192.168.30.50", "192.168.30.10", 200


@pytest.fixture
def kubeconfig() -> dict[str, t.Any]:
    with open(os.environ["KUBECONFIG"], encoding="utf-8") as file:
        return dict(yaml.safe_load(file))


@pytest.fixture
def kubernetes(kubeconfig: dict[str, t.Any], tmp_path: t.Any) -> t.Callable[[str], t.Any]:
    """GET a path of the Kubernetes API."""
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    for name in ("client-certificate-data", "client-key-data"):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_bytes(base64.b64decode(user[name]))
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(tmp_path / "client-certificate-data", tmp_path / "client-key-data")

    def get(path: str) -> t.Any:
        with urllib.request.urlopen(cluster["server"] + path, context=context, timeout=10) as answer:
            return json.load(answer)

    return get


@pytest.mark.parametrize("port", [6443, 50000])
def test_the_node_serves_kubernetes_and_talos(host: t.Any, port: int) -> None:
    assert host.addr(NODE).port(port).is_reachable


@pytest.mark.parametrize("name", ["kubeconfig", "talos-secrets.yaml"])
def test_secrets_are_only_their_owners(host: t.Any, name: str) -> None:
    file = host.file(os.path.join(os.path.dirname(os.environ["KUBECONFIG"]), name))
    assert file.is_file
    assert file.mode == 0o600
    assert host.file(os.path.dirname(file.path)).mode == 0o700


def test_the_node_is_ready(kubernetes: t.Callable[[str], t.Any]) -> None:
    nodes = kubernetes("/api/v1/nodes")["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["talos-cp01"]
    conditions = {condition["type"]: condition["status"] for condition in nodes[0]["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert nodes[0]["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"
    assert not nodes[0]["spec"].get("taints")


def test_the_labs_namespaces_are_there_with_their_labels(kubernetes: t.Callable[[str], t.Any]) -> None:
    found = {
        item["metadata"]["name"]: item["metadata"].get("labels", {})
        for item in kubernetes("/api/v1/namespaces")["items"]
    }
    assert {"argocd", "authentik", "cert-manager", "cloudflared", "media", "observability", "tailscale"} <= set(found)
    assert found["tailscale"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_the_machine_runs_as_the_inventory_has_it() -> None:
    token = f"PVEAPIToken=ansible@pve!groundwork={os.environ['PROXMOX_TOKEN_SECRET']}"
    context = ssl.create_default_context(cafile=os.environ["PROXMOX_CA_PATH"])

    def get(path: str) -> t.Any:
        url = f"https://{HYPERVISOR}:8006/api2/json/nodes/pve1/qemu/{VMID}/{path}"
        request = urllib.request.Request(url, headers={"Authorization": token})
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return json.load(answer)["data"]

    assert get("status/current")["status"] == "running"
    config = get("config")
    assert (config["name"], config["cores"], int(config["memory"]), config["bios"]) == ("talos-cp01", 6, 16384, "ovmf")
    assert "tag=30" in config["net0"].split(",")
    assert "size=100G" in config["scsi0"].split(",")

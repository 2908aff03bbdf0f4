# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated configs equal what ``talosctl gen config`` wrote (recorded), given the same secrets."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from talos_room import DATA, options, validated

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    cilium,
    documents,
    inputs,
    secrets_bundle,
    validate,
    versions,
)

TYPES = ("controlplane", "worker")


def cluster(**more: t.Any) -> inputs.Cluster:
    return inputs.cluster_from(validated("talos_config", {"dest": "/x", "secrets_path": "/x", **options(**more)}))


def masked(value: t.Any, key: str = "") -> t.Any:
    """Secrets as the recordings have them: replaced or cut."""
    if isinstance(value, dict):
        return {name: masked(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    if key in ("token", "secret", "secretboxEncryptionSecret", "id"):
        return "<secret>"
    if key in ("crt", "key") and value:
        return "<pem>"
    return value


def order(value: t.Any) -> t.Any:
    """The keys in their order, all the way down."""
    if isinstance(value, dict):
        return [(name, order(inner)) for name, inner in value.items()]
    return [order(inner) for inner in value] if isinstance(value, list) else None


@pytest.mark.parametrize("contract", ["1.12", "1.13"])
@pytest.mark.parametrize("machine_type", TYPES)
def test_a_config_is_the_recorded_one(contract: str, machine_type: str, bundle: secrets_bundle.Bundle) -> None:
    recorded = list(yaml.safe_load_all((DATA / f"v{contract}" / f"{machine_type}.yaml").read_text()))
    made = documents.generated(bundle, cluster(cluster={"contract": contract}), machine_type)
    assert masked(made) == masked(recorded)
    assert order(made) == order(recorded)


def test_secrets_of_the_bundle_stand_in_their_places(bundle: secrets_bundle.Bundle) -> None:
    made = documents.generated(bundle, cluster(), "controlplane")[0]
    places = {
        "machine.token": bundle.data["trustdinfo"]["token"],
        "machine.ca": bundle.pair("os"),
        "cluster.id": bundle.data["cluster"]["id"],
        "cluster.secret": bundle.data["cluster"]["secret"],
        "cluster.token": bundle.data["secrets"]["bootstraptoken"],
        "cluster.secretboxEncryptionSecret": bundle.data["secrets"]["secretboxencryptionsecret"],
        "cluster.ca": bundle.pair("k8s"),
        "cluster.aggregatorCA": bundle.pair("k8saggregator"),
        "cluster.etcd.ca": bundle.pair("etcd"),
        "cluster.serviceAccount": bundle.data["certs"]["k8sserviceaccount"],
    }
    for path, value in places.items():
        found: t.Any = made
        for key in path.split("."):
            found = found[key]
        assert found == value, path


def test_a_worker_has_no_key_of_an_authority(bundle: secrets_bundle.Bundle) -> None:
    text = documents.render(documents.generated(bundle, cluster(), "worker"))
    keys = [bundle.data["certs"][name]["key"] for name in ("os", "k8s", "etcd", "k8saggregator", "k8sserviceaccount")]
    assert not [key for key in keys if key in text]


@pytest.mark.parametrize("machine_type", TYPES)
@pytest.mark.parametrize("cni", ["flannel", "none", "cilium"])
@pytest.mark.parametrize("contract", ["1.12", "1.13"])
def test_every_generated_config_is_valid(
    machine_type: str, cni: str, contract: str, bundle: secrets_bundle.Bundle
) -> None:
    wanted = cluster(cluster={"cni": cni, "contract": contract, "cert_sans": ["lab.example.org"]})
    made = documents.generated(bundle, wanted, machine_type, hostname="cp1")
    assert list(validate.problems(made, machine_type=machine_type, talos=wanted.talos)) == []


def test_rendered_text_reads_back_the_same(bundle: secrets_bundle.Bundle) -> None:
    made = documents.generated(bundle, cluster(cluster={"cni": "cilium"}), "controlplane", hostname="cp1")
    assert documents.parse(documents.render(made)) == made
    assert "'off'" in documents.render(made) and "&id" not in documents.render(made)


def test_a_node_is_called_by_its_name(bundle: secrets_bundle.Bundle) -> None:
    wanted = cluster()
    made = documents.node_config(bundle, wanted, inputs.Node("cp1", "10.77.0.11", "controlplane"))
    assert made[1] == {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "auto": "off", "hostname": "cp1"}


def test_patches_come_in_order_all_type_node(bundle: secrets_bundle.Bundle) -> None:
    def patch(value: str) -> dict[str, t.Any]:
        return {"machine": {"sysctls": {"a": value}, "certSANs": [value]}}

    wanted = cluster(patches=[patch("all")], control_plane_patches=[patch("type")], worker_patches=[patch("worker")])
    node = inputs.Node("cp1", "10.77.0.11", "controlplane", (patch("node"),))
    machine = documents.node_config(bundle, wanted, node)[0]["machine"]
    assert machine["sysctls"] == {"a": "node"}
    assert machine["certSANs"] == ["all", "type", "node"]


def test_cert_sans_are_for_both_apis(bundle: secrets_bundle.Bundle) -> None:
    made = documents.generated(bundle, cluster(cluster={"cert_sans": ["lab.example.org"]}), "controlplane")[0]
    assert made["machine"]["certSANs"] == made["cluster"]["apiServer"]["certSANs"] == ["lab.example.org"]


def test_cilium_is_a_job_without_kube_proxy(bundle: secrets_bundle.Bundle) -> None:
    made = documents.generated(bundle, cluster(cluster={"cni": "cilium"}), "controlplane")[0]["cluster"]
    assert made["network"]["cni"] == {"name": "none"}
    assert made["proxy"]["disabled"] is True
    assert made["inlineManifests"] == [cilium.install_manifest()]
    kinds = [manifest["kind"] for manifest in yaml.safe_load_all(made["inlineManifests"][0]["contents"])]
    assert kinds == ["ServiceAccount", "ClusterRoleBinding", "Job"]


def test_inline_manifests_and_scheduling_are_for_control_planes(bundle: secrets_bundle.Bundle) -> None:
    manifest = {"name": "ns", "contents": "kind: Namespace"}
    wanted = cluster(cluster={"allow_scheduling_on_control_planes": True, "inline_manifests": [manifest]})
    control = documents.generated(bundle, wanted, "controlplane")[0]["cluster"]
    worker = documents.generated(bundle, wanted, "worker")[0]["cluster"]
    assert control["allowSchedulingOnControlPlanes"] is True and control["inlineManifests"] == [manifest]
    assert "allowSchedulingOnControlPlanes" not in worker and "inlineManifests" not in worker


def test_the_default_installer_is_talos_own_and_the_factory_s_from_1_14() -> None:
    assert cluster().installer_image == "ghcr.io/siderolabs/installer:v1.13.9"
    newer = versions.parse("v1.14.0", "talos_version")
    assert versions.installer_image(newer).startswith("factory.talos.dev/metal-installer/")

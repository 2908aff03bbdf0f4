# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are processes: which images, what they are given, how their programs are had."""

from __future__ import annotations

import asyncio
import base64
import pathlib
import typing as t

import pytest

from simlab import binaries, builder
from simlab.cluster.containers.delivery import Delivery, Undelivered
from simlab.cluster.containers.images import image_of, is_other_version
from simlab.cluster.containers.materials import Facts, Materials, Unsupported, expanded, quantity

POD: dict[str, t.Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "web"}, "annotations": {}},
    "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}]},
}
REDIS = {"metadata": {"labels": {"app.kubernetes.io/name": "argocd-redis"}}}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("docker.io/bitnami/sealed-secrets-controller:0.40.0", "0.40.0"),
        ("ghcr.io/fluxcd/source-controller:v1.9.3", "v1.9.3"),
        ("mirror.lab:5000/fluxcd/helm-controller@sha256:00", "v1.6.1"),
        ("quay.io/argoproj/argocd", "v3.5.7"),
        ("quay.io/argoproj/argocd-image-updater:v1", None),
        ("notfluxcd/source-controller:v1", None),
        ("redis:8.2-alpine", None),
        ("nginx", None),
    ],
)
def test_the_lab_has_few_images_and_knows_them_by_their_repository(reference: str, found: str | None) -> None:
    image = image_of(POD, reference)
    assert (image.version if image else None) == found


def test_redis_is_argo_cds_only() -> None:
    image = image_of(REDIS, "public.ecr.aws/docker/library/redis:8.2.3-alpine")
    assert image is not None
    assert not is_other_version(image, "redis:8.2.3-alpine")
    assert is_other_version(image, "redis:7.4")


@pytest.mark.parametrize(
    ("text", "becomes"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("--x=$(A).$(B)", "--x=1.$(B)"), ("$A", "$A"), ("$(A", "$(A")],
)
def test_variables_in_arguments_are_the_kubelets(text: str, becomes: str) -> None:
    assert expanded(text, {"A": "1"}) == becomes


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("500m", 0.5), ("64Mi", 64 << 20), ("2k", 2000), ("1.5Gi", 3 << 29)]
)
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1Q"])
def test_a_broken_quantity_is_named(text: str) -> None:
    with pytest.raises(Unsupported, match="cannot read the quantity"):
        quantity(text)


class Client:
    """Answers for Secrets and ConfigMaps, and for tokens."""

    def __init__(self, **objects: dict[str, t.Any]) -> None:
        self.objects = objects
        self.asked: list[t.Any] = []

    async def get(self, path: str) -> dict[str, t.Any] | None:
        return self.objects.get(path.rpartition("/")[2])

    async def call(self, method: str, path: str, body: t.Any) -> dict[str, t.Any]:
        self.asked.append((method, path, body["spec"]))
        return {"status": {"token": "t0ken"}}


def materials(pod: dict[str, t.Any], **objects: dict[str, t.Any]) -> Materials:
    return Materials(t.cast("t.Any", Client(**objects)), pod, Facts("10.244.0.9", "10.99.0.11", "n11"))


def test_the_environment_is_the_pods() -> None:
    container = {
        **POD["spec"]["containers"][0],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "absent"}}],
        "env": [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "auth"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "x", "optional": True}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "ALL", "value": "$(APP) at $(IP)"},
        ],
    }
    hidden = {"data": {"auth": base64.b64encode(b"s3cret").decode()}}
    found = asyncio.run(materials(POD, settings={"data": {"a": "1"}}, hidden=hidden).environment(container))
    assert found == {
        "P_a": "1",
        "PASSWORD": "s3cret",
        "IP": "10.244.0.9",
        "APP": "web",
        "CPUS": "2",
        "MEMORY": "1024",
        "ALL": "web at 10.244.0.9",
    }


def test_an_unknown_field_is_refused() -> None:
    container = {"name": "c", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.qosClass"}}}]}
    with pytest.raises(Unsupported, match=r"status\.qosClass"):
        asyncio.run(materials(POD).environment(container))


def test_volumes_are_files_directories_or_refused() -> None:
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    space = {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}
    volumes: list[dict[str, t.Any]] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "api", "projected": {"sources": [token, space, {"configMap": {"name": "ca"}}]}},
        {"name": "part", "configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "x/y"}]}},
        {"name": "gone", "secret": {"secretName": "gone", "optional": True}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    pod = {**POD, "spec": {**POD["spec"], "volumes": volumes}}
    found = asyncio.run(materials(pod, ca={"data": {"ca.crt": "PEM"}}).volumes())
    assert found["tmp"].writable
    assert found["api"].files == {"token": b"t0ken", "namespace": b"n", "ca.crt": b"PEM"}
    assert found["part"].files == {"x/y": b"PEM"}
    assert found["gone"].files == {}
    assert found["data"].kept == "n_data"
    pod["spec"]["volumes"] = [{"name": "etc", "hostPath": {"path": "/etc"}}]
    with pytest.raises(Unsupported, match="volume etc: no volumes of the kind hostPath"):
        asyncio.run(materials(pod).volumes())


def test_a_build_that_fails_is_a_program_that_is_not_delivered(tmp_path: pathlib.Path) -> None:
    def build(program: binaries.Program) -> pathlib.Path:
        raise binaries.BuildError(f"{program.name}: no Go")

    with pytest.raises(Undelivered, match="thing: no Go"):
        asyncio.run(Delivery(build).deliver(binaries.Program("thing", tmp_path)))


def test_the_process_outside_builds_by_name_and_says_what_it_cannot(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = binaries.REDIS.path
    path.parent.mkdir(parents=True)
    path.touch()
    outside = builder.leave_outside()
    assert outside.build("redis") == path
    with pytest.raises(binaries.BuildError, match="nothing"):
        outside.build("nothing")
    with pytest.raises(binaries.BuildError, match="the module no.such.module.invalid@v1 cannot be had"):
        outside.module("no.such.module.invalid@v1")
    assert outside.build("redis") == path

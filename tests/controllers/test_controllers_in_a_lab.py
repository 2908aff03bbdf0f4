# SPDX-License-Identifier: GPL-3.0-or-later
"""Real controllers in a whole simulated lab, with its sandbox, its router and its internet."""

from __future__ import annotations

import collections.abc as c
import json
import pathlib
import typing as t

import pytest
import yaml
from controllerlab import HOST, Object
from installs import flux_documents, sealed_secrets_documents
from trees import settings, write

from simlab import binaries
from simlab.harness import SimulatedLab

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def solo(site: pathlib.Path) -> c.Iterator[SimulatedLab]:
    """The lab ``solo``, bootstrapped; ``site`` is a host of its internet."""
    with SimulatedLab(ROOT / "inventories/solo", start_timeout=120, mirror={HOST: site}) as lab:
        run = lab.run_playbook("bootstrap")
        assert run.exit == 0, run.stdout[-3000:] + run.stderr[-3000:]
        yield lab


def kubectl(lab: SimulatedLab, *words: str) -> str:
    done = lab.exec("kubectl", *words)
    assert done.exit == 0, done.stderr + lab.exec("kubectl", "get", "events,pods", "-A").stdout
    return done.stdout


def apply(lab: SimulatedLab, place: pathlib.Path, documents: t.Iterable[Object]) -> None:
    """Definitions first, and the rest once they are served."""
    found = list(documents)
    for first in (True, False):
        part = [one for one in found if (one["kind"] in ("CustomResourceDefinition", "Namespace")) == first]
        (place / "part.yaml").write_text(yaml.safe_dump_all(part))
        kubectl(lab, "apply", "--server-side", "-f", str(place / "part.yaml"))
        if first:
            kubectl(lab, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


def rollout(lab: SimulatedLab, namespace: str, name: str) -> None:
    kubectl(lab, "-n", namespace, "rollout", "status", f"deployment/{name}", "--timeout=180s")


def test_the_sealed_secrets_controller_answers_in_a_bootstrapped_lab(
    solo: SimulatedLab, tmp_path: pathlib.Path
) -> None:
    apply(solo, tmp_path, sealed_secrets_documents())
    rollout(solo, "kube-system", "sealed-secrets-controller")
    certificate = solo.exec(str(binaries.KUBESEAL.build()), "--fetch-cert")
    assert certificate.stdout.startswith("-----BEGIN CERTIFICATE-----"), certificate.stderr


def test_flux_pulls_a_folder_that_is_given_as_a_host_of_the_internet(
    solo: SimulatedLab, site: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    write(site / "apps", {"word.yaml": settings("word", {"a": "from a folder"}, namespace="default")})
    apply(solo, tmp_path, flux_documents(("source", "kustomize")))
    for name in ("source-controller", "kustomize-controller"):
        rollout(solo, "flux-system", name)
    meta = {"name": "apps", "namespace": "flux-system"}
    source = {"interval": "1m", "url": f"https://{HOST}/apps.git", "ref": {"branch": "main"}}
    reference = {"kind": "GitRepository", "name": "apps"}
    wanted = {"interval": "1m", "path": "./", "prune": True, "sourceRef": reference}
    documents = [
        {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": meta, "spec": source},
        {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": meta, "spec": wanted},
    ]
    (tmp_path / "apps.yaml").write_text(yaml.safe_dump_all(documents))
    kubectl(solo, "apply", "-f", str(tmp_path / "apps.yaml"))
    kubectl(solo, "-n", "flux-system", "wait", "--for=condition=Ready", "kustomization/apps", "--timeout=120s")
    found = json.loads(kubectl(solo, "get", "configmap", "word", "-o", "json"))
    assert found["data"] == {"a": "from a folder"}
    asked = [one["path"] for one in solo.ledger(api="mirror") if one["server"] == HOST]
    assert "/apps.git/info/refs" in asked


def test_release_manifests_come_under_their_own_names(solo: SimulatedLab) -> None:
    url = "https://raw.githubusercontent.com/argoproj/argo-cd/v3.5.7/manifests/core-install.yaml"
    found = kubectl(solo, "create", "--dry-run=client", "-o", "name", "-f", url)
    assert "deployment.apps/argocd-repo-server" in found.splitlines()

# SPDX-License-Identifier: GPL-3.0-or-later
"""A real controller in a whole simulated lab, installed by the manifests module of a playbook in it."""

from __future__ import annotations

import pathlib

import yaml
from controllerlab import documents, module_folder

from simlab import binaries
from simlab.harness import SimulatedLab

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]


def test_the_sealed_secrets_controller_runs_in_a_bootstrapped_lab(tmp_path: pathlib.Path) -> None:
    chart = module_folder("github.com/bitnami/sealed-secrets") / "helm/sealed-secrets"
    objects = [one for path in sorted((chart / "crds").glob("*.yaml")) for one in documents(path)]
    objects += documents(HERE / "manifests/sealed-secrets.yaml")
    kubeseal = binaries.KUBESEAL.build()
    with SimulatedLab(ROOT / "inventories/solo", start_timeout=120) as lab:
        run = lab.run_playbook("bootstrap")
        assert run.exit == 0, run.stdout[-3000:] + run.stderr[-3000:]
        file = tmp_path / "sealed-secrets.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        applied = lab.exec("kubectl", "apply", "--server-side", "-f", str(file))
        assert applied.exit == 0, applied.stderr
        waited = lab.exec(
            "kubectl",
            "-n",
            "kube-system",
            "rollout",
            "status",
            "deployment/sealed-secrets-controller",
            "--timeout=120s",
        )
        assert waited.exit == 0, waited.stderr + lab.exec("kubectl", "get", "events,pods", "-A").stdout
        certificate = lab.exec(str(kubeseal), "--fetch-cert")
        assert certificate.stdout.startswith("-----BEGIN CERTIFICATE-----"), certificate.stderr

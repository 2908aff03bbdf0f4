# SPDX-License-Identifier: GPL-3.0-or-later
"""Played controllers in a whole simulated lab: a Service's address answers in the lab's network, cert-manager's webhook is
called through the lab's service network, its certificates are those of the lab's test CA."""

from __future__ import annotations

import base64
import collections.abc as c
import json
import pathlib
import sys
import time
import typing as t

import pytest
import yaml
from cryptography import x509

from simlab.harness import SimulatedLab

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/simulator/played"))

import gomodules

ADDRESS = "192.168.30.222"
OBJECTS = f"""
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {{name: lab}}
spec: {{blocks: [{{start: {ADDRESS}, stop: 192.168.30.229}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default, annotations: {{lbipam.cilium.io/ips: {ADDRESS}}}}}
spec: {{type: LoadBalancer, selector: {{app: web}}, ports: [{{port: 80}}]}}
"""
POLICY = """
apiVersion: cilium.io/v2alpha1
kind: CiliumL2AnnouncementPolicy
metadata: {name: lab}
spec: {loadBalancerIPs: true, interfaces: ["^ens[0-9]+"]}
"""
ISSUED = """
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: letsencrypt}
spec:
  acme:
    server: https://acme-v02.api.letsencrypt.org/directory
    privateKeySecretRef: {name: letsencrypt}
    solvers: [{http01: {ingress: {}}}]
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: default}
spec: {secretName: web-tls, dnsNames: [web.example.org], issuerRef: {kind: ClusterIssuer, name: letsencrypt}}
"""
#: Exit status 0 when a machine answers for the address: it refuses a port that nobody listens on.
KNOCK = f"""
import socket
try:
    socket.create_connection(("{ADDRESS}", 9), timeout=1).close()
except ConnectionRefusedError:
    pass
"""


@pytest.fixture(scope="module")
def lab() -> c.Iterator[SimulatedLab]:
    with SimulatedLab(ROOT / "inventories/solo", start_timeout=120) as made:
        run = made.run_playbook("bootstrap")
        assert run.exit == 0, run.stdout[-3000:] + run.stderr[-3000:]
        yield made


def test_a_load_balancers_address_answers_in_the_lab(lab: SimulatedLab, tmp_path: pathlib.Path) -> None:
    config = {"data": {"enable-l2-announcements": "true"}}
    _kubectl(lab, "-n", "kube-system", "patch", "configmap", "cilium-config", "--patch", json.dumps(config))
    _kubectl(lab, "-n", "kube-system", "rollout", "restart", "daemonset/cilium")
    _kubectl(lab, "-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=60s")
    _apply(lab, tmp_path, yaml.safe_load_all(OBJECTS))
    _kubectl(lab, "wait", "--for=condition=cilium.io/IPAMRequestSatisfied", "service/web", "--timeout=30s")
    assert lab.exec("python3", "-c", KNOCK).exit != 0, "it answers without a policy"
    _apply(lab, tmp_path, yaml.safe_load_all(POLICY))
    end = time.monotonic() + 20
    while lab.exec("python3", "-c", KNOCK).exit != 0:
        assert time.monotonic() < end, "the address does not answer"
        time.sleep(0.2)


def test_cert_manager_with_its_webhook(lab: SimulatedLab, tmp_path: pathlib.Path) -> None:
    _apply(lab, tmp_path, gomodules.definitions(gomodules.folder(gomodules.CERT_MANAGER) / "deploy/crds"))
    _apply(lab, tmp_path, yaml.safe_load_all((HERE / "manifests/cert-manager.yaml").read_text()))
    _apply(lab, tmp_path, yaml.safe_load_all(ISSUED))
    _kubectl(lab, "wait", "--for=condition=Ready", "certificate/web", "--timeout=60s")
    shown = lab.exec("kubectl", "get", "secret", "web-tls", "-o", "jsonpath={.data.tls\\.crt}").stdout
    issuer = x509.load_pem_x509_certificate(base64.b64decode(shown)).issuer
    assert issuer.rfc4514_string() == "CN=simulated lab test CA"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(ISSUED.replace("dnsNames", "duration: 1m, dnsNames"))
    refused = lab.exec("kubectl", "apply", "-f", str(wrong))
    assert refused.exit != 0 and "certificate duration must be greater than 1h0m0s" in refused.stderr, refused.stderr


def _apply(lab: SimulatedLab, folder: pathlib.Path, objects: c.Iterable[t.Any]) -> None:
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    _kubectl(lab, "apply", "--server-side", "-f", str(file))


def _kubectl(lab: SimulatedLab, *words: str) -> None:
    end = time.monotonic() + 30
    while (done := lab.exec("kubectl", *words)).exit != 0:  # the operator registers its resources soon
        assert time.monotonic() < end, f"{words}: {done.stderr}"
        time.sleep(0.5)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The played Cilium in a whole simulated lab: an address of a Service answers in the lab's network, from where playbooks run."""

from __future__ import annotations

import json
import pathlib
import time

import yaml

from simlab.harness import SimulatedLab

ROOT = pathlib.Path(__file__).parents[2]
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
#: Exit status 0 when a machine answers for the address: it refuses a port that nobody listens on.
KNOCK = f"""
import socket
try:
    socket.create_connection(("{ADDRESS}", 9), timeout=1).close()
except ConnectionRefusedError:
    pass
"""


def test_a_load_balancers_address_answers_in_the_lab(tmp_path: pathlib.Path) -> None:
    with SimulatedLab(ROOT / "inventories/solo", start_timeout=120) as lab:
        run = lab.run_playbook("bootstrap")
        assert run.exit == 0, run.stdout[-3000:] + run.stderr[-3000:]
        config = {"data": {"enable-l2-announcements": "true"}}
        _kubectl(lab, "-n", "kube-system", "patch", "configmap", "cilium-config", "--patch", json.dumps(config))
        _kubectl(lab, "-n", "kube-system", "rollout", "restart", "daemonset/cilium")
        _kubectl(lab, "-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=60s")
        _apply(lab, tmp_path, OBJECTS)
        condition = r"--for=condition=cilium.io/IPAMRequestSatisfied"
        _kubectl(lab, "wait", condition, "service/web", "--timeout=30s")
        assert lab.exec("python3", "-c", KNOCK).exit != 0, "it answers without a policy"
        _apply(lab, tmp_path, POLICY)
        end = time.monotonic() + 20
        while lab.exec("python3", "-c", KNOCK).exit != 0:
            assert time.monotonic() < end, "the address does not answer"
            time.sleep(0.2)


def _apply(lab: SimulatedLab, folder: pathlib.Path, text: str) -> None:
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(yaml.safe_load_all(text)))
    _kubectl(lab, "apply", "-f", str(file))


def _kubectl(lab: SimulatedLab, *words: str) -> None:
    end = time.monotonic() + 30
    while (done := lab.exec("kubectl", *words)).exit != 0:  # the operator registers its resources soon
        assert time.monotonic() < end, f"{words}: {done.stderr}"
        time.sleep(0.5)

# SPDX-License-Identifier: GPL-3.0-or-later
"""``docs/coming-from.md``, what it says of waiting and of routes: our blocks run twice, and the second run changes nothing."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml
from addon_lab import SYNCED, named

pytestmark = pytest.mark.usefixtures("gateway_api", "addons")

PAGE = (pathlib.Path(__file__).parents[3] / "docs/coming-from.md").read_text(encoding="utf-8")
OURS = re.findall(r"^```yaml\n(# ours, waiting\n.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
KUBECONFIG = {"kubeconfig": "{{ lab_secrets_dir }}/kubeconfig"}


def test_the_blocks_run_and_then_change_nothing(play: t.Callable[..., tuple[str, list[t.Any]]], lab: t.Any) -> None:
    media, workload = {"namespace": "media"}, {"replicas": 0, "selector": {"matchLabels": {"app": "jellyfin"}}}
    pod = {"metadata": {"labels": {"app": "jellyfin"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    listeners = [{"name": "http", "protocol": "HTTP", "port": 80}]
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none",
    }
    spaces = ("media", "argocd", "gateways")
    objects = [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in spaces),
        named("Deployment", "jellyfin", {**workload, "template": pod}, **media),
        named("PersistentVolumeClaim", "jellyfin", claim, labels={"app": "jellyfin"}, **media),
        named("Gateway", "main", {"gatewayClassName": "cilium", "listeners": listeners}, **media),
        named("HTTPRoute", "jellyfin", {"parentRefs": [{"name": "main"}]}, **media),
        named("Application", "jellyfin", {"source": {"repoURL": "x"}}, namespace="argocd"),
        named("Service", "photos", {"ports": [{"port": 80}]}, **media),
    ]
    made = lab.run(objects)
    assert "msg" not in made, made
    root = "namespaces/media/persistentvolumeclaims/jellyfin/status"
    lab.act("PATCH", f"/api/v1/{root}", {"status": {"phase": "Bound"}})
    applications = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
    for name in {"jellyfin", *(one["metadata"]["name"] for one in lab.act("GET", applications, None)["items"])}:
        lab.act("PATCH", f"{applications}/{name}/status", {"status": SYNCED})
    tasks = [task for block in OURS for task in yaml.safe_load(block)]
    assert len(OURS) == 2 and len(tasks) == 3
    for task in tasks:
        next(options for name, options in task.items() if name.startswith("groundwork.")).update(KUBECONFIG)
    text, first = play(tasks, here=True)
    assert not any(one.get("failed") for one in first), text
    assert first[0]["changed"] is False
    text, again = play(tasks, here=True)
    assert [one["changed"] for one in again] == [False] * 3, text

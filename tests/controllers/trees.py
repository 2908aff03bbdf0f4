# SPDX-License-Identifier: GPL-3.0-or-later
"""What GitOps engines are given in these tests: trees of manifests and charts below ``lab.site``."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

Object = dict[str, t.Any]
IMAGE = "registry.lab.test/app:1"


def write(folder: pathlib.Path, files: t.Mapping[str, t.Any]) -> None:
    """Text as it is, anything else as YAML; a list as several documents."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = yaml.safe_dump_all(content)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def workload(name: str, replicas: int = 1, **metadata: t.Any) -> Object:
    labels = {"app": name}
    pod = {"containers": [{"name": "app", "image": IMAGE}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def settings(name: str, data: t.Mapping[str, str], **metadata: t.Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": dict(data)}


def job(name: str, **metadata: t.Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "job", "image": IMAGE}]}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, **metadata}, "spec": spec}


def chart(name: str, *, version: str = "1.0.0", broken: bool = False) -> dict[str, t.Any]:
    """A chart with one Deployment and one ConfigMap that says what the values are."""
    template = yaml.safe_dump(workload("{{ .Release.Name }}")).replace(
        "replicas: 1", "replicas: {{ .Values.replicas }}"
    )
    said = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-said'}\ndata: {word: '{{ .Values.word }}'}\n"
    return {
        f"{name}/Chart.yaml": {"apiVersion": "v2", "name": name, "version": version},
        f"{name}/values.yaml": {"replicas": 1, "word": "default"},
        f"{name}/templates/deployment.yaml": template,
        f"{name}/templates/said.yaml": said + ('{{ required "no such value" .Values.absent }}\n' if broken else ""),
    }

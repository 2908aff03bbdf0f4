# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects for tests of the module ``manifests``, and what holds for each of its runs."""

from __future__ import annotations

import copy
import typing as t

Object = dict[str, t.Any]


def config(name: str, /, annotations: Object | None = None, **data: str) -> Object:
    meta = {"name": name, **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def web(**spec: t.Any) -> Object:
    container = {"name": "web", "image": "nginx:1"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    whole = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": whole}


def definition(group: str, *names: str, release: str = "", stored: str = "") -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": n, "served": True, "storage": n == (stored or names[-1]), "schema": schema} for n in names]
    meta: Object = {"name": f"things.{group}"}
    if release:
        meta["annotations"] = {"gateway.networking.k8s.io/bundle-version": release}
    kinds = {"kind": "Thing", "plural": "things"}
    spec = {"group": group, "scope": "Namespaced", "names": kinds, "versions": versions}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def both(lab: t.Any, objects: list[Object], **params: t.Any) -> Object:
    """Check mode, then the run: the same changes. Nothing fails."""
    predicted = lab.run(copy.deepcopy(objects), check=True, **params)
    assert "msg" not in predicted, predicted["msg"]
    done = lab.run(copy.deepcopy(objects), **params)
    assert "msg" not in done, done["msg"]
    assert predicted["changes"] == done["changes"]
    return done


def told(done: Object) -> list[tuple[str, str]]:
    return [
        (change["action"], change["resource"].split("/")[0] + "/" + change["resource"].split("/")[-1])
        for change in done["changes"]
    ]


def nothing(lab: t.Any, objects: list[Object], **params: t.Any) -> list[tuple[str, str]]:
    """A second run changes and writes nothing; what it asked."""
    before = lab.server.mark()
    again = lab.run(copy.deepcopy(objects), **params)
    assert again.get("changes") == [], again
    assert lab.writes(before) == []
    return lab.server.requests(before)

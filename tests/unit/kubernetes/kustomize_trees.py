# SPDX-License-Identifier: GPL-3.0-or-later
"""Kustomizations of all that is supported (``kustomize_trees.txt``), and what the real kustomize makes of them
(``kustomize_expected.json``, judged anew by ``tests/conformance/kubernetes``)."""

from __future__ import annotations

import json
import pathlib
import typing as t

HERE = pathlib.Path(__file__).parent
Object = dict[str, t.Any]
#: What one difference is that is meant: to custom kinds that live in no namespace the real one gives one nevertheless.
CLUSTER_WIDE = frozenset({"ClusterIssuer", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"})


def written(folder: pathlib.Path) -> pathlib.Path:
    """All of them, below a folder."""
    for part in HERE.joinpath("kustomize_trees.txt").read_text(encoding="utf-8").split("=== ")[1:]:
        name, _, text = part.partition("\n")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def expected() -> dict[str, list[Object]]:
    """The objects by the folder that is built."""
    found: dict[str, list[Object]] = json.loads(HERE.joinpath("kustomize_expected.json").read_text(encoding="utf-8"))
    return found


def key(one: Object) -> tuple[str, ...]:
    return (one["apiVersion"], one["kind"], str(one["metadata"].get("namespace") or ""), str(one["metadata"]["name"]))


def comparable(objects: t.Iterable[Object]) -> dict[tuple[str, ...], Object]:
    """By name, without the difference that is meant, and without annotations and labels that hold nothing."""
    found = {}
    for one in objects:
        meta = {
            name: value for name, value in one["metadata"].items() if value or name not in ("labels", "annotations")
        }
        if one["kind"] in CLUSTER_WIDE:
            meta.pop("namespace", None)
        whole = {**one, "metadata": meta}
        found[key(whole)] = whole
    return found

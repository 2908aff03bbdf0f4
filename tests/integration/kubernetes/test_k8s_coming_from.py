# SPDX-License-Identifier: GPL-3.0-or-later
"""``docs/coming-from.md``, what it says of kubernetes.core and kubectl: our blocks run in their order, and once more without a
change; the options of the peer exist."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import re
import typing as t

import pytest
import yaml

PAGE = (pathlib.Path(__file__).parents[3] / "docs/coming-from.md").read_text(encoding="utf-8")
OURS = re.findall(r"^```yaml\n(# ours, kubernetes\n.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
THEIRS = re.findall(r"^```yml\n(- kubernetes.core.k8s:.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
FILES = {
    "manifests/jellyfin.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: jellyfin}\ndata: {a: b}\n",
    "manifests/media/kustomization.yaml": "resources: [media.yaml]\nlabels: [{pairs: {app: media}}]\n",
    "manifests/media/media.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: media}\n",
}


def test_the_blocks_run_in_their_order_and_then_change_nothing(
    lab: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    tasks = [task["groundwork.homelab.manifests"] for block in OURS for task in yaml.safe_load(block)]
    assert len(tasks) == 3
    changed = []
    for options in tasks:
        done = lab.run([], **options)
        assert "msg" not in done, done["msg"]
        changed.append(done["changed"])
        assert lab.run([], **options)["changed"] is False
    assert changed == [True, False, True]


def test_the_options_of_the_peer_exist() -> None:
    package = importlib.util.find_spec("ansible_collections.kubernetes.core")
    folder = next(iter(package.submodule_search_locations or ()), "") if package else ""
    source = pathlib.Path(folder, "plugins/modules/k8s.py")
    assert len(THEIRS) == 1
    if not source.exists():
        return
    names = {node.value for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant)}
    documented = str(names) + "".join(file.read_text() for file in source.parents[1].glob("doc_fragments/*.py"))
    for task in yaml.safe_load(THEIRS[0]):
        for option in task["kubernetes.core.k8s"]:
            assert option in documented, option

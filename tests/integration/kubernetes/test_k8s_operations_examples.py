# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented examples of ``node``, ``kubernetes_info`` and ``gitops_sync``, in the controller and as modules."""

from __future__ import annotations

import base64
import contextlib
import pathlib
import re
import typing as t

import pytest
import yaml
from k8s_played_gitops import Argo, Flux, application, flux
from k8s_played_nodes import JSON, Kubelets, Somebody, deployment

from ansible_collections.groundwork.homelab.plugins.modules import gitops_sync, kubernetes_info, node

Object = dict[str, t.Any]
Play = t.Callable[..., tuple[str, list[t.Any]]]

PAGE = (pathlib.Path(__file__).parents[3] / "docs/coming-from.md").read_text(encoding="utf-8")
OURS = re.findall(r"^```yaml\n(# ours, operations\n.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
PASSWORD = "hunter2-the-fourth"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()


def comparable(results: list[t.Any]) -> list[t.Any]:
    """Without what a server counts by itself."""
    kept = [{key: value for key, value in one.items() if key not in ("ansible_facts", "exception")} for one in results]
    return [{**one, "resources": _names(one), "queries": len(one.get("queries") or [])} for one in kept]


def _names(result: Object) -> list[str]:
    return [one["metadata"]["name"] for one in result.get("resources") or []]


def namespaces(server: t.Any, *names: str) -> None:
    somebody = Somebody(server.kubeconfig)
    for name in names:
        with contextlib.suppress(RuntimeError):
            somebody.act("POST", "/api/v1/namespaces", {"metadata": {"name": name}}, JSON)


def test_the_examples_of_node_run_and_both_ways_give_the_same(play: Play, lab: t.Any) -> None:
    tasks = yaml.safe_load(node.EXAMPLES)
    with Kubelets(lab, ["talos-cp01", "talos-w01", "talos-w02"]):
        lab.run([deployment("web")])
        text, predicted = play(tasks, "--check", "--diff", here=True)
        assert not any(one.get("failed") for one in predicted), text
        _text, other = play(tasks[:2], "--check", "--diff", here=False)
        assert [one["changes"] for one in other] == [one["changes"] for one in predicted[:2]]
        assert comparable(other)[1].keys() == comparable(predicted)[1].keys()
        text, made = play(tasks, here=True)
        assert not any(one.get("failed") for one in made), text
        assert made[0]["changes"] == predicted[0]["changes"]
        assert [one["changed"] for one in made] == [True] * 5


@pytest.mark.parametrize("here", [True, False])
def test_the_examples_of_kubernetes_info_run_and_print_no_secret(here: bool, play: Play, lab: t.Any) -> None:
    namespaces(lab.server, "media")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "jellyfin", "namespace": "media"},
        "stringData": {"password": PASSWORD},
    }
    assert "msg" not in lab.run([secret])
    tasks = yaml.safe_load(kubernetes_info.EXAMPLES)
    text, results = play(tasks, "-vvv", "--check", here=here)
    assert not any(one.get("failed") for one in results), text
    assert [one["changed"] for one in results] == [False] * 4
    assert results[2]["resources"][0]["data"]["password"] == ENCODED, "what is registered is whole"
    shown = text + str(results[0]) + str(results[1])
    assert ENCODED not in shown
    assert PASSWORD not in shown


def gitops(lab: t.Any) -> None:
    """What the examples sync."""
    namespaces(lab.server, "argocd", "flux-system", "media")
    chart = {"spec": {"chart": "app", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}}
    for namespace, one in (
        ("argocd", application("media")),
        ("flux-system", flux("GitRepository", "lab")),
        ("flux-system", flux("Kustomization", "apps")),
        ("media", flux("HelmRelease", "jellyfin", chart=chart)),
    ):
        one["metadata"]["namespace"] = namespace
        assert "msg" not in lab.run([one])


@contextlib.contextmanager
def controllers(lab: t.Any) -> t.Iterator[None]:
    with contextlib.ExitStack() as stack:
        for kind, namespace in ((Argo, "argocd"), (Flux, "flux-system"), (Flux, "media")):
            played = kind(lab)
            played.namespace = namespace
            stack.enter_context(played)
        yield


def test_the_examples_of_gitops_sync_run_and_both_ways_give_the_same(
    play: Play, second_lab: t.Any, published: None, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "kubeconfig").write_text(second_lab.server.kubeconfig.read_text())
    gitops(second_lab)
    tasks = yaml.safe_load(gitops_sync.EXAMPLES)
    with controllers(second_lab):
        text, made = play(tasks, here=True)
        assert not any(one.get("failed") for one in made), text
        assert [one["changed"] for one in made] == [True] * 5
        _text, predicted = play(tasks[:3], "--check", "--diff", here=True)
        _text, other = play(tasks[:3], "--check", "--diff", here=False)
        assert comparable(other) == comparable(predicted)


def test_the_blocks_for_those_who_come_from_elsewhere_run_and_then_change_nothing(
    play: Play, second_lab: t.Any, published: None, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "kubeconfig").write_text(second_lab.server.kubeconfig.read_text())
    gitops(second_lab)
    tasks = [task for block in OURS for task in yaml.safe_load(block)]
    assert (len(OURS), len(tasks)) == (3, 4)
    for task in tasks:
        next(options for name, options in task.items() if name != "name")["kubeconfig"] = str(tmp_path / "kubeconfig")
    with Kubelets(second_lab, ["talos-w01", "talos-w02"]), controllers(second_lab):
        text, first = play(tasks, here=True)
        assert not any(one.get("failed") for one in first), text
        assert [one["changed"] for one in first[:2]] == [True, True]
        text, again = play(tasks, here=True)
        assert [one["changed"] for one in again] == [False] * 4, text

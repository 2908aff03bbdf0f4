# SPDX-License-Identifier: GPL-3.0-or-later
"""``manifests`` as somebody who may do little: rights, and roles, that come with the very objects of the task."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from k8s_applied import Object, config

GROUP = "rbac.authorization.k8s.io"
EARLIER = {"annotations": {"argocd.argoproj.io/sync-wave": "-1"}}
#: What a user has who looks after roles, and gives them to others and to himself.
STEWARD = [
    {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "create", "patch"]},
]
CONFIGS = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch"]}]


def role(name: str, rules: list[Object], kind: str = "Role", **meta: t.Any) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name, **meta}, "rules": rules}


def binding(name: str, to: str, user: str = "reader", kind: str = "RoleBinding", **meta: t.Any) -> Object:
    reference = {"apiGroup": GROUP, "kind": "ClusterRole" if kind == "ClusterRoleBinding" else "Role", "name": to}
    subjects = [{"kind": "User", "name": user, "apiGroup": GROUP}]
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, **meta},
        "roleRef": reference,
        "subjects": subjects,
    }


@dataclasses.dataclass
class Steward:
    """The user ``reader``, who may make namespaces, roles and bindings, and nothing else."""

    lab: t.Any
    kubeconfig: str

    def run(self, objects: list[Object], **params: t.Any) -> Object:
        self.lab.warnings.clear()
        done: Object = self.lab.run(objects, kubeconfig=self.kubeconfig, **params)
        return done

    def objects(self) -> set[str]:
        resource = self.lab.client.resource("v1", "ConfigMap")
        found = {one["metadata"]["name"] for one in self.lab.client.list(resource, self.lab.namespace)}
        return found - {"kube-root-ca.crt"}


@pytest.fixture
def steward(lab: t.Any, tmp_path: pathlib.Path) -> t.Iterator[Steward]:
    name = f"steward-{lab.namespace}"
    given = [role(name, STEWARD, "ClusterRole"), binding(name, name, kind="ClusterRoleBinding")]
    assert "msg" not in lab.run(given)
    yield Steward(lab, str(lab.server.write_kubeconfig(tmp_path / "steward", "reader")))
    lab.run(given, state="absent")


def test_a_right_of_an_earlier_wave_is_said_and_used(steward: Steward) -> None:
    given = [
        role("mine", CONFIGS, **EARLIER),
        binding("mine", "mine", **EARLIER),
        config("a", a="1"),
        config("b", b="1"),
    ]
    for check in (True, False):
        done = steward.run(given, check=check)
        assert "msg" not in done, done["msg"]
        space = steward.lab.namespace
        assert [change["resource"] for change in done["changes"]] == [
            f"Role/{space}/mine",
            f"RoleBinding/{space}/mine",
            f"ConfigMap/{space}/a",
            f"ConfigMap/{space}/b",
        ]
        assert all(f"RoleBinding/{space}/mine" in change["note"] for change in done["changes"][2:])
        assert len(steward.lab.warnings) == 1
        assert f"RoleBinding/{space}/mine" in steward.lab.warnings[0]
        assert steward.objects() == (set() if check else {"a", "b"})
    again = steward.run(given)
    assert again["changes"] == []
    assert steward.lab.warnings == []


def test_a_right_of_an_earlier_wave_in_a_namespace_of_the_same_task(steward: Steward) -> None:
    space = f"{steward.lab.namespace}-new"
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, **EARLIER}}
    given = [home, role("mine", CONFIGS, **EARLIER), binding("mine", "mine", **EARLIER), config("a", a="1")]
    done = steward.run(given, namespace=space)
    assert "msg" not in done, done["msg"]
    assert len(done["changes"]) == 4
    assert f"RoleBinding/{space}/mine" in steward.lab.warnings[0]
    assert steward.run(given, namespace=space)["changes"] == []


BARREN: dict[str, list[Object]] = {
    "for somebody else": [role("mine", CONFIGS, **EARLIER), binding("mine", "mine", "writer", **EARLIER)],
    "to read": [
        role("mine", [{**CONFIGS[0], "verbs": ["get", "list"]}], **EARLIER),
        binding("mine", "mine", **EARLIER),
    ],
    "of another kind": [
        role("mine", [{**CONFIGS[0], "resources": ["secrets"]}], **EARLIER),
        binding("mine", "mine", **EARLIER),
    ],
}


@pytest.mark.parametrize("case", BARREN)
def test_a_right_that_does_not_suffice_is_missing_before_anything_is_written(case: str, steward: Steward) -> None:
    failed = steward.run([*BARREN[case], config("a", a="1")])
    assert failed["error"]["kind"] == "AccessDenied"
    assert not failed["changes"]
    assert steward.lab.live(f"{GROUP}/v1", "RoleBinding", "mine") is None


def test_a_right_that_comes_too_late_is_missing_and_said_to_need_an_earlier_wave(steward: Steward) -> None:
    failed = steward.run([role("mine", CONFIGS), binding("mine", "mine"), config("a", a="1")])
    assert failed["error"]["kind"] == "AccessDenied"
    assert f"RoleBinding/{steward.lab.namespace}/mine" in failed["error"]["hint"]
    assert "wave" in failed["error"]["hint"]
    assert steward.lab.live(f"{GROUP}/v1", "RoleBinding", "mine") is None


def test_somebody_with_a_role_binds_a_role_of_the_same_task_to_others(lab: t.Any, tmp_path: pathlib.Path) -> None:
    """Without the right to bind anything, the server judges a binding by its role, which a dry run cannot make."""
    rules = [
        {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["get", "list", "create", "patch"]},
        *CONFIGS,
    ]
    assert "msg" not in lab.run([role("keeper", rules), binding("keeper", "keeper")])
    reader = str(lab.server.write_kubeconfig(tmp_path / "reader", "reader"))
    given = [role("look", [{**CONFIGS[0], "verbs": ["get"]}]), binding("look", "look", "somebody")]
    for check in (True, False):
        done = lab.run(given, kubeconfig=reader, check=check)
        assert "msg" not in done, done["msg"]
        assert len(done["changes"]) == 2
    assert lab.run(given, kubeconfig=reader)["changes"] == []

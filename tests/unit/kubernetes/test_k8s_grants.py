# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bindings of a set give which rights to whoever applies it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.grants import Grants
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.items import Item
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.rights import Right

Object = dict[str, t.Any]
GROUP = "rbac.authorization.k8s.io"
RULE: Object = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}
PATCH = Right("patch", "deployments", "apps", "media")


class Server:
    """Knows who asks, and the roles that are there; an error stands for one that may not be read."""

    def __init__(self, name: str = "ci", groups: t.Sequence[str] = (), **roles: Object | Exception) -> None:
        self.name, self.groups, self.roles = name, groups, roles

    def create(self, _path: str, _body: Object, _asked: str) -> Object:
        if not self.name:
            raise errors.NotFound("ask who we are")
        return {"status": {"userInfo": {"username": self.name, "groups": list(self.groups)}}}

    def get(self, _resource: t.Any, _namespace: str, name: str) -> Object | None:
        found = self.roles.get(name)
        if isinstance(found, Exception):
            raise found
        return found


def role(*rules: Object, kind: str = "Role") -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": meta(kind), "rules": list(rules)}


def meta(kind: str) -> Object:
    return {"name": "one", **({} if kind.startswith("Cluster") else {"namespace": "media"})}


def binding(subject: Object, to: str = "Role", kind: str = "RoleBinding") -> Object:
    reference = {"apiGroup": GROUP, "kind": to, "name": "one"}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": meta(kind),
        "roleRef": reference,
        "subjects": [subject],
    }


ME = {"kind": "User", "name": "ci"}
CLUSTER = binding(ME, "ClusterRole", "ClusterRoleBinding")
GIVEN: dict[str, tuple[list[Object], Server]] = {
    "a user": ([role(RULE), binding(ME)], Server()),
    "a group": ([role(RULE), binding({"kind": "Group", "name": "crew"})], Server(groups=["crew"])),
    "a service account": (
        [role(RULE), binding({"kind": "ServiceAccount", "name": "ci", "namespace": "tools"})],
        Server("system:serviceaccount:tools:ci"),
    ),
    "all verbs": ([role({**RULE, "verbs": ["*"]}), binding(ME)], Server()),
    "all of everything": ([role({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}), binding(ME)], Server()),
    "the second rule": ([role({**RULE, "verbs": ["list"]}, RULE), binding(ME)], Server()),
    "a cluster role of the set": ([role(RULE, kind="ClusterRole"), binding(ME, "ClusterRole")], Server()),
    "a cluster role that is there": ([binding(ME, "ClusterRole")], Server(one={"rules": [RULE]})),
    "a cluster role that may not be read": ([binding(ME, "ClusterRole")], Server(one=errors.AccessDenied("read"))),
    "everywhere": ([role(RULE, kind="ClusterRole"), CLUSTER], Server()),
}
NOT_GIVEN: dict[str, tuple[list[Object], Server]] = {
    "no binding": ([role(RULE)], Server()),
    "another user": ([role(RULE), binding({"kind": "User", "name": "other"})], Server()),
    "a user of a group's name": ([role(RULE), binding({"kind": "User", "name": "crew"})], Server(groups=["crew"])),
    "another account": (
        [role(RULE), binding({"kind": "ServiceAccount", "name": "ci", "namespace": "media"})],
        Server("system:serviceaccount:tools:ci"),
    ),
    "nobody knows who asks": ([role(RULE), binding({"kind": "User", "name": ""})], Server("")),
    "another verb": ([role({**RULE, "verbs": ["get"]}), binding(ME)], Server()),
    "another group": ([role({**RULE, "apiGroups": [""]}), binding(ME)], Server()),
    "a subresource": ([role({**RULE, "resources": ["deployments/scale"]}), binding(ME)], Server()),
    "some names only": ([role({**RULE, "resourceNames": ["web"]}), binding(ME)], Server()),
    "no role": ([binding(ME)], Server()),
    "no role reference": ([{**binding(ME), "roleRef": None}], Server()),
    "no rules": ([{**role(), "rules": None}, binding(ME)], Server()),
    "no subjects": ([role(RULE), {**binding(ME), "subjects": "ci"}], Server()),
    "a kind of somebody else": ([role(RULE), {**binding(ME), "apiVersion": "example.com/v1"}], Server()),
}


def found(objects: list[Object], server: Server, *rights: Right) -> Item | None:
    return Grants(t.cast("t.Any", server), [Item(one) for one in objects]).of(rights)


@pytest.mark.parametrize("case", GIVEN)
def test_a_binding_to_us_gives_what_its_role_allows(case: str) -> None:
    objects, server = GIVEN[case]
    assert found(objects, server, PATCH) is not None
    assert found(objects, server, PATCH, Right("get", "deployments", "apps", "media")) is not None


@pytest.mark.parametrize("case", NOT_GIVEN)
def test_other_bindings_give_nothing(case: str) -> None:
    assert found(*NOT_GIVEN[case], PATCH) is None


def test_a_binding_of_one_namespace_gives_nothing_in_another_or_in_all() -> None:
    objects, server = GIVEN["a user"]
    assert found(objects, server, Right("patch", "deployments", "apps", "other")) is None
    assert found(objects, server, Right("patch", "deployments", "apps")) is None
    objects, server = GIVEN["everywhere"]
    assert found(objects, server, Right("patch", "deployments", "apps")) is not None

# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of ``manifests``: what it keeps, what it leaves to others, who writes it, and with which rights."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from k8s_applied import Object, both, config, definition, nothing, told
from k8s_played_nodes import JSON, Somebody

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Conflict
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.inventory import Entry, Inventory

RBAC = "rbac.authorization.k8s.io"
MANAGER = "groundwork.homelab"


def recorded(lab: t.Any, name: str = "media") -> list[str]:
    """The names in the record, nothing if there is no record."""
    record = lab.live("v1", "ConfigMap", f"homelab-inventory-{name}")
    return [] if record is None else sorted(line.split()[-1] for line in record["data"]["objects"].splitlines())


def claim() -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


def account(lab: t.Any, folder: pathlib.Path, rules: list[Object], everywhere: list[Object]) -> str:
    """A kubeconfig of somebody with these rights in the test's namespace, and these in all."""
    name = lab.namespace
    subject = {"kind": "ServiceAccount", "name": "limited", "namespace": name}
    objects: list[Object] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "limited"}}]
    for kind, called, some in (("Role", "limited", rules), ("ClusterRole", f"limited-{name}", everywhere)):
        reference = {"apiGroup": RBAC, "kind": kind, "name": called}
        bound = {"kind": f"{kind}Binding", "metadata": {"name": called}, "roleRef": reference, "subjects": [subject]}
        objects.append({"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": {"name": called}, "rules": some})
        objects.append({"apiVersion": f"{RBAC}/v1", **bound})
    assert "msg" not in lab.run(objects)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/{name}/serviceaccounts/limited/token"
    token = lab.act("POST", path, request, JSON)["status"]["token"]
    return str(lab.server.write_kubeconfig(folder / "limited", token))


def rule(resources: str, *verbs: str, group: str = "") -> Object:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": list(verbs)}


# -- what stays in the record ----------------------------------------------------------------------------------------


def test_absent_forgets_what_it_deletes_and_nothing_else(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media"}
    both(lab, [config("one"), config("two"), config("three")], **place)
    done = both(lab, [config("one")], state="absent", **place)
    assert told(done) == [("delete", "ConfigMap/one"), ("update", "Inventory/media")]
    assert recorded(lab) == ["three", "two"]
    done = both(lab, [config("two")], prune=True, **place)
    assert ("delete", "ConfigMap/three") in told(done)


def test_absent_with_prune_keeps_the_record_of_what_it_keeps(lab: t.Any) -> None:
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    both(lab, [config("one"), claim()], **place)
    done = both(lab, [], state="absent", **place)
    assert told(done) == [("delete", "ConfigMap/one"), ("update", "Inventory/media")]
    assert recorded(lab) == ["data"]
    done = both(lab, [], state="absent", prune_also=["PersistentVolumeClaim"], **place)
    assert told(done) == [("delete", "PersistentVolumeClaim/data"), ("delete", "Inventory/media")]


def test_a_namespace_of_which_nothing_is_set_stays_in_the_record_too(lab: t.Any) -> None:
    name = f"{lab.namespace}-bare"
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    both(lab, [config("one"), space(name)], **place)
    done = both(lab, [config("one")], **place)
    assert told(done) == []
    assert list(done["kept"]) == [f"Namespace/{name}"]
    assert (recorded(lab), lab.warnings) == (["one", name], [])


# -- what belongs to others ------------------------------------------------------------------------------------------


def lists(lab: t.Any, since: int) -> list[str]:
    """The lists of records that were asked for."""
    return [uri for verb, uri in lab.server.requests(since) if verb == "list" and "managed-by" in uri]


def test_what_moved_to_another_inventory_is_not_pruned_by_the_old_one(lab: t.Any) -> None:
    old, new = ({"inventory": f"{lab.namespace}/{name}", "prune": True} for name in ("old", "new"))
    both(lab, [config("stays"), config("moves"), config("goes")], **old)
    before = lab.server.mark()
    both(lab, [config("moves"), config("own")], **new)
    assert lists(lab, before) == [], "nothing was to be pruned"
    before = lab.server.mark()
    done = both(lab, [config("stays")], **old)
    assert told(done) == [("update", "Inventory/old"), ("delete", "ConfigMap/goes")]
    assert len(lists(lab, before)) == 2, "one in check mode, one in the run"
    why = f"it belongs to Inventory/{lab.namespace}/new"
    assert done["kept"] == {f"ConfigMap/{lab.namespace}/moves": why}
    assert f"ConfigMap/{lab.namespace}/moves is no longer defined, but is left: {why}." in lab.warnings
    assert (recorded(lab, "old"), recorded(lab, "new")) == (["stays"], ["moves", "own"])
    nothing(lab, [config("stays")], **old)
    both(lab, [], state="absent", **old)
    assert lab.live("v1", "ConfigMap", "moves") is not None


def test_who_may_not_look_at_all_inventories_looks_at_those_beside(lab: t.Any, tmp_path: pathlib.Path) -> None:
    rules = [rule("configmaps", "get", "list", "create", "patch", "delete")]
    limited = account(lab, tmp_path, rules, [])
    old, new = ({"inventory": f"{lab.namespace}/{n}", "prune": True, "kubeconfig": limited} for n in ("old", "new"))
    both(lab, [config("stays"), config("moves")], **old)
    both(lab, [config("moves")], **new)
    assert told(both(lab, [config("stays")], **old)) == [("update", "Inventory/old")]
    assert lab.live("v1", "ConfigMap", "moves") is not None


def patched(**meta: t.Any) -> t.Callable[[t.Any, str], object]:
    """Somebody claims the object by what it carries."""
    return lambda lab, path: Somebody(lab.server.kubeconfig).act("PATCH", path, {"metadata": meta})


def applied_too(lab: t.Any, path: str) -> object:
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"more": "1"}}
    there = f"{path}?fieldManager=their-tool"
    return Somebody(lab.server.kubeconfig).act("PATCH", there, wanted, "application/apply-patch+yaml")


FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
CLAIMS: dict[str, tuple[t.Callable[[t.Any, str], object], str]] = {
    "Argo CD": (
        patched(annotations={"argocd.argoproj.io/tracking-id": "media:/ConfigMap:x/theirs"}),
        "it belongs to Argo CD (media:/ConfigMap:x/theirs)",
    ),
    "Flux": (patched(labels=FLUX), "it belongs to Flux's Kustomization flux-system/apps"),
    "Flux and Helm": (
        patched(labels={"helm.toolkit.fluxcd.io/name": "apps"}),
        "it belongs to Flux's HelmRelease apps",
    ),
    "Helm": (
        patched(annotations={"meta.helm.sh/release-name": "apps", "meta.helm.sh/release-namespace": "x"}),
        "it belongs to the Helm release x/apps",
    ),
    "another manager": (applied_too, "it belongs to the field manager their-tool, which applied it, too"),
}


@pytest.mark.parametrize("who", CLAIMS)
def test_what_others_have_taken_over_is_not_pruned(who: str, lab: t.Any) -> None:
    act, why = CLAIMS[who]
    place = {"inventory": f"{lab.namespace}/media", "prune": True}
    both(lab, [config("one"), config("theirs", a="1")], **place)
    act(lab, f"/api/v1/namespaces/{lab.namespace}/configmaps/theirs")
    done = both(lab, [config("one")], **place)
    assert told(done) == [("update", "Inventory/media")]
    assert done["kept"] == {f"ConfigMap/{lab.namespace}/theirs": why}
    assert why in str(lab.warnings)
    assert (recorded(lab), lab.live("v1", "ConfigMap", "theirs") is None) == (["one"], False)


# -- who writes it ---------------------------------------------------------------------------------------------------


def record_of(lab: t.Any) -> Inventory:
    one = Inventory(lab.client, f"{lab.namespace}/media", MANAGER)
    one.read()
    return one


def entry(lab: t.Any, name: str) -> Entry:
    return Entry("v1", "ConfigMap", lab.namespace, name)


def test_of_two_who_write_a_record_at_the_same_time_the_second_is_told(lab: t.Any) -> None:
    record_of(lab).write([entry(lab, "one")])
    first, second = record_of(lab), record_of(lab)
    first.write([entry(lab, "one"), entry(lab, "two")])
    for entries in ([entry(lab, "one"), entry(lab, "three")], []):
        with pytest.raises(Conflict, match="Somebody else changed it"):
            second.write(entries)
        assert recorded(lab) == ["one", "two"]
    first.write([])
    assert recorded(lab) == []


def test_of_two_who_make_a_record_at_the_same_time_the_second_is_told(lab: t.Any) -> None:
    first, second, third = (record_of(lab) for _ in range(3))
    first.write([entry(lab, "one")])
    with pytest.raises(Conflict, match="already exists"):
        second.write([entry(lab, "two")])
    assert recorded(lab) == ["one"]
    third.write([entry(lab, "one")])
    assert third.version == first.version
    third.write([entry(lab, "one"), entry(lab, "three")])
    assert recorded(lab) == ["one", "three"]


def test_who_wanted_the_same_as_the_other_has_got_it(lab: t.Any) -> None:
    record_of(lab).write([entry(lab, "one")])
    first, second = record_of(lab), record_of(lab)
    for one in (first, second):
        one.write([entry(lab, "two")])
    assert second.version == first.version
    first.write([])
    second.write([])
    assert recorded(lab) == []


# -- rights ----------------------------------------------------------------------------------------------------------


def test_a_right_to_write_the_record_that_is_missing_is_said_before_anything_is_written(
    lab: t.Any, tmp_path: pathlib.Path
) -> None:
    rules = [rule("configmaps", "get", "list"), rule("secrets", "get", "list", "create", "patch", "delete")]
    place = {"inventory": f"{lab.namespace}/media", "kubeconfig": account(lab, tmp_path, rules, [])}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}
    for check in (True, False):
        failed = lab.run([secret], check=check, **place)
        assert 'cannot patch resource "configmaps"' in failed["msg"]
        assert failed["changes"] == []
    assert "msg" not in lab.run([secret], inventory=f"{lab.namespace}/media")
    for check in (True, False):
        failed = lab.run([secret], check=check, state="absent", **place)
        assert 'cannot delete resource "configmaps"' in failed["msg"]
        assert failed["changes"] == []
    assert lab.live("v1", "Secret", "one") is not None


def test_a_namespace_of_the_record_that_is_missing_is_said_by_the_plan(lab: t.Any) -> None:
    failed = lab.run([config("one")], inventory="nowhere-there/x")
    assert 'namespaces "nowhere-there" not found. Choose a namespace' in failed["msg"]
    assert lab.live("v1", "ConfigMap", "one") is None
    predicted = lab.run([config("one")], check=True, inventory="nowhere-there/x")
    assert told(predicted) == [("create", "Inventory/x"), ("create", "ConfigMap/one")]
    assert "The namespace nowhere-there does not exist yet; taken as made by an earlier task." in lab.warnings


def space(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def inside(name: str, wanted: Object) -> Object:
    return {**wanted, "metadata": {**wanted["metadata"], "namespace": name}}


def test_a_record_may_live_in_a_namespace_that_the_same_task_makes(lab: t.Any) -> None:
    name = f"{lab.namespace}-new"
    objects = [inside(name, config("one")), space(name)]
    place = {"inventory": f"{name}/media", "prune": True}
    done = both(lab, objects, **place)
    assert told(done) == [("create", f"Namespace/{name}"), ("create", "Inventory/media"), ("create", "ConfigMap/one")]
    nothing(lab, objects, **place)
    assert told(both(lab, [space(name)], **place))[-1] == ("delete", "ConfigMap/one")
    predicted = lab.run(objects, check=True, planned=True, **place)
    assert predicted["changes"] == done["changes"]


def test_the_namespace_of_the_record_is_pruned_with_the_record_only(lab: t.Any) -> None:
    name = f"{lab.namespace}-new"
    place = {"inventory": f"{name}/media", "prune": True, "prune_also": ["Namespace"]}
    labelled = {**space(name), "metadata": {"name": name, "labels": {"a": "b"}}}
    both(lab, [labelled, inside(name, claim()), config("one")], **place)
    done = both(lab, [config("one")], **place)
    assert told(done) == []
    assert done["kept"][f"Namespace/{name}"] == "the inventory itself is kept in it"
    done = both(lab, [], state="absent", **place)
    names = ["ConfigMap/one", f"Namespace/{name}", "Inventory/media"]
    assert told(done) == [("delete", name) for name in names]


def test_rights_in_a_namespace_that_the_same_task_makes_are_asked_for(lab: t.Any, tmp_path: pathlib.Path) -> None:
    name = f"{lab.namespace}-new"
    looks = [rule("configmaps secrets namespaces things", "get", "list"), rule("configmaps", "create", "patch")]
    looks += [rule("namespaces", "create", "patch"), rule("things", "get", "list", group="*")]
    looks += [rule("customresourcedefinitions", "*", group="apiextensions.k8s.io"), rule("secrets", "patch")]
    limited = account(lab, tmp_path, [], looks)
    thing = {"apiVersion": f"{name}.example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}
    objects = [space(name), inside(name, config("one")), inside(name, secret), inside(name, thing)]
    objects.append(definition(f"{name}.example.com", "v1"))
    for check in (True, False):
        failed = lab.run(objects, check=check, kubeconfig=limited)
        assert failed["error"]["kind"] == "AccessDenied", failed
        assert failed["error"]["missing"] == [
            f"create secrets in namespace {name}",
            f"create things of {name}.example.com in namespace {name}",
            f"patch things of {name}.example.com in namespace {name}",
        ]
        assert failed["changes"] == []
    assert lab.run([space(name)], check=True)["changes"], "the namespace was not made"
    assert "msg" not in lab.run(objects[:2], kubeconfig=limited)
    before = lab.server.mark()
    both(lab, objects[2:])
    asked = [uri for verb, uri in lab.server.requests(before) if "selfsubjectaccessreviews" in uri]
    assert len(asked) <= 2, "one question for who may do everything"

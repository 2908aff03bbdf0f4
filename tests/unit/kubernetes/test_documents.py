# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions and files: what is wrong with them is said before anything is asked of a cluster."""

from __future__ import annotations

import datetime
import pathlib
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import collecting, documents

CONFIG: dict[str, t.Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}


def config(**changes: t.Any) -> dict[str, t.Any]:
    return {**CONFIG, **changes}


#: Written without quotes -> what kubectl makes of it. YAML's first version has more that is no text.
AS_KUBECTL_READS: dict[str, t.Any] = {
    "22:22": "22:22", "190:20:30": "190:20:30", "12:30:45.5": "12:30:45.5", "-1:30": "-1:30", "1:30_5": "1:30_5",
    "2026-01-02": "2026-01-02", "2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z", "2026-02-31": "2026-02-31",
    "=": "=", "=~": "=~",
    "0644": 420, "0x1F": 31, "1_000": 1000, "-5": -5, "0": 0, "1.5": 1.5, "1.5e+3": 1500.0, ".5": 0.5, "on": True, "~": None,
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), AS_KUBECTL_READS.items())
def test_a_text_is_read_as_kubectl_reads_it(text: str, value: t.Any) -> None:
    (found,) = documents.loaded("a.yaml", f"a: {text}\nb: [{text}]\n{'' if text == '~' else text + ': c'}\n")
    assert (found["a"], found["b"], type(found["a"])) == (value, [value], type(value))
    assert found.get(value, "c") == "c"


ENDLESS: dict[str, t.Any] = {}
ENDLESS["a"] = ENDLESS
NAMED = "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

BAD: dict[str, tuple[t.Any, str]] = {
    "no kind": ({"apiVersion": "v1", "metadata": {"name": "a"}}, "definition 1 has no kind."),
    "misspelt apiVersion": (
        {"apiversion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        "definition 1 has no apiVersion. It has 'apiversion': write apiVersion.",
    ),
    "no metadata": ({"apiVersion": "v1", "kind": "ConfigMap"}, "definition 1 (ConfigMap) has no metadata."),
    "no name": (config(metadata={}), "definition 1 (ConfigMap) has no metadata.name."),
    "name is a number": (config(metadata={"name": 5}), "a metadata.name that is a number, not text"),
    "generateName": (
        config(metadata={"generateName": "a-"}),
        "would make a new object in each run. Give it a metadata.name.",
    ),
    "bad name": (config(metadata={"name": "My_Name"}), "the ConfigMap name 'My_Name' is not valid"),
    "bad namespace": (config(metadata={"name": "a", "namespace": "a.b"}), "the namespace 'a.b' is not valid"),
    "a number as label": (
        config(metadata={"name": "a", "labels": {"tier": 1}}),
        'metadata.labels.tier is a number, not text. Quote it: tier: "1".',
    ),
    "true as annotation": (
        config(metadata={"name": "a", "annotations": {"on": True}}),
        'metadata.annotations.on is true or false, not text. Quote it: on: "true".',
    ),
    "a list as labels": (config(metadata={"name": "a", "labels": ["x"]}), "metadata.labels is a list, not a mapping"),
    "a text that is no YAML": ("a: [1", "definition 1 is not valid YAML in line "),
    "a text that is no object": ("just words", "definition 1 is text, not a mapping"),
    "a number": (5, "definition 1 is a number, not a mapping"),
    "no number": (config(data={"x": float("nan")}), "holds a value that JSON does not have"),
    "a key that is a list": (config(data={("a",): "x"}), "holds a value that JSON does not have"),
    "itself": (config(data=ENDLESS), "is nested too deeply"),
    "a text of many brackets": ("data: " + "[" * 3000 + "]" * 3000 + NAMED, "definition 1 is nested too deeply"),
    "a list of something": ({"apiVersion": "v1", "kind": "List", "items": {"a": 1}}, "items is a mapping, not a list"),
    "a date": (config(data={"day": datetime.date(2026, 1, 1)}), "holds a value that JSON does not have"),
    "a Secret with a number": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"pin": 1234}},
        "stringData must map names to text. Quote the values.",
    ),
    "a Secret that is not base64": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"pw": "plain text!"}},
        "data.pw is not base64. Plain text belongs in stringData.",
    ),
    "a Secret in base64 with a blank, which the server does not read": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"pw": "aHVu dGVy"}},
        "data.pw is not base64. Plain text belongs in stringData.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_definition_is_named_with_what_is_wrong(case: str) -> None:
    given, message = BAD[case]
    with pytest.raises(InvalidInput) as caught:
        collecting.collect([given], [])
    assert message in caught.value.message
    assert "plain text!" not in caught.value.message


def test_the_same_object_twice_is_named_with_both_places(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "apps.yaml"
    file.write_text("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\n")
    with pytest.raises(InvalidInput, match=r"ConfigMap/n/a is given twice: definition 1 and .*apps.yaml"):
        collecting.collect([CONFIG], [str(file)])


def test_files_that_cannot_be_read_or_are_empty_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidInput, match="none.yaml cannot be read: No such file"):
        collecting.collect([], [str(tmp_path / "none.yaml")])
    (tmp_path / "empty.yaml").write_text("---\n# nothing\n")
    with pytest.raises(InvalidInput, match="empty.yaml holds no object"):
        collecting.collect([], [str(tmp_path / "empty.yaml")])
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not text in UTF-8"):
        collecting.collect([], [str(tmp_path / "binary.yaml")])


def test_a_problem_in_a_file_names_the_document_and_its_place(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "apps.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: ConfigMap\n")
    with pytest.raises(InvalidInput, match=r"apps.yaml, document 2 has no apiVersion"):
        collecting.collect([], [str(file)])
    file.write_text("a: b\n c: d\n")
    with pytest.raises(InvalidInput, match="not valid YAML in line 2, column 3"):
        collecting.collect([], [str(file)])


def test_lists_and_texts_with_several_documents_are_expanded() -> None:
    members = [config(metadata={"name": name}) for name in ("a", "b")]
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\n"
    found = collecting.collect([{"apiVersion": "v1", "kind": "List", "items": members}, text], [])
    assert [one["metadata"]["name"] for one in found] == ["a", "b", "c", "d"]


def test_a_list_of_one_kind_names_it_for_its_members() -> None:
    members = [{"metadata": {"name": "a"}}, config(metadata={"name": "b"})]
    given = {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": members}
    found = collecting.collect([given, {"apiVersion": "v1", "kind": "List", "items": None}], [])
    assert [(one["apiVersion"], one["kind"]) for one in found] == [("apps/v1", "Deployment"), ("v1", "ConfigMap")]


def test_names_that_are_numbers_are_text_as_for_kubectl() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {2: one, on: two}\n"
    assert collecting.collect([text], [])[0]["data"] == {"2": "one", "true": "two"}


def test_what_only_a_server_sets_and_nulls_are_left_out() -> None:
    exported = config(
        metadata={"name": "a", "uid": "1", "resourceVersion": "5", "managedFields": [], "creationTimestamp": None},
        status={"x": 1},
        data={"kept": "1", "gone": None},
    )
    assert collecting.collect([exported], []) == [{**CONFIG, "metadata": {"name": "a"}, "data": {"kept": "1"}}]


def test_nulls_of_custom_resources_mean_something_but_in_metadata() -> None:
    release = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "a", "creationTimestamp": None, "labels": {"kept": "1", "gone": None}},
        "spec": {"values": {"resources": {"limits": None}, "list": [{"a": None}]}},
        "status": None,
    }
    (found,) = collecting.collect([release], [])
    assert found["spec"] == {"values": {"resources": {"limits": None}, "list": [{"a": None}]}}
    assert found["metadata"] == {"name": "a", "labels": {"kept": "1"}}
    assert "status" not in found


def test_plain_text_of_a_secret_is_encoded_and_wins() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "data": {"a": "YQ==", "b": "Yg=="},
        "stringData": {"a": "new"},
    }
    (found,) = collecting.collect([secret], [])
    assert found["data"] == {"a": "bmV3", "b": "Yg=="}
    assert "stringData" not in found
    assert "stringData" in secret, "the caller's object stays as it is"


def test_what_a_secret_holds_is_known_in_both_forms_but_not_what_is_public_anyway() -> None:
    objects = collecting.collect(
        [
            config(data={"user": "grafana"}),
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "a"},
                "stringData": {"user": "grafana", "password": "hunter2"},
            },
        ],
        [],
    )
    texts = documents.secret_texts(objects)
    assert {"hunter2", "aHVudGVyMg=="} <= texts
    assert "grafana" not in texts


@pytest.mark.parametrize("name", ["system:node", "admin:x_Y"])
def test_names_of_roles_are_freer(name: str) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
    assert collecting.collect([role], [])[0]["metadata"]["name"] == name


def test_what_wrong_definitions_hold_is_known_too() -> None:
    secret = {"kind": "Secret", "stringData": {"a": "hunter2", "b": 12345}}
    given = [
        {"kind": "List", "items": [secret]},
        {"kind": "SecretList", "items": [{"stringData": {"a": "hunter5"}}, 7]},
        "kind: Secret\ndata: {c: aHVudGVyMw==}\n",
        "kind: [Secret hunter4",
        5,
        None,
    ]
    known = {"hunter2", "12345", "hunter5", "aHVudGVyMw==", "hunter3", "kind: [Secret hunter4"}
    assert documents.given_secrets(given) == known


def test_base64_may_be_in_several_lines() -> None:
    given = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"pw": "aHVu\ndGVy\r\n"}}
    assert collecting.collect([given], [])[0]["data"] == given["data"]

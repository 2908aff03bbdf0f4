# SPDX-License-Identifier: GPL-3.0-or-later
"""What people give as Secrets: what Kubernetes takes is sealed as it means it, and what it would refuse is refused first."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest
import yaml
from ansible.module_utils.common.parameters import remove_values
from secrets_room import contents, run
from test_secrets_sealed import EXPIRED, OTHER, PAIR, Place

from ansible_collections.groundwork.homelab.plugins.module_utils.sops import sops_yaml
from ansible_collections.groundwork.homelab.plugins.modules import sealed_secret

SECRET = "x" * 12


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


def definition(**more: t.Any) -> dict[str, t.Any]:
    whole = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "media"}, **more}
    return {"name": None, "namespace": None, "contents": None, "definition": whole}


def sealed(place: Place, entry: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    done = run(sealed_secret, **place.params({**place.secret(None), **entry}, **more))
    assert not done.get("failed"), done["msg"]
    again = run(sealed_secret, **place.params({**place.secret(None), **entry}, **more))
    assert not again["changed"]
    return t.cast("dict[str, t.Any]", yaml.safe_load(place.file.read_text()))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_base64_in_several_lines_nothing_and_bytes_that_are_no_text(place: Place) -> None:
    lines = base64.encodebytes(b"\xff\x00" * 60).decode()
    assert lines.count("\n") > 2
    sealed(place, definition(data={"a": lines, "b": None, "c": b64(b"")}, stringData={"d": None, "a.b": "x"}))
    assert place.opened() == {"a": b"\xff\x00" * 60, "b": b"", "c": b"", "d": b"", "a.b": b"x"}


@pytest.mark.parametrize(
    "text", ["22:22", "190:20:30", "2026-01-02", "=", "0644", "1_000", "0x1F", "+5", "0b11", "8080", "-1"]
)
def test_a_definition_as_text_is_sealed_as_it_is_written(place: Place, text: str) -> None:
    """A number is its text, not what YAML makes of it: 0644 is no 420, and 22:22 no 1342."""
    whole = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: media}}\nstringData:\n  a: {text}\n"
    sealed(place, {"name": None, "namespace": None, "contents": None, "definition": whole})
    assert place.opened() == {"a": text.encode()}


def test_of_data_and_string_data_and_contents_the_last_counts(place: Place) -> None:
    names = {"data": {"a": b64(b"1"), "b": b64(b"1"), "c": b64(b"1")}, "stringData": {"b": "2", "c": "2"}}
    sealed(place, definition(**names) | {"contents": {"c": "3"}})
    assert place.opened() == {"a": b"1", "b": b"2", "c": b"3"}


@pytest.mark.parametrize(
    "text", ["1e3", "0o17", "12e4567", "0x1F", "1_000", "017", ".5", "+1", "2024-01-01", "yes", "null", "1.0"]
)
def test_text_that_kubernetes_would_read_as_a_number_is_in_quotes(place: Place, text: str) -> None:
    """PyYAML writes 1e3 without quotes, for it is no number to it."""
    made = sealed(place, {"contents": {"a": SECRET}, "annotations": {"x": text}})
    assert made["spec"]["template"]["metadata"]["annotations"] == {"x": text}
    (read,), _nodes = sops_yaml.load(place.file.read_text(), "as Go reads it")
    assert read["spec"]["template"]["metadata"]["annotations"] == {"x": text}
    assert type(read["spec"]["template"]["metadata"]["annotations"]["x"]) is str


def test_a_secret_may_be_named_like_a_number(place: Place) -> None:
    sealed(place, {"contents": {"a": SECRET}, "name": "1e3"})
    assert sops_yaml.load(place.file.read_text(), "")[0][0]["metadata"]["name"] == "1e3"


def test_labels_and_annotations_are_text_as_yaml_has_it(place: Place) -> None:
    given = {"labels": {"on": True, "empty": None, "port": 5}, "annotations": {"example.org/off": False}}
    made = sealed(place, {"contents": {"a": SECRET}, **given})["spec"]["template"]["metadata"]
    assert made["labels"] == {"on": "true", "empty": "", "port": "5"}
    assert made["annotations"] == {"example.org/off": "false"}


def test_a_scope_that_yaml_has_as_true_counts(place: Place) -> None:
    """It was sealed as strict, in silence, and the annotation was dropped."""
    meta = {"name": "db", "namespace": "media", "annotations": {"sealedsecrets.bitnami.com/cluster-wide": True}}
    made = sealed(place, definition(metadata=meta, stringData={"a": SECRET}))
    assert made["metadata"]["annotations"] == {"sealedsecrets.bitnami.com/cluster-wide": "true"}
    assert made["spec"]["template"]["metadata"]["annotations"] == made["metadata"]["annotations"]
    assert place.opened() == {"a": SECRET.encode()}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("kubernetes.io/tls", {"tls.crt": "x", "tls.key": "y", "ca.crt": ""}),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": '{"auths": {}}'}),
        ("kubernetes.io/basic-auth", {"password": "x"}),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": "x"}),
        ("example.org/own", {"x": "y"}),
        ("Opaque", {"x": ""}),
    ],
)
def test_types_with_what_they_need(place: Place, kind: str, values: dict[str, str]) -> None:
    made = sealed(place, {"contents": values, "type": kind, "immutable": True})["spec"]["template"]
    assert (made["type"], made["immutable"]) == (kind, True)
    assert place.opened() == {name: text.encode() for name, text in values.items()}


WRONG: dict[str, tuple[dict[str, t.Any], str]] = {
    "tls without a key": ({"contents": {"tls.crt": SECRET}, "type": "kubernetes.io/tls"}, "has no tls.key, which a Secret of the type"),
    "tls without anything": ({"contents": {"a": SECRET}, "type": "kubernetes.io/tls"}, "has no tls.crt and no tls.key"),
    "docker that is no JSON": (
        {"contents": {".dockerconfigjson": SECRET}, "type": "kubernetes.io/dockerconfigjson"}, "is no object in JSON"),
    "docker that is a list": ({"contents": {".dockercfg": "[]"}, "type": "kubernetes.io/dockercfg"}, "is no object in JSON"),
    "basic auth": ({"contents": {"user": SECRET}, "type": "kubernetes.io/basic-auth"}, "has neither username nor password"),
    "ssh": ({"contents": {"id_ed25519": SECRET}, "type": "kubernetes.io/ssh-auth"}, "has no ssh-privatekey"),
    "a namespace with a dot": ({"contents": {"a": SECRET}, "namespace": "a.b"}, "'a.b' is no namespace"),
    "a long namespace": ({"contents": {"a": SECRET}, "namespace": "a" * 64}, "is no namespace"),
    "a dot": ({"contents": {".": SECRET}}, "'.' cannot name a value"),
    "two dots": ({"contents": {"..": SECRET}}, "'..' cannot name a value"),
    "two dots first": ({"contents": {"..a": SECRET}}, "'..a' cannot name a value"),
    "too large": ({"contents": {"a": SECRET * 50_000, "b": SECRET * 50_000}}, "has 1200000 bytes of values"),
    "a surrogate": ({"contents": {"a": "\ud800"}}, "the value of a is not text in Unicode"),
    "immutable as text": (definition(immutable="false", stringData={"a": SECRET}), "immutable is str, neither true nor false"),
    "data as a list": (definition(data=[SECRET], stringData={"a": SECRET}), "data is list, not a mapping"),
    "metadata as a list": (definition(metadata=[1], stringData={"a": SECRET}), "metadata is list, not a mapping"),
    "labels as a list": (
        definition(metadata={"name": "db", "namespace": "m", "labels": ["a"]}, stringData={"a": SECRET}), "labels is list, not a mapping"),
    "a type as a number": (definition(type=5, stringData={"a": SECRET}), "its type is int, not text"),
    "a label as a number": ({"contents": {"a": SECRET}, "labels": {"v": 1.10}}, "labels.v is float, not text. Write it in quotes."),
    "a label as a mapping": ({"contents": {"a": SECRET}, "labels": {"v": {}}}, "labels.v is dict, not text"),
    "a label's name": ({"contents": {"a": SECRET}, "labels": {"a b": "x"}}, "labels.a b has a name that Kubernetes does not take"),
    "a label's prefix": ({"contents": {"a": SECRET}, "labels": {"A_/b": "x"}}, "has a name that Kubernetes does not take"),
    "a label's value": ({"contents": {"a": SECRET}, "labels": {"a": "x y"}}, "has a value that no label has"),
    "a long label": ({"contents": {"a": SECRET}, "labels": {"a": "x" * 64}}, "has a value that no label has"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_the_cluster_would_refuse_is_refused_before_anything_is_written(place: Place, name: str) -> None:
    entry, message = WRONG[name]
    before = contents(place.folder)
    done = run(sealed_secret, **place.params({**place.secret(None), **entry}))
    assert done["failed"] and message in done["msg"], done["msg"]
    assert SECRET not in done["msg"] and contents(place.folder) == before


def test_of_several_certificates_the_first_counts(place: Place) -> None:
    sealed(place, {"contents": {"a": SECRET}}, certificate=PAIR.certificate_pem + OTHER.certificate_pem)
    assert place.opened(PAIR) == {"a": SECRET.encode()}
    certificates = EXPIRED.certificate_pem + PAIR.certificate_pem
    done = run(sealed_secret, **place.params(place.secret({"a": SECRET}), certificate=certificates))
    assert "expired on" in done["msg"]


def test_values_that_a_task_does_not_name_any_more_are_taken_out(place: Place) -> None:
    """One SealedSecret is what the task says: a value that somebody removed from it would stay in the cluster for good."""
    sealed(place, {"contents": {"a": SECRET, "b": SECRET}})
    done = run(sealed_secret, **place.params(place.secret({"a": SECRET})))
    assert done["changes"][0]["before"] == {"encryptedData.b": "(hidden)"}
    assert [*place.opened()] == ["a"]


def test_sealed_values_in_several_lines_open_as_they_do_in_the_controller(place: Place) -> None:
    made = sealed(place, {"contents": {"a": SECRET}})
    text = made["spec"]["encryptedData"]["a"]
    made["spec"]["encryptedData"]["a"] = "\n".join(text[at : at + 76] for at in range(0, len(text), 76)) + "\n"
    place.file.write_text(yaml.safe_dump(made))
    options = {"files": [str(place.file)], "private_keys": [str(place.keys)]}
    assert not run(sealed_secret, state="valid", **options).get("failed")
    options["certificate"] = PAIR.certificate_pem
    assert not run(sealed_secret, state="resealed", **options)["changed"]


@pytest.mark.parametrize("spec", [None, {}, {"data": "x"}, {"encryptedData": ["x"]}, {"encryptedData": {"a": 5}}, "x"])
def test_a_sealed_secret_without_sealed_values(place: Place, spec: t.Any) -> None:
    document = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "a", "namespace": "b"},
    }
    place.file.parent.mkdir()
    place.file.write_text(yaml.safe_dump({**document, **({"spec": spec} if spec is not None else {})}))
    options = {"files": [str(place.file)], "private_keys": [str(place.keys)]}
    for more in ({"state": "valid"}, {"state": "resealed", "certificate": PAIR.certificate_pem}):
        done = run(sealed_secret, **options, **more)
        assert done["failed"] and "SealedSecret/b/a in" in done["msg"], done


TEXT = """apiVersion: v1
kind: Secret
metadata: {name: db, namespace: media}
stringData:
  key: |
    first-line-of-a-key
    second-line-of-a-key
  other: "tab\\tof-a-key"
"""


@pytest.mark.parametrize("text", [TEXT, TEXT + "broken: [", TEXT.replace("kind: Secret", "kind: ConfigMap")])
def test_a_definition_as_text_is_hidden_as_a_whole(place: Place, text: str) -> None:
    """With -vvv a module shows its options: lines of a value stand there indented, so that nothing of it was masked."""
    entry = {"definition": text, "path": str(place.file)}
    done = run(sealed_secret, **place.params(entry))
    shown = str(remove_values({"secrets": [entry]}, done["secrets"]))
    assert "of-a-key" not in shown and "of-a-key" not in str(done["changes"]) + done.get("msg", "")

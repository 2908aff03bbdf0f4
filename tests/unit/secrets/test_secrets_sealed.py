# SPDX-License-Identifier: GPL-3.0-or-later
"""sealed_secret: what is sealed opens, what is unchanged stays, and what is wrong is said before anything is written."""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from secrets_room import contents, run

from ansible_collections.groundwork.homelab.plugins.module_utils.object_copies import COPIES
from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import key_pairs, sealing, yaml_text
from ansible_collections.groundwork.homelab.plugins.modules import sealed_secret

NOW = datetime.datetime.now(datetime.timezone.utc)
PAIR = key_pairs.generate("key-1", "kube-system", 2048, 365, NOW)
OTHER = key_pairs.generate("key-2", "kube-system", 2048, 365, NOW)
EXPIRED = key_pairs.generate("key-0", "kube-system", 2048, 5, NOW - datetime.timedelta(days=30))
SOON = key_pairs.generate("key-3", "kube-system", 2048, 5, NOW)


class Place:
    """A folder with keys, and parameters that seal there."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.file = folder / "out/sealed.yaml"
        self.keys = folder / "keys.yaml"
        self.keys.write_text(yaml_text.text_of([PAIR.manifest()]))
        self.keys.chmod(0o600)

    def secret(self, values: t.Any, **more: t.Any) -> dict[str, t.Any]:
        return {"name": "db", "namespace": "media", "contents": values, "path": str(self.file), **more}

    def params(self, *secrets: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
        given = {"certificate": PAIR.certificate_pem, "sealing_key_file": str(self.folder / "sealing.key")}
        return {**given, "secrets": list(secrets), **more}

    def opened(self, pair: key_pairs.KeyPair = PAIR) -> dict[str, bytes]:
        found = {}
        for document in yaml.safe_load_all(self.file.read_text()):
            for name, text in document["spec"]["encryptedData"].items():
                meta = document["metadata"]
                target = sealing.Target(meta.get("namespace", ""), meta["name"], _scope(meta))
                found[name] = sealing.unseal(text, target, [pair.key])
        return found


def _scope(meta: dict[str, t.Any]) -> str:
    wide = [key.rpartition("/")[2] for key in meta.get("annotations", {})]
    return wide[0] if wide else "strict"


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


NAMES = st.text("abcXYZ019._-", min_size=1, max_size=12).filter(lambda name: name != "." and not name.startswith(".."))
VALUES = st.dictionaries(NAMES, st.text(max_size=40), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(sealing.SCOPES), st.booleans())
def test_what_is_planned_is_what_is_there_afterwards_and_the_second_run_writes_nothing(
    tmp_path_factory: pytest.TempPathFactory, versions: list[dict[str, str]], scope: str, by_private_key: bool
) -> None:
    place = Place(tmp_path_factory.mktemp("sealed"))
    more = {"sealing_key_file": None, "private_keys": [str(place.keys)]} if by_private_key else {}
    for values in versions:
        params = place.params(place.secret(values, scope=scope), **more)
        before = contents(place.folder)
        planned = run(sealed_secret, True, **params)
        assert contents(place.folder) == before
        done = run(sealed_secret, **params)
        assert not done.get("failed"), done
        assert done["changes"] == planned["changes"]
        assert place.opened() == {name: text.encode() for name, text in values.items()}
        after = contents(place.folder)
        again = run(sealed_secret, **params)
        assert (again["changed"], contents(place.folder)) == (False, after)


def test_only_what_differs_is_sealed_anew(place: Place) -> None:
    run(sealed_secret, **place.params(place.secret({"a": "one", "b": "two"})))
    before = yaml.safe_load(place.file.read_text())["spec"]["encryptedData"]
    done = run(sealed_secret, **place.params(place.secret({"a": "one", "b": "three", "c": "four"})))
    after = yaml.safe_load(place.file.read_text())["spec"]["encryptedData"]
    assert after["a"] == before["a"] and after["b"] != before["b"]
    assert done["changes"] == [
        {
            "resource": "SealedSecret/media/db",
            "action": "update",
            "before": {"encryptedData.b": "(hidden)"},
            "after": {"encryptedData.b": "(hidden)", "encryptedData.c": "(hidden)"},
        }
    ]


def test_equal_values_under_two_names_have_different_texts(place: Place) -> None:
    run(sealed_secret, **place.params(place.secret({"a": "same", "b": "same"})))
    texts = yaml.safe_load(place.file.read_text())["spec"]["encryptedData"]
    assert texts["a"] != texts["b"]
    assert base64.b64decode(texts["a"])[2:258] != base64.b64decode(texts["b"])[2:258]


def test_modes_of_what_is_written(place: Place) -> None:
    run(sealed_secret, **place.params(place.secret({"a": "one"})))
    assert {path: mode for path, (_bytes, mode, _time) in contents(place.folder).items()} == {
        "keys.yaml": 0o600,
        "sealing.key": 0o600,
        "out/sealed.yaml": 0o644,
    }


def test_another_certificate_and_another_scope_seal_anew(place: Place) -> None:
    run(sealed_secret, **place.params(place.secret({"a": "one"})))
    done = run(sealed_secret, **place.params(place.secret({"a": "one"}), certificate=OTHER.certificate_pem))
    assert done["changed"] and place.opened(OTHER) == {"a": b"one"}
    done = run(sealed_secret, **place.params(place.secret({"a": "one"}, scope="cluster-wide"), certificate=OTHER.certificate_pem))  # fmt: skip
    assert done["changed"] and place.opened(OTHER) == {"a": b"one"}


def test_a_definition_keeps_its_template_and_loses_the_copies_that_tools_leave(place: Place) -> None:
    definition = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/basic-auth",
        "immutable": True,
        "metadata": {
            "name": "auth",
            "namespace": "media",
            "labels": {"app": "x"},
            "annotations": {
                **dict.fromkeys(COPIES, "the whole secret"),
                "sealedsecrets.bitnami.com/namespace-wide": "true",
            },
        },
        "data": {"username": base64.b64encode(b"\x00\xff").decode()},
        "stringData": {"password": "hunter2hunter2"},
    }
    params = place.params(place.secret(None, name=None, namespace=None, definition=yaml.safe_dump(definition)))
    done = run(sealed_secret, **params)
    assert not done.get("failed"), done
    document = yaml.safe_load(place.file.read_text())
    wide = {"sealedsecrets.bitnami.com/namespace-wide": "true"}
    assert document["metadata"] == {"name": "auth", "namespace": "media", "annotations": wide}
    assert document["spec"]["template"] == {
        "type": "kubernetes.io/basic-auth",
        "immutable": True,
        "metadata": {"name": "auth", "namespace": "media", "labels": {"app": "x"}, "annotations": wide},
    }
    assert place.opened() == {"username": b"\x00\xff", "password": b"hunter2hunter2"}
    assert "hunter2" not in json.dumps({key: done[key] for key in ("changes", "diff", "sealed_secrets")})


def test_without_a_path_the_object_is_returned_and_is_the_same_each_time(place: Place) -> None:
    params = place.params(place.secret({"a": "a long enough secret"}, path=None))
    one, two = run(sealed_secret, **params), run(sealed_secret, **params)
    assert one["definitions"] == two["definitions"]
    assert [change["resource"] for change in one["changes"]] == [f"sealing-key/{place.folder}/sealing.key"]
    assert two["changes"] == []


def test_a_value_that_would_be_masked_in_the_returned_object_is_refused(place: Place) -> None:
    done = run(sealed_secret, **place.params(place.secret({"a": "e"}, path=None)))
    assert "Ansible would mask it" in done["msg"] and "Give these Secrets a path" in done["msg"]
    assert not (place.folder / "sealing.key").exists()


def test_several_in_one_file(place: Place) -> None:
    two = [place.secret({"a": "one"}), place.secret({"b": "two"}, name="db2")]
    assert run(sealed_secret, **place.params(*two))["changed"]
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(place.file.read_text())] == ["db", "db2"]
    assert not run(sealed_secret, **place.params(*two))["changed"]
    done = run(sealed_secret, **place.params(two[0]))
    assert "holds SealedSecret/media/db2 too" in done["msg"]


def test_files_are_sealed_for_a_new_certificate_and_are_valid(place: Place) -> None:
    run(sealed_secret, **place.params(place.secret({"a": "one", "b": ""}, scope="namespace-wide")))
    only_old = {"state": "valid", "private_keys": [str(place.keys)], "files": [str(place.file)]}
    assert run(sealed_secret, **only_old)["sealed_secrets"][0]["names"] == ["a", "b"]
    new = place.folder / "new.pem"
    new.write_text(OTHER.private_pem + OTHER.certificate_pem)
    new.chmod(0o600)
    change = {"state": "resealed", "private_keys": [str(place.keys)], "files": [str(place.file)], "certificate": OTHER.certificate_pem}  # fmt: skip
    assert "Give the private key of the new certificate too" in run(sealed_secret, **change)["msg"]
    change["private_keys"].append(str(new))
    planned = run(sealed_secret, True, **change)
    assert place.opened() == {"a": b"one", "b": b""}
    done = run(sealed_secret, **change)
    assert done["changed"] and done["changes"] == planned["changes"]
    assert place.opened(OTHER) == {"a": b"one", "b": b""}
    before = contents(place.folder)
    assert not run(sealed_secret, **change)["changed"]
    assert contents(place.folder) == before
    said = run(sealed_secret, **only_old)["msg"]
    assert "SealedSecret/media/db" in said and "a: no key opens it" in said and "b: no key opens it" in said


def test_a_certificate_that_ends_soon_is_warned_of(place: Place) -> None:
    done = run(sealed_secret, **place.params(place.secret({"a": "one"}), certificate=SOON.certificate_pem))
    assert "expires on" in done["warnings"][0]


WRONG: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str]] = {
    "expired": ({}, {"certificate": EXPIRED.certificate_pem}, "expired on"),
    "no certificate": ({}, {"certificate": "hello"}, "holds no certificate in PEM"),
    "a private key": ({}, {"certificate": PAIR.private_pem}, "holds a private key"),
    "no name": ({"name": None}, {}, "secrets[0] has no name"),
    "bad name": ({"name": "Data_Base"}, {}, "'Data_Base' is no name"),
    "no namespace": ({"namespace": None}, {}, "has no namespace"),
    "no values": ({"contents": {}}, {}, "has no values to seal"),
    "a list": ({"contents": {"a": ["hunter2hunter2"]}}, {}, "the value of a is list, not text"),
    "nothing": ({"contents": {"a": None}}, {}, "the value of a is nothing, not text"),
    "true": ({"contents": {"a": True}}, {}, "the value of a is bool, not text"),
    "value name": ({"contents": {"a b": "x"}}, {}, "'a b' cannot name a value"),
    "no secret": ({"definition": {"kind": "ConfigMap", "apiVersion": "v1"}}, {}, "is no Secret with apiVersion v1"),
    "bad base64": ({"definition": {"kind": "Secret", "apiVersion": "v1", "data": {"p": "hunter2hunter2 !"}}}, {}, "data.p is not base64"),
    "bad yaml": ({"definition": "a: [hunter2hunter2"}, {}, "is not valid YAML"),
    "no way to know": ({}, {"sealing_key_file": None}, "Give sealing_key_file"),
    "nothing to seal": ({}, {"secrets": []}, "There is nothing to seal"),
    "files too": ({}, {"files": ["x"]}, "files is for state resealed and valid"),
    "no keys": ({}, {"state": "valid", "files": ["x"]}, "private_keys is needed"),
    "no such keys": ({}, {"private_keys": ["missing.pem"]}, "There is no key file at"),
    "no certificate at all": ({}, {"certificate": None}, "No certificate was given"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_and_nothing_is_written(place: Place, name: str) -> None:
    secret, more, message = WRONG[name]
    before = contents(place.folder)
    done = run(sealed_secret, **{**place.params(place.secret({"a": "one"}, **secret)), **more})
    assert done["failed"] and message in done["msg"], done["msg"]
    assert "hunter2" not in done["msg"]
    assert contents(place.folder) == before


def test_files_that_are_wrong_or_open_to_others(place: Place) -> None:
    key = place.folder / "sealing.key"
    key.write_text("short")
    key.chmod(0o600)
    assert "is not a sealing key" in run(sealed_secret, **place.params(place.secret({"a": "1"})))["msg"]
    key.write_text(base64.b64encode(bytes(32)).decode())
    key.chmod(0o644)
    assert "others than its owner" in run(sealed_secret, **place.params(place.secret({"a": "1"})))["msg"]
    key.chmod(0o600)
    place.keys.chmod(0o640)
    assert "others than its owner" in run(sealed_secret, **place.params(place.secret({"a": "1"}), private_keys=[str(place.keys)]))["msg"]  # fmt: skip
    place.file.parent.mkdir()
    place.file.write_text("kind: Secret\napiVersion: v1\n")
    assert "not only SealedSecrets" in run(sealed_secret, **place.params(place.secret({"a": "1"})))["msg"]


def test_a_file_that_cannot_be_written_and_what_was_written_before_it(place: Place) -> None:
    """The error says what is done already, and the next run goes on from there."""
    (place.folder / "taken").write_text("a file")
    two = [
        place.secret({"a": "one"}),
        place.secret({"b": "two"}, name="db2", path=str(place.folder / "taken/sealed.yaml")),
    ]
    done = run(sealed_secret, **place.params(*two))
    assert done["failed"] and "Could not write" in done["msg"] and "taken/sealed.yaml" in done["msg"]
    assert [change["resource"].partition("/")[0] for change in done["changes"]] == ["sealing-key", "SealedSecret"]
    (place.folder / "taken").unlink()
    again = run(sealed_secret, **place.params(*two))
    assert [change["resource"] for change in again["changes"]] == ["SealedSecret/media/db2"]


@pytest.mark.parametrize("path", ["out", "certificate", "keys"])
def test_a_directory_where_a_file_should_be(place: Place, path: str) -> None:
    (place.folder / path).mkdir()
    where = str(place.folder / path)
    more: dict[str, dict[str, t.Any]] = {
        "out": {},
        "certificate": {"certificate_file": where},
        "keys": {"private_keys": [where]},
    }
    secret = place.secret({"a": "1"}, path=where if path == "out" else str(place.file))
    before = contents(place.folder)
    options = place.params(secret) | more[path]
    if path == "certificate":
        del options["certificate"]
    done = run(sealed_secret, **options)
    assert done["failed"] and f"{where} cannot be read: Is a directory" in done["msg"]
    assert contents(place.folder) == before


def test_a_wrong_definition_is_masked_before_it_is_refused(place: Place) -> None:
    done = run(sealed_secret, **place.params(place.secret(None, definition={"kind": "Secret", "data": {"a": "hunter2hunter2"}})))  # fmt: skip
    assert done["failed"] and "hunter2hunter2" in done["secrets"]
    done = run(sealed_secret, **place.params(place.secret(None, definition="a: [hunter2hunter2")))
    assert done["failed"] and "a: [hunter2hunter2" in done["secrets"]


def test_two_entries_for_one_secret(place: Place) -> None:
    done = run(sealed_secret, **place.params(place.secret({"a": "1"}), place.secret({"b": "1"})))
    assert "secrets[0] and secrets[1] are both SealedSecret/media/db" in done["msg"]


@pytest.mark.parametrize("text", ["", "!", "AAAA", base64.b64encode(b"\x01\x00" + bytes(300)).decode()])
def test_what_is_no_sealed_value_does_not_open(text: str) -> None:
    with pytest.raises(sealing.DoesNotOpen):
        sealing.unseal(text, sealing.Target("a", "b"), [PAIR.key])


#: What labels and annotations can have: libyaml writes keys that are long or odd in another way.
KEYS = st.text("abcxyzABCXYZ019-._/", min_size=1, max_size=63)
PRINTABLE = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=200)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, PRINTABLE, max_size=4))
def test_libyaml_writes_what_pyyaml_writes(labels: dict[str, str]) -> None:
    document = {"kind": "SealedSecret", "metadata": {"labels": labels}, "spec": {"encryptedData": {"a": "A" * 900}}}
    quick = yaml_text.text_of([document])
    slow = yaml_text.dumper_of(yaml.SafeDumper)
    assert quick == "---\n" + yaml.dump(document, Dumper=slow, sort_keys=True, default_flow_style=False, width=2**30)
    assert list(yaml.safe_load_all(quick)) == [document]

# SPDX-License-Identifier: GPL-3.0-or-later
"""sops_file: random content and changes, edits that leave the rest alone, damage that is seen, input that is refused."""

from __future__ import annotations

import copy
import datetime
import json
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from secrets_room import contents, run

from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import sops_task
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, sops, sops_yaml
from ansible_collections.groundwork.homelab.plugins.module_utils.sops.sops_values import (
    Comment,
    Rules,
    Timestamp,
    go_float,
    same,
)
from ansible_collections.groundwork.homelab.plugins.modules import sops_file as module

OWNER, OTHER = age.Identity.generate(), age.Identity.generate()
NAMES = st.text("abAB_-. é", min_size=1, max_size=6).filter(lambda name: name != "sops")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "",
        "yes",
        "null",
        "1",
        "1.5",
        "0x1f",
        "2024-01-01",
        "a\nb\n",
        "a\n\n b",
        "# no",
        "x: y",
        "-",
        "~",
        "ENC[AES256_GCM]",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS  # fmt: skip
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
CONTENT = st.dictionaries(NAMES, TREES, min_size=1, max_size=4)
FLAT = st.dictionaries(
    st.text("ABC_", min_size=1, max_size=5).filter(lambda name: not name.startswith("sops_")),
    st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=20).filter(
        lambda text: "\\n" not in text
    ),
    min_size=1,
    max_size=4,
)


def keys(folder: pathlib.Path) -> str:
    path = folder / "age.txt"
    path.write_text(OWNER.text + "\n")
    path.chmod(0o600)
    return str(path)


def params(folder: pathlib.Path, name: str = "file.yaml", **more: t.Any) -> dict[str, t.Any]:
    return {"path": str(folder / name), "age_key_file": keys(folder), "recipients": [OWNER.recipient], **more}


def tree(folder: pathlib.Path, name: str = "file.yaml") -> dict[str, t.Any]:
    return sops.read(folder / name, sops.format_of(pathlib.Path(name)), [OWNER]).tree


def _converges(folder: pathlib.Path, name: str, versions: list[tuple[dict[str, t.Any], bool]]) -> None:
    expected: dict[str, t.Any] = {}
    for content, exact in versions:
        expected = content if exact else sops_task.merged(expected, content)
        options = params(folder, name, content=copy.deepcopy(content), exact=exact)
        before = contents(folder)
        planned = run(module, True, **options)
        assert {k: v[:2] for k, v in contents(folder).items()} == {k: v[:2] for k, v in before.items()}
        done = run(module, **options)
        assert not done.get("failed"), done["msg"]
        assert planned["changes"] == done["changes"]
        assert same(tree(folder, name), expected)
        text = (folder / name).read_bytes()
        again = run(module, **options)
        assert (again["changes"], (folder / name).read_bytes()) == ([], text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(CONTENT, st.booleans()), min_size=1, max_size=3), st.sampled_from(["a.yaml", "a.json"]))
def test_any_content_and_any_change_of_it(
    tmp_path_factory: pytest.TempPathFactory, versions: list[tuple[dict[str, t.Any], bool]], name: str
) -> None:
    _converges(tmp_path_factory.mktemp("sops"), name, versions)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(FLAT, st.booleans()), min_size=1, max_size=3))
def test_any_dotenv(tmp_path_factory: pytest.TempPathFactory, versions: list[tuple[dict[str, t.Any], bool]]) -> None:
    _converges(tmp_path_factory.mktemp("sops"), ".env", versions)


def test_an_edit_leaves_other_lines_and_comments_alone(tmp_path: pathlib.Path) -> None:
    run(module, **params(tmp_path, content={"a": {"x": "1", "y": "2"}, "list": [{"k": "v"}, {"k": "w"}], "z": "end"}))
    path = tmp_path / "file.yaml"
    lines = path.read_text().splitlines()
    lines[1:1] = ["    # about x"]
    lines[0:0] = ["# the file", ""]
    path.write_text("\n".join(lines) + "\n")
    before = path.read_text().splitlines()
    done = run(module, **params(tmp_path, content={"a": {"y": "3"}, "new": ["one"]}))
    assert not done.get("failed"), done["msg"]
    after = path.read_text().splitlines()
    gone = [line for line in before if line not in after]
    names = [line.split(":")[0].strip() for line in gone]
    assert [name for name in names if name != "lastmodified"] == ['"y"', "mac"]  # which may be of the same second
    assert after.index("new:") < after.index("sops:")
    assert tree(tmp_path) == {"a": {"x": "1", "y": "3"}, "list": [{"k": "v"}, {"k": "w"}], "z": "end", "new": ["one"]}
    run(module, **params(tmp_path, content={}, remove=[["a", "x"], ["list"], ["not", "there"]]))
    assert tree(tmp_path) == {"a": {"y": "3"}, "z": "end", "new": ["one"]}


def test_only_what_a_rule_names_is_encrypted(tmp_path: pathlib.Path) -> None:
    content = {"kind": "Secret", "replicas": 2, "stringData": {"password": "hunter2hunter2"}}
    run(module, **params(tmp_path, content=content, encrypted_regex="^(data|stringData)$"))
    shown = yaml.safe_load((tmp_path / "file.yaml").read_text())
    assert (shown["kind"], shown["replicas"]) == ("Secret", 2)
    assert shown["stringData"]["password"].startswith("ENC[AES256_GCM,")
    assert shown["sops"]["encrypted_regex"] == "^(data|stringData)$"
    said = run(module, **params(tmp_path, content={}, encrypted_regex="^x$"))["msg"]
    assert "was made with another encrypted_regex" in said


def test_creation_rules(tmp_path: pathlib.Path) -> None:
    rules = [
        {"path_regex": r"other/.*", "age": OTHER.recipient},
        {"path_regex": r"\.sops\.yaml$", "encrypted_suffix": "_secret", "age": f"{OWNER.recipient},{OTHER.recipient}"},
    ]
    (tmp_path / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": rules}))
    options = params(tmp_path, "deep/down/a.sops.yaml", recipients=None, content={"a": "1", "b_secret": "2"})
    done = run(module, **options)
    assert done["recipients"] == [OWNER.recipient, OTHER.recipient]
    assert yaml.safe_load((tmp_path / "deep/down/a.sops.yaml").read_text())["a"] == "1"
    said = run(module, **params(tmp_path, "b.yaml", recipients=None, content={"a": "1"}))["msg"]
    assert "No creation rule in" in said and "fits b.yaml" in said


#: A rule of the repository: what of a file it leaves in the clear.
SHARED_RULES = [{"encrypted_suffix": "_secret"}, {"encrypted_regex": "^(stringData)$"}, {"unencrypted_regex": "^data$"}]


@pytest.mark.parametrize("rule", SHARED_RULES)
@pytest.mark.parametrize("recipients", [None, [OWNER.recipient]], ids=["by rule", "given"])
def test_a_creation_rule_leaves_nothing_of_a_whole_file_in_the_clear(
    tmp_path: pathlib.Path, rule: dict[str, str], recipients: list[str] | None
) -> None:
    """As sops: what is selected by name is nothing for a file that is one value."""
    (tmp_path / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": [{**rule, "age": OWNER.recipient}]}))
    options = params(tmp_path, "kubeconfig", content={"data": "hunter2hunter2"}, recipients=recipients)
    assert run(module, **options)["changed"]
    text = (tmp_path / "kubeconfig").read_text()
    assert "hunter2" not in text and "ENC[AES256_GCM" in text
    assert not set(rule) & set(json.loads(text)["sops"])
    assert not run(module, **options)["changed"]


def test_what_a_creation_rule_encrypts_counts_for_given_recipients_too(tmp_path: pathlib.Path) -> None:
    """As sops has it. All of a Secret encrypted, its kind and name too, is of no use to Flux."""
    rules = [
        {"path_regex": r"\.sops\.yaml$", "encrypted_regex": "^stringData$", "mac_only_encrypted": True, "pgp": "85D7"}
    ]
    (tmp_path / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": rules}))
    secret = {"kind": "Secret", "stringData": {"a": "hunter2hunter2"}}
    run(module, **params(tmp_path, "a.sops.yaml", content=secret))
    made = yaml.safe_load((tmp_path / "a.sops.yaml").read_text())
    assert made["kind"] == "Secret" and made["stringData"]["a"].startswith("ENC[")
    assert (made["sops"]["encrypted_regex"], made["sops"]["mac_only_encrypted"]) == ("^stringData$", True)
    run(module, **params(tmp_path, "b.sops.yaml", content=secret, encrypted_regex="^kind$"))
    made = yaml.safe_load((tmp_path / "b.sops.yaml").read_text())
    assert made["kind"].startswith("ENC[") and made["sops"]["encrypted_regex"] == "^kind$"
    run(module, **params(tmp_path, "c.yaml", content=secret))
    assert yaml.safe_load((tmp_path / "c.yaml").read_text())["kind"].startswith("ENC[")
    run(module, **params(tmp_path, "d.sops.yaml", content=secret, mac_only_encrypted=False))
    made = yaml.safe_load((tmp_path / "d.sops.yaml").read_text())
    assert made["kind"] == "Secret" and "mac_only_encrypted" not in made["sops"]
    (tmp_path / ".sops.yaml").write_text("stores: {yaml: {indent: 2}}\n")
    assert run(module, **params(tmp_path, "e.sops.yaml", content=secret))["changed"]


def test_recipients_change_and_values_keep_their_texts(tmp_path: pathlib.Path) -> None:
    run(module, **params(tmp_path, content={"a": "secret"}))
    before = yaml.safe_load((tmp_path / "file.yaml").read_text())
    done = run(module, **params(tmp_path, content=None, recipients=[OTHER.recipient, OWNER.recipient]))
    assert done["changes"][0]["after"] == {"recipients": [OTHER.recipient, OWNER.recipient]}
    after = yaml.safe_load((tmp_path / "file.yaml").read_text())
    assert after["a"] == before["a"] and after["sops"]["age"][1] == before["sops"]["age"][0]
    assert sops.read(tmp_path / "file.yaml", "yaml", [OTHER]).tree == {"a": "secret"}


def test_decrypted_into_a_file_of_ones_own(tmp_path: pathlib.Path) -> None:
    run(module, **params(tmp_path, content={"a": "hunter2hunter2"}))
    options = params(tmp_path, recipients=None, state="decrypted", dest=str(tmp_path / "plain.yaml"))
    planned, done = run(module, True, **options), run(module, **options)
    assert planned["changes"] == done["changes"] != []
    assert "hunter2" not in json.dumps({key: done[key] for key in ("changes", "diff")})
    assert contents(tmp_path)["plain.yaml"][:2] == (b"a: hunter2hunter2\n", 0o600)
    assert not run(module, **options)["changed"]
    (tmp_path / "plain.yaml").chmod(0o644)
    assert run(module, **options)["changed"] and contents(tmp_path)["plain.yaml"][1] == 0o600


def test_the_encrypted_file_is_not_written_over_in_the_clear_by_another_name_of_it(tmp_path: pathlib.Path) -> None:
    run(module, **params(tmp_path, content={"a": "hunter2hunter2"}))
    path = tmp_path / "file.yaml"
    before = path.read_text()
    (tmp_path / "link.yaml").symlink_to(path)
    for dest in (tmp_path / "folder" / ".." / "file.yaml", tmp_path / "link.yaml"):
        done = run(module, **params(tmp_path, state="decrypted", recipients=None, dest=str(dest)))
        assert "dest is the encrypted file itself" in done.get("msg", ""), done
    assert path.read_text() == before


#: As sops has it: by the end of the whole name.
FORMATS = {
    "a.sops.yaml": "yaml", ".env.sops.yml": "yaml", ".env.json": "json", ".env": "dotenv", "lab.env": "dotenv", ".ini": "ini",
    ".env.local": "binary", ".envrc": "binary", "a": "binary", "a.YAML": "binary",
}  # fmt: skip


@pytest.mark.parametrize(("name", "form"), FORMATS.items())
def test_the_format_is_told_by_the_end_of_the_name(name: str, form: str) -> None:
    assert sops.format_of(pathlib.Path("lab") / name) == form


def test_secrets_of_the_file_are_masked_and_never_said(tmp_path: pathlib.Path) -> None:
    run(module, **params(tmp_path, content={"a": "hunter2hunter2", "b": 5}))
    done = run(module, **params(tmp_path, content={"b": 6}))
    assert "hunter2hunter2" in done["secrets"]
    assert done["changes"][0]["before"] == {"values.b": "(hidden)"}


@pytest.mark.parametrize("name", ["file.yaml", "file.json", ".env"])
def test_each_change_by_another_hand_is_seen(tmp_path: pathlib.Path, name: str) -> None:
    run(module, **params(tmp_path, name, content={"a": "one", "b": "two", "c_unencrypted": "free"}))
    path = tmp_path / name
    text = path.read_text()
    first, second = (part.split(",iv:")[0] for part in text.split("data:")[1:3])
    for wrong in (
        text.replace("free", "fred"),
        text.replace(first, second, 1),
        text.replace(f"data:{first}", "data:AAAA", 1),
        text.replace("type:str", "type:int", 1),
        text.replace("a", "A", 1) if name != ".env" else text.replace("a=", "q=", 1),
    ):
        path.write_text(wrong)
        done = run(module, **params(tmp_path, name, content={"a": "three"}))
        assert done["failed"] and "Restore the file" in done["msg"], done["msg"]
        assert path.read_text() == wrong


WRONG: dict[str, tuple[dict[str, t.Any], str]] = {
    "no content": ({"content": None}, "no content to make one of"),
    "recipient": ({"recipients": ["nobody"]}, "is not an age recipient"),
    "nobody": ({"recipients": []}, "recipients is empty"),
    "no rule": ({"recipients": None}, "there is no .sops.yaml above it"),
    "ending": ({"path": "file.txt"}, "A file of the format binary holds one text, data"),
    "two rules": ({"encrypted_regex": "a", "encrypted_suffix": "b"}, "cannot be used together"),
    "regex": ({"encrypted_regex": "("}, "is not a regular expression"),
    "the key sops": ({"content": {"sops": 1}}, "has the key sops"),
    "a number as key": ({"content": {1: "a"}}, "has a key that is int"),
    "a huge number": ({"content": {"a": 2**63}}, "more than 64 bits"),
    "remove": ({"remove": ["a.b"]}, "remove[0] is not a list of keys"),
    "dotenv with a list": ({"path": ".env", "content": {"a": [1]}}, "dotenv files hold text only"),
    "nothing to decrypt": ({"state": "decrypted", "content": None}, "There is no file of sops"),
    "decrypt and change": ({"state": "decrypted"}, "changes nothing in the file"),
    "surrogate": ({"content": {"a": "\ud800"}}, "is not text in Unicode"),
    "no key file": ({"age_key_file": "missing"}, "There is no age key file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: pathlib.Path, name: str) -> None:
    more, message = WRONG[name]
    options = params(tmp_path, content={"a": "1"}) | more
    before = contents(tmp_path)
    done = run(module, **options)
    assert done["failed"] and message in done["msg"], done["msg"]
    assert contents(tmp_path) == before


FILES = {
    "a: 1\n": "is not encrypted: it has no part sops",
    "a: [\n": "is not valid YAML",
    "- a\n": "is not a mapping at the top",
    "a: 1\n---\nb: 2\n": "is not encrypted",
    "a: &x 1\nb: *x\n": "is not encrypted",
    "a: !!str 1\n": "has a tag in line 1",
    "a: 1\na: 2\n": "the key a twice",
    "1: a\n": "a key in line 1 that is not text",
    "a: 1\nsops: 2\n": "its part sops is missing",
    "a: 1\nsops: {mac: x}\n": "no mac or lastmodified",
    'a: 1\nsops: {mac: x, lastmodified: "x", key_groups: [1]}\n': "key_groups",
    'a: 1\nsops: {mac: x, lastmodified: "x", encrypted_comment_regex: a}\n': "encrypted_comment_regex are not supported",
    'a: 1\nsops: {mac: x, lastmodified: "x", pgp: [1]}\n': "it is encrypted for pgp",
}


@pytest.mark.parametrize("text", FILES)
def test_files_that_are_no_files_of_sops(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "file.yaml").write_text(text)
    done = run(module, **params(tmp_path, content={"b": "1"}))
    assert done["failed"] and FILES[text] in done["msg"], done["msg"]
    assert done["msg"].count(str(tmp_path / "file.yaml")) == 1, "which of many files it is"
    assert (tmp_path / "file.yaml").read_text() == text


OTHERS = {
    ("f.json", '{"a": 1, "a": 2}'): "the key a twice",
    ("f.json", '{"a": '): "is not valid JSON in line 1",
    ("f.json", "[1]"): "is not an object at the top",
    ("f.json", '{"a": NaN}'): "is not valid JSON",
    (".env", "A=1\nB\n"): "has no = in line 2",
    (".env", "A=1\nA=2\n"): "has A twice, again in line 2",
    (".env", "A=1\n"): "is not encrypted",
    (".env", "A=1\nsops_mac=x\nsops_mac__map_a=y\n"): "contradict each other",
}


@pytest.mark.parametrize(("name", "text"), OTHERS)
def test_json_and_dotenv_files_that_are_wrong(tmp_path: pathlib.Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    done = run(module, **params(tmp_path, name, content={"B": "1"}))
    assert done["failed"] and OTHERS[name, text] in done["msg"], done["msg"]
    assert done["msg"].count(str(tmp_path / name)) == 1
    assert (tmp_path / name).read_text() == text


def test_a_comment_that_sops_keeps_in_a_list_is_no_value(tmp_path: pathlib.Path) -> None:
    """It stays while the list keeps its length; and a text of the same words is another thing."""
    tree = {"list": [Comment(" said"), "x", "y"], "z": 1}
    path = tmp_path / "file.yaml"
    path.write_text(sops.create(tree, "yaml", [OWNER.recipient], Rules(), datetime.datetime.now(datetime.timezone.utc)))
    assert not run(module, **params(tmp_path, content={"list": ["x", "y"]}))["changed"]
    assert run(module, **params(tmp_path, content={"list": ["x", "new"]}))["changed"]
    kept = sops.read(path, "yaml", [OWNER]).tree["list"]
    assert kept == [" said", "x", "new"] and isinstance(kept[0], Comment)
    run(module, **params(tmp_path, content={"list": [" said", "x", "new"]}))
    assert same(sops.read(path, "yaml", [OWNER]).tree["list"], [" said", "x", "new"])


def test_somebody_elses_file(tmp_path: pathlib.Path) -> None:
    run(module, **params(tmp_path, content={"a": "1"}, recipients=[OTHER.recipient]))
    said = run(module, **params(tmp_path, content={"a": "2"}))["msg"]
    assert f"encrypted for {OTHER.recipient}, not for the given identities" in said
    said = run(module, path=str(tmp_path / "file.yaml"), content={"a": "2"})["msg"]
    assert "Give age_key_file" in said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("0x1F", 31), ("0o17", 15), ("017", 15), ("1_000", 1000), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0),
        ("+12", 12), ("2024-1-2", Timestamp("2024-01-02T00:00:00Z")), ("1.2.3", "1.2.3"), ("12:30", "12:30"), ("-", "-"),
        ("2001-12-14T21:59:43.10-05:00", Timestamp("2001-12-14T21:59:43.1-05:00")), ("089", 89.0),
    ],
)  # fmt: skip
def test_scalars_as_go_reads_them(text: str, value: t.Any) -> None:
    assert same(sops_yaml.resolve(text), value)


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (1e21, "1" + "0" * 21), (1e-7, "0.0000001"), (-0.0, "-0")])
def test_floats_as_go_writes_them(value: float, text: str) -> None:
    assert go_float(value) == text

# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML of several documents, anchors and merge keys in files of sops: read, made, edited in place, decrypted."""

from __future__ import annotations

import datetime
import pathlib
import re
import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from secrets_room import contents, run

from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, sops, sops_yaml, sops_yaml_edits
from ansible_collections.groundwork.homelab.plugins.module_utils.sops.sops_values import Rules
from ansible_collections.groundwork.homelab.plugins.modules import sops_file

OWNER = age.Identity.generate()
NOW = datetime.datetime.now(datetime.timezone.utc)
ONLY_C = Rules(encrypted_regex="^c$")
NAMES = st.sampled_from(["a", "b", "c", "with space"])
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["", "x", "two\nlines\n", "yes"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
DOCUMENTS = st.lists(st.dictionaries(NAMES, VALUES, max_size=3), min_size=1, max_size=3)


class Place:
    """A folder with a key, and files of sops in it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.path = folder, folder / "file.yaml"
        (folder / "age.txt").write_text(f"{OWNER.text}\n")
        (folder / "age.txt").chmod(0o600)

    def run(self, *, check: bool = False, **params: t.Any) -> dict[str, t.Any]:
        given = {"path": str(self.path), "age_key_file": str(self.folder / "age.txt"), "recipients": [OWNER.recipient]}
        return run(sops_file, check=check, **given | params)

    def tree(self) -> t.Any:
        return sops.read(self.path, "yaml", [OWNER]).tree

    def write(self, tree: t.Any, rules: Rules = ONLY_C) -> str:
        text = sops.create(tree, "yaml", [OWNER.recipient], rules, NOW)
        self.path.write_text(text)
        return text

    def lines(self) -> list[str]:
        """Without what is different in each version of a file."""
        return [line for line in self.path.read_text().splitlines() if not line.strip().startswith(("mac:", "lastmod"))]


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


# -- several documents -------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(DOCUMENTS, DOCUMENTS, st.booleans())
def test_any_documents_and_any_change_of_them(
    tmp_path_factory: pytest.TempPathFactory, first: list[t.Any], second: list[t.Any], exact: bool
) -> None:
    place = Place(tmp_path_factory.mktemp("documents"))
    for documents in (first, second):
        before = contents(place.folder)
        planned = place.run(documents=documents, exact=exact, check=True)
        assert contents(place.folder) == before
        done = place.run(documents=documents, exact=exact)
        assert not done.get("failed") and done["changes"] == planned["changes"], done
        text = place.path.read_bytes()
        again = place.run(documents=documents, exact=exact)
        assert (again["changes"], place.path.read_bytes()) == ([], text)
        if exact:
            assert place.tree() == (documents if len(documents) > 1 else documents[0])
    assert len(list(yaml.safe_load_all(place.path.read_text()))) == (len(second) if exact else max(map(len, (first, second))))  # fmt: skip


def test_one_value_of_one_document_changes_and_all_other_lines_stay(place: Place) -> None:
    place.run(documents=[{"a": "1", "b": ["x", "x"]}, {"a": "1", "c": {"d": "2"}}, {"a": "1"}])
    text = place.path.read_text().replace("\n---\n", "\n---\n# about the next\n", 1)
    place.path.write_text(f"%YAML 1.2\n---\n{text}...\n")
    before = place.lines()
    done = place.run(documents=[{}, {"c": {"d": "3"}}])
    assert not done.get("failed"), done
    assert [*done["changes"][0]["after"]] == ["values[1].c.d"]
    after = place.lines()
    assert [line.split(":")[0].strip() for line in before if line not in after] == ["d"]
    assert len(before) == len(after) and "# about the next" in after
    assert [one["a"] for one in place.tree()] == ["1", "1", "1"]


def test_documents_are_added_at_the_end_and_removed_from_it(place: Place) -> None:
    place.run(content={"a": "1"})
    first = place.lines()
    assert [*place.run(documents=[{}, {"b": "2"}])["changes"][0]["after"]] == ["values[1].b"]
    assert place.tree() == [{"a": "1"}, {"b": "2"}] and place.lines()[: len(first)] == first
    place.run(documents=[{}], exact=True)
    assert place.tree() == {}
    place.run(documents=[{"a": "1"}, {}, {"c": "3"}])
    assert place.tree() == [{"a": "1"}, {}, {"c": "3"}]
    place.run(documents=[{"a": "1"}, {"x": "y"}], remove=[[2, "c"], [0, "a"]])
    assert place.tree() == [{}, {"x": "y"}, {}]


def test_each_document_has_the_same_metadata_and_only_that_of_the_first_counts(place: Place) -> None:
    """As with sops itself, which also drops those of the others, whatever they say."""
    text = place.write([{"c": "1"}, {"c": "2"}])
    parts = [one["sops"] for one in yaml.safe_load_all(text)]
    assert parts[0] == parts[1] and parts[0]["mac"]
    head, tail = re.split("^---\n", text, flags=re.MULTILINE)
    place.path.write_text(f"{head}---\n{tail.split('sops:')[0]}")
    assert place.tree() == [{"c": "1"}, {"c": "2"}]
    place.run(documents=[{}, {"c": "3"}])
    assert [sorted(one) for one in yaml.safe_load_all(place.path.read_text())] == [["c", "sops"], ["c", "sops"]]
    place.path.write_text(f"{head.split('sops:')[0]}---\n{tail}")
    assert "is not encrypted" in place.run(documents=[{}, {"c": "4"}])["msg"]


def test_documents_that_were_exchanged_or_removed_are_seen(place: Place) -> None:
    text = place.write([{"c": "1"}, {"c": "2"}])
    head, tail = re.split("^---\n", text, flags=re.MULTILINE)
    for wrong in (f"{tail}---\n{head}", head):
        place.path.write_text(wrong)
        assert "its MAC is not that of its values" in place.run(documents=[{}, {"c": "3"}])["msg"]


def test_empty_and_flow_documents_are_edited(place: Place) -> None:
    place.write([{}, {"b": "x"}, {}])
    parts = re.split("^---\n", place.path.read_text(), flags=re.MULTILINE)
    parts[1] = "{b: x, sops: 1} # said\n"
    place.path.write_text("---\n".join(parts))
    done = place.run(documents=[{"a": "1"}, {"b": "y"}, {"c": "2"}])
    assert not done.get("failed"), done
    assert place.tree() == [{"a": "1"}, {"b": "y"}, {"c": "2"}]


def test_all_documents_are_decrypted(place: Place) -> None:
    place.run(documents=[{"a": "1"}, {}, {"b": {"c": "x"}}])
    done = place.run(state="decrypted", recipients=None, dest=str(place.folder / "plain.yaml"))
    assert not done.get("failed"), done
    assert (place.folder / "plain.yaml").read_text() == 'a: "1"\n---\n{}\n---\nb:\n    c: x\n'


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"content": {"a": "2"}}, "holds 2 documents, and content is for one. Give documents, {} for each that stays"),
        ({"documents": [{}], "content": {"a": "2"}}, "mutually exclusive"),
        ({"documents": []}, "documents is empty"),
        ({"documents": [{"sops": "x"}]}, "documents[0] has the key sops"),
        ({"documents": [{"a": "x"}, {1: "x"}]}, "documents[1] has a key that is int"),
        ({"remove": [["a"]]}, "remove[0] does not begin with the number of a document"),
        ({"remove": [[2, "a"]]}, "remove[0] does not begin with the number of a document"),
        ({"remove": [[0]]}, "remove[0] is not a list of keys"),
        ({"remove": [[True, "a"]]}, "remove[0] is not a list of keys"),
    ],
)
def test_what_is_not_for_a_file_of_several_documents(place: Place, params: dict[str, t.Any], message: str) -> None:
    text = place.write([{"a": "1"}, {"c": "2"}])
    done = place.run(**params)
    assert done["failed"] and message in done["msg"], done
    assert place.path.read_text() == text


@pytest.mark.parametrize("name", ["file.json", ".env", "file.ini", "file.bin"])
def test_other_formats_have_one_document(place: Place, name: str) -> None:
    place.path = place.folder / name
    done = place.run(documents=[{"a": "1"}, {"b": "2"}])
    assert "only YAML has several documents" in done["msg"], done
    assert not place.path.exists()


def test_numbers_of_documents_are_not_for_a_file_of_one(place: Place) -> None:
    place.write({"a": "1"})
    assert "remove[0] begins with the number of a document" in place.run(remove=[[0, "a"]])["msg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nsops: {mac: x}\n---\n- b\n", "the document in line 4 is not a mapping"),
        ("a: 1\nsops: {mac: x}\n--- text\n", "the document in line 3 is not a mapping"),
        ("a: 1\nsops: {mac: x}\n---\nb: 1\nb: 2\n", "the key b twice"),
    ],
)
def test_documents_that_sops_does_not_take_either(place: Place, text: str, message: str) -> None:
    place.path.write_text(text)
    done = place.run(documents=[{"b": "1"}])
    assert done["failed"] and message in done["msg"], done


def test_values_that_are_alike_keep_each_its_own_text(place: Place) -> None:
    """With one text for two of them, everybody would see that they are alike."""
    place.run(content={"b": ["x", "x", "y"], "other": "1"})
    before = re.findall(r"- (ENC\S+)", place.path.read_text())
    place.run(content={"other": "2"})
    assert re.findall(r"- (ENC\S+)", place.path.read_text()) == before and len(set(before)) == 3
    place.run(content={"b": ["new", "x", "x", "y", "x"]})
    after = re.findall(r"- (ENC\S+)", place.path.read_text())
    assert len(set(after)) == 5 and set(before) < set(after)


# -- anchors and merge keys ----------------------------------------------------------------------------------------------

ANCHORED = """\
# the lab
labels: &labels
    app: db # said of it
    tier: back
selector: *labels
more:
    - *labels
    - &name x
    - *name
both:
    !!merge <<: *labels
    z: 1
last: *name
"""


def anchored(place: Place) -> None:
    """As somebody writes anchors into a file that is encrypted: what they stand for is the same."""
    labels = {"app": "db", "tier": "back"}
    tree = {
        "labels": labels, "selector": labels, "more": [labels, "x", "x"], "both": {"<<": labels, "z": 1}, "last": "x",
        "c": "secret",
    }  # fmt: skip
    text = place.write(tree)
    place.path.write_text(ANCHORED + text[text.index("c: ENC") :])


def test_anchors_are_read_and_stay_where_nothing_of_them_changes(place: Place) -> None:
    anchored(place)
    assert place.tree()["selector"] == {"app": "db", "tier": "back"} and place.tree()["last"] == "x"
    assert not place.run(content={"selector": {"app": "db"}})["changed"]
    place.run(content={"c": "other", "both": {"z": 2}})
    assert ANCHORED.replace("z: 1", "z: 2") in place.path.read_text()
    assert place.tree()["c"] == "other"


def test_an_alias_that_changes_is_written_out(place: Place) -> None:
    anchored(place)
    done = place.run(content={"selector": {"tier": "front"}, "last": "other"})
    assert [*done["changes"][0]["after"]] == ["values.selector.tier", "values.last"]
    text = place.path.read_text()
    assert "selector:\n    app: db\n    tier: front\n" in text and "last: other\n" in text
    assert "labels: &labels\n    app: db # said of it\n" in text and "    - *labels\n    - &name x\n" in text
    assert (place.tree()["labels"]["tier"], place.tree()["more"][2]) == ("back", "x")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"content": {"labels": {"app": "new"}}}, "# said of it"),
        ({"content": {"labels": "gone"}}, "# the lab"),
        ({"remove": [["labels"]]}, "# the lab"),
        ({"content": {"more": [1]}}, "# said of it"),
        ({"content": {"labels": {"third": "one"}}}, "# said of it"),
    ],
)
def test_what_an_anchor_named_changes_alone(place: Place, change: dict[str, t.Any], kept: str) -> None:
    """Everything that repeated it keeps its value, which is then written out, as sops does it."""
    anchored(place)
    old = place.tree()
    done = place.run(**change)
    assert not done.get("failed"), done
    new = place.tree()
    touched = next(iter(change.get("content") or {change["remove"][0][0]: None}))
    assert {name: value for name, value in new.items() if name != touched} == {
        name: value for name, value in old.items() if name != touched
    }
    assert kept in place.path.read_text()
    assert not place.run(content=change.get("content"))["changed"]


def test_items_of_a_list_may_repeat_an_encrypted_one(place: Place) -> None:
    """They are bound to the same names, so sops decrypts them too."""
    text = place.write({"c": ["same"]})
    place.path.write_text(re.sub(r"- (ENC.*)\n", r"- &a \1\n    - *a\n", text))
    assert "its MAC" in place.run(content={"b": "1"})["msg"]
    text = place.write({"c": ["same", "same"]})
    place.path.write_text(re.sub(r"- (ENC.*)\n    - ENC.*\n", r"- &a \1\n    - *a\n", text))
    assert place.tree() == {"c": ["same", "same"]}
    place.run(content={"c": ["same", "new"]})
    assert place.tree() == {"c": ["same", "new"]} and "- &a ENC" in place.path.read_text()


def test_merge_keys_are_written_as_sops_does_it_and_merged_for_who_reads_values(place: Place) -> None:
    """sops keeps them as keys of a name of their own, and tags them."""
    base = {"k": "v", "z": "base"}
    place.run(content={"base": base, "e": {"<<": base, "z": "own"}, "f": {"<<": [{"y": "1"}, {"y": "2", "w": "3"}]}})
    assert "    !!merge <<:\n        k: ENC" in place.path.read_text()
    file = sops.read(place.path, "yaml", [OWNER])
    assert file.tree["e"] == {"<<": base, "z": "own"}
    assert file.values == {"base": base, "e": {"k": "v", "z": "own"}, "f": {"y": "1", "w": "3"}}
    place.run(state="decrypted", recipients=None, dest=str(place.folder / "plain.yaml"))
    assert yaml.safe_load((place.folder / "plain.yaml").read_text()) == file.values


@pytest.mark.parametrize("value", ["x", None, 1, [1], [{"a": 1}, None]])
def test_a_merge_key_that_merges_nothing_is_refused(place: Place, value: t.Any) -> None:
    """sops itself writes such a file, and cannot read it again."""
    done = place.run(content={"a": [{"<<": value}]})
    assert "content.a: the value of a key << is no mapping, nor a list of mappings" in done["msg"]
    place.path = place.folder / "file.json"
    assert place.run(content={"a": [{"<<": value}]})["changed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *x\n", "is not valid YAML in line 1"),
        ("a: &x [*x]\n", "an anchor in line 1 that holds itself"),
        ("a: !!str 1\n", "has a tag in line 1"),
        ("a: !!merge x\n", "has a tag in line 1"),
        ("a: 1\n---\nb: !vault x\n", "has a tag in line 3"),
        ("a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 8)), "repeats its anchors"),
    ],
)  # fmt: skip
def test_what_no_file_of_sops_holds_is_refused(place: Place, text: str, message: str) -> None:
    place.path.write_text(text)
    done = place.run(content={"b": "1"})
    assert done["failed"] and message in done["msg"], done
    assert place.path.read_text() == text


def test_an_anchor_that_is_given_anew_counts_from_there_on() -> None:
    (tree,), _nodes = sops_yaml.load("a: &x 1\nb: *x\nc: &x 2\nd: *x\n*x : 3\n"[:-7] + "e: *x\n", "x")
    assert tree == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_of_a_text_with_anchors(data: st.DataObject) -> None:
    """Read back, the edited text has the wanted values, whatever repeated what."""
    scalars = st.sampled_from(["x", "y", 1, None, "two\nlines\n"])
    shared = data.draw(st.dictionaries(st.sampled_from("klm"), scalars, min_size=1))
    lines = ["base: &b", *(f"  {line}" for line in sops_yaml.emit(shared).splitlines()), "n: &n 5 # five"]
    for name in "pqrs":
        lines += data.draw(st.sampled_from([[f"{name}: *b"], [f"{name}: *n"], [f"{name}:", "- *n", "- a: *b", "  z: *n"], [f"{name}: {{i: *b, j: *n}}"]]))  # fmt: skip
    text = "\n".join([*lines, "sops: {mac: x}"]) + "\n"
    old, nodes = sops_yaml.load(text, "x")
    new = {name: value for name, value in old[0].items() if data.draw(st.booleans()) or name == "sops"}
    for name in data.draw(st.sets(st.sampled_from(["base", "n", "p", "q", "r"]))):
        change: t.Any = data.draw(scalars | st.dictionaries(st.sampled_from("klm"), scalars, max_size=2))
        new[name] = {**new[name], **change} if isinstance(new.get(name), dict) and isinstance(change, dict) else change
    edited = sops_yaml_edits.edited(text, nodes, old, [new])
    assert sops_yaml.load(edited, "x")[0] == [new]

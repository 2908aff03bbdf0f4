# SPDX-License-Identifier: GPL-3.0-or-later
"""INI files and whole files of sops: written, read, edited in place, decrypted; what they cannot hold is refused."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from secrets_room import contents, run

from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, sops_ini
from ansible_collections.groundwork.homelab.plugins.modules import sops_file

OWNER = age.Identity.generate()
NAMES = st.sampled_from(["a", "b c", "Password", "x.y", "ä"])
TEXTS = st.sampled_from(
    ["", "x", "a b", "grüße 🔑", " space ", "a # b", "a;b", "two\nlines\n", "=", "'q'", '"q"', "`", "\\"]
)
SECTIONS = st.dictionaries(st.sampled_from(["DEFAULT", "one", "two words"]), st.dictionaries(NAMES, TEXTS, max_size=3), min_size=1, max_size=3)  # fmt: skip


class Place:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.keys = folder, folder / "age.txt"
        self.keys.write_text(f"{OWNER.text}\n")
        self.keys.chmod(0o600)

    def run(self, path: str, *, check: bool = False, **params: t.Any) -> dict[str, t.Any]:
        given = {"age_key_file": str(self.keys), "recipients": [OWNER.recipient], **params}
        return run(sops_file, check=check, path=str(self.folder / path), **given)

    def decrypted(self, path: str, **params: t.Any) -> bytes:
        dest = self.folder / "dest"
        made = self.run(path, state="decrypted", recipients=None, dest=str(dest), **params)
        assert not made.get("failed"), made
        return dest.read_bytes()


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


def _visible(sections: dict[str, t.Any]) -> dict[str, t.Any]:
    return {name: values for name, values in sections.items() if values or name != "DEFAULT"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SECTIONS, SECTIONS)
def test_what_is_planned_is_what_is_there_afterwards(
    tmp_path_factory: pytest.TempPathFactory, current: dict[str, t.Any], desired: dict[str, t.Any]
) -> None:
    place = Place(tmp_path_factory.mktemp("ini"))
    assert place.run("file.ini", content=current)["changed"]
    before = contents(place.folder)
    predicted = place.run("file.ini", content=desired, exact=True, check=True)
    assert contents(place.folder) == before
    made = place.run("file.ini", content=desired, exact=True)
    assert made["changes"] == predicted["changes"] and not made.get("failed"), made
    after = contents(place.folder)
    assert place.run("file.ini", content=desired, exact=True)["changes"] == [] and contents(place.folder) == after
    merged = place.run("file.ini", content=current)
    assert not merged.get("failed")


def test_lines_that_nothing_changes_stay_with_their_comments(place: Place) -> None:
    path = place.folder / "file.ini"
    place.run("file.ini", content={"one": {"a": "1", "b": "2"}, "two": {"c": "3"}})
    path.write_text(path.read_text().replace("[one]", "; about one\n[one]\n# about a"))
    before = path.read_text().splitlines()
    made = place.run("file.ini", content={"one": {"b": "other"}, "new": {"d": "4"}}, remove=[["two", "c"]])
    assert {name for change in made["changes"] for name in change["after"]} == {"values.one.b", "values.new.d"} | (
        {"values.two"} & {name for change in made["changes"] for name in change["after"]}
    )
    after = path.read_text().splitlines()
    kept = before[: before.index("[two]")]
    assert [line for line in kept if line not in after and line] == [next(line for line in kept if line[:2] == "b ")]
    assert "; about one" in after and "# about a" in after and "[new]" in after
    assert place.decrypted("file.ini").decode().startswith("[one]\na = 1\nb = other\n")


def test_blank_lines_of_a_dotenv_file_stay_where_they_are(place: Place) -> None:
    path = place.folder / "lab.env"
    place.run("lab.env", content={"A": "1", "B": "2"})
    path.write_text(path.read_text().replace("B=", "\n# about B\n\nB=", 1).replace("sops_age", "\nsops_age", 1))
    before = path.read_text().splitlines()
    assert place.run("lab.env", content={"A": "3", "C": "4"})["changed"]
    after = path.read_text().splitlines()
    assert after[1:6] == before[1:6]
    assert after[6].startswith("C=") and "" not in after[6:]
    assert not place.run("lab.env", content={"A": "3", "B": "2", "C": "4"}, exact=True)["changed"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": "x"}, "content: a is no section. INI files hold mappings of texts."),
        ({"one": {"a": [1]}}, "content: one.a is no text, and INI files hold text only. Write it in quotes."),
        ({"one": {"a": True}}, "content: one.a is no text"),
        ({"one": {"a=b": "x"}}, "'a=b' cannot name a key of an INI file"),
        ({"[x": {"a": "x"}}, "'[x' cannot name a section of an INI file"),
        ({"one": {"": "x"}}, "'' cannot name a key"),
        ({"one": {"a_unencrypted": "`\n"}}, None),
        ({"one": {"a_unencrypted": '"""\n'}}, "The value of a_unencrypted cannot stand in an INI file in the clear"),
        ({"one": {"a_unencrypted": "x\\"}}, "The value of a_unencrypted cannot stand"),
    ],
)
def test_what_an_ini_file_cannot_hold_is_refused(place: Place, content: dict[str, t.Any], message: str | None) -> None:
    made = place.run("file.ini", content=content)
    if message is None:
        assert made["changed"]
        return
    assert message in made["msg"] and os.listdir(place.folder) == ["age.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[one\n", "has no end of a section's name in line 1"),
        ("[one]\na\n", "has no key with a value in line 2"),
        ("[one]\na = 1\na = 2\n", "has a twice in the section one"),
        ("[one]\na = `x\n", "has no end of the quotes that begin in line 2"),
        ("[one]\na = x \\\n  y\n", "goes on in another line after line 2"),
        ("[one]\na = x\n", "is not encrypted: it has no part sops"),
    ],
)
def test_a_broken_ini_file_is_refused_in_words(place: Place, text: str, message: str) -> None:
    (place.folder / "file.ini").write_text(text)
    assert message in place.run("file.ini", content={"one": {"a": "1"}})["msg"]
    assert (place.folder / "file.ini").read_text() == text


def test_values_are_read_as_the_library_reads_them() -> None:
    text = 'a = 1 # no\n[one]\nb: \'x y\'\nc = """two\nlines"""\nd = `a;b`\n e =\n'
    assert sops_ini.load(text, "x") == {
        "DEFAULT": {"a": "1"},
        "one": {"b": "x y", "c": "two\nlines", "d": "a;b", "e": ""},
    }


# -- whole files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"text\n", bytes(range(256)), "grüße".encode(), os.urandom(5000)])
def test_a_file_is_encrypted_as_a_whole_and_comes_back_byte_by_byte(place: Place, data: bytes) -> None:
    source = place.folder / "plain.bin"
    source.write_bytes(data)
    predicted = place.run("file.bin", src=str(source), check=True)
    assert not (place.folder / "file.bin").exists()
    made = place.run("file.bin", src=str(source))
    assert made["changes"] == predicted["changes"] and made["changed"], made
    before = (place.folder / "file.bin").read_bytes()
    assert place.run("file.bin", src=str(source))["changes"] == []
    assert (place.folder / "file.bin").read_bytes() == before
    assert place.decrypted("file.bin") == data
    source.write_bytes(data + b"more")
    assert place.run("file.bin", src=str(source))["changes"][0]["action"] == "update"
    assert place.decrypted("file.bin") == data + b"more"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"content": {"other": "x"}}, "A file of the format binary holds one text, data. Give content with it, or src"),
        ({"content": {"data": 1}}, "A file of the format binary holds one text, data."),
        ({"content": {"data": "x"}, "src": "/x"}, "content and src are both given. Leave one of them out."),
        ({"src": "/nowhere"}, "There is no file to encrypt at /nowhere"),
        (
            {"content": {"data": "x"}, "encrypted_regex": "x"},
            "encrypted_regex is given, and a file of the format binary",
        ),
        (
            {"content": {"data": "x"}, "remove": [["data"]]},
            "remove is given, and a file of the format binary is a whole",
        ),
        ({}, "and no content to make one of"),
        ({"src": "/x", "format": "yaml"}, "src is a whole file, and the format is yaml. Set format to binary."),
        ({"state": "decrypted", "src": "/x", "dest": "/y"}, "state decrypted changes nothing in the file. Leave out"),
    ],
)
def test_what_a_whole_file_does_not_take_is_said(place: Place, params: dict[str, t.Any], message: str) -> None:
    assert message in place.run("file.bin", **params)["msg"]
    assert os.listdir(place.folder) == ["age.txt"]

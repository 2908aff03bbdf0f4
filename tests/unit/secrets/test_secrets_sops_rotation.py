# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipients and data keys of files of sops: who is left out, who is added, and when there is a new data key."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from secrets_room import contents, run

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, sops, sops_values
from ansible_collections.groundwork.homelab.plugins.modules import sops_file

OWNER, OTHER, THIRD = (age.Identity.generate() for _ in range(3))
TEXTS = re.compile(r"ENC\[[^]]*type:(?:str|int|comment)\]")


class Place:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.path = folder, folder / "file.yaml"
        (folder / "age.txt").write_text(f"{OWNER.text}\n")
        (folder / "age.txt").chmod(0o600)

    def run(self, *recipients: str, check: bool = False, **params: t.Any) -> dict[str, t.Any]:
        given = {"path": str(self.path), "age_key_file": str(self.folder / "age.txt"), "recipients": list(recipients)}
        return run(sops_file, check=check, **given | params)

    def read(self, identity: age.Identity = OWNER) -> sops.File:
        return sops.read(self.path, sops.format_of(self.path), [identity])

    def texts(self) -> list[str]:
        return TEXTS.findall(self.path.read_text().split("sops:")[0])


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    made = Place(tmp_path)
    done = made.run(
        OWNER.recipient, OTHER.recipient, content={"a": "one", "b": {"c": [1, "two"], "d_unencrypted": "x"}}
    )
    assert not done.get("failed"), done
    return made


def test_who_is_removed_cannot_read_what_comes_after(place: Place) -> None:
    old, texts = place.read(OTHER), place.texts()
    before = contents(place.folder)
    planned = place.run(OWNER.recipient, rotate="removal", check=True)
    assert contents(place.folder) == before
    done = place.run(OWNER.recipient, rotate="removal")
    assert done["changes"] == planned["changes"]
    assert set(done["changes"][0]["after"]) == {"recipients", "data_key"}
    new = place.read()
    assert new.key != old.key and new.tree == old.tree and not set(place.texts()) & set(texts)
    with pytest.raises(HomelabError, match="not for the given identities"):
        place.read(OTHER)
    with pytest.raises(HomelabError, match="does not decrypt"):
        sops_values.decrypt(t.cast("t.Any", new.sealed)["a"], old.key, "a:")
    text = place.path.read_bytes()
    assert place.run(OWNER.recipient, rotate="removal")["changes"] == [] and place.path.read_bytes() == text


@pytest.mark.parametrize(("rotate", "recipients"), [("never", [OWNER]), ("removal", [OWNER, OTHER, THIRD])])
def test_nobody_is_removed_or_nothing_said(place: Place, rotate: str, recipients: list[age.Identity]) -> None:
    old, texts = place.read(), place.texts()
    done = place.run(*(one.recipient for one in recipients), rotate=rotate)
    assert done["changed"] and "data_key" not in done["changes"][0]["after"]
    assert place.read().key == old.key and place.texts() == texts
    assert all(place.read(one).tree == old.tree for one in recipients)


def test_always_is_in_each_run_and_values_may_change_with_it(place: Place) -> None:
    first = place.read()
    assert place.run(rotate="always", recipients=None)["changed"]
    second = place.read(OTHER)
    assert second.tree == first.tree and second.key != first.key
    done = place.run(rotate="always", recipients=None, content={"a": "new"}, remove=[["b", "c"]])
    assert set(done["changes"][0]["after"]) == {"values.a", "data_key"}
    assert place.read().tree == {"a": "new", "b": {"d_unencrypted": "x"}}


@pytest.mark.parametrize("name", ["file.json", ".env", "file.ini", "file.bin", "several.yaml"])
def test_all_formats_can_be_rotated(place: Place, name: str) -> None:
    place.path = place.folder / name
    content: dict[str, t.Any] = {"data": "x"} if name == "file.bin" else {"A": "x", "B": "y"}
    given = {"content": {"one": content} if name == "file.ini" else content}
    given = {"documents": [content, content]} if name == "several.yaml" else given
    assert place.run(OWNER.recipient, OTHER.recipient, **given)["changed"]
    old = place.read(OTHER)
    assert place.run(OWNER.recipient, rotate="removal")["changed"]
    assert place.read().tree == old.tree and place.read().key != old.key


def test_encrypted_comments_go_along(place: Place) -> None:
    """They are no values, so an edit leaves them alone; under a new key nobody could read them any more."""
    key = place.read().key
    words = {"": " at the top", "b:": " within", "b:c:": " of a list"}
    sealed = {where: sops_values.encrypt(sops_values.Comment(text), key, where or ":") for where, text in words.items()}
    text = f"#{sealed['']}\n" + place.path.read_text()
    text = text.replace("b:\n", f"b:\n    #{sealed['b:']}\n", 1).replace(
        "    c:\n", f"    c:\n        #{sealed['b:c:']}\n", 1
    )
    place.path.write_text(text)
    assert place.run(rotate="always", recipients=None)["changed"]
    new, found = place.read().key, re.findall(r"#(ENC\S+)", place.path.read_text())
    assert len(found) == 3 and not set(found) & set(sealed.values())
    opened = [sops_values.decrypt(one, new, where or ":") for one, where in zip(found, words, strict=True)]
    assert opened == [*words.values()]


@pytest.mark.parametrize(
    ("change", "params", "message"),
    [
        ({"pgp": [{"fp": "x"}]}, {}, "is encrypted for pgp too, which cannot be given a new data key here"),
        ({"age": "ssh"}, {}, "is not an age recipient: keys of SSH are not supported"),
        ({}, {"state": "decrypted", "dest": "/x", "recipients": None}, "state decrypted changes nothing in the file"),
    ],
)
def test_who_cannot_be_given_a_new_key(place: Place, change: t.Any, params: dict[str, t.Any], message: str) -> None:
    file = place.read()
    raw = dict(file.metadata.raw) | {name: value for name, value in change.items() if name != "age"}
    if "age" in change:
        raw["age"] = [*raw["age"], {"recipient": "ssh-ed25519 AAAA", "enc": "x"}]
    new = sops._edited(file, sops._with_metadata(file.sealed, raw))
    place.path.write_text(new)
    done = place.run(**{"rotate": "always", "recipients": None, **params})
    assert done["failed"] and message in done["msg"], done
    assert place.path.read_text() == new


def test_a_recipient_that_is_given_twice_is_one(place: Place) -> None:
    done = place.run(f" {OWNER.recipient}", OTHER.recipient, OWNER.recipient, content={"a": "new"})
    assert done["recipients"] == place.read().metadata.recipients == [OWNER.recipient, OTHER.recipient]


def test_keys_of_other_kinds_beside_those_that_are_read() -> None:
    others = "AGE-PLUGIN-YUBIKEY-1QGGQXQVPQXX\n# post-quantum\nAGE-SECRET-KEY-PQ-1QQQQ\n"
    assert age.identities(f"{others}{OWNER.text}\n") == [OWNER]
    with pytest.raises(HomelabError, match="The identity in line 1 .* is one of a plugin or of a post-quantum key"):
        age.identities(others)


def test_a_file_for_others_too_keeps_their_entries(place: Place) -> None:
    file = place.read()
    entry = {"recipient": "ssh-ed25519 AAAA", "enc": age.armored(age.encrypt(file.key, [THIRD.recipient]))}
    raw = dict(file.metadata.raw) | {"age": [entry, *file.metadata.raw["age"]], "pgp": [{"fp": "y", "enc": "z"}]}
    place.path.write_text(sops._edited(file, sops._with_metadata(file.sealed, raw)))
    assert place.run(recipients=None, content={"a": "new"})["changed"]
    kept = place.read().metadata.raw
    assert kept["age"][0] == entry and kept["pgp"] == raw["pgp"]


def test_a_link_to_a_file_stays_a_link(place: Place) -> None:
    link, file = place.folder / "link.yaml", place.path
    link.symlink_to(file.name)
    place.path = link
    assert place.run(recipients=None, content={"a": "new"})["changed"]
    assert link.is_symlink() and sops.read(file, "yaml", [OWNER]).values["a"] == "new"

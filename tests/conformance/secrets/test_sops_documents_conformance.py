# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML of several documents, with anchors and merge keys: what we write sops decrypts, and the other way round."""

from __future__ import annotations

import base64
import pathlib
import random
import re
import sys
import typing as t

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent)]

import judges
from judgement import Judgement
from oracle import Oracle
from test_sops_conformance import CASES, KEY, NOW, OTHER, RULES, YAML, coded, decrypted, equal, tree, with_default

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import sops, sops_values, sops_yaml

Trees = list[dict[str, t.Any]]
#: With these, what stands in ``clear`` and ``more`` is in the clear, so that it can have anchors in an encrypted file.
CLEAR: tuple[dict[str, t.Any], ...] = (
    {"encrypted_regex": "^(data|Data)$"}, {"encrypted_regex": "^(data|Data)$", "mac_only_encrypted": True},
    {"unencrypted_regex": "^(clear|more|again|list|pair|own|flow)$"}, {"encrypted_suffix": "ata"},
)  # fmt: skip


def documents(chance: random.Random) -> Trees:
    return [tree(chance, 2) if chance.random() > 0.15 else {} for _ in range(chance.randint(2, 4))]


def with_anchors(chance: random.Random) -> str:
    """A document in which much is repeated by aliases, as a person writes it."""
    shared = {name: chance.choice(["x", 5, None, True, "two\nlines\n", ["i", "j"], {"deep": 1}]) for name in chance.sample("klmn", 2)}  # fmt: skip
    lines = ["clear: &clear # said of it", *(f"    {line}" for line in sops_yaml.emit(shared).splitlines())]
    lines += [f"more: &more {chance.choice(['text', '12', 'yes', '2024-01-01', '~', '1.5'])}"]
    shapes: tuple[list[str], ...] = (
        ["again: *clear"], ["list:", "    - *more", "    # in between", "    - *clear", "    - a: *more", "      b: *clear"],
        ["pair:", "    <<: *clear", "    own: *more"], ["flow: {a: *clear, b: [*more]}"], ["data: *more"], ["data: *clear"],
        ["Data:", "    - *more", "    - secret"], ["plain: *clear"],
        ["own: &own", "    <<: [*clear, {z: 1}]", "    x: *more", "list: *own"],
    )  # fmt: skip
    names: set[str] = set()
    for shape in chance.sample(shapes, chance.randint(1, 5)):
        own = {line.split(":")[0] for line in shape if not line.startswith(" ")}
        lines += [] if own & names else shape
        names |= own
    return "\n".join([*lines, "data_end: secret"]) + "\n"


def encrypted(sops_oracle: Oracle, text: str, rules: dict[str, t.Any]) -> dict[str, t.Any]:
    return sops_oracle.ask(
        op="sops-encrypt", plain=coded(text), format="yaml", recipients=[KEY.recipient], rules=with_default(rules)
    )


def edited(sops_oracle: Oracle, path: pathlib.Path, new: t.Any) -> str:
    """What is wrong when we change the file, and sops reads it."""
    file = sops.read(path, "yaml", [KEY])
    text = sops.changed(file, new, [KEY.recipient, OTHER.recipient], NOW)
    found, error = decrypted(sops_oracle, text, "yaml")
    if error or not equal(found, sops_values.visible(sops.ordered(new, file.tree))):
        return f"edited: {error or f'{found!r}, not {new!r}'}"
    path.write_text(text)
    return (
        ""
        if equal(sops_values.visible(sops.read(path, "yaml", [KEY]).tree), found)
        else "what we edited we read otherwise"
    )


def changes(chance: random.Random, there: Trees) -> Trees:
    """Some documents with other values, some gone from the end, some added to it."""
    new = [{**one, **tree(chance, 1)} if chance.random() < 0.5 else dict(one) for one in there]
    for one in new:
        for name in [name for name in one if chance.random() < 0.2]:
            del one[name]
    return (new + documents(chance))[: max(1, len(new) + chance.choice([-1, 0, 0, 1]))]


def test_documents_that_we_write_sops_decrypts(sops_oracle: Oracle) -> None:
    chance, wrong = random.Random(31), []
    for number in range(CASES):
        given, rules = documents(chance), RULES[number % len(RULES)]
        text = sops.create(given, "yaml", [OTHER.recipient, KEY.recipient], sops_values.Rules(**rules), NOW)
        found, error = decrypted(sops_oracle, text, "yaml")
        if error or not equal(found, given):
            wrong.append(f"{number} {rules}: {error or f'{found!r}, not {given!r}'}")
    _judged("writes-documents", wrong)


def test_documents_that_sops_writes_we_read_and_edit(sops_oracle: Oracle, tmp_path: pathlib.Path) -> None:
    chance, wrong, path = random.Random(37), [], tmp_path / "file.yaml"
    for number in range(CASES):
        given = documents(chance)
        plain = "---\n# a document\n".join(sops_yaml.emit(one) for one in given)
        made = encrypted(sops_oracle, plain, RULES[number % len(RULES)])
        if made.get("error"):
            wrong.append(f"{number}: sops does not encrypt {given!r}: {made['error']}")
            continue
        path.write_bytes(base64.b64decode(made["data"]))
        try:
            found = sops.read(path, "yaml", [KEY]).tree
            problem = "" if equal(found, given) else f"read {found!r}, not {given!r}"
            problem = problem or edited(sops_oracle, path, sops.content_of(changes(chance, sops.documents(found))))
        except HomelabError as error:
            problem = f"{error.message}: {given!r}"
        wrong += [f"{number}: {problem}"] if problem else []
    _judged("reads-documents", wrong)


def test_anchors_that_sops_expanded_and_merge_keys_that_it_tagged(sops_oracle: Oracle, tmp_path: pathlib.Path) -> None:
    chance, wrong, path = random.Random(41), [], tmp_path / "file.yaml"
    for number in range(CASES):
        plain = "---\n".join(with_anchors(chance) for _ in range(chance.randint(1, 2)))
        made = encrypted(sops_oracle, plain, (*RULES, *CLEAR)[number % (len(RULES) + len(CLEAR))])
        path.write_bytes(base64.b64decode(made["data"]))
        expected, _error = decrypted(sops_oracle, path.read_text(), "yaml")
        try:
            found = sops.read(path, "yaml", [KEY]).tree
            expanded = sops.content_of(sops_yaml.load(plain, "")[0])
            seen = sops_values.visible(found)  # sops has its comments in lists as items
            problem = "" if equal(seen, expected) and equal(seen, expanded) else f"read {found!r}, not {expected!r}"
            problem = problem or edited(sops_oracle, path, sops.content_of(changes(chance, sops.documents(found))))
        except HomelabError as error:
            problem = f"{error.message}: {plain}"
        wrong += [f"{number}: {problem}"] if problem else []
    _judged("reads-anchors", wrong)


def test_anchors_that_somebody_wrote_into_an_encrypted_file(sops_oracle: Oracle, tmp_path: pathlib.Path) -> None:
    """sops reads what they stand for, as we do, before and after a change of ours."""
    chance, wrong, path, left = random.Random(43), [], tmp_path / "file.yaml", 0
    for number in range(CASES):
        plain, rules = with_anchors(chance), CLEAR[number % len(CLEAR)]
        expanded = sops_yaml.load(plain, "")[0][0]
        text = sops.create(expanded, "yaml", [KEY.recipient], sops_values.Rules(**rules), NOW)
        path.write_text(written_by_hand(plain, text))
        expected, refused = decrypted(sops_oracle, path.read_text(), "yaml")
        try:
            found = sops.read(path, "yaml", [KEY]).tree
            problem = "" if not refused and equal(found, expected) else f"read {found!r}, not {expected!r} {refused}"
            (new,) = changes(chance, [found])[:1]
            problem = problem or edited(sops_oracle, path, new)
            left += "*" in path.read_text()
        except HomelabError as error:
            problem = "" if refused else f"{error.message}, which sops reads: {plain}"
        wrong += [f"{number}: {problem}"] if problem else []
    assert left > CASES / 10, "hardly any anchor was left to be kept"
    _judged("anchored", wrong)


def test_a_new_data_key_of_ours_takes_values_and_comments_along(sops_oracle: Oracle, tmp_path: pathlib.Path) -> None:
    """What sops decrypts is the same, byte by byte, and nothing opens with the old key."""
    made = encrypted(sops_oracle, f"{YAML}---\n# of two\nb: 2 # said\n", {})
    path = tmp_path / "file.yaml"
    path.write_bytes(base64.b64decode(made["data"]))
    file = sops.read(path, "yaml", [KEY])
    text = sops.changed(file, file.tree, [KEY.recipient], NOW, rotated=True)
    before, after = (
        sops_oracle.ask(op="sops-decrypt", data=coded(one), format="yaml", identity=KEY.text)["data"]
        for one in (file.text, text)
    )
    assert before == after and base64.b64decode(after).decode().count("#") == 9
    old, new = (set(re.findall(r"ENC\[[^]]*\]", one)) for one in (file.text, text))
    assert len(new) == len(old) and not old & new


def written_by_hand(plain: str, text: str) -> str:
    """The encrypted text, in which everything in the clear is as in the plain one: entry by entry at the top."""
    ours, theirs = (
        {part.split(":")[0]: part for part in re.findall(r"^\S[^\n]*\n(?:[ #-][^\n]*\n)*", one, re.MULTILINE)}
        for one in (text, plain)
    )
    return "".join(part if "ENC[" in part else theirs.get(name, part) for name, part in ours.items())


@pytest.mark.parametrize(
    "plain",
    ["a: 1\n---\n- b\n", "a: 1\n--- text\n", "a: &x [*x]\n", "a: *x\n", "a: 1\n---\n1: 2\n", "- a\n"],
)
def test_what_sops_refuses_we_refuse(sops_oracle: Oracle, tmp_path: pathlib.Path, plain: str) -> None:
    assert encrypted(sops_oracle, plain, {}).get("error")
    path = tmp_path / "file.yaml"
    path.write_text("sops: {mac: x}\n---\n" + plain)
    with pytest.raises(HomelabError):
        sops.read(path, "yaml", [KEY])


def _judged(name: str, wrong: list[str]) -> None:
    Judgement(f"sops-{name}", "sops", judges.SOPS_VERSION, "files of sops", CASES, unexplained=wrong).write()
    assert not wrong, "\n".join(wrong[:10])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of sops: regular expressions as Go reads them, and creation rules as people write them."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, sops_rules
from ansible_collections.groundwork.homelab.plugins.module_utils.sops.sops_values import Rules

ONE, TWO, THREE = (age.Identity.generate().recipient for _ in range(3))
NAMES = ["data", "DATA", "a.b", "1", "٣", "ä", "d", "dd", "data\n", "A", "x y", "_a", "-a", "a", "ſ", "S"]
#: A pattern -> what of the names the real sops encrypts by it.
SEEN: dict[str, list[str]] = {
    "^data$": ["data"],
    "(?i)^data$": ["data", "DATA"],
    "(?m)^data$": ["data", "data\n"],
    r"^data\z": ["data"],
    "[[:alpha:]]+$": ["data", "DATA", "a.b", "d", "dd", "A", "x y", "_a", "-a", "a", "S"],
    "^[[:upper:]]$": ["A", "S"],
    "^[^[:alpha:]]+$": ["1", "٣", "ä", "ſ"],
    r"^\d$": ["1"],
    r"^\w$": ["1", "d", "A", "a", "S"],
    r"^\W$": ["٣", "ä", "ſ"],
    r"(?i)^\W$": ["٣", "ä"],
    r"^[\w.]+$": ["data", "DATA", "a.b", "1", "d", "dd", "A", "_a", "a", "S"],
    r"\Qa.b\E": ["a.b"],
    r"^\Qdd\E+$": ["dd"],
    "^d{,2}$": [],
    "(?i)^s$": ["ſ", "S"],
    "(?<n>d)d": ["dd"],
    r"^\x{64}ata$": ["data"],
    r"^\144\x64$": ["dd"],
    "[a&&b]b": [],
    r"\_a|^\-a": ["_a", "-a"],
    "^(d|)$": ["d"],
}


@pytest.mark.parametrize("pattern", SEEN)
def test_an_expression_means_what_it_means_to_sops(pattern: str) -> None:
    rules, others = Rules(encrypted_regex=pattern), Rules(unencrypted_regex=pattern)
    assert [name for name in NAMES if rules.encrypted((name,))] == SEEN[pattern]
    assert [name for name in NAMES if not others.encrypted((name,))] == SEEN[pattern]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"^data\Z", r"\Z is nothing in Go's"), ("^(?=d)", "(?=d is no group of Go's"), ("da++", "+ repeats nothing"),
        ("^d(?>a)", "(?>a is no group of Go's"), (r"(d)\1", r"\1 is nothing in Go's"), ("(?P<n>d)(?P=n)", "is no group of Go's"),
        ("(?x) d", "(?x) is no group"), ("d{1001}", "repeats more than 1000 times"), ("*a", "* repeats nothing"), ("(|*a)", "* repeats"),
        (r"^\pL$", r"\p is nothing in Go's, or not supported"), ("d(?i)A", "(?i) is supported at its beginning only"), ("[a-", "too early"),
        ("[b-a]", "a range of characters in it is none"), ("[[:letter:]]", "[:letter:] is no class"), ("(a", "missing ), unterminated"),
        (r"\x{110000}", "no hexadecimal number of a character"), (r"\xg0", "no hexadecimal number"), (r"(?i)[\W]", "not supported with (?i)"),
        ("(?m:a$)", "at its beginning only"), ("a\\", "it ends too early"), ("[", "it ends too early"), ("a)", "unbalanced parenthesis"),
    ],
)  # fmt: skip
def test_what_go_does_not_read_is_refused(pattern: str, why: str) -> None:
    """Python would read some of it as something else, and sops takes it for one that nothing matches."""
    with pytest.raises(InvalidInput) as caught:
        Rules(encrypted_regex=pattern)
    assert caught.value.problem.startswith("encrypted_regex is not a regular expression: ")
    assert why in caught.value.message and "Go's (RE2)" in caught.value.message


def rule(folder: pathlib.Path, text: str, name: str = "x.yaml") -> sops_rules.Rule:
    (folder / ".sops.yaml").write_text(text)
    return sops_rules.rule_for(folder / name, folder / ".sops.yaml")


def test_recipients_by_anchors_and_groups_that_merge(tmp_path: pathlib.Path) -> None:
    """As the documentation of sops writes them."""
    text = f"""
keys: [&one {ONE}, &two {TWO}]
groups:
  - &base
    age: [*one]
creation_rules:
  - path_regex: ^(?i:CLUSTERS)/[[:alnum:]]+\\.yaml$
    key_groups:
      - merge: [*base, {{age: [*one, *two]}}]
        age: [{THREE}]
  - path_regex: ""
    age: >-
      {TWO},
      {ONE},
"""
    assert rule(tmp_path, text, "clusters/home1.yaml").recipients == [ONE, TWO, THREE]
    assert rule(tmp_path, text, "clusters/home-1.yaml").recipients == [TWO, ONE]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "No creation rule in"),
        ([{"path_regex": "other"}], "fits x.yaml"),
        (None, "has no creation_rules"),
        ([{"path_regex": "(?=x)"}, {"age": ONE}], "rule 1: path_regex is not a regular expression"),
        ([{"key_groups": [{"age": [ONE]}, {"age": [TWO]}]}], "has several key_groups"),
        ([{"key_groups": [{"merge": [{"pgp": ["x"]}], "age": [ONE]}]}], "asks for pgp; only age is supported"),
        ([{"key_groups": {"age": [ONE]}}], "key_groups is not a list of groups"),
        ([{"age": "ssh-ed25519 AAAA"}], "keys of SSH are not supported"),
        ([{"age": ""}], "names no age recipients"),
        ([{"age": ONE, "encrypted_regex": "a", "encrypted_suffix": "b"}], "cannot be used together"),
        ([{"age": ONE, "encrypted_comment_regex": "a"}], "encrypted_comment_regex are not supported"),
        ([{"age": ONE, "encrypted_regex": "(?=a)"}], "encrypted_regex is not a regular expression"),
    ],
)
def test_creation_rules_that_are_refused(tmp_path: pathlib.Path, rules: t.Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rule(tmp_path, yaml.safe_dump({"creation_rules": rules}))
    assert message in caught.value.message

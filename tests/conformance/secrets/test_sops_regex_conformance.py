# SPDX-License-Identifier: GPL-3.0-or-later
"""Regular expressions of rules: what sops encrypts by them, we do, and what its Go cannot read we refuse."""

from __future__ import annotations

import base64
import pathlib
import random
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent)]

import judges
from judgement import Judgement
from oracle import Oracle
from test_sops_conformance import KEY, coded

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import sops_values, sops_yaml

CASES = 600
NAMES = (
    "data", "DATA", "stringData", "a.b", "1", "٣", "ä", "Ä", "α", "d", "dd", "data\n", "A", "x y", "_a", "-a", "a", "ſ", "K", "S",
    "aa\n", "a[b]", "{", "}", "a|b", "^$", "password_1", "tls.key", "\t", "\x0b", "]", "é-",
)  # fmt: skip
PIECES = (
    "a", "d", "data", ".", r"\.", "^", "$", r"\z", r"\A", r"\b", r"\B", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "[[:alpha:]]",
    "[[:^alpha:]]", "[^[:upper:]_]", "[[:punct:]]", "[[:space:]]", "[a-c]", "[^a-c]", "[]d]", "[a-]", "[-a]", r"[\w.-]", r"[^\W]", r"[\D]",
    "(", ")", "(?:", "(?P<n>", "(?i:", "|", "*", "+", "?", "{2}", "{1,2}", "{,2}", "{", "}", "+?", r"\Qa.b\E", r"\Qda\E", r"\x64",
    r"\x{61}", r"\141", "ä", "S", "K", r"\_", r"\-", " ", r"\t", "&&", "--", "~", "#", "[a&&b]", "[a--b]", r"\1", "(?=", r"\Z", "a++",
)  # fmt: skip


def pattern(chance: random.Random) -> str:
    whole = chance.choice(["", "", "(?i)", "(?m)", "(?s)", "^", "^("])
    body = "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 4)))
    return whole + body + (chance.choice([")$", ")"]) if whole == "^(" else chance.choice(["", "$"]))


def test_the_same_values_are_encrypted(sops_oracle: Oracle) -> None:
    """``sops`` takes a pattern that Go cannot read for one that matches nothing. Refused is better."""
    chance, wrong, read = random.Random(47), [], 0
    plain = sops_yaml.emit(dict.fromkeys(NAMES, "value"))
    for number in range(CASES):
        given = pattern(chance)
        made = sops_oracle.ask(
            op="sops-encrypt", plain=coded(plain), format="yaml", recipients=[KEY.recipient], rules={"encrypted_regex": given}
        )  # fmt: skip
        there = sops_yaml.load(base64.b64decode(made["data"]).decode(), "sops")[0][0]
        theirs = [name for name in NAMES if there[name].startswith("ENC[")]
        try:
            rules = sops_values.Rules(encrypted_regex=given)
        except InvalidInput:
            continue
        ours = [name for name in NAMES if rules.encrypted((name,))]
        read += 1
        if ours != theirs:
            wrong.append(f"{number} {given!r}: sops has {theirs}, not {ours}")
    assert read > CASES / 2, "nearly all are refused"
    Judgement(
        "sops-regex", "sops", judges.SOPS_VERSION, "regular expressions of rules", CASES, unexplained=wrong
    ).write()
    assert not wrong, "\n".join(wrong[:10])

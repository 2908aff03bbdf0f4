# SPDX-License-Identifier: GPL-3.0-or-later
"""age: the project's own test vectors, and files both ways between our code and theirs."""

from __future__ import annotations

import base64
import hashlib
import os
import pathlib
import random
import sys
import typing as t
import zlib

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent)]

import judges
from judgement import Judgement
from oracle import Oracle

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError, InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age

#: What is not supported, by the line of a vector's header that asks for it.
UNSUPPORTED = {"passphrase": "passphrases are for people, not for runs", "AGE-SECRET-KEY-PQ-": "hybrid keys"}
#: Lengths around the borders of lines, chunks and nothing.
LENGTHS = (0, 1, 47, 48, 49, 65535, 65536, 65537, 131072, 200_000)


def read(vector: bytes) -> tuple[dict[str, list[str]], bytes]:
    head, _, file = vector.partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        fields.setdefault(key, []).append(value)
    return fields, zlib.decompress(file) if "compressed" in fields else file


def verdict(file: bytes, identities: list[str]) -> tuple[str, bytes]:
    try:
        return "success", age.decrypt(file, [age.Identity.parse(text) for text in identities])
    except age.NotForUs:
        return "no match", b""
    except InvalidInput:
        return "failure", b""


def skipped(fields: dict[str, list[str]]) -> str:
    text = " ".join([*fields, *fields.get("identity", [])])
    return next((why for what, why in UNSUPPORTED.items() if what in text), "")


def test_the_vectors_of_age(age_oracle: Oracle) -> None:
    answer = age_oracle.ask(op="vectors")
    vectors = {name: read(base64.b64decode(data)) for name, data in answer["files"].items()}
    wrong, explained = [], []
    for name, (fields, file) in sorted(vectors.items()):
        if skipped(fields):
            explained.append((name, skipped(fields)))
            continue
        expected = fields["expect"][0]
        found, plain = verdict(file, fields.get("identity", []))
        same = found == expected or (found == "failure" and expected.endswith("failure"))
        if not same or (found == "success" and hashlib.sha256(plain).hexdigest() != fields["payload"][0]):
            wrong.append(f"{name}: {found}, expected {expected}: {fields.get('comment')}")
    Judgement(
        "age-vectors", "test vectors of age (CCTV)", judges.VECTORS, "reading of age files",
        len(vectors), explained=explained, unexplained=wrong,
    ).write()  # fmt: skip
    assert not wrong, "\n".join(wrong)
    assert len(vectors) - len(explained) > 60


@pytest.mark.parametrize("armor", [False, True])
def test_what_one_writes_the_other_reads(age_oracle: Oracle, armor: bool) -> None:
    chance = random.Random(7)
    for length in [*LENGTHS, *(chance.randrange(5000) for _ in range(60))]:
        plain = os.urandom(length)
        keys = [age.Identity.generate() for _ in range(chance.randint(1, 4))]
        recipients = [key.recipient for key in keys]
        chosen = chance.choice(keys)
        ours: t.Any = age.encrypt(plain, recipients)
        ours = age.armored(ours).encode() if armor else ours
        theirs = age_oracle.ask(op="decrypt", data=base64.b64encode(ours).decode(), identity=chosen.text)
        assert (base64.b64decode(theirs["data"] or ""), theirs.get("error")) == (plain, None), length
        made = age_oracle.ask(op="encrypt", plain=base64.b64encode(plain).decode(), recipients=recipients, armor=armor)
        assert age.decrypt(base64.b64decode(made["data"]), [chosen]) == plain, length


def test_a_file_of_which_one_byte_is_wrong_is_never_read(age_oracle: Oracle) -> None:
    key = age.Identity.generate()
    file = age.encrypt(b"something to keep", [key.recipient])
    for place in range(len(file)):
        broken = file[:place] + bytes([file[place] ^ 1]) + file[place + 1 :]
        with pytest.raises(HomelabError):
            age.decrypt(broken, [key])
        answer = age_oracle.ask(op="decrypt", data=base64.b64encode(broken).decode(), identity=key.text)
        assert answer.get("error"), place

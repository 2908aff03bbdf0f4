# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that people type: sops, age and kubeseal as they are built from their modules, on files of ours and the other
way round. Part of ``make conformance`` only: other runs of the tests have the oracles, which are small."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pathlib
import random
import subprocess
import sys
import typing as t

import pytest
import yaml

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent)]

import judgement
import judges
from judgement import Judgement
from test_sops_conformance import RULES, content, equal, load, whole_numbers, with_default

from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import (
    key_pairs,
    sealed_secrets,
    sealing,
    yaml_text,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, sops, sops_ini, sops_values
from simlab.binaries import KUBESEAL, Program

pytestmark = judgement.takes_minutes

NOW = datetime.datetime.now(datetime.timezone.utc)
CASES = 20
#: Files that hold names and values at the top, so that ``sops set`` can add one.
ENDINGS = {"yaml": "yaml", "json": "json", "dotenv": "env"}


def done(program: Program, *arguments: str, given: bytes = b"", **environment: str) -> bytes:
    """What a program prints. Raises CalledProcessError."""
    command = [str(program.build(lambda text: print(text, flush=True))), *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, check=True, timeout=60, env=os.environ | environment
    ).stdout


def judged(name: str, judge: str, version: str, what: str, wrong: list[str], cases: int = CASES) -> None:
    Judgement(f"program-{name}", judge, version, what, cases, unexplained=wrong).write()
    assert not wrong, "\n".join(wrong[:10])


# -- sops --------------------------------------------------------------------------------------------------------------


class Sops:
    """The program with our identity, in a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.key = folder, age.Identity.generate()
        self._program = judges.sops()

    def __call__(self, *arguments: str) -> bytes:
        return done(self._program, *arguments, SOPS_AGE_KEY=self.key.text)


@pytest.mark.parametrize("form", ENDINGS)
def test_files_go_back_and_forth_between_sops_and_us(tmp_path: pathlib.Path, form: str) -> None:
    chance, wrong, program = random.Random(17), [], Sops(tmp_path)
    path = tmp_path / f"file.{ENDINGS[form]}"
    for number in range(CASES):
        given, rules = _exact(content(chance, form)), with_default(RULES[number % len(RULES)])
        try:
            wrong += _back_and_forth(program, path, form, given, rules)
        except subprocess.CalledProcessError as error:
            wrong.append(f"{number} {given!r}: {error.stderr.decode()}")
    judged(f"sops-{form}", "sops (program)", judges.SOPS_VERSION, "files edited in turn", wrong)


def _exact(tree: dict[str, t.Any]) -> dict[str, t.Any]:
    """Without the numbers that sops itself loses: it has those of JSON as floats when it edits."""
    found: dict[str, t.Any] = sops_values.replaced(
        tree, lambda _p, one: 7 if isinstance(one, (int, float)) and abs(one) > 2**53 else one
    )
    return found


def _back_and_forth(
    program: Sops, path: pathlib.Path, form: str, given: dict[str, t.Any], rules: dict[str, t.Any]
) -> list[str]:
    """We write, sops reads, sets a value and makes a new data key, we read and edit, sops reads."""
    wrong = []
    path.write_text(sops.create(given, form, [program.key.recipient], sops_values.Rules(**rules), NOW))
    if not equal(load(program("decrypt", str(path)).decode(), form), given):
        wrong.append(f"sops reads another {given!r}")
    program("set", str(path), '["added"]', '"by sops"')
    program("rotate", "--in-place", str(path))
    file = sops.read(path, form, [program.key])
    expected = {**given, "added": "by sops"}
    if not equal(file.tree, expected):
        wrong.append(f"we read {file.tree!r}, not {expected!r}")
    new = {**sops_values.visible(file.tree), "added": "by us"}
    path.write_text(sops.changed(file, new, [program.key.recipient], NOW))
    if not equal(load(program("decrypt", str(path)).decode(), form), new):
        wrong.append(f"sops reads another one after our edit: {new!r}")
    again = sops.read(path, form, [program.key])
    if sops.changed(again, again.tree, again.metadata.recipients, NOW).count("ENC[") != path.read_text().count("ENC["):
        wrong.append("a value is lost")
    return wrong


def test_what_is_not_touched_keeps_its_bytes_in_either_hand(tmp_path: pathlib.Path) -> None:
    """One line of a value and the two of the MAC differ, whoever edits."""
    program, path = Sops(tmp_path), tmp_path / "file.yaml"
    tree = {"a": "one", "b": {"c": ["x", "y"], "d": "three"}, "e": whole_numbers(5)}
    path.write_text(sops.create(tree, "yaml", [program.key.recipient], sops_values.Rules(), NOW))
    before = path.read_text().splitlines()
    file = sops.read(path, "yaml", [program.key])
    new = {**file.tree, "a": "other"}
    ours = sops.changed(file, new, [program.key.recipient], NOW).splitlines()
    assert {line.partition(":")[0].strip() for line in ours if line not in before} <= {"a", "mac", "lastmodified"}
    path.write_text("\n".join(ours) + "\n")
    program("set", str(path), '["a"]', '"third"')
    theirs = path.read_text().splitlines()
    assert [line for line in theirs if line.strip().startswith(("- ENC", "d:", "e:"))] == [
        line for line in ours if line.strip().startswith(("- ENC", "d:", "e:"))
    ]


@pytest.mark.parametrize("form", ["ini", "binary"])
def test_sections_and_whole_files_are_the_programs_too(tmp_path: pathlib.Path, form: str) -> None:
    chance, wrong, program = random.Random(29), [], Sops(tmp_path)
    path, clear = tmp_path / f"file.{form}", tmp_path / f"clear.{form}"
    for number in range(CASES):
        given = content(chance, form)
        path.write_text(sops.create(given, form, [program.key.recipient], sops_values.Rules(), NOW))
        if not equal(load(program("decrypt", str(path)).decode(), form), given):
            wrong.append(f"{number}: sops reads another {given!r}")
        clear.write_text(given["data"] if form == "binary" else sops_ini.emit(given))
        theirs = program("encrypt", "--age", program.key.recipient, str(clear))
        path.write_bytes(theirs)
        file = sops.read(path, form, [program.key])
        if not equal(file.tree, given):
            wrong.append(f"{number}: we read {file.tree!r}, not {given!r}")
    judged(f"sops-{form}", "sops (program)", judges.SOPS_VERSION, "files both ways", wrong)


# -- age ---------------------------------------------------------------------------------------------------------------


def test_files_of_age_and_ours_and_keys_of_age_keygen(tmp_path: pathlib.Path) -> None:
    chance, wrong, path = random.Random(19), [], tmp_path / "key.txt"
    for number in range(CASES):
        path.unlink(missing_ok=True)
        done(judges.AGE_KEYGEN, "-o", str(path))
        (key,) = age.identities(path.read_text())
        if done(judges.AGE_KEYGEN, "-y", str(path)).decode().strip() != key.recipient:
            wrong.append(f"{number}: another recipient")
        plain = os.urandom(chance.choice([0, 1, 64, 65536, 70_000]))
        ours: t.Any = age.encrypt(plain, [key.recipient])
        ours = age.armored(ours).encode() if number % 2 else ours
        if done(judges.AGE, "--decrypt", "--identity", str(path), given=ours) != plain:
            wrong.append(f"{number}: age reads another one")
        more = ["--armor"] if number % 2 else []
        theirs = done(judges.AGE, "--encrypt", "--recipient", key.recipient, *more, given=plain)
        if age.decrypt(theirs, [key]) != plain:
            wrong.append(f"{number}: we read another one")
    judged("age", "age and age-keygen (programs)", judges.AGE_VERSION, "files and keys both ways", wrong)


# -- kubeseal ----------------------------------------------------------------------------------------------------------


def test_what_kubeseal_seals_we_open_and_the_other_way_round(tmp_path: pathlib.Path) -> None:
    chance, wrong = random.Random(23), []
    pair = key_pairs.generate("key", "kube-system", 2048, 30, NOW)
    certificate, keys = tmp_path / "tls.crt", tmp_path / "keys.yaml"
    certificate.write_text(pair.certificate_pem)
    keys.write_text(yaml_text.text_of([pair.manifest()]))
    for number in range(CASES):
        scope = sealing.SCOPES[number % len(sealing.SCOPES)]
        values = {f"v{index}": chance.choice(["", "grüße 🔑", "x" * 5000, "a\nb\n"]) for index in range(3)}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db", "namespace": "media"},
            "stringData": values,
        }
        given = json.dumps(secret).encode()
        theirs = done(KUBESEAL, "--cert", str(certificate), "--scope", scope, "--format", "yaml", given=given)
        (document,) = yaml_text.documents(theirs.decode(), "kubeseal")
        target = sealed_secrets.target_of(document)
        texts = document["spec"]["encryptedData"]
        opened = {name: sealing.unseal(text, target, [pair.key]).decode() for name, text in texts.items()}
        if opened != values or target.scope != scope:
            wrong.append(f"{number}: we open {opened!r} in the scope {target.scope}")
        entry = dict.fromkeys(("definition", "type", "immutable", "labels", "annotations", "path"))
        wanted = sealed_secrets.wanted(
            {**entry, "name": "db", "namespace": "media", "contents": values, "scope": scope}, "secret"
        )
        ours = sealed_secrets.document(wanted, sealed_secrets.Means(pair.certificate, os.urandom(32)), None)
        text = yaml_text.text_of([ours]).encode()
        arguments = ("--recovery-unseal", "--recovery-private-key", str(keys), "--format", "yaml")
        found = yaml.safe_load(done(KUBESEAL, *arguments, given=text))
        data = {name: base64.b64decode(value or "").decode() for name, value in (found.get("data") or {}).items()}
        if data != values:
            wrong.append(f"{number}: kubeseal opens {data!r}")
    judged("kubeseal", "kubeseal (program)", judges.SEALED_VERSION, "sealing and opening, all scopes", wrong)

# SPDX-License-Identifier: GPL-3.0-or-later
"""sops: what we write its code decrypts, MAC included; what it writes we read and edit; the same creation rules."""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import random
import sys
import typing as t

import pytest
import yaml

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parent)]

import judges
from judgement import Judgement
from oracle import Oracle

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import HomelabError
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import (
    age,
    sops,
    sops_ini,
    sops_rules,
    sops_stores,
    sops_values,
    sops_yaml,
)

NOW = datetime.datetime.now(datetime.timezone.utc)
KEY, OTHER = age.Identity.generate(), age.Identity.generate()
CASES = 80
TEXTS = (
    "", "a", "grüße, 世界 🔑", "line\nline\n", "two\n\n", " space", "x: y", "# no comment", "yes", "No", "null", "~", "12", "1.5",
    "0x1f", "1e3", "2024-01-01", "-", "- a", "{a: b}", "[x]", "'", '"', "\\", "\\t", "\t", "a\rb", "\x7f\x01", "\u2028", "*a", "&a",
    "!x", "%", "@", "`", "<b>&", "x" * 5000, "=", "ENC[AES256_GCM", "true", "\ufeff", "\x85",
)  # fmt: skip
NAMES = (
    "a",
    "b",
    "Data",
    "with space",
    "ä",
    "x.y",
    "x:y",
    "yes",
    "12",
    "on_unencrypted",
    "data",
    "secret_enc",
    "#",
    "-",
    "null",
    "",
)
RULES: tuple[dict[str, t.Any], ...] = (
    {},
    {"unencrypted_suffix": "_unencrypted"},
    {"encrypted_suffix": "_enc"},
    {"encrypted_regex": "^(data|Data)$"},
    {"unencrypted_regex": "^[ab]$"},
    {"encrypted_regex": "^(data|Data)$", "mac_only_encrypted": True},
    {"mac_only_encrypted": True},
)  # fmt: skip


def with_default(rules: dict[str, t.Any]) -> dict[str, t.Any]:
    """As the program does it, though not its library: the suffix, where nothing else is said."""
    return rules if set(rules) - {"mac_only_encrypted"} else {"unencrypted_suffix": "_unencrypted", **rules}


def scalar(chance: random.Random) -> t.Any:
    number = chance.choice([0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
    real = chance.choice([0.5, -1.25, 1e-9, 1e22, 123456789.125, 3.0])
    return chance.choice([None, True, False, number, real, *chance.sample(TEXTS, 6)])


def tree(chance: random.Random, depth: int = 3) -> dict[str, t.Any]:
    return {name: value(chance, depth) for name in chance.sample(NAMES, chance.randint(1, 5))}


def value(chance: random.Random, depth: int) -> t.Any:
    kind = chance.random()
    if depth and kind < 0.3:
        return tree(chance, depth - 1) if kind > 0.02 else {}
    if depth and kind < 0.5:
        return [value(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return scalar(chance)


def flat(chance: random.Random) -> dict[str, t.Any]:
    texts = [text for text in TEXTS if "\r" not in text and "\\n" not in text]
    return {name: chance.choice(texts) for name in chance.sample(["A", "B_C", "PASSWORD", "x.y", "D_unencrypted"], 3)}


def keepable(text: str) -> bool:
    """Whether it can stand in an INI file in the clear, which is what sops makes of one."""
    try:
        return bool(sops_ini._quoted("", text)) or not text
    except HomelabError:
        return False


def sections(chance: random.Random) -> dict[str, t.Any]:
    texts = [text for text in TEXTS if keepable(text) and "\r" not in text and "\\n" not in text]
    names = ["A", "b_c", "PASSWORD", "x.y", "D_unencrypted", "data", "secret_enc"]
    return {
        section: {name: chance.choice(texts) for name in chance.sample(names, chance.randint(1, 4))}
        for section in chance.sample(["one", "two words", "a"], chance.randint(1, 3))
    }


def content(chance: random.Random, form: str) -> dict[str, t.Any]:
    if form == "binary":
        return {"data": chance.choice(TEXTS) * chance.choice([1, 3])}
    return {"dotenv": flat, "ini": sections}.get(form, tree)(chance)


def load(text: str, form: str) -> dict[str, t.Any]:
    if form == "binary":
        return {"data": text}
    if form == "ini":
        return sops_ini.load(text, "sops")
    if form == "yaml":
        return t.cast("dict[str, t.Any]", sops.content_of(sops_yaml.load(text, "sops")[0]))
    return sops_stores.load_json(text, "sops") if form == "json" else sops_stores.load_dotenv(text, "sops")


def plain(given: dict[str, t.Any], form: str) -> str:
    """As a person would have written it, for sops to encrypt."""
    if form in ("ini", "binary"):
        return sops_ini.emit(given) if form == "ini" else str(given["data"])
    if form == "yaml":
        return "# at the top\n\n" + sops_yaml.emit(given).replace("\n", "\n", 1)
    return json.dumps(given) if form == "json" else sops_stores.emit_dotenv(given, "# at the top\n")


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def whole_numbers(tree: t.Any) -> t.Any:
    """sops writes 3.0 as 3 when it decrypts."""
    return sops_values.replaced(
        tree, lambda _p, v: int(v) if isinstance(v, float) and v.is_integer() and abs(v) < 2**63 else v
    )


def equal(one: t.Any, other: t.Any) -> bool:
    return sops_values.same(whole_numbers(one), whole_numbers(other))


def decrypted(sops_oracle: Oracle, text: str, form: str) -> tuple[t.Any, str]:
    said = sops_oracle.ask(op="sops-decrypt", data=coded(text), format=form, identity=KEY.text)
    if said.get("error"):
        return None, said["error"]
    return load(base64.b64decode(said["data"]).decode(), form), ""


@pytest.mark.parametrize("form", sops.FORMATS)
def test_what_we_write_sops_decrypts(sops_oracle: Oracle, form: str) -> None:
    chance, wrong = random.Random(3), []
    for number in range(CASES):
        given, rules = content(chance, form), RULES[number % len(RULES)]
        text = sops.create(given, form, [OTHER.recipient, KEY.recipient], sops_values.Rules(**rules), NOW)
        found, error = decrypted(sops_oracle, text, form)
        if error or not equal(found, given):
            wrong.append(f"{number} {rules}: {error or f'{found!r}, not {given!r}'}")
    _judged(f"writes-{form}", wrong)


@pytest.mark.parametrize("form", sops.FORMATS)
def test_what_sops_writes_we_read_and_edit_and_sops_reads_it_again(
    sops_oracle: Oracle, form: str, tmp_path: pathlib.Path
) -> None:
    chance, wrong, path = random.Random(5), [], tmp_path / "file"
    for number in range(CASES):
        given, rules = content(chance, form), with_default(RULES[number % len(RULES)])
        made = sops_oracle.ask(
            op="sops-encrypt", plain=coded(plain(given, form)), format=form, recipients=[KEY.recipient], rules=rules
        )
        if made.get("error"):
            wrong.append(f"{number}: sops does not encrypt {given!r}: {made['error']}")
            continue
        text = base64.b64decode(made["data"]).decode()
        path.write_text(text)
        try:
            file = sops.read(path, form, [KEY])
        except HomelabError as error:
            wrong.append(f"{number}: {error.message}: {given!r}")
            continue
        if not equal(file.tree, given):
            wrong.append(f"{number}: read {file.tree!r}, not {given!r}")
        new = {**file.tree, **content(chance, form)}
        edited = sops.changed(file, new, [KEY.recipient, OTHER.recipient], NOW)
        found, error = decrypted(sops_oracle, edited, form)
        if error or not equal(found, new):
            wrong.append(f"{number} edited {rules}: {error or f'{found!r}, not {new!r}'}")
        if form not in ("json", "binary") and text.count("#ENC[") != edited.count("#ENC["):
            wrong.append(f"{number}: a comment is lost")
    _judged(f"reads-{form}", wrong)


YAML = """# the lab
top: 1 # said of top

# about the section
section:
    # the first
    a: one
    # the second
    b: 2
    list:
        # an item
        - x
        - k: v
          l: 1.5
        - - deep
          - 7
    nothing: null
    empty: {}
    none: []
    when: 2024-02-03
    text: |
        two
        lines
flags: [true, false]
# the end
"""


def test_comments_and_everything_else_of_a_persons_file_stay(sops_oracle: Oracle, tmp_path: pathlib.Path) -> None:
    """sops encrypts it, we change one value, sops decrypts it: its own comments, where they were."""
    made = sops_oracle.ask(op="sops-encrypt", plain=coded(YAML), format="yaml", recipients=[KEY.recipient], rules={"unencrypted_suffix": "_x"})  # fmt: skip
    path = tmp_path / "file.yaml"
    path.write_bytes(base64.b64decode(made["data"]))
    file = sops.read(path, "yaml", [KEY])
    new = sops_values.visible(file.tree)
    new["section"]["b"] = 3
    text = sops.changed(file, new, [KEY.recipient], NOW)
    changed = [line for line in file.text.splitlines() if line not in text.splitlines()]
    assert {line.split(":")[0].strip() for line in changed} <= {"b", "mac", "lastmodified"}
    before, after = (
        base64.b64decode(
            sops_oracle.ask(op="sops-decrypt", data=coded(one), format="yaml", identity=KEY.text)["data"]
        ).decode()
        for one in (file.text, text)
    )
    assert after == before.replace("b: 2", "b: 3")
    assert before.count("#") == 7


def test_a_whole_file_of_ours_is_laid_out_as_sops_does_it(sops_oracle: Oracle) -> None:
    """Decrypted by sops, and by us: the same bytes."""
    given = yaml.safe_load(YAML.replace("2024-02-03", '"x"'))
    text = sops.create(given, "yaml", [KEY.recipient], sops_values.Rules(), NOW)
    said = sops_oracle.ask(op="sops-decrypt", data=coded(text), format="yaml", identity=KEY.text)
    assert base64.b64decode(said["data"]).decode() == sops_yaml.emit(given)


def test_creation_rules_are_chosen_as_sops_does_it(sops_oracle: Oracle, tmp_path: pathlib.Path) -> None:
    rules = [
        {"path_regex": r"^clusters/.*\.sops\.yaml$", "age": KEY.recipient, "encrypted_regex": "^data$"},
        {"path_regex": r"\.env$", "age": f"{KEY.recipient}, {OTHER.recipient}", "mac_only_encrypted": True},
        {"path_regex": "grouped", "key_groups": [{"age": [OTHER.recipient]}], "unencrypted_suffix": "_free"},
        {"path_regex": "list", "age": [OTHER.recipient, KEY.recipient]},
    ]
    config = tmp_path / ".sops.yaml"
    config.write_text(yaml.safe_dump({"creation_rules": rules}))
    paths = [
        "clusters/a.sops.yaml",
        "deep/clusters/a.sops.yaml",
        ".env",
        "a/b.env",
        "grouped/x.yaml",
        "a-list.yaml",
        "x",
    ]
    for name in paths:
        said = sops_oracle.ask(op="sops-rule", config=str(config), path=str(tmp_path / name))
        try:
            found = sops_rules.rule_for(tmp_path / name, config)
        except HomelabError:
            assert said.get("error"), name
            continue
        assert (found.recipients, said.get("error")) == (said["recipients"], None), name
        assert found.rules == sops_values.Rules(**said["rules"]), name


def _judged(name: str, wrong: list[str]) -> None:
    Judgement(f"sops-{name}", "sops", judges.SOPS_VERSION, "files of sops", CASES, unexplained=wrong).write()
    assert not wrong, "\n".join(wrong[:10])

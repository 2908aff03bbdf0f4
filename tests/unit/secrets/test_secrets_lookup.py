# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a use of the lookup of SOPS files is said, and nothing secret with it."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

import pytest
from secrets_room import play, run

from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age, sops, sops_values
from ansible_collections.groundwork.homelab.plugins.modules import sops_file

OWNER, STRANGER = age.Identity.generate(), age.Identity.generate()
PASSWORD = "hunter2hunter2"
WELL = "age_key_file='age.txt'"

#: What the lookup is given -> what it says.
WRONG: dict[str, tuple[str, str]] = {
    "no key file": ("'good.sops.yaml'", "age_key_file"),
    "a key file that is not there": ("'good.sops.yaml', age_key_file='nobody.txt'", "There is no age key file at"),
    "a key file that others can read": ("'good.sops.yaml', age_key_file='open.txt'", "others than its owner"),
    "a key file without a key": ("'good.sops.yaml', age_key_file='empty.txt'", "holds no identity"),
    "the identity of somebody else": (
        "'good.sops.yaml', age_key_file='stranger.txt'",
        f"it is encrypted for {OWNER.recipient}, not for the given identities",
    ),
    "a value that was removed": (f"'removed.sops.yaml', {WELL}", "its MAC is not that of its values"),
    "a value that was changed": (f"'changed.sops.yaml', {WELL}", "a does not decrypt: it was changed, moved"),
    "a file that is not encrypted": (f"'plain.yaml', {WELL}", "plain.yaml is not encrypted: it has no part sops"),
    "a file that is not there": (f"'nobody.sops.yaml', {WELL}", "nobody.sops.yaml"),
    "a value that is not there": (f"'good.sops.yaml', key=['a', 'b'], {WELL}", "good.sops.yaml has no a.b"),
    "a document that is not there": (f"'several.sops.yaml', key=['2', 'a'], {WELL}", "several.sops.yaml has no 2.a"),
    "a value of no document": (f"'several.sops.yaml', key=['a'], {WELL}", "several.sops.yaml has no a"),
    "an unknown option": (
        f"'good.sops.yaml', keys=['a'], {WELL}",
        "The lookup has no option keys. There are age_key_file, format, key.",
    ),
    "an unknown format": (f"'good.sops.yaml', format='toml', {WELL}", "toml"),
}


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each wrong use says, of one playbook."""
    folder = tmp_path_factory.mktemp("lookup")
    for name, text in {"age": OWNER.text, "stranger": STRANGER.text, "open": OWNER.text, "empty": "# none"}.items():
        (folder / f"{name}.txt").write_text(text + "\n")
        (folder / f"{name}.txt").chmod(0o644 if name == "open" else 0o600)
    files(folder)
    tasks: list[dict[str, t.Any]] = [
        {
            "ansible.builtin.debug": {"msg": "{{ lookup('groundwork.homelab.sops', " + given + ") }}"},
            "register": f"r{number}",
            "ignore_errors": True,
        }
        for number, (given, _message) in enumerate(WRONG.values())
    ]
    content = "{{ [" + ", ".join(f"r{number}" for number in range(len(WRONG))) + "] | to_json }}"
    tasks.append({"ansible.builtin.copy": {"content": content, "dest": str(folder / "said.json"), "mode": "0600"}})
    done = play(folder, tasks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert OWNER.text not in done.stdout + done.stderr and STRANGER.text not in done.stdout + done.stderr
    said = json.loads((folder / "said.json").read_text())
    return {case: str(one["msg"]) if one.get("failed") else "" for case, one in zip(WRONG, said, strict=True)}


def files(folder: pathlib.Path) -> None:
    good = folder / "good.sops.yaml"
    content = {"a": PASSWORD, "other": PASSWORD}
    options = {"recipients": [OWNER.recipient], "age_key_file": str(folder / "age.txt")}
    assert run(sops_file, path=str(good), content=content, **options)["changed"]
    documents = [{"a": PASSWORD}, {"a": PASSWORD}]
    assert run(sops_file, path=str(folder / "several.sops.yaml"), documents=documents, **options)["changed"]
    lines = good.read_text().splitlines(keepends=True)
    (folder / "removed.sops.yaml").write_text("".join(line for line in lines if not line.startswith("other:")))
    (folder / "changed.sops.yaml").write_text(good.read_text().replace("data:", "data:AAAA", 1))
    (folder / "plain.yaml").write_text(f"a: {PASSWORD}\n")


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str, messages: dict[str, str]) -> None:
    assert WRONG[case][1] in messages[case], messages[case]
    assert PASSWORD not in messages[case]


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("the identity of somebody else", "good"),
        ("a value that was removed", "removed"),
        ("a value that was changed", "changed"),
    ],
)
def test_it_is_said_which_file_it_is(case: str, name: str, messages: dict[str, str]) -> None:
    assert f"/{name}.sops.yaml)" in messages[case], messages[case]


def test_of_several_documents_all_or_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "age.txt").write_text(f"{OWNER.text}\n")
    (tmp_path / "age.txt").chmod(0o600)
    documents = [{"a": "1"}, {"a": {"b": "2"}, "c": {"<<": {"d": "3"}}}]
    options = {"recipients": [OWNER.recipient], "age_key_file": str(tmp_path / "age.txt"), "documents": documents}
    assert run(sops_file, path=str(tmp_path / "x.sops.yaml"), **options)["changed"]
    lookup = "lookup('groundwork.homelab.sops', 'x.sops.yaml', " + WELL
    that = [
        lookup + ", key=['1', 'a', 'b']) == '2'",
        lookup + ") == [{'a': '1'}, {'a': {'b': '2'}, 'c': {'d': '3'}}]",
        lookup + ", key=['1', 'c']) == {'d': '3'}",
    ]
    done = play(tmp_path, [{"ansible.builtin.assert": {"that": that}}])
    assert done.returncode == 0, done.stdout


def test_points_in_time_are_text_to_ansible(tmp_path: pathlib.Path) -> None:
    """A type of ours would be one that Ansible's variables cannot hold, which it warns of each time."""
    (tmp_path / "age.txt").write_text(f"{OWNER.text}\n")
    (tmp_path / "age.txt").chmod(0o600)
    stamp = sops_values.Timestamp("2026-01-02T00:00:00Z")
    now = datetime.datetime.now(datetime.timezone.utc)
    text = sops.create({"at": stamp, "l": [stamp]}, "yaml", [OWNER.recipient], sops_values.Rules(), now)
    (tmp_path / "x.sops.yaml").write_text(text)
    given = "{{ lookup('groundwork.homelab.sops', 'x.sops.yaml', " + WELL + ") }}"
    that = ["found == {'at': '2026-01-02T00:00:00Z', 'l': ['2026-01-02T00:00:00Z']}"]
    done = play(tmp_path, [{"ansible.builtin.set_fact": {"found": given}}, {"ansible.builtin.assert": {"that": that}}])
    assert done.returncode == 0, done.stdout
    assert "Timestamp" not in done.stdout + done.stderr

# SPDX-License-Identifier: GPL-3.0-or-later
"""The vars plugin: which files belong to whom, in which order, and what a playbook sees of them."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from secrets_room import run

from ansible_collections.groundwork.homelab.plugins import module_utils
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.modules import sops_file

OWNER, OTHER = age.Identity.generate(), age.Identity.generate()


class Lab:
    """A folder with an inventory of two hosts in a group, and a configuration that enables the plugin."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "hosts.yml").write_text("all: {children: {lab: {hosts: {one: {}, two: {}}}}}\n")
        config = "[defaults]\nvars_plugins_enabled = host_group_vars, groundwork.homelab.sops\n"
        (folder / "ansible.cfg").write_text(f"{config}[groundwork_homelab_sops]\nage_key_file = age.txt\n")
        self.key(OWNER.text)

    def key(self, text: str, mode: int = 0o600) -> None:
        (self.folder / "age.txt").write_text(f"{text}\n")
        (self.folder / "age.txt").chmod(mode)

    def put(self, path: str, *documents: dict[str, t.Any]) -> None:
        more = {"recipients": [OWNER.recipient], "age_key_file": str(self.folder / "age.txt")}
        content = {"documents": [*documents]} if documents[1:] else {"content": documents[0]}
        assert run(sops_file, path=str(self.folder / path), **content, **more)["changed"]

    def ask(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SOPS_"))}
        kept |= {
            "ANSIBLE_COLLECTIONS_PATH": str(pathlib.Path(next(iter(module_utils.__path__))).parents[3]),
            "ANSIBLE_HOME": str(self.folder / ".home"),
            **environment,
        }
        command = [sys.executable, "-m", "ansible.cli.inventory", "-i", "hosts.yml", "--yaml", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=kept, capture_output=True, text=True, timeout=120, check=False
        )

    def seen(self, host: str) -> dict[str, t.Any]:
        done = self.ask("--host", host)
        assert done.returncode == 0 and "WARNING" not in done.stderr, done.stdout + done.stderr
        return t.cast("dict[str, t.Any]", yaml.safe_load(done.stdout))


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> Lab:
    return Lab(tmp_path)


def test_files_beside_and_below_belong_to_hosts_and_groups_and_the_nearest_counts(lab: Lab) -> None:
    lab.put("group_vars/all.sops.yaml", {"a": 1, "b": 1, "c": 1, "d": {"x": 1}})
    lab.put("group_vars/lab/passwords.sops.json", {"b": 2, "c": 2})
    lab.put("group_vars/lab/deep/more.sops.yml", {"e": 2})
    lab.put("host_vars/one.sops.yaml", {"c": 3})
    lab.put("host_vars/two/x.sops.yaml", {"password": "braces {{ are }} data, 世界"})
    one, two = lab.seen("one"), lab.seen("two")
    assert {key: one[key] for key in "abcde"} == {"a": 1, "b": 2, "c": 3, "d": {"x": 1}, "e": 2}
    assert "password" not in one
    assert (two["c"], two["password"]) == (2, "braces {{ are }} data, 世界")


def test_creation_rules_and_other_hidden_files_hold_no_variables(lab: Lab) -> None:
    """As for Ansible's own plugin; the creation rules of a directory are called just as the files are that end so."""
    lab.put("group_vars/all/x.sops.yaml", {"a": 1})
    for name in ("all/.sops.yaml", "all/.git/x.sops.yaml", "all/.#x.sops.yaml"):
        (lab.folder / "group_vars" / name).parent.mkdir(exist_ok=True)
        (lab.folder / "group_vars" / name).write_text("creation_rules: []\n")
    assert lab.seen("one")["a"] == 1


def test_a_lab_without_encrypted_files_needs_no_key(lab: Lab) -> None:
    (lab.folder / "age.txt").unlink()
    (lab.folder / "group_vars").mkdir()
    (lab.folder / "group_vars/all.yml").write_text("plain: yes\n")
    assert lab.seen("one") == {"plain": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lab: lab.key(OTHER.text), f"it is encrypted for {OWNER.recipient}, not for the given identities"),
        (lambda lab: lab.key(OWNER.text, 0o644), "has the mode 0644: others than its owner can get at it"),
        (lambda lab: (lab.folder / "age.txt").unlink(), "There is no age key file at"),
        (lambda lab: lab.key("nothing"), "Line 1 of the age key file is wrong"),
        (lambda lab: (lab.folder / "group_vars/all.sops.yaml").write_text("a: b\n"), "is not encrypted: it has no part"),
        (lambda lab: (lab.folder / "group_vars/all.sops.yaml").write_text("a: [\n"), "is not valid YAML"),
        (lambda lab: (lab.folder / "ansible.cfg").write_text(
            "[defaults]\nvars_plugins_enabled = host_group_vars, groundwork.homelab.sops\n"), "Give age_key_file."),
        (lambda lab: _tampered(lab), "MAC"),
        (lambda lab: lab.put("group_vars/all.sops.yaml", {}, {"a": 1}), "holds 2 documents, one was expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_ends_the_run_with_the_files_name_and_no_value(
    lab: Lab, change: t.Callable[[Lab], object], message: str
) -> None:
    lab.put("group_vars/all.sops.yaml", {"password": "not-for-anybody", "free_unencrypted": "x"})
    change(lab)
    done = lab.ask("--host", "one")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and message in said, said
    assert "all.sops.yaml" in said and "not-for-anybody" not in said and OWNER.text not in said


def _tampered(lab: Lab) -> None:
    path = lab.folder / "group_vars/all.sops.yaml"
    path.write_text(path.read_text().replace("free_unencrypted: x", "free_unencrypted: y"))

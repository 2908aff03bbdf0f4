# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the documentation as playbooks, in process and as modules; and nothing secret in what is printed."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
import yaml
from secrets_room import contents, play, run

from ansible_collections.groundwork.homelab.plugins.lookup import sops as lookup
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.modules import sealed_secret, sealed_secrets_key, sops_file

OWNER = age.Identity.generate()
PASSWORD = "hunter2hunter2"


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> dict[str, t.Any]:
    """The variables of the examples, and what they find: a directory of secrets with an age key."""
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "age.txt").write_text(OWNER.text + "\n")
    (secrets / "age.txt").chmod(0o600)
    words = dict.fromkeys(("database_password", "new_database_password", "smtp_password", "registry_token"), PASSWORD)
    return {"lab_secrets_dir": str(secrets), "age_recipient": OWNER.recipient, **words}


def made_keys(folder: pathlib.Path, lab: dict[str, t.Any]) -> None:
    secrets = lab["lab_secrets_dir"]
    options = {"path": f"{secrets}/sealed-secrets-keys.yaml", "certificate_file": f"{secrets}/sealed-secrets.crt"}
    assert run(sealed_secrets_key, **options, key_size=2048)["changed"]


def done_twice(folder: pathlib.Path, lab: dict[str, t.Any], examples: str, changed: int) -> None:
    """As it is documented: check mode writes nothing, the run changes so many times, the second run none."""
    tasks = yaml.safe_load(examples)
    first = play(folder, tasks, "-vvv", "--diff", **lab)
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"changed={changed} " in first.stdout, first.stdout
    again = play(folder, tasks, **lab)
    assert again.returncode == 0 and "changed=0 " in again.stdout, again.stdout
    printed = first.stdout.replace(json.dumps(lab), "")
    assert PASSWORD not in printed and OWNER.text not in printed and "PRIVATE KEY" not in printed


def test_the_examples_of_sealed_secret(tmp_path: pathlib.Path, lab: dict[str, t.Any]) -> None:
    made_keys(tmp_path, lab)
    done_twice(tmp_path, lab, sealed_secret.EXAMPLES, 1)


def test_the_examples_of_sealed_secrets_key(tmp_path: pathlib.Path, lab: dict[str, t.Any]) -> None:
    done_twice(tmp_path, lab, sealed_secrets_key.EXAMPLES, 3)


def test_the_examples_of_sops_file(tmp_path: pathlib.Path, lab: dict[str, t.Any]) -> None:
    done_twice(tmp_path, lab, sops_file.EXAMPLES, 3)


def test_the_example_of_the_lookup(tmp_path: pathlib.Path, lab: dict[str, t.Any]) -> None:
    key_file = f"{lab['lab_secrets_dir']}/age.txt"
    path = tmp_path / "secrets.sops.yaml"
    content = {"database": {"password": PASSWORD}}
    run(sops_file, path=str(path), recipients=[OWNER.recipient], content=content, age_key_file=key_file)
    (tmp_path / "age.txt").write_text(OWNER.text)
    (tmp_path / "age.txt").chmod(0o600)
    check = {"ansible.builtin.assert": {"that": f"database_password == '{PASSWORD}'", "quiet": True}, "no_log": True}
    wrong = {
        "ansible.builtin.debug": {"msg": "{{ lookup('groundwork.homelab.sops', 'secrets.sops.yaml', key=['nobody'], age_key_file='age.txt') }}"}
    }  # fmt: skip
    done = play(tmp_path, [*yaml.safe_load(lookup.EXAMPLES), check])
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout
    failed = play(tmp_path, [wrong])
    assert failed.returncode != 0 and "secrets.sops.yaml has no nobody" in failed.stdout + failed.stderr


BOTH = {
    "sealed_secret": {
        "certificate_file": "secrets/sealed-secrets.crt",
        "sealing_key_file": "secrets/sealing.key",
        "secrets": [{"name": "db", "namespace": "media", "contents": {"password": PASSWORD}}],
    },
    "sealed_secrets_key": {
        "path": "secrets/sealed-secrets-keys.yaml",
        "certificate_file": "secrets/sealed-secrets.crt",
    },
    "sops_file": {
        "path": "file.yaml",
        "recipients": [OWNER.recipient],
        "age_key_file": "secrets/age.txt",
        "content": {"a": PASSWORD},
    },
}


def test_in_process_and_as_a_module_the_results_are_the_same(tmp_path: pathlib.Path, lab: dict[str, t.Any]) -> None:
    """Check mode on what is not there, then on what is: nothing is written by either way."""
    made_keys(tmp_path, lab)
    tasks, names = [], []
    for name, options in BOTH.items():
        for here in (True, False):
            names.append(f"{name}_{'here' if here else 'module'}")
            tasks.append(
                {
                    f"groundwork.homelab.{name}": options,
                    "vars": {"groundwork_in_process": here},
                    "register": names[-1],
                    "check_mode": True,
                    "diff": True,
                }
            )
    shown = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} | to_json }}"
    tasks.append({"ansible.builtin.copy": {"content": shown, "dest": str(tmp_path / "results.json"), "mode": "0600"}})
    before = contents(tmp_path / "secrets")
    done = play(tmp_path, tasks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tmp_path / "secrets") == before
    results = json.loads((tmp_path / "results.json").read_text())
    for name in BOTH:
        here, module = results[f"{name}_here"], results[f"{name}_module"]
        for key in ("changed", "changes", "diff", "path", "names", "sealed_secrets", "recipients"):
            assert here.get(key) == module.get(key), (name, key)
        assert PASSWORD not in json.dumps([here, module])

# SPDX-License-Identifier: GPL-3.0-or-later
"""``docs/coming-from.md``, what it says of kubeseal and sops: our blocks run in their order, and once more without a change."""

from __future__ import annotations

import pathlib
import re

import yaml
from secrets_room import ROOT, contents, play, run

from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.modules import sealed_secrets_key

PAGE = (ROOT / "docs/coming-from.md").read_text(encoding="utf-8")
OURS = re.findall(r"^```yaml\n(# ours, secrets\n.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
PASSWORD = "not for anybody, grüße"


def test_the_blocks_run_in_their_order_and_then_change_nothing(tmp_path: pathlib.Path) -> None:
    owner = age.Identity.generate()
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "age.txt").write_text(f"{owner.text}\n")
    (secrets / "age.txt").chmod(0o600)
    keys = {"path": str(secrets / "sealed-secrets-keys.yaml"), "certificate_file": str(secrets / "sealed-secrets.crt")}
    assert run(sealed_secrets_key, **keys)["changed"]
    tasks = [task for block in OURS for task in yaml.safe_load(block)]
    assert len(OURS) == 5
    variables = {"database_password": PASSWORD, "age_recipient": owner.recipient}
    first = play(tmp_path, tasks, "--diff", **variables)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=3" in first.stdout and PASSWORD not in first.stdout
    made = contents(tmp_path)
    assert yaml.safe_load((secrets / "database.yaml").read_text())["stringData"] == {"password": PASSWORD}
    again = play(tmp_path, tasks, **variables)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout + again.stderr
    after = contents(tmp_path)
    assert {name: one for name, one in after.items() if not name.startswith((".home", "play"))} == {
        name: one for name, one in made.items() if not name.startswith((".home", "play", "ansible.cfg"))
    } | {"ansible.cfg": after["ansible.cfg"]}

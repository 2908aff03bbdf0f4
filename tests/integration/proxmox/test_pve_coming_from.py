# SPDX-License-Identifier: GPL-3.0-or-later
"""``docs/coming-from.md``: our blocks run in their order, the peers' name options that exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import typing as t

import playing
import pytest
import yaml
from pve_backups import prepared
from pve_containers import put_template
from pve_lab import PveLab

PAGE = (pathlib.Path(__file__).resolve().parents[3] / "docs/coming-from.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
#: Those of the other rooms run in their own tests.
OURS = [block for block in BLOCKS if block.startswith(("# ours\n", "# ours, action\n"))]
THEIRS = [block for block in BLOCKS if not block.startswith("# ours")]
MODULES = "ansible_collections.groundwork.homelab.plugins.modules"
PEER = "community.proxmox."
CLOUD = "https://cloud.example.org"


@pytest.fixture
def lab(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with prepared(tmp_path) as lab:
        put_template(lab)
        yield lab


def calls(lab: PveLab, block: str) -> t.Iterator[tuple[t.Any, dict[str, t.Any]]]:
    """The tasks of a block: module and options."""
    for task in yaml.safe_load(block.replace(CLOUD, lab.web)):
        ((name, options),) = [(key, value) for key, value in task.items() if "." in key]
        yield importlib.import_module(f"{MODULES}.{name.rpartition('.')[2]}"), options


def test_the_tasks_run_in_their_order_and_then_change_nothing(lab: PveLab) -> None:
    plain = [block for block in OURS if "hosts:" not in block and "plugin:" not in block]
    changed = []
    for block in plain:
        for module, options in calls(lab, block):
            predicted = lab.run(module, check=True, as_root=True, **options).result
            made = lab.run(module, as_root=True, **options).result
            assert not made.get("failed"), f"{block}\n{made}"
            assert made.get("changes") == predicted.get("changes"), block
            changed.append(bool(made["changed"]))
            if "action" not in block.partition("\n")[0]:
                again = lab.run(module, as_root=True, **options)
                assert not again.result["changed"] and not again.writes, f"{block}\n{again.result}"
    assert len(plain) >= 18
    assert changed.count(False) == 1  # the look-up


def test_the_play_and_the_inventory_run(lab: PveLab, tmp_path: pathlib.Path) -> None:
    play, inventory = [block for block in OURS if "hosts:" in block or "plugin:" in block]
    (page,) = yaml.safe_load(play)
    assert page["module_defaults"][playing.GROUP].keys() == {"api_host", "api_token_id", "api_token_secret"}
    (found,) = playing.play(lab, page["tasks"], "--check", in_process=True)
    assert found["guests"] == []
    source = tmp_path / "lab.proxmox.yml"
    address = {
        "api_host": "127.0.0.1",
        "api_port": lab.port,
        "ca_path": lab.ca_path,
        "api_token_id": "ansible@pve!groundwork",
    }
    source.write_text(yaml.safe_dump({**yaml.safe_load(inventory), **address}))
    login = {"PROXMOX_TOKEN_SECRET": "token-not-a-secret", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "ansible.cli.inventory", "-i", str(source), "--list"],
        env={**playing.environment(tmp_path), **login},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["_meta"]["hostvars"] == {}


def peer_options(module: str) -> set[str] | None:
    """None where the peer is not installed."""
    package = importlib.util.find_spec("ansible_collections.community.proxmox")
    folder = next(iter(package.submodule_search_locations or ()), "") if package else ""
    path = pathlib.Path(folder, "plugins/modules", f"{module}.py")
    if not path.exists():
        return None
    documented = {
        node.targets[0].id: ast.literal_eval(node.value)  # type: ignore[attr-defined]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION"
    }
    shared = {"api_host", "api_user", "api_token_id", "api_token_secret", "vmid", "node", "pool"}  # of its fragments
    return set(yaml.safe_load(documented["DOCUMENTATION"])["options"]) | shared


def test_what_is_said_of_the_peer_exists() -> None:
    tasks = [task for block in THEIRS if "plugin:" not in block for task in yaml.safe_load(block)]
    assert len(tasks) >= 20
    for task in tasks:
        ((name, options),) = task.items()
        known = peer_options(name.removeprefix(PEER))
        if known is None:
            pytest.skip("community.proxmox is not installed")
        assert set(options) <= known, name

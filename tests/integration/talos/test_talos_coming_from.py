# SPDX-License-Identifier: GPL-3.0-or-later
"""``docs/coming-from.md``, what it says of talosctl, talhelper and Terraform: our blocks run in their order on played
nodes, and once more without a change; what it says that we have, there is."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import re
import typing as t

import pytest
import talos_etcd_lab
import yaml
from talos_lab import MODULES, PlayedLab, run_module

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import options, secrets_bundle

ROOT = pathlib.Path(__file__).parents[3]
PAGE = (ROOT / "docs/coming-from.md").read_text(encoding="utf-8")
OURS = re.findall(r"^```yaml\n(# ours, talos(?:, action)?\n.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
PART = PAGE[PAGE.index("\n## talosctl\n") :].partition("\n## kubernetes.core.k8s\n")[0]
PREFIX = "groundwork.homelab.talos_"
#: What changes at its first run, in the order of the page.
CHANGED = {
    "secrets": [True, True],
    "apply_config": [True, True],
    "bootstrap": [True, False],
    "kubeconfig": [True],
    "health": [False],
    "etcd_info": [False],
    "etcd_snapshot": [True],
    "info": [False],
    "reboot": [True],
    "reset": [True],
    "image": [False],
    "config": [True],
}


@pytest.fixture
def folder(lab: PlayedLab, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Where the tasks of the page run: two machines in maintenance mode, a key, a snapshot of another day."""
    etcd = talos_etcd_lab.Cluster()
    etcd.add("cp1", lab.address("cp1"))
    lab.settings = dataclasses.replace(lab.settings, kubernetes=talos_etcd_lab.kubernetes(etcd))
    lab.power_on("cp1", "w1")
    made = tmp_path / "lab"
    made.mkdir()
    monkeypatch.chdir(made)
    (made / "backups").mkdir()
    (made / "backups" / "etcd.db").write_bytes(talos_etcd_lab.snapshot())
    return made


def test_the_blocks_run_in_their_order_and_then_change_nothing(lab: PlayedLab, folder: pathlib.Path) -> None:
    identity = age.Identity.generate()
    private_files.replace(folder / "secrets" / "age.txt", f"{identity.text}\n")
    changed: dict[str, list[bool]] = {}
    for block in OURS:
        for task in yaml.safe_load(_here(lab, block, identity)):
            ((module, given),) = [(name, value) for name, value in task.items() if name.startswith(PREFIX)]
            name = module.removeprefix(PREFIX)
            if "import_from" in given:  # talhelper's: the same cluster's bundle, encrypted
                bundle = secrets_bundle.load(folder / "secrets" / "talos-secrets.yaml")
                text = secrets_bundle.encrypted(bundle, [identity.recipient])
                private_files.replace(folder / given["import_from"], text)
            runs = (True, False, True) if "action" in block.partition("\n")[0] else (True, False, False)
            checked, made, again = (_run(lab, name, given, check=check) for check in runs)
            assert made.get("changes") == checked.get("changes"), (name, made, checked)
            changed.setdefault(name, []).append(made["changed"])
            if runs[2] is False:
                assert not again["changed"], (name, again)
    assert changed == CHANGED


def _here(lab: PlayedLab, block: str, identity: age.Identity) -> str:
    text = block.replace("192.168.30.50", lab.address("cp1")).replace("192.168.30.60", lab.address("w1"))
    return text.replace("{{ age_recipient }}", identity.recipient)


def _run(lab: PlayedLab, name: str, given: dict[str, t.Any], *, check: bool) -> dict[str, t.Any]:
    result, _ = run_module(name, {**given}, check, True, lab.said.append, lab.warned.append)
    assert not result.get("failed"), (name, result)
    return result


def test_every_module_of_the_room_is_on_the_page() -> None:
    modules = {path.stem.removeprefix("talos_") for path in (ROOT / "plugins/modules").glob("talos_*.py")}
    assert modules == set(CHANGED)
    named = set(re.findall(r"`talos_(\w+)`", PART)) - set(
        re.findall(r"^\| `(?:data\.)?talos_(\w+)`", PART, re.MULTILINE)
    )
    assert named <= modules | {"version", "image_factory_urls"}, named - modules


def test_options_that_the_tables_name_exist() -> None:
    cluster = options.CLUSTER["cluster"]["options"]
    for name in re.findall(r"`cluster\.(\w+)`", PART):
        assert name in cluster, name
    for name in ("talos_version", "kubernetes_version", "installer_image"):
        assert f"`{name}`" in PART and name in cluster
    node = options.CLUSTER["nodes"]["options"]
    assert {"name", "address", "type", "patches", "fingerprint"} <= set(node)
    apply_config = importlib.import_module(f"{MODULES}.talos_apply_config").SPEC.argument_spec
    assert {"staged", "try", "no_reboot"} <= set(apply_config["mode"]["choices"])
    for name in ("patches", "control_plane_patches", "worker_patches"):
        assert f"`{name}`" in PART and name in apply_config

# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's life through the modules: each step predicted, made, and then nothing left to do."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from talos_lab import PlayedLab

SYSCTL: dict[str, t.Any] = {"machine": {"sysctls": {"vm.nr_hugepages": "8"}}}
#: A change that Talos 1.13 takes only with a reboot.
ENVIRONMENT: dict[str, t.Any] = {"machine": {"env": {"LAB": "1"}}}


def steps(lab: PlayedLab, *names: str) -> list[tuple[str, dict[str, t.Any]]]:
    first = lab.address(names[0])
    return [
        ("secrets", {}),
        ("apply_config", lab.cluster(*names)),
        ("bootstrap", {"node": first, "cluster_name": "lab"}),
        ("kubeconfig", {"node": first, "dest": str(lab.path / "kubeconfig")}),
        ("health", {"nodes": lab.described(*names)}),
    ]


def build(lab: PlayedLab, *names: str) -> None:
    lab.power_on(*names)
    for module, params in steps(lab, *names):
        made = lab.run(module, **params)
        assert not made.get("failed"), made


def test_each_step_is_predicted_made_and_then_done(lab: PlayedLab) -> None:
    lab.secrets_path = lab.path / "new" / "talos-secrets.yaml"
    lab.power_on("cp1")
    for module, params in steps(lab, "cp1"):
        mark = lab.ledger.mark()
        checked = lab.run(module, check=True, **params)
        if module == "health":  # it reads only, and there is nothing to predict
            assert checked["waited"] and not checked["changed"], checked
            continue
        assert not [entry for entry in lab.ledger.entries(mark) if entry.write]
        made = lab.run(module, **params)
        assert (checked.get("failed"), made.get("failed")) == (None, None), (checked, made)
        assert checked["changes"] == made["changes"] and made["changed"]
        written = lab.writes()
        again = lab.run(module, **params)
        assert not again["changed"] and lab.writes() == written, again
    assert lab.writes() == ["/machine.MachineService/ApplyConfiguration", "/machine.MachineService/Bootstrap"]


def test_nothing_of_the_secrets_is_said(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    said = [str(lab.run(module, **params)) for module, params in steps(lab, "cp1")]
    said.append(str(lab.run("apply_config", **lab.cluster("cp1", patches=[SYSCTL]))))
    bundle = yaml.safe_load(lab.secrets_path.read_text())
    values = [bundle["cluster"]["secret"], *bundle["secrets"].values(), bundle["trustdinfo"]["token"]]
    values += [pair["key"] for pair in bundle["certs"].values()]
    text = "\n".join([*said, *lab.said, *lab.warned])
    assert not [value for value in values if value in text]
    for file in (lab.secrets_path, lab.path / "kubeconfig"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_change_is_predicted_as_it_is_made_and_shows_only_what_differs(lab: PlayedLab) -> None:
    build(lab, "cp1")
    wanted = lab.cluster("cp1", patches=[SYSCTL])
    checked = lab.run("apply_config", check=True, **wanted)
    made = lab.run("apply_config", **wanted)
    assert (
        checked["changes"]
        == made["changes"]
        == [
            {
                "resource": "talos-config/cp1",
                "action": "update",
                "after": {"v1alpha1": {"machine": {"sysctls": {"vm.nr_hugepages": "8"}}}},
            }
        ]
    )
    assert not lab.run("apply_config", **wanted)["changed"]


def test_a_change_that_needs_a_reboot_says_so_and_waits_for_it(lab: PlayedLab) -> None:
    build(lab, "cp1")
    boot = lab.nodes["cp1"].runtime.boot_id
    wanted = lab.cluster("cp1", patches=[ENVIRONMENT])
    checked = lab.run("apply_config", check=True, **wanted)
    assert [change["note"] for change in checked["changes"]] == ["needs a reboot"]
    assert lab.nodes["cp1"].runtime.boot_id == boot
    made = lab.run("apply_config", **wanted)
    assert made.get("changes") == checked["changes"], made
    assert lab.nodes["cp1"].runtime.boot_id != boot
    assert made["nodes"][0]["stage"] == "running"
    assert not lab.run("apply_config", **wanted)["changed"]
    assert not lab.run("bootstrap", node=lab.address("cp1"), cluster_name="lab")["changed"]


def test_no_reboot_is_refused_at_plan_time_when_a_reboot_is_needed(lab: PlayedLab) -> None:
    build(lab, "cp1")
    refused = lab.run("apply_config", check=True, **lab.cluster("cp1", patches=[ENVIRONMENT], mode="no_reboot"))
    assert refused["failed"] and "this config change can't be applied in immediate mode" in refused["msg"]


def test_staged_is_done_when_it_is_on_disk(lab: PlayedLab) -> None:
    build(lab, "cp1")
    wanted = lab.cluster("cp1", patches=[SYSCTL], mode="staged")
    made = lab.run("apply_config", **wanted)
    assert [change["note"] for change in made["changes"]] == ["takes effect at the next reboot"]
    assert not lab.run("apply_config", **wanted)["changed"]
    assert lab.run("apply_config", check=True, **lab.cluster("cp1", patches=[SYSCTL]))["changed"]


@pytest.mark.parametrize("mode", ["staged", "try"])
def test_a_first_config_is_not_staged_or_tried(lab: PlayedLab, mode: str) -> None:
    lab.power_on("cp1")
    lab.run("secrets")
    refused = lab.run("apply_config", **lab.cluster("cp1", mode=mode))
    assert refused["msg"].startswith(f"mode is {mode} and cp1 is in maintenance mode.")
    assert lab.writes() == []


def test_a_rejected_config_is_told_in_the_node_s_words_and_nobody_gets_one(lab: PlayedLab) -> None:
    lab.power_on("cp1", "w1")
    lab.run("secrets")
    bad = {"apiVersion": "v1alpha1", "kind": "VolumeConfig", "name": "NOSUCH", "sizeOfNothing": 1}
    refused = lab.run("apply_config", check=True, **lab.cluster("cp1", "w1", worker_patches=[bad]))
    real = lab.run("apply_config", **lab.cluster("cp1", "w1", worker_patches=[bad]))
    assert refused["msg"] == real["msg"]
    assert "Could not apply the machine config of w1" in real["msg"] and "sizeOfNothing" in real["msg"]
    assert "Nothing was applied to any node." in real["msg"] and lab.writes() == []


def test_workers_come_after_control_planes_and_their_silence_is_not_a_fault(lab: PlayedLab) -> None:
    lab.power_on("cp1", "w1")
    lab.run("secrets")
    wanted = lab.cluster("cp1", "w1")
    made = lab.run("apply_config", **wanted)
    assert not made.get("failed"), made
    assert [entry.server for entry in lab.ledger.entries() if entry.write] == ["cp1", "w1"]
    assert not lab.run("apply_config", **wanted)["changed"]


def test_a_machine_that_is_off_is_named(lab: PlayedLab) -> None:
    lab.run("secrets")
    failed = lab.run("apply_config", **lab.cluster("cp1", wait_timeout=1))
    assert failed["msg"].startswith("Could not see the Talos API of cp1 within 1 s (Talos node cp1 at")
    assert failed["changes"] == []


def test_a_node_of_another_cluster_is_told_apart(lab: PlayedLab) -> None:
    build(lab, "cp1")
    lab.secrets_path = lab.path / "other" / "secrets.yaml"
    lab.run("secrets")
    failed = lab.run("apply_config", **lab.cluster("cp1"))
    assert failed["error"]["kind"] == "Unauthenticated"
    assert "It was configured with another secrets bundle." in failed["msg"]


def test_bootstrap_of_a_worker_is_refused_at_plan_time(lab: PlayedLab) -> None:
    build(lab, "cp1", "w1")
    refused = lab.run("bootstrap", check=True, node=lab.address("w1"), cluster_name="lab")
    assert "it is no control plane node: it has no etcd service" in refused["msg"]


def test_a_kubeconfig_is_repaired(lab: PlayedLab) -> None:
    build(lab, "cp1")
    path = lab.path / "kubeconfig"
    good = path.read_text()
    step = {"node": lab.address("cp1"), "dest": str(path)}
    path.chmod(0o644)
    assert lab.run("kubeconfig", **step)["changes"][0]["before"] == {"mode": "0644"}
    assert path.read_text() == good
    path.write_text(good.replace(":6443", ":7443"))
    changes = lab.run("kubeconfig", check=True, **step)["changes"]
    assert lab.run("kubeconfig", **step)["changes"] == changes
    assert changes[0]["note"].startswith("its server is https://") and changes[0]["after"] == {"kubeconfig": "(hidden)"}
    path.write_text("nonsense")
    assert "it is no kubeconfig" in lab.run("kubeconfig", **step)["changes"][0]["note"]
    assert not lab.run("kubeconfig", **step)["changed"]

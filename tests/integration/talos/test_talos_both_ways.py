# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the documentation run as they stand, in the controller and as modules of their own, with the same result."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from talos_etcd_lab import snapshot
from talos_lab import MODULES, PlayedLab
from talos_quorum_lab import share
from test_talos_life import steps

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age

#: Modules that wait: shorter here than for real machines.
WAITING = ("apply_config", "bootstrap", "kubeconfig", "health", "reboot", "reset")
NAMES = ("secrets", "config", "apply_config", "bootstrap", "kubeconfig", "health", "reboot", "reset")
#: What a cluster stands up with, and what takes a node of it away.
LIFE, AWAY = NAMES[:-2], NAMES[-2:]


def tasks_of(lab: PlayedLab, *names: str) -> list[dict[str, t.Any]]:
    """The examples, with the lab's address in place of the documentation's."""
    tasks: list[dict[str, t.Any]] = []
    for name in names:
        text = str(importlib.import_module(f"{MODULES}.talos_{name}").EXAMPLES)
        text = text.replace("192.168.30.50", lab.address("cp1"))
        tasks += yaml.safe_load(text)
    for task in tasks:
        for module, options in task.items():
            if module.rpartition(".talos_")[2] in WAITING:
                options["wait_timeout"] = 60
            if "control_planes" in options:  # the documentation's cluster has three, this lab one
                options["control_planes"] = [lab.address("cp1")]
    key = age.Identity.generate()
    private_files.replace(lab.path / "secrets" / "age.txt", f"{key.text}\n")
    for task in tasks:
        task.setdefault("vars", {})["age_recipient"] = key.recipient
    (lab.path / "backups").mkdir(exist_ok=True)
    (lab.path / "backups" / "etcd.snapshot").write_bytes(snapshot())
    return tasks


def play(lab: PlayedLab, tasks: list[dict[str, t.Any]], *arguments: str, in_process: bool) -> list[dict[str, t.Any]]:
    """The results of the tasks, in order."""
    variables = {"groundwork_in_process": in_process}
    playbook = lab.path / "play.yml"
    playbook.write_text(
        yaml.safe_dump(
            [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
        )
    )
    inventory, config = lab.path / "hosts", lab.path / "ansible.cfg"
    inventory.write_text("localhost\n")
    config.write_text("[defaults]\n")
    collection = importlib.import_module(f"{MODULES}.talos_secrets").__file__
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = pathlib.Path(sys.prefix) / "lib" / version / "site-packages"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON", "TALOS"))},
        "ANSIBLE_COLLECTIONS_PATH": f"{pathlib.Path(str(collection)).parents[5]}:{site}",
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parents[1] / "callback"),
        "ANSIBLE_STDOUT_CALLBACK": "results_json",
        "ANSIBLE_HOME": str(lab.path / "home"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [sys.executable, "-m", "ansible.cli.playbook", "-i", str(inventory), str(playbook), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert "{" in done.stdout, done.stdout + done.stderr
    _refuse_secrets(lab, done.stdout + done.stderr)
    report = json.loads(done.stdout[done.stdout.index("{") :])
    return [task["hosts"]["localhost"] for task in report["plays"][0]["tasks"]]


def _refuse_secrets(lab: PlayedLab, text: str) -> None:
    bundle = yaml.safe_load(lab.secrets_path.read_text())
    values = [bundle["cluster"]["secret"], *bundle["secrets"].values(), bundle["trustdinfo"]["token"]]
    values += [pair["key"] for pair in bundle["certs"].values()]
    assert not [value for value in values if value in text]


def without_ways(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """What only one of the ways adds."""
    more = ("invocation", "ansible_facts", "_ansible_no_log", "action", "failed")
    return {key: value for key, value in result.items() if key not in more}


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_run_and_are_idempotent(lab: PlayedLab, in_process: bool) -> None:
    lab.power_on("cp1")
    tasks = tasks_of(lab, *LIFE)
    results = play(lab, tasks, "-vvv", "--diff", in_process=in_process)
    assert [result.get("msg") for result in results if result.get("failed")] == []
    #: The second bootstrap is a recovery, which there is none of where etcd serves.
    made = [False, True, False, True, True, True, False, True, False]
    assert [result["changed"] for result in results] == made
    written = lab.writes()
    again = play(lab, tasks, in_process=in_process)
    assert [result.get("changes", []) for result in again] == [[]] * len(tasks)
    assert lab.writes() == written and len(written) == 2


def test_both_ways_give_the_same_result_and_the_same_error(lab: PlayedLab) -> None:
    lab.power_on("cp1")
    apply_config, health = tasks_of(lab, "apply_config", "health")
    options = apply_config["groundwork.homelab.talos_apply_config"]
    wrong = {**options, "patches": [{"machine": {"sysctl": {"wireguardPrivateKey": "s3cr3t"}}}]}
    tasks = [
        *tasks_of(lab, "secrets")[:1],
        apply_config,
        {"groundwork.homelab.talos_apply_config": wrong, "ignore_errors": True},
        {**health, "ignore_errors": True},
    ]
    tasks[-1]["groundwork.homelab.talos_health"]["planned"] = True
    here = play(lab, tasks, "--check", "--diff", in_process=True)
    there = play(lab, tasks, "--check", "--diff", in_process=False)
    assert [without_ways(result) for result in here] == [without_ways(result) for result in there]
    assert here[1]["changes"] and here[1]["diff"]
    assert "machine.sysctl is not known (did you mean sysctls?)" in here[2]["msg"]
    assert lab.writes() == []


@pytest.mark.parametrize("in_process", [True, False], ids=["here", "module"])
def test_the_examples_of_what_takes_a_node_away_run(lab: PlayedLab, in_process: bool) -> None:
    share(lab)
    stand_up_as_documented(lab)
    away = tasks_of(lab, *AWAY)
    check = play(lab, away, "--check", "--diff", in_process=in_process)
    made = play(lab, away, "--diff", in_process=in_process)
    assert [result.get("msg") for result in made if result.get("failed")] == []
    assert [result["changes"] for result in made] == [result["changes"] for result in check]
    assert [result["changed"] for result in made] == [True, True]
    assert [result["diff"] for result in made] == [result["diff"] for result in check]
    assert lab.writes()[-2:] == ["/machine.MachineService/Reboot", "/machine.MachineService/Reset"]
    assert play(lab, away[1:], in_process=in_process)[0]["changes"] == []


def test_what_takes_a_node_away_is_refused_alike_both_ways(lab: PlayedLab) -> None:
    share(lab)
    stand_up_as_documented(lab)
    reboot, reset = tasks_of(lab, *AWAY)
    del reset["groundwork.homelab.talos_reset"]["force"]
    tasks = [reset, {**reboot, "check_mode": True}, {"groundwork.homelab.talos_reset": {"node_name": "x"}}]
    tasks = [{**task, "ignore_errors": True} for task in tasks]
    here, there = (play(lab, tasks, "--diff", in_process=way) for way in (True, False))
    assert "cp01 would take the last data of etcd along" in here[0]["msg"], here[0]
    assert [change["note"] for change in here[1]["changes"]] == ["reboots (powercycle)"]
    assert "/machine.MachineService/Reset" not in lab.writes()
    assert [without_ways(result) for result in here[:2]] == [without_ways(result) for result in there[:2]]
    assert (
        "missing required arguments: node" in there[2]["msg"] and "missing required arguments: node" in here[2]["msg"]
    )


def stand_up_as_documented(lab: PlayedLab) -> None:
    """The examples' node, which calls itself talos-cp01."""
    lab.power_on("cp1")
    for module, params in steps(lab, "cp1"):
        params = (
            {**params, "nodes": [{**one, "name": "talos-cp01"} for one in params["nodes"]]}
            if "nodes" in params
            else params
        )
        made = lab.run(module, **params)
        assert not made.get("failed"), made

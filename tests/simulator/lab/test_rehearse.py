# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``rehearse`` command and the harness: playbooks on a lab, and what is told of them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import textwrap
import time
import typing as t

import pytest
from lab_users import SIMULATOR

from simlab import client, harness
from simlab.faults import parse
from simlab.runs import _layers

_PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: Register an empty schematic with the factory
      ansible.builtin.uri:
        url: https://factory.talos.dev/schematics
        method: POST
        body_format: json
        body: {}
        status_code: 201
    - name: Log in to the hypervisor
      ansible.builtin.uri:
        url: https://pve1.small.test:8006/api2/json/version
        ca_path: "{{ lookup('env', 'PROXMOX_CA_PATH') }}"
        headers: {Authorization: "PVEAPIToken=ansible@pve!groundwork={{ lookup('env', 'PROXMOX_TOKEN_SECRET') }}"}
    - name: Change something
      ansible.builtin.command: "true"
    - ansible.builtin.fail: {msg: as told}
      when: fail | default(false) | bool
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[harness.SimulatedLab]:
    folder = tmp_path_factory.mktemp("inventories")
    (folder / "hosts.yml").write_text(
        textwrap.dedent("""
        all:
          vars: {lab_name: small, lab_domain: small.test, lab_networks: {home: {subnet: 192.168.30.0/24, vlan: 30}}}
          children:
            proxmox: {hosts: {pve1: {ansible_host: 192.168.30.10}}}
            talos_control_planes: {hosts: {cp1: {machine_vmid: 200, machine_address: 192.168.30.50}}}
        """)
    )
    with harness.SimulatedLab(folder) as running:
        yield running


@pytest.fixture
def playbook(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "play.yml"
    path.write_text(_PLAY)
    return str(path)


def test_a_playbook_is_run_and_accounted_for(lab: harness.SimulatedLab, playbook: str) -> None:
    finished = lab.run_playbook(playbook)
    assert finished.exit == 0, finished.stdout + finished.stderr
    run = dict(finished.run or {})
    assert (run["ok"], run["changed"], run["failed"], run["check"]) == (3, 1, 0, False)
    assert run["requests"]["proxmox"] == {"reads": 1, "writes": 0, "refused": 0}
    assert [layer["name"] for layer in run["layers"]] == ["localhost"]
    assert 0 < run["layers"][0]["seconds"] <= run["seconds"]


def test_check_mode_and_failures_are_seen(lab: harness.SimulatedLab, playbook: str) -> None:
    checked = lab.run_playbook(playbook, "--check")
    assert (checked.exit, checked.run and checked.run["check"]) == (0, True)
    failed = lab.run_playbook(playbook, "-e", "fail=true")
    assert (failed.exit, failed.run and failed.run["failed"]) == (2, 1)
    assert "as told" in failed.stdout


def test_a_fault_kills_the_playbook_with_all_its_workers(lab: harness.SimulatedLab, playbook: str) -> None:
    lab.fault("kill-before", api="mirror", verb="POST")
    mark = lab.mark()
    finished = lab.run_playbook(playbook)
    lab.clear_faults()
    assert finished.exit == 128 + 9
    assert (finished.run or {})["failed"] == 1
    assert lab.exec("sh", "-c", "grep -laz SIMLAB_EVENTS /proc/*/environ").stdout.split() == []
    assert [entry["path"] for entry in lab.ledger(mark) if entry["api"] == "proxmox"] == []


def test_names_of_the_lab_and_the_internet_resolve_inside(lab: harness.SimulatedLab) -> None:
    for name in ("pve1", "pve1.small.test", "cp1.small.test", "factory.talos.dev"):
        assert lab.exec("getent", "hosts", name).exit == 0, name
    assert lab.exec("getent", "hosts", "example.org").exit == 2


def test_nothing_outside_can_be_reached(lab: harness.SimulatedLab) -> None:
    found = lab.exec("curl", "-sS", "-m", "2", "http://192.0.2.1/")
    assert found.exit in (7, 28) and found.stdout == ""
    assert lab.exec("ip", "-o", "route", "show", "default").stdout == ""


def test_secrets_are_readable_by_the_lab_only_and_in_no_argument(lab: harness.SimulatedLab) -> None:
    secret = lab.exec("sh", "-c", "echo $PROXMOX_TOKEN_SECRET").stdout.strip()
    assert len(secret) > 20
    for name in ("secrets", "variables.yml", "environment.json", "control.sock"):
        assert lab.file(f"/run/simlab/{name}").stat().st_mode & 0o077 == 0, name
    assert secret not in lab.exec("sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '").stdout


def test_a_machine_without_power_is_a_time_out(lab: harness.SimulatedLab) -> None:
    assert lab.exec("curl", "-sSk", "-m", "1", "https://cp1:50000/").exit == 28


def test_wrong_requests_to_the_control_socket_say_what_is_wrong(lab: harness.SimulatedLab) -> None:
    with pytest.raises(client.LabError, match="unknown fault 'explode'"):
        lab.fault("explode")
    with pytest.raises(client.LabError, match="VM 200 has no power"):
        lab.power_off(200)
    with pytest.raises(client.LabError, match="there is no VM 200"):
        lab.power_on(200)
    assert "no playbook nonsense" in lab.run_playbook("nonsense").stderr
    assert lab.exec("no-such-program").exit == 127


def test_a_running_lab_is_found_and_entered(lab: harness.SimulatedLab) -> None:
    def rehearse(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(SIMULATOR)}
        argv = [sys.executable, "-m", "simlab", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, check=False)

    name = str(lab.pid)
    assert f"{lab.pid}\t{lab.lab.folder}" in rehearse("list").stdout
    assert json.loads(rehearse("status", name).stdout)["lab"] == "small"
    inside = rehearse("exec", name, "--", "sh", "-c", "ip -o -4 addr; id -u; cat $PROXMOX_CA_PATH; exit 7")
    assert inside.returncode == 7
    assert "192.168.30.1/24" in inside.stdout and "\n0\n" in inside.stdout and "BEGIN CERTIFICATE" in inside.stdout
    assert "no running lab none" in rehearse("status", "none").stderr
    assert rehearse("exec", name).returncode == 2


def test_rehearse_runs_reports_and_returns_the_worst_status(
    inventory: pathlib.Path, playbook: str, tmp_path: pathlib.Path
) -> None:
    report = tmp_path / "report.json"
    environment = {**os.environ, "PYTHONPATH": str(SIMULATOR)}
    argv = [sys.executable, "-m", "simlab", "run", "--lab", str(inventory), "--report", str(report), playbook, playbook]
    argv += ["--fault", "kind=answer,api=proxmox,nth=2,status=596,text=broken", "--", "-v"]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=90, env=environment, check=False)
    assert finished.returncode == 2, finished.stdout + finished.stderr
    data = json.loads(report.read_text())
    assert data["lab"] == "small"
    assert [(run["exit_status"], run["failed"]) for run in data["runs"]] == [(0, 0), (2, 1)]
    assert data["runs"][1]["requests"]["proxmox"]["refused"] == 1
    assert set(data["runs"][0]) >= {"playbook", "check", "seconds", "ok", "changed", "failed", "layers", "requests"}
    assert "Rehearsal of" in finished.stdout and "proxmox 1 reads, 0 writes (1 refused)" in finished.stdout


def test_keep_leaves_the_lab_until_it_is_stopped(inventory: pathlib.Path, playbook: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SIMULATOR)}
    argv = [sys.executable, "-m", "simlab"]
    kept = subprocess.Popen(
        [*argv, "run", "--lab", str(inventory), "--keep", playbook],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    try:
        said = ""
        end = time.monotonic() + 60
        while "The lab goes on" not in said and kept.stdout is not None and time.monotonic() < end:
            said += kept.stdout.readline()
        stopped = subprocess.run([*argv, "stop", str(kept.pid)], env=environment, timeout=20, check=False)
        assert (stopped.returncode, kept.wait(5)) == (0, 0)
    finally:
        kept.kill()
        kept.wait(5)
        if kept.stdout is not None:
            kept.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "--lab", "nowhere", "bootstrap"], "no inventory folder nowhere"),
        (["run", "--lab", "{inventory}", "--fault", "nonsense", "bootstrap"], "expected JSON or kind="),
        (["run", "--lab", "{inventory}", "--fault", "kind=explode", "bootstrap"], "unknown fault 'explode'"),
        (["run", "--lab", "{inventory}", "--mirror", "x=/nowhere", "bootstrap"], "expected HOST=DIR"),
        (["run", "--lab", "{inventory}", "--collection", "/etc", "bootstrap"], "no checkout of groundwork.homelab"),
        (
            ["run", "--lab", "{inventory}", "--report", "/nowhere/x.json", "{inventory}/hosts.yml"],
            "a folder that exists",
        ),
        (["run", "--lab", "{inventory}", "nonsense"], "no playbook nonsense"),
        (["proxmox", "--listen", "8006", "--password", "x"], "expected ADDRESS:PORT"),
    ],
)
def test_wrong_usage_is_said_before_anything_runs(arguments: list[str], text: str, inventory: pathlib.Path) -> None:
    given = [argument.format(inventory=inventory) for argument in arguments]
    environment = {**os.environ, "PYTHONPATH": str(SIMULATOR)}
    finished = subprocess.run(
        [sys.executable, "-m", "simlab", *given],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert finished.returncode == 2, finished.stderr
    assert text in finished.stderr and "Traceback" not in finished.stderr


def test_a_fault_is_read_from_its_fields() -> None:
    fault = parse({"kind": "answer", "api": "proxmox", "nth": "3", "writes": "true", "status": "500"})
    assert (fault.api, fault.nth, fault.writes, fault.args) == ("proxmox", 3, True, {"status": "500"})
    with pytest.raises(ValueError, match="needs a kind"):
        parse({"api": "proxmox"})


def test_a_layer_lasts_until_the_next_one_starts() -> None:
    events = [
        {"event": "start", "at": 0.0},
        {"event": "task", "at": 1.0, "layer": "machines"},
        {"event": "task", "at": 2.0, "layer": "machines"},
        {"event": "task", "at": 4.0, "layer": "talos"},
        {"event": "task", "at": 5.0, "layer": "machines"},
        {"event": "end", "at": 5.5},
    ]
    assert _layers(events, 9.0) == (("machines", 3.5), ("talos", 1.0))
    assert _layers(events[:-1], 9.0) == (("machines", 7.0), ("talos", 1.0))

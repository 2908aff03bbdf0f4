# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a lab: a retry that succeeds, or an error that names the cause soon after it is known."""

from __future__ import annotations

import json
import pathlib

import pytest

from .labs import Lab

pytestmark = pytest.mark.lab

HEALTH = str(pathlib.Path(__file__).with_name("health.yml"))
#: Seconds for a whole run, 10 to 20 of them on a quiet machine. Who only waited for the deadline would need 300 or more.
SOON = 120
WAITING = str(pathlib.Path(__file__).with_name("apply_and_wait.yml"))


def test_a_failed_task_is_told_with_its_text_and_the_next_run_succeeds(fresh_lab: Lab) -> None:
    text = "unable to create VM 200 - lvcreate 'pve/vm-200-disk-0' error: Volume group has insufficient free space"
    fresh_lab.fault("task-error", api="proxmox", verb="POST", path="/nodes/*/qemu", text=text)
    run = fresh_lab.run("bootstrap")
    assert run.rc != 0 and text in run.joined(), run.tail()
    assert fresh_lab.seconds_after(run, "POST", "/nodes/*/qemu") < 5, "a failed task is known at once"
    assert "vm/200" not in {change["resource"] for change in run.changes}
    again = fresh_lab.run("bootstrap")
    assert again.rc == 0, again.tail()


def test_a_full_storage_is_named(fresh_lab: Lab) -> None:
    fresh_lab.fault("storage-full", api="proxmox", verb="POST", path="/nodes/*/download-url")
    run = fresh_lab.run("bootstrap")
    assert run.rc != 0 and "No space left on device" in run.joined(), run.tail()
    assert "local" in run.joined()
    assert fresh_lab.seconds_after(run, "POST", "/nodes/*/download-url") < 5


def test_a_wrong_token_is_named_before_anything_is_written(fresh_lab: Lab) -> None:
    mark = fresh_lab.mark()
    run = fresh_lab.run("bootstrap", env={"PROXMOX_TOKEN_SECRET": "00000000-0000-0000-0000-000000000000"})
    assert run.rc != 0 and "401" in run.joined() and "ansible@pve!groundwork" in run.joined(), run.tail()
    assert not [entry for entry in fresh_lab.ledger(mark) if entry["write"]]
    assert "00000000-0000" not in run.out


def test_an_offline_node_is_named(fresh_lab: Lab) -> None:
    text = "Connection timed out"
    fresh_lab.fault("answer", api="proxmox", path="/nodes/pve1/*", status=595, text=text, times=0)
    run = fresh_lab.run("bootstrap")
    assert run.rc != 0 and "595" in run.joined() and "pve1" in run.joined(), run.tail()


def test_a_lock_is_waited_for(running_lab: Lab) -> None:
    config = "/nodes/pve1/qemu/200/config"
    running_lab.proxmox("PUT", config, description="by hand")
    running_lab.fault("lock", api="proxmox", verb="GET", path=config, seconds=3)
    run = running_lab.run("bootstrap")
    running_lab.clear_faults()
    assert (run.rc, run.changed) == (0, 1), run.tail()


def test_a_talos_api_that_is_away_for_a_moment_is_waited_for(running_lab: Lab) -> None:
    running_lab.fault("drop-before", api="talos", times=3)
    run = running_lab.run("bootstrap")
    assert len(running_lab.hit()) == 3
    running_lab.clear_faults()
    assert (run.rc, run.changed) == (0, 0), run.tail()


def test_a_config_that_the_node_rejects_is_told_in_its_words(running_lab: Lab) -> None:
    text = "configuration validation failed: 1 error occurred: * played rejection"
    running_lab.fault("answer", api="talos", verb="ApplyConfiguration", status="INVALID_ARGUMENT", text=text, times=0)
    patch = {"talos_node_patches": [{"machine": {"sysctls": {"vm.swappiness": "1"}}}]}
    run = running_lab.run("bootstrap", "-e", json.dumps(patch))
    running_lab.clear_faults()
    assert run.rc != 0 and text in run.joined() and "talos-cp01" in run.joined(), run.tail()


def test_a_config_that_is_wrong_is_refused_before_anything_is_written(running_lab: Lab) -> None:
    mark = running_lab.mark()
    patch = {"talos_node_patches": [{"machine": {"sysctl": {"vm.swappiness": "1"}}}]}
    run = running_lab.run("bootstrap", "-e", json.dumps(patch))
    assert run.rc != 0 and "machine.sysctl" in run.joined() and "sysctls" in run.joined(), run.tail()
    assert not [e for e in running_lab.ledger(mark) if e["api"] == "talos" and e["write"]]


def test_an_image_that_never_pulls_is_named_early(running_lab: Lab) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stuck", "namespace": "media", "annotations": {"simlab/behaviour": "ImagePullBackOff"}},
        "spec": {"containers": [{"name": "app", "image": "registry.invalid/app:1"}]},
    }
    run = running_lab.run(WAITING, "-e", json.dumps({"wanted": [manifest]}))
    running_lab.kubernetes("DELETE", "/api/v1/namespaces/media/pods/stuck")
    for part in ("stuck", "ImagePull", "registry.invalid/app:1"):
        assert part in run.joined(), run.tail()
    assert run.rc != 0 and run.seconds < SOON


def test_a_network_plugin_whose_image_never_pulls_is_named_early(fresh_lab: Lab) -> None:
    pod = {
        "hostNetwork": True,
        "tolerations": [{"operator": "Exists"}],
        "restartPolicy": "OnFailure",
        "containers": [{"name": "install", "image": "registry.invalid/cni:1"}],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "broken-cni", "namespace": "kube-system"},
        "spec": {"template": {"spec": pod}},
    }
    manifests = [{"name": "broken-cni", "contents": json.dumps(job)}]
    wanted = {"talos_cni": "none", "talos_inline_manifests": manifests}
    run = fresh_lab.run("bootstrap", "-e", json.dumps(wanted))
    assert run.rc != 0 and run.seconds < SOON, run.tail()
    for part in ("Node talos-cp01", "pod broken-cni-", "container install", "registry.invalid/cni:1"):
        assert part in run.joined(), run.tail()
    assert "ErrImagePull" in run.joined() or "ImagePullBackOff" in run.joined(), run.tail()
    assert "cni plugin not initialized" in run.joined(), run.tail()
    assert not [change for change in run.changes if change["resource"].startswith("Namespace/")]


def test_a_node_that_does_not_answer_is_named(running_lab: Lab) -> None:
    """Its VM runs, and it is not there: the guest's network is another one than the inventory says."""
    running_lab.proxmox("PUT", "/nodes/pve1/qemu/200/config", net0="virtio=02:00:00:00:00:01,bridge=vmbr0,tag=31")
    run = running_lab.run(HEALTH)
    assert run.rc != 0 and run.seconds < SOON, run.tail()
    # As in life: the first packets are lost, then the controller's own kernel says that nobody has the address.
    assert "talos-cp01" in run.joined(), run.tail()
    assert "timed out" in run.joined() or "No route to host" in run.joined(), run.tail()
    mended = running_lab.run("bootstrap")
    assert mended.rc == 0, mended.tail()


def test_an_api_server_that_does_not_start_is_named_with_its_log(running_lab: Lab) -> None:
    patch = {"talos_node_patches": [{"cluster": {"apiServer": {"extraArgs": {"no-such-flag": "1"}}}}]}
    run = running_lab.run("bootstrap", "-e", json.dumps(patch))
    for part in ("kube-apiserver", "talos-cp01", "unknown flag: --no-such-flag"):
        assert part in run.joined(), run.tail()
    assert run.rc != 0 and run.seconds < SOON
    mended = running_lab.run("bootstrap")
    assert mended.rc == 0, mended.tail()

# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_vm`` on the played Proxmox VE: what users of other VM modules had to complain of."""

from __future__ import annotations

import copy
import pathlib
import typing as t

import pytest
from pve_lab import ROLE, Outcome, PveLab

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.vms import vms as vms_core
from ansible_collections.groundwork.homelab.plugins.modules import proxmox_vm

VM: dict[str, t.Any] = {
    "vmid": 200,
    "name": "talos-cp01",
    "node": "pve1",
    "cores": 2,
    "cpu": "x86-64-v2-AES",
    "memory": 2048,
    "machine": "q35",
    "bios": "ovmf",
    "efidisk": {"storage": "local"},
    "scsihw": "virtio-scsi-single",
    "disks": [
        {"storage": "local", "size": "32G", "import_from": "local:import/there.qcow2", "discard": True, "ssd": True}
    ],
    "networks": [{"vlan": 30}],
    "cloud_init": {
        "storage": "local",
        "ipconfig": ["ip=192.168.30.50/24,gw=192.168.30.1"],
        "nameservers": ["192.168.30.1"],
        "searchdomain": "lab.test",
        "password": "cloud-not-a-secret",
        "ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6Yq0u2Tn0p9qM3m0o1m2Zp0oYvG2VnN0gk4yTt1oXk a@b"],
    },
    "serial": True,
    "agent": True,
    "tags": ["Talos", "control-plane"],
    "onboot": True,
    "ostype": "l26",
    "description": "the first\n\nnode\n",
}


def with_(**more: t.Any) -> dict[str, t.Any]:
    return {**copy.deepcopy(VM), **more}


def vms(lab: PveLab, *wishes: dict[str, t.Any], check: bool = False, **more: t.Any) -> Outcome:
    return lab.run(proxmox_vm, check=check, vms=[copy.deepcopy(wish) for wish in wishes or [VM]], **more)


def made(lab: PveLab, *wishes: dict[str, t.Any], **more: t.Any) -> Outcome:
    outcome = vms(lab, *wishes, **more)
    assert not outcome.result.get("failed"), outcome.result
    return outcome


def truthful(lab: PveLab, *wishes: dict[str, t.Any], **more: t.Any) -> Outcome:
    """Check mode writes nothing and lists what the run then does; a second run does nothing."""
    predicted = made(lab, *wishes, check=True, **more)
    assert predicted.writes == []
    outcome = made(lab, *wishes, **more)
    assert outcome.changes == predicted.changes
    assert outcome.result.get("diff") == predicted.result.get("diff")
    assert outcome.result["vms"] == predicted.result["vms"]
    again = made(lab, *wishes, **more)
    assert (again.changes, again.writes, again.result["changed"]) == ([], [], False)
    return outcome


def test_a_vm_is_made_from_an_image_and_started_as_check_mode_said(pve: PveLab) -> None:
    outcome = truthful(pve)
    assert outcome.actions == ["vm/200 create", "vm/200 start"]
    assert pve.status_of(200) == "running"
    config = pve.config_of(200)
    assert config["scsi0"].endswith(",discard=on,size=32G,ssd=1")
    assert config["tags"] == "control-plane;talos"
    assert config["net0"].split("=")[0] == "virtio" and config["net0"].endswith(",bridge=vmbr0,tag=30")
    assert outcome.result["vms"] == [
        {
            "vmid": 200,
            "node": "pve1",
            "name": "talos-cp01",
            "status": "running",
            "template": False,
            "changed": True,
            "pending": [],
        }
    ]


def test_a_run_with_nothing_to_do_costs_one_list_and_a_read_a_vm(pve: PveLab) -> None:
    without_password = {**VM["cloud_init"], "password": None}
    more = with_(vmid=201, name="talos-cp02", networks=[{"vlan": 31}], cloud_init=without_password)
    wishes = (with_(cloud_init=without_password), more)
    made(pve, *wishes)
    again = made(pve, *wishes)
    assert sorted(f"{entry.verb} {entry.path}" for entry in again.requests) == [
        "GET /nodes/pve1/qemu",
        "GET /nodes/pve1/qemu/200/pending",
        "GET /nodes/pve1/qemu/201/pending",
    ]


def test_a_password_is_compared_with_the_hash_that_the_server_keeps(pve: PveLab) -> None:
    made(pve, with_(state="stopped"))
    again = made(pve, with_(state="stopped"))
    assert again.changes == []
    assert [entry.path for entry in again.requests].count("/nodes/pve1/qemu/200/cloudinit/dump") == 1
    other = with_(state="stopped", cloud_init={**VM["cloud_init"], "password": "another-not-a-secret"})
    assert truthful(pve, other).actions == ["vm/200 update"]
    hashed = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
    truthful(pve, with_(state="stopped", cloud_init={**VM["cloud_init"], "password": hashed}))
    same = with_(state="stopped", cloud_init={**VM["cloud_init"], "password": "Hello world!"})
    assert made(pve, same).changes == []


def test_a_vm_is_known_by_its_new_name_at_once(pve: PveLab) -> None:
    """The list of the cluster tells the old one for ten seconds: another VM would be made, or the wrong one changed."""
    for vmid, name in ((300, "old"), (301, "other")):
        pve.do("/nodes/pve1/qemu", vmid=vmid, name=name, memory=512)
    pve.late()
    with pve.session() as session:
        for vmid, name in ((300, "new"), (301, "old")):
            session.put(f"/nodes/pve1/qemu/{vmid}/config", {"name": name}, asked="rename")
    renamed = {"name": "new", "node": "pve1", "state": "present", "memory": 1024}
    assert truthful(pve, renamed).actions == ["vm/300 update"]
    assert truthful(pve, {**renamed, "name": "old"}).actions == ["vm/301 update"]
    assert pve.vmids() == [300, 301]


def test_an_image_that_an_earlier_task_makes_can_be_planned_with(pve: PveLab) -> None:
    wish = with_(disks=[{"storage": "local", "size": "32G", "import_from": "local:import/later.qcow2"}])
    refused = vms(pve, wish, check=True)
    assert "local:import/later.qcow2, which is not on node pve1" in refused.result["msg"]
    assert "Download it with proxmox_image first" in refused.result["msg"]
    planned = made(pve, wish, check=True, planned_images=["local:import/later.qcow2"])
    assert planned.actions == ["vm/200 create", "vm/200 start"]


DRIFTS: list[tuple[dict[str, t.Any], list[str], dict[str, t.Any]]] = [
    ({"memory": 1024}, ["vm/200 update"], {"memory": 2048}),
    ({"tags": "other"}, ["vm/200 update"], {"tags": ["control-plane", "talos"]}),
    ({"name": "Talos-CP01"}, ["vm/200 update"], {"name": "talos-cp01"}),
    ({"description": "something"}, ["vm/200 update"], {"description": "the first\n\nnode"}),
    ({"delete": "serial0"}, ["vm/200 update"], {"serial0": "socket"}),
    ({"agent": "enabled=0,fstrim_cloned_disks=1"}, ["vm/200 update"], {"agent": "1,fstrim_cloned_disks=1"}),
    ({"ipconfig0": "ip=dhcp"}, ["vm/200 update"], {"ipconfig0": "ip=192.168.30.50/24,gw=192.168.30.1"}),
    ({"ipconfig1": "ip=dhcp"}, ["vm/200 update"], {}),
]


@pytest.mark.parametrize(("drift", "actions", "after"), DRIFTS, ids=lambda value: str(value)[:30])
def test_each_drift_is_found_predicted_and_undone(
    pve: PveLab, drift: dict[str, t.Any], actions: list[str], after: dict[str, t.Any]
) -> None:
    made(pve, with_(state="stopped"))
    with pve.session() as session:
        session.put("/nodes/pve1/qemu/200/config", drift, asked="drift")
    outcome = truthful(pve, with_(state="stopped"))
    assert outcome.actions == actions
    assert outcome.changes[0].get("after", {}) == after
    assert len(outcome.writes) == 1


def test_what_is_only_written_differently_is_no_drift(pve: PveLab) -> None:
    """The server keeps property strings as they were sent."""
    made(pve, with_(state="stopped", startup=None))
    with pve.session() as session:
        same = {
            "cpu": "cputype=x86-64-v2-AES",
            "agent": "1",
            "ipconfig0": "gw=192.168.30.1,ip=192.168.30.50/24",
            "tags": "TALOS,control-plane",
            "description": "the first\n\nnode\n\n",
            "machine": "type=q35",
        }
        session.put("/nodes/pve1/qemu/200/config", same, asked="write differently")
    assert made(pve, with_(state="stopped", disks=[{**VM["disks"][0], "size": "32768M"}])).changes == []


def test_a_vlan_is_changed_and_the_mac_is_kept(pve: PveLab) -> None:
    made(pve)
    mac = pve.config_of(200)["net0"].split(",")[0]
    outcome = truthful(pve, with_(networks=[{"vlan": 40}]))
    assert pve.config_of(200)["net0"] == f"{mac},bridge=vmbr0,tag=40"
    assert "note" not in outcome.changes[0]
    truthful(pve, with_(networks=[{}]))
    assert pve.config_of(200)["net0"] == f"{mac},bridge=vmbr0"


def test_a_card_keeps_what_the_module_has_no_option_for(pve: PveLab) -> None:
    made(pve)
    net0 = pve.config_of(200)["net0"]
    with pve.session() as session:
        session.put("/nodes/pve1/qemu/200/config", {"net0": f"{net0},link_down=1"}, asked="drift")
    assert made(pve).changes == []
    made(pve, with_(networks=[{"vlan": 41}]))
    assert "link_down=1" in pve.config_of(200)["net0"]


def test_a_disk_grows_and_a_second_one_comes(pve: PveLab) -> None:
    made(pve)
    bigger = [{**VM["disks"][0], "size": "40G"}, {"storage": "local", "size": "1G"}]
    outcome = truthful(pve, with_(disks=bigger))
    assert outcome.changes[0]["after"].keys() == {"scsi0", "scsi1"}
    config = pve.config_of(200)
    assert "size=40G" in config["scsi0"] and "size=1G" in config["scsi1"]
    assert not any(key.startswith("unused") for key in config)


def test_disks_of_any_size_are_what_is_wanted(pve: PveLab) -> None:
    """The server makes whole KiB, rounded up: a number that is cut off makes a disk too large, which never shrinks."""
    disks = [{"storage": "local", "size": size} for size in ("1027M", "3379M", "3.3G", "1.5G")]
    truthful(pve, with_(disks=disks, state="stopped"))
    sizes = [pve.config_of(200)[f"scsi{number}"].rpartition("size=")[2] for number in range(4)]
    assert sizes == ["1027M", "3379M", "3460301K", "1536M"]
    truthful(pve, with_(disks=[{"storage": "local", "size": "3.3G"}], state="stopped"))
    assert pve.config_of(200)["scsi0"].endswith("size=3460301K")


def test_a_disk_of_a_running_vm_grows_and_changes_at_once(pve: PveLab) -> None:
    made(pve)
    outcome = truthful(pve, with_(disks=[{**VM["disks"][0], "size": "40G", "cache": "writeback"}]))
    assert outcome.result["vms"][0]["pending"] == ["scsi0"]
    made(pve, with_(disks=[{**VM["disks"][0], "size": "40G", "cache": "writeback"}], allow_restart=True))
    assert pve.config_of(200)["scsi0"].endswith("cache=writeback,discard=on,size=40G,ssd=1")


def test_a_disk_never_shrinks_and_nothing_is_written(pve: PveLab) -> None:
    made(pve)
    outcome = vms(pve, with_(memory=4096, disks=[{**VM["disks"][0], "size": "16G"}]))
    assert outcome.result["msg"] == (
        "Disk scsi0 of VM 200 (talos-cp01) has 32G, wanted are 16G. "
        "Disks only grow: set the size that it has, or make a new disk."
    )
    assert outcome.writes == []


def test_an_image_larger_than_the_disk_is_said_before_anything_is_made(pve: PveLab) -> None:
    outcome = vms(pve, with_(disks=[{**VM["disks"][0], "size": "2G"}]))
    assert "scsi0 of VM 200 (talos-cp01) is to have 2G, but local:import/there.qcow2 has 4G" in outcome.result["msg"]
    assert pve.vmids() == []


def test_memory_of_a_running_vm_waits_for_a_restart_that_has_to_be_allowed(pve: PveLab) -> None:
    made(pve)
    outcome = made(pve, with_(memory=4096))
    assert outcome.changes == [
        {
            "resource": "vm/200",
            "action": "update",
            "before": {"memory": 2048},
            "after": {"memory": 4096},
            "note": "needs a restart",
        }
    ]
    assert outcome.result["vms"][0]["pending"] == ["memory"]
    waiting = "VM 200 (talos-cp01) is running and needs a restart before memory takes effect; allow_restart lets this module do it."
    assert outcome.warnings == [waiting]
    still = made(pve, with_(memory=4096))
    assert (still.changes, still.warnings, still.result["vms"][0]["pending"]) == ([], [waiting], ["memory"])
    restarted = truthful(pve, with_(memory=4096, allow_restart=True))
    assert restarted.actions == ["vm/200 restart"]
    assert restarted.result["vms"][0]["pending"] == []
    assert pve.status_of(200) == "running"


def test_new_addresses_of_a_running_vm_are_on_its_drive_and_wait_for_its_next_boot(pve: PveLab) -> None:
    made(pve)
    address = "ip=192.168.30.51/24,gw=192.168.30.1"
    new = with_(cloud_init={**VM["cloud_init"], "ipconfig": [address], "nameservers": ["9.9.9.9"]})
    outcome = truthful(pve, new)
    assert outcome.writes == ["PUT /nodes/pve1/qemu/200/config", "PUT /nodes/pve1/qemu/200/cloudinit"]
    assert outcome.result["vms"][0]["pending"] == ["ipconfig0", "nameserver"]
    assert outcome.warnings == [
        "VM 200 (talos-cp01) is running and needs a restart before ipconfig0, nameserver take effect; "
        "allow_restart lets this module do it."
    ]
    with pve.session() as session:
        listed = session.get("/nodes/pve1/qemu/200/cloudinit")
    assert not [one for one in listed if "pending" in one or "delete" in one]
    restarted = truthful(pve, with_(allow_restart=True))
    assert restarted.actions == ["vm/200 update", "vm/200 restart"]
    assert "PUT /nodes/pve1/qemu/200/cloudinit" not in restarted.writes
    assert restarted.result["vms"][0]["pending"] == []


def test_stopped_means_shut_down_first_and_absent_takes_the_disks(pve: PveLab) -> None:
    made(pve)
    assert truthful(pve, with_(state="stopped")).actions == ["vm/200 stop"]
    assert pve.status_of(200) == "stopped"
    made(pve)
    outcome = truthful(pve, {"vmid": 200, "name": "talos-cp01", "state": "absent"})
    assert outcome.actions == ["vm/200 stop", "vm/200 delete"]
    assert outcome.changes[1]["before"]["cipassword"] == "(hidden)"
    assert pve.vmids() == []
    assert pve.volumes() == ["local:import/there.qcow2"]


def test_a_number_of_another_guest_is_never_touched(pve: PveLab) -> None:
    made(pve, with_(name="precious"))
    for wish in (VM, {"vmid": 200, "name": "talos-cp01", "state": "absent"}):
        outcome = vms(pve, wish)
        assert "vmid 200 belongs to the VM 'precious' on node pve1, not to 'talos-cp01'" in outcome.result["msg"]
        assert outcome.writes == []


def test_a_protected_vm_is_not_deleted(pve: PveLab) -> None:
    made(pve, with_(protection=True))
    outcome = vms(pve, {"vmid": 200, "state": "absent"})
    assert outcome.result["msg"].startswith("VM 200 (talos-cp01) is protected against removal.")
    assert outcome.writes == []


def test_several_vms_are_made_in_one_task(pve: PveLab) -> None:
    wishes = [
        with_(vmid=200 + number, name=f"node-{number}", networks=[{"mac": f"BC:24:11:00:00:{number:02}"}])
        for number in range(5)
    ]
    outcome = truthful(pve, *wishes)
    assert len(outcome.changes) == 10
    assert pve.vmids() == [200, 201, 202, 203, 204]


def test_a_vm_is_made_in_a_pool_and_moved_to_another(pve: PveLab) -> None:
    with pve.session() as session:
        for pool in ("lab", "other"):
            session.post("/pools", {"poolid": pool}, asked="make a pool")
    missing = vms(pve, with_(pool="lba"))
    assert "is to be in the pool 'lba', which does not exist. There are: lab" in missing.result["msg"]
    assert truthful(pve, with_(pool="lab")).changes[0]["after"]["pool"] == "lab"
    pve.needs_played("a pool that the token may not see")
    refused = vms(pve, with_(pool="other"))
    assert refused.writes == []
    assert "other" in refused.result["msg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node": "pve9"}, "is to be on node 'pve9', which does not exist. There are: pve1."),
        ({"disks": [{"storage": "nope", "size": "1G"}]}, "is to have a disk on 'nope', which is no storage of node pve1"),
        ({"disks": [{"storage": "isoonly", "size": "1G"}]}, "The storage 'isoonly' takes no disks of VMs, only iso. These do: local."),
        ({"networks": [{"bridge": "vmbr9"}]}, "net0 of VM 200 (talos-cp01) is to be on the bridge 'vmbr9', which node pve1 does not have. There are: vmbr0."),
        ({"efidisk": {"storage": "isoonly"}}, "The storage 'isoonly' takes no disks of VMs"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_before_anything_is_written(
    pve: PveLab, change: dict[str, t.Any], message: str
) -> None:
    for check in (True, False):
        outcome = vms(pve, with_(**change), check=check)
        assert message in outcome.result["msg"]
        assert outcome.writes == []


@pytest.mark.parametrize(
    ("missing", "right"),
    [
        ("VM.Allocate", "VM.Allocate on /vms/200 (create VM 200)"),
        ("VM.PowerMgmt", "VM.PowerMgmt on /vms/200 (start VM 200)"),
        ("SDN.Use", "SDN.Use on /sdn/zones/localnetwork/vmbr0/30 (connect net0 of VM 200 to vmbr0)"),
        ("Datastore.AllocateSpace", "Datastore.AllocateSpace on /storage/local"),
        ("VM.Config.Memory", "VM.Config.Memory on /vms/200 (set memory of VM 200)"),
    ],
)
def test_a_missing_right_is_named_before_anything_is_written(tmp_path: pathlib.Path, missing: str, right: str) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != missing]) as lab:
        for check in (True, False):
            outcome = vms(lab, VM, check=check)
            assert right in outcome.result["msg"]
            assert outcome.result["error"]["kind"] == "AccessDenied"
            assert outcome.writes == []


# -- faults -------------------------------------------------------------------------------------------------------------


def test_a_task_error_is_told_with_its_log_and_the_next_run_goes_on(pve: PveLab) -> None:
    pve.fault("task-error", verb="POST", path="/nodes/pve1/qemu/200/status/start", text="start failed: no KVM")
    outcome = vms(pve)
    assert "Could not start VM 200 (talos-cp01)" in outcome.result["msg"]
    assert "start failed: no KVM" in outcome.result["msg"]
    assert outcome.result["error"]["log"][-1] == "TASK ERROR: start failed: no KVM"
    assert outcome.actions == ["vm/200 create"], "what was made before it failed"
    pve.faults.clear()
    assert truthful(pve).actions == ["vm/200 start"]


def test_a_lock_is_waited_for(pve: PveLab) -> None:
    made(pve)
    pve.fault("lock", verb="PUT", path="/nodes/pve1/qemu/200/config", seconds=1)
    assert made(pve, with_(cores=3)).actions == ["vm/200 update"]
    assert int(pve.config_of(200)["cores"]) == 3


def test_a_full_storage_is_told_as_the_server_tells_it(pve: PveLab) -> None:
    pve.fault("storage-full", verb="POST", path="/nodes/pve1/qemu")
    outcome = vms(pve)
    assert "No space left on device" in outcome.result["msg"] or "full" in outcome.result["msg"]
    assert pve.vmids() == []


def test_two_runs_at_once_do_not_change_each_others_work(pve: PveLab) -> None:
    """Somebody writes between our look and our write: the digest tells, and we look again."""
    made(pve, with_(state="stopped"))
    pve.fault(
        "answer",
        verb="PUT",
        path="/nodes/pve1/qemu/200/config",
        status=500,
        text="checksum mismatch (file change by other user?)",
    )
    outcome = made(pve, with_(state="stopped", cores=3))
    assert outcome.actions == ["vm/200 update"]
    assert int(pve.config_of(200)["cores"]) == 3


CREATE_WRITES = 3  # create, resize, start


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut", "garbage"])
@pytest.mark.parametrize("nth", range(1, CREATE_WRITES + 1))
def test_a_lost_answer_at_any_write_is_looked_after_in_the_same_run(pve: PveLab, fault: str, nth: int) -> None:
    hit = pve.fault(fault, writes=True, nth=nth, verb="P*")
    outcome = made(pve)
    assert hit.seen >= nth
    assert outcome.actions == ["vm/200 create", "vm/200 start"]
    assert pve.vmids() == [200]
    assert len(pve.volumes()) == 4, "the image, two disks and the cloud-init drive"
    pve.faults.clear()
    assert made(pve).changes == []


@pytest.mark.parametrize("nth", range(1, CREATE_WRITES + 1))
@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
def test_a_run_that_was_cut_off_is_finished_by_the_next(
    pve: PveLab, fault: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun goes on alone; the next run waits for it and does the rest, and its check mode knows it."""
    pve.fault(fault, writes=True, nth=nth, verb="P*")
    pve.fault("task-time", verb="POST", path="/nodes/pve1/qemu*", times=0, seconds=0.4)
    with monkeypatch.context() as patch:
        patch.setattr(vms_core, "ATTEMPTS", 1)
        first = vms(pve)
    assert first.result["failed"]
    pve.faults.clear()
    second = truthful(pve)
    assert set(second.actions) <= {"vm/200 create", "vm/200 start", "vm/200 update"}
    assert pve.vmids() == [200]
    assert pve.status_of(200) == "running"
    assert "size=32G" in pve.config_of(200)["scsi0"]
    assert not any(key.startswith("unused") for key in pve.config_of(200))


# -- secrets ------------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_what_a_task_says(pve: PveLab) -> None:
    outcome = made(pve)
    pve.fault("answer", verb="PUT", path="*", status=500, text="boom")
    failed = vms(pve, with_(cores=4))
    text = repr([outcome.result, outcome.warnings, outcome.progress, failed.result, failed.progress])
    for secret in ("token-not-a-secret", "root-not-a-secret", "cloud-not-a-secret"):
        assert secret not in text

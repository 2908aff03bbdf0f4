# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a lab's VM has besides the usual: TPM, CDs, devices, templates, clones, parts that go, names without
numbers; and what only root may do."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from pve_lab import PATHS, ROLE, PveLab
from test_pve_vm import made, truthful, vms

SMALL: dict[str, t.Any] = {
    "vmid": 300,
    "name": "small",
    "node": "pve1",
    "state": "stopped",
    "disks": [{"storage": "local", "size": "1G"}],
    "networks": [{"mac": "BC:24:11:00:03:00"}],
}
TEMPLATE: dict[str, t.Any] = {
    "vmid": 9000,
    "name": "debian-13",
    "node": "pve1",
    "state": "stopped",
    "template": True,
    "disks": [{"storage": "local", "import_from": "local:import/there.qcow2", "format": "qcow2"}],
    "networks": [{}],
}


def small(**more: t.Any) -> dict[str, t.Any]:
    return {**SMALL, **more}


def put(lab: PveLab, vmid: int = 300, **options: t.Any) -> None:
    """As somebody would by hand."""
    with lab.session() as session:
        session.put(f"/nodes/pve1/qemu/{vmid}/config", options, asked="drift")


@pytest.fixture
def iso(pve: PveLab) -> str:
    pve.put_file("iso", "debian.iso", b"\0" * 40000)
    pve.put_file("iso", "other.iso", b"\0" * 50000)
    return "local:iso/debian.iso"


@pytest.fixture
def fast(pve: PveLab) -> str:
    """A second storage, where storages may be made."""
    assert pve.config.storages
    with pve.session() as session:
        session.post(
            "/storage", {"storage": "fast", "type": "dir", "path": "/srv/fast", "content": "images"}, asked="make"
        )
    return "fast"


def test_a_desktop_with_everything_is_made_as_it_was_planned(pve: PveLab, iso: str) -> None:
    wish = small(
        machine="q35",
        bios="ovmf",
        efidisk={"storage": "local", "pre_enrolled_keys": True},
        tpm={"storage": "local"},
        disks=[
            {"slot": "virtio0", "storage": "local", "size": "2G", "cache": "writeback", "iothread": True},
            {"slot": "sata1", "storage": "local", "size": "1G", "backup": False, "aio": "threads", "serial": "S1"},
        ],
        cdroms=[{"iso": iso}],
        cpu="host,flags=+aes",
        cpulimit=1.5,
        cpuunits=200,
        numa=True,
        hotplug=["network", "disk", "usb", "cpu"],
        vga="virtio",
        watchdog="i6300esb,action=reset",
        rng="source=/dev/urandom",
        tablet=False,
        agent=True,
        agent_options={"fstrim_cloned_disks": True, "freeze_fs": False},
        usb_devices=[{"device": "spice", "usb3": True}],
        boot_order=["virtio0", "ide2"],
        protection=True,
    )
    truthful(pve, wish)
    config = pve.config_of(300)
    assert config["tpmstate0"].endswith(",size=4M,version=v2.0")
    assert config["ide2"].startswith(f"{iso},media=cdrom")
    assert config["sata1"].endswith("aio=threads,backup=0,serial=S1,size=1G")
    assert config["boot"] == "order=virtio0;ide2"
    assert config["cpulimit"] == "1.5" and config["numa"] == 1 and config["tablet"] == 0


def test_a_windows_vm_keeps_the_version_that_its_machine_is_pinned_to(pve: PveLab) -> None:
    """The server pins it when it is made, or becomes Windows; a machine that is written again would lose it."""
    wish = {"vmid": 240, "name": "win", "node": "pve1", "state": "stopped", "machine": "q35", "ostype": "win11"}
    truthful(pve, wish)
    assert re.fullmatch(r"pc-q35-\d+\.\d+(\+pve\d+)?", pve.config_of(240)["machine"])
    other = {"vmid": 241, "name": "will-be", "node": "pve1", "machine": "pc", "ostype": "l26"}
    made(pve, other)
    assert truthful(pve, {**other, "ostype": "win10"}).result["vms"][0]["pending"] == ["machine", "ostype"]
    restarted = truthful(pve, {**other, "ostype": "win10", "allow_restart": True})
    assert (restarted.actions, restarted.result["vms"][0]["pending"]) == (["vm/241 restart"], [])
    assert re.fullmatch(r"pc-i440fx-\d+\.\d+(\+pve\d+)?", pve.config_of(241)["machine"])
    made(pve, {**other, "ostype": "win10", "machine": "q35", "allow_restart": True})
    assert pve.config_of(241)["machine"] == "q35"  # the server keeps what is written


def test_another_cd_is_put_in_and_ejected_while_the_vm_runs(pve: PveLab, iso: str) -> None:
    made(pve, small(state="started", cdroms=[{"iso": iso}]))
    other = truthful(pve, small(state="started", cdroms=[{"iso": "local:iso/other.iso"}]))
    assert "note" not in other.changes[0]
    assert other.result["vms"][0]["pending"] == []
    truthful(pve, small(state="started", cdroms=[{}]))
    assert pve.config_of(300)["ide2"] == "none,media=cdrom"
    gone = vms(pve, small(state="started", cdroms=[{"iso": "local:iso/no.iso"}]))
    assert "ide2 of VM 300 (small) is to use local:iso/no.iso, which is not on node pve1" in gone.result["msg"]
    truthful(pve, small(cdroms=[{"state": "absent"}]))
    assert "ide2" not in pve.config_of(300)


def test_a_cd_that_comes_later_leaves_the_boot_order_as_it_is_wanted(pve: PveLab, iso: str) -> None:
    made(pve, small(boot_order=["scsi0"]))
    truthful(pve, small(boot_order=["scsi0"], cdroms=[{"iso": iso}]))
    assert pve.config_of(300)["boot"] == "order=scsi0"
    truthful(pve, small(boot_order=["scsi1", "scsi0"], disks=[*SMALL["disks"], {"storage": "local", "size": "1G"}]))
    assert pve.config_of(300)["boot"] == "order=scsi1;scsi0"


def test_parts_that_are_absent_go_and_those_that_are_not_listed_stay(pve: PveLab) -> None:
    three = [{"storage": "local", "size": "1G"} for _ in range(3)]
    made(pve, small(disks=three, networks=[{}, {}], watchdog="action=reset", serial=True))
    wish = small(
        disks=[{"slot": "scsi1", "state": "absent"}, {"slot": "scsi2", "state": "detached"}],
        networks=[{"slot": "net1", "state": "absent"}],
        unset=["watchdog", "serial"],
    )
    outcome = truthful(pve, wish)
    assert set(outcome.changes[0]["before"]) == {"net1", "scsi1", "scsi2", "serial0", "watchdog"}
    config = pve.config_of(300)
    assert "scsi0" in config and "net0" in config
    assert not {"scsi1", "scsi2", "net1", "serial0", "watchdog"} & set(config)
    assert [key for key in config if key.startswith("unused")] == ["unused0"], "the detached one is kept"
    assert len(pve.volumes()) == 3, "the image and two disks"


def test_a_protected_vm_keeps_its_disks_and_says_so_beforehand(pve: PveLab) -> None:
    made(pve, small(protection=True))
    goes = {"slot": "scsi0", "state": "absent"}
    refused = vms(pve, small(disks=[goes]))
    assert refused.result["msg"] == "VM 300 (small) is protected, so scsi0 cannot be removed. Set protection to false."
    assert refused.writes == []
    truthful(pve, small(disks=[goes], protection=False))
    made(pve, small())
    truthful(pve, small(disks=[goes], protection=True))
    assert pve.config_of(300)["protection"] == 1


def test_a_disk_is_moved_only_if_that_is_allowed(pve: PveLab, fast: str) -> None:
    made(pve, small(state="started", disks=[{"storage": "local", "size": "1G", "ssd": True}]))
    wish = small(state="started", disks=[{"storage": fast, "size": "2G", "ssd": True, "backup": False}])
    refused = vms(pve, wish)
    assert (
        "Disk scsi0 of VM 300 (small) lies on the storage 'local', wanted is 'fast'. Set move_disks"
        in refused.result["msg"]
    )
    assert refused.writes == []
    truthful(pve, {**wish, "move_disks": True})
    assert pve.config_of(300)["scsi0"].startswith(f"{fast}:300/")
    assert pve.config_of(300)["scsi0"].endswith("backup=0,size=2G,ssd=1")
    assert pve.volumes() == ["local:import/there.qcow2"]


# -- templates and clones -----------------------------------------------------------------------------------------------


def clone(vmid: int, **more: t.Any) -> dict[str, t.Any]:
    wish = {"vmid": vmid, "name": f"worker-{vmid}", "node": "pve1", "clone": {"name": "debian-13"}}
    return {**wish, "networks": [{}], **more}


def test_copies_of_a_template_get_what_differs_and_larger_disks(pve: PveLab) -> None:
    made(pve, TEMPLATE)
    assert pve.config_of(9000)["template"] == 1
    wishes = [
        clone(310 + number, memory=1024, disks=[{"size": "8G", "ssd": True}], cloud_init={"storage": "local"})
        for number in range(3)
    ]
    outcome = truthful(pve, *wishes)
    assert outcome.actions == [f"vm/{310 + number} {action}" for number in range(3) for action in ("create", "start")]
    assert outcome.changes[0]["after"]["clone"] == "9000 (debian-13)"
    assert outcome.changes[0]["after"]["full"] is False
    config = pve.config_of(311)
    assert config["scsi0"].startswith("local:9000/base-9000-disk-0.qcow2/311/")
    assert config["scsi0"].endswith("size=8G,ssd=1")
    assert config["memory"] == "1024" and "cloudinit" in config["ide2"]
    assert len({pve.config_of(310 + number)["net0"] for number in range(3)}) == 3


def test_a_full_copy_lies_where_it_is_told_to(pve: PveLab, fast: str) -> None:
    made(pve, TEMPLATE)
    source = {"vmid": 9000, "full": True, "storage": fast}
    outcome = truthful(pve, clone(320, clone=source, disks=[{"storage": fast, "size": "5G"}]))
    assert outcome.changes[0]["after"]["full"] is True
    assert pve.config_of(320)["scsi0"].startswith(f"{fast}:320/")


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        ({"vmid": 9999}, {}, "is to be cloned from VM 9999, which does not exist. Without the right VM.Audit"),
        ({"name": "nobody"}, {}, "is to be cloned from the VM 'nobody', which does not exist"),
        ({"vmid": 300, "full": False}, {}, "is to be a linked clone of VM 300 (small), which is no template"),
        ({"vmid": 9000}, {"disks": [{"size": "1G"}]}, "Disk scsi0 of VM 330 (worker-330) has 4G, wanted are 1G. Disks only grow"),
        ({"vmid": 9000}, {"disks": [{"slot": "scsi1", "size": "1G"}]}, "Disk scsi1 of VM 330 (worker-330) is to be made, but has no storage"),
        ({"vmid": 9000, "full": True, "storage": "isoonly"}, {}, "The storage 'isoonly' takes no disks of VMs"),
        ({"vmid": 9000, "full": True, "storage": "nope"}, {}, "is to have a disk on 'nope', which is no storage of node pve1"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_of_a_copy_is_said_beforehand(
    pve: PveLab, source: dict[str, t.Any], more: dict[str, t.Any], message: str
) -> None:
    made(pve, TEMPLATE, small())
    for check in (True, False):
        outcome = vms(pve, clone(330, clone=source, **more), check=check)
        assert message in outcome.result["msg"]
        assert outcome.writes == []


@pytest.mark.parametrize("fault", ["drop-before", "drop-after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_copy_that_was_cut_off_is_finished(pve: PveLab, fault: str, nth: int) -> None:
    made(pve, TEMPLATE)
    pve.fault(fault, writes=True, nth=nth, verb="P*")
    wish = clone(340, memory=1024, disks=[{"size": "8G"}])
    made(pve, wish)
    pve.faults.clear()
    assert made(pve, wish).changes == []
    assert pve.vmids() == [340, 9000]
    assert pve.config_of(340)["scsi0"].endswith("size=8G")


def test_a_template_stays_one_and_its_disks_stay_as_they_are(pve: PveLab) -> None:
    made(pve, TEMPLATE)
    assert truthful(pve, {**TEMPLATE, "description": "the base"}).actions == ["vm/9000 update"]
    grown = vms(pve, {**TEMPLATE, "disks": [{"size": "9G"}]})
    assert "VM 9000 (debian-13) is a template: its disks (scsi0) cannot be changed" in grown.result["msg"]
    for wish in ({**TEMPLATE, "template": None}, {**TEMPLATE, "template": False, "state": "started"}):
        outcome = vms(pve, wish)
        assert "VM 9000 (debian-13) is a template, which cannot be changed into a VM" in outcome.result["msg"]
        assert outcome.writes == []


def test_a_running_vm_is_shut_down_to_become_a_template(pve: PveLab) -> None:
    made(pve, small(state="started"))
    outcome = truthful(pve, small(state="present", template=True), shutdown_timeout=1)
    assert outcome.actions == ["vm/300 stop", "vm/300 update"]
    assert pve.config_of(300)["template"] == 1


# -- who is meant ---------------------------------------------------------------------------------------------------------


def test_a_vm_that_was_made_by_hand_is_taken_over_as_it_is(pve: PveLab) -> None:
    by_hand = {"vmid": 350, "name": "By-Hand", "memory": 512, "net0": "virtio,bridge=vmbr0", "scsi0": "local:1"}
    pve.do("/nodes/pve1/qemu", **by_hand)
    before = pve.config_of(350)
    wish = {"name": "by-hand", "node": "pve1", "state": "present", "memory": 1024, "networks": [{}]}
    outcome = truthful(pve, wish)
    assert outcome.actions == ["vm/350 update"]
    after = pve.config_of(350)
    assert (after["net0"], after["scsi0"], after["vmgenid"]) == (before["net0"], before["scsi0"], before["vmgenid"])
    renamed = {**wish, "vmid": 350, "name": "new-name"}
    assert "vmid 350 belongs to the VM 'by-hand'" in vms(pve, renamed).result["msg"]
    truthful(pve, {**renamed, "renamed_from": "by-hand"})
    assert truthful(pve, {"name": "new-name", "state": "absent"}).actions == ["vm/350 delete"]
    assert made(pve, {"name": "new-name", "state": "absent"}).changes == []


def test_vms_without_numbers_get_free_ones(pve: PveLab) -> None:
    assert pve.config.nodes, "the numbers that are free are known"
    made(pve, small(vmid=101))
    wishes = [{"name": f"auto-{number}", "node": "pve1", "state": "stopped"} for number in range(3)]
    outcome = truthful(pve, *wishes)
    assert [entry["vmid"] for entry in outcome.result["vms"]] == [100, 102, 103]
    assert pve.vmids() == [100, 101, 102, 103]
    put(pve, 103, name="auto-0")
    several = vms(pve, wishes[0])
    assert (
        "the VM 'auto-0' is given without vmid, and 2 VMs have the name 'auto-0': 100 on node pve1"
        in several.result["msg"]
    )


# -- power --------------------------------------------------------------------------------------------------------------------


def test_restarted_and_reset_happen_every_time(pve: PveLab) -> None:
    made(pve, small())
    for state, call, note in (("restarted", "shutdown", None), ("reset", "reset", "without a shutdown")):
        first = made(pve, small(state=state), shutdown_timeout=1)
        assert first.actions[-1] in ("vm/300 start", "vm/300 restart")
        again = made(pve, small(state=state), shutdown_timeout=1)
        assert again.actions == ["vm/300 restart"]
        assert again.changes[0].get("note") == note
        assert any(write.endswith(f"/status/{call}") for write in again.writes)
        assert pve.status_of(300) == "running"


def test_a_restart_that_is_asked_for_applies_what_waits(pve: PveLab) -> None:
    made(pve, small(state="started"))
    outcome = made(pve, small(state="restarted", cores=2), shutdown_timeout=1)
    assert outcome.actions == ["vm/300 update", "vm/300 restart"]
    assert outcome.changes[1]["note"] == "applies cores"
    assert (outcome.warnings, outcome.result["vms"][0]["pending"]) == ([], [])


@pytest.mark.sends_bad_requests("the played VM has no guest that lets go of a card")
def test_a_card_that_the_guest_keeps_goes_with_the_restart_that_is_allowed(pve: PveLab) -> None:
    made(pve, small(state="started", networks=[{}, {}]))
    wish = small(state="started", networks=[{"slot": "net1", "state": "absent"}])
    refused = vms(pve, wish)
    assert "hotplug problem" in refused.result["msg"]
    waiting = made(pve, wish)
    assert (waiting.changes, waiting.result["vms"][0]["pending"]) == ([], ["net1"])
    put(pve, revert="net1")
    made(pve, {**wish, "allow_restart": True}, shutdown_timeout=1)
    assert "net1" not in pve.config_of(300)
    assert made(pve, {**wish, "allow_restart": True}).changes == []


# -- pools, rights, root ------------------------------------------------------------------------------------------------------


def test_a_vm_goes_into_a_pool_to_another_and_out_of_it(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, also={"AnsiblePools": ["/pool", "/pool/lab"]}) as lab:
        with lab.session() as session:
            for pool in ("lab", "other"):
                session.post("/pools", {"poolid": pool}, asked="make a pool")
        made(lab, small(pool="lab"))
        assert truthful(lab, small(pool="other")).changes[0]["after"] == {"pool": "other"}
        assert truthful(lab, small(pool="")).changes[0]["before"] == {"pool": "other"}
        assert truthful(lab, small(pool="lab")).changes[0]["after"] == {"pool": "lab"}


def mapped(lab: PveLab) -> None:
    with lab.session() as session:
        entry = "node=pve1,path=0000:01:00.0,id=10de:1b80"
        session.post("/cluster/mapping/pci", {"id": "gpu", "map": entry}, asked="map")


def test_a_mapped_device_is_given_and_taken_away(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, also={"AnsibleGuests": [*PATHS, "/mapping"]}) as lab:
        mapped(lab)
        wish = small(machine="q35", pci_devices=[{"mapping": "gpu", "pcie": True}])
        unknown = vms(lab, small(pci_devices=[{"mapping": "cpu"}])).result["msg"]
        assert "VM 300 (small) is to use the PCI mapping 'cpu', which does not exist. There are: gpu." in unknown
        truthful(lab, wish)
        assert lab.config_of(300)["hostpci0"] == "mapping=gpu,pcie=1"
        put(lab, hostpci0="pcie=1,mapping=gpu,rombar=1")
        assert made(lab, wish).changes == [], "the same, in other words"
        truthful(lab, small(pci_devices=[{"state": "absent"}]))


@pytest.mark.parametrize(
    ("wish", "what"),
    [
        ({"pci_devices": [{"device": "0000:01:00.0"}]}, "hostpci0"),
        ({"usb_devices": [{"device": "1d6b:0002"}]}, "usb0"),
        ({"args": "-device x"}, "args"),
        ({"affinity": "0-1"}, "affinity"),
        ({"hookscript": "local:snippets/hook.sh"}, "hookscript"),
    ],
)
def test_what_only_root_may_is_said_before_anything_is_written(pve: PveLab, wish: dict[str, t.Any], what: str) -> None:
    made(pve, small(vmid=301, name="other", networks=[]))
    for one in (small(**wish), small(vmid=301, name="other", networks=[], **wish)):
        for check in (True, False):
            outcome = vms(pve, one, check=check)
            assert f"only root@pam with a password may set {what} of VM" in outcome.result["msg"]
            assert outcome.result["error"]["kind"] == "AccessDenied"
            assert outcome.writes == []


@pytest.mark.parametrize(
    ("missing", "wish", "right"),
    [
        ("VM.Clone", clone(360, clone={"vmid": 9000}), "VM.Clone on /vms/9000 (clone VM 9000 as VM 360)"),
        ("Mapping.Use", small(pci_devices=[{"mapping": "gpu"}]), "Mapping.Use on /mapping/pci/gpu (use gpu for hostpci0"),
        ("VM.Config.CDROM", small(cdroms=[{}]), "VM.Config.CDROM on /vms/300 (set ide2 of VM 300)"),
        ("VM.Config.HWType", small(rng="source=/dev/urandom"), "VM.Config.HWType on /vms/300 (set rng0 of VM 300)"),
        ("VM.Config.Disk", small(disks=[{"state": "absent"}]), "VM.Config.Disk on /vms/300 (set scsi0 of VM 300)"),
        ("VM.Allocate", small(template=True), "VM.Allocate on /vms/300 (make VM 300 a template)"),
        ("VM.PowerMgmt", small(state="started"), "VM.PowerMgmt on /vms/300 (start VM 300)"),
        ("Sys.Modify", small(startup="order=1"), "Sys.Modify on / (set startup of VM 300)"),
        ("Pool.Allocate", small(pool="lab"), "Pool.Allocate on /pool/lab (put VM 300 into the pool lab)"),
        ("VM.Config.Cloudinit", small(cloud_init={"storage": "local", "user": "a"}), "VM.Config.Cloudinit on /vms/300"),
    ],
)  # fmt: skip
def test_every_missing_right_is_named_with_its_path(
    tmp_path: pathlib.Path, missing: str, wish: dict[str, t.Any], right: str
) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != missing]) as lab:
        mapped(lab)
        with lab.session() as session:
            session.post("/pools", {"poolid": "lab"}, asked="make a pool")
        assert not lab.run(_module(), as_root=True, vms=[_of_root(TEMPLATE), _of_root(small())]).result.get("failed")
        for check in (True, False):
            outcome = vms(lab, wish, check=check)
            assert right in outcome.result["msg"]
            assert outcome.writes == []


def _module() -> t.Any:
    from ansible_collections.groundwork.homelab.plugins.modules import proxmox_vm

    return proxmox_vm


def _of_root(wish: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: [dict(one) for one in value] if isinstance(value, list) else value for key, value in wish.items()}


def test_root_itself_may_give_a_real_device(pve: PveLab) -> None:
    wish = small(pci_devices=[{"device": "0000:01:00.0"}])
    outcome = pve.run(_module(), as_root=True, vms=[_of_root(wish)])
    assert not outcome.result.get("failed"), outcome.result
    assert pve.config_of(300)["hostpci0"] == "0000:01:00.0"
    refused = vms(pve, small(pci_devices=[{"state": "absent"}]))
    assert "only root@pam with a password may set hostpci0" in refused.result["msg"]


def test_a_disk_that_waits_for_the_next_start_is_not_worked_on(pve: PveLab) -> None:
    made(pve, small(state="started"))
    image = {"slot": "sata0", "storage": "local", "size": "8G", "import_from": "local:import/there.qcow2"}
    refused = vms(pve, small(state="started", disks=[image]))
    assert "sata0 of VM 300 (small) only come with its next start" in refused.result["msg"]
    assert refused.writes == []
    truthful(pve, small(disks=[image]), shutdown_timeout=1)
    assert pve.config_of(300)["sata0"].endswith("size=8G")


def test_snippets_of_cloud_init_must_be_there(pve: PveLab) -> None:
    custom = {"storage": "local", "custom": {"user": "local:snippets/user.yml"}}
    wish = small(cloud_init=custom)
    refused = vms(pve, wish)
    assert (
        "cloud_init of VM 300 (small) is to use local:snippets/user.yml, which is not on node pve1"
        in refused.result["msg"]
    )
    folder = pve.config.root / "pve1" / "local" / "snippets"
    folder.mkdir(parents=True)
    (folder / "user.yml").write_text("#cloud-config\n")
    truthful(pve, wish)
    assert pve.config_of(300)["cicustom"] == "user=local:snippets/user.yml"
    truthful(pve, small(cloud_init={"storage": "local", "custom": {}}))
    assert not str(pve.config_of(300).get("cicustom", "")).strip()


def test_a_copy_without_a_number_is_made_once(pve: PveLab) -> None:
    made(pve, TEMPLATE)
    wish = {key: value for key, value in clone(1, state="stopped").items() if key != "vmid"}
    outcome = truthful(pve, wish)
    assert outcome.result["vms"][0]["vmid"] == 100
    assert pve.vmids() == [100, 9000]


UPDATE_WRITES = 5  # options, a disk that goes, one that comes, one that grows, settings of that


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "garbage"])
@pytest.mark.parametrize("nth", range(1, UPDATE_WRITES + 1))
def test_an_update_with_a_lost_answer_ends_well(pve: PveLab, fault: str, nth: int) -> None:
    one = {"storage": "local", "size": "1G"}
    made(pve, small(disks=[one, dict(one)]))
    grown = {"storage": "local", "size": "2G", "ssd": True}
    new = {"slot": "scsi2", "storage": "local", "size": "1G"}
    wish = small(memory=1024, disks=[grown, {"state": "absent"}, new])
    hit = pve.fault(fault, writes=True, nth=nth, verb="P*")
    made(pve, wish)
    assert hit.seen >= nth
    pve.faults.clear()
    assert made(pve, wish).changes == []
    config = pve.config_of(300)
    assert config["scsi0"].endswith("size=2G,ssd=1")
    assert "scsi1" not in config and not any(key.startswith("unused") for key in config)
    assert len(pve.volumes()) == 3, "the image and two disks"


def test_a_mac_keeps_its_spelling(pve: PveLab) -> None:
    """For the server another spelling is another card: a running VM would have its own unplugged."""
    made(pve, small())
    put(pve, net0="virtio=bc:24:11:00:03:00,bridge=vmbr0")
    truthful(pve, small(networks=[{**SMALL["networks"][0], "firewall": True}]))
    assert pve.config_of(300)["net0"] == "virtio=bc:24:11:00:03:00,bridge=vmbr0,firewall=1"

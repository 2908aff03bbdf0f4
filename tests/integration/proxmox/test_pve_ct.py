# SPDX-License-Identifier: GPL-3.0-or-later
"""``proxmox_lxc`` on the played Proxmox VE: what users of other container modules had to complain of."""

from __future__ import annotations

import pathlib
import typing as t

import pve_containers as containers
import pytest
from pve_containers import CT, KEY, TEMPLATE, change, config_of, cts, made, status_of, truthful, vmids, with_
from pve_lab import PveLab


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    return pve


def test_a_container_is_made_and_started_as_check_mode_said(lab: PveLab) -> None:
    outcome = truthful(lab)
    assert outcome.actions == ["ct/310 create", "ct/310 start"]
    assert status_of(lab) == "running"
    config = config_of(lab)
    assert config["rootfs"].endswith(",size=2G")
    assert config["mp0"].endswith(",mp=/data,backup=1,size=1G")
    assert config["tags"] == "edge;proxy"
    assert config["unprivileged"] == 1
    assert config["features"] == "nesting=1"
    assert config["net0"].startswith("name=eth0,bridge=vmbr0,firewall=1,gw=192.168.1.1,hwaddr=")
    assert outcome.result["containers"] == [
        {
            "vmid": 310,
            "node": "pve1",
            "hostname": "traefik",
            "status": "running",
            "template": False,
            "changed": True,
            "pending": [],
        }
    ]
    assert outcome.changes[0]["after"]["password"] == "(hidden)"
    assert outcome.changes[0]["after"]["ssh_keys"] == [KEY]


def test_a_run_with_nothing_to_do_costs_one_list_and_a_read_a_container(lab: PveLab) -> None:
    made(lab)
    again = made(lab)
    assert [f"{entry.verb} {entry.path}" for entry in again.requests] == [
        "GET /nodes/pve1/lxc",
        "GET /nodes/pve1/lxc/310/pending",
    ]


def test_a_template_that_an_earlier_task_makes_can_be_planned_with(lab: PveLab) -> None:
    later = "local:vztmpl/later.tar.zst"
    refused = cts(lab, with_(ostemplate=later), check=True)
    assert f"CT 310 (traefik) is to be made from {later}, which is not on node pve1" in refused.result["msg"]
    planned = made(lab, with_(ostemplate=later), check=True, planned_images=[later])
    assert planned.actions == ["ct/310 create", "ct/310 start"]


DRIFTS: list[tuple[dict[str, t.Any], dict[str, t.Any]]] = [
    ({"memory": 1024}, {"memory": 512}),
    ({"swap": 0}, {"swap": 256}),
    ({"cores": 4}, {"cores": 1}),
    ({"cpulimit": 2}, {"cpulimit": "0.5"}),
    ({"tags": "other"}, {"tags": ["edge", "proxy"]}),
    ({"hostname": "Traefik"}, {"hostname": "traefik"}),
    ({"description": "something"}, {"description": "the\n\nproxy"}),
    ({"nameserver": "1.1.1.1"}, {"nameserver": "192.168.1.1 9.9.9.9"}),
    ({"delete": "searchdomain"}, {"searchdomain": "lab.test"}),
    ({"timezone": "UTC"}, {"timezone": "Europe/Berlin"}),
    ({"onboot": 0}, {"onboot": 1}),
    ({"startup": "order=1"}, {"startup": "order=3,up=60,down=60"}),
    ({"delete": "features"}, {"features": "nesting=1"}),
]


@pytest.mark.parametrize(("drift", "after"), DRIFTS, ids=lambda value: str(value)[:30])
def test_each_drift_is_found_predicted_and_undone(
    lab: PveLab, drift: dict[str, t.Any], after: dict[str, t.Any]
) -> None:
    made(lab, with_(state="stopped"))
    change(lab, **drift)
    if "hostname" not in drift:
        assert truthful(lab, with_(state="stopped")).changes[0].get("after", {}) == after
        return
    assert truthful(lab, with_(state="stopped")).changes[0]["after"] == after


def test_what_is_only_written_differently_is_no_drift(lab: PveLab) -> None:
    """The server keeps property strings as they were sent."""
    made(lab, with_(state="stopped"))
    net0, mp0 = config_of(lab)["net0"], config_of(lab)["mp0"]
    change(
        lab,
        startup="down=60,up=60,order=3",
        features="nesting=1,keyctl=0",
        cpulimit="0.50",
        tags="PROXY,edge",
        description="the\n\nproxy\n\n\n",
        nameserver="192.168.1.1,9.9.9.9",
        net0=",".join(reversed(net0.split(","))) + ",link_down=0",
        mp0=mp0 + ",shared=0,replicate=1",
    )
    same = with_(state="stopped", rootfs={"storage": "local", "size": "2048M"})
    assert made(lab, same).changes == []


def test_an_address_is_changed_and_the_mac_is_kept(lab: PveLab) -> None:
    """community.proxmox #132: a task that changed anything wrote the card without its MAC."""
    made(lab)
    mac = config_of(lab)["net0"].partition("hwaddr=")[2].split(",")[0]
    outcome = truthful(lab, with_(memory=1024, networks=[{"ip": "192.168.1.5/24", "gateway": "192.168.1.1"}]))
    assert config_of(lab)["net0"] == f"name=eth0,bridge=vmbr0,gw=192.168.1.1,hwaddr={mac},ip=192.168.1.5/24,type=veth"
    assert "note" not in outcome.changes[0]
    assert outcome.result["containers"][0]["pending"] == []
    only_memory = truthful(lab, with_(memory=768, networks=[{"ip": "192.168.1.5/24", "gateway": "192.168.1.1"}]))
    assert only_memory.changes[0]["after"] == {"memory": 768}, "what has not changed is not written"


def test_a_sub_key_that_is_gone_is_removed_and_a_foreign_one_is_kept(lab: PveLab) -> None:
    """community.proxmox compares by parts, and never sees that a key is gone."""
    made(lab, with_(state="stopped"))
    net0 = config_of(lab)["net0"]
    change(lab, net0=f"{net0},mtu=1400,link_down=1")
    truthful(lab, with_(state="stopped"))
    assert "mtu" not in config_of(lab)["net0"] and "link_down=1" in config_of(lab)["net0"]


def test_volumes_grow_and_a_second_one_comes(lab: PveLab) -> None:
    """community.proxmox #180, community.general #8407, #8542: each run made the volumes again."""
    made(lab)
    wish = with_(
        rootfs={"storage": "local", "size": "3G"},
        mounts=[{**CT["mounts"][0], "size": "2G"}, {"mp": "/more", "storage": "local", "size": "1G"}],
    )
    outcome = truthful(lab, wish)
    assert outcome.changes[0]["after"].keys() == {"rootfs", "mp0", "mp1"}
    config = config_of(lab)
    assert config["rootfs"].endswith("size=3G") and config["mp0"].endswith("size=2G")
    assert config["mp1"].endswith("mp=/more,size=1G")
    assert not any(key.startswith("unused") for key in config)


def test_volumes_of_any_size_are_what_is_wanted(lab: PveLab) -> None:
    """The server makes whole MiB, rounded down."""
    mounts = [{"mp": "/data", "storage": "local", "size": "1025M"}, {"mp": "/more", "storage": "local", "size": "1.1G"}]
    truthful(lab, with_(rootfs={"storage": "local", "size": "3.3G"}, mounts=mounts, state="stopped"))
    sizes = [config_of(lab)[slot].rpartition("size=")[2] for slot in ("rootfs", "mp0", "mp1")]
    assert sizes == ["3380M", "1025M", "1127M"]


def test_a_volume_of_a_running_container_grows_at_once_and_changes_at_its_restart(lab: PveLab) -> None:
    made(lab)
    wish = with_(mounts=[{**CT["mounts"][0], "size": "2G", "readonly": True}])
    outcome = truthful(lab, wish)
    assert outcome.result["containers"][0]["pending"] == ["mp0"]
    bigger = with_(mounts=[{**CT["mounts"][0], "size": "3G", "readonly": True}], allow_restart=True)
    assert truthful(lab, bigger).actions == ["ct/310 update", "ct/310 restart"]
    assert config_of(lab)["mp0"].endswith(",mp=/data,backup=1,ro=1,size=3G")


def test_a_volume_never_shrinks_and_nothing_is_written(lab: PveLab) -> None:
    made(lab)
    outcome = cts(lab, with_(memory=4096, rootfs={"storage": "local", "size": "1G"}))
    assert outcome.result["msg"] == (
        "rootfs of CT 310 (traefik) has 2G, wanted are 1G. "
        "Volumes only grow: set the size that it has, or make a new one."
    )
    assert outcome.writes == []


def test_a_mount_goes_and_its_volume_is_kept_and_comes_back(lab: PveLab) -> None:
    made(lab, with_(state="stopped"))
    volume = config_of(lab)["mp0"].split(",")[0]
    outcome = truthful(lab, with_(state="stopped", mounts=[{"slot": "mp0", "state": "absent"}]))
    assert outcome.changes[0]["before"].keys() == {"mp0"} and "after" not in outcome.changes[0]
    assert config_of(lab)["unused0"] == volume
    truthful(lab, with_(state="stopped", mounts=[{"slot": "mp1", "mp": "/again", "volume": volume}]))
    assert config_of(lab)["mp1"].startswith(f"{volume},mp=/again")


def test_a_card_goes(lab: PveLab) -> None:
    made(lab, with_(networks=[{"ip": "dhcp"}, {"ip": "dhcp", "vlan": 40}]))
    outcome = truthful(lab, with_(networks=[{"ip": "dhcp"}, {"slot": "net1", "state": "absent"}]))
    assert outcome.changes[0]["before"].keys() == {"net1"}
    assert "net1" not in config_of(lab)


def test_options_are_unset(lab: PveLab) -> None:
    made(lab)
    wish = {key: value for key, value in with_(state="stopped").items() if key not in ("cpulimit", "searchdomain")}
    outcome = truthful(lab, {**wish, "unset": ["cpulimit", "searchdomain", "console_mode"]})
    assert outcome.changes[1]["before"] == {"cpulimit": "0.5", "searchdomain": "lab.test"}
    assert "cpulimit" not in config_of(lab)


def test_memory_changes_at_once_and_name_servers_wait_for_a_restart_that_has_to_be_allowed(lab: PveLab) -> None:
    made(lab)
    assert made(lab, with_(memory=1024)).warnings == []
    outcome = made(lab, with_(memory=1024, nameservers=["1.1.1.1"]))
    assert outcome.changes == [
        {
            "resource": "ct/310",
            "action": "update",
            "before": {"nameserver": "192.168.1.1 9.9.9.9"},
            "after": {"nameserver": "1.1.1.1"},
            "note": "needs a restart",
        }
    ]
    waiting = "CT 310 (traefik) is running and needs a restart before nameserver takes effect; allow_restart lets this module do it."
    assert outcome.warnings == [waiting]
    still = made(lab, with_(memory=1024, nameservers=["1.1.1.1"]))
    assert (still.changes, still.warnings) == ([], [waiting])
    assert still.result["containers"][0]["pending"] == ["nameserver"]
    restarted = truthful(lab, with_(memory=1024, nameservers=["1.1.1.1"], allow_restart=True))
    assert restarted.actions == ["ct/310 restart"]
    assert restarted.changes[0]["note"] == "applies nameserver"
    assert status_of(lab) == "running"


def test_stopped_means_shut_down_first_and_absent_takes_the_volumes(lab: PveLab) -> None:
    made(lab)
    outcome = truthful(lab, with_(state="stopped", nameservers=["1.1.1.1"]))
    assert outcome.actions == ["ct/310 stop", "ct/310 update"]
    assert "note" not in outcome.changes[1]
    assert status_of(lab) == "stopped"
    made(lab)
    gone = truthful(lab, {"vmid": 310, "hostname": "traefik", "state": "absent"})
    assert gone.actions == ["ct/310 stop", "ct/310 delete"]
    assert vmids(lab) == []
    assert [volume for volume in lab.volumes() if "310" in volume] == []


def test_restarted_restarts_once_a_run(lab: PveLab) -> None:
    made(lab, with_(state="stopped"))
    assert made(lab, with_(state="restarted")).actions == ["ct/310 start"]
    assert made(lab, with_(state="restarted"), check=True).actions == ["ct/310 restart"]
    assert made(lab, with_(state="restarted")).actions == ["ct/310 restart"]
    assert status_of(lab) == "running"


def test_a_number_of_another_guest_is_never_touched(lab: PveLab) -> None:
    made(lab, with_(hostname="precious", unprivileged=True))
    for wish in (with_(unprivileged=False), {"vmid": 310, "hostname": "traefik", "state": "absent"}):
        outcome = cts(lab, wish)
        message = "vmid 310 belongs to the container 'precious' on node pve1, not to 'traefik'"
        assert message in outcome.result["msg"]
        assert outcome.writes == []
    lab.do("/nodes/pve1/qemu", vmid=400, name="vm")
    for wish in (with_(vmid=400), {"vmid": 400, "state": "absent"}):
        outcome = cts(lab, wish)
        assert outcome.result["msg"] == "vmid 400 is a VM on node pve1, not a container. Choose another vmid."
        assert outcome.writes == []


def test_a_protected_container_is_not_deleted(lab: PveLab) -> None:
    made(lab, with_(protection=True))
    outcome = cts(lab, {"vmid": 310, "state": "absent"})
    assert outcome.result["msg"].startswith("CT 310 (traefik) is protected against removal.")
    assert outcome.writes == []
    truthful(lab, with_(protection=False, state="stopped"))
    assert made(lab, {"vmid": 310, "state": "absent"}).actions == ["ct/310 delete"]


def test_a_mount_of_a_protected_container_goes_only_without_the_protection(lab: PveLab) -> None:
    made(lab, with_(state="stopped", protection=True))
    wish = with_(state="stopped", mounts=[{"slot": "mp0", "state": "absent"}])
    outcome = cts(lab, wish)
    assert outcome.result["msg"].startswith("CT 310 (traefik) is protected, so mp0 cannot be taken away.")
    assert outcome.writes == []
    assert truthful(lab, {**wish, "protection": False}).actions == ["ct/310 update"]
    assert "unused0" in config_of(lab)


def test_it_cannot_become_privileged(lab: PveLab) -> None:
    made(lab)
    outcome = cts(lab, with_(unprivileged=False))
    assert outcome.result["msg"].startswith("CT 310 (traefik) is unprivileged, which cannot be changed.")
    assert outcome.writes == []


def test_several_containers_are_made_in_one_task(lab: PveLab) -> None:
    wishes = [with_(vmid=310 + number, hostname=f"ct-{number}", networks=[{"ip": "dhcp"}]) for number in range(5)]
    outcome = truthful(lab, *wishes)
    assert len(outcome.changes) == 10
    assert vmids(lab) == [310, 311, 312, 313, 314]


def test_a_container_is_made_in_a_pool(lab: PveLab) -> None:
    with lab.session() as session:
        for pool in ("lab", "other"):
            session.post("/pools", {"poolid": pool}, asked="make a pool")
    missing = cts(lab, with_(pool="lba"))
    assert "is to be in the pool 'lba', which does not exist. There are: lab" in missing.result["msg"]
    assert truthful(lab, with_(pool="lab")).changes[0]["after"]["pool"] == "lab"


def test_a_pool_that_may_not_be_seen_is_said(lab: PveLab) -> None:
    lab.needs_played("a pool that the token may not see")
    with lab.session() as session:
        for pool in ("lab", "other"):
            session.post("/pools", {"poolid": pool}, asked="make a pool")
    refused = cts(lab, with_(pool="other"))
    assert "is to be in the pool 'other', which does not exist. There are: lab." in refused.result["msg"]
    assert refused.writes == []


def test_a_container_changes_its_pool_and_leaves_it(tmp_path: pathlib.Path) -> None:
    with PveLab(tmp_path, also={"AnsiblePools": ("/pool",)}) as lab:
        containers.put_template(lab)
        with lab.session() as session:
            for pool in ("one", "two"):
                session.post("/pools", {"poolid": pool}, asked="make a pool")
        made(lab, with_(pool="one"))
        assert truthful(lab, with_(pool="two")).changes[0]["before"] == {"pool": "one"}
        assert truthful(lab, with_(pool="")).changes[0]["before"] == {"pool": "two"}
        assert made(lab).changes == []


@pytest.mark.parametrize(
    ("change_", "message"),
    [
        ({"node": "pve9"}, "is to be on node 'pve9', which does not exist. There are: pve1."),
        ({"rootfs": {"storage": "nope", "size": "1G"}}, "is to have a disk on 'nope', which is no storage of node pve1"),
        ({"rootfs": {"storage": "isoonly", "size": "1G"}}, "The storage 'isoonly' takes no volumes of containers, only iso. These do: local."),
        ({"mounts": [{"mp": "/a", "storage": "isoonly", "size": "1G"}]}, "The storage 'isoonly' takes no volumes of containers"),
        ({"networks": [{"bridge": "vmbr9"}]}, "net0 of CT 310 (traefik) is to be on the bridge 'vmbr9', which node pve1 does not have. There are: vmbr0."),
        ({"ostemplate": None}, "CT 310 (traefik) does not exist, and its ostemplate is missing. A new container needs ostemplate, and rootfs"),
        ({"rootfs": None}, "CT 310 (traefik) does not exist, and its rootfs is missing"),
        ({"rootfs": {"storage": "local"}}, "CT 310 (traefik) does not exist, and its size of rootfs is missing"),
        ({"ostemplate": None, "rootfs": None, "ssh_keys": None, "password": None, "clone": {"vmid": 900}}, "CT 310 (traefik) is to be a clone of CT 900, which does not exist"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_before_anything_is_written(
    lab: PveLab, change_: dict[str, t.Any], message: str
) -> None:
    for check in (True, False):
        outcome = cts(lab, with_(**change_), check=check)
        assert message in outcome.result["msg"]
        assert outcome.writes == []


def test_no_secret_is_in_what_a_task_says(lab: PveLab) -> None:
    outcome = made(lab)
    lab.fault("answer", verb="PUT", path="*", status=500, text="boom")
    failed = cts(lab, with_(cores=4))
    assert failed.result["failed"]
    text = repr([outcome.result, outcome.warnings, outcome.progress, failed.result, failed.progress])
    for secret in ("token-not-a-secret", "root-not-a-secret", "container-not-a-secret"):
        assert secret not in text
    assert TEMPLATE in text

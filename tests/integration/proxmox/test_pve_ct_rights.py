# SPDX-License-Identifier: GPL-3.0-or-later
"""What a token may not do with containers is known before anything is written."""

from __future__ import annotations

import copy
import pathlib
import typing as t

import pve_containers as containers
import pytest
from pve_containers import CT, ROOTS, change, config_of, cts, made, truthful, vmids, with_
from pve_lab import ROLE, PveLab


@pytest.fixture
def lab(pve: PveLab) -> PveLab:
    containers.put_template(pve)
    return pve


RIGHTS = [
    ("VM.Allocate", "VM.Allocate on /vms/310 (create CT 310 (traefik))"),
    ("VM.PowerMgmt", "VM.PowerMgmt on /vms/310 (start CT 310 (traefik))"),
    ("SDN.Use", "SDN.Use on /sdn/zones/localnetwork/vmbr0/30 (connect net0 of CT 310 (traefik) to vmbr0)"),
    ("Datastore.AllocateSpace", "Datastore.AllocateSpace on /storage/local (make rootfs of CT 310 (traefik))"),
    ("VM.Config.Memory", "VM.Config.Memory on /vms/310 (set memory of CT 310 (traefik))"),
    ("VM.Config.CPU", "VM.Config.CPU on /vms/310 (set cores of CT 310 (traefik))"),
    ("VM.Config.Disk", "VM.Config.Disk on /vms/310 (create CT 310 (traefik))"),
    ("VM.Config.Network", "VM.Config.Network on /vms/310 (set hostname of CT 310 (traefik))"),
    ("VM.Config.Options", "VM.Config.Options on /vms/310 (create CT 310 (traefik))"),
]


@pytest.mark.parametrize(("missing", "right"), RIGHTS, ids=[missing for missing, _ in RIGHTS])
def test_a_missing_right_is_named_before_anything_is_written(tmp_path: pathlib.Path, missing: str, right: str) -> None:
    with PveLab(tmp_path, rights=[one for one in ROLE if one != missing]) as lab:
        containers.put_template(lab)
        for check in (True, False):
            outcome = cts(lab, CT, check=check)
            assert right in outcome.result["msg"]
            assert outcome.result["error"]["kind"] == "AccessDenied"
            assert outcome.writes == []


def test_the_role_of_the_documentation_is_enough_for_every_kind_of_change(lab: PveLab) -> None:
    made(lab)
    made(lab, with_(rootfs={"storage": "local", "size": "3G"}, features={"nesting": False}, allow_restart=True))
    made(lab, {"vmid": 310, "hostname": "traefik", "node": "pve1", "state": "stopped"})
    made(lab, {"vmid": 311, "hostname": "copy", "node": "pve1", "clone": {"vmid": 310}, "memory": 256, "onboot": False})
    made(lab, {"vmid": 311, "state": "absent"})
    made(lab, {"vmid": 310, "state": "absent"})


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"features": {"keyctl": True}}, ["features.keyctl of CT 312 (media)"]),
        ({"features": {"nesting": True, "mount": ["nfs"]}}, ["features.mount of CT 312 (media)"]),
        ({"devices": ROOTS["devices"]}, ["dev0 (device) of CT 312 (media)"]),
        ({"mounts": ROOTS["mounts"]}, ["mp0 (bind mount of /srv) of CT 312 (media)"]),
        ({"unprivileged": False, "features": {"nesting": True}},
         ["features.nesting (of a privileged container) of CT 312 (media)"]),
    ],
    ids=["keyctl", "nfs", "device", "bind", "privileged"],
)  # fmt: skip
def test_what_only_root_may_is_named_with_what_to_do(lab: PveLab, wish: dict[str, t.Any], named: list[str]) -> None:
    lab.needs_least_rights()
    plain = {key: value for key, value in ROOTS.items() if key not in ("features", "devices", "mounts")}
    for check in (True, False):
        outcome = cts(lab, {**plain, **wish}, check=check)
        assert outcome.result["error"]["root_only"] == named
        assert (
            "only root@pam may do this, logged in with a password, not ansible@pve!groundwork" in outcome.result["msg"]
        )
        assert "Use api_user root@pam with api_password for a task with CT 312" in outcome.result["msg"]
        assert outcome.writes == []
    assert vmids(lab) == []


def test_root_with_a_password_may(lab: PveLab) -> None:
    outcome = truthful(lab, ROOTS, as_root=True)
    assert outcome.actions == ["ct/312 create", "ct/312 start"]
    config = config_of(lab, 312)
    assert config["features"] == "fuse=1,keyctl=1,mount=cifs;nfs,nesting=1"
    assert config["dev0"] == "/dev/dri/renderD128,gid=104"
    assert config["mp0"] == "/srv,mp=/media,ro=1"
    changed = copy.deepcopy(ROOTS) | {"devices": [{"path": "/dev/dri/card0", "gid": 104}], "allow_restart": True}
    assert truthful(lab, changed, as_root=True).actions == ["ct/312 update", "ct/312 restart"]
    gone = {**changed, "devices": [{"slot": "dev0", "state": "absent"}], "features": {"fuse": False}}
    truthful(lab, gone, as_root=True)
    assert "dev0" not in config_of(lab, 312)
    assert config_of(lab, 312)["features"] == "keyctl=1,mount=cifs;nfs,nesting=1"


def test_what_is_there_already_needs_no_root(lab: PveLab) -> None:
    """Configured by hand, or by a task of root's: the token sees no difference and changes the rest."""
    lab.needs_least_rights()
    made(lab, ROOTS, as_root=True)
    assert made(lab, ROOTS).changes == []
    outcome = truthful(lab, {**ROOTS, "memory": 1024, "cores": 2})
    assert outcome.changes[0]["after"] == {"memory": 1024, "cores": 2}
    nesting = truthful(lab, {**ROOTS, "memory": 1024, "features": {"nesting": False}, "allow_restart": True})
    assert nesting.changes[0]["after"]["features"] == "fuse=1,keyctl=1,mount=cifs;nfs"
    refused = cts(lab, {**ROOTS, "features": {"nesting": False, "fuse": False}})
    assert refused.result["error"]["root_only"] == ["features.fuse of CT 312 (media)"]
    assert refused.writes == []


def test_nesting_alone_is_switched_off_by_a_token(lab: PveLab) -> None:
    made(lab)
    truthful(lab, with_(features={"nesting": False}, allow_restart=True))
    assert "features" not in config_of(lab)


def test_a_privileged_container_needs_a_right_on_everything(lab: PveLab) -> None:
    lab.needs_least_rights()
    wish = with_(unprivileged=False, features=None)
    outcome = cts(lab, wish)
    assert "Sys.Modify on / (make CT 310 (traefik) privileged)" in outcome.result["msg"]
    assert outcome.writes == []
    assert truthful(lab, wish, as_root=True).actions == ["ct/310 create", "ct/310 start"]
    assert "unprivileged" not in config_of(lab)
    change(lab, features="nesting=1")
    refused = cts(lab, {**wish, "features": {"nesting": False}})
    assert refused.result["error"]["root_only"] == ["features.nesting (of a privileged container) of CT 310 (traefik)"]
